"""Firth's penalised logistic likelihood, with profile intervals.

The log-likelihood plus half the log determinant of the information (Jeffreys' prior) has a
maximum also for separated outcomes: Firth D (1993), Bias reduction of maximum likelihood
estimates, Biometrika 80:27; Heinze G, Schemper M (2002), A solution to the problem of
separation in logistic regression, Stat Med 21:2409, who give intervals and tests by the
penalised likelihood profile. The penalty of a profile is that of the whole model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.methods._design import tall_qr
from trialkit.methods.categorical._logistic import UNSOLVED, Maximum, log_likelihood

Floats = npt.NDArray[np.float64]
ROUNDS = 100


@dataclass(frozen=True)
class Penalised:
    """The penalised log-likelihood of one model.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Columns of full rank, best orthonormal.
    y : ndarray, shape (n,)
        0 and 1.
    """

    x: Floats
    y: Floats

    def value(self, beta: Floats) -> float:
        """Return the penalised log-likelihood, minus infinity where it is not defined."""
        eta = self.x @ beta
        risk = special.expit(eta)
        sign, size = np.linalg.slogdet((self.x * (risk * (1.0 - risk))[:, None]).T @ self.x)
        if sign <= 0.0:
            return -math.inf
        return log_likelihood(eta, self.y) + 0.5 * float(size)

    def score(self, beta: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the modified score, the information, and minus the score's derivative.

        With ``w = p(1 - p)``, ``t = 1 - 2p``, leverages ``h`` and ``q_ij = x_i'I^-1 x_j`` the
        derivative is ``X' diag(w (1 + h) - t^2 h / 2) X + X' [t_i w_i q_ij^2 w_j t_j] X / 2``;
        the double sum goes through third moments of the rows.
        """
        x = self.x
        risk = special.expit(x @ beta)
        weight, tilt = risk * (1.0 - risk), 1.0 - 2.0 * risk
        information = (x * weight[:, None]).T @ x
        inverse = np.linalg.inv(information)
        half = x @ inverse
        leverage = weight * np.einsum("ij,ij->i", half, x)
        score = x.T @ (self.y - risk + leverage * (0.5 - risk))
        inner = weight * (1.0 + leverage) - 0.5 * tilt**2 * leverage
        third = np.einsum("i,ia,ib,ic->abc", tilt * weight, x, x, x, optimize=True)
        moved = np.einsum("abc,bd,ce->ade", third, inverse, inverse, optimize=True)
        double = np.einsum("ade,fde->af", moved, third)
        return score, information, (x * inner[:, None]).T @ x + 0.5 * double

    def climb(self, beta: Floats, free: Floats) -> tuple[Floats, float] | None:
        """Maximise over ``beta + free @ gamma``; None when the steps do not settle.

        Parameters
        ----------
        beta : ndarray, shape (p,)
            Start; what ``free`` does not span stays.
        free : ndarray, shape (p, k)
            Directions.
        """
        value = self.value(beta)
        if not free.shape[1]:
            return beta, value
        for _ in range(ROUNDS):
            try:
                score, information, curve = self.score(beta)
                slope = free.T @ score
                step = _step(free.T @ curve @ free, free.T @ information @ free, slope)
            except np.linalg.LinAlgError:
                return None
            gain = float(slope @ step)
            if not np.isfinite(gain):
                return None
            if gain < 1e-18:
                return beta, value
            move = free @ step
            size = min(1.0, 5.0 / max(float(np.abs(self.x @ move).max()), 1e-300))
            found = self.value(beta + size * move)
            while found < value - 1e-13 * abs(value) and size > 1e-8:
                size /= 2.0
                found = self.value(beta + size * move)
            if size <= 1e-8:
                return (beta, value) if gain < 1e-10 else None
            beta, value = beta + size * move, found
        return None


def _step(curve: Floats, information: Floats, slope: Floats) -> Floats:
    """Return Newton's step where the surface is concave, else that of Fisher's scoring."""
    try:
        np.linalg.cholesky(curve)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.solve(information, slope), dtype=np.float64)
    return np.asarray(np.linalg.solve(curve, slope), dtype=np.float64)


