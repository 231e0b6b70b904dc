"""Growth curves over participants: an exponential approach with random start and gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.stats import qmc

from trialkit.errors import UsageError

Floats = NDArray[np.float64]
_GRID = 15
_LEAST_PARTICIPANTS = 10
_DRAWS = 256
_SEED = 20261


@dataclass(frozen=True)
class Fit:
    """Maximum likelihood at one time constant.

    Attributes
    ----------
    tau : float
        In the unit of time.
    mean : (2,) array
        Of start a and gain b.
    mean_covariance : (2, 2) array
        Of the estimated mean.
    covariance : (2, 2) array
        Of a and b over participants.
    variance : float
        Of the residual.
    log_likelihood : float
    """

    tau: float
    mean: Floats
    mean_covariance: Floats
    covariance: Floats
    variance: float
    log_likelihood: float


@dataclass(frozen=True)
class GrowthModel:
    """A curve fitted to a cohort.

    Attributes
    ----------
    best : Fit
        At the time constant of greatest likelihood.
    draws : tuple of Fit
        What else the cohort allows: time constant, covariance and residual variance drawn from
        their likelihood, with the mean that belongs to each.
    weights : (draws,) array
        Importance weight of each draw; they sum to 1.
    n, n_participants : int
        Rows and participants used.
    n_missing : int
        Rows left out because outcome or time was missing.
    """

    best: Fit
    draws: tuple[Fit, ...]
    weights: Floats
    n: int
    n_participants: int
    n_missing: int


def basis(time: ArrayLike, tau: float) -> Floats:
    """Return the rows ``[1, 1 - exp(-t / tau)]``, shape (n, 2)."""
    t = np.asarray(time, dtype=np.float64)
    return np.column_stack([np.ones(t.shape), -np.expm1(-t / tau)])


def fit_growth(
    frame: pd.DataFrame,
    *,
    outcome: str,
    subject: str,
    time: str,
    tau: tuple[float, float] | None = None,
) -> GrowthModel:
    """Fit ``y = a_i + b_i (1 - exp(-t / tau)) + e`` by maximum likelihood.

    (a_i, b_i) is normal over participants with any covariance, e is normal with one variance,
    and tau is one for all. For each tau the mean and the residual variance have a closed form
    and the covariance is searched; tau is profiled. Outcomes are modelled as they are: never a
    share of a "potential", since the correlation of baseline with change that such a share
    rests on arises by mathematical coupling alone (Hope et al. 2019).

    Parameters
    ----------
    frame : DataFrame
        One row a visit.
    outcome, subject, time : str
        Columns; time from the start of training, at least 0.
    tau : tuple of float, optional
        Least and greatest time constant; default: a quarter of the least time above 0 to twice
        the greatest.

    Raises
    ------
    UsageError
        With fewer than 10 participants or 3 distinct times, a negative time, or no variation.

    Notes
    -----
    Laird and Ware 1982. The likelihood is that of lme (nlme) and MixedLM at a fixed tau.
    """
    rows = frame[[subject, time, outcome]].dropna()
    y, t = (rows[name].to_numpy(dtype=np.float64) for name in (outcome, time))
    codes, people = pd.factorize(rows[subject])
    if len(people) < _LEAST_PARTICIPANTS or len(np.unique(t)) < 3:
        raise UsageError(
            f"{len(people)} participants at {len(np.unique(t))} times are too few for a curve.",
            remedy=f"Give at least {_LEAST_PARTICIPANTS} participants and 3 times.",
        )
    if t.min() < 0 or not np.all(np.isfinite(y)) or y.std() == 0:
        raise UsageError(
            f"{time} is negative somewhere, or {outcome} is infinite or the same everywhere.",
            remedy="Give times from the start of training, and outcomes that vary.",
        )
    low, high = tau or (0.25 * float(t[t > 0].min()), 2.0 * float(t.max()))
    if not 0 < low < high:
        raise UsageError(f"tau from {low:g} to {high:g}.", remedy="Give 0 < least < greatest.")
    ends = float(np.log(low)), float(np.log(high))
    best, theta = _best(ends, t, y, codes)
    draws, weights = _draws(best, theta, ends, t, y, codes)
    return GrowthModel(
        best=best,
        draws=draws,
        weights=weights,
        n=len(rows),
        n_participants=len(people),
        n_missing=len(frame) - len(rows),
    )


def fit_at(tau: float, t: Floats, y: Floats, codes: NDArray[np.intp]) -> Fit:
    """Return the maximum likelihood at one `tau`; `codes` number the participants from 0."""
    return _fit_at(tau, t, y, codes, np.array([1.0, 0.0, 1.0]), polish=True)[0]


def _best(
    ends: tuple[float, float], t: Floats, y: Floats, codes: NDArray[np.intp]
) -> tuple[Fit, Floats]:
    """Return the fit at the best tau between the logarithms `ends`, and its search variables."""
    grid = np.linspace(ends[0], ends[1], _GRID)
    theta = np.array([1.0, 0.0, 1.0])
    values, places = [], []
    for x in grid:
        fit, theta = _fit_at(float(np.exp(x)), t, y, codes, theta)
        values.append(fit.log_likelihood)
        places.append(theta)
    at = int(np.argmax(values))
    found = optimize.minimize_scalar(
        lambda x: -_fit_at(float(np.exp(x)), t, y, codes, places[at])[0].log_likelihood,
        bounds=(grid[max(0, at - 1)], grid[min(_GRID - 1, at + 1)]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return _fit_at(float(np.exp(found.x)), t, y, codes, places[at], polish=True)


def _draws(
    best: Fit,
    theta: Floats,
    ends: tuple[float, float],
    t: Floats,
    y: Floats,
    codes: NDArray[np.intp],
) -> tuple[tuple[Fit, ...], Floats]:
    """Return draws from the likelihood of log tau, the covariance's factor and log variance.

    The mean is integrated out (restricted likelihood). The proposal is a multivariate t with
    5 degrees of freedom about the maximum, by fixed quasi-random numbers; each draw is weighted
    by likelihood over proposal, so that the result does not rest on a normal shape.
    """

    def height(x: Floats) -> float:
        if not ends[0] <= x[0] <= ends[1]:
            return -np.inf
        return _restricted(x[1:4], float(x[4]), _sums(float(np.exp(x[0])), t, y, codes))

    begin = np.array([np.log(best.tau), *theta, np.log(best.variance)])
    found = optimize.minimize(
        lambda x: -height(np.array([np.clip(x[0], *ends), *x[1:]])),
        begin,
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-4, "maxfev": 2000},
    )
    centre = np.array([np.clip(found.x[0], *ends), *found.x[1:]])
    root = _root(lambda x: height(np.array([np.clip(x[0], *ends), *x[1:]])), centre)
    uniform = qmc.Sobol(6, scramble=True, rng=np.random.default_rng(_SEED)).random(_DRAWS)
    normal = stats.norm.ppf(uniform[:, :5])
    scale = np.sqrt(5.0 / stats.chi2.ppf(uniform[:, 5], 5.0))
    points = centre + scale[:, None] * (normal @ root.T)
    distance = (scale[:, None] * normal) ** 2
    logs = np.array([height(x) for x in points]) + 5.0 * np.log1p(distance.sum(axis=1) / 5.0)
    kept = logs > logs.max() - 25.0
    weights = np.exp(logs[kept] - logs.max())
    fits = tuple(_fit_of(x, t, y, codes) for x in points[kept])
    return fits, weights / weights.sum()


def _root(height: Callable[[Floats], float], centre: Floats) -> Floats:
    """Return a square root of the inverse of minus the curvature at `centre`."""
    k = len(centre)
    step = np.array([0.05, *(0.05 * np.maximum(0.2, np.abs(centre[1:4]))), 0.05])
    middle = height(centre)
    ahead = np.diag(step)
    curve = np.empty((k, k))
    for i in range(k):
        for j in range(i, k):
            if i == j:
                value = height(centre + ahead[i]) + height(centre - ahead[i]) - 2.0 * middle
            else:
                both = height(centre + ahead[i] + ahead[j]) + height(centre - ahead[i] - ahead[j])
                cross = height(centre + ahead[i] - ahead[j]) + height(centre - ahead[i] + ahead[j])
                value = (both - cross) / 4.0
            curve[i, j] = curve[j, i] = -value / (step[i] * step[j])
    size = np.sqrt(np.maximum(np.abs(np.diag(curve)), 1e-6))
    values, vectors = np.linalg.eigh(curve / np.outer(size, size))
    root: Floats = (vectors / np.sqrt(np.maximum(values, 0.02))) / size[:, None]
    return root


def _restricted(theta: Floats, log_variance: float, sums: _Sums) -> float:
    """Return the log-likelihood with the mean integrated out, without constants."""
    lack, log_det, _, inverse = _pieces(theta, sums)
    sign, log_precision = np.linalg.slogdet(inverse)
    n = sums.n - 2
    return float(
        -0.5 * (n * log_variance + lack * np.exp(-log_variance) + log_det - sign * log_precision)
    )


def _fit_of(x: Floats, t: Floats, y: Floats, codes: NDArray[np.intp]) -> Fit:
    tau, variance = float(np.exp(x[0])), float(np.exp(x[4]))
    sums = _sums(tau, t, y, codes)
    lack, log_det, mean, inverse = _pieces(x[1:4], sums)
    factor = _factor(x[1:4])
    value = -0.5 * (sums.n * np.log(2.0 * np.pi * variance) + lack / variance + log_det)
    return Fit(tau, mean, variance * inverse, variance * factor @ factor.T, variance, float(value))


@dataclass(frozen=True)
class _Sums:
    """Per participant Z'Z and Z'y; over all y'y and the number of rows."""

    zz: Floats
    zy: Floats
    yy: float
    n: int


