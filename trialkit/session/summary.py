"""The rows of a tick, from every stream, in the few numbers that the machine looks at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import MOVING_M_S, Block, Stream
from trialkit.session.watch import StreamWatch
from trialkit.session.words import Summary

_DIGITS = 4
_NEEDED = ("belt_speed_m_s", "tracking_error_rad")
_STRIDE = ("toe_clearance_m", "stride_time_s", "step_length_l_m", "step_length_r_m")

Rows = NDArray[np.float32]


class Summariser:
    """Summarises the blocks of all streams of a device, and keeps count of each.

    A channel is taken from the first stream that has it; those that none has are left out
    of the summary. Required are the first stream, the streams that give belt speed and
    tracking error, those that give one of `signs`, and those that the device says are
    required: only their silence is a gap.

    Parameters
    ----------
    streams : sequence of Stream
    signs : iterable of str
        Signs that a rule of the session looks at.
    """

    def __init__(self, streams: Sequence[Stream], signs: Iterable[str] = ()) -> None:
        home: dict[str, str] = {}
        for stream in streams:
            for channel in stream.channels:
                home.setdefault(channel.name, stream.name)
        needed = {home[name] for name in (*_NEEDED, *signs) if name in home}
        if "step_asymmetry" in signs and "toe_clearance_m" in home:
            needed.add(home["toe_clearance_m"])
        needed |= {streams[0].name, *(s.name for s in streams if s.required)}
        self.watches = {s.name: StreamWatch(s, required=s.name in needed) for s in streams}
        self._columns = {
            name: (stream, self.watches[stream].column[name]) for name, stream in home.items()
        }
        of = {self._columns[name][0] for name in _STRIDE if name in self._columns}
        self._strides = next(iter(of)) if len(of) == 1 else None
        self._followed = [
            name
            for name in {c.follows for s in streams for c in s.channels if c.follows is not None}
            if name in self._columns
        ]
        self._latest: dict[str, float] = {}
        self._speed = 0.0

    @property
    def rows(self) -> int:
        """Rows of all streams."""
        return sum(watch.rows for watch in self.watches.values())

    @property
    def gaps(self) -> int:
        """Gaps of all streams."""
        return sum(watch.gaps for watch in self.watches.values())

    def summary(self, blocks: Sequence[Block], dt_s: float, late_s: float = 0.0) -> Summary:
        """Return the summary of what came in the last `dt_s` seconds, `late_s` too late."""
        rows: dict[str, Rows] = {}
        guards: dict[str, float] = {}
        moving = self._speed > MOVING_M_S
        for name, watch in self.watches.items():
            own = blocks if len(self.watches) == 1 else [b for b in blocks if b.stream == name]
            values, seen = watch.see(own, dt_s, self._latest, moving=moving)
            if values is not None:
                rows[name] = values
            guards.update(seen)
        for name in self._followed:
            column = self._column(rows, name)
            if column is not None:
                self._latest[name] = float(column[-1])
        self._speed = self._last(rows, "belt_speed_m_s", self._speed)
        state = self._last(rows, "device_state", -1.0)
        return Summary(
            sum(len(values) for values in rows.values()),
            device_state=int(state) if state >= 0 else None,
            fault_code=self._fault(rows),
            speed_m_s=self._speed,
            gap_s=max((w.silent_s for w in self.watches.values() if w.required), default=0.0),
            late_s=late_s,
            measures=self._measures(rows),
            guards=guards,
            silent=tuple(n for n, w in self.watches.items() if not w.required and w.silent),
        )

    def _column(self, rows: dict[str, Rows], name: str) -> Rows | None:
        stream, at = self._columns.get(name, ("", 0))
        values = rows.get(stream)
        return None if values is None else values[:, at]

    def _last(self, rows: dict[str, Rows], name: str, otherwise: float) -> float:
        column = self._column(rows, name)
        return otherwise if column is None else float(column[-1])

    def _fault(self, rows: dict[str, Rows]) -> int:
        """Return the last fault code of the rows that is not 0: one may pass within a tick."""
        codes = self._column(rows, "fault_code")
        if codes is None:
            return 0
        told = codes[codes > 0]
        return int(told[-1]) if len(told) else 0

    def _mean(self, rows: dict[str, Rows], name: str) -> float | None:
        column = self._column(rows, name)
        return None if column is None else float(column.mean(dtype=np.float64))

    def _measures(self, rows: dict[str, Rows]) -> dict[str, float]:
        measures: dict[str, float] = {}
        heart = self._mean(rows, "heart_rate_bpm")
        if heart is not None:
            measures["heart_rate_bpm"] = round(heart, 1)
        if not self._speed > MOVING_M_S:
            return measures
        error = self._mean(rows, "tracking_error_rad")
        if error is not None:
            measures["tracking_error_rad"] = round(error, _DIGITS)
        left_n, right_n = (self._mean(rows, f"grf_vertical_{side}") for side in "lr")
        if left_n is not None and right_n is not None and left_n > 0 and right_n > 0:
            measures["load_share_l"] = round(left_n / (left_n + right_n), _DIGITS)
        values = rows.get(self._strides) if self._strides is not None else None
        if values is not None:
            toe, time, left, right = (values[:, self._columns[name][1]] for name in _STRIDE)
            whole = time > 0
            if whole.any():
                measures["toe_clearance_m"] = round(float(toe[whole].min()), _DIGITS)
                one = float(left.mean(dtype=np.float64))
                other = float(right.mean(dtype=np.float64))
                if one + other > 0:
                    share = abs(one - other) / (one + other)
                    measures["step_asymmetry"] = round(share, _DIGITS)
        return measures
