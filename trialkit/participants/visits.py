"""Visits and what is assessed at them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from trialkit.errors import Duplicate, Finding, OutOfOrder, OutOfRange, OutOfWindow, UsageError
from trialkit.protocol.instruments import Instrument, check_items, score
from trialkit.protocol.model import Visit
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AssessmentCorrected,
    AssessmentRecorded,
    DeviationRaised,
    VisitHeld,
    VisitMissed,
)
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.guards import require_active, require_started, require_text

Status = Literal["done", "unable", "not_done"]
Items = Mapping[str, float | int | str | None]


def study_day(study: Study, usubjid: str) -> int:
    """Return today's study day by the study's clock: 0 on the day of randomisation.

    Before randomisation it is 0.
    """
    began = study.participant(usubjid).randomised_at
    if began is None:
        return 0
    return (study.clock.now().date() - datetime.fromisoformat(began).date()).days


def hold_visit(
    study: Study, usubjid: str, visit: str, *, day: int, reason: str | None = None
) -> Event:
    """Record that a visit took place.

    Parameters
    ----------
    day : int
        Study day; 0 or less for a baseline visit.
    reason : str or None
        Needed out of the window; the visit then counts, and a deviation is raised with it.

    Raises
    ------
    OutOfOrder
        Before consent; before randomisation unless it is a baseline visit; after withdrawal.
    Duplicate
        If the visit is recorded.
    OutOfWindow
        If the day lies outside the window and no reason was given.
    """
    study.require("visit")
    planned = study.design.visit(visit)
    who = _may_visit(study, usubjid, planned)
    first, last = (planned.day + days for days in planned.window_days)
    inside = first <= day <= last
    if not inside and not (reason and reason.strip()):
        raise OutOfWindow(
            f"{usubjid}: {visit} on day {day} is outside its window, day {first} to {last}.",
            remedy="Check the day, or give a reason: the visit then counts as a deviation.",
            first_day=first,
            last_day=last,
        )
    with study.batch():
        if not inside:
            detail = f"{visit} on day {day}, window day {first} to {last}"
            study.append(
                DeviationRaised(category="visit_window", detail=detail, day=day),
                subject=who.usubjid,
                reason=reason,
            )
        return study.append(
            VisitHeld(visit=visit, day=day, in_window=inside), subject=usubjid, reason=reason
        )


def miss_visit(study: Study, usubjid: str, visit: str, *, code: str) -> Event:
    """Record that a visit did not take place; `code` is a reason code.

    Raises
    ------
    OutOfOrder, Duplicate
        As for `hold_visit`.
    """
    study.require("visit")
    code = require_text(code, "a reason code")
    _may_visit(study, usubjid, study.design.visit(visit))
    return study.append(VisitMissed(visit=visit, code=code), subject=usubjid)


def _may_visit(study: Study, usubjid: str, planned: Visit) -> ParticipantState:
    guard = require_active if planned.baseline else require_started
    who = guard(study, usubjid)
    known = who.visits.get(planned.code)
    if known is not None:
        what = f"held on day {known.day}" if known.held else f"missed ({known.code})"
        raise Duplicate(
            f"{planned.code} of {usubjid} is recorded: {what}.",
            remedy="A visit is recorded once.",
        )
    return who


def assess(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    items: Items | None = None,
    status: Status = "done",
    code: str | None = None,
) -> Event:
    """Record one instrument at a visit that took place; scores are derived at entry.

    Parameters
    ----------
    items : mapping
        Item id to entry, for status ``done``.
    status : {"done", "unable", "not_done"}
        ``unable``: the participant could not do it, which is an observation. ``not_done`` needs
        a reason `code`.

    Raises
    ------
    OutOfOrder
        If the visit is not recorded, or does not plan the instrument.
    OutOfRange
        With every faulty entry.
    Duplicate
        If it is recorded; see `correct`.
    """
    study.require("assess")
    tool = study.design.instrument(instrument)
    planned = study.design.visit(visit)
    who = require_active(study, usubjid)
    held = who.visits.get(visit)
    if held is None or held.day is None:
        raise OutOfOrder(
            f"{usubjid}: visit {visit} is not recorded as held.",
            remedy=f"Record it first: `trialkit visit {usubjid} {visit} --day N`.",
        )
    if instrument not in planned.assessments:
        raise OutOfOrder(
            f"{visit} does not plan {instrument}.",
            remedy=f"It plans {', '.join(planned.assessments) or 'no assessment'}.",
        )
    if (visit, instrument) in who.assessments:
        raise Duplicate(
            f"{instrument} at {visit} of {usubjid} is recorded.",
            remedy="Correct it, with a reason: `trialkit assess ... --correct --reason TEXT`.",
        )
    entries = _checked(tool, items or {}, status)
    if status == "not_done":
        code = require_text(code, "a reason code")
    return study.append(
        AssessmentRecorded(
            visit=visit,
            day=held.day,
            instrument=instrument,
            status=status,
            items=entries,
            scores=score(tool, entries, status),
            code=code,
        ),
        subject=usubjid,
    )


def correct(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    reason: str,
    items: Items | None = None,
    status: Status = "done",
) -> Event:
    """Correct an assessment by a new event; the old values stay readable.

    Parameters
    ----------
    items : mapping
        Entries to change; the others stay. None takes an entry away.
    reason : str
        Why; never blank.

    Raises
    ------
    UsageError
        If the reason is missing.
    OutOfOrder
        If there is nothing to correct.
    OutOfRange
        With every faulty entry.
    """
    study.require("assess")
    reason = require_text(reason, "the reason of the correction")
    tool = study.design.instrument(instrument)
    old = study.participant(usubjid).assessments.get((visit, instrument))
    if old is None:
        raise OutOfOrder(
            f"{usubjid}: no {instrument} is recorded at {visit}.", remedy="Record it first."
        )
    kept = dict(old.items) if status == "done" else {}
    changed = kept | dict(items or {})
    entries = _checked(tool, {k: v for k, v in changed.items() if v is not None}, status)
    if entries == old.items and status == old.status:
        raise UsageError("the correction changes nothing.", remedy="Give the new values.")
    return study.append(
        AssessmentCorrected(
            seq=old.seq,
            visit=visit,
            instrument=instrument,
            status=status,
            items=entries,
            scores=score(tool, entries, status),
            old_items=old.items,
        ),
        subject=usubjid,
        reason=reason,
    )


def _checked(tool: Instrument, items: Items, status: Status) -> dict[str, float | int | str | None]:
    """Return the entries, or raise `OutOfRange` with every faulty one."""
    entries = dict(items)
    if status != "done":
        if entries:
            raise UsageError(
                f"{tool.code}: status {status} has no entries.", remedy="Leave the items out."
            )
        return {}
    if not entries:
        raise UsageError(
            f"{tool.code}: no entry was given.", remedy="Give items, or status unable or not_done."
        )
    findings: list[Finding] = check_items(tool, entries)
    if findings:
        raise OutOfRange(
            "; ".join(f"{f.where}: {f.message.rstrip('.')}" for f in findings) + ".",
            remedy=" ".join(dict.fromkeys(f.remedy for f in findings)),
            findings=[f.to_dict() for f in findings],
        )
    return entries
