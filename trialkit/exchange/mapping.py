"""The mapping model: how a foreign table becomes a study.

A mapping names the columns of one table in long format (one row a participant and visit, or
one row an interval at risk) and says what they are. It is YAML, checked like a protocol.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trialkit._yaml import Lines, load_yaml, parse_model
from trialkit.errors import Finding, MappingFindings
from trialkit.protocol.forms import Form, Item, Score, load_forms
from trialkit.protocol.model import Arm, Code, Diary, Part, Visit
from trialkit.study import Design

SCHEMA = "trialkit.mapping/1"
Column = Annotated[str, Field(min_length=1)]
ParamCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,7}$")]


class MappedStudy(Part):
    """Id and title of the study; `date` is the date that its events carry."""

    id: Code
    title: str
    date: dt.date


class MappedArm(Part):
    """An arm, and its `value` in the arm column."""

    code: Code
    label: str
    value: str


class MappedAttribute(Part):
    """A baseline fact: a column that is the same in every row of a participant."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
    column: Column
    type: Literal["number", "text"] = "text"


class MappedStratum(Part):
    """A stratification factor, from a column."""

    name: Code
    column: Column


class Columns(Part):
    """Columns that are about the participant; without `site` there is one site, ``01``."""

    subject: Column
    arm: Column
    site: Column | None = None
    site_codes: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,12}$")]] = Field(
        default_factory=dict
    )
    attributes: list[MappedAttribute] = Field(default_factory=list)
    strata: list[MappedStratum] = Field(default_factory=list)


class MappedVisit(Part):
    """A scheduled visit; `value` is what the visit column holds, null for a baseline visit."""

    code: Code
    label: str
    day: int
    window_days: tuple[int, int]
    value: str | None = None
    baseline: bool = False


class Measure(Part):
    """A column of values as an instrument with one score.

    `baseline` names a column with the baseline value, the same in every row of a participant.
    """

    instrument: Code
    name: str
    paramcd: ParamCode
    param: str
    unit: str
    column: Column
    baseline: Column | None = None
    minimum: float
    maximum: float
    decimals: Annotated[int, Field(ge=0, le=4)] = 0
    better: Literal["higher", "lower"]
    domain: Literal["FT", "QS"] = "QS"

    def as_instrument(self) -> Form:
        """Return the instrument: one item, one score of it."""
        return Form(
            code=self.instrument,
            name=self.name,
            domain=self.domain,
            dataset=f"AD{self.domain}",
            items=[
                Item(
                    id="VALUE",
                    minimum=self.minimum,
                    maximum=self.maximum,
                    unit=self.unit,
                    decimals=self.decimals,
                    required=True,
                )
            ],
            scores=[
                Score(
                    paramcd=self.paramcd,
                    param=self.param,
                    unit=self.unit,
                    rule="single",
                    better=self.better,
                    minimum=self.minimum,
                    maximum=self.maximum,
                    decimals=self.decimals,
                )
            ],
        )


class Assessments(Part):
    """Repeated values in long format; without `day` a visit is on its planned day.

    A scheduled visit without a row is recorded as missed, with `missed_code`.
    """

    visit: Column
    day: Column | None = None
    visits: list[MappedVisit] = Field(min_length=1)
    measures: list[Measure] = Field(min_length=1)
    missed_code: str = "not_in_table"

    @property
    def baseline_visit(self) -> MappedVisit | None:
        """Return the baseline visit that has no rows of its own, for baseline columns."""
        return next((v for v in self.visits if v.baseline and v.value is None), None)


class Recurrent(Part):
    """Start-stop rows: at risk after `start` up to `stop`, `event` says how the interval ends."""

    start: Column
    stop: Column
    event: Column
    occurred: str = "1"
    censored: str = "0"
    time_unit: str
    paramcd: ParamCode
    label: str
    dataset: Annotated[str, Field(pattern=r"^AD[A-Z0-9]{1,6}$")]


