"""REDCap records into a study, and the draft of their mapping."""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import MappingFindings
from trialkit.exchange.foreign.contents import layout
from trialkit.exchange.foreign.draft import draft_mapping
from trialkit.exchange.foreign.enter import Imported, import_forms
from trialkit.exchange.foreign.mapping import load_exchange_mapping
from trialkit.exchange.redcap.dictionary import flag_codes, read_dictionary
from trialkit.exchange.redcap.names import MISSING, RECORD_ID, box, redcap_names
from trialkit.exchange.redcap.records import read_records
from trialkit.study import Study


def import_redcap(
    study: Study,
    mapping: str | Path,
    records: str | Path,
    *,
    dictionary: str | Path | None = None,
    check_only: bool = False,
) -> Imported:
    """Enter the forms of REDCap records through a mapping; see `import_forms`.

    Parameters
    ----------
    study : Study
        Open for writing.
    mapping, records : path
    dictionary : path or None
        The project's data dictionary: codes, types and units are then checked against it.
    check_only : bool
        Go through all of it and keep nothing.

    Raises
    ------
    MappingFindings
        With every fault of mapping, dictionary and records; nothing was entered.
    NotPermitted, DataLocked
        As `import_forms` does.
    """
    known, _ = load_exchange_mapping(Path(mapping))
    table = read_records(Path(records), participant=known.participant)
    if dictionary is not None:
        described = read_dictionary(Path(dictionary))
        table.fields, table.findings = described.fields, [*table.findings, *described.findings]
    return import_forms(study, mapping, table, format="redcap", check_only=check_only)


def draft_redcap(study: Study, dictionary: str | Path) -> str:
    """Return a draft of the mapping for the records of a data dictionary.

    Raises
    ------
    MappingFindings
        With every fault of the dictionary.
    """
    dictionary = Path(dictionary)
    read = read_dictionary(dictionary)
    if read.findings:
        raise MappingFindings(
            f"{dictionary.name} is no data dictionary.", read.findings, remedy="Download it again."
        )
    groups = layout(study)
    names = redcap_names(groups, study.design)
    first = next(iter(read.fields), RECORD_ID)
    flags = [
        box(names.flags[g.code], code)
        for g in groups
        if g.code in names.flags
        for code in flag_codes(g)
    ]
    return draft_mapping(
        "redcap",
        groups,
        {column: field for column, field in read.fields.items() if column != first},
        own=names.variables,
        events=names.events,
        missing=list(MISSING),
        ignore=[
            *(f for f in flags if f in read.fields),
            *(f"{form}_complete" for form in read.forms),
        ],
        participant=first,
    )
