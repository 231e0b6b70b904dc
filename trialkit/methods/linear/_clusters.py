r"""Restricted likelihood of a partially nested model, from sums over clusters.

The covariance is linear in its parameters, :math:`V = \sum_k \theta_k G_k`: a residual variance (or
one for each of the two kinds of arm) and the variance of the clusters. Within a cluster every
product of these matrices and of :math:`V^{-1}` is :math:`aI + b\,11'`, so that all traces and
quadratic forms come from Gram matrices and cluster sums, and an iteration does not depend on the
number of participants. With :math:`P = V^{-1} - V^{-1}X\Phi X'V^{-1}`,
:math:`\Phi = (X'V^{-1}X)^{-1}`,

.. math:: \frac{\partial(-2\ell)}{\partial\theta_k} = \mathrm{tr}(PG_k) - y'PG_kPy, \qquad
          \frac{\partial^2(-2\ell)}{\partial\theta_k\partial\theta_l} =
          -\mathrm{tr}(PG_kPG_l) + 2y'PG_kPG_lPy

(Harville 1977, J Am Stat Assoc 72:320).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from trialkit.methods._design import tall_qr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

STEPS = 200
#: Shares of variance between clusters from which the search may start.
STARTS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True)
class Element:
    """``a[0] I`` outside clusters, ``a[1] I + b[j] 11'`` in cluster j."""

    a: Floats
    b: Floats

    def times(self, other: Element, m: Floats) -> Element:
        """Return the product; m holds the cluster sizes."""
        b = self.a[1] * other.b + other.a[1] * self.b + m * self.b * other.b
        return Element(self.a * other.a, b)


@dataclass(frozen=True)
class State:
    """The likelihood at one point: -2 REML log-likelihood, its derivatives, and by-products.

    Parameters
    ----------
    value : float
    gradient : ndarray, shape (k,)
    hessian, expected : ndarray, shape (k, k)
        Second derivatives, and ``tr(P G_k P G_l)``, twice the expected information.
    phi : ndarray, shape (p, p)
        Covariance of the basis' coefficients.
    delta : ndarray, shape (p,)
        Coefficients of the basis for the residuals of least squares.
    slopes : ndarray, shape (k, p, p)
        ``X'V^-1 G_k V^-1 X``.
    bends : ndarray, shape (k, k, p, p)
        ``X'V^-1 G_k V^-1 G_l V^-1 X``.
    """

    value: float
    gradient: Floats
    hessian: Floats
    expected: Floats
    phi: Floats
    delta: Floats
    slopes: Floats
    bends: Floats


