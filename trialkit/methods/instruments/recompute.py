"""Tests recomputed from printed summary data, with the range that rounding of the input leaves.

A range is exact where the statistic is monotone in each input (t tests, ratios); for the analysis
of covariance it comes from all corners of the box of inputs and points inside it.

Sources: t test and Wald intervals of odds ratio and risk ratio are the textbook ones; the
covariance of baseline and outcome follows from the three standard deviations of baseline, outcome
and change, ``2 cov = s_pre^2 + s_post^2 - s_change^2``; with it, slope and residual variance of
the analysis of covariance are those of least squares.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from trialkit.methods.instruments.printed import Printed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """A recomputed number, and the least and largest that rounding of the input allows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Change:
    """One arm of a table of baseline, outcome and change, as printed."""

    n: int
    pre: Printed
    post: Printed
    sd_pre: Printed
    sd_post: Printed
    sd_change: Printed
    change: Printed | None = None


def t_test(
    n: tuple[int, int], mean: tuple[Printed, Printed], sd: tuple[Printed, Printed]
) -> dict[str, Range]:
    """Return t, and p by the pooled and by Welch's test, from printed means and SDs."""
    middle = mean[0].value - mean[1].value
    nearest = max(0.0, mean[0].low - mean[1].high, mean[1].low - mean[0].high)
    farthest = max(mean[0].high - mean[1].low, mean[1].high - mean[0].low)
    low_sd, high_sd = [max(s.low, 0.0) for s in sd], [s.high for s in sd]
    values = [s.value for s in sd]
    out = {}
    for name, rule in (("p", _pooled_p), ("p by Welch's test", _welch_p)):
        ends = rule(nearest, high_sd, n), rule(farthest, low_sd, n)
        if rule is _welch_p:  # its df depend on the SDs: also the mixed corners
            mixed = itertools.product((nearest, farthest), *zip(low_sd, high_sd, strict=True))
            every = [rule(d, [a, b], n) for d, a, b in mixed]
            ends = max(every), min(every)
        out[name] = Range(rule(abs(middle), values, n), ends[1], ends[0])
    return out


def _pooled_p(difference: float, sd: list[float], n: tuple[int, int]) -> float:
    df = n[0] + n[1] - 2
    pooled = ((n[0] - 1) * sd[0] ** 2 + (n[1] - 1) * sd[1] ** 2) / df
    return _t_p(difference, math.sqrt(pooled * (1 / n[0] + 1 / n[1])), df)


def _welch_p(difference: float, sd: list[float], n: tuple[int, int]) -> float:
    a, b = sd[0] ** 2 / n[0], sd[1] ** 2 / n[1]
    if a + b == 0.0:
        return _t_p(difference, 0.0, 1.0)
    df = (a + b) ** 2 / (a * a / (n[0] - 1) + b * b / (n[1] - 1))
    return _t_p(difference, math.sqrt(a + b), df)


def _t_p(difference: float, se: float, df: float) -> float:
    if se == 0.0:
        return 1.0 if difference == 0.0 else 0.0
    return float(2.0 * special.stdtr(df, -abs(difference / se)))


def ancova(first: Change, second: Change) -> dict[str, Range] | None:
    """Return AMD, p and eta2 of an analysis of covariance; None if the SDs contradict each other.

    Parameters
    ----------
    first, second : Change
        AMD (adjusted mean difference) is first minus second; eta2 is the partial one.
    """
    inputs = [
        getattr(arm, name)
        for arm in (first, second)
        for name in ("pre", "post", "sd_pre", "sd_post", "sd_change")
    ]
    low = np.array([i.low for i in inputs])
    high = np.array([i.high for i in inputs])
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
    inside = low + (high - low) * stats.qmc.Halton(len(low), scramble=False).random(4096)
    middle = np.array([[i.value for i in inputs]])
    found = _ancova(np.vstack([middle, corners, inside]), first.n, second.n)
    good: npt.NDArray[np.bool_] = np.asarray(np.isfinite(found).all(axis=1))
    if not good.any():
        return None
    centre = found[0] if good[0] else np.median(found[good], axis=0)
    edge_low, edge_high = found[good].min(axis=0), found[good].max(axis=0)
    names = ("AMD", "p", "eta2")
    return {
        n: Range(float(c), float(a), float(b))
        for n, c, a, b in zip(names, centre, edge_low, edge_high, strict=True)
    }


