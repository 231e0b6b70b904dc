r"""Standardised mean differences of two groups and of pairs, with intervals.

- ``cohen_d``: by the pooled standard deviation; ``hedges_g``: the same times the exact correction
  :math:`J(f) = \Gamma(f/2) / \{\sqrt{f/2}\,\Gamma((f-1)/2)\}` (Hedges LV, 1981, J Educ Stat 6:107;
  the function :func:`trialkit.methods.hedges_g` has the usual approximation of J);
- ``glass_delta``: by the standard deviation of the second group (the controls);
- ``d_z``: mean of paired differences by their standard deviation;
- ``d_av``: by the root of the mean of both variances (Cumming G, 2012, Understanding The New
  Statistics).

Intervals ``exact``: limits of the noncentrality of the t statistic. For ``cohen_d``, ``hedges_g``
and ``d_z`` they are exact for normal values (with equal variances for two groups); for
``glass_delta`` with equal variances. For ``d_av`` they are those of ``d_z`` times the ratio of the
two standardisers, which is taken as known: an approximation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level
from trialkit.methods.instruments._noncentral import effect_limits
from trialkit.methods.instruments.agreement import finite

Floats = npt.NDArray[np.float64]

KINDS = {
    "cohen_d": "pooled standard deviation",
    "hedges_g": "pooled standard deviation, exact small-sample correction",
    "glass_delta": "standard deviation of the second group",
    "d_z": "standard deviation of the paired differences",
    "d_av": "root of the mean of both variances, paired",
}
PAIRED = ("d_z", "d_av")


@dataclass(frozen=True)
class _Effect:
    """An effect, the t statistic that carries its interval, and what turns one into the other."""

    estimate: float
    t: float
    df: float
    factor: float


def effect_size(
    x: object, y: object, *, kind: str = "hedges_g", level: float = 0.95
) -> pd.DataFrame:
    """Return a standardised mean difference with its interval.

    Parameters
    ----------
    x, y : array-like, shape (n,), (m,)
        Values of the two groups, or of both occasions in the same order (``d_z``, ``d_av``);
        missing ones are left out, of pairs the whole pair. Positive where x is higher.
    kind : {"cohen_d", "hedges_g", "glass_delta", "d_z", "d_av"}
    level : float
        Coverage of the interval (noncentral t).

    Returns
    -------
    DataFrame
        One row: kind, estimate, lower, upper, n, variant.

    Raises
    ------
    UsageError
        For fewer than two values in a group (or pairs), infinite values, a standardiser of 0,
        pairs of different lengths, or a kind that does not exist.
    """
    check_level(level)
    if kind not in KINDS:
        raise UsageError(
            f"The effect size {kind!r} is not available.",
            remedy=f"Use one of: {', '.join(KINDS)}.",
        )
    if kind in PAIRED:
        first, second = _paired(x, y)
        n = len(first)
    else:
        first, second = finite(x), finite(y)
        n = len(first) + len(second)
    if min(len(first), len(second)) < 2:
        raise UsageError("a group has fewer than two values.", remedy="Check the population.")
    effect = (_pairs if kind in PAIRED else _groups)(first, second, kind)
    low, high = (effect.factor * v for v in effect_limits(effect.t, effect.df, level))
    row = {"kind": kind, "estimate": effect.estimate, "lower": low, "upper": high, "n": n}
    exact = "approximate" if kind == "d_av" else "exact"
    row["variant"] = f"{KINDS[kind]}; {exact} interval (noncentral t)"
    return pd.DataFrame([row])


def _groups(x: Floats, y: Floats, kind: str) -> _Effect:
    """Return the effect of two independent groups."""
    n, m = len(x), len(y)
    if kind == "glass_delta":
        df, sd = m - 1.0, float(y.std(ddof=1))
    else:
        df = n + m - 2.0
        sd = math.sqrt(((n - 1) * float(x.var(ddof=1)) + (m - 1) * float(y.var(ddof=1))) / df)
    d = float(x.mean() - y.mean()) / _positive(sd, x, y)
    root = math.sqrt(n * m / (n + m))
    factor = 1.0 if kind != "hedges_g" else correction(df)
    return _Effect(factor * d, d * root, df, factor / root)


def _pairs(x: Floats, y: Floats, kind: str) -> _Effect:
    """Return the effect of pairs."""
    n, d = len(x), x - y
    sd = _positive(float(d.std(ddof=1)), x, y)
    z = float(d.mean()) / sd
    factor = 1.0
    if kind == "d_av":
        both = math.sqrt((float(x.var(ddof=1)) + float(y.var(ddof=1))) / 2.0)
        factor = sd / _positive(both, x, y)
    root = math.sqrt(n)
    return _Effect(factor * z, z * root, n - 1.0, factor / root)


def correction(df: float) -> float:
    """Return Hedges' exact correction for bias, for df of 2 or more."""
    return math.exp(
        math.lgamma(df / 2.0) - math.lgamma((df - 1.0) / 2.0) - 0.5 * math.log(df / 2.0)
    )


def _positive(sd: float, x: Floats, y: Floats) -> float:
    """Return the standardiser, or refuse one of 0."""
    if sd <= 1e-12 * float(max(np.abs(x).max(), np.abs(y).max())):
        raise UsageError("the values do not vary.", remedy="A standardised effect needs variation.")
    return sd


def _paired(x: object, y: object) -> tuple[Floats, Floats]:
    """Return the complete pairs."""
    first, second = (np.asarray(v, dtype=np.float64).ravel() for v in (x, y))
    if len(first) != len(second):
        raise UsageError("the pairs differ in length.", remedy="Give both values of each pair.")
    if np.isinf(first).any() or np.isinf(second).any():
        raise UsageError("the values hold infinite ones.", remedy="Correct them.")
    whole = ~(np.isnan(first) | np.isnan(second))
    return first[whole], second[whole]