class Mapping(Part):
    """How one table becomes a study."""

    schema_: Literal["trialkit.mapping/1"] = Field(alias="schema")
    study: MappedStudy
    arms: list[MappedArm] = Field(min_length=1)
    columns: Columns
    assessments: Assessments | None = None
    recurrent: Recurrent | None = None
    missing: list[str] = Field(default_factory=lambda: ["", "NA", "."])
    sources: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something_to_import(self) -> Mapping:
        if self.assessments is None and self.recurrent is None:
            raise ValueError("nothing to import | Give assessments, recurrent, or both.")
        return self

    def design(self, last_day: int) -> Design:
        """Return the study's design; `last_day` is the last day of the diary."""
        measures = self.assessments.measures if self.assessments else []
        codes = [m.instrument for m in measures]
        with_baseline = [m.instrument for m in measures if m.baseline]
        visits = self.assessments.visits if self.assessments else []
        return Design(
            arms=[Arm(code=a.code, label=a.label, delivery="none") for a in self.arms],
            visits=[
                Visit(
                    code=v.code,
                    label=v.label,
                    day=v.day,
                    window_days=v.window_days,
                    baseline=v.baseline,
                    assessments=with_baseline if v.value is None else codes,
                )
                for v in visits
            ],
            diaries=[
                Diary(paramcd=r.paramcd, label=r.label, dataset=r.dataset, to_day=max(1, last_day))
                for r in [self.recurrent]
                if r is not None
            ],
            instruments={m.instrument: m.as_instrument() for m in measures},
        )


def load_mapping(path: Path) -> tuple[Mapping, Lines]:
    """Return a mapping and the lines of its keys.

    Raises
    ------
    MappingFindings
        With every fault of the file.
    """
    data, lines, findings = load_yaml(path)
    mapping: Mapping | None = None
    if data is not None:
        mapping, faults = parse_model(Mapping, data, lines)
        findings = findings + faults
    if mapping is not None:
        findings = findings + _faults(mapping, lines)
    if mapping is None or findings:
        raise MappingFindings(
            f"{path.name} is not a sound mapping.", findings, remedy="Mend it and import again."
        )
    return mapping, lines


def _faults(mapping: Mapping, lines: Lines) -> list[Finding]:
    """Return faults that no single key shows: units, values and codes given twice."""
    found: list[Finding] = []

    def fault(message: str, remedy: str, *at: str | int) -> None:
        where = ".".join(str(part) for part in at)
        found.append(Finding(where, message, remedy, lines.get(at)))

    def twice(what: str, names: list[str | None], *at: str | int) -> None:
        given = [name for name in names if name is not None]
        for name in sorted({name for name in given if given.count(name) > 1}):
            fault(f"{what} {name} is given twice.", "Give each its own.", *at)

    twice("arm code", [a.code for a in mapping.arms], "arms")
    twice("arm value", [a.value for a in mapping.arms], "arms")
    if (recurrent := mapping.recurrent) is not None and recurrent.time_unit != "days":
        fault(
            f"times in {recurrent.time_unit!r} cannot be used.",
            "Convert start and stop to whole days, and declare time_unit: days.",
            "recurrent",
            "time_unit",
        )
    part = mapping.assessments
    if part is None:
        return found
    twice("visit code", [v.code for v in part.visits], "assessments", "visits")
    twice("visit value", [v.value for v in part.visits], "assessments", "visits")
    twice("paramcd", [m.paramcd for m in part.measures], "assessments", "measures")
    twice("instrument", [m.instrument for m in part.measures], "assessments", "measures")
    units = {s.paramcd: s.unit for i in load_forms().values() for s in i.scores}
    for number, measure in enumerate(part.measures):
        at = ("assessments", "measures", number)
        wanted = units.get(measure.paramcd, measure.unit)
        if measure.unit != wanted:
            fault(
                f"{measure.paramcd} is in {wanted} everywhere, not in {measure.unit}.",
                f"Convert the column to {wanted}, or give another paramcd.",
                *at,
                "unit",
            )
        if measure.baseline and part.baseline_visit is None:
            fault(
                "there is no baseline visit for the baseline column.",
                "Add a visit with baseline: true and no value.",
                *at,
                "baseline",
            )
    for number, visit in enumerate(part.visits):
        if visit.value is None and not visit.baseline:
            fault(
                f"visit {visit.code} has no value.",
                "Say what the visit column holds for it.",
                "assessments",
                "visits",
                number,
            )
    return found
