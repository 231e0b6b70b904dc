"""Likelihood of right-censored log times with a location and a scale: the engine of ``aft``.

The log time is ``x'beta + sigma * e`` with ``e`` from a known law: minimum extreme value (times
are Weibull, or exponential where sigma is 1), normal (log-normal times) or logistic
(log-logistic times). In ``gamma = beta / sigma`` and ``theta = 1 / sigma`` the log-likelihood is
a sum of ``log theta`` and of log densities and log survival functions at linear functions; these
are concave for the three laws, so that the whole is (Olsen RJ, 1978, Econometrica 46:1211, for
the normal law), and Newton's method finds the only maximum from any start. There is none where
some direction leaves the standardised residual of every event alone and raises that of no
censored row: a linear program looks for it before the first step.

Inside, log times have mean 0 and standard deviation 1 and the columns are orthonormal: units
do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from trialkit.methods._rank import tall_qr

Floats = npt.NDArray[np.float64]
#: Value, first and second derivative by the standardised residual, of each row.
Terms = tuple[Floats, Floats, Floats]

#: Newton stops when no standardised residual moved by more than this in the last step.
STEP_TOLERANCE = 1e-9
#: It stops as well when the step promised less: estimates within 1e-10 standard errors.
GAIN_TOLERANCE = 1e-20
MAX_ITERATIONS = 200
#: Singular values of the events' rows below this share of the largest row count as zero; more
#: where the columns are nearly collinear, so that rounding disturbs the orthonormal ones.
RANK_TOLERANCE = 1e-9


def extreme_value(u: Floats, event: npt.NDArray[np.bool_]) -> Terms:
    """Return log density of events and log survival of the others; minimum extreme value."""
    rise = np.exp(u)
    return np.where(event, u - rise, -rise), np.where(event, 1.0 - rise, -rise), -rise


def logistic(u: Floats, event: npt.NDArray[np.bool_]) -> Terms:
    """Return log density of events and log survival of the others; logistic."""
    p, times = special.expit(u), np.where(event, 2.0, 1.0)
    value = np.where(event, u, 0.0) - times * np.logaddexp(0.0, u)
    return value, event - times * p, -times * p * special.expit(-u)


def normal(u: Floats, event: npt.NDArray[np.bool_]) -> Terms:
    """Return log density of events and log survival of the others; normal."""
    mills = math.sqrt(2.0 / math.pi) / special.erfcx(u / math.sqrt(2.0))  # density / survival
    density = -0.5 * u * u - 0.5 * math.log(2.0 * math.pi)
    return (
        np.where(event, density, special.log_ndtr(-u)),
        np.where(event, -u, -mills),
        np.where(event, -1.0, -mills * (mills - u)),
    )


@dataclass(frozen=True)
class Point:
    """The log-likelihood (of the standardised log times) and its derivatives at one place.

    Parameters
    ----------
    place : ndarray, shape (p + 1,)
        ``gamma`` and ``theta`` on the inner scale.
    score, information : ndarray, shapes (k,), (k, k)
        k is p + 1, or p where the scale is fixed.
    """

    place: Floats
    loglik: float
    score: Floats
    information: Floats


class LocationScale:
    """A likelihood on its inner scale.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
        Positive times, and whether each is an event.
    x : ndarray, shape (n, p)
        Columns of full rank, the first one constant.
    law : callable
        `extreme_value`, `logistic` or `normal`.
    fixed : bool
        The scale is 1 and not estimated.
    """

    def __init__(
        self,
        time: Floats,
        event: npt.NDArray[np.bool_],
        x: Floats,
        law: Callable[[Floats, npt.NDArray[np.bool_]], Terms],
        *,
        fixed: bool = False,
    ) -> None:
        log_time = np.log(time)
        self.shift = float(log_time.mean())
        self.spread = float(log_time.std())
        if self.spread <= 1e-12 * max(1.0, abs(self.shift)):  # all times equal
            self.spread = 1.0
        self.y = (log_time - self.shift) / self.spread
        q, r = tall_qr(x)
        root = math.sqrt(len(x))
        self.q, self.back = q * root, np.linalg.inv(r / root)
        condition = float(np.linalg.cond(r / np.linalg.norm(r, axis=0)))
        self.rank_tolerance = max(RANK_TOLERANCE, 1e-15 * condition)
        self.event, self.law, self.fixed = event, law, fixed
        self.z = np.column_stack([-self.q, self.y])  # residual = z @ place
        self.n_events = int(event.sum())
        self.log_time_of_events = float(log_time[event].sum())

    def evaluate(self, place: Floats) -> Point:
        """Return the log-likelihood and its derivatives; minus infinity outside."""
        k = self.q.shape[1] + (not self.fixed)
        theta = float(place[-1])
        if not theta > 0.0 or not np.isfinite(place).all():
            return Point(place, -math.inf, np.zeros(k), np.zeros((k, k)))
        value, first, second = self.law(self.z @ place, self.event)
        columns = self.z[:, :k]
        score = columns.T @ first
        information = (columns.T * -second) @ columns
        if not self.fixed:
            score[-1] += self.n_events / theta
            information[-1, -1] += self.n_events / theta**2
        loglik = float(value.sum()) + self.n_events * math.log(theta)
        return Point(place, loglik if math.isfinite(loglik) else -math.inf, score, information)

    def start(self) -> Floats:
        """Return a place of finite likelihood: no effects, the spread of all log times."""
        place = np.zeros(self.z.shape[1])
        place[-1] = self.spread if self.fixed else 1.0
        if self.law is extreme_value:  # the residuals' exponentials sum to the number of events
            rate = special.logsumexp(place[-1] * self.y) - math.log(self.n_events)
            place[0] = rate / self.q[0, 0]
        return place

    def inner(self, beta: Floats, log_scale: float) -> Floats:
        """Return the place of coefficients and log scale for the standardised log times.

        Parameters
        ----------
        beta : ndarray, shape (p,)
            Coefficients of the columns of ``q``.
        """
        theta = math.exp(-log_scale)
        return np.append(beta * theta, theta)

    def outer(self, point: Point) -> tuple[Floats, float, float]:
        """Return coefficients, log scale and log-likelihood in the units of the data."""
        theta = float(point.place[-1])
        beta = self.spread * (self.back @ (point.place[:-1] / theta))
        beta[0] += self.shift
        log_scale = 0.0 if self.fixed else math.log(self.spread) - math.log(theta)
        correction = self.n_events * math.log(self.spread) + self.log_time_of_events
        return beta, log_scale, point.loglik - correction

    def covariance(self, point: Point) -> Floats | None:
        """Return the inverse observed information of the coefficients and the log scale.

        Returns
        -------
        ndarray, shape (p + 1, p + 1), or (p, p) where the scale is fixed
            None where the information is not positive definite.
        """
        p, theta = len(self.back), float(point.place[-1])
        try:
            factor = linalg.cho_factor(point.information)
        except linalg.LinAlgError:
            return None
        jacobian = np.zeros_like(point.information)
        jacobian[:p, :p] = self.spread * self.back / theta
        if not self.fixed:
            jacobian[:p, p] = -self.spread * (self.back @ point.place[:p]) / theta**2
            jacobian[p, p] = -1.0 / theta
        found = jacobian @ linalg.cho_solve(factor, jacobian.T)
        return np.asarray((found + found.T) / 2.0)


def maximise(problem: LocationScale, begin: Floats | None = None) -> Point | None:
    """Climb to the maximum by Newton's method with step halving; None without convergence.

    Parameters
    ----------
    problem : LocationScale
        One that has a maximum, see `recession`.
    begin : ndarray, shape (p + 1,), optional
        Where to start, if the likelihood is higher there than at the problem's own start.
    """
    point = problem.evaluate(problem.start())
    if begin is not None:
        other = problem.evaluate(begin)
        point = other if other.loglik > point.loglik else point
    for _ in range(MAX_ITERATIONS):
        ridge, found = ascent(point)
        step = np.zeros(len(point.place))
        step[: len(found)] = found
        size = float(np.abs(problem.z @ step).max())
        gain = float(point.score @ found)
        slack = 1e-13 * (abs(point.loglik) + problem.n_events)
        for _ in range(60):
            new = problem.evaluate(point.place + step)
            if new.loglik >= point.loglik + 1e-4 * gain - slack:
                break
            step, gain = step / 2.0, gain / 2.0
        else:
            return None
        point = new
        if not ridge and (size < STEP_TOLERANCE or (gain < GAIN_TOLERANCE and size < 1e-4)):
            return point
    return None


def ascent(point: Point) -> tuple[float, Floats]:
    """Return Newton's step, and the ridge that a numerically singular information needs."""
    top = float(np.diagonal(point.information).max())
    eye = np.eye(len(point.score))
    for ridge in (0.0, 1e-12, 1e-9, 1e-6, 1e-3):
        try:
            factor = linalg.cho_factor(point.information + ridge * top * eye)
        except linalg.LinAlgError:
            continue
        found = np.asarray(linalg.cho_solve(factor, point.score))
        if np.isfinite(found).all():
            return ridge, found
    return 1.0, np.asarray(point.score / top)


