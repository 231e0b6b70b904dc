r"""Gaussian likelihood of repeated measures with analytic gradient and Hessian.

With :math:`P = V^{-1} - V^{-1}X(X'V^{-1}X)^{-1}X'V^{-1}` and :math:`D_i = \partial V /
\partial\theta_i`, minus twice the restricted log-likelihood and its derivatives are
(Harville 1977, J Am Stat Assoc 72:320; Lindstrom and Bates 1988, J Am Stat Assoc 83:1014)

.. math::

   f &= (N - p)\log 2\pi + \log|V| + \log|X'V^{-1}X| + y'Py \\
   f_i &= \mathrm{tr}(P D_i) - y'P D_i P y \\
   f_{ij} &= -\mathrm{tr}(P D_i P D_j) + 2\,y'P D_i P D_j P y

for covariances that are linear in :math:`\theta`, as the elements of an unstructured matrix
are. For maximum likelihood the terms from :math:`\log|X'V^{-1}X|` are left out. Everything is
a contraction of the sums of :mod:`trialkit.methods.repeated.patterns`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.patterns import Patterns, pack, unpack

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

MAX_ITERATIONS = 100
#: Newton decrement (in units of -2 log-likelihood) below which one last full step is taken.
DECREMENT = 1e-9
#: Smallest eigenvalue of a fitted correlation matrix that is still called regular.
SINGULAR = 1e-7
#: The same where the optimiser stopped on its way: the maximum lies on the boundary.
BOUNDARY = 1e-3


@dataclass(frozen=True)
class Point:
    """The likelihood at one covariance, in the reduced coordinates of the patterns.

    Parameters
    ----------
    sigma : ndarray, shape (G, m, m)
        Covariance of each group.
    value : float
        -2 log-likelihood without its constant.
    inverse : ndarray, shape (K, m, m)
        Inverse covariance of each pattern, zero at unobserved visits.
    a : ndarray, shape (p, p)
        :math:`(X'V^{-1}X)^{-1}`.
    w : ndarray, shape (p + 1,)
        Residual as a combination of ``z``: minus the coefficients, then 1.
    """

    sigma: Floats
    value: float
    inverse: Floats
    a: Floats
    w: Floats


@dataclass(frozen=True)
class Optimum:
    """A fit in reduced coordinates.

    Parameters
    ----------
    point : Point
        The likelihood at the estimate.
    gradient : ndarray, shape (t,)
    hessian : ndarray, shape (t, t)
        Of -2 log-likelihood in the elements of sigma.
    b : ndarray, shape (t, p, p)
        :math:`X'V^{-1}D_iV^{-1}X`.
    iterations : int
    failed : str or None
        Why there is no estimate.
    """

    point: Point
    gradient: Floats
    hessian: Floats
    b: Floats
    iterations: int
    failed: str | None


class UsLikelihood:
    """Likelihood with an unstructured covariance, one a group.

    Parameters
    ----------
    patterns : Patterns
        Sufficient statistics.
    reml : bool
        Restricted likelihood, else full likelihood.
    """

    def __init__(self, patterns: Patterns, reml: bool) -> None:
        self.patterns = patterns
        self.reml = reml
        m = patterns.n_visits
        self.c, self.d = np.triu_indices(m)
        self.per_group = len(self.c)
        self.n_parameters = self.per_group * patterns.n_groups
        self.entries = [
            np.flatnonzero(patterns.group[patterns.entry[0]] == g) for g in range(patterns.n_groups)
        ]
        spread = np.zeros((m * m, self.per_group))
        index = np.arange(self.per_group)
        spread[self.c * m + self.d, index] = 1.0
        spread[self.d * m + self.c, index] = 1.0
        self.spread = spread  # vec(Sigma) = spread @ theta

    def point(self, sigma: Floats) -> Point | None:
        """Evaluate at ``sigma``; None where it is not positive definite."""
        data = self.patterns
        q = data.p + 1
        try:
            np.linalg.cholesky(sigma)
            inverse, logdet = pattern_inverses(data, sigma)
            k, a, b = data.entry
            moments = unpack(inverse[k, a, b] @ data.sums, q)
            factor = np.linalg.cholesky(moments[:-1, :-1])
        except np.linalg.LinAlgError:
            return None
        half = np.linalg.inv(factor)
        inner = half.T @ half
        beta = inner @ moments[:-1, -1]
        w = np.append(-beta, 1.0)
        value = float(data.counts @ logdet + w @ moments @ w)
        if self.reml:
            value += float(2.0 * np.log(np.diagonal(factor)).sum())
        return Point(sigma, value, inverse, inner, w) if np.isfinite(value) else None

    def derivatives(self, at: Point) -> tuple[Floats, Floats, Floats, Floats]:
        """Return gradient, Hessian, expected Hessian and the ``b`` matrices at a point."""
        data, q = self.patterns, self.patterns.p + 1
        k, ea, eb = data.entry
        cross = np.concatenate([self.cross(at, g) for g in range(data.n_groups)])
        cross = unpack(cross, q)
        b = cross[:, :-1, :-1]
        toward = cross @ at.w  # Z'V^-1 D_i V^-1 r
        ab = at.a @ b
        # per pattern and pair of visits: residual products and x_a' A x_b
        weight = np.outer(at.w, at.w)
        if self.reml:
            weight[:-1, :-1] += at.a
        pair = data.sums @ pack(weight)
        pair *= np.where(ea == eb, 1.0, 0.5)
        squares = np.zeros_like(at.inverse)
        squares[k, ea, eb] = pair
        squares[k, eb, ea] = pair
        load = at.inverse @ squares @ at.inverse
        weighted = data.counts[:, None, None] * at.inverse
        gradient = np.concatenate([self.linear(weighted - load, g) for g in range(data.n_groups)])
        hessian = self.quadratic(at.inverse, 2.0 * load - weighted)
        expected = self.quadratic(at.inverse, weighted)
        side = toward[:, :-1]
        hessian -= 2.0 * side @ at.a @ side.T
        if self.reml:
            t = len(ab)
            hessian -= ab.reshape(t, -1) @ ab.transpose(0, 2, 1).reshape(t, -1).T
        return gradient, 0.5 * (hessian + hessian.T), expected, b

    def cross(self, at: Point, g: int) -> Floats:
        """Return ``Z'V^-1 D_i V^-1 Z`` for the parameters of one group, packed."""
        mine = self.entries[g]
        k, a, b = self.patterns.entry[:, mine]
        left, right = at.inverse[k, a], at.inverse[k, b]
        loads = left[:, self.c] * right[:, self.d]
        off = self.c != self.d
        loads[:, off] += left[:, self.d[off]] * right[:, self.c[off]]
        return np.asarray(loads.T @ self.patterns.sums[mine])

    def linear(self, matrices: Floats, g: int) -> Floats:
        """Return ``sum_k tr(D_i F_k)`` over the patterns of a group, shape (t,)."""
        total = matrices[self.patterns.group == g].sum(axis=0)
        return np.asarray(total.ravel() @ self.spread)

    def quadratic(self, f: Floats, g: Floats) -> Floats:
        """Return ``sum_k tr(D_i F_k D_j G_k)``, block diagonal over the groups."""
        m, t = self.patterns.n_visits, self.per_group
        out = np.zeros((self.n_parameters, self.n_parameters))
        for index in range(self.patterns.n_groups):
            mine = self.patterns.group == index
            left, right = f[mine].reshape(-1, m * m), g[mine].reshape(-1, m * m)
            # tr(E_ab F E_cd G) = F_bc G_da
            full = (left.T @ right).reshape(m, m, m, m).transpose(3, 0, 1, 2).reshape(m * m, m * m)
            block = self.spread.T @ full @ self.spread
            at = slice(index * t, (index + 1) * t)
            out[at, at] = 0.5 * (block + block.T)
        return out

    def matrices(self, theta: Floats) -> Floats:
        """Return parameters as symmetric matrices, shape (G, m, m)."""
        m = self.patterns.n_visits
        return (theta.reshape(self.patterns.n_groups, -1) @ self.spread.T).reshape(-1, m, m)


