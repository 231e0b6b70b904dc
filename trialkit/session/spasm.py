"""Looks for a spasm: interaction torques far from those of the last strides at the same phase.

Strides of one walk are alike, and a physical body changes its torques within a stride by as
much as a spasm does. So the torques of the last strides make a band over the gait cycle,
widened by a bin to either side, and what lies far outside it, in two rows, is a spasm. Until
there are two strides to compare with, only a jump within `SPASM_WINDOW_S` counts. On the
`mujoco` driver (0.4 to 0.8 m/s, guidance 0.3 to 1, settings moving) ordinary strides stay within
38 N.m of the band, and change by up to 92 N.m within 50 ms.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from trialkit.session.guards import GUARDS, SPASM_JUMP_NM, SPASM_WINDOW_S

BINS = 50
STRIDES = 3
_WHOLE = 0.8
_ROWS = 2
_FEWEST = 2

Matrix = NDArray[np.float32]


class SpasmWatch:
    """Watches the interaction torques of one stream.

    Parameters
    ----------
    n_torques : int
    row_s : float
        Period of the stream.
    """

    def __init__(self, n_torques: int, row_s: float) -> None:
        self._shape = (BINS, n_torques)
        self._back = max(1, round(SPASM_WINDOW_S / row_s))
        self._near_ns = 1.5e9 * max(SPASM_WINDOW_S, row_s)
        self._strides: deque[tuple[Matrix, Matrix]] = deque(maxlen=STRIDES)
        self._t = np.empty(0, np.int64)
        self._rows = np.empty((0, n_torques), np.float32)
        self._phase = 0.0
        self.forget()

    def forget(self) -> None:
        """Forget the strides: nobody walks, or the walk begins anew."""
        self._strides.clear()
        self._band: tuple[Matrix, Matrix] | None = None
        self._begin()

    def _begin(self) -> None:
        self._low = np.full(self._shape, np.inf, np.float32)
        self._high = np.full(self._shape, -np.inf, np.float32)

    def look(
        self, torques: Matrix, phase: Matrix | None, t_ns: NDArray[np.int64], *, moving: bool
    ) -> float | None:
        """Return how far the torques lie outside in N.m where that is a spasm, else None.

        Parameters
        ----------
        torques : ndarray of shape (n, n_torques)
        phase : ndarray of shape (n,) or None
            Of the gait cycle, 0 to 1; None where the device does not tell.
        t_ns : ndarray of shape (n,)
        moving : bool
        """
        if not moving:
            self.forget()
        jump = self._jump(torques, t_ns)
        if not moving or phase is None:
            return jump
        known = self._band is not None
        found = None
        begin = 0
        wraps = np.flatnonzero(np.diff(phase, prepend=np.float32(self._phase)) < -0.5)
        for end in (*wraps.tolist(), len(phase)):
            far = self._walk(torques[begin:end], phase[begin:end])
            found = far if found is None else found
            if end < len(phase):
                self._end_stride()
            begin = end
        self._phase = float(phase[-1])
        return found if known else jump

    def _jump(self, torques: Matrix, t_ns: NDArray[np.int64]) -> float | None:
        t = np.concatenate([self._t, t_ns])
        rows = np.concatenate([self._rows, torques])
        self._t, self._rows = t[-self._back :], rows[-self._back :]
        if len(t) <= self._back:
            return None
        near = t[self._back :] - t[: -self._back] <= self._near_ns
        change = np.abs(rows[self._back :] - rows[: -self._back]).max(axis=1)[near]
        largest = float(change.max()) if len(change) else 0.0
        return largest if largest > SPASM_JUMP_NM else None

    def _walk(self, torques: Matrix, phase: Matrix) -> float | None:
        """Compare a part of a stride with the band, and add it to the stride."""
        if not len(phase):
            return None
        at = (phase * BINS).astype(np.int64) % BINS
        found = None
        if self._band is not None:
            low, high = self._band[0][at], self._band[1][at]
            off = np.where(low <= high, np.maximum(torques - high, low - torques), 0.0).max(axis=1)
            far = off > (GUARDS["spasm"].threshold or 0.0)
            if np.count_nonzero(far) >= _ROWS:
                found = float(off.max())
        np.minimum.at(self._low, at, torques)
        np.maximum.at(self._high, at, torques)
        return found

    def _end_stride(self) -> None:
        """Take a whole stride into the band."""
        if np.isfinite(self._low[:, 0]).mean() >= _WHOLE:
            self._strides.append((self._low, self._high))
        if len(self._strides) >= _FEWEST:
            low = np.min([one[0] for one in self._strides], axis=0)
            high = np.max([one[1] for one in self._strides], axis=0)
            self._band = (
                np.minimum.reduce([np.roll(low, by, axis=0) for by in (-1, 0, 1)]),
                np.maximum.reduce([np.roll(high, by, axis=0) for by in (-1, 0, 1)]),
            )
        self._begin()
