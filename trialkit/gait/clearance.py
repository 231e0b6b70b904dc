"""Height of the toe over the belt, and its least value in swing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, samples


@dataclass(frozen=True)
class Segments:
    """Lengths of the leg, in m.

    Attributes
    ----------
    thigh_m, shank_m : float
        Hip to knee, knee to ankle.
    ankle_height_m : float
        Ankle over the sole.
    toe_m, heel_m : float
        Ankle to toe tip and to the back of the heel, along the sole.
    """

    thigh_m: float
    shank_m: float
    ankle_height_m: float
    toe_m: float
    heel_m: float

    def __post_init__(self) -> None:
        """Refuse lengths that are no lengths."""
        if not all(0 < value < 2 for value in vars(self).values()):
            raise UsageError(
                "a segment length is not between 0 and 2 m.", remedy="Give lengths in m."
            )


def toe_heights(
    left: Mapping[str, ArrayLike], right: Mapping[str, ArrayLike], segments: Segments
) -> tuple[Floats, Floats]:
    """Return the heights of the left and right toe over the ground, in m.

    Plane chain of hip, knee and ankle under an upright pelvis, the lowest of the four points
    (toes and heels) being on the ground. So it holds where one foot carries, and not in flight;
    rotation of the pelvis and bending of the foot are left out.

    Parameters
    ----------
    left, right : mapping
        ``hip``, ``knee``, ``ankle``: (n,) arrays in rad; flexion and dorsiflexion positive,
        0 in standing.
    segments : Segments
        The same for both legs.

    Returns
    -------
    tuple of (n,) arrays
        Left, right.
    """
    points = []
    for leg in (left, right):
        if not {"hip", "knee", "ankle"} <= set(leg):
            raise UsageError("an angle is missing.", remedy="Give hip, knee and ankle, in rad.")
        hip = samples("hip", leg["hip"])
        knee = samples("knee", leg["knee"], len(hip))
        ankle = samples("ankle", leg["ankle"], len(hip))
        shank = hip - knee
        foot = shank + ankle
        above = -segments.thigh_m * np.cos(hip) - segments.shank_m * np.cos(shank)
        sole = -segments.ankle_height_m * np.cos(foot)
        points.append(
            (
                above + sole + segments.toe_m * np.sin(foot),
                above + sole - segments.heel_m * np.sin(foot),
            )
        )
    (toe_l, heel_l), (toe_r, heel_r) = points
    if len(toe_l) != len(toe_r):
        raise UsageError("the legs differ in length.", remedy="Give both legs at the same times.")
    ground = np.minimum(np.minimum(toe_l, heel_l), np.minimum(toe_r, heel_r))
    return toe_l - ground, toe_r - ground


def minimum_toe_clearance_m(height_m: ArrayLike, *, prominence_m: float = 0.002) -> float:
    """Return the minimum toe clearance of one swing, in m; NaN where there is none.

    The toe rises after foot-off, falls to its least height in mid swing, and rises again before
    heel strike. The result is the lowest such valley, between two maxima that stand out by
    `prominence_m`. A toe that only falls after its first maximum (flat or forefoot landing) has
    none, and a sample that is missing takes the value away.

    Parameters
    ----------
    height_m : (n,) array
        Height over the ground from foot-off to strike.
    prominence_m : float
        Least depth of the valley and height of the maximum before it.

    Notes
    -----
    After Winter, Phys Ther 72:45 (1992), from memory.
    """
    height = samples("height_m", height_m)
    if len(height) < 5 or not np.all(np.isfinite(height)):
        return float("nan")
    peaks, _ = signal.find_peaks(height, prominence=prominence_m)
    valleys, _ = signal.find_peaks(-height, prominence=prominence_m)
    if not len(peaks) or not (valleys > peaks[0]).any():
        return float("nan")
    return float(height[valleys[valleys > peaks[0]]].min())
