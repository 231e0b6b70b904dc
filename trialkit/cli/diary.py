"""The verb ``diary``: what a participant's diary says, and its corrections."""

from __future__ import annotations

from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, show_event
from trialkit.errors import UsageError

Who = Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")]


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("diary")(diary)


def diary(
    usubjid: Who,
    diary: Annotated[str, typer.Argument(help="PARAMCD of the diary, such as FALL.")],
    study: StudyOption,
    from_day: Annotated[
        int | None, typer.Option("--from", help="First observed study day.")
    ] = None,
    to_day: Annotated[int | None, typer.Option("--to", help="Last observed study day.")] = None,
    entries: Annotated[
        list[str] | None,
        typer.Option("--entry", help="An event: DAY, or DAY:GRADE (1 near-fall ... 4 admission)."),
    ] = None,
    correct: Annotated[
        str | None,
        typer.Option(
            "--correct", help="Correct this diary, by its name (R01) or event; needs --reason."
        ),
    ] = None,
    no_entries: Annotated[
        bool, typer.Option("--no-entries", help="With --correct: take all entries away.")
    ] = False,
    on: Annotated[
        str | None, typer.Option("--on", help="Date of the return; default: its last day.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it is corrected, or entered late.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a returned diary, or correct one; days that no diary covers are not exposure."""
    from trialkit import participants
    from trialkit.study import Study

    if no_entries and entries:
        raise UsageError("--no-entries excludes --entry.", remedy="Give one of them.")
    listed = [_entry(text) for text in entries or []]
    with Study.open(study, actor=user) as opened:
        if correct is not None and on is not None:
            raise UsageError("--on is of a return.", remedy="Leave it out of a correction.")
        if correct is not None:
            event = participants.correct_diary(
                opened,
                usubjid,
                returned=int(correct) if correct.isdecimal() else correct,
                reason=reason or "",
                from_day=from_day,
                to_day=to_day,
                entries=listed if entries or no_entries else None,
            )
        elif from_day is None or to_day is None or no_entries:
            raise UsageError(
                "a returned diary has a first and a last day.", remedy="Give --from and --to."
            )
        else:
            event = participants.return_diary(
                opened,
                usubjid,
                diary=diary,
                from_day=from_day,
                to_day=to_day,
                entries=listed,
                returned_on=on,
                reason=reason,
            )
        summary = participants.summarise_diary(opened, usubjid, event.payload["diary"])
        p = event.payload
        name = participants.return_name(opened.participant(usubjid), p.get("returned", event.seq))
    n = len(p["entries"])
    days = f"day {p['from_day']} to {p['to_day']}"
    text = f"{p['diary']} diary {name} of {usubjid}, {days}: {n} entries"
    rate = None if summary.rate_per_year is None else round(summary.rate_per_year, 3)
    show_event(event, text, as_json, name=name, summary={**vars(summary), "rate_per_year": rate})


def _entry(text: str) -> dict[str, int | None]:
    day, _, grade = text.partition(":")
    try:
        return {"day": int(day), "grade": int(grade) if grade else None}
    except ValueError as error:
        raise UsageError(f"--entry {text}.", remedy="Write DAY or DAY:GRADE.") from error
