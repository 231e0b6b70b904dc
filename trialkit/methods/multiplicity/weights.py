"""Weights of a graph after hypotheses were removed, in exact rational arithmetic.

Source: Bretz F, Maurer W, Brannath W, Posch M (2009), Stat Med 28:586, algorithms 1 and 2. The
graph after several removals does not depend on their order, so that one graph for each set of
remaining hypotheses gives both the sequentially rejective test and the weights of the closed test.

Rational numbers, because the update divides by ``1 - g_ij g_ji``, which in floating point can be
rounding noise instead of zero. They also allow edges that carry nothing unless all others are
gone (the limit of a vanishing weight in Bretz et al.): such an edge has the weight ``TINY``, far
below anything that a printed p-value can tell from zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Row = list[Fraction]
TINY = Fraction(1, 10**40)
#: Weights below this are edges or shares in the limit of zero.
VANISHING = 1e-18


def exact(value: float) -> Fraction:
    """Return the simple fraction that a float stands for (0.333333333333333 is 1/3)."""
    simple = Fraction(value).limit_denominator(10_000)
    return simple if abs(simple - Fraction(value)) < Fraction(1, 10**13) else Fraction(value)


def exact_row(values: Sequence[float] | Floats) -> Row:
    """Return a row of fractions; a sum within rounding of 1 becomes exactly 1."""
    row = [exact(float(v)) for v in values]
    total = sum(row, Fraction(0))
    close = total != 1 and abs(total - 1) < Fraction(1, 10**11)
    return [v / total for v in row] if close else row


class Weights:
    """The graph for every set of remaining hypotheses, computed when asked for.

    Parameters
    ----------
    weights : ndarray, shape (m,)
    transitions : ndarray, shape (m, m)
    overflow : ndarray, shape (m, m), or None
        Where a hypothesis' share goes when all targets in `transitions` are gone.
    """

    def __init__(self, weights: Floats, transitions: Floats, overflow: Floats | None) -> None:
        self.m = len(weights)
        rows = [exact_row(row) for row in transitions]
        if overflow is not None:
            later = [exact_row(row) for row in overflow]
            rows = [_blend(now, then) for now, then in zip(rows, later, strict=True)]
        full = (1 << self.m) - 1
        self._exact: dict[int, tuple[Row, list[Row]]] = {full: (exact_row(weights), rows)}
        self._shown: dict[int, tuple[Floats, Floats]] = {}

    def after(self, remaining: int) -> tuple[Floats, Floats]:
        """Return weights, shape (m,), and transitions, shape (m, m), of the remaining set.

        Parameters
        ----------
        remaining : int
            Bit i tells that hypothesis i is still there; entries of removed ones are zero.
        """
        if remaining not in self._shown:
            weights, rows = self._graph(remaining)
            shown = (
                np.array([float(w) for w in weights]),
                np.array([[float(g) for g in row] for row in rows]),
            )
            for part in shown:
                part[part < VANISHING] = 0.0
                part.setflags(write=False)
            self._shown[remaining] = shown
        return self._shown[remaining]

    def _graph(self, remaining: int) -> tuple[Row, list[Row]]:
        missing = [i for i in range(self.m) if not remaining >> i & 1]
        state = (1 << self.m) - 1
        for j in missing:
            smaller = state & ~(1 << j)
            if smaller not in self._exact:
                self._exact[smaller] = remove(*self._exact[state], j)
            state = smaller
        return self._exact[state]


def _blend(now: Row, then: Row) -> Row:
    """Give the later targets a vanishing part beside the first ones, or all if there are none."""
    if not any(then):
        return now
    if not any(now):
        return then
    return [a * (1 - TINY) + b * TINY for a, b in zip(now, then, strict=True)]


def remove(weights: Row, rows: list[Row], j: int) -> tuple[Row, list[Row]]:
    """Remove hypothesis `j` and pass its weight on (Bretz et al. 2009, algorithm 1)."""
    m = len(weights)
    none = Fraction(0)
    share = [w + weights[j] * rows[j][k] if k != j else none for k, w in enumerate(weights)]
    updated: list[Row] = []
    for i in range(m):
        back = rows[i][j] * rows[j][i]
        if i == j or back >= 1:
            updated.append([none] * m)
            continue
        through, kept = rows[i][j], 1 - back
        if through == 0:
            updated.append([g if k != j else none for k, g in enumerate(rows[i])])
            continue
        updated.append(
            [none if k in (i, j) else (rows[i][k] + through * rows[j][k]) / kept for k in range(m)]
        )
    return share, updated
