"""One layout of sums for all data sets with the same number of visits: every missing pattern."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.patterns import Patterns, triangle

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Most visits for which all patterns are laid out.
MOST_VISITS = 6


@dataclass(frozen=True)
class Grid:
    """All missing-data patterns of a number of visits.

    Parameters
    ----------
    observed : ndarray of bool, shape (K, m)
        Pattern ``k`` has visit ``a`` where bit ``a`` of ``k + 1`` is set.
    k, a, b : ndarray of int, shape (E,)
        Pattern and pair of visits of each row of the sums.
    row : ndarray of int, shape (K, m, m)
        The row of a pattern and pair.
    share : ndarray, shape (E,)
        1 for a visit with itself, else 1/2.
    spread : ndarray, shape (m * m, t)
        ``vec(Sigma) = spread @ theta``.
    """

    observed: npt.NDArray[np.bool_]
    k: Ints
    a: Ints
    b: Ints
    row: Ints
    share: Floats
    spread: Floats

    @cached_property
    def flat(self) -> Ints:
        """Places of the pairs in the stack of matrices, shape (E,)."""
        m = self.observed.shape[1]
        return np.asarray((self.k * m + self.a) * m + self.b, dtype=np.intp)

    @cached_property
    def lines(self) -> tuple[Ints, Ints]:
        """Places of their lines ``a`` and ``b``, each of shape (E,)."""
        m = self.observed.shape[1]
        return self.k * m + self.a, self.k * m + self.b


@lru_cache(maxsize=MOST_VISITS)
def grid(m: int) -> Grid:
    """Lay out all patterns of ``m`` visits."""
    observed = (np.arange(1, 2**m)[:, None] >> np.arange(m)) & 1 == 1
    c, d = triangle(m)
    k, pair = np.nonzero(observed[:, c] & observed[:, d])
    a, b = c[pair], d[pair]
    row = np.zeros((len(observed), m, m), dtype=np.intp)
    row[k, a, b] = np.arange(len(k))
    spread = np.zeros((m * m, len(c)))
    spread[c * m + d, np.arange(len(c))] = 1.0
    spread[d * m + c, np.arange(len(c))] = 1.0
    return Grid(observed, k, a, b, row, np.where(a == b, 1.0, 0.5), spread)


def own_patterns(patterns: Patterns) -> Ints:
    """Return the places of a data set's patterns among all."""
    bits = 1 << np.arange(patterns.n_visits)
    return np.asarray(patterns.observed @ bits - 1, dtype=np.intp)
