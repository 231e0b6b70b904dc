"""Entry of forms from a file: every step by its own command, all of them in one transaction.

The file is checked by doing it: each visit, form and diary goes through the command that people
use, with all its guards, inside one transaction. Where anything is found the transaction is taken
back, and what was found is told at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trialkit import participants
from trialkit._canonical import canonical_json, sha256_file, sha256_json
from trialkit.errors import (
    DataLocked,
    Finding,
    MappingFindings,
    NotAuthenticated,
    NotPermitted,
    OutOfRange,
    OutOfWindow,
    StorageRefused,
    TrialkitError,
)
from trialkit.exchange.foreign.check import check_mapping
from trialkit.exchange.foreign.mapping import ExchangeMapping, load_exchange_mapping
from trialkit.exchange.foreign.read import DiaryCell, FormCell, Reading, VisitCell
from trialkit.exchange.foreign.table import Table
from trialkit.participants.queries import names_arm
from trialkit.protocol.forms import read_entries
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AssessmentRecorded,
    DataImported,
    DiaryReturned,
    ImportedChange,
    Place,
    QueryRaised,
)
from trialkit.record.state import AssessmentState, next_query
from trialkit.study import Study
from trialkit.study.commands import command

#: Refusals that are about the person or the study, and not about a row.
_WHOLE = (NotPermitted, NotAuthenticated, DataLocked, StorageRefused)


@dataclass(frozen=True)
class Conflict:
    """An entry of the file that is recorded otherwise; `item` may be ``status`` or ``day``."""

    where: str
    line: int | None
    usubjid: str
    place: Place
    item: str
    recorded: object
    given: object

    @property
    def text(self) -> str:
        """The conflict in words."""
        about = [self.place.instrument, self.place.visit or self.place.diary]
        at = " at ".join(part for part in about if part)
        recorded = "nothing" if self.recorded is None else canonical_json(self.recorded)
        return (
            f"{at}: {self.item} is recorded as {recorded}, "
            f"the file has {canonical_json(self.given)}"
        )


@dataclass
class Imported:
    """What became of a file.

    Attributes
    ----------
    table : str
        Name of the file.
    checked : bool
        True where it was only checked, and nothing was kept.
    changes : list of ImportedChange
        Events that came with the file.
    unchanged : int
        Visits, forms and diaries that are recorded as the file has them.
    conflicts : list of Conflict
    queries : list of str
        Raised for the conflicts.
    event : Event or None
        ``data.imported``; None where nothing was to be entered.
    """

    table: str
    checked: bool = False
    changes: list[ImportedChange] = field(default_factory=list)
    unchanged: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    event: Event | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without numbers of events: they tell of sessions."""
        return {
            "file": self.table,
            "checked": self.checked,
            "changes": [change.model_dump(exclude={"seq"}) for change in self.changes],
            "unchanged": self.unchanged,
            "conflicts": [
                asdict(c) | {"place": c.place.model_dump(exclude_none=True)} for c in self.conflicts
            ],
            "queries": self.queries,
            "event": self.event.hash if self.event else None,
        }


class _TakenBack(Exception):
    """Ends the transaction of a check, so that nothing of it is kept."""


