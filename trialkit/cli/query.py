"""Verbs about queries: ``query list|raise|answer|close|reopen|run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note, show_event

if TYPE_CHECKING:
    from trialkit.participants import QueryRow

Id = Annotated[str, typer.Argument(metavar="QUERY", help="Id of the query, such as Q0001.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]

queries = typer.Typer(no_args_is_help=True, help="Queries: questions about data.")


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.add_typer(queries, name="query")


@queries.command("list")
def list_(
    study: StudyOption,
    closed: Annotated[bool, typer.Option("--closed", help="Closed queries too.")] = False,
    participant: Annotated[
        str | None, typer.Option("--participant", help="Only of this USUBJID.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """List queries with their age; those about sessions only to roles that may see arms."""
    from trialkit.participants import list_queries
    from trialkit.study import Study

    status = ("open", "answered", "closed") if closed else ("open", "answered")
    with Study.open(study, actor=user, write=False) as opened:
        rows = list_queries(opened, status=status, usubjid=participant)
    _show(rows, as_json)


@queries.command("run")
def run(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Raise a query for whatever the rules and the checks of the data find now."""
    from trialkit.data import query_findings
    from trialkit.participants import run_queries
    from trialkit.study import Study

    note("checking the data ...")
    with Study.open(study, actor=user) as opened:
        opened.require("query", command="run_queries")
        rows = run_queries(opened, query_findings(opened))
    _show(rows, as_json)


@queries.command("raise")
def raise_(
    usubjid: Annotated[str, typer.Argument(metavar="USUBJID", help="The participant.")],
    study: StudyOption,
    text: Annotated[str, typer.Option("--text", help="The question.")],
    visit: Annotated[str | None, typer.Option("--visit", help="About this visit.")] = None,
    instrument: Annotated[str | None, typer.Option("--form", help="About this form.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="About this item of it.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="About this session.")] = None,
    diary: Annotated[str | None, typer.Option("--diary", help="About this diary.")] = None,
    ae: Annotated[str | None, typer.Option("--ae", help="About this adverse event.")] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise a query about a participant, or one thing that was entered."""
    from trialkit.participants import raise_query
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = raise_query(
            opened,
            usubjid,
            text=text,
            visit=visit,
            instrument=instrument,
            item=item,
            session=session,
            diary=diary,
            ae=ae,
        )
    show_event(event, f"{event.payload['query']} raised: {text}", as_json)


@queries.command("answer")
def answer(
    query: Id,
    study: StudyOption,
    text: Annotated[str, typer.Option("--text", help="The answer.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a query; it stays until another person closes it."""
    from trialkit.participants import answer_query
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = answer_query(opened, query, text=text)
    show_event(event, f"{query} answered", as_json)


@queries.command("close")
def close(
    query: Id,
    study: StudyOption,
    reason: ReasonOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a query; never by whoever gave its last answer."""
    from trialkit.participants import close_query
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = close_query(opened, query, reason=reason)
    show_event(event, f"{query} closed: {reason}", as_json)


@queries.command("reopen")
def reopen(
    query: Id,
    study: StudyOption,
    reason: ReasonOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a closed query again."""
    from trialkit.participants import reopen_query
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        event = reopen_query(opened, query, reason=reason)
    show_event(event, f"{query} reopened: {reason}", as_json)


def _corrected(row: QueryRow) -> str:
    if row.corrections:
        return f"  (corrected: event {', '.join(map(str, row.corrections))})"
    return f"  (corrected {row.corrected} times)" if row.corrected else ""


def _show(rows: list[QueryRow], as_json: bool) -> None:
    from trialkit.participants.queries import as_dict

    lines = [
        f"{row.query}  {row.status}  {row.age_days:.0f} d  {row.usubjid or '-'}  {row.text}"
        f"{_corrected(row)}"
        for row in rows
    ]
    data = [as_dict(row) for row in rows]
    text = "\n".join([*lines, f"{len(rows)} queries"])
    emit({"queries": data, "count": len(rows)}, text, as_json=as_json)
