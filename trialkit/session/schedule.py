"""Which day a session belongs to, and whether it may take place on another."""

from __future__ import annotations

from trialkit.errors import OutOfWindow
from trialkit.protocol.model import Schedule
from trialkit.record.state import ParticipantState


def planned_day(schedule: Schedule, number: int) -> int:
    """Return the study day of session `number` (from 1); the first session is on day 1.

    The sessions of a week are spread evenly: three a week fall on days 1, 3, 5, 8, 10, 12 ...
    """
    week, place = divmod(number - 1, schedule.sessions_per_week)
    return 1 + 7 * week + 7 * place // schedule.sessions_per_week


def check_day(schedule: Schedule, who: ParticipantState, number: int, day: int) -> str | None:
    """Return None where `day` is in the window of the session, else why it is not.

    Later than its window a session counts as made up, which is in order while the week has
    room (``makeup_per_week`` beyond the planned ones) and the course is not over.
    """
    due = planned_day(schedule, number)
    before, after = schedule.window_days
    if due + before <= day <= due + after:
        return None
    last = 7 * schedule.weeks + after
    week = (day - 1) // 7
    held = [s for s in who.sessions.values() if s.status != "missed" and (s.day - 1) // 7 == week]
    room = schedule.sessions_per_week + schedule.makeup_per_week
    if due + after < day <= last and schedule.makeup_per_week and len(held) < room:
        return None
    return (
        f"session {number} is due on day {due} ({due + before} to {due + after}), not on day {day}"
    )


def require_day(
    schedule: Schedule, who: ParticipantState, number: int, day: int, reason: str | None
) -> str | None:
    """Return the deviation that a reason allows, None where the day is in order.

    Raises
    ------
    OutOfWindow
        If the day is outside and no reason was given.
    """
    fault = check_day(schedule, who, number, day)
    if fault is not None and not (reason and reason.strip()):
        raise OutOfWindow(
            f"{fault}.", remedy="Choose a day in the window, or give a reason: it is recorded."
        )
    return fault