@command("import_forms", atomic=False)
def import_forms(
    study: Study, mapping_path: str | Path, table: Table, *, format: str, check_only: bool = False
) -> Imported:
    """Enter the forms, visits and diaries of a file through a mapping, all or nothing.

    What is recorded already and equal is left as it is; what is recorded otherwise is a conflict,
    and never overwritten. A second import of the same file therefore appends nothing.

    Parameters
    ----------
    study : Study
        Open for writing.
    mapping_path : path
    table : Table
        The file, as the reader of its format returns it.
    format : {"redcap", "odm"}
    check_only : bool
        Go through all of it and keep nothing.

    Returns
    -------
    Imported

    Raises
    ------
    NotPermitted
        If the role may not import forms, or a participant belongs to another site.
    DataLocked
        If the data are frozen or locked.
    MappingFindings
        With every fault of mapping and file; nothing was entered.
    """
    mapping_path = Path(mapping_path)
    mapping, lines = load_exchange_mapping(mapping_path)
    findings = list(table.findings)
    if mapping.format != format:
        findings.append(
            Finding("format", f"the mapping is for {mapping.format}.", f"Use one for {format}.")
        )
    findings = findings or check_mapping(mapping, lines, study.design, table)
    if findings:
        raise _refused(table, mapping_path, findings)
    reading = Reading(mapping, study.design, table)
    done = Imported(table.name, checked=check_only)
    with suppress(_TakenBack), study.batch(), study.entering(table.sha256):
        before = study.state.seq
        findings = [*reading.findings, *_enter(study, mapping, reading, done)]
        if findings:
            raise _refused(table, mapping_path, findings)
        _ask(study, table, done)
        done.changes = [
            _change(event)
            for event in study.record.read(after=before)
            if not event.kind.startswith("clock.")
        ]
        if done.changes:
            done.event = study.append(
                DataImported(
                    file=table.name,
                    file_sha256=table.sha256,
                    mapping_sha256=sha256_file(mapping_path),
                    rows=len(table.rows),
                    participants=len(reading.participants),
                    format=mapping.format,
                    changes=done.changes,
                    unchanged=done.unchanged,
                    queries=done.queries,
                )
            )
        if check_only:
            done.event = None
            raise _TakenBack
    return done


def _enter(
    study: Study, mapping: ExchangeMapping, reading: Reading, done: Imported
) -> list[Finding]:
    """Take every step, and return what was found."""
    for usubjid in sorted(reading.participants):
        study.require("import_forms", command="import_forms", subject=usubjid)
    findings: list[Finding] = []
    cells: list[VisitCell | FormCell | DiaryCell] = []
    cells += [*reading.visits, *reading.forms, *reading.diaries]
    for cell in cells:
        try:
            if isinstance(cell, VisitCell):
                _visit(study, mapping, cell, done)
            elif isinstance(cell, FormCell):
                _form(study, mapping, cell, done)
            else:
                _diary(study, mapping, cell, done)
        except _WHOLE:
            raise
        except TrialkitError as error:
            findings.append(Finding(cell.where, error.message, error.remedy, cell.line))
    if mapping.conflicts == "refuse":
        remedy = "Correct one of them by hand, or map conflicts: query."
        for c in done.conflicts:
            findings.append(Finding(c.where, f"{c.usubjid}, {c.text}.", remedy, c.line))
    return findings


def _refused(table: Table, mapping_path: Path, findings: list[Finding]) -> MappingFindings:
    return MappingFindings(
        f"{table.name} cannot be imported through {mapping_path.name}; nothing was entered.",
        findings,
        remedy="Mend the mapping or the file, and import again.",
    )


def _change(event: Event) -> ImportedChange:
    """Return what an event that came with the file is about."""
    p = event.payload
    if event.kind == DiaryReturned.kind:
        what = f"diary {p['diary']}, days {p['from_day']} to {p['to_day']}"
    elif event.kind == AssessmentRecorded.kind:
        what = f"{p['instrument']} at {p['visit']}"
    else:
        what = str(p.get("visit") or p.get("detail") or p.get("query") or event.kind)
    return ImportedChange(seq=event.seq, usubjid=event.subject, kind=event.kind, what=what)


def _visit(study: Study, mapping: ExchangeMapping, cell: VisitCell, done: Imported) -> None:
    known = study.participant(cell.usubjid).visits.get(cell.visit)
    if known is None:
        if cell.day is not None:
            hold = functools.partial(
                participants.hold_visit, study, cell.usubjid, cell.visit, day=cell.day
            )
            _timely(mapping, hold, cell.reason)
        else:
            participants.miss_visit(study, cell.usubjid, cell.visit, code=cell.missed or "")
        return
    recorded = known.day if known.held else "missed"  # why is no business of who imports
    given = cell.day if cell.day is not None else "missed"
    if recorded == given:
        done.unchanged += 1
    else:
        place = Place(visit=cell.visit)
        done.conflicts.append(
            Conflict(cell.where, cell.line, cell.usubjid, place, "visit", recorded, given)
        )


