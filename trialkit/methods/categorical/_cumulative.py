"""The likelihood of cumulative link models, with effects common to the thresholds or not.

``P(Y <= k) = F(alpha_k - x'beta - z'gamma_k)``: ``beta`` are effects common to all thresholds
(proportional odds for the logit), ``gamma_k`` effects of their own at each threshold (partial
proportional odds). Positive effects mean higher categories. McCullagh P (1980), Regression
models for ordinal data, J R Stat Soc B 42:109; Peterson B, Harrell FE (1990), Partial
proportional odds models for ordinal response variables, Appl Stat 39:205.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trialkit.methods._design import tall_qr
from trialkit.methods.categorical._links import Link
from trialkit.methods.categorical._logistic import UNSOLVED, recedes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SEPARATED = "categories are separated by the model: no maximum-likelihood estimate exists"
#: Beyond this linear predictor the data are asked whether a maximum exists.
STEEP = 8.0
ROUNDS = 80
#: Newton's method stops when a step promises less than half of this in log-likelihood.
SETTLED = 1e-18


@dataclass(frozen=True)
class Cumulative:
    """A cumulative link model of given data.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Columns whose effect is common to the thresholds.
    z : ndarray, shape (n, q)
        Columns with an effect at each threshold.
    y : ndarray of int, shape (n,)
        Category, 0 to ``k``.
    weight : ndarray, shape (n,)
        Frequencies.
    k : int
        Number of thresholds.
    link : Link
    """

    x: Floats
    z: Floats
    y: Ints
    weight: Floats
    k: int
    link: Link
    ends: Floats = field(init=False, repr=False)
    open_ends: npt.NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay out the rows of the thresholds above each observation, then of those below."""
        object.__setattr__(self, "ends", np.vstack([self.rows(self.y), self.rows(self.y - 1)]))
        object.__setattr__(self, "open_ends", np.concatenate([self.y == self.k, self.y == 0]))

    @property
    def size(self) -> int:
        """Number of parameters: thresholds, common effects, effects by threshold."""
        return int(self.k * (1 + self.z.shape[1]) + self.x.shape[1])

    def rows(self, threshold: Ints) -> Floats:
        """Return the row of a threshold for each observation; zeros outside 0 to k - 1."""
        n, p, q = len(self.y), self.x.shape[1], self.z.shape[1]
        out = np.zeros((n, self.size))
        inside = np.flatnonzero((threshold >= 0) & (threshold < self.k))
        out[inside, threshold[inside]] = 1.0
        out[inside, self.k : self.k + p] = -self.x[inside]
        for column in range(q):
            at = self.k + p + threshold[inside] * q + column
            out[inside, at] = -self.z[inside, column]
        return out

    def start(self) -> Floats:
        """Return the parameters without effects: the observed cumulative shares."""
        total = np.bincount(self.y, weights=self.weight, minlength=self.k + 1)
        share = np.cumsum(total)[:-1] / total.sum()
        out = np.zeros(self.size)
        out[: self.k] = self.link.quantile(share)
        return out

    def _share(self, up: Floats, low: Floats) -> Floats:
        """Return F(up) - F(low), by upper tails where both are positive."""
        return np.where(
            low > 0.0,
            self.link.tail(low) - self.link.tail(up),
            self.link.cdf(up) - self.link.cdf(low),
        )

    def _probabilities(self, phi: Floats) -> tuple[Floats, Floats]:
        """Return the ends' linear predictors (0 where open) and each row's probability."""
        n = len(self.y)
        eta = self.ends @ phi
        up = np.where(self.open_ends[:n], np.inf, eta[:n])
        low = np.where(self.open_ends[n:], -np.inf, eta[n:])
        return eta, self._share(up, low)

    def loglik(self, phi: Floats) -> float:
        """Return the log-likelihood, minus infinity where thresholds cross."""
        share = self._probabilities(phi)[1]
        return float(self.weight @ np.log(share)) if share.min() > 0.0 else -math.inf

    def derivatives(self, phi: Floats) -> tuple[float, Floats, Floats]:
        """Return log-likelihood, score and observed information.

        Where thresholds cross the log-likelihood is minus infinity and the others are empty.
        """
        n = len(self.y)
        eta, share = self._probabilities(phi)
        if not share.min() > 0.0:
            return -math.inf, np.empty(0), np.empty((0, 0))
        w = self.weight
        per = np.concatenate([1.0 / share, -1.0 / share])
        first = np.where(self.open_ends, 0.0, self.link.density(eta) * per)
        second = np.where(self.open_ends, 0.0, self.link.slope(eta) * per)
        ww = np.concatenate([w, w])
        gradient = self.ends * first[:, None]
        each = gradient[:n] + gradient[n:]  # the score of each row
        information = each.T @ (w[:, None] * each) - self.ends.T @ (
            (ww * second)[:, None] * self.ends
        )
        return float(w @ np.log(share)), w @ each, information

    def predictors(self, phi: Floats) -> Floats:
        """Return the linear predictor of each threshold, shape (n, k)."""
        p, q = self.x.shape[1], self.z.shape[1]
        eta = phi[: self.k] - (self.x @ phi[self.k : self.k + p])[:, None]
        own = phi[self.k + p :].reshape(self.k, q)
        return np.asarray(eta - self.z @ own.T) if q else np.asarray(eta)

    def expected_information(self, phi: Floats) -> Floats:
        """Return the information averaged over the outcome, given the covariates."""
        n = len(self.y)
        eta = self.predictors(phi)
        ends = np.column_stack([np.full(n, -np.inf), eta, np.full(n, np.inf)])
        rows = [np.zeros((n, self.size))]
        rows += [
            self.link.density(eta[:, j])[:, None] * self.rows(np.full(n, j)) for j in range(self.k)
        ]
        rows.append(np.zeros((n, self.size)))
        out = np.zeros((self.size, self.size))
        for c in range(self.k + 1):
            share = self._share(ends[:, c + 1], ends[:, c])
            step = rows[c + 1] - rows[c]
            out += step.T @ ((self.weight / share)[:, None] * step)
        return out

    def separated(self) -> bool:
        """Tell whether the likelihood rises for ever in some direction.

        It does along d exactly when no upper end falls and no lower end rises, and one moves.
        """
        n = len(self.y)
        signed = np.vstack([self.ends[:n], -self.ends[n:]])
        return recedes(signed[~self.open_ends])


