"""Verbs of the data room: ``import``, ``queries``, ``snapshot``, ``export-session``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("snapshot")(snapshot)
    app.command("queries")(queries)
    app.command("import")(import_)
    app.command("export-session")(export_session)


def snapshot(
    study: StudyOption,
    unblind: Annotated[
        bool, typer.Option("--unblind", help="Show the arms; needs a locked plan.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the tables of a study into a snapshot with one hash."""
    from trialkit.data import build_snapshot
    from trialkit.study import Study

    note("deriving the tables from the record ...")
    with Study.open(study, actor=user, whole=True) as opened:
        built = build_snapshot(opened, unblind=unblind)
    tables = {name: len(frame) for name, frame in built.frames.items()}
    what = "unblinded" if built.unblinded else "blinded"
    lines = [
        f"snapshot {built.hash[:12]} ({what}): {built.folder}",
        *(f"  {name:<8} {rows:>7} rows" for name, rows in tables.items() if rows),
        f"open queries: {built.manifest['queries']}",
    ]
    data = {
        "snapshot": built.hash,
        "folder": str(built.folder),
        "unblinded": built.unblinded,
        "upto_seq": built.upto_seq,
        "queries": built.manifest["queries"],
        "tables": tables,
    }
    emit(data, "\n".join(lines), as_json=as_json)


def queries(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """List every failed check of the data; exit status 3 where there are some."""
    from trialkit.data import queries as open_queries
    from trialkit.errors import DataFindings
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        found = open_queries(opened)
    rows: list[dict[Any, Any]] = found.to_dict("records")
    lines = [
        f"{r['usubjid'] or '-'}  {r['domain']} {r['row']}  {r['column']}={r['value']}  "
        f"{r['check']}: {r['remedy']}"
        for r in rows
    ]
    text = "\n".join([*lines, f"{len(rows)} open queries"])
    emit({"queries": rows, "count": len(rows)}, text, as_json=as_json)
    if rows:
        raise typer.Exit(DataFindings.exit_status)


def import_(
    data: Annotated[Path, typer.Argument(help="The table: CSV with a header, perhaps gzipped.")],
    study: StudyOption,
    mapping: Annotated[
        str, typer.Option("--map", help="The mapping: a file, or the name of a shipped one.")
    ],
    plan: Annotated[
        str | None, typer.Option("--plan", help="The plan: a file, or the name of a shipped one.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a study from a table in long format, through a mapping."""
    from trialkit._content import find_content
    from trialkit.exchange import import_table
    from trialkit.study.files import login_name

    with import_table(
        find_content("analyses", _file(mapping, ".mapping.yaml")),
        data,
        study,
        actor=user or login_name(),
        plan=find_content("analyses", _file(plan, ".sap.yaml")) if plan else None,
    ) as made:
        people, events = len(made.state.participants), made.state.seq
        result = {
            "study": str(made.folder),
            "study_id": made.state.study_id,
            "participants": people,
            "events": events,
        }
    text = f"study {result['study_id']} in {study}: {people} participants, {events} events"
    emit(result, text, as_json=as_json)


def _file(name: str, suffix: str) -> str:
    """Return a path as it is, and a bare name with the suffix of its kind."""
    return name if Path(name).exists() or name.endswith(".yaml") else f"{name}{suffix}"


def export_session(
    study: StudyOption,
    session: Annotated[str, typer.Argument(help="The session, by its id.")],
    out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")],
    format_: Annotated[str, typer.Option("--format", help="bids, c3d or mcap.")] = "bids",
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the sealed telemetry of a session as BIDS-motion, C3D or MCAP."""
    from trialkit.exchange import export_session as export
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        done = export(opened, session, format=format_, out=out)
    lines = [f"{session} as {format_}: {len(done.files)} file(s) in {done.folder}"]
    if done.left_out:
        lines.append(f"left out, no constant rate: {', '.join(done.left_out)}")
    data = {
        "session": session,
        "format": format_,
        "folder": str(done.folder),
        "files": dict(done.files),
        "left_out": list(done.left_out),
    }
    emit(data, "\n".join(lines), as_json=as_json)