def _sums(tau: float, t: Floats, y: Floats, codes: NDArray[np.intp]) -> _Sums:
    g = basis(t, tau)[:, 1]
    n, one, two, y_one, y_g = (
        np.bincount(codes, weights=w) for w in (np.ones(len(g)), g, g * g, y, g * y)
    )
    zz: Floats = np.stack([n, one, one, two], axis=1).reshape(-1, 2, 2).astype(np.float64)
    return _Sums(zz, np.stack([y_one, y_g], axis=1), float(y @ y), len(y))


def _factor(theta: Floats) -> Floats:
    """Return the lower triangle whose square is the relative covariance."""
    return np.array([[theta[0], 0.0], [theta[1], theta[2]]])


def _pieces(theta: Floats, sums: _Sums) -> tuple[float, float, Floats, Floats]:
    """Return the weighted residual sum, log |V|, the mean and its covariance, per variance.

    With D the relative covariance, A = Z'Z and M = I + A D: Z'V^-1 Z = M^-1 A, Z'V^-1 y =
    M^-1 Z'y, y'V^-1 y = y'y - y'Z D M^-1 Z'y and |V| = |M|, all of two rows and columns.
    """
    factor = _factor(theta)
    relative = factor @ factor.T
    m = np.eye(2) + sums.zz @ relative
    det = m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]
    inverse = np.empty_like(m)
    inverse[:, 0, 0], inverse[:, 1, 1] = m[:, 1, 1] / det, m[:, 0, 0] / det
    inverse[:, 0, 1], inverse[:, 1, 0] = -m[:, 0, 1] / det, -m[:, 1, 0] / det
    c = (inverse * sums.zy[:, None, :]).sum(axis=2)
    precision = (inverse @ sums.zz).sum(axis=0)
    covariance = np.linalg.inv(0.5 * (precision + precision.T))
    total = c.sum(axis=0)
    mean = covariance @ total
    taken = float((sums.zy * (c @ relative)).sum()) + float(mean @ total)
    return max(sums.yy - taken, 1e-300), float(np.log(det).sum()), mean, covariance


