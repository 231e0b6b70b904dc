"""The mapping of a file of another system: its columns, events and codes, and our forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from trialkit._yaml import Lines, load_yaml, parse_model
from trialkit.errors import MappingFindings
from trialkit.protocol.model import Code, Part

SCHEMA = "trialkit.exchange/1"
Column = Annotated[str, Field(min_length=1)]


class Mapped(Part):
    """Base of every section; a number may stand where a text is meant, as in ``{1: Y}``."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Source(Mapped):
    """A column, and how its cells become entries.

    `unit` is needed where the item has one: its own, or another that the form converts. `codes`
    gives the entry of each cell; a cell that is not among them is a fault. `format` reads dates
    and times (as ``strptime`` does), `decimal` numbers with a comma. `missing` are cells of this
    column that mean that there is no value, beside those of the whole mapping; in an item of type
    text only these do.
    """

    column: Column
    unit: str | None = None
    codes: dict[str, str] | None = None
    format: str | None = None
    decimal: Literal["point", "comma"] = "point"
    missing: list[str] = Field(default_factory=list)


class MappedForm(Mapped):
    """A form: at which events it is, and the column of each item.

    `visits` gives the visit of each event; ``EVENT#N`` is repetition N of an event or an
    instrument. `status` holds done, unable or not_done (without it, a form with a value is done),
    `code` the reason code of what was not done, `done_on` the date of the act.
    """

    form: Code
    visits: dict[str, Code]
    items: dict[str, Source] = Field(min_length=1)
    status: Source | None = None
    code: Source | None = None
    done_on: Source | None = None


class MappedVisits(Mapped):
    """Visits that are entered with the forms: their study day, or the code of a missed one.

    `reason` is why a visit was out of its window.
    """

    visits: dict[str, Code]
    day: Source
    missed: Source | None = None
    reason: Source | None = None


class MappedDiary(Mapped):
    """A diary: a row a return (first and last day), a row an entry (day and grade)."""

    diary: Code
    from_day: Source
    to_day: Source
    entry_day: Source | None = None
    entry_grade: Source | None = None


class ExchangeMapping(Mapped):
    """How a file of another system is entered into a study.

    `participants` gives our USUBJID for theirs where they differ. `missing` are cells that mean
    that there is no value. `late_reason` is given for every form, visit and diary that is late.
    `conflicts` says what becomes of an entry that is recorded otherwise: the file is refused, or
    a query asks. `ignore` lists the columns that are left out on purpose, and `undecided` those
    that a draft could not place: the latter must be empty.
    """

    schema_: Literal["trialkit.exchange/1"] = Field(alias="schema")
    format: Literal["redcap", "odm"]
    participant: Column = "record_id"
    participants: dict[str, str] = Field(default_factory=dict)
    missing: list[str] = Field(default_factory=list)
    late_reason: str | None = None
    conflicts: Literal["refuse", "query"] = "refuse"
    ignore: list[str] = Field(default_factory=list)
    undecided: list[str] = Field(default_factory=list)
    forms: list[MappedForm] = Field(default_factory=list)
    visits: MappedVisits | None = None
    diaries: list[MappedDiary] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something_to_import(self) -> ExchangeMapping:
        if not self.forms and self.visits is None and not self.diaries:
            raise ValueError("nothing to import | Give forms, visits or diaries.")
        return self


def load_exchange_mapping(path: Path) -> tuple[ExchangeMapping, Lines]:
    """Return a mapping and the lines of its keys.

    Raises
    ------
    MappingFindings
        With every fault of the file.
    """
    data, lines, findings = load_yaml(path)
    mapping: ExchangeMapping | None = None
    if data is not None:
        mapping, faults = parse_model(ExchangeMapping, data, lines)
        findings = findings + faults
    if mapping is None or findings:
        raise MappingFindings(
            f"{path.name} is not a sound mapping.", findings, remedy="Mend it and import again."
        )
    return mapping, lines
