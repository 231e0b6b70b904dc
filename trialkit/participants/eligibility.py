"""Eligibility: every criterion of the protocol is answered before somebody is randomised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialkit._canonical import sha256_json
from trialkit.errors import Duplicate, OutOfOrder, OutOfRange, UsageError
from trialkit.protocol.model import Criterion, Eligibility
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
        If the person is not eligible, or an answer is not what the value in the record gives;
        nothing is recorded.
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
    _agree(_questions(study, who), answers)
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
            criteria=sha256_json(asked.model_dump(mode="json", exclude_defaults=True)),
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


@dataclass(frozen=True)
class Question:
    """A criterion as it is asked of one person.

    `value` is the value in the record that the criterion bounds, in its unit, and `answer` the
    one that follows from it; both None where there is none, so that a person answers.
    """

    criterion: Criterion
    value: float | None
    answer: bool | None


def criteria_for(study: Study, usubjid: str) -> list[Question]:
    """Return what is asked of a person before randomisation, with what the record knows.

    Returns
    -------
    list of Question
        In the order of the protocol; empty where it lists no criteria.

    Raises
    ------
    NotPermitted
        Unless the person may confirm eligibility there.
    """
    study.require("confirm_eligibility", command="criteria_for", subject=usubjid)
    return _questions(study, study.participant(usubjid))


def _questions(study: Study, who: ParticipantState) -> list[Question]:
    asked = study.design.eligibility
    values = [(c, _known(study, who, c)) for c in (asked.criteria if asked is not None else ())]
    return [Question(c, v, None if v is None else c.holds(v)) for c, v in values]


def _known(study: Study, who: ParticipantState, criterion: Criterion) -> float | None:
    """Value in the record that a criterion bounds, in its unit."""
    if criterion.paramcd is not None:
        return who.score(criterion.paramcd, study.design.baseline_visits)
    value = who.attributes.get(criterion.attribute or "")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _agree(questions: list[Question], answers: Mapping[str, bool]) -> None:
    """Refuse an answer that the value in the record contradicts."""
    wrong = {
        q.criterion.id: f"{q.criterion.id} is answered {'no' if q.answer else 'yes'}, and "
        f"{q.criterion.attribute or q.criterion.paramcd} is {q.value:g}"
        for q in questions
        if q.answer is not None and q.answer != answers[q.criterion.id]
    }
    if wrong:
        raise OutOfRange(
            f"{'; '.join(wrong.values())}.",
            remedy="Answer as the value says, or correct the value first.",
            criteria=list(wrong),
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
