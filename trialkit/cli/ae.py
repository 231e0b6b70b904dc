"""Verbs about adverse events and device deficiencies: ``ae report|update|notify|list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, show_event
from trialkit.errors import UsageError

if TYPE_CHECKING:
    from trialkit.participants import AdverseEventRow

Who = Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")]
Id = Annotated[str, typer.Argument(metavar="AE", help="Id of the event, such as X-01-001-AE01.")]
CRITERIA = (
    "death, life_threatening, hospitalisation, permanent_impairment, intervention, congenital"
)
DEGREES = "not_related, possible, probable or causal."

Severity = Annotated[str | None, typer.Option("--severity", help="mild, moderate or severe.")]
Day = Annotated[int | None, typer.Option("--day", help="Study day of onset; default: today.")]
EndDay = Annotated[int | None, typer.Option("--end", help="Study day of resolution.")]
CriterionOption = Annotated[
    str | None, typer.Option("--criterion", help=f"What makes it serious: {CRITERIA}.")
]
Device = Annotated[str | None, typer.Option("--related-device", help=f"To the device: {DEGREES}")]
Training = Annotated[
    str | None, typer.Option("--related-training", help=f"To the procedure: {DEGREES}")
]
Outcome = Annotated[str | None, typer.Option("--outcome", help="Outcome, if known.")]
Session = Annotated[str | None, typer.Option("--session", help="The session in which it happened.")]
Window = Annotated[
    str | None,
    typer.Option("--window", help="FROM:TO in seconds from the session's first sealed row."),
]
Aware = Annotated[
    str | None,
    typer.Option("--aware", help="When the site became aware, ISO 8601; default: now."),
]

aes = typer.Typer(no_args_is_help=True, help="Adverse events and device deficiencies.")


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.add_typer(aes, name="ae")


@aes.command()
def report(
    usubjid: Who,
    study: StudyOption,
    term: Annotated[str, typer.Option("--term", help="What happened.")],
    category: Annotated[str, typer.Option("--category", help="Category, such as skin or fall.")],
    severity: Annotated[str, typer.Option("--severity", help="mild, moderate or severe.")],
    day: Day = None,
    end_day: EndDay = None,
    criterion: CriterionOption = None,
    related_device: Device = None,
    related_training: Training = None,
    deficiency: Annotated[
        bool, typer.Option("--device-deficiency", help="With a deficiency of the device.")
    ] = False,
    potential: Annotated[
        bool, typer.Option("--sade-potential", help="The deficiency could have led to a SADE.")
    ] = False,
    no_harm: Annotated[
        bool, typer.Option("--no-harm", help="A deficiency only; nobody was harmed.")
    ] = False,
    unexpected: Annotated[bool, typer.Option("--unexpected", help="Not anticipated.")] = False,
    outcome: Outcome = None,
    session: Session = None,
    window_s: Window = None,
    aware: Aware = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, when it is entered late.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report an adverse event; its ISO 14155 class is derived, never entered."""
    from trialkit import participants
    from trialkit.study import Study

    given: dict[str, Any] = {
        "severity": severity,
        "criterion": criterion,
        "related_device": related_device or "not_related",
        "related_training": related_training or "not_related",
        "outcome": outcome or "unknown",
        "window_s": _window(window_s),
    }
    with Study.open(study, actor=user) as opened:
        event = participants.report_ae(
            opened,
            usubjid,
            term=term,
            category=category,
            day=participants.study_day(opened, usubjid) if day is None else day,
            end_day=end_day,
            device_deficiency=deficiency,
            sade_potential=potential,
            harm=not no_harm,
            expected=not unexpected,
            session=session,
            aware_at=aware,
            reason=reason,
            **given,
        )
        row = _of(participants.list_aes(opened), event.payload["ae"])
    due = f", report due {row.due_at[:16]}Z{_unverified(row)}" if row.due_at else ""
    text = f"{row.ae}: {'/'.join(row.classes)}, {term}, {severity}{due}"
    show_event(event, text, as_json, classes=row.classes, due_at=row.due_at)


