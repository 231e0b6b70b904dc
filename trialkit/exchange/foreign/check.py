"""Faults of a mapping that show without any data: columns, items, visits, units, codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from trialkit._yaml import Lines, line_of, path_text
from trialkit.errors import Finding
from trialkit.exchange.foreign.mapping import ExchangeMapping, MappedForm, Source
from trialkit.exchange.foreign.table import Field, Table
from trialkit.protocol.forms import Item
from trialkit.protocol.forms.model import NUMERIC, choice_text
from trialkit.study import Design

At = tuple[str | int, ...]

#: Of each type of item: types of a column that can hold it.
_FITS: dict[str, frozenset[str]] = {
    "number": frozenset({"number", "choice", "text", "other"}),
    "integer": frozenset({"number", "choice", "text", "other"}),
    "choice": frozenset({"choice", "yes_no", "number", "text", "other"}),
    "yes_no": frozenset({"yes_no", "choice", "number", "text", "other"}),
    "date": frozenset({"date", "text", "other"}),
    "time": frozenset({"time", "text", "other"}),
    "text": frozenset({"number", "choice", "yes_no", "date", "time", "text", "other"}),
}


def check_mapping(
    mapping: ExchangeMapping, lines: Lines, design: Design, table: Table
) -> list[Finding]:
    """Return every fault between a mapping, the study's design and the columns of a file."""
    return _Check(mapping, lines, design, table).findings


def sources(mapping: ExchangeMapping) -> Iterator[tuple[At, Source]]:
    """Yield every column that a mapping names, with its place in the mapping."""
    for number, form in enumerate(mapping.forms):
        at: At = ("forms", number)
        for name, source in form.items.items():
            yield (*at, "items", name), source
        for key in ("status", "code", "done_on"):
            if (found := getattr(form, key)) is not None:
                yield (*at, key), found
    if mapping.visits is not None:
        for key in ("day", "missed", "reason"):
            if (found := getattr(mapping.visits, key)) is not None:
                yield ("visits", key), found
    for number, diary in enumerate(mapping.diaries):
        for key in ("from_day", "to_day", "entry_day", "entry_grade"):
            if (found := getattr(diary, key)) is not None:
                yield ("diaries", number, key), found


