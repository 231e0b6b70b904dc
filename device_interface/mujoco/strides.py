"""Strides from the forces and places of the feet: times, lengths, stance, clearance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONTACT_N = 20.0
"""A foot stands where the belt pushes with more than this."""
_CONTACT_MS, _LIFT_MS = 40, 100
"""A contact, or a lift, counts when it has lasted so long: feet bounce, above all unloaded."""


@dataclass
class _Foot:
    """A foot: whether it stands, its last contact (ms of device time) and stance."""

    stands: bool = True
    other_for: int = 0
    contact: int | None = None
    step_m: float = 0.0
    heights: list[float] = field(default_factory=list)
    clearance_m: float | None = None
    stance_ms: int | None = None


@dataclass(frozen=True)
class Stride:
    """One stride, from left contact to left contact.

    Attributes
    ----------
    end_ms : int
        Device time of its last contact.
    time_s : float
    step_l_m, step_r_m : float
        Distance of the toes at the contact of that foot, positive where it is in front.
    stance_l, stance_r : float
        Share of the stride on that foot.
    clearance_m : float
        Least height of the toe over the belt in the middle half of swing, of the lower foot.
    """

    end_ms: int
    time_s: float
    step_l_m: float
    step_r_m: float
    stance_l: float
    stance_r: float
    clearance_m: float


class StrideCounter:
    """Finds strides in rows of a millisecond."""

    def __init__(self) -> None:
        self._feet = (_Foot(), _Foot())

    def feed(
        self,
        begin_ms: int,
        force_n: NDArray[np.float64],
        toe_x_m: NDArray[np.float64],
        toe_z_m: NDArray[np.float64],
    ) -> list[Stride]:
        """Take consecutive rows, each array of shape (n, 2) for left and right foot.

        Parameters
        ----------
        begin_ms : int
            Device time of the first row.
        force_n, toe_x_m, toe_z_m : ndarray of shape (n, 2)
            Force of the belt, place of the toe along the belt and height over it.
        """
        strides = []
        pushed = force_n > CONTACT_N
        for side, foot in enumerate(self._feet):
            if not foot.stands:
                foot.heights.append(float(toe_z_m[-1, side]))
            column = pushed[:, side]
            n = int(np.count_nonzero(column))
            if n == (len(column) if foot.stands else 0):
                foot.other_for = 0
                continue
            for at, there in enumerate(column.tolist()):
                lasts = _LIFT_MS if foot.stands else _CONTACT_MS
                foot.other_for = foot.other_for + 1 if there != foot.stands else 0
                if foot.other_for == lasts:
                    since = begin_ms + at - lasts + 1
                    ahead = float(toe_x_m[at, side] - toe_x_m[at, 1 - side])
                    stride = self._change(side, since, ahead, len(column))
                    strides += [stride] if stride is not None else []
        return strides

    def _change(self, side: int, since_ms: int, ahead_m: float, row_ms: int) -> Stride | None:
        foot = self._feet[side]
        foot.stands, foot.other_for = not foot.stands, 0
        if not foot.stands:
            foot.heights.clear()
            if foot.contact is not None:
                foot.stance_ms = since_ms - foot.contact
            return None
        early, late = _LIFT_MS // row_ms, _CONTACT_MS // row_ms
        n = len(foot.heights) - late  # the swing without its first `early` rows
        quarter = (n + early) // 4
        middle = foot.heights[max(0, quarter - early) : n - quarter]
        foot.clearance_m = min(middle) if middle else None
        before, foot.contact, foot.step_m = foot.contact, since_ms, ahead_m
        return self._stride(before, since_ms) if side == 0 else None

    def _stride(self, before_ms: int | None, now_ms: int) -> Stride | None:
        left, right = self._feet
        clear = [f.clearance_m for f in self._feet if f.clearance_m is not None]
        stance = (left.stance_ms, right.stance_ms)
        if before_ms is None or stance[0] is None or stance[1] is None or not clear:
            return None
        if right.contact is None or not before_ms < right.contact < now_ms:
            return None
        long_ms = now_ms - before_ms
        return Stride(
            now_ms,
            long_ms / 1e3,
            left.step_m,
            right.step_m,
            stance[0] / long_ms,
            stance[1] / long_ms,
            min(clear),
        )
