"""Path control: the leg chooses its own timing, within a window that moves with the gait."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.adaptation.guidance import dead_band
from trialkit.errors import UsageError

Floats = NDArray[np.float64]


class PathControl(NamedTuple):
    """What path control asks for: the nearest phase, its reference, and the torque there."""

    phase: float
    reference: Floats
    torque: Floats


def nearest_in_window(q: ArrayLike, path: ArrayLike, phase: float, window: float) -> int:
    """Return the row of `path` nearest to `q` among those within `window` of `phase`.

    Of rows equally near, the one nearest in phase wins. The path is one gait cycle: it goes on
    from its last row to its first.

    Parameters
    ----------
    q : (joints,) array
        Joint angles, rad.
    path : (points, joints) array
        Reference at even phases 0, 1/points, ... of the cycle.
    phase : float
        Nominal phase, 0 to 1.
    window : float
        Half width, as a share of the cycle (0.05 to 0.10 are start values), below 0.5.
    """
    rows = np.asarray(path, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not 0 <= window < 0.5:
        raise UsageError(
            f"a path of shape {rows.shape} and a window of {window:g}.",
            remedy="Give one row a phase, and a window from 0 to below 0.5.",
        )
    n = len(rows)
    centre = round(phase * n)
    reach = int(window * n)
    order = sorted(range(-reach, reach + 1), key=lambda step: (abs(step), step))
    steps = np.array(order)
    gap = rows[(centre + steps) % n] - np.asarray(q, dtype=np.float64)
    return int((centre + steps[int(np.argmin((gap * gap).sum(axis=1)))]) % n)


def path_control(
    q: ArrayLike,
    path: ArrayLike,
    phase: float,
    *,
    window: float,
    stiffness: float,
    width: float,
    support: float = 0.0,
    support_torque: ArrayLike | None = None,
) -> PathControl:
    """Return the torque toward the nearest point of the path within a moving window.

    ``tau = K db(|d|, w) d / |d| + support * tau_support(phase)`` with d from the joint angles to
    the nearest row: free timing in the window, free movement in the tunnel of half width w.

    Parameters
    ----------
    q, path, phase, window
        As in `nearest_in_window`.
    stiffness : float
        K, N.m/rad.
    width : float
        Half width of the tunnel in joint space, rad.
    support : float
        Share of the support torque, 0 to 1.
    support_torque : (points, joints) array, optional
        Torque along the path at full support, N.m.

    Notes
    -----
    Duschau-Wicke et al. 2010; see ``SOURCES["path_control"]``.
    """
    if not 0 <= support <= 1 or stiffness < 0:
        raise UsageError(
            f"support={support:g}, stiffness={stiffness:g}.",
            remedy="Give a support from 0 to 1 and a stiffness of at least 0.",
        )
    rows = np.asarray(path, dtype=np.float64)
    at = nearest_in_window(q, rows, phase, window)
    away = rows[at] - np.asarray(q, dtype=np.float64)
    distance = float(np.sqrt(away @ away))
    torque = np.zeros(len(away))
    if distance > 0:
        torque += stiffness * float(dead_band(distance, width)) * away / distance
    if support_torque is not None:
        torque += support * np.asarray(support_torque, dtype=np.float64)[at]
    return PathControl(at / len(rows), rows[at], torque)
