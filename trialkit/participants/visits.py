"""Visits: held, or missed."""

from __future__ import annotations

from trialkit.errors import Duplicate, OutOfWindow
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.protocol.model import Visit
from trialkit.record.chain import Event
from trialkit.record.kinds import DeviationRaised, VisitHeld, VisitMissed
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active, require_started, require_text


@command("visit")
def hold_visit(
    study: Study, usubjid: str, visit: str, *, day: int, reason: str | None = None
) -> Event:
    """Record that a visit took place.

    Parameters
    ----------
    day : int
        Study day; 0 or less for a baseline visit.
    reason : str or None
        Needed out of the window; the visit then counts, and a deviation is raised with it. Needed
        too where it is entered later than the trial allows.

    Raises
    ------
    OutOfOrder
        Before consent; before randomisation unless it is a baseline visit; after withdrawal.
    Duplicate
        If the visit is recorded.
    OutOfWindow
        If the day lies outside the window, or the entry is late, and no reason was given.
    """
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
    delay = entry_delay(study, usubjid, day)
    late = is_late(
        f"{visit} of {usubjid}", delay, study.design.late_entry_days, reason, others=True
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
            VisitHeld(visit=visit, day=day, in_window=inside, delay_days=delay, late=late),
            subject=usubjid,
            reason=reason,
        )


@command("visit")
def miss_visit(study: Study, usubjid: str, visit: str, *, code: str) -> Event:
    """Record that a visit did not take place; `code` is a reason code.

    Raises
    ------
    OutOfOrder, Duplicate
        As for `hold_visit`.
    """
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
