r"""Maximum likelihood of log-linear count models by Newton's method, with analytic derivatives.

The negative binomial is NB2 with dispersion k (Lawless 1987, Can J Stat 15:209):

.. math:: \ell_i = \sum_{j<y_i} \log(1 + k j) + y_i \log\mu_i - (y_i + 1/k)\log(1 + k\mu_i)
          - \log y_i!

Written with the sum over j instead of gamma functions the likelihood and its derivatives stay
exact down to k = 0, the Poisson model. The search runs on an orthonormal basis of the model
matrix and on log k, so that it does not depend on the units of a covariate or of exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from trialkit.methods._design import tall_qr

Floats = npt.NDArray[np.float64]

#: A Newton decrement, in units of the log-likelihood, after which one more step is the last.
CLOSE = 1e-16
STEPS = 200
UNBOUNDED = "the dispersion grows without bound"
STRAYED = "the likelihood could not be maximised"


@dataclass(frozen=True)
class Maximum:
    """A maximum of the likelihood.

    Parameters
    ----------
    beta : ndarray, shape (p,)
    dispersion : float
        0 for the Poisson model.
    mu : ndarray, shape (n,)
        Fitted counts.
    information : ndarray, shape (q, q)
        Observed information of the coefficients, and of the dispersion where it is estimated.
    expected : ndarray, shape (p, p)
        Expected information of the coefficients at the fitted dispersion.
    scores : ndarray, shape (n, q)
        Each row's contribution to the score.
    loglik : float
    """

    beta: Floats
    dispersion: float
    mu: Floats
    information: Floats
    expected: Floats
    scores: Floats
    loglik: float


def poisson_maximum(x: Floats, y: Floats, offset: Floats) -> Maximum | str:
    """Maximise the Poisson likelihood, or say why it cannot be done.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        Counts, not all zero.
    offset : ndarray, shape (n,)
        Log of the exposure.
    """
    q, r = tall_qr(x)
    found = _poisson_search(q, y, offset)
    if found is None:
        return STRAYED
    mu = np.exp(q @ found + offset)
    information = (x * mu[:, None]).T @ x
    return Maximum(
        beta=np.asarray(linalg.solve_triangular(r, found), dtype=np.float64),
        dispersion=0.0,
        mu=mu,
        information=information,
        expected=information,
        scores=x * (y - mu)[:, None],
        loglik=poisson_loglik(y, mu),
    )


def poisson_loglik(y: Floats, mu: Floats) -> float:
    """Return the Poisson log-likelihood with its constant."""
    return float((special.xlogy(y, mu) - mu - special.gammaln(y + 1.0)).sum())


def _poisson_search(q: Floats, y: Floats, offset: Floats) -> Floats | None:
    crude = np.exp(offset) * (y.sum() / np.exp(offset).sum())
    mid = 0.5 * (y + crude)
    root = np.sqrt(mid)
    target = np.log(mid) - offset + (y - mid) / mid
    at = np.linalg.lstsq(q * root[:, None], target * root, rcond=None)[0]
    eta = q @ at + offset
    value = _poisson_value(y, eta)
    for _ in range(STEPS):
        mu = np.exp(eta)
        step = _solve((q * mu[:, None]).T @ q, q.T @ (y - mu))
        if step is None:
            return None
        gain = float(step @ (q.T @ (y - mu)))
        if not gain >= 0.0:
            return None
        if gain < CLOSE:
            return np.asarray(at + step, dtype=np.float64)
        for share in 0.5 ** np.arange(30):
            moved = q @ (at + share * step) + offset
            new = _poisson_value(y, moved)
            if new >= value or gain < 1e-9:
                break
        else:
            return None
        at, eta, value = at + share * step, moved, new
    return None


def _poisson_value(y: Floats, eta: Floats) -> float:
    with np.errstate(over="ignore"):
        return float(y @ eta - np.exp(eta).sum())


def _solve(matrix: Floats, vector: Floats) -> Floats | None:
    """Solve with a positive definite matrix; None if it is not one."""
    if not np.isfinite(matrix).all():
        return None
    try:
        factor = linalg.cho_factor(matrix, check_finite=False)
    except linalg.LinAlgError:
        return None
    return np.asarray(linalg.cho_solve(factor, vector, check_finite=False), dtype=np.float64)


class _Counts:
    """The counts tabulated: ``above[j]`` counts rows with ``y > j``."""

    def __init__(self, y: Floats) -> None:
        self.y = y
        whole = y.astype(np.intp)
        tally = np.bincount(whole)
        self.whole = whole
        self.above = (len(y) - np.cumsum(tally))[:-1].astype(np.float64)
        self.j = np.arange(len(self.above), dtype=np.float64)
        self.constant = float(special.gammaln(y + 1.0).sum())


def excess(z: Floats) -> tuple[Floats, Floats]:
    """Return ``g(z) = (log(1+z) - z/(1+z)) / z^2`` and its derivative, exact near zero."""
    small = z < 0.03
    safe = np.where(small, 1.0, z)
    g = (np.log1p(safe) - safe / (1.0 + safe)) / safe**2
    slope = (1.0 / (1.0 + safe) ** 2 - 2.0 * g) / safe
    if small.any():
        near = np.where(small, z, 0.0)
        order = np.arange(2, 16)
        weight = np.where(order % 2 == 0, 1.0, -1.0) * (order - 1.0) / order
        g = np.where(small, np.polynomial.polynomial.polyval(near, weight), g)
        steep = weight[1:] * (order[1:] - 2.0)
        slope = np.where(small, np.polynomial.polynomial.polyval(near, steep), slope)
    return g, slope


def negative_binomial_maximum(
    x: Floats, y: Floats, offset: Floats, poisson: Maximum
) -> Maximum | str:
    """Maximise the joint likelihood of coefficients and dispersion from the Poisson fit.

    The caller has seen that the likelihood rises from dispersion 0.
    """
    q, r = tall_qr(x)
    counts = _Counts(y)
    mu = poisson.mu
    start = max(float(((y - mu) ** 2 - y).sum() / (mu**2).sum()), 1e-3)
    found = _search(q, counts, offset, np.append(r @ poisson.beta, np.log(start)))
    if isinstance(found, str):
        return found
    k = float(np.exp(found[-1]))
    mu = np.exp(q @ found[:-1] + offset)
    loglik = _value(counts, mu, k) - counts.constant
    if not loglik >= poisson.loglik - 1e-9 * abs(poisson.loglik):
        return STRAYED
    part = _derivatives(counts, mu, k)
    p = x.shape[1]
    information = np.empty((p + 1, p + 1))
    information[:p, :p] = (x * part.weight[:, None]).T @ x
    information[:p, p] = information[p, :p] = x.T @ part.cross
    information[p, p] = -part.curvature
    ahead = np.append(0.0, np.cumsum(counts.j / (1.0 + k * counts.j)))
    scores = np.column_stack([x * part.residual[:, None], ahead[counts.whole] + part.rows])
    return Maximum(
        beta=np.asarray(linalg.solve_triangular(r, found[:-1]), dtype=np.float64),
        dispersion=k,
        mu=mu,
        information=information,
        expected=(x * (mu / (1.0 + k * mu))[:, None]).T @ x,
        scores=scores,
        loglik=loglik,
    )


@dataclass(frozen=True)
class _Parts:
    """Derivatives in the linear predictor (by row) and in k."""

    residual: Floats
    weight: Floats
    cross: Floats
    slope: float
    curvature: float
    rows: Floats


def _derivatives(counts: _Counts, mu: Floats, k: float) -> _Parts:
    y = counts.y
    room = 1.0 + k * mu
    g, bend = excess(k * mu)
    steps = counts.j / (1.0 + k * counts.j)
    rows = mu**2 * g - y * mu / room
    return _Parts(
        residual=(y - mu) / room,
        weight=mu * (1.0 + k * y) / room**2,
        cross=(y - mu) * mu / room**2,
        slope=float(counts.above @ steps + rows.sum()),
        curvature=float(-(counts.above @ steps**2) + (mu**3 * bend + y * (mu / room) ** 2).sum()),
        rows=rows,
    )


def _value(counts: _Counts, mu: Floats, k: float) -> float:
    """Return the log-likelihood without the factorials."""
    lead = float(counts.above @ np.log1p(k * counts.j))
    spread = np.log1p(k * mu)
    tail = special.xlogy(counts.y, mu) - counts.y * spread - spread / k
    return lead + float(tail.sum())


def _search(q: Floats, counts: _Counts, offset: Floats, at: Floats) -> Floats | str:
    """Climb in the basis' coefficients and log k; return where it ends, or why it does not."""
    p = q.shape[1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value = _value(counts, np.exp(q @ at[:-1] + offset), float(np.exp(at[-1])))
        for _ in range(STEPS):
            k = float(np.exp(at[-1]))
            if k > 1e12:
                return UNBOUNDED
            mu = np.exp(q @ at[:-1] + offset)
            part = _derivatives(counts, mu, k)
            score = np.append(q.T @ part.residual, k * part.slope)
            matrix = np.empty((p + 1, p + 1))
            matrix[:p, :p] = (q * part.weight[:, None]).T @ q
            matrix[:p, p] = matrix[p, :p] = k * (q.T @ part.cross)
            matrix[p, p] = -(k * k * part.curvature + k * part.slope)
            step = _solve(matrix, score)
            newton = step is not None
            if step is None:  # not concave here: expected information, one parameter at a time
                matrix[:p, :p] = (q * (mu / (1.0 + k * mu))[:, None]).T @ q
                matrix[:p, p] = matrix[p, :p] = 0.0
                matrix[p, p] = max(abs(matrix[p, p]), abs(score[p]))
                step = _solve(matrix, score)
                if step is None:
                    return STRAYED
            gain = float(step @ score)
            if newton and 0.0 <= gain < CLOSE:
                return np.asarray(at + step, dtype=np.float64)
            step[p] = np.clip(step[p], -2.0, 2.0)
            for share in 0.5 ** np.arange(30):
                new = at + share * step
                moved = _value(counts, np.exp(q @ new[:-1] + offset), float(np.exp(new[-1])))
                if moved >= value or (newton and gain < 1e-9):
                    break
            else:
                return STRAYED
            at, value = new, moved
    return STRAYED
