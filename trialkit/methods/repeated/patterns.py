"""Sufficient statistics of repeated measures, one set a missing-data pattern.

Subjects with the same set of observed visits (and, where the covariance is grouped, the same
group) share one covariance matrix, so that the normal likelihood needs only the sums of
``z_a z_b'`` over the subjects of a pattern, with ``z = (x, y)`` at visits ``a`` and ``b``. An
iteration of the optimiser then costs the same for 100 and for 100,000 subjects.

The sums are taken after an orthogonal reduction: ``X = QR`` and ``y = X b + s e`` with the
least-squares residual ``e`` of standard deviation one. This removes the scale and the mean of
outcome and covariates, so that the numbers do not depend on units and nothing cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trialkit.methods._design import tall_qr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Reduction:
    """The change of coordinates from the data to the sufficient statistics.

    Parameters
    ----------
    r : ndarray, shape (p, p)
        Triangle of the model matrix.
    start : ndarray, shape (p,)
        Least-squares coefficients.
    scale : float
        Residual standard deviation of least squares.
    size : float
        Root mean square of the outcome.
    """

    r: Floats
    start: Floats
    scale: float
    size: float

    @property
    def logdet(self) -> float:
        """Return log |X'X|."""
        return float(2.0 * np.log(np.abs(np.diagonal(self.r))).sum())


@dataclass(frozen=True)
class Patterns:
    """Sufficient statistics of one data set.

    Parameters
    ----------
    observed : ndarray of bool, shape (K, m)
        The visits of each pattern.
    counts : ndarray, shape (K,)
        Subjects of each pattern.
    group : ndarray of int, shape (K,)
        Covariance group of each pattern.
    entry : ndarray of int, shape (3, E)
        Pattern, visit ``a`` and visit ``b >= a`` of each row of ``sums``.
    sums : ndarray, shape (E, q * (q + 1) / 2)
        Upper triangles of the symmetrised sums of ``z_a z_b'``, ``q = p + 1``.
    n_groups, n_obs, n_subjects, p : int
        Sizes.
    log_weights : float
        Sum of the logarithms of the weights.
    reduction : Reduction
        Back to the coordinates of the data.
    """

    observed: npt.NDArray[np.bool_]
    counts: Floats
    group: Ints
    entry: Ints
    sums: Floats
    n_groups: int
    n_obs: int
    n_subjects: int
    p: int
    log_weights: float
    reduction: Reduction

    @property
    def n_visits(self) -> int:
        """Number of visits."""
        return int(self.observed.shape[1])

    def exact(self) -> bool:
        """Whether least squares leaves nothing but rounding errors."""
        return not self.reduction.scale > 1e-12 * self.reduction.size

    def pair_counts(self) -> Floats:
        """Count the subjects with both visits of each pair, shape (groups, m, m)."""
        seen = self.observed.astype(np.float64)
        out = np.zeros((self.n_groups, self.n_visits, self.n_visits))
        for g in range(self.n_groups):
            mine = self.group == g
            out[g] = (seen[mine] * self.counts[mine, None]).T @ seen[mine]
        return out

    def visit_variances(self) -> Floats:
        """Return the mean squared least-squares residual of each visit, shape (groups, m)."""
        return np.diagonal(self.residual_covariance(), axis1=1, axis2=2)

    def residual_covariance(self) -> Floats:
        """Return mean products of least-squares residuals by available pairs, (groups, m, m).

        The residual's product is the last element of a triangle. The matrix need not be
        positive definite: its elements rest on different subjects.
        """
        k, a, b = self.entry
        m = self.n_visits
        place = (self.group[k] * m + a) * m + b
        size = self.n_groups * m * m
        total = np.bincount(place, weights=self.sums[:, -1], minlength=size)
        seen = np.bincount(place, weights=self.counts[k], minlength=size)
        upper = (total / np.maximum(seen, 1.0)).reshape(-1, m, m)
        return np.asarray(0.5 * (upper + upper.transpose(0, 2, 1)))  # pairs are doubled


@lru_cache(maxsize=256)
def triangle(size: int) -> tuple[Ints, Ints]:
    """Return the row and column of each element of an upper triangle, in order."""
    i, j = np.triu_indices(size)
    for each in (i, j):
        each.flags.writeable = False
    return i, j


@lru_cache(maxsize=256)
def square(size: int) -> Ints:
    """Return the place in the upper triangle of each element of a symmetric matrix."""
    i, j = triangle(size)
    place = np.empty((size, size), dtype=np.intp)
    place[i, j] = place[j, i] = np.arange(len(i))
    place.flags.writeable = False
    return place


@lru_cache(maxsize=256)
def doubling(size: int) -> Floats:
    """Return how often each element of an upper triangle stands in the matrix: 1 or 2."""
    i, j = triangle(size)
    weight = np.where(i == j, 1.0, 2.0)
    weight.flags.writeable = False
    return weight


