"""Randomisation with concealed allocation: stratified permuted blocks, or minimisation.

The stratum is the site (where the protocol says so) and the levels of the stratification
factors; each has its own list, and the next place of the list is taken. Minimisation counts
those who came before by each factor (`trialkit.participants.minimisation`). Neither the event
nor the caller gets the arm: `Study.arm_of` tells it to those who may know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from trialkit.errors import Duplicate, IntegrityError, OutOfOrder, OutOfRange
from trialkit.participants.eligibility import require_eligible
from trialkit.participants.minimisation import STRATUM, Minimiser, Rule, allocate
from trialkit.protocol.model import Randomisation, Stratum
from trialkit.record.blocks import Place, commitment
from trialkit.record.chain import Event
from trialkit.record.draws import seed_commitment
from trialkit.record.kinds import (
    AllocationListCommitted,
    AllocationSchemeCommitted,
    ParticipantRandomised,
)
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active


@dataclass(frozen=True)
class Randomised:
    """What randomisation tells: the stratum, the place in its list, the event; not the arm."""

    usubjid: str
    stratum: str
    strata: dict[str, str]
    place: int
    event: Event


@command("randomise")
def randomise(study: Study, usubjid: str) -> Randomised:
    """Give a participant the next place of the stratum's concealed list, or the minimised arm.

    The scheme, and each list or further part of one, is committed in the record before its
    first place is used.

    Raises
    ------
    Duplicate
        If the participant is randomised already.
    OutOfOrder
        If consent, the confirmed eligibility that the protocol asks for, or a value that a
        stratum needs is missing; the participant was excluded or withdrew; the protocol has no
        randomisation; or the seed was revealed, so that everybody knows what comes next.
    IntegrityError
        If arms, ratio, method or factors are not those of the first allocation.
    """
    plan = study.design.randomisation
    if plan is None:
        raise OutOfOrder(
            f"study {study.state.study_id} does not randomise.",
            remedy="Sessions and visits need no randomisation here.",
        )
    who = require_active(study, usubjid)
    _not_twice(who)
    require_eligible(study, who)
    if study.state.revealed:
        raise OutOfOrder(
            "the allocation is revealed: the next arm would be known beforehand.",
            remedy="Nobody is randomised after unblinding.",
        )
    scheme = scheme_of(study, plan)
    strata = strata_of(study, who, plan)
    if study.state.scheme is None and not study.state.lists_committed:
        study.append(scheme)
    if plan.method == "minimisation":
        stratum, place = STRATUM, _minimised(study, plan, strata)
    else:
        stratum = stratum_text(strata)
        place = _listed(study, plan, stratum)
    event = _append(study, usubjid, stratum, strata, place)
    return Randomised(usubjid, stratum, strata, place.place, event)


def _listed(study: Study, plan: Randomisation, stratum: str) -> Place:
    """Return the next place of a stratum's list, after every part of it is in the record."""
    number = study.state.places_taken[stratum] + 1
    parts = study.allocation.ensure(
        stratum,
        number,
        arms=[arm.code for arm in study.design.arms],
        ratio=plan.ratio,
        block_sizes=plan.block_sizes,
    )
    for part in parts:
        if part.commitment not in study.state.lists_committed.get(stratum, ()):
            study.append(
                AllocationListCommitted(
                    stratum=stratum, length=part.length, commitment=part.commitment
                )
            )
    return study.allocation.place(stratum, number)


def scheme_of(study: Study, plan: Randomisation) -> AllocationSchemeCommitted:
    """Return how the study allocates, which must be how it began.

    Raises
    ------
    IntegrityError
        If the record holds another scheme, or the hash of another seed.
    """
    scheme = AllocationSchemeCommitted(
        scheme=plan.model_dump(mode="json"),
        commitment=seed_commitment(
            study.state.study_id,
            [arm.code for arm in study.design.arms],
            study.allocation.seed(),
        ),
    )
    held = study.state.scheme
    if held is None:
        return scheme
    began = AllocationSchemeCommitted.model_validate(held)
    if began.commitment != scheme.commitment or Randomisation.model_validate(began.scheme) != plan:
        raise IntegrityError(
            "arms, ratio, method, factors or seed are not those of the first allocation.",
            remedy="Nobody may change them: restore design.yaml and the allocation from a copy.",
        )
    return scheme