class Clusters:
    """Sufficient statistics of a partially nested model.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
    cluster : ndarray of int, shape (n,)
        Number of the cluster, -1 outside the nested arm.
    by_arm : bool
        Whether the residual variance differs between the arms.
    """

    def __init__(self, x: Floats, y: Floats, cluster: Ints, *, by_arm: bool) -> None:
        self.q, self.r = tall_qr(x)
        self.start = self.q.T @ y
        residual = y - self.q @ self.start
        self.n, self.p = x.shape
        self.unit = float(residual @ residual) / (self.n - self.p)
        if not self.unit > 1e-24 * float(y @ y) / self.n:
            return
        w = np.column_stack([self.q, residual / np.sqrt(self.unit)])
        inside = cluster >= 0
        self.number = np.array([(~inside).sum(), inside.sum()], dtype=np.float64)
        self.gram = np.stack([w[~inside].T @ w[~inside], w[inside].T @ w[inside]])
        self.m = np.bincount(cluster[inside]).astype(np.float64)
        self.sums = np.zeros((len(self.m), w.shape[1]))
        np.add.at(self.sums, cluster[inside], w[inside])
        zero, one = np.zeros(len(self.m)), np.ones(len(self.m))
        if by_arm:
            self.basis = [Element(np.array([1.0, 0.0]), zero), Element(np.array([0.0, 1.0]), zero)]
        else:
            self.basis = [Element(np.array([1.0, 1.0]), zero)]
        self.basis.append(Element(np.zeros(2), one))

    def form(self, element: Element) -> Floats:
        """Return ``W' E W``, W the basis of the model matrix with the residuals."""
        flat = np.einsum("g,gij->ij", element.a, self.gram)
        return np.asarray(flat + (self.sums * element.b[:, None]).T @ self.sums)

    def trace(self, element: Element) -> float:
        """Return the trace."""
        return float(element.a @ self.number + element.b @ self.m)

    def variances(self, theta: Floats) -> tuple[float, float, float]:
        """Return the residual variances outside and inside clusters, and the clusters'."""
        if len(theta) < len(self.basis):  # the clusters' variance is zero
            theta = np.append(theta, 0.0)
        return float(theta[0]), float(theta[-2]), float(theta[-1])

    def _inverse(self, theta: Floats) -> tuple[Element, float]:
        """Return the inverse of V and log of its determinant."""
        outside, inside, between = self.variances(theta)
        whole = inside + self.m * between
        log = self.number[0] * np.log(outside) if self.number[0] else 0.0
        log += float(((self.m - 1.0) * np.log(inside) + np.log(whole)).sum())
        b = -between / (inside * whole)
        return Element(np.array([1.0 / outside, 1.0 / inside]), b), float(log)

    def value(self, theta: Floats) -> float:
        """Return -2 REML log-likelihood without its constant."""
        inverse, log = self._inverse(theta)
        form = self.form(inverse)
        p = self.p
        sign, log_x = np.linalg.slogdet(form[:p, :p])
        if sign <= 0:
            return np.inf
        solved = np.linalg.solve(form[:p, :p], form[:p, p])
        return log + float(log_x) + float(form[p, p] - form[p, :p] @ solved)

    def at(self, theta: Floats) -> State:
        """Return value and derivatives; theta without the last entry holds it at zero."""
        inverse, log = self._inverse(theta)
        p, k, m = self.p, len(theta), self.m
        form = self.form(inverse)
        factor = linalg.cho_factor(form[:p, :p])
        phi = np.asarray(linalg.cho_solve(factor, np.eye(p)), dtype=np.float64)
        delta = phi @ form[:p, p]
        c = np.append(-delta, 1.0)  # W c: residuals
        log_x = 2.0 * float(np.log(np.diagonal(factor[0])).sum())
        value = log + log_x + float(c @ form @ c)
        half = [inverse.times(g, m) for g in self.basis[:k]]  # V^-1 G_k
        first = [self.form(h.times(inverse, m)) for h in half]
        slopes = np.stack([f[:p, :p] for f in first])
        pulled = np.stack([f[:p] @ c for f in first])
        gradient = np.array(
            [
                self.trace(half[i]) - float((phi * slopes[i]).sum()) - float(c @ first[i] @ c)
                for i in range(k)
            ]
        )
        bends = np.empty((k, k, p, p))
        hessian, expected = np.empty((k, k)), np.empty((k, k))
        for i in range(k):
            for j in range(i + 1):  # the matrices commute: all is symmetric
                product = half[i].times(half[j], m)
                second = self.form(product.times(inverse, m))
                bends[i, j] = bends[j, i] = second[:p, :p]
                cross = (phi @ slopes[i] @ phi) * slopes[j].T
                expected[i, j] = self.trace(product) - 2.0 * float((phi * bends[i, j]).sum())
                expected[i, j] += float(cross.sum())
                square = float(c @ second @ c) - float(pulled[i] @ phi @ pulled[j])
                hessian[i, j] = 2.0 * square - expected[i, j]
                expected[j, i], hessian[j, i] = expected[i, j], hessian[i, j]
        return State(value, gradient, hessian, expected, phi, delta, slopes, bends)

    def residual_only(self) -> tuple[Floats, State] | None:
        """Return the optimum without variance between clusters."""
        return self._search(np.ones(len(self.basis) - 1), bound=False)

    def optimum(self) -> tuple[Floats, State] | None:
        """Return the optimum; theta lacks its last entry where that is zero."""
        flat = self.residual_only()
        if flat is None:
            return None
        theta, state = flat
        inside = theta[-1]
        tries = []
        for share in STARTS:
            start = np.append(theta, share * inside)
            start[-2] = (1.0 - share) * inside
            tries.append((self.value(start), start))
        rising = self.at(np.append(theta, 0.0)).gradient[-1] < 0.0
        for _, start in sorted(tries, key=lambda t: t[0])[: len(tries) if rising else 1]:
            found = self._search(start, bound=True)
            if found is not None and found[1].value < state.value:
                return found
        return None if rising else flat

    def _search(self, theta: Floats, *, bound: bool) -> tuple[Floats, State] | None:
        """Descend by Newton; None if it ends nowhere, or (bound) at zero between clusters."""
        state = self.at(theta)
        for _ in range(STEPS):
            step, newton = _step(state)
            gain = float(-step @ state.gradient)
            if newton and 0.0 <= gain < 1e-18:
                theta = theta + step
                return (theta, self.at(theta)) if (theta > 0.0).all() else None
            ratio = np.min(np.where(step < 0.0, -0.8 * theta / np.minimum(step, -1e-300), 1.0))
            share = min(1.0, float(ratio))
            for _ in range(40):
                new = theta + share * step
                value = self.value(new)
                if value <= state.value or (newton and gain < 1e-9):
                    break
                share *= 0.5
            else:
                return None
            theta, state = new, self.at(new)
            if bound and theta[-1] < 1e-9 * theta[-2]:
                return None
        return None


def _step(state: State) -> tuple[Floats, bool]:
    """Return the Newton step, or the scoring step where the function is not convex."""
    for matrix, newton in ((state.hessian, True), (state.expected, False)):
        scale = np.sqrt(np.abs(np.diagonal(matrix)))
        scale = np.where(scale > 0.0, scale, 1.0)
        try:
            factor = linalg.cho_factor(matrix / np.outer(scale, scale))
        except linalg.LinAlgError:
            continue
        step = -linalg.cho_solve(factor, state.gradient / scale) / scale
        return np.asarray(step, dtype=np.float64), newton
    return -state.gradient / np.maximum(np.abs(state.gradient), 1e-300) * 0.1, False
