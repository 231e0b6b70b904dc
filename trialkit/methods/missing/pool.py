r"""Pooling: Rubin's rules for multiple imputations, and resampling for conditional means.

Rubin 1987, Multiple Imputation for Nonresponse in Surveys: with :math:`\bar u` the mean of the
variances and :math:`b` the variance of the estimates over :math:`M` imputations, the total
variance is :math:`t = \bar u + (1 + 1/M)b`. Degrees of freedom follow Barnard and Rubin 1999
(Biometrika 86:948): with :math:`\lambda = (1 + 1/M)b/t` and complete-data :math:`\nu_{com}`,

.. math::

   \nu_{old} = (M - 1)/\lambda^2, \quad
   \nu_{obs} = \frac{\nu_{com} + 1}{\nu_{com} + 3}\nu_{com}(1 - \lambda), \quad
   1/\nu = 1/\nu_{old} + 1/\nu_{obs}.

The jackknife leaves out one participant at a time and repeats everything; its variance is
:math:`\frac{n - 1}{n}\sum(\hat\theta_{(-i)} - \bar\theta)^2` with normal quantiles, as for
conditional mean imputation in Wolbers, Noci, Delmar, Gower-Page, Yiu and Bartlett 2022 (Pharm
Stat 21:1246). Percentile intervals of the bootstrap use quantiles of type 6 (Hyndman and Fan
1996); their p is twice the smaller share, counted as (k + 1)/(B + 1), of the samples beyond
zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import STATISTICS, check_level, html, statistics

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RubinResult:
    """Estimates pooled over imputations; every array has shape (k,).

    Parameters
    ----------
    estimate, variance : ndarray
        Mean of the estimates, and total variance.
    df : ndarray
        Degrees of freedom; infinite where nothing varies and complete-data ones are infinite.
    within, between : ndarray
        Mean variance, and variance of the estimates.
    increase : ndarray
        Relative increase in variance due to missing data, ``(1 + 1/M) between / within``.
    share : ndarray
        Share of the variance due to missing data, lambda.
    fmi : ndarray
        Fraction of missing information, with the correction for df.
    mc_se : ndarray
        Monte Carlo standard error of ``estimate``, the root of ``between / M``.
    n_imputations : int
    """

    estimate: Floats
    variance: Floats
    df: Floats
    within: Floats
    between: Floats
    increase: Floats
    share: Floats
    fmi: Floats
    mc_se: Floats
    n_imputations: int
    failed: str | None = None
    method: str = "rubin"
    variant: str = "Rubin's rules, Barnard-Rubin df"
    notes: list[str] = field(default_factory=list)

    @property
    def se(self) -> Floats:
        """Standard error."""
        return np.asarray(np.sqrt(self.variance))

    @property
    def table(self) -> pd.DataFrame:
        """Estimates with 95 % intervals."""
        return self.table_at(0.95)

    def table_at(self, level: float) -> pd.DataFrame:
        """Return ``estimate se df statistic p lower upper`` at another coverage."""
        check_level(level)
        numbers = statistics(self.estimate, self.se, self.df, level)
        return pd.DataFrame(numbers, columns=list(STATISTICS))

    def summary(self) -> str:
        """Return the estimates as text."""
        head = f"{self.variant}, {self.n_imputations} imputations"
        text = self.table.to_string(index=False, float_format=lambda v: f"{v:.5g}")
        return "\n".join([head, "", text])

    def _repr_html_(self) -> str:
        """Return the estimates for a notebook."""
        return html(self.summary(), self.table)


def rubin(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, complete_df: npt.ArrayLike = math.inf
) -> RubinResult:
    """Pool estimates over imputations by Rubin's rules with Barnard-Rubin degrees of freedom.

    Parameters
    ----------
    estimates, variances : array_like, shape (M,) or (M, k)
        Estimate and squared standard error of each imputation; M at least 2.
    complete_df : array_like, scalar, (k,), (M,) with one estimate, or (M, k)
        Degrees of freedom of the analysis of complete data; their mean over the imputations
        is used. Infinite ones mean the normal distribution.

    Returns
    -------
    RubinResult

    Raises
    ------
    UsageError
        For fewer than two imputations, shapes that do not fit, values that are not finite, or
        negative variances.
    """
    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if q.ndim == 1:
        q, u = q[:, None], u[:, None] if u.ndim == 1 else u
    if q.ndim != 2 or q.shape != u.shape:
        raise UsageError(
            f"Estimates and variances have the shapes {q.shape} and {u.shape}.",
            remedy="Give one row an imputation in both.",
        )
    if len(q) < 2:
        raise UsageError("There is one imputation only.", remedy="Give at least two.")
    if not (np.isfinite(q).all() and np.isfinite(u).all() and (u >= 0.0).all()):
        raise UsageError(
            "An estimate or variance is not finite, or a variance is negative.",
            remedy="Each analysis must give an estimate and its variance.",
        )
    df = np.asarray(complete_df, dtype=np.float64)
    if df.ndim == 1 and q.shape[1] == 1 and len(df) == len(q):
        df = df[:, None]
    com = np.broadcast_to(df, q.shape).mean(axis=0)
    if not (com > 0.0).all():
        raise UsageError("The complete-data df are not positive.", remedy="Give positive df.")
    m = len(q)
    within = u.mean(axis=0)
    flat = (q == q[0]).all(axis=0)
    between = np.where(flat, 0.0, q.var(axis=0, ddof=1))
    extra = (1.0 + 1.0 / m) * between
    total = within + extra
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0.0, extra / total, 0.0)
        increase = extra / within
        old = (m - 1.0) / share**2
        observed = (com + 1.0) / (com + 3.0) * com * (1.0 - share)
        finite = 1.0 / (1.0 / old + 1.0 / observed)
    nu = np.where(np.isinf(com), old, np.where(share < 1.0, finite, 0.0))
    with np.errstate(invalid="ignore"):
        fmi = np.where(np.isinf(increase), 1.0, (increase + 2.0 / (nu + 3.0)) / (increase + 1.0))
    return RubinResult(
        estimate=np.where(flat, q[0], q.mean(axis=0)),
        variance=total,
        df=nu,
        within=within,
        between=between,
        increase=increase,
        share=share,
        fmi=fmi,
        mc_se=np.sqrt(between / m),
        n_imputations=m,
    )


def jackknife(estimate: Floats, samples: Floats, level: float) -> Floats:
    """Return the table of estimates with jackknife errors, shape (k, 7).

    Parameters
    ----------
    estimate : ndarray, shape (k,)
    samples : ndarray, shape (n, k)
        Estimates without each participant.
    """
    n = len(samples)
    spread = samples - samples.mean(axis=0)
    se = np.sqrt((n - 1.0) / n * (spread**2).sum(axis=0))
    return statistics(estimate, se, np.full(len(estimate), math.inf), level)


def bootstrap_normal(estimate: Floats, samples: Floats, level: float) -> Floats:
    """Return the table with bootstrap standard errors and normal quantiles, shape (k, 7)."""
    se = samples.std(axis=0, ddof=1)
    return statistics(estimate, se, np.full(len(estimate), math.inf), level)


def bootstrap_percentile(estimate: Floats, samples: Floats, level: float) -> Floats:
    """Return the table with percentile intervals, shape (k, 7); there is no statistic."""
    out = bootstrap_normal(estimate, samples, level)
    b = len(samples)
    below = ((samples <= 0.0).sum(axis=0) + 1.0) / (b + 1.0)
    above = ((samples >= 0.0).sum(axis=0) + 1.0) / (b + 1.0)
    out[:, 3] = np.nan
    out[:, 4] = np.minimum(1.0, 2.0 * np.minimum(below, above))
    tail = 0.5 - level / 2.0
    ends = np.quantile(samples, [tail, 1.0 - tail], axis=0, method="weibull")
    out[:, 5:] = ends.T
    return out
