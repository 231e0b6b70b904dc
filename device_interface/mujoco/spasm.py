"""Notices a spasm by the interaction torque of the knees, as a device would.

Each stride is much like the last, so a torque far from that of the last stride at the same
phase is a spasm; less is allowed once speed and guidance are steady. In the first stride,
and while the belt stands, a jump within 30 ms counts. A stride with a spasm in it is no measure
for the next. The thresholds are start values that
part the simulator's own strides from its own spasms, and no clinical values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

ROWS = 2
"""Rows of 10 ms in a row that must be far off."""
_JUMP_ROWS = 3
_FAR_NM, _FAR_UNSTEADY_NM = 25.0, 60.0
_JUMP_NM, _STILL_NM = 70.0, 35.0
_FEWEST_ROWS, _BEGIN = 20, 0.05
"""A stride is whole where it has so many rows and begins so early."""


class SpasmWatch:
    """Two knees, a row every 10 ms."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=_JUMP_ROWS + 1)
        self._stride: list[tuple[float, float, float]] = []
        self._steady = self._alike = False
        self._last: list[tuple[float, float, float]] = []
        self._far = 0

    def feed(
        self, phase: float, left_nm: float, right_nm: float, *, moving: bool, steady: bool
    ) -> bool:
        """Take a row and return True where it shows a spasm.

        Parameters
        ----------
        phase : float
            Of the gait cycle, 0 to 1.
        left_nm, right_nm : float
            Interaction torque of each knee.
        moving : bool
            True while the belt moves.
        steady : bool
            True where neither speed nor guidance moves.
        """
        self._recent.append((left_nm, right_nm))
        if not moving:  # the last stride before a rest may have a spasm in it
            self._stride, self._last, self._alike = [], [], False
        elif self._stride and phase < self._stride[-1][0]:
            if self._stride[0][0] < _BEGIN and len(self._stride) >= _FEWEST_ROWS:
                self._last, self._alike = self._stride, self._steady
            self._stride, self._steady = [], True
        self._stride.append((phase, left_nm, right_nm))
        self._steady = self._steady and steady
        off = self._off(phase, left_nm, right_nm, moving=moving)
        self._far = self._far + 1 if off else 0
        if self._far < ROWS:
            return False
        self._stride, self._last, self._alike = [], [], False
        return True

    def _off(self, phase: float, left_nm: float, right_nm: float, *, moving: bool) -> bool:
        if not self._last or not moving:
            was, allowed = self._recent[0], _JUMP_NM if moving else _STILL_NM
        else:
            was = _between(self._last, phase)
            allowed = _FAR_NM if self._alike and self._steady else _FAR_UNSTEADY_NM
        return max(abs(left_nm - was[0]), abs(right_nm - was[1])) > allowed


def _between(rows: list[tuple[float, float, float]], phase: float) -> tuple[float, float]:
    """Return the two torques at `phase`, by linear interpolation between rows."""
    at = bisect_left(rows, (phase,))
    before, after = rows[max(0, at - 1)], rows[min(at, len(rows) - 1)]
    span = after[0] - before[0]
    part = (phase - before[0]) / span if span > 0 else 0.0
    return (
        before[1] + part * (after[1] - before[1]),
        before[2] + part * (after[2] - before[2]),
    )
