"""Counts at risk and what follows from them: product limit, Greenwood's sum, intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Scales on which an interval of a probability is symmetric.
INTERVALS = {"loglog": "log-log", "log": "log", "plain": "plain"}


@dataclass(frozen=True)
class RiskTable:
    """Counts at each distinct time.

    Parameters
    ----------
    time : ndarray, shape (m,)
        Distinct times of an event or a censoring, rising.
    at_risk : ndarray, shape (m, k)
        Participants of each group under observation just before the time.
    counts : ndarray, shape (m, k, q)
        Of them, those who leave at the time, by kind; kind 0 is censoring.
    """

    time: Floats
    at_risk: Floats
    counts: Floats

    @property
    def events(self) -> Floats:
        """Events of any kind, shape (m, k)."""
        return np.asarray(self.counts[:, :, 1:].sum(axis=2))


def risk_table(times: Floats, codes: Ints, kinds: Ints, k: int, q: int = 2) -> RiskTable:
    """Count those at risk and those who leave.

    Parameters
    ----------
    times : ndarray, shape (n,)
        A censored participant is at risk at the events of that same time.
    codes, kinds : ndarray of int, shape (n,)
        Group in ``range(k)``, and kind in ``range(q)``: 0 for censoring.
    """
    moments, place = np.unique(times, return_inverse=True)
    flat = (place * k + codes) * q + kinds
    counts = np.bincount(flat, minlength=len(moments) * k * q).reshape(len(moments), k, q)
    at_risk = counts.sum(axis=2)[::-1].cumsum(axis=0)[::-1]
    return RiskTable(moments, at_risk.astype(np.float64), counts.astype(np.float64))


def product_limit(events: Floats, at_risk: Floats) -> Floats:
    """Return the Kaplan-Meier estimate after each time, along the first axis.

    Kaplan EL, Meier P (1958), J Am Stat Assoc 53:457.
    """
    share = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    return np.asarray(np.cumprod(1.0 - share, axis=0), dtype=np.float64)


def greenwood(events: Floats, at_risk: Floats) -> Floats:
    """Return Greenwood's sum of d / (n (n - d)) after each time, along the first axis.

    Times the square of the survival it is its variance. A term where all at risk have the
    event is left out: the survival is 0 from there.
    """
    room = at_risk * (at_risk - events)
    return np.cumsum(np.divide(events, room, out=np.zeros_like(events), where=room > 0), axis=0)


def before(values: Floats, start: float) -> Floats:
    """Return the values just before each time: those after the time before, first `start`."""
    first = np.full((1, *values.shape[1:]), start)
    return np.concatenate([first, values[:-1]])


def limits(survival: Floats, total: Floats, z: float, interval: str) -> tuple[Floats, Floats]:
    """Return the interval of a survival probability.

    Parameters
    ----------
    survival : ndarray
        The estimate.
    total : ndarray
        Variance of its logarithm: Greenwood's sum.
    z : float
        Normal quantile.
    interval : str
        A key of :data:`INTERVALS`. Limits outside [0, 1] are cut.

    Notes
    -----
    A survival of 1 has the limits 1 and 1 on the scales of the logarithms. One of 0 has none
    (NaN), as in R and SAS. Formulas: Kalbfleisch JD, Prentice RL, The Statistical Analysis of
    Failure Time Data, section 1.4 (log-log); Greenwood's on the plain and log scale.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = z * np.sqrt(total)
        if interval == "plain":
            low, high = survival - survival * half, survival + survival * half
        elif interval == "log":
            low, high = survival * np.exp(-half), survival * np.exp(half)
        else:
            wide = np.where(survival < 1.0, half / np.abs(np.log(survival)), 0.0)
            low, high = survival ** np.exp(wide), survival ** np.exp(-wide)
    low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    zero = survival <= 0.0
    return np.where(zero, np.nan, low), np.where(zero, np.nan, high)


def crossing(time: Floats, curve: Floats, height: float) -> float:
    """Return the first time at which a falling curve is at or below `height`, NaN if never.

    Where it rests exactly there, the middle of that step, as R's ``survfit`` and SAS.
    """
    known = np.isfinite(curve)
    last = time[-1]
    time, curve = time[known], curve[known]
    below = np.flatnonzero(curve <= height + 1e-12)
    if not len(below):
        return math.nan
    i = int(below[0])
    if abs(curve[i] - height) < 1e-12:
        under = np.flatnonzero(curve < height - 1e-12)
        end = time[under[0]] if len(under) else last
        return float((time[i] + end) / 2.0)
    return float(time[i])
