r"""Gray's test that the cumulative incidence of a cause is the same in several groups.

With :math:`\hat S_r` the product limit for any cause in group :math:`r`, :math:`\hat F_r` its
incidence, :math:`h_r = n_r/\hat S_r(t-)` and :math:`R_r = h_r (1-\hat F_r(t-))`, the score is

.. math:: z_k = \sum_t L(t)\{d_{1k} - R_k\, d_{1.}/R_.\},\qquad L = (1-\hat F(t-))^\rho,

a log-rank statistic for the hazard of the subdistribution. Under the hypothesis
:math:`d\hat F = d_{1.}/h_.`; with :math:`G = 1-\hat F`,
:math:`a_{kr} = L\,(\delta_{kr} - h_k/h_.)\,h_r` and
:math:`c_{kr}(t) = \sum_{u>t} a_{kr}(u)\,d\hat F(u)/G(u-)`, its covariance is

.. math::
    \sum_r \sum_t \{a_{kr} + (1 - G/\hat S_r)\,c_{kr}\}\{a_{lr} + (1 - G/\hat S_r)\,c_{lr}\}
    \,d\hat F/h_r + (G/\hat S_r)^2\, c_{kr}\, c_{lr}\, d\hat F_{2r}/h_r ,

:math:`\hat F_{2r}` being the incidence of all other causes, and the terms lowered for ties.
Derived by expanding the score in the martingales of the groups, which is the way of Gray RJ
(1988) Ann Stat 16:1141; where the expansion leaves open which of two asymptotically equal
estimates to put in, the one that gives the numbers of R's cmprsk was taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from trialkit.methods.survival._risk import RiskTable, before, product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class GrayTest:
    """Chi-square, its degrees of freedom, p, and why there are none."""

    statistic: float
    df: int
    p: float
    failed: str | None
    score: Floats
    covariance: Floats


def gray_test(
    times: Floats,
    codes: Ints,
    kinds: Ints,
    cause: int,
    k: int,
    layer: Ints,
    layers: int,
    rho: float,
) -> GrayTest:
    """Test equality of the incidence of one cause in `k` groups, within strata.

    Parameters
    ----------
    times : ndarray, shape (n,)
    codes, kinds, layer : ndarray of int, shape (n,)
        Group in ``range(k)``, cause (0 for censoring) and stratum in ``range(layers)``.
    cause : int
        The cause of interest.
    rho : float
        Power of the weight.
    """
    kind = np.where(kinds == 0, 0, np.where(kinds == cause, 1, 2)).astype(np.intp)
    score, covariance = np.zeros(k), np.zeros((k, k))
    for j in range(layers):
        mine = layer == j
        part = _one_layer(risk_table(times[mine], codes[mine], kind[mine], k, 3), rho)
        score += part[0]
        covariance += part[1]
    own = np.diagonal(covariance)
    used = np.flatnonzero(own > 1e-12 * max(float(own.max()), 1e-300))
    nan = math.nan
    if not (kind == 1).any():
        return GrayTest(nan, 0, nan, "no event of this cause", score, covariance)
    if len(used) < 2:
        why = "no event of this cause while more than one group was at risk"
        return GrayTest(nan, 0, nan, why, score, covariance)
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)])
    kept = values > 1e-10 * values[-1]
    parts = vectors[:, kept].T @ score[used]
    statistic, df = float((parts * parts / values[kept]).sum()), int(kept.sum())
    return GrayTest(statistic, df, float(chdtrc(df, statistic)), None, score, covariance)


def _one_layer(table: RiskTable, rho: float) -> tuple[Floats, Floats]:
    """Return the score and its covariance in one stratum."""
    n, d1, d2 = table.at_risk, table.counts[:, :, 1], table.counts[:, :, 2]
    k = n.shape[1]
    after = product_limit(d1 + d2, n)
    start = before(after, 1.0)
    own = np.cumsum(start * _share(d1, n), axis=0)
    h = _share(n, start)
    r = h * (1.0 - before(own, 0.0))
    deaths = d1.sum(axis=1)
    jump = _share(deaths, h.sum(axis=1))  # of the common incidence
    g = 1.0 - np.cumsum(jump)
    ahead = before(g, 1.0)
    weight = np.maximum(ahead, 0.0) ** rho
    expected = r * _share(deaths, r.sum(axis=1))[:, None]
    score = weight @ (d1 - expected)
    total = h.sum(axis=1)
    covariance = np.zeros((k, k))
    for group in range(k):
        ratio = _share(g, after[:, group])
        shape = -_share(h, total[:, None]).T
        shape[group] += 1.0
        a = weight * shape * h[:, group]
        step = a * _share(jump, ahead)
        c = step[:, ::-1].cumsum(axis=1)[:, ::-1] - step
        first = a + (1.0 - ratio) * c
        second = ratio * c
        tied = _untied(deaths, total * start[:, group])
        v1 = _share(jump * tied, h[:, group])
        other = d2[:, group] * _untied(d2[:, group], n[:, group])
        v2 = _share(other, h[:, group] ** 2)
        covariance += (first * v1) @ first.T + (second * v2) @ second.T
    return score, covariance


def _untied(deaths: Floats, exposed: Floats) -> Floats:
    """Return (n - d) / (n - 1), the factor of the hypergeometric variance, 1 without ties."""
    factor = 1.0 - _share(deaths - 1.0, exposed - 1.0)
    return np.where(deaths > 1.0, np.clip(factor, 0.0, 1.0), 1.0)


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where the whole is 0 or less."""
    part, whole = np.broadcast_arrays(part, whole)
    out = np.zeros(part.shape)
    return np.asarray(np.divide(part, whole, out=out, where=whole > 0.0))
