"""Sums over participants under weights, in the two forms that resampling needs.

A likelihood reads its data through four contractions only. :class:`Dense` holds the weighted
sums of each sample; :class:`LeaveOut` holds the full-data sums once and takes off the one
participant of each sample, so that 1,000 leave-one-out samples cost little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Shape:
    """Patterns and entries of the sums.

    Parameters
    ----------
    entry : ndarray of int, shape (3, E)
        Pattern, visit ``a`` and visit ``b >= a`` of each sum of ``z_a z_b'``.
    n_patterns, m, q : int
    """

    entry: Ints
    n_patterns: int
    m: int
    q: int

    @cached_property
    def square(self) -> Ints:
        """Position of each cell of a symmetric matrix in its upper triangle, shape (q * q,)."""
        i, j = np.triu_indices(self.q)
        out = np.empty((self.q, self.q), dtype=np.intp)
        out[i, j] = out[j, i] = np.arange(len(i))
        return out.ravel()

    @cached_property
    def upper(self) -> tuple[Ints, Floats]:
        """Cells of the upper triangle in a flat matrix, and how often each counts."""
        i, j = np.triu_indices(self.q)
        return i * self.q + j, np.where(i == j, 1.0, 2.0)

    def unpack(self, triangles: Floats) -> Floats:
        """Return upper triangles as symmetric matrices."""
        shape = (*triangles.shape[:-1], self.q, self.q)
        return triangles.take(self.square, axis=-1).reshape(shape)

    def pack(self, weight: Floats) -> Floats:
        """Return what contracts upper triangles with symmetric matrices."""
        cells, times = self.upper
        flat = weight.reshape(*weight.shape[:-2], -1)
        return np.asarray(times * flat.take(cells, axis=-1))

    def spread(self, pair: Floats) -> Floats:
        """Return contractions of the entries as symmetric matrices of each pattern."""
        k, a, b = self.entry
        pair = pair * np.where(a == b, 1.0, 0.5)
        out = np.zeros((len(pair), self.n_patterns, self.m, self.m))
        out[:, k, a, b] = pair
        out[:, k, b, a] = pair
        return out


class Sums(Protocol):
    """Contractions of the sums of several samples."""

    def take(self, rows: Ints) -> Sums:
        """Return the sums of some samples."""
        ...

    def gram(self) -> Floats:
        """Return ``sum_i w_i Z_i'Z_i``, shape (B, q, q)."""
        ...

    def moments(self, inverse: Floats) -> Floats:
        """Return ``sum_i w_i Z_i' V^-1 Z_i`` for inverses of shape (B, K, m, m)."""
        ...

    def squares(self, weight: Floats) -> Floats:
        """Return ``sum_i w_i Z_i W Z_i'`` of each pattern, shape (B, K, m, m)."""
        ...

    def cross(self, loads: Floats, inverse: Floats, c: Ints, d: Ints, mine: Ints) -> Floats:
        """Return ``sum_i w_i Z_i' V^-1 D V^-1 Z_i`` for each parameter, packed."""
        ...


@dataclass(frozen=True)
class Dense:
    """Weighted sums, one set a sample: shape (B, E, q * (q + 1) / 2)."""

    shape: Shape
    values: Floats = field(repr=False)

    def take(self, rows: Ints) -> Dense:
        """Return the sums of some samples."""
        return Dense(self.shape, self.values[rows])

    def gram(self) -> Floats:
        """Return the unweighted sums of squares."""
        own = self.shape.entry[1] == self.shape.entry[2]
        return self.shape.unpack(self.values[:, own].sum(axis=1))

    def moments(self, inverse: Floats) -> Floats:
        """Return the sums of squares weighted by inverse covariances."""
        k, a, b = self.shape.entry
        return self.shape.unpack((inverse[:, k, a, b][:, None, :] @ self.values)[:, 0])

    def squares(self, weight: Floats) -> Floats:
        """Return residual squares of each pattern."""
        packed = self.shape.pack(weight)
        return self.shape.spread((self.values @ packed[..., None])[..., 0])

    def cross(self, loads: Floats, inverse: Floats, c: Ints, d: Ints, mine: Ints) -> Floats:
        """Return the derivatives of the moments."""
        del inverse, c, d
        return np.asarray(loads.swapaxes(-1, -2) @ self.values[:, mine])


@dataclass(frozen=True)
class LeaveOut:
    """Full-data sums, shape (E, q * (q + 1) / 2), without one participant a sample.

    Parameters
    ----------
    z : ndarray, shape (B, m, q)
        Rows of the participant left out, zero where not observed.
    pattern : ndarray of int, shape (B,)
    """

    shape: Shape
    total: Floats = field(repr=False)
    z: Floats = field(repr=False)
    pattern: Ints = field(repr=False)

    def take(self, rows: Ints) -> LeaveOut:
        """Return the sums of some samples."""
        return LeaveOut(self.shape, self.total, self.z[rows], self.pattern[rows])

    def gram(self) -> Floats:
        """Return the unweighted sums of squares."""
        own = self.shape.entry[1] == self.shape.entry[2]
        full = self.shape.unpack(self.total[own].sum(axis=0))
        return np.asarray(full - self.z.swapaxes(-1, -2) @ self.z)

    def moments(self, inverse: Floats) -> Floats:
        """Return the sums of squares weighted by inverse covariances."""
        k, a, b = self.shape.entry
        full = self.shape.unpack(inverse[:, k, a, b] @ self.total)
        mine = inverse[np.arange(len(inverse)), self.pattern]
        return np.asarray(full - self.z.swapaxes(-1, -2) @ mine @ self.z)

    def squares(self, weight: Floats) -> Floats:
        """Return residual squares of each pattern."""
        out = self.shape.spread(self.shape.pack(weight) @ self.total.T)
        out[np.arange(len(out)), self.pattern] -= self.z @ weight @ self.z.swapaxes(-1, -2)
        return out

    def cross(self, loads: Floats, inverse: Floats, c: Ints, d: Ints, mine: Ints) -> Floats:
        """Return the derivatives of the moments; ``mine`` are the entries of one group."""
        size, t = len(loads), loads.shape[-1]
        flat = loads.swapaxes(-1, -2).reshape(size * t, -1)
        out = (flat @ self.total[mine]).reshape(size, t, -1)
        own = np.isin(self.pattern, self.shape.entry[0, mine])
        turned = inverse[np.arange(size), self.pattern] @ self.z
        left, right = turned[:, c], turned[:, d]
        i, j = np.triu_indices(self.shape.q)
        part = left[..., i] * right[..., j] + left[..., j] * right[..., i]
        part[:, c == d] *= 0.5
        out[own] -= part[own]
        return out
