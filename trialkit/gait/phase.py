"""Gait phase between strikes, and curves over the gait cycle."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, samples
from trialkit.gait.strides import MAX_STRIDE_S, MIN_STRIDE_S


def gait_phase(
    time_s: ArrayLike, strikes_s: ArrayLike, *, max_stride_s: float = MAX_STRIDE_S
) -> Floats:
    """Return the gait phase at each time: 0 at a strike, growing evenly to 1 at the next.

    NaN before the first strike, after the last, and where two strikes of the same foot are
    further apart than `max_stride_s`. It needs the next strike, so it is for recordings; see
    `trialkit.adaptation.oscillator_step` for phase as it happens.

    Parameters
    ----------
    time_s : (n,) array
        Seconds.
    strikes_s : (k,) array
        Strikes of one foot, growing.
    max_stride_s : float
        Longest stride.
    """
    time, strikes = samples("time_s", time_s), samples("strikes_s", strikes_s)
    phase = np.full(len(time), np.nan)
    for begin, end in pairwise(strikes):
        if 0 < end - begin <= max_stride_s:
            inside = (time >= begin) & (time < end)
            phase[inside] = (time[inside] - begin) / (end - begin)
    return phase


def cycles(
    time_s: ArrayLike,
    values: ArrayLike,
    strikes_s: ArrayLike,
    *,
    points: int = 101,
    max_stride_s: float = MAX_STRIDE_S,
) -> Floats:
    """Return a channel over each gait cycle, at even phases from 0 to 1.

    Parameters
    ----------
    time_s, values : (n,) arrays
        Seconds, and the channel; a stride with a missing value is left out.
    strikes_s : (k,) array
        Strikes of one foot.
    points : int
        Phases, both ends included.

    Returns
    -------
    (strides, points) array
    """
    time = samples("time_s", time_s)
    channel = samples("values", values, len(time))
    if points < 2:
        raise UsageError(f"points={points}.", remedy="Give at least 2 phases.")
    rows = []
    for begin, end in pairwise(samples("strikes_s", strikes_s)):
        if not MIN_STRIDE_S <= end - begin <= max_stride_s:
            continue
        at = np.linspace(begin, end, points)
        row = np.interp(at, time, channel, left=np.nan, right=np.nan)
        if np.all(np.isfinite(row)):
            rows.append(row)
    return np.array(rows).reshape(len(rows), points)


@dataclass(frozen=True)
class MeanCurve:
    """A mean curve over the gait cycle.

    Attributes
    ----------
    mean, sd : (points,) arrays
        Over the curves, in their unit; SD with n - 1.
    range_of_motion : (n,) array
        Greatest minus least value of each curve.
    """

    mean: Floats
    sd: Floats
    range_of_motion: Floats


def mean_curve(curves: ArrayLike) -> MeanCurve:
    """Return mean, SD and ranges of motion of curves, one a row.

    The range of the mean curve is smaller than the mean of the ranges wherever the curves
    differ in timing, so that both can be read off here.

    Raises
    ------
    UsageError
        With fewer than two curves, or missing values.
    """
    rows = np.asarray(curves, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not np.all(np.isfinite(rows)):
        raise UsageError(
            f"no mean of curves of shape {rows.shape}.",
            remedy="Give at least two whole curves, one a row.",
        )
    return MeanCurve(
        mean=rows.mean(axis=0),
        sd=rows.std(axis=0, ddof=1),
        range_of_motion=rows.max(axis=1) - rows.min(axis=1),
    )