def _ancova(rows: Floats, n1: int, n2: int) -> Floats:
    """Return AMD, p and eta2 for each row of inputs; NaN where they contradict each other."""
    pre1, post1, a1, b1, c1, pre2, post2, a2, b2, c2 = rows.T
    with np.errstate(all="ignore"):
        cov1, cov2 = (a1**2 + b1**2 - c1**2) / 2, (a2**2 + b2**2 - c2**2) / 2
        sxx = (n1 - 1) * a1**2 + (n2 - 1) * a2**2
        sxy = (n1 - 1) * cov1 + (n2 - 1) * cov2
        syy = (n1 - 1) * b1**2 + (n2 - 1) * b2**2
        amd = post1 - post2 - sxy / sxx * (pre1 - pre2)
        df = n1 + n2 - 3
        mse = (syy - sxy**2 / sxx) / df
        f = amd**2 / (mse * (1 / n1 + 1 / n2 + (pre1 - pre2) ** 2 / sxx))
        p = special.fdtrc(1, df, f)
    out = np.column_stack([amd, p, f / (f + df)])
    impossible = (np.abs(cov1) > a1 * b1) | (np.abs(cov2) > a2 * b2) | ~(mse > 0)
    out[impossible] = np.nan
    return out


def ratio_wald(
    events: tuple[int, int], n: tuple[int, int], level: Printed, kind: str
) -> dict[str, Range] | None:
    """Return odds ratio or risk ratio with its Wald interval; None where a cell is zero.

    Parameters
    ----------
    level : Printed
        Coverage in percent; 98.3 may stand for 98.33.
    kind : {"or", "rr"}
    """
    a, b = events
    c, d = n[0] - a, n[1] - b
    if min(a, b) == 0 or (kind == "or" and min(c, d) == 0):
        return None
    if kind == "or":
        log, se = math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    else:
        log = math.log(a / n[0] / (b / n[1]))
        se = math.sqrt(max(1 / a - 1 / n[0] + 1 / b - 1 / n[1], 0.0))
    z = [float(special.ndtri(0.5 + v / 200.0)) for v in (level.value, level.low, level.high)]
    lower, upper = ([math.exp(log + sign * q * se) for q in z] for sign in (-1.0, 1.0))
    p = float(2.0 * special.ndtr(-abs(log / se))) if se else 1.0
    return {
        "estimate": Range(math.exp(log), math.exp(log), math.exp(log)),
        "lower": Range(lower[0], min(lower), max(lower)),
        "upper": Range(upper[0], min(upper), max(upper)),
        "p": Range(p, p, p),
    }


def two_by_two(events: tuple[int, int], n: tuple[int, int]) -> dict[str, Range]:
    """Return percentages, and p by chi-square, chi-square with correction, and Fisher."""
    table = np.array([[events[0], n[0] - events[0]], [events[1], n[1] - events[1]]])
    out = {f"percent {i + 1}": 100.0 * events[i] / n[i] for i in range(2)}
    if table.sum(axis=0).all():
        out["p"] = float(stats.chi2_contingency(table, correction=False)[1])
        out["p by chi-square with correction"] = float(stats.chi2_contingency(table)[1])
        out["p by Fisher's exact test"] = float(stats.fisher_exact(table)[1])
    return {name: Range(v, v, v) for name, v in out.items()}


def crude_ratio(first: tuple[Printed, Printed], second: tuple[Printed, Printed]) -> Range:
    """Return the ratio of two rates, each events by exposure, with the range of rounding."""
    (a, x), (b, y) = first, second
    return Range(
        a.value / x.value / (b.value / y.value),
        a.low / x.high / (b.high / y.low),
        a.high / x.low / (b.low / y.high),
    )
