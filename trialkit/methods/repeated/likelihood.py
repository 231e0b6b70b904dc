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

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.patterns import Patterns, pack, unpack

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

NONE = np.empty(0)


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
    theta : ndarray, shape (t,)
        Parameters of a structured covariance; empty for an unstructured one.
    """

    sigma: Floats
    value: float
    inverse: Floats
    a: Floats
    w: Floats
    theta: Floats = field(default_factory=lambda: NONE)


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


class Likelihood(Protocol):
    """What the optimiser and the inference need of a covariance structure."""

    patterns: Patterns
    reml: bool
    n_parameters: int
    n_groups: int

    def start(self) -> Point | None:
        """Evaluate where Newton's method begins; None if it cannot be evaluated."""
        ...

    def derivatives(self, at: Point) -> tuple[Floats, Floats, Floats, Floats]:
        """Return gradient, Hessian, expected Hessian and the ``b`` matrices at a point."""
        ...

    def scale(self, at: Point) -> Floats:
        """Return the size of each parameter at a point, shape (t,)."""
        ...

    def moved(self, at: Point, step: Floats) -> Point | None:
        """Evaluate at a step from a point; None outside the positive definite cone."""
        ...

    def conditioning(self, at: Point) -> float:
        """Return the smallest eigenvalue of the correlation matrices."""
        ...

    def boundary(self, at: Point) -> str | None:
        """Say which other boundary an end point lies on, or None."""
        ...

    def middle(self, at: Point, w: Floats) -> Floats:
        """Return ``sum_ij w_ij D_i V^-1 D_j`` of each pattern, shape (K, m, m)."""
        ...

    def parameters(self, at: Point) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the parameters at a point, and which are in squared units, shape (t,)."""
        ...

    def curvature(self, at: Point, w: Floats) -> Floats | None:
        """Return ``sum_ij w_ij D_ij`` of each pattern; None for a linear structure."""
        ...


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
        self.n_groups = patterns.n_groups
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
        try:
            np.linalg.cholesky(sigma)
            inverse, logdet = pattern_inverses(self.patterns, sigma)
        except np.linalg.LinAlgError:
            return None
        return assemble(self, sigma, inverse, logdet)

    def derivatives(self, at: Point) -> tuple[Floats, Floats, Floats, Floats]:
        """Return gradient, Hessian, expected Hessian and the ``b`` matrices at a point."""
        data, q = self.patterns, self.patterns.p + 1
        cross = np.concatenate([self.cross(at, g) for g in range(data.n_groups)])
        cross = unpack(cross, q)
        b = cross[:, :-1, :-1]
        toward = cross @ at.w  # Z'V^-1 D_i V^-1 r
        ab = at.a @ b
        load = residual_load(self, at)
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

    def start(self) -> Point | None:
        """Evaluate where Newton's method begins; None if it cannot be evaluated."""
        products = self.patterns.residual_covariance()
        variances = np.maximum(np.diagonal(products, axis1=1, axis2=2), 1e-8)
        alone = variances[:, :, None] * np.eye(products.shape[1])
        found = self.point(alone)
        near = self.point(products)
        better = near is not None and (found is None or near.value < found.value)
        return near if better else found

    def scale(self, at: Point) -> Floats:
        """Return the size of each parameter at a point, shape (t,)."""
        size = np.sqrt(np.diagonal(at.sigma, axis1=1, axis2=2))
        return np.asarray((size[:, self.c] * size[:, self.d]).ravel())

    def moved(self, at: Point, step: Floats) -> Point | None:
        """Evaluate at a step from a point; None outside the positive definite cone."""
        return self.point(at.sigma + self.matrices(step))

    def conditioning(self, at: Point) -> float:
        """Return the smallest eigenvalue of the correlation matrices."""
        return conditioning(at.sigma)

    def boundary(self, at: Point) -> str | None:  # noqa: ARG002
        """Say which other boundary an end point lies on, or None."""
        return None

    def middle(self, at: Point, w: Floats) -> Floats:
        """Return ``sum_ij w_ij D_i V^-1 D_j`` of each pattern, shape (K, m, m)."""
        data, m, t = self.patterns, self.patterns.n_visits, self.per_group
        out = np.empty_like(at.inverse)
        for g in range(data.n_groups):
            mine, own = data.group == g, slice(g * t, (g + 1) * t)
            full = (self.spread @ w[own, own] @ self.spread.T).reshape(m, m, m, m)
            out[mine] = np.einsum("abcd,kbc->kad", full, at.inverse[mine], optimize=True)
        return out

    def parameters(self, at: Point) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the parameters at a point, and which are in squared units, shape (t,)."""
        return at.sigma[:, self.c, self.d].ravel(), np.ones(self.n_parameters, dtype=bool)

    def curvature(self, at: Point, w: Floats) -> Floats | None:  # noqa: ARG002
        """Return ``sum_ij w_ij D_ij`` of each pattern; None for a linear structure."""
        return None

    def matrices(self, theta: Floats) -> Floats:
        """Return parameters as symmetric matrices, shape (G, m, m)."""
        m = self.patterns.n_visits
        return (theta.reshape(self.patterns.n_groups, -1) @ self.spread.T).reshape(-1, m, m)


def assemble(
    likelihood: Likelihood, sigma: Floats, inverse: Floats, logdet: Floats, theta: Floats = NONE
) -> Point | None:
    """Evaluate at the inverse covariances of the patterns; None where it is not regular."""
    data = likelihood.patterns
    q = data.p + 1
    k, a, b = data.entry
    moments = unpack(inverse[k, a, b] @ data.sums, q)
    try:
        factor = np.linalg.cholesky(moments[:-1, :-1])
    except np.linalg.LinAlgError:
        return None
    half = np.linalg.inv(factor)
    inner = half.T @ half
    beta = inner @ moments[:-1, -1]
    w = np.append(-beta, 1.0)
    value = float(data.counts @ logdet + w @ moments @ w)
    if likelihood.reml:
        value += float(2.0 * np.log(np.diagonal(factor)).sum())
    return Point(sigma, value, inverse, inner, w, theta) if np.isfinite(value) else None


def residual_load(likelihood: Likelihood, at: Point) -> Floats:
    """Return ``V^-1 S V^-1`` of each pattern, shape (K, m, m).

    ``S`` sums the products of the residuals and, for a restricted likelihood, ``x_a' A x_b``.
    """
    data = likelihood.patterns
    k, a, b = data.entry
    weight = np.outer(at.w, at.w)
    if likelihood.reml:
        weight[:-1, :-1] += at.a
    pair = data.sums @ pack(weight)
    pair *= np.where(a == b, 1.0, 0.5)
    squares = np.zeros_like(at.inverse)
    squares[k, a, b] = pair
    squares[k, b, a] = pair
    return np.asarray(at.inverse @ squares @ at.inverse)


def pattern_inverses(data: Patterns, sigma: Floats) -> tuple[Floats, Floats]:
    """Return the inverse covariance of each pattern, zero padded, and its log-determinant."""
    mask = data.observed[:, :, None] & data.observed[:, None, :]
    eye = np.eye(data.n_visits)
    v = np.where(mask, sigma[data.group], eye)
    inverse = np.where(mask, np.linalg.inv(v), 0.0)
    return 0.5 * (inverse + inverse.transpose(0, 2, 1)), np.linalg.slogdet(v)[1]


def conditioning(sigma: Floats) -> float:
    """Return the smallest eigenvalue of the correlation matrices."""
    size = np.sqrt(np.diagonal(sigma, axis1=1, axis2=2))
    return float(np.linalg.eigvalsh(sigma / (size[:, :, None] * size[:, None, :])).min())