def _minimised(study: Study, plan: Randomisation, strata: Mapping[str, str]) -> Place:
    """Draw and store the arm of the next participant, given those who came before."""
    minimiser = Minimiser(Rule.of([arm.code for arm in study.design.arms], plan))
    earlier = sorted(
        (who for who in study.state.participants.values() if who.randomised),
        key=lambda who: who.place or 0,
    )
    for who in earlier:
        held = study.allocation.arm_of(
            who.usubjid, str(who.stratum), who.place or 0, str(who.commitment)
        )
        minimiser.add(who.strata, held.arm)
    drawn = allocate(minimiser, study.allocation.seed(), len(earlier) + 1, strata)
    return study.allocation.append(STRATUM, drawn.arm, drawn.salt)


@command("import")
def allocate_known(
    study: Study, usubjid: str, *, arm: str, strata: Mapping[str, str] | None = None
) -> Randomised:
    """Enter a participant whose arm is known from elsewhere (an imported trial).

    The arm goes into the allocation store, and its commitment into the record, as if it had
    been drawn here.

    Raises
    ------
    NotPermitted
        Unless the person may import.
    UnknownName
        If the design has no such arm.
    Duplicate
        If the participant has an arm.
    OutOfOrder
        If the study is no import: there an arm is drawn, whoever asks.
    """
    if study.state.source != "import":
        raise OutOfOrder(
            f"study {study.state.study_id} draws its arms itself.",
            remedy="Randomise: `trialkit randomise USUBJID`.",
        )
    who = require_active(study, usubjid)
    _not_twice(who)
    study.design.arm(arm)
    strata = dict(strata or {})
    stratum = stratum_text(strata)
    place = study.allocation.add_known(stratum, [arm])[0]
    event = _append(study, usubjid, stratum, strata, place)
    return Randomised(usubjid, stratum, strata, place.place, event)


def _append(
    study: Study, usubjid: str, stratum: str, strata: dict[str, str], place: Place
) -> Event:
    return study.append(
        ParticipantRandomised(
            stratum=stratum,
            strata=strata,
            place=place.place,
            commitment=commitment(place.salt, usubjid, place.arm),
        ),
        subject=usubjid,
    )


def _not_twice(who: ParticipantState) -> None:
    if who.randomised:
        raise Duplicate(
            f"{who.usubjid} is randomised already (place {who.place} of {who.stratum}).",
            remedy="Nobody is randomised twice.",
        )


def stratum_text(strata: Mapping[str, str]) -> str:
    """Return the name of a stratum, such as ``site=01|speed_band=slow``."""
    return "|".join(f"{name}={level}" for name, level in strata.items()) or "all"


def strata_of(study: Study, who: ParticipantState, plan: Randomisation) -> dict[str, str]:
    """Return the level of each stratification factor, the site first.

    Raises
    ------
    OutOfOrder
        If a value is missing.
    OutOfRange
        If an attribute is none of the levels that the protocol lists.
    """
    levels = {"site": who.site} if plan.by_site else {}
    return levels | {factor.name: _level(study, who, factor) for factor in plan.strata}


def _level(study: Study, who: ParticipantState, factor: Stratum) -> str:
    if factor.paramcd is None:
        value = who.attributes.get(factor.attribute or factor.name)
        if value is None:
            raise OutOfOrder(
                f"{who.usubjid}: attribute {factor.attribute or factor.name} is missing, and "
                f"stratum {factor.name} needs it.",
                remedy="Attributes are given at enrolment: exclude this entry and enrol again.",
            )
        if not factor.cuts:
            if factor.levels and str(value) not in factor.levels:
                raise OutOfRange(
                    f"{who.usubjid}: {value} is no level of {factor.name}.",
                    remedy=f"Levels: {', '.join(factor.levels)}. Exclude this entry, enrol again.",
                )
            return str(value)
        score: float | None = float(value)
    else:
        score = who.score(factor.paramcd, study.design.baseline_visits)
    if score is None:
        raise OutOfOrder(
            f"{who.usubjid}: no baseline {factor.paramcd}, and stratum {factor.name} needs it.",
            remedy=f"Record the baseline assessment that gives {factor.paramcd} first.",
        )
    return factor.levels[bisect_right(factor.cuts, score)]
