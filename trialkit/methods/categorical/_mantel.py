"""Mantel-Haenszel estimates over strata, the Cochran-Mantel-Haenszel test, homogeneity.

- Difference: Mantel-Haenszel weights, variance of Sato T (1989), On the variance estimator for
  the Mantel-Haenszel risk difference, Biometrics 45:1323, as SAS PROC FREQ states it.
- Ratio: variance of the log of Greenland S, Robins JM (1985), Estimation of a common effect
  parameter from sparse follow-up data, Biometrics 41:55.
- Odds ratio: variance of the log of Robins J, Breslow N, Greenland S (1986), Estimators of the
  Mantel-Haenszel variance consistent in both sparse data and large-strata limiting models,
  Biometrics 42:311.
- Test: Mantel N, Haenszel W (1959), J Natl Cancer Inst 22:719. Homogeneity of odds ratios:
  Breslow NE, Day NE (1980), with the correction of Tarone RE (1985), On heterogeneity tests
  based on efficient scores, Biometrika 72:91.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.methods.categorical._score import TwoByTwo

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Strata:
    """Events and sizes of both arms in each stratum, arrays of shape (k,)."""

    x1: Floats
    n1: Floats
    x0: Floats
    n0: Floats

    @classmethod
    def of(cls, tables: list[TwoByTwo]) -> Strata:
        """Return the strata of a list of tables."""
        rows = np.array([(t.x1, t.n1, t.x0, t.n0) for t in tables])
        return cls(*rows.T)

    @property
    def n(self) -> Floats:
        """Participants of each stratum."""
        return self.n1 + self.n0


def difference(s: Strata) -> tuple[float, float]:
    """Return the weighted risk difference and Sato's standard error."""
    weight = s.n1 * s.n0 / s.n
    estimate = float(weight @ (s.x1 / s.n1 - s.x0 / s.n0) / weight.sum())
    p = (s.n1**2 * s.x0 - s.n0**2 * s.x1 + s.n1 * s.n0 * (s.n0 - s.n1) / 2.0) / s.n**2
    q = (s.x1 * (s.n0 - s.x0) + s.x0 * (s.n1 - s.x1)) / (2.0 * s.n)
    variance = (estimate * p.sum() + q.sum()) / weight.sum() ** 2
    return estimate, math.sqrt(max(float(variance), 0.0))


def ratio(s: Strata) -> tuple[float, float] | None:
    """Return the log risk ratio and its standard error; None without events in an arm."""
    r = float((s.x1 * s.n0 / s.n).sum())
    t = float((s.x0 * s.n1 / s.n).sum())
    if r <= 0.0 or t <= 0.0:
        return None
    top = float(((s.n1 * s.n0 * (s.x1 + s.x0) - s.x1 * s.x0 * s.n) / s.n**2).sum())
    return math.log(r / t), math.sqrt(top / (r * t))


def odds_ratio(s: Strata) -> tuple[float, float] | None:
    """Return the log odds ratio and its standard error; None where it is 0 or infinite."""
    r = s.x1 * (s.n0 - s.x0) / s.n
    t = s.x0 * (s.n1 - s.x1) / s.n
    p = (s.x1 + s.n0 - s.x0) / s.n
    q = 1.0 - p
    total_r, total_t = float(r.sum()), float(t.sum())
    if total_r <= 0.0 or total_t <= 0.0:
        return None
    variance = (
        float(p @ r) / (2.0 * total_r**2)
        + float(p @ t + q @ r) / (2.0 * total_r * total_t)
        + float(q @ t) / (2.0 * total_t**2)
    )
    return math.log(total_r / total_t), math.sqrt(variance)


def cmh(s: Strata, correct: bool = False) -> float | None:
    """Return the chi-square on one degree of freedom; None when nothing can vary."""
    informative = s.n > 1
    m = s.x1 + s.x0
    expected = s.n1 * m / s.n
    variance = s.n1 * s.n0 * m * (s.n - m) / (s.n**2 * np.maximum(s.n - 1.0, 1.0))
    total = float(variance[informative].sum())
    if total <= 0.0:
        return None
    gap = abs(float((s.x1 - expected).sum()))
    if correct:
        gap = max(gap - 0.5, 0.0)
    return gap**2 / total


def breslow_day(s: Strata) -> tuple[float, float, int] | None:
    """Return Breslow and Day's chi-square, Tarone's, and the degrees of freedom."""
    found = odds_ratio(s)
    m = s.x1 + s.x0
    use = (m > 0) & (m < s.n)
    if found is None or use.sum() < 2:
        return None
    common = math.exp(found[0])
    x1, n1, n0, m = s.x1[use], s.n1[use], s.n0[use], m[use]
    a = common - 1.0
    b = -(common * (n1 + m) + n0 - m)
    c = common * n1 * m
    expected = 2.0 * c / (-b + np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0)))
    variance = 1.0 / (
        1.0 / expected + 1.0 / (m - expected) + 1.0 / (n1 - expected) + 1.0 / (n0 - m + expected)
    )
    statistic = float(((x1 - expected) ** 2 / variance).sum())
    shift = float((x1 - expected).sum()) ** 2 / float(variance.sum())
    return statistic, statistic - shift, int(use.sum()) - 1


def chi_square_p(statistic: float, df: int = 1) -> float:
    """Return the upper tail of a chi-square."""
    return float(special.chdtrc(df, statistic))
