"""A foreign table read through a mapping: every fault with its line, or people and their facts."""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from trialkit._yaml import Lines
from trialkit.errors import Finding
from trialkit.exchange.mapping import MappedVisit, Mapping, Measure
from trialkit.record.kinds import Scalar

Row = dict[str, str]


@dataclass
class ImportedVisit:
    """One visit of a participant: study day, and the value of each instrument."""

    visit: MappedVisit
    day: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedPeriod:
    """Days `from_day` to `to_day` at risk; `event` happened on the last of them."""

    from_day: int
    to_day: int
    event: bool


@dataclass
class ImportedPerson:
    """A participant as the table has it; `line` is the first of its rows."""

    subject: str
    line: int
    site: str
    arm: str
    attributes: dict[str, Scalar]
    strata: dict[str, str]
    visits: dict[str, ImportedVisit] = field(default_factory=dict)
    periods: list[ImportedPeriod] = field(default_factory=list)


class Reader:
    """Reads a table through a mapping; `findings` holds every fault, `people` what is sound."""

    def __init__(self, mapping: Mapping, lines: Lines, path: Path) -> None:
        self.mapping = mapping
        self.findings: list[Finding] = []
        self.people: dict[str, ImportedPerson] = {}
        self.rows = 0
        self._file = path.name
        self._lines = lines
        self._missing = set(mapping.missing)
        self._labels = {arm.value: arm.code for arm in mapping.arms}
        self._sites: dict[str, str] = {}
        self._header: set[str] = set()
        self._constant: dict[tuple[str, str], tuple[str, int]] = {}
        for line, row in self._table(path):
            self.rows += 1
            self._take(line, row)
        if not self.rows and not self.findings:
            self._fault(1, "", "the table has no rows.", "Give a table with data.")
        self._check_periods()

    # --- reading ---------------------------------------------------------------------------

    def _table(self, path: Path) -> Iterator[tuple[int, Row]]:
        try:
            with _opened(path) as stream:
                reader = csv.reader(stream)
                header = next(reader, [])
                self._check_header(header)
                for cells in reader:
                    if not cells:
                        continue
                    if len(cells) != len(header):
                        self._fault(
                            reader.line_num,
                            "",
                            f"{len(cells)} cells under {len(header)} columns.",
                            "Mend the row.",
                        )
                        continue
                    row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                    yield reader.line_num, row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._fault(None, "", f"cannot be read: {error}.", "Give a CSV file in UTF-8.")

    def _check_header(self, header: list[str]) -> None:
        self._header = set(header)
        for name in sorted({name for name in header if header.count(name) > 1}):
            self._fault(1, name, "the column is there twice.", "Keep one.")
        for at, column in _named_columns(self.mapping):
            if column in self._header:
                continue
            close = difflib.get_close_matches(column, header, n=1)
            remedy = f"Did you mean {close[0]}?" if close else f"It has {', '.join(header)}."
            where = ".".join(str(part) for part in at)
            message = f"{self._file} has no column {column}."
            self.findings.append(Finding(where, message, remedy, self._lines.get(at)))

    def _fault(self, line: int | None, column: str, message: str, remedy: str) -> None:
        where = f"{self._file}:{column}" if column else self._file
        self.findings.append(Finding(where, message, remedy, line))

    def _text(self, row: Row, column: str | None) -> str | None:
        """Return a cell, or None where it is missing or there is no such column."""
        value = row.get(column or "", "")
        return None if value in self._missing else value

    def _number(self, line: int, row: Row, column: str | None) -> float | None:
        text = self._text(row, column)
        if text is None or column is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self._fault(
                line, column, f"{text!r} is not a number.", "Correct it, or leave it empty."
            )
            return None
        return value

    def _day(self, line: int, row: Row, column: str) -> int | None:
        value = self._number(line, row, column)
        if value is None:
            if self._text(row, column) is None and column in self._header:
                self._fault(line, column, "the day is missing.", "Enter it.")
            return None
        if value != int(value):
            self._fault(line, column, f"{value} is not a whole day.", "Convert to whole days.")
            return None
        return int(value)

    # --- one row -----------------------------------------------------------------------------

    def _take(self, line: int, row: Row) -> None:
        columns = self.mapping.columns
        subject = self._text(row, columns.subject)
        if subject is None:
            if columns.subject in self._header:
                self._fault(line, columns.subject, "the participant is missing.", "Enter it.")
            return
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,23}", subject) is None:
            self._fault(
                line,
                columns.subject,
                f"{subject!r} cannot name a participant.",
                "Use up to 24 letters, digits and _ . -.",
            )
            return
        person = self._person(line, row, subject)
        self._take_visit(line, row, person)
        self._take_period(line, row, person)

    def _person(self, line: int, row: Row, subject: str) -> ImportedPerson:
        columns = self.mapping.columns
        fixed = [columns.arm, columns.site, *(a.column for a in columns.attributes)]
        fixed += [s.column for s in columns.strata]
        known = subject in self.people
        for column in fixed:
            if column is None or column not in self._header:
                continue
            value = row[column]
            first, at = self._constant.setdefault((subject, column), (value, line))
            if value != first:
                self._fault(
                    line,
                    column,
                    f"{subject} has {value!r} here and {first!r} on line {at}.",
                    "Give one value in all rows of a participant.",
                )
        if not known:
            self.people[subject] = ImportedPerson(
                subject,
                line,
                self._site(line, row),
                self._arm(line, row),
                {
                    a.name: self._number(line, row, a.column)
                    if a.type == "number"
                    else self._text(row, a.column)
                    for a in columns.attributes
                },
                {s.name: self._stratum(line, row, s.column) for s in columns.strata},
            )
        return self.people[subject]

    def _arm(self, line: int, row: Row) -> str:
        column = self.mapping.columns.arm
        value = self._text(row, column)
        if column in self._header and (value is None or value not in self._labels):
            shown = ", ".join(self._labels)
            what = "the arm is missing" if value is None else f"unknown arm {value!r}"
            self._fault(line, column, f"{what}.", f"The mapping has {shown}.")
        return self._labels.get(value or "", "")

    def _site(self, line: int, row: Row) -> str:
        column = self.mapping.columns.site
        if column is None:
            return "01"
        value = self._text(row, column)
        if value is None:
            if column in self._header:
                self._fault(line, column, "the site is missing.", "Enter it.")
            return "01"
        code = self.mapping.columns.site_codes.get(value, re.sub(r"[^A-Za-z0-9]", "", value))
        if not 1 <= len(code) <= 12 or self._sites.setdefault(code, value) != value:
            self._fault(
                line,
                column,
                f"site {value!r} has no short name of its own.",
                "Give it one of 1 to 12 letters and digits in columns.site_codes.",
            )
        return code

    def _stratum(self, line: int, row: Row, column: str) -> str:
        value = self._text(row, column)
        if value is None and column in self._header:
            self._fault(line, column, "the stratum is missing.", "Enter it.")
        return value or ""

    def _take_visit(self, line: int, row: Row, person: ImportedPerson) -> None:
        part = self.mapping.assessments
        if part is None:
            return
        self._take_baseline(line, row, person)
        value = self._text(row, part.visit)
        visit = next((v for v in part.visits if v.value is not None and v.value == value), None)
        if visit is None:
            if part.visit in self._header:
                shown = ", ".join(v.value for v in part.visits if v.value is not None)
                self._fault(line, part.visit, f"unknown visit {value!r}.", f"It has {shown}.")
            return
        if visit.code in person.visits:
            self._fault(
                line,
                part.visit,
                f"{person.subject} has visit {value} twice.",
                "Keep one row a participant and visit.",
            )
            return
        day = self._day(line, row, part.day) if part.day else visit.day
        imported = ImportedVisit(visit, visit.day if day is None else day)
        person.visits[visit.code] = imported
        for measure in part.measures:
            number = self._measured(line, row, measure, measure.column)
            if number is not None:
                imported.values[measure.instrument] = number

    def _take_baseline(self, line: int, row: Row, person: ImportedPerson) -> None:
        part = self.mapping.assessments
        visit = part.baseline_visit if part else None
        for measure in part.measures if part else []:
            column = measure.baseline
            if visit is None or column is None or column not in self._header:
                continue
            value = row[column]
            key = (person.subject, f"baseline {column}")
            new = key not in self._constant
            first, at = self._constant.setdefault(key, (value, line))
            if value != first:
                self._fault(
                    line,
                    column,
                    f"{person.subject} has baseline {value} here and {first} on line {at}.",
                    "Give one value in all rows of a participant.",
                )
            number = self._measured(line, row, measure, column) if new else None
            if number is not None:
                home = person.visits.setdefault(visit.code, ImportedVisit(visit, visit.day))
                home.values[measure.instrument] = number

    def _measured(self, line: int, row: Row, measure: Measure, column: str) -> float | None:
        number = self._number(line, row, column)
        if number is None:
            return None
        if not measure.minimum <= number <= measure.maximum:
            self._fault(
                line,
                column,
                f"{number:g} is outside {measure.minimum:g} to {measure.maximum:g} {measure.unit}.",
                "Check the value and its unit.",
            )
            return None
        if abs(round(number, measure.decimals) - number) > 1e-9:
            self._fault(
                line,
                column,
                f"{number} has more than {measure.decimals} decimals.",
                "Give the measure more decimals in the mapping, or round the column.",
            )
            return None
        return number

    # --- intervals at risk -------------------------------------------------------------------

    def _take_period(self, line: int, row: Row, person: ImportedPerson) -> None:
        part = self.mapping.recurrent
        if part is None:
            return
        start, stop = self._day(line, row, part.start), self._day(line, row, part.stop)
        status = row.get(part.event)
        if status is not None and status not in (part.occurred, part.censored):
            self._fault(
                line,
                part.event,
                f"{status!r} is neither {part.occurred} (event) nor {part.censored}.",
                "Correct it, or declare occurred and censored in the mapping.",
            )
        if start is None or stop is None:
            return
        if not 0 <= start < stop:
            self._fault(
                line,
                part.stop,
                f"an interval from {start} to {stop} has no length or begins before day 0.",
                "Give start and stop in days since randomisation, start below stop.",
            )
            return
        if any(start < p.to_day + 1 and p.from_day < stop for p in person.periods):
            self._fault(
                line,
                part.start,
                f"{person.subject} is at risk twice between {start} and {stop}.",
                "Give intervals that do not overlap.",
            )
            return
        person.periods.append(ImportedPeriod(start, stop - 1, status == part.occurred))

    def _check_periods(self) -> None:
        for person in self.people.values():
            person.periods.sort(key=lambda period: period.from_day)

    @property
    def last_day(self) -> int:
        """The last day that anybody was at risk."""
        return max((p.to_day for who in self.people.values() for p in who.periods), default=0)


def _opened(path: Path) -> IO[str]:
    """Open a CSV file, unpacking it where its name ends in ``.gz``."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _named_columns(mapping: Mapping) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every column that a mapping names, with its place in the mapping."""
    columns = mapping.columns
    yield ("columns", "subject"), columns.subject
    yield ("columns", "arm"), columns.arm
    if columns.site:
        yield ("columns", "site"), columns.site
    for number, attribute in enumerate(columns.attributes):
        yield ("columns", "attributes", number, "column"), attribute.column
    for number, stratum in enumerate(columns.strata):
        yield ("columns", "strata", number, "column"), stratum.column
    if (part := mapping.assessments) is not None:
        yield ("assessments", "visit"), part.visit
        if part.day:
            yield ("assessments", "day"), part.day
        for number, measure in enumerate(part.measures):
            yield ("assessments", "measures", number, "column"), measure.column
            if measure.baseline:
                yield ("assessments", "measures", number, "baseline"), measure.baseline
    if (times := mapping.recurrent) is not None:
        yield ("recurrent", "start"), times.start
        yield ("recurrent", "stop"), times.stop
        yield ("recurrent", "event"), times.event
