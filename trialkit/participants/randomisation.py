"""Stratified permuted-block randomisation with concealed lists.

The stratum is the site (where the protocol says so) and the levels of the stratification
factors; each has its own list. The next place of the list is taken. Neither the event nor the
caller gets the arm: `Study.arm_of` tells it to those who may know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from trialkit.errors import Duplicate, OutOfOrder
from trialkit.protocol.model import Randomisation, Stratum
from trialkit.record.allocation import Place, commitment
from trialkit.record.chain import Event
from trialkit.record.kinds import AllocationListCommitted, ParticipantRandomised
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.guards import require_active


@dataclass(frozen=True)
class Randomised:
    """What randomisation tells: the stratum, the place in its list, the event; not the arm."""

    usubjid: str
    stratum: str
    strata: dict[str, str]
    place: int
    event: Event


def randomise(study: Study, usubjid: str) -> Randomised:
    """Give a participant the next place of the stratum's concealed list.

    A list, or a further part of one, is committed in the record before its first place is used.

    Raises
    ------
    Duplicate
        If the participant is randomised already.
    OutOfOrder
        If consent or a value that a stratum needs is missing, the participant was excluded or
        withdrew, or the protocol has no randomisation.
    """
    study.require("randomise")
    plan = study.design.randomisation
    if plan is None:
        raise OutOfOrder(
            f"study {study.state.study_id} does not randomise.",
            remedy="Sessions and visits need no randomisation here.",
        )
    who = require_active(study, usubjid)
    _not_twice(who)
    strata = strata_of(study, who, plan)
    stratum = stratum_text(strata)
    number = study.state.places_taken[stratum] + 1
    parts = study.allocation.ensure(
        stratum,
        number,
        arms=[arm.code for arm in study.design.arms],
        ratio=plan.ratio,
        block_sizes=plan.block_sizes,
    )
    place = study.allocation.place(stratum, number)
    with study.batch():
        for part in parts:
            if part.commitment not in study.state.lists_committed.get(stratum, ()):
                study.append(
                    AllocationListCommitted(
                        stratum=stratum, length=part.length, commitment=part.commitment
                    )
                )
        event = _append(study, usubjid, stratum, strata, place)
    return Randomised(usubjid, stratum, strata, number, event)


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
    """
    study.require("import")
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
