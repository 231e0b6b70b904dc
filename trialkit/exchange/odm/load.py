"""ODM values into a study, and the draft of their mapping."""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import MappingFindings
from trialkit.exchange.foreign.contents import layout
from trialkit.exchange.foreign.draft import draft_mapping
from trialkit.exchange.foreign.enter import Imported, import_forms
from trialkit.exchange.odm.metadata import event_oid, item_oid
from trialkit.exchange.odm.read import read_odm
from trialkit.study import Study


def import_odm(
    study: Study, mapping: str | Path, file: str | Path, *, check_only: bool = False
) -> Imported:
    """Enter the forms of an ODM 2.0 file through a mapping; see `import_forms`.

    Of a transactional file the values that stand at its end are entered; the history stays in the
    file, whose hash is in every form that came from it.

    Parameters
    ----------
    study : Study
        Open for writing.
    mapping, file : path
    check_only : bool
        Go through all of it and keep nothing.

    Raises
    ------
    MappingFindings
        With every fault of mapping and file; nothing was entered.
    NotPermitted, DataLocked
        As `import_forms` does.
    """
    return import_forms(study, mapping, read_odm(Path(file)), format="odm", check_only=check_only)


def draft_odm(study: Study, file: str | Path) -> str:
    """Return a draft of the mapping for an ODM 2.0 file, from the file's own design.

    Raises
    ------
    MappingFindings
        If the file cannot be read.
    """
    file = Path(file)
    table = read_odm(file)
    if table.findings:
        raise MappingFindings(
            f"{file.name} cannot be read as ODM 2.0.", table.findings, remedy="Export it again."
        )
    groups = layout(study)
    return draft_mapping(
        "odm",
        groups,
        table.fields,
        own={(g.code, i.id): item_oid(g.code, i.id) for g in groups for i in g.items},
        events={visit.code: event_oid(visit.code) for visit in study.design.visits},
        missing=[],
        ignore=table.units,
    )
