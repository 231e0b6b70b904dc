"""Rows of another system as entries: cells decoded through the mapping, faults with lines."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from trialkit.errors import Finding
from trialkit.exchange.foreign.mapping import ExchangeMapping, MappedDiary, MappedForm, Source
from trialkit.exchange.foreign.table import Row, Table
from trialkit.protocol.forms import Form, Item
from trialkit.protocol.forms.model import NUMERIC
from trialkit.study import Design


@dataclass(frozen=True)
class FormCell:
    """One form of one participant at one visit, as the file has it."""

    where: str
    line: int | None
    usubjid: str
    visit: str
    form: str
    items: dict[str, str]
    status: str | None
    code: str | None
    done_on: str | None


@dataclass(frozen=True)
class VisitCell:
    """One visit: its study day, or the reason code of a missed one."""

    where: str
    line: int | None
    usubjid: str
    visit: str
    day: int | None
    missed: str | None
    reason: str | None


@dataclass(frozen=True)
class DiaryCell:
    """One returned diary with its entries (day, grade)."""

    where: str
    line: int | None
    usubjid: str
    diary: str
    from_day: int
    to_day: int
    entries: list[dict[str, int | None]] = field(default_factory=list)


class Reading:
    """What a table holds for a study; `findings` has every fault of its cells."""

    def __init__(self, mapping: ExchangeMapping, design: Design, table: Table) -> None:
        self.findings: list[Finding] = []
        self.forms: list[FormCell] = []
        self.visits: list[VisitCell] = []
        self.diaries: list[DiaryCell] = []
        self._mapping, self._design = mapping, design
        self._seen: dict[tuple[str, ...], Row] = {}
        for row in table.rows:
            self._key(row)
        for mapped in mapping.forms:
            form = design.instruments[mapped.form]
            for row in table.rows:
                self._form(row, mapped, form)
        for row in table.rows if mapping.visits is not None else ():
            self._visit(row)
        for diary in mapping.diaries:
            self._diary(table.rows, diary)
        self.participants = {self.usubjid(row) for row in table.rows}

    def usubjid(self, row: Row) -> str:
        """Return our name of the participant of a row."""
        return self._mapping.participants.get(row.participant, row.participant)

    def _fault(self, row: Row, column: str, message: str, remedy: str) -> None:
        where = f"{row.where}:{column}" if column else row.where
        self.findings.append(Finding(where, message, remedy, row.line))

    def _key(self, row: Row) -> None:
        self._once(row, "the row", row.participant, row.event, row.instrument, row.instance)

    def _once(self, row: Row, what: str, *key: str) -> bool:
        first = self._seen.setdefault((what, *key), row)
        if first is row:
            return True
        at = f"line {first.line}" if first.line is not None else first.where
        self._fault(
            row, "", f"{what} {', '.join(filter(None, key))} is at {at} already.", "Keep one."
        )
        return False

    # --- cells -------------------------------------------------------------------------------

    def _text(self, row: Row, source: Source | None, *, free: bool = False) -> str | None:
        """Return a cell decoded, None where it is missing; `free` where any text is a value."""
        if source is None:
            return None
        cell = row.cells.get(source.column, "").strip()
        if not cell or cell in source.missing:
            return None
        if source.codes is not None and cell in source.codes:
            return source.codes[cell]
        if not free and cell in self._mapping.missing:
            return None
        if source.codes is not None:
            known = " or ".join(source.codes)
            self._fault(row, source.column, f"{cell!r} is none of its codes.", f"Use {known}.")
            return None
        return cell

    def _dated(self, row: Row, source: Source, text: str, default: str, kind: str) -> str | None:
        layout = source.format or default
        try:
            found = dt.datetime.strptime(text, layout)
        except ValueError:
            self._fault(
                row, source.column, f"{text!r} is no {kind} as {layout}.", "Correct it, or format."
            )
            return None
        return found.strftime("%H:%M") if kind == "time" else found.date().isoformat()

    def _whole(self, row: Row, source: Source | None) -> int | None:
        text = self._text(row, source)
        if text is None or source is None:
            return None
        if not text.lstrip("+-").isdecimal():
            self._fault(row, source.column, f"{text!r} is no whole number.", "Correct it.")
            return None
        return int(text)

    # --- forms -------------------------------------------------------------------------------

    def _form(self, row: Row, mapped: MappedForm, form: Form) -> None:
        before = len(self.findings)
        known = {item.id: item for item in form.items}
        items: dict[str, str] = {}
        for name, source in mapped.items.items():
            text = self._text(row, source, free=known[name].type == "text")
            entry = None if text is None else self._entry(row, source, known[name], text)
            if entry is not None:
                items[name] = entry
        status, code = self._text(row, mapped.status), self._text(row, mapped.code, free=True)
        if not items and status is None and code is None and len(self.findings) == before:
            return
        visit = mapped.visits.get(row.place)
        if visit is None:
            self._fault(
                row, "", f"event {row.place!r} of {mapped.form} has no visit.", "Give it in visits."
            )
            return
        if status not in (None, "done", "unable", "not_done"):
            at = mapped.status.column if mapped.status else ""
            self._fault(row, at, f"status {status!r}.", "Map it to done, unable or not_done.")
        done_on = self._text(row, mapped.done_on)
        if done_on is not None and mapped.done_on is not None:
            done_on = self._dated(row, mapped.done_on, done_on, "%Y-%m-%d", "date")
        usubjid = self.usubjid(row)
        if not self._once(row, f"form {mapped.form}", usubjid, visit):
            return
        if len(self.findings) == before:
            self.forms.append(
                FormCell(
                    row.where, row.line, usubjid, visit, mapped.form, items, status, code, done_on
                )
            )

    def _entry(self, row: Row, source: Source, item: Item, text: str) -> str | None:
        if item.type in ("date", "time"):
            layout = "%Y-%m-%d" if item.type == "date" else "%H:%M"
            return self._dated(row, source, text, layout, item.type)
        if item.type in NUMERIC:
            text = text.replace(",", ".") if source.decimal == "comma" else text
            if source.unit is not None and source.unit != item.unit:
                return f"{text} {source.unit}"
        return text

    # --- visits and diaries ------------------------------------------------------------------

    def _visit(self, row: Row) -> None:
        mapped = self._mapping.visits
        if mapped is None:
            return
        before = len(self.findings)
        day = self._whole(row, mapped.day)
        missed = self._text(row, mapped.missed)
        reason = self._text(row, mapped.reason)
        if day is None and missed is None and len(self.findings) == before:
            return
        visit = mapped.visits.get(row.place)
        if visit is None:
            self._fault(row, "", f"event {row.place!r} has no visit.", "Give it in visits.")
            return
        if day is not None and missed is not None:
            self._fault(row, mapped.day.column, "a missed visit has a day.", "Keep one of them.")
        usubjid = self.usubjid(row)
        if self._once(row, "visit", usubjid, visit) and len(self.findings) == before:
            self.visits.append(VisitCell(row.where, row.line, usubjid, visit, day, missed, reason))

    def _diary(self, rows: list[Row], mapped: MappedDiary) -> None:
        returned: dict[str, list[DiaryCell]] = {}
        entered: list[tuple[Row, int, int | None]] = []
        for row in rows:
            first, last = self._whole(row, mapped.from_day), self._whole(row, mapped.to_day)
            usubjid = self.usubjid(row)
            if first is not None and last is not None:
                cell = DiaryCell(row.where, row.line, usubjid, mapped.diary, first, last)
                returned.setdefault(usubjid, []).append(cell)
            elif (first is None) != (last is None):
                self._fault(row, mapped.from_day.column, "a diary has two days.", "Give both.")
            day = self._whole(row, mapped.entry_day)
            if day is not None:
                entered.append((row, day, self._whole(row, mapped.entry_grade)))
        for row, day, grade in entered:
            own = returned.get(self.usubjid(row), [])
            home = next((c for c in own if c.from_day <= day <= c.to_day), None)
            if home is None:
                self._fault(row, "", f"no {mapped.diary} diary covers day {day}.", "Check the day.")
            else:
                home.entries.append({"day": day, "grade": grade})
        for cells in returned.values():
            self.diaries += cells