class _Check:
    def __init__(
        self, mapping: ExchangeMapping, lines: Lines, design: Design, table: Table
    ) -> None:
        self.findings: list[Finding] = []
        self._lines, self._design, self._table = lines, design, table
        self._columns(mapping)
        for number, form in enumerate(mapping.forms):
            self._form(("forms", number), form, mapping)
        if mapping.visits is not None:
            self._visits(("visits", "visits"), mapping.visits.visits)
        known = [diary.paramcd for diary in design.diaries]
        for number, diary in enumerate(mapping.diaries):
            if diary.diary not in known:
                self._unknown(("diaries", number, "diary"), "diary", diary.diary, known)
            if (diary.entry_day is None) != (diary.entry_grade is None):
                self._fault(
                    ("diaries", number),
                    "an entry has a day and a grade.",
                    "Give entry_day and entry_grade, or neither.",
                )

    def _fault(self, at: At, message: str, remedy: str) -> None:
        self.findings.append(Finding(path_text(at), message, remedy, line_of(self._lines, at)))

    def _unknown(self, at: At, what: str, name: str, known: list[str]) -> None:
        close = difflib.get_close_matches(name, known, n=1)
        shown = f"Use one of {', '.join(known[:20])}." if known else "The study has none."
        self._fault(
            at, f"there is no {what} {name}.", f"Did you mean {close[0]}?" if close else shown
        )

    def _columns(self, mapping: ExchangeMapping) -> None:
        there = self._table.columns
        used: dict[str, At] = {}
        for at, source in sources(mapping):
            name = source.column
            if name not in there:
                close = difflib.get_close_matches(name, there, n=1)
                remedy = f"Did you mean {close[0]}?" if close else "Correct or remove it."
                self._fault(at, f"{self._table.name} has no column {name}.", remedy)
            if name in used:
                self._fault(
                    at, f"{name} is mapped to {path_text(used[name])} too.", "Map a column once."
                )
            used.setdefault(name, at)
        ignored = set(mapping.ignore)
        for name in sorted(ignored & used.keys()):
            self._fault(("ignore",), f"{name} is mapped and ignored.", "Decide for one.")
        for name in mapping.undecided:
            self._fault(("undecided",), f"{name} is not decided.", "Map it, or move it to ignore.")
        for name in there:
            if name not in used and name not in ignored and name not in mapping.undecided:
                self._fault(
                    ("ignore",),
                    f"column {name} of {self._table.name} is neither mapped nor ignored.",
                    "Map it, or list it under ignore.",
                )

    def _visits(self, at: At, visits: dict[str, str], form: str | None = None) -> None:
        planned = {visit.code: visit for visit in self._design.visits}
        for event, code in visits.items():
            if code not in planned:
                self._unknown((*at, event), "visit", code, list(planned))
            elif form is not None and form not in planned[code].assessments:
                plans = ", ".join(v.code for v in planned.values() if form in v.assessments)
                self._fault(
                    (*at, event), f"{code} does not plan {form}.", f"It is planned at {plans}."
                )
        for code in sorted({c for c in visits.values() if list(visits.values()).count(c) > 1}):
            self._fault(at, f"two events are visit {code}.", "Give each visit one event.")

    def _form(self, at: At, mapped: MappedForm, mapping: ExchangeMapping) -> None:
        form = self._design.instruments.get(mapped.form)
        if form is None:
            known = list(self._design.instruments)
            self._unknown((*at, "form"), "form", mapped.form, known)
            return
        self._visits((*at, "visits"), mapped.visits, mapped.form)
        items = {item.id: item for item in form.items}
        for name, source in mapped.items.items():
            if name not in items:
                self._unknown((*at, "items", name), "item", name, list(items))
            else:
                self._item((*at, "items", name), items[name], source, mapping)
        for name, item in items.items():
            if item.required and name not in mapped.items:
                self._fault(
                    (*at, "items"), f"{mapped.form} needs {name}, and it is not mapped.", "Map it."
                )

    def _item(self, at: At, item: Item, source: Source, mapping: ExchangeMapping) -> None:
        field = self._table.fields.get(source.column)
        if item.type in NUMERIC:
            self._unit(at, item, source, field)
        elif source.unit is not None:
            self._fault(at, f"{item.id} ({item.type}) has no unit.", "Remove unit.")
        if source.format is not None and item.type not in ("date", "time"):
            self._fault(at, f"{item.id} ({item.type}) has no format.", "Remove format.")
        if field is not None and field.type not in _FITS[item.type]:
            self._fault(
                at,
                f"{source.column} is a column of type {field.type}, {item.id} is {item.type}.",
                "Map another column.",
            )
        self._codes(at, item, source, field, {*mapping.missing, *source.missing})

    def _unit(self, at: At, item: Item, source: Source, field: Field | None) -> None:
        possible = [item.unit, *item.units]
        if not item.unit:
            return
        if source.unit is None:
            self._fault(at, f"the unit of {source.column} is not given.", f"Give {_or(possible)}.")
        elif source.unit not in possible:
            self._fault(
                at,
                f"{item.id} is in {item.unit}, and cannot be entered in {source.unit}.",
                f"Convert the column to {_or(possible)}.",
            )
        elif field is not None and field.unit and field.unit != source.unit:
            self._fault(
                at,
                f"the dictionary says that {source.column} is in {field.unit}, not {source.unit}.",
                "Ask who made the file, and give the unit of its values.",
            )

    def _codes(
        self, at: At, item: Item, source: Source, field: Field | None, missing: set[str]
    ) -> None:
        if item.type == "yes_no":
            possible = ["Y", "N"]
        elif item.choices:
            possible = [choice_text(choice) for choice in item.choices]
        else:
            possible = []
        codes = source.codes
        if codes is not None:
            for cell, entry in codes.items():
                if possible and entry not in possible:
                    self._fault(
                        (*at, "codes", cell),
                        f"{entry!r} is no entry of {item.id}.",
                        f"Use {_or(possible)}.",
                    )
        if field is None or not possible:
            return
        taken = set(codes) if codes is not None else set(possible)
        for cell, label in field.codes.items():
            if cell not in taken and cell not in missing:
                self._fault(
                    at,
                    f"code {cell!r} of {source.column} ({label or 'no label'}) has no entry.",
                    f"Give it under codes; {item.id} has {_or(possible)}.",
                )


def _or(names: list[str]) -> str:
    return " or ".join(names)
