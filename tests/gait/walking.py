"""Made-up ground reaction whose events are known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def footfalls(
    time: NDArray[np.float64], strikes: NDArray[np.float64], stance_s: float, peak_n: float = 800.0
) -> NDArray[np.float64]:
    """Half sines of force that begin at `strikes`."""
    force = np.zeros(len(time))
    for strike in strikes:
        u = (time - strike) / stance_s
        force += np.where((u > 0) & (u < 1), peak_n * np.sin(np.pi * np.clip(u, 0, 1)), 0.0)
    return force


class Walk:
    """Nineteen strides of 1.2 s; the right foot strikes 0.5 s after the left.

    The recording begins on the right foot: 20 left and 20 right strikes are to be seen.
    """

    def __init__(self, rate_hz: float = 500.0) -> None:
        self.time = np.arange(0.0, 25.0, 1.0 / rate_hz)
        self.left_at = 0.5 + 1.2 * np.arange(20)
        self.right_at = 0.5 - 0.7 + 1.2 * np.arange(21)
        self.left = footfalls(self.time, self.left_at, 0.80)
        self.right = footfalls(self.time, self.right_at, 0.85, peak_n=900.0)
        self.belt = np.full(len(self.time), 0.8)