def _fit_at(
    tau: float,
    t: Floats,
    y: Floats,
    codes: NDArray[np.intp],
    theta: Floats,
    *,
    polish: bool = False,
) -> tuple[Fit, Floats]:
    sums = _sums(tau, t, y, codes)

    def lack(x: Floats) -> float:
        residual, log_det, _, _ = _pieces(x, sums)
        return 0.5 * (sums.n * float(np.log(residual)) + log_det)

    found = optimize.minimize(lack, theta, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-6})
    for size in (0.2, 0.02) if polish else ():  # the slope at a diagonal of 0 tells nothing
        corners = found.x + np.vstack([np.zeros(3), size * np.eye(3)])
        options = {"xatol": 1e-8, "fatol": 1e-11, "initial_simplex": corners}
        found = optimize.minimize(lack, found.x, method="Nelder-Mead", options=options)
    residual = _pieces(found.x, sums)[0]
    fit = _fit_of(np.array([np.log(tau), *found.x, np.log(residual / sums.n)]), t, y, codes)
    # a diagonal of 0 is stationary from both sides: begin the next search beside it
    away = np.where(np.abs(found.x) < 0.2, 0.2, np.abs(found.x))
    return fit, np.array([away[0], found.x[1] * np.sign(found.x[0] or 1.0), away[2]])