@dataclass(frozen=True)
class Fitted:
    """The maximum: parameters, inverse observed information, log-likelihood."""

    phi: Floats
    covariance: Floats
    loglik: float


def fit(model: Cumulative) -> Fitted | str:
    """Maximise the likelihood by Newton's method, or say why it cannot be.

    Columns are centred and made orthonormal (common ones) or scaled first, so that the
    numbers do not depend on units.
    """
    total = float(model.weight.sum())
    if total <= model.size:
        return f"{total:.0f} participants do not suffice for {model.size} coefficients"
    work, back = standardise(model)
    phi, loglik, gain = _newton(work)
    settled = gain < SETTLED
    steep = not settled or float(np.abs(work.predictors(phi)).max()) > STEEP
    if steep and work.separated():
        return SEPARATED
    if not settled:
        return UNSOLVED
    try:
        core = np.linalg.inv(work.derivatives(phi)[2])
    except np.linalg.LinAlgError:
        return UNSOLVED
    if not np.diagonal(core).min() > 0.0:
        return UNSOLVED
    return Fitted(back @ phi, back @ core @ back.T, loglik)


def supremum(model: Cumulative) -> tuple[float, bool] | None:
    """Return the least upper bound of the log-likelihood and whether it is a maximum.

    None when Newton's method does not settle.
    """
    work = standardise(model)[0]
    phi, loglik, gain = _newton(work)
    if not gain < 1e-8:
        return None
    steep = float(np.abs(work.predictors(phi)).max()) > STEEP
    return loglik, not (steep and work.separated())


def standardise(model: Cumulative) -> tuple[Cumulative, Floats]:
    """Return the model in centred, scaled columns, and the way back to its parameters."""
    w = model.weight / model.weight.sum()
    p, q, k = model.x.shape[1], model.z.shape[1], model.k
    x_mean, z_mean = w @ model.x, w @ model.z
    x, z = model.x - x_mean, model.z - z_mean
    scale = math.sqrt(len(model.y))
    r = tall_qr(x)[1] / scale if p else np.zeros((0, 0))
    inverse = np.linalg.inv(r) if p else r
    spread = np.sqrt(w @ z**2)
    work = Cumulative(x @ inverse, z / spread, model.y, model.weight, k, model.link)
    back = np.eye(model.size)
    back[k : k + p, k : k + p] = inverse
    back[:k, k : k + p] = x_mean @ inverse
    for j in range(k):
        at = k + p + j * q
        back[at : at + q, at : at + q] = np.diag(1.0 / spread)
        back[j, at : at + q] = z_mean / spread
    return work, back


def _newton(model: Cumulative) -> tuple[Floats, float, float]:
    """Return parameters, log-likelihood and what another step would gain (twice, about)."""
    phi = model.start()
    here = model.derivatives(phi)
    gain = math.inf
    for _ in range(ROUNDS):
        loglik, score, information = here
        step = _ascent(score, information)
        if step is None:
            return phi, loglik, math.inf
        gain = float(score @ step)
        size = 1.0
        here = model.derivatives(phi + step)
        while not here[0] >= loglik - 1e-12 * abs(loglik) and size > 1e-6:
            size /= 2.0
            here = model.derivatives(phi + size * step)
        if size <= 1e-6:
            return phi, loglik, 0.0 if gain < 1e-10 else gain
        phi = phi + size * step
        if gain < SETTLED:
            break
    return phi, here[0], gain


def _ascent(score: Floats, information: Floats) -> Floats | None:
    """Return Newton's step; where the surface is not concave, that of the mirrored curvature."""
    if not np.isfinite(information).all():
        return None
    try:
        np.linalg.cholesky(information)
        return np.asarray(np.linalg.solve(information, score), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(information)
        size = np.maximum(np.abs(values), 1e-13 * np.abs(values).max())
        return np.asarray(vectors @ ((vectors.T @ score) / size), dtype=np.float64)
