"""Where a participant's outcome may go: advisory, with intervals, and not for assessors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from trialkit.adaptation.growth import GrowthModel, basis
from trialkit.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """Prediction for one participant.

    Attributes
    ----------
    table : DataFrame
        One row a future time: ``time, expected``, and ``lower_80, upper_80`` for each level.
        Intervals are for a measurement to come, its measurement error included.
    levels : tuple of int
        Coverage of the intervals in percent, growing.
    n_visits : int
        Visits of the participant that it rests on.
    n_participants : int
        Participants that the model was fitted to.
    blind_safe : bool
        Always False: a caller must not show it to anybody who assesses outcomes.
    """

    table: pd.DataFrame
    levels: tuple[int, ...]
    n_visits: int
    n_participants: int
    blind_safe: ClassVar[bool] = False

    def advice(self, outcome: str = "outcome", unit: str = "") -> str:
        """Return the prediction in words, for the person who plans the training."""
        last = self.table.iloc[-1]
        level = self.levels[0]
        low, high = last[f"lower_{level}"], last[f"upper_{level}"]
        name = f"{outcome} {unit}".strip()
        return (
            f"Advisory, not a decision, and not for outcome assessors. From {self.n_visits} "
            f"visits and {self.n_participants} earlier participants: {name} at time "
            f"{last['time']:g} expected {last['expected']:.3g}; {level} of 100 such "
            f"measurements would lie from {low:.3g} to {high:.3g}. "
            "Participants unlike the earlier ones may lie outside."
        )


def predict_progress(
    model: GrowthModel,
    times: ArrayLike,
    values: ArrayLike,
    at: ArrayLike,
    *,
    levels: Sequence[int] = (80, 95),
) -> Progress:
    """Return a participant's expected course with prediction intervals.

    Empirical Bayes: the population's mean and covariance are the prior of the participant's
    start and gain, the visits so far the data. The result averages over the time constants of
    `model`, each weighted by its likelihood in the cohort and in these visits, and includes the
    uncertainty of the estimated mean; that of the estimated covariance is left out, which small
    cohorts (below about 50) pay for with intervals that are slightly too narrow.

    It is a course of outcomes. It is never given as a share of a "potential" or of a
    "proportional recovery": these relate change to a baseline that is part of it, and such a
    relation comes from mathematical coupling even where there is none (Hope et al. 2019,
    PMC6308308).

    Parameters
    ----------
    model : GrowthModel
        Of earlier participants; the one to predict is not among them.
    times, values : (k,) arrays
        The participant's visits so far; k may be 0.
    at : (m,) array
        Times to predict.
    levels : sequence of int
        Coverage in percent.

    Raises
    ------
    UsageError
        If lengths differ, values are missing, or a level is not between 1 and 99.
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    future = np.asarray(at, dtype=np.float64)
    if t.shape != y.shape or t.ndim != 1 or not np.all(np.isfinite([t, y])):
        raise UsageError("times and values do not match.", remedy="Give one value a visit.")
    if future.ndim != 1 or not len(future) or (np.concatenate([t, future]) < 0).any():
        raise UsageError("there is nothing to predict.", remedy="Give times of at least 0 in at.")
    if not levels or not all(1 <= level <= 99 for level in levels):
        raise UsageError(f"levels={list(levels)}.", remedy="Give percents from 1 to 99.")
    means, spreads, logs = [], [], []
    for fit, weight in zip(model.fits, model.weights, strict=True):
        prior = fit.covariance + fit.mean_covariance
        z = basis(t, fit.tau)
        spread = z @ prior @ z.T + fit.variance * np.eye(len(t))
        gap = y - z @ fit.mean
        gain = np.linalg.solve(spread, z @ prior).T
        mean, left = fit.mean + gain @ gap, prior - gain @ z @ prior
        ahead = basis(future, fit.tau)
        means.append(ahead @ mean)
        spreads.append(np.sqrt(np.einsum("ij,jk,ik->i", ahead, left, ahead) + fit.variance))
        fitted = stats.multivariate_normal.logpdf(gap, cov=spread) if len(t) else 0.0
        logs.append(np.log(max(weight, 1e-300)) + float(fitted))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    centre, spread = np.array(means), np.array(spreads)
    columns: dict[str, Floats] = {"time": future, "expected": weights @ centre}
    for level in sorted(levels):
        tail = 0.5 - level / 200.0
        columns[f"lower_{level}"] = _quantiles(tail, weights, centre, spread)
        columns[f"upper_{level}"] = _quantiles(1.0 - tail, weights, centre, spread)
    return Progress(pd.DataFrame(columns), tuple(sorted(levels)), len(t), model.n_participants)


def _quantiles(p: float, weights: Floats, centre: Floats, spread: Floats) -> Floats:
    """Return the quantile of each column's mixture of normals."""
    z = stats.norm.ppf(p)
    every = centre + z * spread

    def at(j: int) -> float:
        low, high = float(every[:, j].min()), float(every[:, j].max())
        if high - low < 1e-12 * max(1.0, abs(high)):
            return low
        return float(
            optimize.brentq(
                lambda x: weights @ stats.norm.cdf((x - centre[:, j]) / spread[:, j]) - p,
                low,
                high,
                xtol=1e-10,
            )
        )

    return np.array([at(j) for j in range(centre.shape[1])])
