"""A block of telemetry in the few numbers that the machine looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_interface.contract import MOVING_M_S, Block, Stream
from trialkit.session.words import Summary

_DIGITS = 4


class Summariser:
    """Summarises the blocks of one stream, and keeps the age of the last row.

    Parameters
    ----------
    stream : Stream
        Its channels; those that it lacks are left out of the summary.
    """

    def __init__(self, stream: Stream) -> None:
        column = {channel.name: at for at, channel in enumerate(stream.channels)}
        self._at = column
        self._row_s = 1.0 / stream.rate_hz if stream.rate_hz else None
        self._next_seq: int | None = None
        self._silent_s = 0.0
        self._speed = 0.0
        self.gaps = 0
        self.rows = 0

    def summary(self, blocks: Sequence[Block], dt_s: float) -> Summary:
        """Return the summary of what came in the last `dt_s` seconds."""
        lost_s = self._count(blocks)
        rows = sum(len(block) for block in blocks)
        if self._row_s is not None:
            self._silent_s = lost_s if rows else self._silent_s + dt_s
        if not rows:
            return Summary(0, speed_m_s=self._speed, gap_s=self._silent_s)
        values = (
            blocks[-1].values if len(blocks) == 1 else np.concatenate([b.values for b in blocks])
        )
        last = values[-1]
        at = self._at
        self._speed = float(last[at["belt_speed_m_s"]]) if "belt_speed_m_s" in at else 0.0
        return Summary(
            rows,
            device_state=int(last[at["device_state"]]) if "device_state" in at else None,
            fault_code=self._fault(values),
            speed_m_s=self._speed,
            gap_s=self._silent_s,
            measures=self._measures(values),
        )

    def _fault(self, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> int:
        """Return the last fault code of the rows that is not 0: one may pass within a tick."""
        if "fault_code" not in self._at:
            return 0
        codes = values[:, self._at["fault_code"]]
        told = codes[codes != 0]
        return int(told[-1]) if len(told) else 0

    def _count(self, blocks: Sequence[Block]) -> float:
        """Count gaps of the sequence numbers and return the seconds that are missing."""
        missing = 0
        for block in blocks:
            first, last, n = int(block.seq[0]), int(block.seq[-1]), len(block)
            expected = first if self._next_seq is None else self._next_seq
            before = (first - expected) & 0xFFFFFFFF
            inside = ((last - first) & 0xFFFFFFFF) + 1 - n
            self.gaps += bool(before)
            self.gaps += int(np.count_nonzero(np.diff(block.seq) != 1)) if inside else 0
            missing += before + inside
            self._next_seq = (last + 1) & 0xFFFFFFFF
            self.rows += n
        return missing * self._row_s if self._row_s is not None else 0.0

    def _measures(
        self, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> dict[str, float]:
        at = self._at
        mean = values.mean(axis=0, dtype=np.float64)
        measures: dict[str, float] = {}
        if "heart_rate_bpm" in at:
            measures["heart_rate_bpm"] = round(float(mean[at["heart_rate_bpm"]]), 1)
        if "belt_speed_m_s" not in at or self._speed <= MOVING_M_S:
            return measures
        if "tracking_error_rad" in at:
            measures["tracking_error_rad"] = round(float(mean[at["tracking_error_rad"]]), _DIGITS)
        if "toe_clearance_m" in at:
            strides = values[values[:, at["stride_time_s"]] > 0]
            if len(strides):
                toe = float(strides[:, at["toe_clearance_m"]].min())
                left = float(mean[at["step_length_l_m"]])
                right = float(mean[at["step_length_r_m"]])
                measures["toe_clearance_m"] = round(toe, _DIGITS)
                if left + right > 0:
                    share = abs(left - right) / (left + right)
                    measures["step_asymmetry"] = round(share, _DIGITS)
        return measures