def pattern_inverses(data: Patterns, sigma: Floats) -> tuple[Floats, Floats]:
    """Return the inverse covariance of each pattern, zero padded, and its log-determinant."""
    mask = data.observed[:, :, None] & data.observed[:, None, :]
    eye = np.eye(data.n_visits)
    v = np.where(mask, sigma[data.group], eye)
    inverse = np.where(mask, np.linalg.inv(v), 0.0)
    return 0.5 * (inverse + inverse.transpose(0, 2, 1)), np.linalg.slogdet(v)[1]


def maximise(likelihood: UsLikelihood) -> Optimum:
    """Find the covariance by Newton's method from the residuals of least squares.

    It starts at their products by available pairs, where these make a covariance that is
    more likely than the variances alone.

    A step uses the Hessian where it is positive definite, else the expected one (Fisher
    scoring), and is halved until the likelihood rises inside the positive definite cone.
    """
    at = start(likelihood)
    if at is None:
        return nothing(likelihood, "the model cannot be evaluated at its starting values")
    last = False
    for iteration in range(1, MAX_ITERATIONS + 1):
        gradient, hessian, expected, b = likelihood.derivatives(at)
        step = newton_step(likelihood, at, gradient, hessian)
        sure = step is not None
        if step is None:
            step = newton_step(likelihood, at, gradient, expected)
        if step is None:
            return stuck(likelihood, at, "the information matrix is singular")
        decrement = float(-(gradient @ step))
        if last or (sure and decrement < 1e-20):
            reason = verdict(at.sigma, sure, decrement)
            return Optimum(at, gradient, hessian, b, iteration, reason)
        moved = search(likelihood, at, step, decrement)
        if moved is None:
            if sure and decrement < 1e-6:  # rounding stops the search at the optimum
                return Optimum(at, gradient, hessian, b, iteration, verdict(at.sigma, sure, 0.0))
            return stuck(likelihood, at, "no step improves the likelihood")
        at = moved
        last = sure and decrement < DECREMENT
    return stuck(likelihood, at, f"no convergence in {MAX_ITERATIONS} iterations")


