"""The logistic likelihood: maximum, separation, and the sandwich covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.methods._design import tall_qr

Floats = npt.NDArray[np.float64]

SEPARATION = "complete or quasi-complete separation: no maximum-likelihood estimate exists"
UNSOLVED = "the likelihood could not be maximised"
#: Beyond this linear predictor (risk 0.03 %) the data are asked whether a maximum exists.
STEEP = 8.0
ROUNDS = 60


@dataclass(frozen=True)
class Maximum:
    """Coefficients at the maximum, the inverse information and the log-likelihood."""

    beta: Floats
    covariance: Floats
    loglik: float


def maximise(x: Floats, y: Floats) -> Maximum | str:
    """Maximise the logistic likelihood by Newton's method, or say why it cannot be.

    The columns are made orthonormal first, so that the numbers do not depend on units.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        0 and 1.
    """
    n, p = x.shape
    if not n or y.min() == y.max():
        return f"every participant has the response {int(y[0])}" if n else "there are no rows"
    if n <= p:
        return f"{n} rows do not suffice for {p} coefficients"
    q, r = tall_qr(x)
    gamma, loglik, settled = _newton(q, y)
    steep = not settled or float(np.abs(q @ gamma).max()) > STEEP
    if steep and separated(x, y):
        return SEPARATION
    if not settled:
        return UNSOLVED
    risk = special.expit(q @ gamma)
    try:
        core = np.linalg.inv((q * (risk * (1.0 - risk))[:, None]).T @ q)
        back = np.linalg.inv(r)
    except np.linalg.LinAlgError:
        return UNSOLVED
    return Maximum(back @ gamma, back @ core @ back.T, loglik)


def _newton(q: Floats, y: Floats) -> tuple[Floats, float, bool]:
    """Return coefficients, log-likelihood and whether the steps settled."""
    gamma = np.zeros(q.shape[1])
    loglik = log_likelihood(q @ gamma, y)
    for _ in range(ROUNDS):
        risk = special.expit(q @ gamma)
        score = q.T @ (y - risk)
        try:
            step = np.linalg.solve((q * (risk * (1.0 - risk))[:, None]).T @ q, score)
        except np.linalg.LinAlgError:
            return gamma, loglik, False
        gain = float(score @ step)
        if not gain >= 0.0:
            return gamma, loglik, False
        size = 1.0
        found = log_likelihood(q @ (gamma + step), y)
        while found < loglik - 1e-12 * abs(loglik) and size > 1e-6:
            size /= 2.0
            found = log_likelihood(q @ (gamma + size * step), y)
        gamma, loglik = gamma + size * step, found
        if gain < 1e-18:
            return gamma, loglik, True
    return gamma, loglik, False


def log_likelihood(eta: Floats, y: Floats) -> float:
    """Return the Bernoulli log-likelihood of linear predictors, shape (n,)."""
    return -float(np.logaddexp(0.0, np.where(y > 0.5, -eta, eta)).sum())


def separated(x: Floats, y: Floats) -> bool:
    """Tell whether a hyperplane separates the outcomes, completely or nearly.

    A direction b with ``(2y - 1) x'b >= 0`` in all rows and ``> 0`` in one exists exactly when
    no maximum does; found by linear programming (Konis K, 2007, thesis, Oxford).
    """
    return recedes((2.0 * y - 1.0)[:, None] * x)


def recedes(rows: Floats) -> bool:
    """Tell whether a direction b has ``rows @ b >= 0`` everywhere and ``> 0`` somewhere."""
    from scipy.optimize import linprog

    scaled = rows / np.maximum(np.abs(rows).max(axis=0), 1e-300)
    scaled = np.unique(scaled, axis=0)
    found = linprog(
        -scaled.sum(axis=0),
        A_ub=-scaled,
        b_ub=np.zeros(len(scaled)),
        bounds=(-1.0, 1.0),
        method="highs",
    )
    return bool(found.status == 0 and -found.fun > 1e-6)


def sandwich(x: Floats, y: Floats, fitted: Maximum, kind: str) -> Floats:
    """Return the heteroscedasticity-consistent covariance ``hc0``, ``hc1`` or ``hc3``.

    The score of a row is ``x (y - p)``; HC1 multiplies the covariance by ``n / (n - k)``, HC3
    divides the residual by ``1 - h`` with the leverage ``h`` of the weighted regression
    (MacKinnon and White 1985; Zeileis A 2006, J Stat Softw 16(9), for generalised linear
    models).
    """
    risk = special.expit(x @ fitted.beta)
    residual = y - risk
    if kind == "hc3":
        weight = risk * (1.0 - risk)
        leverage = weight * np.einsum("ij,jk,ik->i", x, fitted.covariance, x)
        residual = residual / (1.0 - leverage)
    meat = (x * residual[:, None] ** 2).T @ x
    scale = len(y) / (len(y) - x.shape[1]) if kind == "hc1" else 1.0
    return np.asarray(scale * fitted.covariance @ meat @ fitted.covariance)
