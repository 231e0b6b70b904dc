"""A stumble: in swing the toe of the left leg catches, and the leg comes late and stiff.

For half a second from 68 % of the cycle on, knee and hip flex less than they should; the
orthosis pulls them on. The course is the bump ``b(s) = 16 s**2 (1 - s)**2`` of the share s
of that time. All sizes are start values of the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

BEGINS, LATEST = 0.68, 0.78
"""Phases of the left leg between which a toe catches."""
LASTS_S = 0.5
KNEE_RAD, HIP_RAD = -0.2, -0.08
"""Deviation of the joints at the worst."""
PATH_RAD = 0.15
"""What it adds to the tracking error at the worst."""
OTHER_LOAD = 0.15
"""Share of its load that the other leg takes on top."""
CLEARANCE_M = -0.01
STEP_SHARE = 0.7
"""Toe clearance, and length of the left step over what it should be, in that stride."""


@dataclass(frozen=True)
class Course:
    """A stumble in the rows of a block.

    Attributes
    ----------
    bump, slope : ndarray of shape (n,)
        0 to 1 and 0 outside; its change per second.
    """

    bump: Vector
    slope: Vector


class Stumble:
    """One stumble, from the order to its end.

    It waits for the next swing of the left leg.
    """

    def __init__(self) -> None:
        self._passed_s: float | None = None

    @property
    def over(self) -> bool:
        """True after its last row."""
        return self._passed_s is not None and self._passed_s >= LASTS_S

    def pass_rows(self, phase: Vector, row_s: float) -> Course | None:
        """Return the course in the next rows, or None where it has not begun.

        Parameters
        ----------
        phase : ndarray of shape (n,)
            Of the left leg, 0 to 1.
        row_s : float
        """
        n, first = len(phase), 0
        if self._passed_s is None:
            swing = np.flatnonzero((phase >= BEGINS) & (phase < LATEST))
            if not len(swing):
                return None
            first, self._passed_s = int(swing[0]), 0.0
        s = np.zeros(n)
        s[first:] = (self._passed_s + row_s * np.arange(1, n - first + 1)) / LASTS_S
        s = np.minimum(s, 1.0)
        self._passed_s += row_s * (n - first)
        rest = 1.0 - s
        bump = 16.0 * (s * s) * (rest * rest)
        slope = 32.0 * s * rest * (rest - s) / LASTS_S
        return Course(bump, slope)
