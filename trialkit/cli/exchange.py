"""Verbs about other systems: ``redcap`` and ``odm``, each ``export``, ``draft`` and ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit

if TYPE_CHECKING:
    from trialkit.exchange.foreign import Imported
    from trialkit.exchange.foreign.give import Given

MapOption = Annotated[Path, typer.Option("--map", help="The mapping, YAML.")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Go through all of it, and enter nothing.")
]
DraftOut = Annotated[Path, typer.Option("--out", help="The mapping to write; must not exist.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    redcap = typer.Typer(no_args_is_help=True, help="Forms to and from REDCap.")
    redcap.command("export")(export_redcap)
    redcap.command("draft")(draft_redcap)
    redcap.command("import")(import_redcap)
    app.add_typer(redcap, name="redcap")
    odm = typer.Typer(no_args_is_help=True, help="Forms to and from CDISC ODM 2.0.")
    odm.command("export")(export_odm)
    odm.command("draft")(draft_odm)
    odm.command("import")(import_odm)
    app.add_typer(odm, name="odm")


def export_redcap(
    study: StudyOption,
    out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write data dictionary, records and set-up of the project; no arm is told."""
    from trialkit.exchange.redcap import export_redcap as export
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        _show_given(export(opened, out), as_json)


def draft_redcap(
    dictionary: Annotated[Path, typer.Argument(help="The data dictionary, CSV.")],
    study: StudyOption,
    out: DraftOut,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a draft of a mapping from a data dictionary, to be edited by hand."""
    from trialkit.exchange.redcap import draft_redcap as draft
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        text = draft(opened, dictionary)
    _write_draft(out, text, as_json)


def import_redcap(
    records: Annotated[Path, typer.Argument(help="The records, CSV with raw values.")],
    study: StudyOption,
    mapping: MapOption,
    dictionary: Annotated[
        Path | None,
        typer.Option("--dictionary", help="The data dictionary: checks codes, types and units."),
    ] = None,
    check: CheckOption = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter the forms of REDCap records through a mapping: all of them, or none."""
    from trialkit.exchange.redcap import import_redcap as import_
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        done = import_(opened, mapping, records, dictionary=dictionary, check_only=check)
    _show_imported(done, as_json)


def export_odm(
    study: StudyOption,
    out: Annotated[Path, typer.Option("--out", help="A file that does not exist yet.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write design, users, sites and every value with its history as ODM 2.0; no arm is told."""
    from trialkit.exchange.odm import export_odm as export
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        _show_given(export(opened, out), as_json)


def draft_odm(
    file: Annotated[Path, typer.Argument(help="The ODM 2.0 file.")],
    study: StudyOption,
    out: DraftOut,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a draft of a mapping from the design in an ODM file, to be edited by hand."""
    from trialkit.exchange.odm import draft_odm as draft
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        text = draft(opened, file)
    _write_draft(out, text, as_json)


def import_odm(
    file: Annotated[Path, typer.Argument(help="The ODM 2.0 file.")],
    study: StudyOption,
    mapping: MapOption,
    check: CheckOption = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter the forms of an ODM file through a mapping: all of them, or none."""
    from trialkit.exchange.odm import import_odm as import_
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        done = import_(opened, mapping, file, check_only=check)
    _show_imported(done, as_json)


def _show_given(given: Given, as_json: bool) -> None:
    text = f"{given.participants} participants, {given.values} values: {given.path}"
    emit(given.to_dict(), text, as_json=as_json)


def _write_draft(out: Path, text: str, as_json: bool) -> None:
    import yaml

    from trialkit._canonical import write_durably
    from trialkit.exchange.foreign.give import require_new
    from trialkit.record.storage import storage_guard

    require_new(out)
    with storage_guard(out):
        write_durably(out, text.encode())
    data = yaml.safe_load(text)
    forms, open_ = [f["form"] for f in data["forms"]], data["undecided"]
    said = f"{out}: {len(forms)} forms, {len(open_)} columns undecided; read it before you use it"
    emit({"mapping": str(out), "forms": forms, "undecided": open_}, said, as_json=as_json)


def _show_imported(done: Imported, as_json: bool) -> None:
    what = "would be entered" if done.checked else "entered"
    lines = [
        f"{done.table}: {len(done.changes)} {what}, {done.unchanged} unchanged, "
        f"{len(done.conflicts)} recorded otherwise"
    ]
    lines += [f"  {c.where}:{c.line or ''} {c.usubjid} {c.text}" for c in done.conflicts]
    if done.queries:
        lines.append(f"queries: {', '.join(done.queries)}")
    if done.event is not None:
        lines.append(f"event {done.event.hash[:16]}")
    emit(done.to_dict(), "\n".join(lines), as_json=as_json)
