r"""One imputation model under many sets of participant weights, fitted together.

Leave-one-out and bootstrap samples differ from the full data only in how often a participant
counts. Their restricted (or full) likelihoods have the derivatives given in
:mod:`trialkit.methods.repeated.likelihood`; here a leading axis runs over the samples. Each
sample starts at the full-data estimate with the full-data Hessian, scaled by its weight, and
computes its own Hessian only when a step has not cut the Newton decrement a hundredfold. The
estimate is the sample's own optimum: the decrement (in units of -2 log-likelihood) is below
1e-15 before a last step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialkit.methods.missing.newton import climb
from trialkit.methods.missing.sums import Dense, LeaveOut, Shape, Sums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

#: Eigenvalue of X'X, as a share of the full data's, below which a direction is not estimated.
RANK = 1e-9
#: Numbers that the sums of one chunk of samples may hold.
ROOM = 8_000_000


@dataclass(frozen=True)
class Fits:
    """Estimates of several samples in reduced coordinates.

    Parameters
    ----------
    gamma : ndarray, shape (B, p)
        Coefficients.
    sigma : ndarray, shape (B, G, m, m)
        Covariances.
    failed : list, length B
        Why there is no estimate, or None.
    null : list, length B
        Directions that the sample does not estimate, shape (p, d), or None.
    """

    gamma: Floats
    sigma: Floats
    failed: list[str | None]
    null: list[Floats | None]

    @staticmethod
    def join(parts: list[Fits]) -> Fits:
        """Put chunks together."""
        return Fits(
            np.concatenate([p.gamma for p in parts]),
            np.concatenate([p.sigma for p in parts]),
            [f for p in parts for f in p.failed],
            [f for p in parts for f in p.null],
        )


@dataclass(frozen=True)
class State:
    """The likelihood of several samples at one covariance each."""

    ok: Bools
    value: Floats
    inverse: Floats
    a: Floats
    w: Floats

    def take(self, rows: Ints | Bools) -> State:
        """Return the state of some samples."""
        return State(
            self.ok[rows], self.value[rows], self.inverse[rows], self.a[rows], self.w[rows]
        )

    def put(self, rows: Ints, other: State) -> None:
        """Take over the state of some samples."""
        self.ok[rows], self.value[rows], self.inverse[rows] = other.ok, other.value, other.inverse
        self.a[rows], self.w[rows] = other.a, other.w


class Weighted:
    """The normal model of one data set under weights of its participants.

    Parameters
    ----------
    z : ndarray, shape (n, m, p + 1)
        Model matrix and outcome in reduced coordinates; rows that are not used hold zero.
    mask : ndarray of bool, shape (n, m)
        Rows used.
    group : ndarray of int, shape (n,)
        Covariance group.
    reml : bool
    sigma : ndarray, shape (G, m, m)
        Full-data estimate.
    """

    def __init__(self, z: Floats, mask: Bools, group: Ints, reml: bool, sigma: Floats) -> None:
        self.z, self.reml, self.start = z, reml, sigma
        self.n, self.m, self.q = z.shape
        self.n_groups = len(sigma)
        key = np.column_stack([mask, group])
        patterns, which = np.unique(key, axis=0, return_inverse=True)
        self.which: Ints = np.asarray(which.reshape(-1), dtype=np.intp)
        self.observed: Bools = patterns[:, :-1].astype(bool)
        self.group: Ints = patterns[:, -1].astype(np.intp)
        self.pairs: Bools = self.observed[:, :, None] & self.observed[:, None, :]
        entries = []
        for k, seen in enumerate(self.observed):
            at = np.flatnonzero(seen)
            a, b = np.triu_indices(len(at))
            entries.append(np.stack([np.full(len(a), k), at[a], at[b]]))
        self.entry: Ints = np.concatenate(entries, axis=1).astype(np.intp)
        self.shape = Shape(self.entry, len(self.observed), self.m, self.q)
        self.c, self.d = np.triu_indices(self.m)
        t, index = len(self.c), np.arange(len(self.c))
        spread = np.zeros((self.m**2, t))
        spread[self.c * self.m + self.d, index] = 1.0
        spread[self.d * self.m + self.c, index] = 1.0
        self.spread, self.t = spread, t
        ones = np.ones((1, self.n))
        whole = self.sums(ones)
        self.total, self.all = whole.values[0], self.counts(ones)[0]
        state = self.evaluate(sigma[None], whole, self.all[None])
        self.full = Fits(-state.w[:, :-1], sigma[None], [None], [None])
        self.hessian = self.derivatives(state, whole, self.all[None], True)[1]
        width = self.entry.shape[1] * self.total.shape[1]
        #: Samples that are fitted together; fixed by the data, so that bytes do not depend on
        #: how many are asked for.
        self.chunk = int(max(4, min(64, ROOM // max(width, 1))))

    def counts(self, weights: Floats) -> Floats:
        """Return the total weight of each pattern, shape (B, K)."""
        member = (self.which[:, None] == np.arange(len(self.observed))).astype(np.float64)
        return np.asarray(weights @ member)

    def sums(self, weights: Floats) -> Dense:
        """Return the weighted sums of ``z_a z_b'`` of each sample."""
        i, j = np.triu_indices(self.q)
        out = np.zeros((len(weights), self.entry.shape[1], len(i)))
        for e, (k, a, b) in enumerate(self.entry.T):
            mine = self.which == k
            left, right = self.z[mine, a], self.z[mine, b]
            products = left[:, i] * right[:, j]
            if a != b:
                products = products + left[:, j] * right[:, i]
            out[:, e] = weights[:, mine] @ products
        return Dense(self.shape, out)

    def fit(self, weights: Floats) -> Fits:
        """Fit every row of weights, shape (B, n)."""
        parts = []
        for at in range(0, len(weights), self.chunk):
            chunk = weights[at : at + self.chunk]
            parts.append(self.solve(self.sums(chunk), chunk))
        return Fits.join(parts)

    def leave_one_out(self) -> Fits:
        """Fit without each participant in turn."""
        parts = []
        for at in range(0, self.n, 128):
            who = np.arange(at, min(at + 128, self.n))
            sums = LeaveOut(self.shape, self.total, self.z[who], self.which[who])
            weights = np.ones((len(who), self.n))
            weights[np.arange(len(who)), who] = 0.0
            parts.append(self.solve(sums, weights))
        return Fits.join(parts)

    def padded(self, sigma: Floats) -> Floats:
        """Return the covariance of each pattern, with ones where nothing is observed."""
        return np.where(self.pairs, sigma[:, self.group], np.eye(self.m))

    def inverses(self, padded: Floats) -> Floats:
        """Return the inverse covariance of each pattern, zero padded."""
        inverse = np.where(self.pairs, np.linalg.inv(padded), 0.0)
        return np.asarray(0.5 * (inverse + inverse.swapaxes(-1, -2)))

    def evaluate(self, sigma: Floats, sums: Sums, counts: Floats) -> State:
        """Evaluate samples at their covariances, shape (B, G, m, m)."""
        size = np.sqrt(np.abs(np.diagonal(sigma, axis1=-2, axis2=-1)))
        with np.errstate(all="ignore"):
            scaled = sigma / (size[..., :, None] * size[..., None, :])
        finite = np.isfinite(scaled).all(axis=(-1, -2))
        scaled = np.where(finite[..., None, None], scaled, np.eye(self.m))
        good = finite & (np.diagonal(sigma, axis1=-2, axis2=-1) > 0.0).all(axis=-1)
        ok = (good & (np.linalg.eigvalsh(scaled)[..., 0] > 1e-12)).all(axis=-1)
        safe = np.where(ok[:, None, None, None], sigma, self.start)
        padded = self.padded(safe)
        inverse, logdet = self.inverses(padded), np.linalg.slogdet(padded)[1]
        moments = sums.moments(inverse)
        inner, size, definite = inverted(moments[:, :-1, :-1])
        ok = ok & definite
        gamma = (inner @ moments[:, :-1, -1:])[..., 0]
        w = np.concatenate([-gamma, np.ones((len(gamma), 1))], axis=1)
        value = (counts * logdet).sum(axis=1)
        value = value + (w * (moments @ w[..., None])[..., 0]).sum(axis=1)
        if self.reml:
            value = value + size
        return State(ok & np.isfinite(value), value, inverse, inner, w)

    def derivatives(
        self, at: State, sums: Sums, counts: Floats, second: bool
    ) -> tuple[Floats, Floats, Floats]:
        """Return gradient and, if asked for, observed and expected Hessian."""
        size = len(at.w)
        weight = at.w[:, :, None] * at.w[:, None, :]
        if self.reml:
            weight[:, :-1, :-1] += at.a
        squares = sums.squares(weight)
        load = at.inverse @ squares @ at.inverse
        weighted = counts[:, :, None, None] * at.inverse
        gradient = np.concatenate(
            [
                (weighted - load)[:, self.group == g].sum(axis=1).reshape(size, -1) @ self.spread
                for g in range(self.n_groups)
            ],
            axis=1,
        )
        if not second:
            return gradient, np.empty(0), np.empty(0)
        hessian = self.quadratic(at.inverse, 2.0 * load - weighted)
        expected = self.quadratic(at.inverse, weighted)
        cross = self.shape.unpack(self.cross(at, sums))
        side = (cross @ at.w[:, None, :, None])[..., :-1, 0]
        hessian -= 2.0 * side @ at.a @ side.swapaxes(-1, -2)
        if self.reml:
            ab = at.a[:, None] @ cross[..., :-1, :-1]
            flat = ab.reshape(size, ab.shape[1], -1)
            turned = ab.swapaxes(-1, -2).reshape(size, ab.shape[1], -1)
            hessian -= flat @ turned.swapaxes(-1, -2)
        return gradient, 0.5 * (hessian + hessian.swapaxes(-1, -2)), expected

    def cross(self, at: State, sums: Sums) -> Floats:
        """Return ``Z'V^-1 D_i V^-1 Z`` packed, shape (B, G * t, q * (q + 1) / 2)."""
        off = self.c != self.d
        out = []
        for g in range(self.n_groups):
            mine = np.flatnonzero(self.group[self.entry[0]] == g)
            k, a, b = self.entry[:, mine]
            left, right = at.inverse[:, k, a], at.inverse[:, k, b]
            loads = left[..., self.c] * right[..., self.d]
            loads[..., off] += left[..., self.d[off]] * right[..., self.c[off]]
            out.append(sums.cross(loads, at.inverse, self.c, self.d, mine))
        return np.concatenate(out, axis=1)

    def quadratic(self, f: Floats, g: Floats) -> Floats:
        """Return ``sum_k tr(D_i F_k D_j G_k)``, block diagonal over the groups."""
        m, t, size = self.m, self.t, len(f)
        out = np.zeros((size, self.n_groups * t, self.n_groups * t))
        for index in range(self.n_groups):
            mine = self.group == index
            left = f[:, mine].reshape(size, -1, m * m)
            right = g[:, mine].reshape(size, -1, m * m)
            full = (left.swapaxes(-1, -2) @ right).reshape(size, m, m, m, m)
            full = full.transpose(0, 4, 1, 2, 3).reshape(size, m * m, m * m)
            block = self.spread.T @ full @ self.spread
            at = slice(index * t, (index + 1) * t)
            out[:, at, at] = 0.5 * (block + block.swapaxes(-1, -2))
        return out

    def matrices(self, theta: Floats) -> Floats:
        """Return parameters as symmetric matrices, shape (B, G, m, m)."""
        shape = (len(theta), self.n_groups, self.m, self.m)
        parts = theta.reshape(len(theta), self.n_groups, self.t) @ self.spread.T
        return np.asarray(parts.reshape(shape))

    def solve(self, sums: Sums, weights: Floats) -> Fits:
        """Find the optimum of each sample."""
        counts = self.counts(weights)
        failed: list[str | None] = [None] * len(weights)
        null: list[Floats | None] = [None] * len(weights)
        seen = self.pairs.astype(np.float64)
        for g in range(self.n_groups):
            mine = self.group == g
            pairs = np.tensordot(counts[:, mine], seen[mine], axes=1)
            for s in np.flatnonzero((pairs <= 0.0).any(axis=(1, 2))).tolist():
                failed[s] = "no participant is left who was seen at some pair of visits"
        values, vectors = np.linalg.eigh(sums.gram()[:, :-1, :-1])
        for s in np.flatnonzero(values[:, 0] < RANK).tolist():
            null[s] = vectors[s][:, values[s] < RANK]
        kept = np.array([each is None for each in null])
        gamma, sigma = climb(self, sums, counts, kept, failed)
        for s in np.flatnonzero(~kept).tolist():
            lost = null[s]
            if failed[s] is None and lost is not None:
                part, basis = self.deficient(weights[s], lost)
                gamma[s], sigma[s] = basis @ part.gamma[0], part.sigma[0]
                failed[s] = part.failed[0]
        return Fits(gamma, sigma, failed, null)

    def deficient(self, weights: Floats, lost: Floats) -> tuple[Fits, Floats]:
        """Fit a sample in the space of the coefficients that it estimates; return its basis."""
        p = self.q - 1
        basis = np.linalg.svd(lost, full_matrices=True)[0][:, lost.shape[1] :]
        rotation = np.zeros((self.q, basis.shape[1] + 1))
        rotation[:p, :-1], rotation[p, -1] = basis, 1.0
        group = self.group[self.which]
        other = Weighted(self.z @ rotation, self.rows(), group, self.reml, self.start)
        return other.fit(weights[None]), basis

    def rows(self) -> Bools:
        """Return the rows used, shape (n, m)."""
        return np.asarray(self.observed[self.which])


def inverted(matrices: Floats) -> tuple[Floats, Floats, Bools]:
    """Return inverses and log-determinants, and which matrices are positive definite.

    Parameters
    ----------
    matrices : ndarray, shape (B, p, p)
        Symmetric.
    """
    try:
        root = np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrices)
        good = values[:, 0] > 0.0
        values = np.where(good[:, None], values, 1.0)
        inner = (vectors / values[:, None, :]) @ vectors.swapaxes(-1, -2)
        return inner, np.log(values).sum(axis=1), good
    half = np.linalg.inv(root)
    size = 2.0 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=1)
    return half.swapaxes(-1, -2) @ half, size, np.ones(len(matrices), dtype=bool)