def distinct(seen: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the distinct rows in lexical order, where each row went, and their counts."""
    sizes = seen.max(axis=0) + 1
    if math.prod(int(size) for size in sizes) < 2**62:  # one number a row
        place = np.append(np.cumprod(sizes[:0:-1])[::-1], 1)
        _, first, which, counts = np.unique(
            seen @ place, return_index=True, return_inverse=True, return_counts=True
        )
        return seen[first], which, counts
    keys, which, counts = np.unique(seen, axis=0, return_inverse=True, return_counts=True)
    return keys, which.reshape(-1), counts


def reduce_model(x: Floats, y: Floats) -> tuple[Floats, Floats, Reduction]:
    """Return ``Q``, the scaled residual and the reduction of ``y`` on ``x``."""
    q, r = tall_qr(x)
    projected = np.einsum("ij,i->j", q, y)
    residual = y - q @ projected
    scale = float(np.sqrt(residual @ residual / max(len(y), 1)))
    size = float(np.sqrt(y @ y / max(len(y), 1)))
    start = np.linalg.solve(r, projected)
    return q, residual / (scale or 1.0), Reduction(r, start, scale, size)


def collect(
    x: Floats,
    y: Floats,
    subject: Ints,
    visit: Ints,
    *,
    n_visits: int,
    group: Ints | None = None,
    n_groups: int = 1,
    weights: Floats | None = None,
) -> Patterns:
    """Build the sufficient statistics.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        Outcome.
    subject, visit : ndarray of int, shape (n,)
        Codes from 0; a subject has a visit at most once.
    n_visits : int
        Number of visits ``m``.
    group : ndarray of int, shape (n,), optional
        Covariance group, constant within a subject.
    n_groups : int
        Number of groups.
    weights : ndarray, shape (n,), optional
        Positive weights: the variance of a row is divided by its weight.

    Returns
    -------
    Patterns
    """
    order = np.lexsort((visit, subject))
    x, y, subject, visit = x[order], y[order], subject[order], visit[order]
    group = np.zeros(len(y), dtype=np.intp) if group is None else group[order]
    log_weights = 0.0
    if weights is not None:
        root = np.sqrt(weights[order])
        x, y = x * root[:, None], y * root
        log_weights = float(2.0 * np.log(root).sum())
    q, residual, reduction = reduce_model(x, y)
    z = np.column_stack([q, residual])
    first = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
    rank = np.cumsum(np.r_[False, subject[1:] != subject[:-1]])
    seen = np.zeros((len(first), n_visits + 1), dtype=np.int64)
    seen[rank, visit] = 1
    seen[:, -1] = group[first]
    keys, which, counts = distinct(seen)
    observed = keys[:, :-1].astype(bool)
    entries, sums = [], []
    for k, mask in enumerate(observed):
        at = np.flatnonzero(mask)
        a, b = triangle(len(at))
        sums.append(products(z[which[rank] == k], len(at), a, b))
        entries.append(np.stack([np.full(len(a), k), at[a], at[b]]))
    return Patterns(
        observed=observed,
        counts=counts.astype(np.float64),
        group=keys[:, -1].astype(np.intp),
        entry=np.concatenate(entries, axis=1).astype(np.intp),
        sums=np.concatenate(sums),
        n_groups=n_groups,
        n_obs=len(y),
        n_subjects=len(first),
        p=x.shape[1],
        log_weights=log_weights,
        reduction=reduction,
    )


def products(z: Floats, m: int, a: Ints, b: Ints) -> Floats:
    """Sum ``z_a z_b'`` over the subjects of one pattern, symmetrised, as upper triangles.

    Rows with ``a < b`` hold the sum of ``z_a z_b' + z_b z_a'``, so that a symmetric matrix of
    visits is contracted by its upper triangle alone.
    """
    q = z.shape[1]
    flat = z.reshape(-1, m * q)
    size = max(64, 200_000 // (m * q) ** 2)  # small products are computed in one thread
    blocks = np.zeros((m * q, m * q))
    for start in range(0, len(flat), size):
        part = flat[start : start + size]
        blocks += part.T.copy() @ part
    blocks = blocks.reshape(m, q, m, q)
    upper = blocks[a, :, b, :]
    both = upper + upper.transpose(0, 2, 1)
    both[a == b] *= 0.5
    return np.asarray(both[:, *triangle(q)])


def unpack(triangles: Floats, q: int) -> Floats:
    """Return upper triangles, shape (..., q * (q + 1) / 2), as symmetric matrices."""
    return np.asarray(triangles[..., square(q)])


def pack(matrix: Floats) -> Floats:
    """Return the weights that contract upper triangles with a symmetric matrix."""
    return np.asarray(doubling(len(matrix)) * matrix[triangle(len(matrix))])
