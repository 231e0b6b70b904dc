"""Score intervals for one proportion and for two: Wilson, Newcombe, Miettinen and Nurminen.

- Wilson EB (1927), Probable inference, the law of succession, and statistical inference,
  J Am Stat Assoc 22:209.
- Newcombe RG (1998), Interval estimation for the difference between independent proportions:
  comparison of eleven methods, Stat Med 17:873; method 10, two Wilson intervals squared and
  added, without continuity correction.
- Miettinen O, Nurminen M (1985), Comparative analysis of two rates, Stat Med 4:213; variance
  at the maximum under the hypothesis, times ``N / (N - 1)``.
- Yan X, Su XG (2010), Stratified Wilson and Newcombe confidence intervals for multiple binomial
  proportions, Stat Biopharm Res 2:329, with Mantel-Haenszel weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

Floats = npt.NDArray[np.float64]
#: Odds and risk ratios are looked for within exp(-LIMIT) and exp(LIMIT).
LIMIT = 40.0


@dataclass(frozen=True)
class TwoByTwo:
    """Events and sizes of the treated arm (1) and the reference (0)."""

    x1: float
    n1: float
    x0: float
    n0: float

    @property
    def p1(self) -> float:
        """Observed risk of the treated arm."""
        return self.x1 / self.n1

    @property
    def p0(self) -> float:
        """Observed risk of the reference."""
        return self.x0 / self.n0


def wilson(x: float, n: float, z: float) -> tuple[float, float]:
    """Return the Wilson score interval of ``x`` in ``n``."""
    p = x / n
    middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * math.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    lower = 0.0 if x == 0 else max(0.0, middle - half)
    upper = 1.0 if x == n else min(1.0, middle + half)
    return lower, upper


def newcombe(t: TwoByTwo, z: float) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval (method 10) of ``p1 - p0``."""
    l1, u1 = wilson(t.x1, t.n1, z)
    l0, u0 = wilson(t.x0, t.n0, z)
    gap = t.p1 - t.p0
    lower = gap - math.hypot(t.p1 - l1, u0 - t.p0)
    upper = gap + math.hypot(u1 - t.p1, t.p0 - l0)
    return lower, upper


def stratified_newcombe(tables: list[TwoByTwo], z: float) -> tuple[float, float, float]:
    """Return the Mantel-Haenszel difference and Yan and Su's interval.

    The Wilson interval of an arm is the weighted mean of its strata's at the reduced quantile
    ``z sqrt(sum w^2 v) / sum w sqrt(v)``, with ``v`` the variance of a stratum's proportion;
    the interval of the difference takes the variances at its limits, times ``sum w^2 / n``.
    """
    n1 = np.array([t.n1 for t in tables])
    n0 = np.array([t.n0 for t in tables])
    weight = n1 * n0 / (n1 + n0)
    weight = weight / weight.sum()
    limits, factors, means = [], [], []
    for x, n in (
        (np.array([t.x1 for t in tables]), n1),
        (np.array([t.x0 for t in tables]), n0),
    ):
        p = x / n
        v = p * (1.0 - p) / n
        spread = float(weight @ np.sqrt(v))
        own = z * math.sqrt(float(weight**2 @ v)) / spread if spread > 0.0 else z
        each = np.array([wilson(a, b, own) for a, b in zip(x, n, strict=True)])
        limits.append(weight @ each)
        factors.append(float((weight**2 / n).sum()))
        means.append(float(weight @ p))
    gap = means[0] - means[1]

    def part(limit: float, factor: float) -> float:
        return factor * max(limit * (1.0 - limit), 0.0)

    (l1, u1), (l0, u0) = limits
    lower = gap - z * math.sqrt(part(l1, factors[0]) + part(u0, factors[1]))
    upper = gap + z * math.sqrt(part(u1, factors[0]) + part(l0, factors[1]))
    return gap, lower, upper


def score_difference(t: TwoByTwo, delta: float, correct: bool = True) -> float:
    """Return Miettinen and Nurminen's z of ``p1 - p0 = delta``."""
    p0 = float(_null_difference(np.array(t.x1), t.n1, np.array(t.x0), t.n0, delta))
    p1 = min(max(p0 + delta, 0.0), 1.0)
    variance = p1 * (1.0 - p1) / t.n1 + p0 * (1.0 - p0) / t.n0
    return _over(t.p1 - t.p0 - delta, variance, t, correct)


def score_table(n1: int, n0: int, delta: float) -> Floats:
    """Return z (without ``N / (N - 1)``) of every pair of events, shape (n1 + 1, n0 + 1)."""
    x1 = np.arange(n1 + 1.0)[:, None]
    x0 = np.arange(n0 + 1.0)[None, :]
    p0 = _null_difference(x1, float(n1), x0, float(n0), delta)
    p1 = np.clip(p0 + delta, 0.0, 1.0)
    variance = p1 * (1.0 - p1) / n1 + p0 * (1.0 - p0) / n0
    gap = x1 / n1 - x0 / n0 - delta
    tiny = np.abs(gap) < 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        z = gap / np.sqrt(variance)
    return np.where(tiny, 0.0, np.where(variance > 0.0, z, np.copysign(np.inf, gap)))


