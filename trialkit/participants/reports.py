"""What participants report: diaries and adverse events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from trialkit.errors import Duplicate, OutOfOrder, OutOfRange, UsageError
from trialkit.record.chain import Event
from trialkit.record.kinds import AdverseEventReported, DiaryEntry, DiaryReturned
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_started, require_text


@command("diary")
def return_diary(
    study: Study,
    usubjid: str,
    *,
    diary: str,
    from_day: int,
    to_day: int,
    entries: Iterable[DiaryEntry | Mapping[str, int | None]] = (),
) -> Event:
    """Record a diary for a stretch of days; days that no diary covers are not exposure.

    Parameters
    ----------
    diary : str
        PARAMCD of the diary.
    from_day, to_day : int
        First and last observed study day.
    entries : iterable
        `DiaryEntry`, or mappings with ``day`` and ``grade``.

    Raises
    ------
    OutOfOrder
        If the participant is not randomised, or withdrew.
    OutOfRange
        If the days lie outside the diary, or an entry outside the days.
    Duplicate
        If some of the days are covered already.
    """
    planned = study.design.diary(diary)
    who = require_started(study, usubjid)
    listed = [e if isinstance(e, DiaryEntry) else _entry(e) for e in entries]
    if not 0 <= from_day <= to_day <= planned.to_day:
        raise OutOfRange(
            f"{usubjid}: days {from_day} to {to_day} are not days of diary {diary}.",
            remedy=f"The diary runs from day 0 to day {planned.to_day}.",
        )
    outside = sorted({e.day for e in listed if not from_day <= e.day <= to_day})
    if outside:
        raise OutOfRange(
            f"{usubjid}: entries on days {outside} are outside days {from_day} to {to_day}.",
            remedy="Give each entry with the diary that covers its day.",
        )
    for first, last in who.diaries.get(diary, []):
        if from_day <= last and first <= to_day:
            raise Duplicate(
                f"{usubjid}: diary {diary} for days {first} to {last} is recorded.",
                remedy="Give days that no diary covers yet.",
            )
    return study.append(
        DiaryReturned(diary=diary, from_day=from_day, to_day=to_day, entries=listed),
        subject=usubjid,
    )


def _entry(given: Mapping[str, int | None]) -> DiaryEntry:
    day, grade = given.get("day"), given.get("grade")
    if isinstance(day, bool) or not isinstance(day, int) or set(given) - {"day", "grade"}:
        raise UsageError(f"{dict(given)} is no diary entry.", remedy="Give day, and maybe grade.")
    return DiaryEntry(day=day, grade=grade)


@command("report_ae")
def report_ae(
    study: Study,
    usubjid: str,
    *,
    term: str,
    category: str,
    day: int,
    severity: Literal["mild", "moderate", "severe"],
    serious: bool = False,
    related_device: bool = False,
    related_training: bool = False,
    device_deficiency: bool = False,
    expected: bool = True,
    outcome: str = "unknown",
    session: str | None = None,
    reason: str | None = None,
) -> Event:
    """Report an adverse event in the terms of ISO 14155; also after a withdrawal.

    Raises
    ------
    OutOfOrder
        Before consent.
    UsageError
        If the severity or the session cannot be.
    """
    who = study.participant(usubjid)
    if who.consent is None and study.state.source != "import":
        raise OutOfOrder(
            f"{usubjid} has not given consent.",
            remedy="Adverse events are collected from consent on; record consent first.",
        )
    if severity not in ("mild", "moderate", "severe"):
        raise UsageError(
            f"severity {severity!r}.", remedy="Use mild, moderate or severe; serious is apart."
        )
    if session is not None and session not in {s.session for s in who.sessions.values()}:
        raise UsageError(
            f"{usubjid} has no session {session}.", remedy="Leave it out, or name a session."
        )
    return study.append(
        AdverseEventReported(
            term=require_text(term, "the term"),
            category=require_text(category, "the category"),
            day=day,
            severity=severity,
            serious=serious,
            related_device=related_device,
            related_training=related_training,
            device_deficiency=device_deficiency,
            expected=expected,
            outcome=outcome,
            session=session,
        ),
        subject=usubjid,
        reason=reason,
    )
