"""Records in REDCap's raw flat form: a row a record and event, and a row a repetition."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from trialkit._canonical import sha256_file
from trialkit.exchange.foreign.contents import STATUS, Filled, Group, Subject, entry_text
from trialkit.exchange.foreign.table import Row, Table
from trialkit.exchange.redcap.dictionary import flag_codes
from trialkit.exchange.redcap.names import (
    EVENT,
    INSTANCE,
    INSTRUMENT,
    RECORD_ID,
    STRUCTURE,
    Names,
    box,
    choice_codes,
)
from trialkit.protocol.forms import Entry, Item, asked_items
from trialkit.protocol.forms.model import choice_text
from trialkit.protocol.forms.skip import names as used_in

Cells = dict[str, str]


def record_columns(groups: list[Group], names: Names) -> list[str]:
    """Return the columns of the records: REDCap's own, then each form's fields and its status."""
    columns = [RECORD_ID, *STRUCTURE]
    for group in groups:
        columns += [names.variables[group.code, item.id] for item in group.items]
        if group.code in names.flags:
            columns += [box(names.flags[group.code], code) for code in flag_codes(group)]
        columns.append(f"{names.forms[group.code]}_complete")
    return columns


def record_rows(subject: Subject, groups: dict[str, Group], names: Names) -> Iterator[Cells]:
    """Yield the rows of one participant: events in their order, then repetitions."""
    rows: dict[str, Cells] = {}
    repeats: list[Cells] = []
    for filled in subject.filled:
        group = groups[filled.group]
        event = names.events[filled.visit]
        cells = _cells(filled, group, names)
        if group.repeating and filled.values:
            own = {INSTRUMENT: names.forms[group.code], INSTANCE: str(filled.instance)}
            repeats.append({RECORD_ID: subject.usubjid, EVENT: event} | own | cells)
        elif not group.repeating:
            rows.setdefault(event, {RECORD_ID: subject.usubjid, EVENT: event}).update(cells)
    yield from rows.values()
    yield from repeats


def _cells(filled: Filled, group: Group, names: Names) -> Cells:
    values = filled.values
    cells = {
        names.variables[group.code, item.id]: _code(item, values[item.id])
        for item in group.items
        if values.get(item.id) is not None
    }
    if group.form is not None:
        for item, code in _missing(group, values):
            cells[names.variables[group.code, item.id]] = code
    if group.code in names.flags and values.get(STATUS) == "done":
        ticked = {item.id for item in group.items if item.id in filled.flags}
        boxes = zip(flag_codes(group), (i.id for i in group.items if i.plausible), strict=True)
        for code, item_id in boxes:
            cells[box(names.flags[group.code], code)] = "1" if item_id in ticked else "0"
    cells[f"{names.forms[group.code]}_complete"] = "2" if filled.verified else "1"
    return cells


def _code(item: Item, value: Entry) -> str:
    """Return an entry in REDCap's raw form."""
    if item.type == "yes_no":
        return "1" if value == "Y" else "0"
    if item.choices and value is not None:
        return choice_codes(item)[choice_text(value)]
    return entry_text(value)


def _missing(group: Group, values: dict[str, Entry]) -> Iterator[tuple[Item, str]]:
    """Yield what was asked for and is missing, with the code that says why."""
    form = group.form
    if form is None:
        return
    status = values.get(STATUS)
    code = {"done": "NI", "unable": "UNABLE"}.get(str(status), "NASK")
    conditions = {name for item in form.items if item.when for name in used_in(item.when)}
    asked = asked_items(form, values) if status == "done" else [i for i in form.items if not i.when]
    for item in asked:
        free = item.type != "text" and item.id not in conditions
        if free and values.get(item.id) is None and code not in choice_codes(item).values():
            yield item, code


# --- reading -------------------------------------------------------------------------------


def read_records(path: Path, *, participant: str = RECORD_ID) -> Table:
    """Return the records of a CSV file as REDCap exports it: raw values, not labels.

    Parameters
    ----------
    path : Path
        UTF-8 with a header.
    participant : str
        The column of the record id.
    """
    table = Table(path.name, "")
    try:
        table.sha256 = sha256_file(path)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            _check_header(table, header, participant)
            for cells in () if table.findings else reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    what = f"{len(cells)} cells under {len(header)} columns."
                    table.fault(path.name, reader.line_num, what, "Mend the row.")
                    continue
                table.rows.append(
                    _read(
                        path.name,
                        reader.line_num,
                        dict(zip(header, cells, strict=True)),
                        participant,
                    )
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        table.fault(path.name, None, f"cannot be read: {error}.", "Give a CSV file in UTF-8.")
    for row in table.rows:
        if not row.participant:
            table.fault(row.where, row.line, "the participant is missing.", "Enter it.")
    if not table.rows and not table.findings:
        table.fault(path.name, 1, "the file has no records.", "Export them again.")
    return table


def _check_header(table: Table, header: list[str], participant: str) -> None:
    for name in sorted({name for name in header if header.count(name) > 1}):
        table.fault(f"{table.name}:{name}", 1, "the column is there twice.", "Keep one.")
    if participant not in header:
        remedy = "Name it in the mapping as participant."
        if len(header) == 1:
            remedy = "Export it with commas between the columns."
        table.fault(table.name, 1, f"there is no column {participant}.", remedy)
    table.columns = [name for name in header if name not in (participant, *STRUCTURE)]


def _read(file: str, line: int, cells: Cells, participant: str) -> Row:
    return Row(
        where=file,
        line=line,
        participant=cells[participant].strip(),
        event=cells.get(EVENT, "").strip(),
        instrument=cells.get(INSTRUMENT, "").strip(),
        instance=cells.get(INSTANCE, "").strip(),
        cells=cells,
    )