def recession(problem: LocationScale) -> tuple[bool, Floats] | None:
    """Find a direction in which the likelihood never falls: there is then no maximum.

    Along it the residuals of the events stand still, and those of the censored rows fall or
    stand still. A direction in which the scale stays is looked for first.

    Returns
    -------
    tuple or None
        Whether the scale runs to zero, and the direction of the coefficients of the columns
        given, shape (p,); None where a maximum exists.
    """
    from scipy.optimize import linprog

    p = len(problem.back)
    for moving in (False, True):
        if moving and problem.fixed:
            break
        z = problem.z if moving else problem.z[:, :p]
        still = null_space(z[problem.event], z, problem.rank_tolerance)
        if not still.shape[1]:
            continue
        falls = z[~problem.event] @ still
        goal = falls.sum(axis=0) / len(z)
        limits = [(falls, np.zeros(len(falls)))] if len(falls) else []
        if moving:
            goal = goal - still[p]
            limits.append((-still[[p]], np.zeros(1)))
        if not limits:
            continue
        found = linprog(
            goal,
            A_ub=np.vstack([a for a, _ in limits]),
            b_ub=np.concatenate([b for _, b in limits]),
            bounds=(-1.0, 1.0),
        )
        if found.status == 0 and -found.fun > 1e-6 / len(z):
            return moving, np.asarray(problem.back @ (still @ found.x)[:p])
    return None


def null_space(rows: Floats, all_rows: Floats, share: float) -> Floats:
    """Return an orthonormal basis of what some rows do not see, shape (columns, dimension)."""
    _, values, right = np.linalg.svd(tall_qr(rows)[1], full_matrices=True)
    top = float(np.linalg.norm(all_rows, axis=1).max())
    return np.asarray(right[int((values > share * top).sum()) :].T)
