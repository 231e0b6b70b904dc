"""Assessments as FT and QS rows: corrections replace, scores are derived again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from trialkit.errors import IntegrityError
from trialkit.protocol.forms import (
    Entry,
    Form,
    Item,
    Status,
    as_number,
    implausible,
    item_number,
    score,
)
from trialkit.record import Event
from trialkit.record.kinds import (
    AssessmentAdjudicated,
    AssessmentCorrected,
    AssessmentEnteredAgain,
    AssessmentRecorded,
)
from trialkit.study.design import Design

Row = dict[str, Any]


@dataclass(frozen=True)
class _Entry:
    """An assessment as it stands; `seq` is its last event."""

    seq: int
    usubjid: str
    visit: str
    day: int
    instrument: str
    status: Status
    items: dict[str, Entry]
    scores: dict[str, float | None]
    code: str | None
    entry: str
    delay: int | None
    late: bool


class Assessments:
    """Keeps the last state of every assessment, and makes the rows in the end."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._home: dict[int, int] = {}  # event number to the original's

    def record(self, event: Event, payload: AssessmentRecorded) -> None:
        """Take a new assessment."""
        self._home[event.seq] = event.seq
        self._entries[event.seq] = _Entry(
            event.seq,
            event.subject or "",
            payload.visit,
            payload.day,
            payload.instrument,
            payload.status,
            payload.items,
            payload.scores,
            payload.code,
            payload.entry,
            payload.delay_days,
            payload.late,
        )

    def enter_again(self, event: Event, payload: AssessmentEnteredAgain) -> None:
        """Note whether the second entry agrees; the first stays until it is adjudicated."""
        home = self._follow(event, payload.seq)
        entry = "differs" if payload.differences else "agreed"
        self._entries[home] = replace(self._entries[home], seq=event.seq, entry=entry)

    def adjudicate(self, event: Event, payload: AssessmentAdjudicated) -> None:
        """Take what was decided between two entries."""
        home = self._follow(event, payload.seq)
        self._entries[home] = replace(
            self._entries[home],
            seq=event.seq,
            status=payload.status,
            items=payload.items,
            scores=payload.scores,
            code=payload.code,
            entry="adjudicated",
        )

    def correct(self, event: Event, payload: AssessmentCorrected) -> None:
        """Replace items, scores and status of an earlier assessment.

        Raises
        ------
        IntegrityError
            If the correction refers to no assessment.
        """
        home = self._follow(event, payload.seq)
        self._entries[home] = replace(
            self._entries[home],
            seq=event.seq,
            status=payload.status,
            items=payload.items,
            scores=payload.scores,
            entry=payload.entry,
        )

    def _follow(self, event: Event, seq: int) -> int:
        """Return the number of the first event of an assessment that `seq` belongs to."""
        home = self._home.get(seq)
        if home is None:
            raise IntegrityError(
                f"event {event.seq} refers to event {seq}, which is no assessment.",
                remedy="Verify the record: `trialkit record verify`.",
            )
        self._home[event.seq] = home
        return home

    def rows(self, design: Design) -> tuple[list[Row], list[Row]]:
        """Return the rows of FT and of QS, without their sequence numbers."""
        days = {visit.code: float(visit.day) for visit in design.visits}
        found: dict[str, list[Row]] = {"FT": [], "QS": []}
        for entry in self._entries.values():
            instrument = design.instruments.get(entry.instrument)
            domain = instrument.domain if instrument else "QS"
            common = {
                "DOMAIN": domain,
                "USUBJID": entry.usubjid,
                f"{domain}CAT": entry.instrument,
                f"{domain}STATUS": entry.status,
                f"{domain}REASND": entry.code,
                "VISIT": entry.visit,
                "VISITNUM": days.get(entry.visit, math.nan),
                f"{domain}DY": entry.day,
                f"{domain}ENTRY": entry.entry,
                f"{domain}DELAY": math.nan if entry.delay is None else float(entry.delay),
                f"{domain}LATEFL": "Y" if entry.late else None,
                f"{domain}REFID": entry.seq,
            }
            found[domain] += [
                {**common, **{f"{domain}{name}": value for name, value in part.items()}}
                for part in (*_items(entry, instrument), *_scores(entry, instrument))
            ]
        return found["FT"], found["QS"]


def _items(entry: _Entry, instrument: Form | None) -> list[Row]:
    known = {item.id: item for item in instrument.items} if instrument else {}
    rows = []
    for name, value in sorted(entry.items.items()):
        item = known.get(name)
        rows.append(
            {
                "SRC": "ITEM",
                "TESTCD": name,
                "TEST": (item.label if item and item.label else name),
                "ORRES": _text(value),
                "STRESN": _number(item, value),
                "STRESU": (item.unit or None) if item else None,
                "FLAG": "IMPLAUSIBLE" if item and implausible(item, value) else None,
            }
        )
    return rows


def _scores(entry: _Entry, instrument: Form | None) -> list[Row]:
    derived = score(instrument, entry.items, entry.status) if instrument else dict(entry.scores)
    known = {s.paramcd: s for s in instrument.scores} if instrument else {}
    rows = []
    for paramcd in sorted({*derived, *entry.scores}):
        rule = known.get(paramcd)
        value = derived.get(paramcd)
        rows.append(
            {
                "SRC": "SCORE",
                "TESTCD": paramcd,
                "TEST": rule.param if rule else paramcd,
                "ORRES": _text(entry.scores.get(paramcd)),
                "STRESN": math.nan if value is None else value,
                "STRESU": rule.unit if rule else None,
                "FLAG": None,
            }
        )
    return rows


def _text(value: Entry) -> str | None:
    return None if value is None else str(value)


def _number(item: Item | None, value: Entry) -> float:
    number = as_number(value) if item is None else item_number(item, value)
    return math.nan if number is None else number