def _timely(
    mapping: ExchangeMapping, enter: Callable[..., object], reason: str | None = None
) -> None:
    """Enter something, with the reason of the mapping where it is late."""
    try:
        enter(reason=reason)
    except OutOfWindow as error:
        if mapping.late_reason is None or "delay_days" not in error.details:
            raise
        enter(reason=mapping.late_reason)


def _form(study: Study, mapping: ExchangeMapping, cell: FormCell, done: Imported) -> None:
    known = study.participant(cell.usubjid).assessments.get((cell.visit, cell.form))
    if known is not None:
        found = _against(study, cell, known)
        done.conflicts += found
        done.unchanged += not found
        return
    call: dict[str, Any] = {
        "visit": cell.visit,
        "instrument": cell.form,
        "items": cell.items,
        "status": cell.status or "done",
        "code": cell.code,
        "done_on": cell.done_on,
    }
    _timely(mapping, functools.partial(participants.assess, study, cell.usubjid, **call))


def _against(study: Study, cell: FormCell, known: AssessmentState) -> list[Conflict]:
    """Return what the file has otherwise than the record; what the file leaves out is none."""
    form = study.design.instrument(cell.form)
    kept = {name: value for name, value in known.items.items() if value is not None}
    read = read_entries(form, {**kept, **cell.items})
    own = {f"{cell.form}.{name}" for name in cell.items}
    if faulty := [f for f in read.findings if f.where in own]:
        text = "; ".join(f"{f.where}: {f.message.rstrip('.')}" for f in faulty)
        raise OutOfRange(f"{text}.", remedy=" ".join(dict.fromkeys(f.remedy for f in faulty)))
    pairs: dict[str, tuple[object, object]] = {
        name: (known.items.get(name), read.values[name]) for name in cell.items
    }
    pairs["status"] = (known.status, cell.status or "done")
    if cell.code is not None:
        pairs["code"] = (known.code, cell.code)
    if cell.done_on is not None:
        pairs["done_on"] = (known.done_on, cell.done_on)
    return [
        Conflict(
            cell.where,
            cell.line,
            cell.usubjid,
            Place(
                visit=cell.visit,
                instrument=cell.form,
                item=name if form.item(name) is not None else None,
            ),
            name,
            recorded,
            given,
        )
        for name, (recorded, given) in pairs.items()
        if recorded != given
    ]


def _diary(study: Study, mapping: ExchangeMapping, cell: DiaryCell, done: Imported) -> None:
    who = study.participant(cell.usubjid)
    entries = sorted(cell.entries, key=_by_day)
    given = {"from_day": cell.from_day, "to_day": cell.to_day, "entries": entries}
    for known in who.returns.values():
        if (
            known.diary != cell.diary
            or known.to_day < cell.from_day
            or cell.to_day < known.from_day
        ):
            continue
        recorded = {
            "from_day": known.from_day,
            "to_day": known.to_day,
            "entries": sorted(known.entries, key=_by_day),
        }
        if recorded == given:
            done.unchanged += 1
        else:
            place = Place(diary=cell.diary)
            done.conflicts.append(
                Conflict(cell.where, cell.line, cell.usubjid, place, "days", recorded, given)
            )
        return
    give = functools.partial(
        participants.return_diary,
        study,
        cell.usubjid,
        diary=cell.diary,
        from_day=cell.from_day,
        to_day=cell.to_day,
        entries=entries,
    )
    _timely(mapping, give)


def _by_day(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["day"], entry["grade"] or 0


def _ask(study: Study, table: Table, done: Imported) -> None:
    """Raise a query for each conflict that has none yet."""
    for conflict in done.conflicts:
        value = canonical_json(conflict.given)
        key = sha256_json(
            ["import", conflict.usubjid, conflict.place.model_dump(), conflict.item, value]
        )
        if key in study.state.query_keys:
            continue
        text = f"{conflict.text} ({table.name}). Which is right?"
        restricted = names_arm(study, text)
        name = next_query(study.state, restricted=restricted)
        study.append(
            QueryRaised(
                query=name,
                text=text,
                place=conflict.place,
                rule="import.conflict",
                key=key,
                value=value,
                restricted=restricted,
            ),
            subject=conflict.usubjid,
        )
        done.queries.append(name)
