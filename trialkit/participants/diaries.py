"""Diaries, as the ProFaNE consensus asks for (Lamb et al. 2005).

A fall is an unexpected event in which the participant comes to rest on the ground, floor or lower
level. It is recorded prospectively, each day, and the diary comes back at least monthly. Grades are
1 near-fall, 2 fall, 3 fall with medical attention, 4 fall with admission (the Hopkins scale);
a near-fall is kept apart and is no fall. Days without a diary are no exposure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trialkit.errors import Duplicate, OutOfOrder, OutOfRange, UsageError
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.protocol.model import Diary
from trialkit.record.chain import Event
from trialkit.record.kinds import DiaryCorrected, DiaryEntry, DiaryReturned
from trialkit.record.state import ParticipantState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_started, require_text

GRADES = {1: "near-fall", 2: "fall", 3: "medical attention", 4: "admission"}
_YEAR = 365.25

Entries = Iterable[DiaryEntry | Mapping[str, int | None]]


@command("diary")
def return_diary(
    study: Study,
    usubjid: str,
    *,
    diary: str,
    from_day: int,
    to_day: int,
    entries: Entries = (),
    returned_on: str | None = None,
    reason: str | None = None,
) -> Event:
    """Record a diary for a stretch of days; days that no diary covers are not exposure.

    Parameters
    ----------
    diary : str
        PARAMCD of the diary.
    from_day, to_day : int
        First and last observed study day.
    entries : iterable
        `DiaryEntry`, or mappings with ``day`` and ``grade`` (`GRADES`).
    returned_on : str or None
        Date on which it came back, YYYY-MM-DD; None is its last day.
    reason : str or None
        Why the entry is late; needed when it comes later after the return than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    OutOfOrder
        If the participant is not randomised, or withdrew.
    OutOfRange
        If the days lie outside the diary, an entry outside the days, or a grade is none.
    Duplicate
        If some of the days are covered already: overlapping returns are never merged.
    """
    planned = study.design.diary(diary)
    who = require_started(study, usubjid)
    listed = _checked(who, planned, from_day, to_day, entries)
    delay = entry_delay(study, usubjid, to_day, returned_on)
    late = is_late(f"diary {diary} of {usubjid}", delay, study.design.late_entry_days, reason)
    return study.append(
        DiaryReturned(
            diary=diary,
            from_day=from_day,
            to_day=to_day,
            entries=listed,
            returned_on=returned_on,
            delay_days=delay,
            late=late,
        ),
        subject=usubjid,
        reason=reason,
    )


@command("diary")
def correct_diary(
    study: Study,
    usubjid: str,
    *,
    returned: int | str,
    reason: str,
    from_day: int | None = None,
    to_day: int | None = None,
    entries: Entries | None = None,
) -> Event:
    """Correct a returned diary by a new event; the old values stay readable.

    Parameters
    ----------
    returned : int or str
        Number of the event of the return; or its name, ``R01`` for the participant's first.
    reason : str
        Why; never blank.
    from_day, to_day : int or None
        None leaves the days.
    entries : iterable or None
        All entries as they should be; None leaves them.

    Raises
    ------
    OutOfOrder
        If that event is no diary of the participant.
    OutOfRange, Duplicate
        As for `return_diary`.
    UsageError
        If nothing changes, or the reason is missing.
    """
    reason = require_text(reason, "the reason of the correction")
    who = study.participant(usubjid)
    named = {return_name(who, seq): seq for seq in who.returns}
    seq = named.get(returned, 0) if isinstance(returned, str) else returned
    old = who.returns.get(seq)
    if old is None:
        told = (f"{n} ({who.returns[s].diary})" for n, s in named.items())
        raise OutOfOrder(
            f"{returned} is no returned diary of {usubjid}.",
            remedy=f"Returned diaries: {', '.join(told) or 'none'}.",
        )
    first = old.from_day if from_day is None else from_day
    last = old.to_day if to_day is None else to_day
    before = [DiaryEntry(**entry) for entry in old.entries]
    given = before if entries is None else entries
    planned = study.design.diary(old.diary)
    listed = _checked(who, planned, first, last, given, besides=seq)
    if (first, last, listed) == (old.from_day, old.to_day, before):
        raise UsageError("the correction changes nothing.", remedy="Give the new values.")
    return study.append(
        DiaryCorrected(
            returned=seq,
            diary=old.diary,
            from_day=first,
            to_day=last,
            entries=listed,
            old_from_day=old.from_day,
            old_to_day=old.to_day,
            old_entries=before,
        ),
        subject=usubjid,
        reason=reason,
    )


def return_name(who: ParticipantState, returned: int) -> str:
    """Return the name of a returned diary within its participant, such as ``R01``.

    Raises
    ------
    ValueError
        If event `returned` is no return of the participant.
    """
    return f"R{list(who.returns).index(returned) + 1:02d}"


def _checked(
    who: ParticipantState,
    planned: Diary,
    first: int,
    last: int,
    entries: Entries,
    besides: int | None = None,
) -> list[DiaryEntry]:
    """Return the entries, or raise where days, entries or grades cannot be."""
    listed = [e if isinstance(e, DiaryEntry) else _entry(e) for e in entries]
    if not 0 <= first <= last <= planned.to_day:
        raise OutOfRange(
            f"{who.usubjid}: days {first} to {last} are not days of diary {planned.paramcd}.",
            remedy=f"The diary runs from day 0 to day {planned.to_day}.",
        )
    outside = sorted({e.day for e in listed if not first <= e.day <= last})
    if outside:
        raise OutOfRange(
            f"{who.usubjid}: entries on days {outside} are outside days {first} to {last}.",
            remedy="Give each entry with the diary that covers its day.",
        )
    wrong = sorted({e.grade for e in listed if e.grade is not None and e.grade not in GRADES})
    if wrong:
        raise OutOfRange(
            f"{who.usubjid}: grades {wrong} are none.",
            remedy=f"Use {', '.join(f'{n} ({name})' for n, name in GRADES.items())}.",
        )
    for other in who.returns.values():
        if other.diary != planned.paramcd or other.returned == besides:
            continue
        if first <= other.to_day and other.from_day <= last:
            raise Duplicate(
                f"{who.usubjid}: diary {other.diary} for days {other.from_day} to {other.to_day} "
                f"is recorded (event {other.returned}).",
                remedy="Give days that no diary covers yet, or correct that diary.",
            )
    return listed


def _entry(given: Mapping[str, int | None]) -> DiaryEntry:
    day, grade = given.get("day"), given.get("grade")
    if isinstance(day, bool) or not isinstance(day, int) or set(given) - {"day", "grade"}:
        raise UsageError(f"{dict(given)} is no diary entry.", remedy="Give day, and maybe grade.")
    return DiaryEntry(day=day, grade=grade)


@dataclass(frozen=True)
class DiarySummary:
    """What the diaries of one participant say.

    ``observed_days`` are covered by a return; ``events`` are the falls, ``near`` what is below the
    diary's grade, ``injurious`` those of grade 3 and 4; ``rate_per_year`` is None without exposure.
    """

    diary: str
    observed_days: int
    events: int
    near: int
    injurious: int
    rate_per_year: float | None


def summarise_diary(study: Study, usubjid: str, diary: str) -> DiarySummary:
    """Return exposure and counts of one diary of a participant; a year has 365.25 days."""
    planned = study.design.diary(diary)
    returns = [r for r in study.participant(usubjid).returns.values() if r.diary == diary]
    days = sum(r.to_day - r.from_day + 1 for r in returns)
    grades = [entry["grade"] for r in returns for entry in r.entries]
    events = sum(is_event(grade, planned) for grade in grades)
    return DiarySummary(
        diary,
        days,
        events,
        len(grades) - events,
        sum(grade is not None and grade >= 3 for grade in grades),
        events * _YEAR / days if days else None,
    )


def is_event(grade: int | None, diary: Diary) -> bool:
    """Return True where an entry is an event of the diary, and no near-fall."""
    return grade is None or diary.event_from_grade is None or grade >= diary.event_from_grade