@dataclass(frozen=True)
class FirthFit:
    """A maximum of the penalised likelihood, ready for profiles.

    Parameters
    ----------
    likelihood : Penalised
        In orthonormal columns.
    gamma : ndarray, shape (p,)
        The maximum in those columns.
    back : ndarray, shape (p, p)
        From them to the coefficients of the model.
    top : float
        The penalised log-likelihood there.
    """

    likelihood: Penalised
    gamma: Floats
    back: Floats
    top: float

    @property
    def maximum(self) -> Maximum:
        """The coefficients with inverse information and log-likelihood, both unpenalised."""
        information = self.likelihood.score(self.gamma)[1]
        covariance = self.back @ np.linalg.inv(information) @ self.back.T
        loglik = log_likelihood(self.likelihood.x @ self.gamma, self.likelihood.y)
        return Maximum(self.back @ self.gamma, covariance, loglik)

    def profile(self, row: Floats, level: float) -> tuple[float, float, float]:
        """Return the signed root of the penalised likelihood ratio against zero, and limits.

        Parameters
        ----------
        row : ndarray, shape (p,)
            The linear function of the coefficients.
        level : float
            Coverage.
        """
        way = self.back.T @ row
        size = float(way @ way)
        unit = way / size
        # directions that leave the function as it is
        basis = np.linalg.svd(way.reshape(1, -1))[2]
        free = basis[1:].T
        estimate = float(way @ self.gamma)
        se = math.sqrt(max(float(row @ self.maximum.covariance @ row), 0.0))
        start = self.gamma - unit * estimate

        def root(value: float) -> float:
            nonlocal start
            done = self.likelihood.climb(start + unit * (value - float(way @ start)), free)
            if done is None:
                return math.nan
            start = done[0]
            gap = math.sqrt(max(2.0 * (self.top - done[1]), 0.0))
            return math.copysign(gap, estimate - value)

        quantile = float(special.ndtri(0.5 + level / 2.0))
        start = self.gamma
        statistic = root(0.0)
        limits = []
        for target in (quantile, -quantile):
            start = self.gamma
            limits.append(_solve(root, estimate, se, target))
        return statistic, limits[0], limits[1]


def _solve(root: object, estimate: float, se: float, target: float) -> float:
    """Find where a decreasing signed root equals ``target`` by the secant within a bracket."""
    assert callable(root)
    near, near_value = estimate, 0.0
    far = estimate - target * se
    for _ in range(60):
        far_value = root(far)
        if not math.isfinite(far_value):
            return math.nan
        if (far_value - target) * math.copysign(1.0, target) >= 0.0:
            break
        near, near_value = far, far_value
        far = estimate + (far - estimate) * 1.6
    else:
        return math.copysign(math.inf, -target)
    a, fa, b, fb = near, near_value - target, far, far_value - target
    for _ in range(100):
        if abs(b - a) <= 1e-11 * (abs(a) + abs(b) + se) or fb == 0.0:
            break
        middle = b - fb * (b - a) / (fb - fa)
        value = root(middle) - target
        if not math.isfinite(value):
            return math.nan
        if value * fb < 0.0:
            a, fa = b, fb
        else:
            fa /= 2.0  # Illinois: no end stays for ever
        b, fb = middle, value
    return b


def fit_firth(x: Floats, y: Floats) -> FirthFit | str:
    """Maximise the penalised likelihood, or say why it cannot be.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        0 and 1.
    """
    if y.min() == y.max():
        return f"every participant has the response {int(y[0])}"
    n, p = x.shape
    if n <= p:
        return f"{n} rows do not suffice for {p} coefficients"
    q, r = tall_qr(x)
    likelihood = Penalised(q, y)
    done = likelihood.climb(np.zeros(p), np.eye(p))
    if done is None:
        return UNSOLVED
    back: Floats = np.asarray(np.linalg.inv(r), dtype=np.float64)
    return FirthFit(likelihood, done[0], back, done[1])