def _null_difference(x1: Floats, n1: float, x0: Floats, n0: float, delta: float) -> Floats:
    """Return the maximum-likelihood ``p0`` under ``p1 = p0 + delta`` (the root of a cubic)."""
    n = n1 + n0
    if delta == 0.0:
        return np.asarray((x1 + x0) / n)
    l2 = (n1 + 2.0 * n0) * delta - n - (x1 + x0)
    l1 = (n0 * delta - n - 2.0 * x0) * delta + x1 + x0
    l0 = x0 * delta * (1.0 - delta)
    q = (l2 / (3.0 * n)) ** 3 - l1 * l2 / (6.0 * n * n) + l0 / (2.0 * n)
    p = np.copysign(np.sqrt(np.maximum((l2 / (3.0 * n)) ** 2 - l1 / (3.0 * n), 0.0)), q)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(p != 0.0, q / p**3, 0.0)
    angle = (math.pi + np.arccos(np.clip(ratio, -1.0, 1.0))) / 3.0
    root = 2.0 * p * np.cos(angle) - l2 / (3.0 * n)
    return np.asarray(np.clip(root, max(0.0, -delta), min(1.0, 1.0 - delta)))


def score_ratio(t: TwoByTwo, log_ratio: float) -> float:
    """Return Miettinen and Nurminen's z of ``p1 / p0 = exp(log_ratio)``."""
    ratio = math.exp(log_ratio)
    a = (t.n1 + t.n0) * ratio
    b = -(t.n1 * ratio + t.x1 + t.n0 + t.x0 * ratio)
    c = t.x1 + t.x0
    p0 = 2.0 * c / (-b + math.sqrt(max(b * b - 4.0 * a * c, 0.0)))
    p0 = min(p0, 1.0, 1.0 / ratio)
    p1 = min(ratio * p0, 1.0)
    variance = p1 * (1.0 - p1) / t.n1 + ratio * ratio * p0 * (1.0 - p0) / t.n0
    return _over(t.p1 - ratio * t.p0, variance, t, True)


def score_odds_ratio(t: TwoByTwo, log_ratio: float) -> float:
    """Return Miettinen and Nurminen's z of an odds ratio ``exp(log_ratio)``."""
    n, c = t.n1 + t.n0, t.x1 + t.x0
    ratio = math.exp(log_ratio)
    p0, p1 = _null_odds(t.n0, t.n1, c, ratio), _null_odds(t.n1, t.n0, c, 1.0 / ratio)
    q0, q1 = _null_odds(t.n0, t.n1, n - c, 1.0 / ratio), _null_odds(t.n1, t.n0, n - c, ratio)
    one, zero = t.n1 * p1 * q1, t.n0 * p0 * q0
    if one <= 0.0 or zero <= 0.0:
        return 0.0
    gap = t.x1 * q1 - (t.n1 - t.x1) * p1  # x1 - n1 p1
    return gap * math.sqrt((1.0 / one + 1.0 / zero) * (n - 1.0) / n)


def _null_odds(own: float, other: float, events: float, ratio: float) -> float:
    """Return the risk of an arm, given all events, where the other's odds are ``ratio`` times.

    The root in [0, 1] of ``own (ratio - 1) p^2 + b p - events = 0``, without cancellation.
    """
    a = own * (ratio - 1.0)
    b = other * ratio + own - events * (ratio - 1.0)
    root = math.sqrt(max(b * b + 4.0 * a * events, 0.0))
    return 2.0 * events / (b + root) if b >= 0.0 else (root - b) / (2.0 * a)


def _over(gap: float, variance: float, t: TwoByTwo, correct: bool) -> float:
    if abs(gap) < 1e-15:
        return 0.0
    n = t.n1 + t.n0
    if correct:
        variance *= n / (n - 1.0)
    return gap / math.sqrt(variance) if variance > 0.0 else math.copysign(math.inf, gap)


def invert(
    z_of: Callable[[float], float], start: float, z: float, low: float, high: float
) -> tuple[float, float]:
    """Return where a decreasing z crosses ``z`` and ``-z``; the ends where it never does."""

    def solve(target: float, end: float) -> float:
        def gap(value: float) -> float:
            return max(min(z_of(value), 1e6), -1e6) - target

        inner = min(max(start, low), high)
        outer = end - math.copysign(1e-12, end - inner) if abs(end) <= 1.0 else end
        if gap(inner) * gap(outer) >= 0.0:
            return end
        return float(optimize.brentq(gap, inner, outer, xtol=1e-14, rtol=1e-14))

    return solve(z, low), solve(-z, high)