@aes.command()
def update(
    usubjid: Who,
    ae: Id,
    study: StudyOption,
    reason: Annotated[str, typer.Option("--reason", help="Why, such as follow-up.")],
    term: Annotated[str | None, typer.Option("--term", help="What happened.")] = None,
    category: Annotated[str | None, typer.Option("--category", help="Category.")] = None,
    severity: Severity = None,
    day: Day = None,
    end_day: EndDay = None,
    criterion: CriterionOption = None,
    not_serious: Annotated[
        bool, typer.Option("--not-serious", help="It meets no criterion after all.")
    ] = False,
    related_device: Device = None,
    related_training: Training = None,
    potential: Annotated[
        bool | None,
        typer.Option("--sade-potential/--no-sade-potential", help="Of the deficiency."),
    ] = None,
    unexpected: Annotated[
        bool | None, typer.Option("--unexpected/--expected", help="Anticipated or not.")
    ] = None,
    outcome: Outcome = None,
    session: Session = None,
    window_s: Window = None,
    aware: Annotated[
        str | None, typer.Option("--aware", help="When the site learnt of it; default: now.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow up or correct an event; the old values stay, and a new class is due anew."""
    from trialkit import participants
    from trialkit.study import Study

    if criterion is not None and not_serious:
        raise UsageError("--criterion excludes --not-serious.", remedy="Give one of them.")
    named = {
        "term": term, "category": category, "severity": severity, "day": day, "end_day": end_day,
        "criterion": criterion, "related_device": related_device,
        "related_training": related_training, "sade_potential": potential,
        "expected": None if unexpected is None else not unexpected, "outcome": outcome,
        "session": session, "window_s": _window(window_s),
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if not_serious:
        changes |= {"serious": False, "criterion": None}
    with Study.open(study, actor=user) as opened:
        event = participants.update_ae(
            opened, usubjid, ae, changes=changes, reason=reason, aware_at=aware
        )
        row = _of(participants.list_aes(opened), ae)
    text = f"{ae}: {'/'.join(row.classes)}, changed {', '.join(sorted(event.payload['changes']))}"
    show_event(event, text, as_json, classes=row.classes, due_at=row.due_at)


@aes.command()
def notify(
    usubjid: Who,
    ae: Id,
    study: StudyOption,
    to: Annotated[str, typer.Option("--to", help="Who got the report, such as sponsor.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that the report of an event was sent; its clock ends."""
    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = participants.notify_ae(opened, usubjid, ae, to=to)
    show_event(event, f"{ae}: report sent to {to}", as_json)


@aes.command("list")
def list_(
    study: StudyOption,
    due: Annotated[
        bool, typer.Option("--due", help="Only reports that are due or overdue, by urgency.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """List adverse events with their class, and when their report is due."""
    from dataclasses import asdict

    from trialkit import participants
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        rows = participants.list_aes(opened, due=due)
    lines = [
        f"{row.ae}  {row.main}  day {row.facts['day']}  {row.facts['severity']}  "
        f"{row.facts['term']}{_clock(row)}"
        for row in rows
    ]
    data = [{**asdict(row), "overdue": row.overdue} for row in rows]
    late = sum(row.overdue for row in rows)
    text = "\n".join([*lines, f"{len(rows)} events, {late} overdue"])
    emit({"events": data, "count": len(rows), "overdue": late}, text, as_json=as_json)


def _of(rows: list[AdverseEventRow], ae: str) -> AdverseEventRow:
    return next(row for row in rows if row.ae == ae)


def _clock(row: AdverseEventRow) -> str:
    if row.due_at is None or row.hours_left is None:
        return ""
    word = "OVERDUE since" if row.overdue else "due"
    return f"  {word} {row.due_at[:16]}Z{_unverified(row)}"


def _unverified(row: AdverseEventRow) -> str:
    return "" if row.verified else " (hours not verified)"


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        return float(first), float(last)
    except ValueError as error:
        raise UsageError(f"--window {text}.", remedy="Write FROM:TO in seconds.") from error
