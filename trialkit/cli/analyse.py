"""Verbs of the analysis room: ``analyse``, ``results``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note

if TYPE_CHECKING:
    from trialkit.results import Results
    from trialkit.study import Study


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("analyse")(analyse)
    app.command("results")(results)


def analyse(
    study: StudyOption,
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", help="Folder or hash of an unblinded snapshot; default: build it."
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="The plan file; it must be the locked one.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the locked plan on an unblinded snapshot and store the results."""
    from trialkit.analysis import analyse as run
    from trialkit.study import Study

    note("running the registered analyses ...")
    with Study.open(study, actor=user, whole=True) as opened:
        found = run(opened, snapshot=snapshot, plan=plan)
        folder = opened.folder / "results" / found.hash[:12]
    text = "\n".join([found.summary(), f"results {found.hash[:12]}: {folder}"])
    emit(_overview(found, folder), text, as_json=as_json)


def results(
    study: StudyOption,
    identifier: Annotated[
        str | None, typer.Argument(help="An analysis, or the id of one result; default: all.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--results", help="Hash of the results; default: the latest.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show results by id; their hash is checked against the record."""
    from trialkit.results import format_value
    from trialkit.study import Study
    from trialkit.study.guards import require_reader

    with Study.open(study, actor=user, write=False) as opened:
        require_reader(opened, "results")
        found, folder = _stored(opened, run)
    if identifier is None:
        emit(_overview(found, folder), found.summary(), as_json=as_json)
        return
    if identifier in found.analyses:
        rows: list[dict[Any, Any]] = found[identifier].table.to_dict("records")
        head = [found[identifier].summary()]
    else:
        rows = [dict(found.get(identifier))]
        head = []
    lines = []
    for row in rows:
        number = format_value(row["statistic"], row["value"])
        said = [number, row["unit"] or "", row["text"] or "", row["reason"] or ""]
        lines.append(f"{row['id']}  {' '.join(part for part in said if part)}")
    plain = [{k: None if v != v else v for k, v in row.items()} for row in rows]
    emit({"results": plain}, "\n".join([*head, *lines]), as_json=as_json)


def _stored(study: Study, wanted: str | None) -> tuple[Results, Path]:
    """Return results that the record names, checked against its hash."""
    from trialkit.errors import UnknownName
    from trialkit.record.kinds import AnalysisRun
    from trialkit.results import Results

    runs = [event.payload for event in study.record.read(kinds=[AnalysisRun.kind])]
    if wanted is not None:
        runs = [payload for payload in runs if payload["results"].startswith(wanted)]
    if not runs:
        raise UnknownName(
            f"no results {wanted}." if wanted else "this study has no results.",
            remedy="Run `trialkit analyse --study FOLDER`.",
        )
    last = runs[-1]
    folder = study.folder / last["folder"]
    return Results.load(folder, expected=last["results"]), folder


def _overview(found: Results, folder: Path) -> dict[str, Any]:
    rows = [found[code].comparison() for code in found.meta["analyses"]]
    return {
        "results": found.hash,
        "folder": str(folder),
        "statistics": len(found.table),
        "plan": found.meta["plan"],
        "lock": found.meta.get("lock"),
        "snapshot": found.meta.get("snapshot"),
        "analyses": [{k: None if v != v else v for k, v in row.items()} for row in rows],
    }
