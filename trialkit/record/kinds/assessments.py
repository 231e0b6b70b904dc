"""Payloads of visits and of what is assessed at them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trialkit.record.kinds._payload import Payload


class VisitHeld(Payload):
    """A visit took place."""

    kind = "visit.held"
    visit: str
    day: int
    in_window: bool
    delay_days: int | None = None
    late: bool = False


class VisitMissed(Payload):
    """A visit did not take place; `code` is a reason code."""

    kind = "visit.missed"
    visit: str
    code: str


class AssessmentRecorded(Payload):
    """One form at one visit; `instrument` is its code.

    `items` are the raw entries; `scores` (PARAMCD -> value) are derived by the form's own rule
    at entry and derived again when data are collected. ``unable`` means that the participant
    could not do it, which is an observation and not a missing value. `entry` is ``first``
    where a second person has to enter it again; `entered` keeps what was given in another
    unit, `flags` the items that are possible and not plausible. `delay_days` are the days from
    the act (`done_on`, or the visit's day) to the entry, where they are known; a `late` entry
    has a reason. `imported_from` is the SHA-256 of the file that it was imported from.
    """

    kind = "assessment.recorded"
    visit: str
    day: int
    instrument: str
    status: Literal["done", "unable", "not_done"] = "done"
    items: dict[str, float | int | str | None] = Field(default_factory=dict)
    scores: dict[str, float | None] = Field(default_factory=dict)
    code: str | None = None
    entry: Literal["single", "first"] = "single"
    entered: dict[str, str] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)
    done_on: str | None = None
    delay_days: int | None = None
    late: bool = False
    imported_from: str | None = None


class AssessmentEnteredAgain(Payload):
    """The second entry of a paper form (`seq` is the first), by another person.

    `differences` are the items that the two entries do not have alike; ``status`` and ``code``
    stand for themselves.
    """

    kind = "assessment.entered_again"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None] = Field(default_factory=dict)
    code: str | None = None
    entered: dict[str, str] = Field(default_factory=dict)
    differences: list[str] = Field(default_factory=list)
    delay_days: int | None = None


class AssessmentAdjudicated(Payload):
    """A person decided between two entries that differ; `seq` is the second.

    `settled` says of each difference whose value was taken: first, second, or other.
    """

    kind = "assessment.adjudicated"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None]
    scores: dict[str, float | None]
    code: str | None = None
    flags: list[str] = Field(default_factory=list)
    settled: dict[str, Literal["first", "second", "other"]]


class AssessmentCorrected(Payload):
    """A correction of an earlier assessment event (`seq`); the old values stay readable.

    `entry` is ``first`` for a paper form: what one person changed is entered again by another.
    """

    kind = "assessment.corrected"
    seq: int
    visit: str
    instrument: str
    status: Literal["done", "unable", "not_done"]
    items: dict[str, float | int | str | None]
    scores: dict[str, float | None]
    old_items: dict[str, float | int | str | None]
    entry: Literal["single", "first"] = "single"
    entered: dict[str, str] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)
