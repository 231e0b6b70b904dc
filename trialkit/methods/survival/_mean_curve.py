"""One group's mean cumulative count and its variance; formulas in module ``mean_count``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods._marginal import objects
from trialkit.methods.survival._intervals import Intervals
from trialkit.methods.survival._outcome import z_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

CURVE = ("time", "estimate", "se", "lower", "upper", "at_risk", "events", "deaths")
#: Cells of participants by times handled at once.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Part:
    """One group's intervals, by participant (codes from 0) and time."""

    start: Floats
    stop: Floats
    event: npt.NDArray[np.bool_]
    death: npt.NDArray[np.bool_]
    first: Ints

    @classmethod
    def build(cls, spans: Intervals, own: npt.NDArray[np.bool_]) -> Part:
        """Take the group's intervals."""
        subject = spans.subject[own]
        first = np.flatnonzero(np.concatenate([[True], subject[1:] != subject[:-1]]))
        return cls(spans.start[own], spans.stop[own], spans.event[own], spans.death[own], first)

    @property
    def subjects(self) -> int:
        """Participants."""
        return len(self.first)

    def counts(self, key: str, name: Any) -> dict[str, Any]:
        """Return the group's row of counts."""
        with_event = np.add.reduceat(self.event, self.first, dtype=np.intp) > 0
        return {
            key: name,
            "subjects": self.subjects,
            "with_event": int(with_event.sum()),
            "events": int(self.event.sum()),
            "deaths": int(self.death.sum()),
            "person_time": float((self.stop - self.start).sum()),
            "last": float(self.stop.max()),
        }

    def curve(self, key: str, name: Any, level: float) -> pd.DataFrame:
        """Return the group's curve."""
        time = np.unique(self.stop[self.event | self.death])
        place = np.searchsorted(time, self.stop)
        size = len(time)
        risk = np.zeros(size)
        for rows in self._blocks(size):
            risk += self._at_risk(rows, time).sum(axis=0)
        events = np.bincount(place[self.event], minlength=size).astype(np.float64)
        deaths = np.bincount(place[self.death], minlength=size).astype(np.float64)
        alive = np.cumprod(1.0 - deaths / risk)
        before = np.concatenate([[1.0], alive[:-1]]) if size else alive
        rate = events / risk
        mean = np.cumsum(before * rate)
        left = risk - deaths
        inverse = np.divide(1.0, left, out=np.zeros(size), where=left > 0.0)
        variance = np.zeros(size)
        for rows in self._blocks(size):
            here = self._at_risk(rows, time)
            jump = self._jumps(rows, place, self.event, size) - here * rate
            fall = (self._jumps(rows, place, self.death, size) - here * (deaths / risk)) * inverse
            each = np.cumsum(before / risk * jump, axis=1)
            each -= mean * np.cumsum(fall, axis=1) - np.cumsum(mean * fall, axis=1)
            variance += (each**2).sum(axis=0)
        se = np.sqrt(variance)
        with np.errstate(divide="ignore", invalid="ignore"):
            width = np.exp(np.where(mean > 0.0, z_of(level) * se / mean, 0.0))
        columns = (time, mean, se, mean / width, mean * width, risk, events, deaths)
        head = (0.0, 0.0, 0.0, 0.0, 0.0, float(self.subjects), 0.0, 0.0)
        full = {n: np.append(h, c) for n, h, c in zip(CURVE, head, columns, strict=True)}
        whole = {n: full[n].astype(int) for n in ("at_risk", "events", "deaths")}
        return pd.DataFrame({key: objects([name] * (size + 1)), **full, **whole})

    def _blocks(self, size: int) -> list[slice]:
        """Return runs of whole participants' rows with a bounded number of cells."""
        ends = np.append(self.first[1:], len(self.stop))
        out, begin, most = [], 0, max(1, _BLOCK // max(size, 1))
        while begin < len(self.first):
            end = begin + 1
            while end < len(self.first) and ends[end] - self.first[begin] <= most:
                end += 1
            out.append(slice(begin, end))
            begin = end
        return out

    def _rows(self, people: slice) -> tuple[slice, Ints]:
        """Return the rows of some participants, and where each begins among them."""
        low = int(self.first[people.start])
        whole = people.stop == len(self.first)
        high = len(self.stop) if whole else int(self.first[people.stop])
        return slice(low, high), self.first[people] - low

    def _at_risk(self, people: slice, time: Floats) -> Floats:
        """Return whether each participant is at risk at each time, shape (people, D)."""
        rows, first = self._rows(people)
        inside = (self.start[rows, None] < time) & (time <= self.stop[rows, None])
        return np.asarray(np.add.reduceat(inside, first, axis=0, dtype=np.float64))

    def _jumps(self, people: slice, place: Ints, kind: npt.NDArray[np.bool_], size: int) -> Floats:
        """Return each participant's events or deaths at each time, shape (people, D)."""
        rows, first = self._rows(people)
        hits = np.zeros((rows.stop - rows.start, size))
        own = np.flatnonzero(kind[rows])
        hits[own, place[rows][own]] = 1.0
        return np.asarray(np.add.reduceat(hits, first, axis=0))
