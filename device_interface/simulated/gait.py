"""Gait cycle shapes of the simulated orthosis: joint reference, error shapes and loading.

One row a thousandth of the cycle, 0 at foot contact. The shapes are smooth start values of
the simulator (hip 30 to -10 degrees, knee peak 60 degrees in swing, stance 62 % of the
cycle) and no reference data. The table is rounded, so that it is the same on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

POINTS = 1000
STANCE = 0.62
WALK_RATIO_M_MIN = 0.0042
"""Step length over cadence, m per (steps/min): a start value of the simulator."""

COLUMNS = (
    "hip", "knee", "ankle", "hip_rate", "knee_rate", "ankle_rate", "load",
    "hip_error", "knee_error",
)  # fmt: skip


def _bump(phase: float, at: float, width: float) -> float:
    distance = min(abs(phase - at), 1.0 - abs(phase - at)) / width
    return math.exp(-distance * distance)


def _angles(phase: float) -> tuple[float, float, float]:
    turn = 2.0 * math.pi * phase
    hip = 10.0 + 20.0 * math.cos(turn)
    knee = 5.0 + 13.0 * _bump(phase, 0.15, 0.07) + 55.0 * _bump(phase, 0.73, 0.09)
    ankle = 8.0 * _bump(phase, 0.45, 0.12) - 15.0 * _bump(phase, 0.64, 0.06)
    return math.radians(hip), math.radians(knee), math.radians(ankle)


def _load(phase: float) -> float:
    if phase >= STANCE:
        return 0.0
    u = math.pi * phase / STANCE
    return 1.1 * (math.sin(u) + 0.3 * math.sin(3.0 * u))


def _table() -> NDArray[np.float64]:
    step = 1.0 / POINTS
    rows = []
    for at in range(POINTS):
        phase = at * step
        here = _angles(phase)
        after, before = _angles((phase + step) % 1.0), _angles((phase - step) % 1.0)
        rates = [(a - b) / (2.0 * step) for a, b in zip(after, before, strict=True)]
        turn = 2.0 * math.pi * phase
        errors = (math.sin(2.0 * turn), math.sin(turn + 0.6) * math.sqrt(2.0) * 0.9)
        rows.append([*here, *rates, _load(phase), *errors])
    return np.round(np.array(rows), 6)


TABLE = _table()


def stride_time_s(speed_m_s: float) -> float:
    """Return the time of one stride (two steps) at a belt speed above zero.

    With step length = W * cadence, speed = W * cadence**2 / 60 and so
    cadence = sqrt(60 * speed / W) steps a minute (constant walk ratio W).
    """
    return 120.0 / math.sqrt(60.0 * speed_m_s / WALK_RATIO_M_MIN)
