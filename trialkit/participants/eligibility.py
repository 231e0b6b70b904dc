"""Eligibility: every criterion of the protocol is answered before somebody is randomised."""

from __future__ import annotations

from collections.abc import Mapping

from trialkit._canonical import sha256_json
from trialkit.errors import Duplicate, OutOfOrder, OutOfRange, UsageError
from trialkit.protocol.model import Eligibility
from trialkit.record.chain import Event
from trialkit.record.kinds import ParticipantEligible
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active


@command("confirm_eligibility")
def confirm_eligibility(study: Study, usubjid: str, answers: Mapping[str, bool]) -> Event:
    """Record who found a person eligible, with the answer to each criterion.

    Parameters
    ----------
    answers : mapping of str to bool
        Criterion to its answer; an inclusion needs True, an exclusion False.

    Raises
    ------
    OutOfOrder
        If the protocol lists no criteria, or the person has not consented, was excluded, withdrew
        or is randomised.
    UsageError
        If a criterion has no answer, or there is no such criterion.
    OutOfRange
        If the person is not eligible; nothing is recorded.
    Duplicate
        If that is recorded.
    """
    asked = study.design.eligibility
    if asked is None:
        raise OutOfOrder(
            f"study {study.state.study_id} lists no criteria.",
            remedy="Randomise without: its protocol has no trial.eligibility.",
        )
    who = require_active(study, usubjid)
    if who.eligible is not None or who.randomised:
        raise Duplicate(
            f"{usubjid} is {'randomised' if who.randomised else 'found eligible'} already.",
            remedy="Nothing to do.",
        )
    _complete(asked, answers)
    failed = [c for c in asked.criteria if answers[c.id] != (c.kind == "inclusion")]
    if failed:
        raise OutOfRange(
            f"{usubjid} is not eligible: "
            + "; ".join(f"{c.id} ({c.kind}): {c.text}" for c in failed)
            + ".",
            remedy=f"Exclude: `trialkit exclude {usubjid} --code not_eligible`.",
            criteria=[c.id for c in failed],
        )
    return study.append(
        ParticipantEligible(
            version=asked.version,
            criteria=sha256_json(asked.model_dump(mode="json")),
            answers={c.id: answers[c.id] for c in asked.criteria},
        ),
        subject=usubjid,
    )


def _complete(asked: Eligibility, answers: Mapping[str, bool]) -> None:
    known = [criterion.id for criterion in asked.criteria]
    missing = [name for name in known if name not in answers]
    unknown = [name for name in answers if name not in known]
    if missing or unknown:
        what = f"no answer to {', '.join(missing)}" if missing else f"no criterion {unknown[0]}"
        raise UsageError(
            f"{what}.", remedy=f"Answer each of {', '.join(known)} once with yes or no."
        )


def require_eligible(study: Study, who: ParticipantState) -> None:
    """Refuse a person whose eligibility is not confirmed, where the protocol lists criteria.

    Raises
    ------
    OutOfOrder
        If it is not.
    """
    if study.design.eligibility is not None and who.eligible is None:
        raise OutOfOrder(
            f"the eligibility of {who.usubjid} is not confirmed.",
            remedy=f"Confirm it first: `trialkit eligible {who.usubjid} --answer CRITERION=yes`.",
        )
