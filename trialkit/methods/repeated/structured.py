r"""Gaussian likelihood of repeated measures with a structured covariance.

The derivatives of :mod:`trialkit.methods.repeated.likelihood` hold with :math:`D_i = \partial V
/ \partial\theta_i`; a covariance that is not linear in its parameters adds, with
:math:`D_{ij} = \partial^2 V / \partial\theta_i \partial\theta_j`,

.. math:: \mathrm{tr}(P D_{ij}) - y'P D_{ij} P y

to the Hessian (Lindstrom and Bates 1988, J Am Stat Assoc 83:1014). The expected Hessian does
not change.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.likelihood import Point, assemble, conditioning, residual_load
from trialkit.methods.repeated.patterns import Patterns, unpack
from trialkit.methods.repeated.structures import Structure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: A correlation below this is none: the range of a spatial structure runs to zero.
VANISHED = 1e-6
#: Ranges at which a spatial structure is tried first, in units of the mean distance.
RANGES = (0.2, 0.5, 1.0, 2.0, 5.0)


class StructuredLikelihood:
    """Likelihood with one structured covariance a group.

    Parameters
    ----------
    patterns : Patterns
        Sufficient statistics; their ``group`` is the class of a pattern.
    reml : bool
        Restricted likelihood, else full likelihood.
    structure : Structure
    owner : ndarray of int, shape (C,)
        Covariance group of each class. Without distances, classes are groups.
    distances : ndarray, shape (C, m, m), optional
        Distances of the visits for each class; 0 where a visit is missing.
    typical : ndarray, shape (m, m), optional
        Distances for which the fitted covariance of the visits is reported.
    """

    def __init__(
        self,
        patterns: Patterns,
        reml: bool,
        structure: Structure,
        owner: Ints,
        distances: Floats | None = None,
        typical: Floats | None = None,
    ) -> None:
        m = patterns.n_visits
        self.patterns, self.reml, self.structure, self.owner = patterns, reml, structure, owner
        self.n_groups = int(owner.max()) + 1
        self.per_group = structure.n_variances(m) + structure.n_correlations(m)
        self.n_parameters = self.per_group * self.n_groups
        self.distances = np.zeros((len(owner), m, m)) if distances is None else distances
        self.typical = np.zeros((m, m)) if typical is None else typical
        self.mask = patterns.observed[:, :, None] & patterns.observed[:, None, :]
        self.mine = [np.flatnonzero(owner[patterns.group] == g) for g in range(self.n_groups)]
        self.entries = [
            np.flatnonzero(owner[patterns.group[patterns.entry[0]]] == g)
            for g in range(self.n_groups)
        ]

    def of_group(self, theta: Floats, g: int) -> tuple[Floats, Floats, Floats]:
        """Return covariance and derivatives for each pattern of a group."""
        own = theta[g * self.per_group : (g + 1) * self.per_group]
        classes = self.patterns.group[self.mine[g]]
        if not self.structure.spatial:
            parts = self.structure.evaluate(own, self.distances[:1])
            shape = (len(classes),)
            s, d, dd = (np.broadcast_to(x[0], (*shape, *x.shape[1:])) for x in parts)
            return s, d, dd
        return self.structure.evaluate(own, self.distances[classes])

    def sigma(self, theta: Floats) -> Floats:
        """Return the covariance of the visits of each group, shape (G, m, m)."""
        parts = theta.reshape(self.n_groups, -1)
        each = [self.structure.evaluate(own, self.typical[None])[0][0] for own in parts]
        return np.stack(each)

    def point(self, theta: Floats) -> Point | None:
        """Evaluate at parameters; None where the covariance is not positive definite."""
        m = self.patterns.n_visits
        v = self.structure.n_variances(m)
        parts = theta.reshape(self.n_groups, -1)
        if not (np.isfinite(theta).all() and (parts[:, :v] > 0).all()):
            return None
        if self.structure.spatial and not (parts[:, v:] > 0).all():
            return None
        size = np.sqrt(np.broadcast_to(parts[:, :v], (self.n_groups, m)))
        root = size[self.owner[self.patterns.group]]
        scale = root[:, :, None] * root[:, None, :]
        full = np.empty((len(self.patterns.counts), m, m))
        for g, mine in enumerate(self.mine):
            full[mine] = self.of_group(theta, g)[0]
        correlation = np.where(self.mask, full / scale, np.eye(m))
        try:
            sigma = self.sigma(theta)
            if not self.structure.spatial:
                np.linalg.cholesky(sigma)
            np.linalg.cholesky(correlation)
            inverse = np.where(self.mask, np.linalg.inv(correlation) / scale, 0.0)
        except np.linalg.LinAlgError:
            return None
        inverse = 0.5 * (inverse + inverse.transpose(0, 2, 1))
        logdet = np.linalg.slogdet(correlation)[1]
        logdet = logdet + 2.0 * (np.log(root) * self.patterns.observed).sum(axis=1)
        return assemble(self, sigma, inverse, logdet, theta)

    def start(self) -> Point | None:
        """Evaluate where Newton's method begins; None if it cannot be evaluated."""
        products = self.group_products()
        best: Point | None = None
        for shrink in (1.0, 0.8, 0.5, 0.0):
            for reach in RANGES if self.structure.spatial else (1.0,):
                guess = [self.guess(each, shrink, reach) for each in products]
                found = self.point(np.concatenate(guess))
                if found is not None and (best is None or found.value < best.value):
                    best = found
            if best is not None and (shrink < 1.0 or self.structure.spatial):
                break
        return best

    def group_products(self) -> Floats:
        """Return mean products of residuals by available pairs, shape (G, m, m)."""
        data = self.patterns
        k, a, b = data.entry
        m = data.n_visits
        place = (self.owner[data.group[k]] * m + a) * m + b
        size = self.n_groups * m * m
        total = np.bincount(place, weights=data.sums[:, -1], minlength=size)
        seen = np.bincount(place, weights=data.counts[k], minlength=size)
        upper = (total / np.maximum(seen, 1.0)).reshape(-1, m, m)
        return np.asarray(0.5 * (upper + upper.transpose(0, 2, 1)))

    def guess(self, products: Floats, shrink: float, reach: float) -> Floats:
        """Return parameters near the mean products of the residuals."""
        m = len(products)
        variances = np.diagonal(products)
        low = 1e-8 * max(float(variances.max()), 1e-8)
        variances = np.maximum(variances, low)
        if not self.structure.heterogeneous:
            seen = variances[variances > low]
            variances = np.array([seen.mean() if len(seen) else 1.0])
        if self.structure.spatial:
            used = self.distances[self.distances > 0]
            return np.append(variances, reach * (used.mean() if len(used) else 1.0))
        sd = np.sqrt(np.broadcast_to(variances, m))
        r = np.clip(products / np.outer(sd, sd), -0.9, 0.9) * shrink
        if self.structure.kind == "lags":
            own = np.array([np.diagonal(r, k).mean() for k in range(1, m)])
        elif self.structure.kind == "neighbours":
            own = np.diagonal(r, 1).copy()
        elif self.structure.name.startswith("ar1"):
            own = np.array([np.diagonal(r, 1).mean()])
        else:
            own = np.array([r[np.triu_indices(m, 1)].mean()])
        return np.concatenate([variances, own])

    def derivatives(self, at: Point) -> tuple[Floats, Floats, Floats, Floats]:
        """Return gradient, Hessian, expected Hessian and the ``b`` matrices at a point."""
        data, t = self.patterns, self.per_group
        load = residual_load(self, at)
        weighted = data.counts[:, None, None] * at.inverse
        gradient = np.empty(self.n_parameters)
        hessian = np.zeros((self.n_parameters, self.n_parameters))
        expected = np.zeros_like(hessian)
        cross = np.empty((self.n_parameters, data.sums.shape[1]))
        for g, mine in enumerate(self.mine):
            own = slice(g * t, (g + 1) * t)
            _, first, second = self.of_group(at.theta, g)
            slope = (weighted - load)[mine]
            left = first @ at.inverse[mine][:, None]  # D_i V^-1
            gradient[own] = np.einsum("kiab,kab->i", first, slope)
            right = first @ (2.0 * load - weighted)[mine][:, None]
            block = flat(left) @ flat(right.swapaxes(2, 3)).T
            block += np.einsum("kijab,kab->ij", second, slope)
            hessian[own, own] = 0.5 * (block + block.T)
            right = first @ weighted[mine][:, None]
            expected[own, own] = flat(left) @ flat(right.swapaxes(2, 3)).T
            loads = at.inverse[mine][:, None] @ left
            k, a, b = data.entry[:, self.entries[g]]
            local = np.searchsorted(mine, k)
            cross[own] = loads[local, :, a, b].T @ data.sums[self.entries[g]]
        full = unpack(cross, data.p + 1)
        b_matrices = full[:, :-1, :-1]
        side = (full @ at.w)[:, :-1]
        hessian -= 2.0 * side @ at.a @ side.T
        if self.reml:
            ab = at.a @ b_matrices
            n = len(ab)
            hessian -= ab.reshape(n, -1) @ ab.transpose(0, 2, 1).reshape(n, -1).T
        return gradient, 0.5 * (hessian + hessian.T), 0.5 * (expected + expected.T), b_matrices

    def scale(self, at: Point) -> Floats:
        """Return the size of each parameter at a point, shape (t,)."""
        v = self.structure.n_variances(self.patterns.n_visits)
        out = at.theta.reshape(self.n_groups, -1).copy()
        if not self.structure.spatial:
            out[:, v:] = 1.0
        return np.asarray(out.ravel())

    def moved(self, at: Point, step: Floats) -> Point | None:
        """Evaluate at a step from a point; None outside the positive definite cone."""
        return self.point(at.theta + step)

    def conditioning(self, at: Point) -> float:
        """Return the smallest eigenvalue of the correlation matrices of the patterns."""
        if not self.structure.spatial:
            return conditioning(at.sigma)
        out = 1.0
        for g, mine in enumerate(self.mine):
            full = np.where(self.mask[mine], self.of_group(at.theta, g)[0], 0.0)
            size = np.where(self.patterns.observed[mine], at.sigma[g, 0, 0], 1.0)
            full += np.eye(full.shape[1]) * (~self.patterns.observed[mine])[:, None, :]
            root = np.sqrt(size[:, :, None] * size[:, None, :])
            out = min(out, float(np.linalg.eigvalsh(full / root).min()))
        return out

    def boundary(self, at: Point) -> str | None:
        """Say which other boundary an end point lies on, or None."""
        if not self.structure.spatial:
            return None
        for g, mine in enumerate(self.mine):
            full = self.of_group(at.theta, g)[0] * self.mask[mine]
            off = full * (1.0 - np.eye(full.shape[1]))
            if not off.max() > VANISHED * at.sigma[g, 0, 0]:
                return "the range runs to zero: the visits are not correlated"
        return None

    def middle(self, at: Point, w: Floats) -> Floats:
        """Return ``sum_ij w_ij D_i V^-1 D_j`` of each pattern, shape (K, m, m)."""
        out = np.empty_like(at.inverse)
        for g, mine in enumerate(self.mine):
            own = slice(g * self.per_group, (g + 1) * self.per_group)
            first = self.of_group(at.theta, g)[1]
            mixed = np.einsum("ij,kjab->kiab", w[own, own], first)
            out[mine] = (first @ at.inverse[mine][:, None] @ mixed).sum(axis=1)
        return out

    def parameters(self, at: Point) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the parameters at a point, and which are in squared units, shape (t,)."""
        v = self.structure.n_variances(self.patterns.n_visits)
        squared = np.arange(self.n_parameters) % self.per_group < v
        return at.theta, squared

    def curvature(self, at: Point, w: Floats) -> Floats | None:
        """Return ``sum_ij w_ij D_ij`` of each pattern; None for a linear structure."""
        if self.structure.linear:
            return None
        out = np.empty_like(at.inverse)
        for g, mine in enumerate(self.mine):
            own = slice(g * self.per_group, (g + 1) * self.per_group)
            out[mine] = np.einsum("ij,kijab->kab", w[own, own], self.of_group(at.theta, g)[2])
        return out

    def uninformed(self, at: Point) -> int | None:
        """Return the first parameter of which no observed pair of visits depends, or None."""
        for g, mine in enumerate(self.mine):
            theta = at.theta.copy()
            v = self.structure.n_variances(self.patterns.n_visits)
            if not self.structure.spatial:
                theta.reshape(self.n_groups, -1)[:, v:] = 0.5
            first = np.abs(self.of_group(theta, g)[1]) * self.mask[mine][:, None]
            none = np.flatnonzero(first.sum(axis=(0, 2, 3)) == 0.0)
            if len(none):
                return int(g * self.per_group + none[0])
        return None


def flat(matrices: Floats) -> Floats:
    """Return matrices, shape (K, t, m, m), as one row a parameter."""
    return matrices.swapaxes(0, 1).reshape(matrices.shape[1], -1)
