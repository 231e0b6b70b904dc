"""Exact limits from noncentral distributions."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def _nodes(df: float) -> tuple[Floats, Floats]:
    """Return nodes of sqrt(chi-square/df) and their weights: Gauss-Legendre where the mass is."""
    low = math.sqrt(float(special.chdtri(df, 1.0 - 1e-18)) / df) if df > 0 else 0.0
    high = math.sqrt(float(special.chdtri(df, 1e-18)) / df)
    point, weight = np.polynomial.legendre.leggauss(200)
    s = low + (high - low) * (point + 1.0) / 2.0
    log = (
        math.log(2.0)
        + df / 2.0 * math.log(df / 2.0)
        - math.lgamma(df / 2.0)
        + (df - 1.0) * np.log(s)
        - df * s * s / 2.0
    )
    mass = np.exp(log) * weight * (high - low) / 2.0
    return s, mass / mass.sum()


def noncentral_t(t: float, df: float, shift: float) -> float:
    """Return the distribution function of the noncentral t.

    By integrating the normal over the chi distribution of the standard deviation, which keeps
    its digits where library series lose some.
    """
    s, mass = _nodes(df)
    return float(special.ndtr(t * s - shift) @ mass)


def effect_limits(t: float, df: float, level: float) -> tuple[float, float]:
    """Return the limits of the noncentrality of an observed t statistic.

    The shifts under which the statistic is the upper and the lower quantile (Steiger JH,
    Fouladi RT, 1997, in What If There Were No Significance Tests?).
    """
    tail = (1.0 - level) / 2.0
    wide = 10.0 + 10.0 * abs(t) / math.sqrt(df) + 8.0

    def root(probability: float) -> float:
        low, high = t - wide - abs(t), t + wide + abs(t)
        found = optimize.brentq(
            lambda shift: noncentral_t(t, df, shift) - probability,
            low,
            high,
            xtol=1e-13,
            rtol=1e-14,
        )
        return float(found)

    return root(1.0 - tail), root(tail)


def percentile_factor(z: float, n: int, probability: float) -> float:
    """Return k so that mean + k SD is a confidence limit of the percentile mean + z SD.

    ``t' / sqrt(n)``, with t' the quantile of the noncentral t on n - 1 degrees of freedom and
    noncentrality ``z sqrt(n)``.
    """
    shift, df = z * math.sqrt(n), n - 1.0
    step = 4.0 + abs(shift)
    low, high = shift - step, shift + step
    while noncentral_t(low, df, shift) > probability:
        low -= step
        step *= 2.0
    while noncentral_t(high, df, shift) < probability:
        high += step
        step *= 2.0
    found = optimize.brentq(
        lambda t: noncentral_t(t, df, shift) - probability, low, high, xtol=1e-13, rtol=1e-14
    )
    return float(found) / math.sqrt(n)


def tolerance_factor(share: float, n: int, probability: float) -> float:
    """Return k so that mean +- k SD holds `share` of a normal population, with a probability.

    The exact two-sided tolerance factor: the probability, over the sample's mean and SD, that
    the interval holds at least the share. For a mean off by x standard deviations the interval
    must reach r(x), where Phi(x + r) - Phi(x - r) is the share.
    """
    df = n - 1.0
    point, weight = np.polynomial.legendre.leggauss(120)
    x = (point + 1.0) / 2.0 * 8.5 / math.sqrt(n)
    mass = 2.0 * weight * 8.5 / 2.0 * np.exp(-0.5 * n * x * x) / math.sqrt(2.0 * math.pi)
    reach = np.array([_reach(value, share) for value in x])

    def content(k: float) -> float:
        return float(special.chdtrc(df, df * (reach / k) ** 2) @ mass)

    low, high = 1e-3, 10.0
    while content(high) < probability:
        high *= 2.0
    return float(optimize.brentq(lambda k: content(k) - probability, low, high, xtol=1e-12))


def _reach(x: float, share: float) -> float:
    """Return r so that a normal variable lies within r of x with the probability `share`."""
    start = float(special.ndtri(0.5 + share / 2.0))
    return float(
        optimize.brentq(
            lambda r: special.ndtr(x + r) - special.ndtr(x - r) - share,
            start - 1e-9,
            start + x + 1e-9,
            xtol=1e-14,
        )
    )
