"""The arithmetic of the log-rank test and its weighted relatives; see ``logrank``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from trialkit.methods.survival._risk import RiskTable, before, product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

WEIGHTS = {
    "logrank": "log-rank",
    "wilcoxon": "Gehan-Breslow Wilcoxon, weight n",
    "tarone_ware": "Tarone-Ware, weight sqrt(n)",
    "peto": "Peto-Peto Wilcoxon, weight S(t-)",
    "fleming_harrington": "Fleming-Harrington",
}
NO_EVENT = "no event in these data"
NO_RISK = "no event while more than one group was at risk"


@dataclass(frozen=True)
class RankTest:
    """The numbers of one test; see :class:`LogrankResult`."""

    statistic: float
    df: int
    p: float
    z: float
    observed: Floats
    expected: Floats
    score: Floats
    covariance: Floats
    failed: str | None


def compare_groups(
    times: Floats,
    events: Floats,
    codes: Ints,
    k: int,
    layer: Ints,
    n_layers: int = 1,
    weights: str = "logrank",
    power: tuple[float, float] = (0.0, 0.0),
    scores: Floats | None = None,
) -> RankTest:
    """Test equality of the hazards of `k` groups within strata.

    Parameters
    ----------
    times, events : ndarray, shape (n,)
    codes, layer : ndarray of int, shape (n,)
        Group in ``range(k)`` and stratum in ``range(n_layers)``.
    weights : str
        A key of :data:`WEIGHTS`.
    power : tuple of float
        rho and gamma of the Fleming-Harrington weights.
    scores : ndarray, shape (k,), optional
        For the test of a trend.
    """
    observed, expected, covariance = np.zeros(k), np.zeros(k), np.zeros((k, k))
    kinds = events.astype(np.intp)
    for j in range(n_layers):
        mine = layer == j if n_layers > 1 else slice(None)
        table = risk_table(times[mine], codes[mine], kinds[mine], k)
        parts = _one_layer(table, weights, power)
        for total, part in zip((observed, expected, covariance), parts, strict=True):
            total += part
    score = observed - expected
    statistic, df, z = _statistic(score, covariance, scores)
    if df == 0:
        failed = NO_RISK if kinds.any() else NO_EVENT
        nan = math.nan
        return RankTest(nan, 0, nan, nan, observed, expected, score, covariance, failed)
    p = float(chdtrc(df, statistic))
    return RankTest(statistic, df, p, z, observed, expected, score, covariance, None)


def _one_layer(
    table: RiskTable, weights: str, power: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """Return weighted observed and expected numbers and the covariance of one stratum."""
    events = table.events
    d, n = events.sum(axis=1), table.at_risk.sum(axis=1)
    if weights == "wilcoxon":
        w = n
    elif weights == "tarone_ware":
        w = np.sqrt(n)
    elif weights == "logrank":
        w = np.ones(len(n))
    else:
        survival = before(product_limit(d, n), 1.0)
        w = survival ** power[0] * (1.0 - survival) ** power[1]
    share = table.at_risk / n[:, None]
    tied = np.divide(n - d, n - 1.0, out=np.zeros(len(n)), where=n > 1.0)
    spread = w * w * d * tied
    covariance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    return w @ events, (w * d) @ share, covariance


def _statistic(score: Floats, covariance: Floats, trend: Floats | None) -> tuple[float, int, float]:
    """Return chi-square, degrees of freedom (0: not defined) and the signed root."""
    if trend is not None:
        centred = trend - trend.mean()
        variance = float(centred @ covariance @ centred)
        if variance <= 1e-12 * float(centred @ centred) * max(np.trace(covariance), 1e-300):
            return math.nan, 0, math.nan
        z = float(centred @ score) / math.sqrt(variance)
        return z * z, 1, z
    own = np.diagonal(covariance)
    used = np.flatnonzero(own > 1e-12 * max(own.max(), 1e-300))
    if len(used) < 2:
        return math.nan, 0, math.nan
    inner = covariance[np.ix_(used, used)]
    values, vectors = np.linalg.eigh(inner)
    kept = values > 1e-10 * values[-1]
    parts = vectors[:, kept].T @ score[used]
    statistic = float((parts * parts / values[kept]).sum())
    z = math.copysign(math.sqrt(statistic), score[1]) if len(score) == 2 else math.nan
    return statistic, int(kept.sum()), z