def start(likelihood: UsLikelihood) -> Point | None:
    """Evaluate where Newton's method begins; None if it cannot be evaluated."""
    products = likelihood.patterns.residual_covariance()
    variances = np.maximum(np.diagonal(products, axis1=1, axis2=2), 1e-8)
    alone = variances[:, :, None] * np.eye(products.shape[1])
    found = likelihood.point(alone)
    near = likelihood.point(products)
    better = near is not None and (found is None or near.value < found.value)
    return near if better else found


def newton_step(
    likelihood: UsLikelihood, at: Point, gradient: Floats, hessian: Floats
) -> Floats | None:
    """Solve for the step in parameters scaled by the current variances; None if not convex."""
    size = np.sqrt(np.diagonal(at.sigma, axis1=1, axis2=2))
    scale = (size[:, likelihood.c] * size[:, likelihood.d]).ravel()
    scaled = hessian * scale[:, None] * scale
    try:
        diagonal = np.diagonal(np.linalg.cholesky(scaled))
    except np.linalg.LinAlgError:
        return None
    if not diagonal.min() >= 1e-7 * diagonal.max():
        return None
    return np.asarray(-scale * np.linalg.solve(scaled, scale * gradient))


def search(likelihood: UsLikelihood, at: Point, step: Floats, decrement: float) -> Point | None:
    """Halve the step until the likelihood improves."""
    move = likelihood.matrices(step)
    slack = 1e-12 * max(1.0, abs(at.value)) if decrement < DECREMENT else 0.0
    size = 1.0
    for _ in range(40):
        new = likelihood.point(at.sigma + size * move)
        if new is not None and new.value <= at.value - 1e-4 * size * decrement + slack:
            return new
        size *= 0.5
    return None


def verdict(sigma: Floats, regular: bool, decrement: float) -> str | None:
    """Say why an end point is no estimate, or None."""
    if not regular:
        return "the observed information is not positive definite at the end point"
    if decrement > 1e-6:
        return "the gradient did not vanish"
    return "the covariance matrix is singular" if conditioning(sigma) < SINGULAR else None


def conditioning(sigma: Floats) -> float:
    """Return the smallest eigenvalue of the correlation matrices."""
    size = np.sqrt(np.diagonal(sigma, axis1=1, axis2=2))
    return float(np.linalg.eigvalsh(sigma / (size[:, :, None] * size[:, None, :])).min())


def stuck(likelihood: UsLikelihood, at: Point, reason: str) -> Optimum:
    """Return a failed optimum, naming a covariance that runs into the boundary as such."""
    if conditioning(at.sigma) < BOUNDARY:
        reason = (
            "the likelihood grows towards a singular covariance matrix "
            "(too few subjects seen at several visits, or visits that repeat each other)"
        )
    return nothing(likelihood, reason)


def nothing(likelihood: UsLikelihood, reason: str) -> Optimum:
    """Return a failed optimum."""
    p, t = likelihood.patterns.p, likelihood.n_parameters
    m, g = likelihood.patterns.n_visits, likelihood.patterns.n_groups
    point = Point(
        np.full((g, m, m), np.nan), np.nan, np.empty((0, m, m)), np.empty((p, p)), np.empty(p + 1)
    )
    return Optimum(point, np.empty(t), np.empty((t, t)), np.empty((t, p, p)), 0, reason)
