"""Growth curves over participants: an exponential approach with random start and gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from trialkit.errors import UsageError

Floats = NDArray[np.float64]
_GRID = 15
_LEAST_PARTICIPANTS = 10


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
    """Fits over a grid of time constants.

    Attributes
    ----------
    best : Fit
        At the time constant of greatest likelihood, between the grid's points too.
    fits : tuple of Fit
        Over a grid of time constants that are worth a weight.
    weights : (grid,) array
        Of each fit: its profile likelihood, tau being even on a logarithmic scale beforehand.
    n, n_participants : int
        Rows and participants used.
    n_missing : int
        Rows left out because outcome or time was missing.
    """

    best: Fit
    fits: tuple[Fit, ...]
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
    fits, theta = _over((np.log(low), np.log(high)), t, y, codes, np.array([1.0, 0.0, 1.0]))
    fits, theta = _over(_worth_while(fits), t, y, codes, theta)
    at = int(np.argmax([fit.log_likelihood for fit in fits]))
    found = optimize.minimize_scalar(
        lambda x: -_fit_at(float(np.exp(x)), t, y, codes, theta)[0].log_likelihood,
        bounds=[np.log(fits[k].tau) for k in (max(0, at - 1), min(len(fits) - 1, at + 1))],
        method="bounded",
        options={"xatol": 1e-6},
    )
    best, _ = _fit_at(float(np.exp(found.x)), t, y, codes, theta, polish=True)
    best = best if best.log_likelihood >= fits[at].log_likelihood else fits[at]
    likelihood = np.array([fit.log_likelihood for fit in fits])
    weights = np.exp(likelihood - likelihood.max())
    return GrowthModel(
        best=best,
        fits=tuple(fits),
        weights=weights / weights.sum(),
        n=len(rows),
        n_participants=len(people),
        n_missing=len(frame) - len(rows),
    )


def _over(
    ends: tuple[float, float], t: Floats, y: Floats, codes: NDArray[np.intp], theta: Floats
) -> tuple[list[Fit], Floats]:
    """Return the fits over a grid, each begun where the last ended, and the best place to begin."""
    fits, places = [], []
    for tau in np.exp(np.linspace(ends[0], ends[1], _GRID)):
        fit, theta = _fit_at(float(tau), t, y, codes, theta)
        fits.append(fit)
        places.append(theta)
    return fits, places[int(np.argmax([fit.log_likelihood for fit in fits]))]


def _worth_while(fits: list[Fit]) -> tuple[float, float]:
    """Return the logarithms of the taus between which all lie that are worth a weight."""
    likelihood = np.array([fit.log_likelihood for fit in fits])
    near = np.flatnonzero(likelihood > likelihood.max() - 10.0)
    first, last = max(0, near[0] - 1), min(len(fits) - 1, near[-1] + 1)
    return float(np.log(fits[first].tau)), float(np.log(fits[last].tau))


@dataclass(frozen=True)
class _Sums:
    """Per participant Z'Z and Z'y; over all y'y and the number of rows."""

    zz: Floats
    zy: Floats
    yy: float
    n: int


def _sums(tau: float, t: Floats, y: Floats, codes: NDArray[np.intp]) -> _Sums:
    z = basis(t, tau)
    m = int(codes.max()) + 1
    zz, zy = np.zeros((m, 2, 2)), np.zeros((m, 2))
    np.add.at(zz, codes, z[:, :, None] * z[:, None, :])
    np.add.at(zy, codes, z * y[:, None])
    return _Sums(zz, zy, float(y @ y), len(y))


def _factor(theta: Floats) -> Floats:
    """Return the lower triangle whose square is the relative covariance."""
    return np.array([[theta[0], 0.0], [theta[1], theta[2]]])


def _profile(theta: Floats, sums: _Sums) -> tuple[float, Floats, Floats, float]:
    """Return log-likelihood, mean, its relative covariance, and residual variance.

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
    precision = 0.5 * (precision + precision.T)
    total = c.sum(axis=0)
    mean = np.linalg.solve(precision, total)
    taken = float((sums.zy * (c @ relative)).sum()) + float(mean @ total)
    variance = max(sums.yy - taken, 1e-300) / sums.n
    value = -0.5 * (sums.n * (np.log(2.0 * np.pi * variance) + 1.0) + np.log(det).sum())
    return float(value), mean, np.linalg.inv(precision), variance


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
        return -_profile(x, sums)[0]

    found = optimize.minimize(lack, theta, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-6})
    if polish:
        found = optimize.minimize(
            lack, found.x, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-11}
        )
    value, mean, relative, variance = _profile(found.x, sums)
    factor = _factor(found.x)
    fit = Fit(
        tau=tau,
        mean=mean,
        mean_covariance=variance * relative,
        covariance=variance * factor @ factor.T,
        variance=variance,
        log_likelihood=value,
    )
    # a diagonal of 0 is stationary from both sides: begin the next search beside it
    away = np.where(np.abs(found.x) < 0.2, 0.2, np.abs(found.x))
    return fit, np.array([away[0], found.x[1] * np.sign(found.x[0] or 1.0), away[2]])
