"""Where a participant's outcome may go: advisory, with intervals, and not for assessors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

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

    The population's mean and covariance are the prior of the participant's start and gain, the
    visits so far the data. The result averages over the model's draws of time constant,
    covariance and residual variance, each weighted by its likelihood in the cohort and in these
    visits, so that it carries the uncertainty of the model as well.

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
    weights, centre, spread = _mixture(model, t, y, future)
    columns: dict[str, Floats] = {"time": future, "expected": weights @ centre}
    for level in sorted(levels):
        tail = 0.5 - level / 200.0
        columns[f"lower_{level}"] = _quantiles(tail, weights, centre, spread)
        columns[f"upper_{level}"] = _quantiles(1.0 - tail, weights, centre, spread)
    return Progress(pd.DataFrame(columns), tuple(sorted(levels)), len(t), model.n_participants)


def _mixture(
    model: GrowthModel, t: Floats, y: Floats, future: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return weights (m,), means (m, times) and standard deviations of the model's draws."""
    means = np.array([fit.mean for fit in model.draws])
    prior = np.array([fit.covariance + fit.mean_covariance for fit in model.draws])
    variance = np.array([fit.variance for fit in model.draws])
    z = np.array([basis(t, fit.tau) for fit in model.draws])
    ahead = np.array([basis(future, fit.tau) for fit in model.draws])
    logs = np.log(np.maximum(model.weights, 1e-300))
    if len(t):
        across = prior @ z.transpose(0, 2, 1)
        spread = z @ across + variance[:, None, None] * np.eye(len(t))
        gap = y - np.einsum("mkj,mj->mk", z, means)
        scaled = np.linalg.solve(spread, gap[:, :, None])[:, :, 0]
        logs = logs - 0.5 * (np.linalg.slogdet(spread)[1] + (gap * scaled).sum(axis=1))
        means = means + np.einsum("mjk,mk->mj", across, scaled)
        prior = prior - across @ np.linalg.solve(spread, across.transpose(0, 2, 1))
    weights = np.exp(logs - logs.max())
    wide = np.einsum("mkj,mji,mki->mk", ahead, prior, ahead) + variance[:, None]
    return weights / weights.sum(), np.einsum("mkj,mj->mk", ahead, means), np.sqrt(wide)


def _quantiles(p: float, weights: Floats, centre: Floats, spread: Floats) -> Floats:
    """Return the quantile of each column's mixture of normals."""
    every = centre + special.ndtri(p) * spread

    def at(j: int) -> float:
        low, high = float(every[:, j].min()), float(every[:, j].max())
        if high - low < 1e-12 * max(1.0, abs(high)):
            return low
        return float(
            optimize.brentq(
                lambda x: weights @ special.ndtr((x - centre[:, j]) / spread[:, j]) - p,
                low,
                high,
                xtol=1e-10 * max(1.0, abs(high)),
            )
        )

    return np.array([at(j) for j in range(centre.shape[1])])
