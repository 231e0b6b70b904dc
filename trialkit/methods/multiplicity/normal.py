"""Probabilities of the multivariate normal distribution, without random numbers where possible.

- Two dimensions: Plackett's identity, the density integrated over the correlation (Plackett RL,
  1954, Biometrika 41:351), with the correlation as sin(angle).
- A correlation of the form ``a_i a_j`` (such as comparisons with one control): one integral over
  the common factor (Dunnett CW, Sobel M, 1955, Biometrika 42:258).
- Three and four dimensions else: integrals over the first variables of the conditional
  probability of the last two.
- More: the lattice rule of Genz (1992, J Comput Graph Stat 1:141) as SciPy has it, with a fixed
  seed; good to about 1e-6.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

#: Beyond this many standard deviations a normal probability is 0 or 1 to double precision.
FAR = 9.0


@lru_cache(maxsize=8)
def _nodes(n: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(n)
    return 0.5 * (x + 1.0), 0.5 * w


def bivariate(h: Floats, k: Floats, rho: float, *, panels: int = 6) -> Floats:
    """Return P(X <= h, Y <= k) of two standard normals with correlation `rho`.

    The integral runs over the shorter way: from independence for moderate correlations, from
    the singular distribution (rho = +1 or -1) otherwise, where the integrand vanishes.

    Parameters
    ----------
    h, k : ndarray of one shape
    rho : float
        In [-1, 1].
    """
    h, k = np.broadcast_arrays(np.clip(h, -FAR * 5, FAR * 5), np.clip(k, -FAR * 5, FAR * 5))
    top, sign = math.asin(min(max(rho, -1.0), 1.0)), math.copysign(1.0, rho)
    x, w = _nodes(24)
    near = abs(rho) > 0.8
    edge = sign * math.pi / 2.0
    start, base = (
        (edge, _singular(h, k, sign)) if near else (0.0, special.ndtr(h) * special.ndtr(k))
    )
    # panels shrink towards the singular end, where the integrand changes fastest
    cuts = (
        np.linspace(0.0, 1.0, panels + 1)
        if not near
        else np.append(0.0, 4.0 ** -np.arange(12)[::-1])
    )
    t = (cuts[:-1, None] + np.diff(cuts)[:, None] * x).ravel()
    weight = (np.diff(cuts)[:, None] * w).ravel()
    if near and abs(top - start) < 1e-15:
        return np.asarray(base)
    angle = start + (top - start) * t
    if near:  # cos and 1 - |sin| of angles next to a right angle, without cancellation
        gap = (edge - top) * t
        cos, less = np.abs(np.sin(gap)), 2.0 * np.sin(0.5 * gap) ** 2
    else:
        cos, less = np.cos(angle), 1.0 - sign * np.sin(angle)
    hh, kk = h[..., None], k[..., None]
    power = ((hh - sign * kk) ** 2 + 2.0 * sign * hh * kk * less) / (2.0 * cos**2)
    inner = (np.exp(-np.minimum(power, 745.0)) * weight).sum(axis=-1)
    return np.asarray(np.clip(base + (top - start) / (2.0 * math.pi) * inner, 0.0, 1.0))


def _singular(h: Floats, k: Floats, sign: float) -> Floats:
    if sign > 0:
        return np.asarray(special.ndtr(np.minimum(h, k)))
    return np.asarray(np.maximum(special.ndtr(h) - special.ndtr(-k), 0.0))


def orthant(upper: Floats, correlation: Floats) -> tuple[float, float]:
    """Return P(X_1 <= u_1, ..., X_d <= u_d) and the error to expect.

    Parameters
    ----------
    upper : ndarray, shape (d,)
    correlation : ndarray, shape (d, d)

    Returns
    -------
    tuple of float
        Probability, and a bound of its absolute error (1e-13 for the deterministic ways).
    """
    live = upper < 40.0
    if (upper <= -40.0).any():
        return 0.0, 0.0
    upper, correlation = upper[live], correlation[np.ix_(live, live)]
    d = len(upper)
    if d == 0:
        return 1.0, 0.0
    if d == 1:
        return float(special.ndtr(upper[0])), 1e-15
    if d == 2:
        return float(bivariate(upper[:1], upper[1:], correlation[0, 1])[0]), 1e-14
    loading = _common_factor(correlation)
    if loading is not None:
        return _one_factor(upper, loading), 1e-13
    if d <= 4 and np.linalg.eigvalsh(correlation)[0] > 1e-3:
        return float(_conditional(upper, correlation)), 1e-11
    return _lattice(upper, correlation), 1e-6


def _common_factor(correlation: Floats) -> Floats | None:
    """Return a with ``correlation = a a'`` off the diagonal, all ``|a| < 1``; None without."""
    d = len(correlation)
    off = correlation.copy()
    np.fill_diagonal(off, 0.0)
    if not off.any():
        return np.zeros(d)
    if (off[~np.eye(d, dtype=bool)] == 0.0).any():
        return None
    square = correlation[0, 1] * correlation[0, 2] / correlation[1, 2]
    if not 0.0 < square < 0.999:
        return None
    first = math.sqrt(square)
    loading = np.append(first, correlation[0, 1:] / first)
    product = np.outer(loading, loading)
    np.fill_diagonal(product, 1.0)
    fits = np.abs(product - correlation).max() < 1e-14 and np.abs(loading).max() < 0.999
    return loading if fits else None


def _one_factor(upper: Floats, loading: Floats) -> float:
    x, w = _nodes(48)
    cuts = np.linspace(-FAR, FAR, 25)
    t = (cuts[:-1, None] + np.diff(cuts)[:, None] * x).ravel()
    weight = (np.diff(cuts)[:, None] * w).ravel()
    density = np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
    scale = np.sqrt(1.0 - loading * loading)
    inside = special.ndtr((upper - loading * t[:, None]) / scale).prod(axis=1)
    return float((density * inside) @ weight)


def _conditional(upper: Floats, correlation: Floats) -> float:
    """Integrate over the first variable; the others are normal given it."""
    if len(upper) == 2:
        return float(bivariate(upper[:1], upper[1:], correlation[0, 1])[0])
    x, w = _nodes(32)
    end = min(FAR, float(upper[0]))
    cuts = np.linspace(-FAR, end, 5 if len(upper) > 3 else 13)
    t = (cuts[:-1, None] + np.diff(cuts)[:, None] * x).ravel()
    weight = (np.diff(cuts)[:, None] * w).ravel()
    density = np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
    slope = correlation[0, 1:]
    rest = correlation[1:, 1:] - np.outer(slope, slope)
    scale = np.sqrt(np.diagonal(rest))
    inner = rest / np.outer(scale, scale)
    bounds = (upper[1:] - slope * t[:, None]) / scale
    if len(upper) == 3:
        value = bivariate(bounds[:, 0], bounds[:, 1], float(inner[0, 1]))
    else:
        value = np.array([_conditional(row, inner) for row in bounds])
    return float((density * value) @ weight)


def _lattice(upper: Floats, correlation: Floats) -> float:
    from scipy.stats import multivariate_normal

    found = multivariate_normal(
        mean=np.zeros(len(upper)),
        cov=correlation,
        allow_singular=True,
        seed=20_000_003,
        maxpts=50_000 * len(upper),
        abseps=1e-7,
        releps=0.0,
    ).cdf(upper)
    return float(found)
