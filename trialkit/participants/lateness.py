"""How long after the act something is entered, and that what is late has a reason.

The limit is the trial's `late_entry_days`, for forms that of the form. Without one nothing is late.
"""

from __future__ import annotations

import datetime as dt

from trialkit.errors import OutOfWindow, UsageError
from trialkit.study import Study


def study_day(study: Study, usubjid: str) -> int:
    """Return today's study day by the study's clock: 0 on the day of randomisation.

    Before randomisation it is 0.
    """
    began = study.participant(usubjid).randomised_at
    if began is None:
        return 0
    return (study.clock.now().date() - dt.datetime.fromisoformat(began).date()).days


def entry_delay(
    study: Study, usubjid: str, day: int | None, done_on: str | None = None
) -> int | None:
    """Return the days from the act to now; None where they are unknown or the act lies ahead.

    Parameters
    ----------
    day : int or None
        Study day of the act.
    done_on : str or None
        Its date, YYYY-MM-DD, which goes before `day`.

    Raises
    ------
    UsageError
        If the date is none, or lies ahead.
    """
    if done_on is not None:
        return days_since(study, done_on)
    if day is None or study.state.source == "import":
        return None
    if study.participant(usubjid).randomised_at is None:
        return None
    delay = study_day(study, usubjid) - day
    return delay if delay >= 0 else None


def days_since(study: Study, date: str) -> int:
    """Return the days since a date, YYYY-MM-DD, or raise `UsageError`."""
    today = study.clock.now().date()
    try:
        act = dt.datetime.strptime(date, "%Y-%m-%d").date()
    except ValueError:
        raise UsageError(f"{date} is no date.", remedy="Write YYYY-MM-DD.") from None
    if act > today:
        raise UsageError(f"{date} lies ahead.", remedy="Check the date.")
    return (today - act).days


def is_late(
    what: str, delay: int | None, allowed: int | None, reason: str | None, *, others: bool = False
) -> bool:
    """Return whether an entry is late; one that is has a reason, and no other has one.

    Parameters
    ----------
    what : str
        What is entered, in words.
    delay, allowed : int or None
        Days since the act, and how many may pass.
    reason : str or None
        Why it is late.
    others : bool
        A reason may be given for something else too.

    Raises
    ------
    OutOfWindow
        If it is late and there is no reason.
    UsageError
        If there is a reason and nothing asks for one.
    """
    late = delay is not None and allowed is not None and delay > allowed
    if late and not (reason and reason.strip()):
        raise OutOfWindow(
            f"{what} is entered {delay} days after it was done; more than {allowed} is late.",
            remedy="Give a reason: the entry is then taken and flagged as late.",
            delay_days=delay,
        )
    if not late and reason is not None and not others:
        raise UsageError(
            "a reason is for corrections and late entries, and this is neither.",
            remedy="Leave the reason out, or correct what is recorded.",
        )
    return late
