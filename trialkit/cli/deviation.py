"""Verbs about deviations: ``deviation list|raise|acknowledge|resolve``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trialkit.cli._common import (
    JsonOption,
    StudyOption,
    UserOption,
    counts_events,
    emit,
    show_event,
)

Id = Annotated[str, typer.Argument(metavar="DEVIATION", help="Id of the deviation, such as D0001.")]

deviations = typer.Typer(no_args_is_help=True, help="Deviations from the protocol.")


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.add_typer(deviations, name="deviation")


@deviations.command("list")
def list_(
    study: StudyOption,
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="Leave out what is resolved.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deviations; those of sessions only to roles that may see arms."""
    from dataclasses import asdict

    from trialkit.participants import list_deviations
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        rows = list_deviations(opened, unresolved=unresolved)
        hidden = set() if counts_events(opened.role) else {"seq"}
    lines = [
        f"{row.deviation}  {row.status}  {row.classification or 'not classified'}  "
        f"{row.usubjid or '-'}  {row.category}: {row.detail}"
        for row in rows
    ]
    data = [{k: v for k, v in asdict(row).items() if k not in hidden} for row in rows]
    text = "\n".join([*lines, f"{len(rows)} deviations"])
    emit({"deviations": data, "count": len(rows)}, text, as_json=as_json)


@deviations.command("raise")
def raise_(
    usubjid: Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")],
    study: StudyOption,
    category: Annotated[str, typer.Option("--category", help="Category, such as eligibility.")],
    detail: Annotated[str, typer.Option("--detail", help="What happened.")],
    day: Annotated[int | None, typer.Option("--day", help="Study day.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="The session.")] = None,
    classification: Annotated[
        str | None, typer.Option("--class", help="minor or major; default: the investigator's.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why it is entered late.")] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a deviation that a person found."""
    from trialkit.participants import raise_deviation
    from trialkit.study import Study

    named: Any = classification
    with Study.open(study, actor=user) as opened:
        event = raise_deviation(
            opened,
            usubjid,
            category=category,
            detail=detail,
            day=day,
            session=session,
            classification=named,
            reason=reason,
        )
        name = list(opened.state.deviations)[-1]
    show_event(event, f"{name} raised: {category}", as_json, deviation=name)


@deviations.command("acknowledge")
def acknowledge(
    deviation: Id,
    study: StudyOption,
    classification: Annotated[str, typer.Option("--class", help="minor or major.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is classified so.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take note of a deviation and classify it."""
    from trialkit.participants import acknowledge_deviation
    from trialkit.study import Study

    named: Any = classification
    with Study.open(study, actor=user) as opened:
        event = acknowledge_deviation(opened, deviation, classification=named, reason=reason)
    show_event(event, f"{deviation} acknowledged: {classification}", as_json)


@deviations.command("resolve")
def resolve(
    deviation: Id,
    study: StudyOption,
    reason: Annotated[str, typer.Option("--reason", help="What was done about it.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle a deviation."""
    from trialkit.participants import resolve_deviation
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = resolve_deviation(opened, deviation, reason=reason)
    show_event(event, f"{deviation} resolved", as_json)
