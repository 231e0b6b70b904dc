"""Who is at risk at which event time, and sums over them without subtraction.

A row covers a run of consecutive event times of its stratum: those after its start and up to
its stop. Sums over the rows at risk at every event time are needed at each step of a fit. A
running sum minus the rows that have not entered yet would lose digits where those rows weigh
much more than the rest. Here nothing is subtracted: small problems take the matrix of rows at
risk, larger ones a binary tree over the event times, in which a row adds its value to at most
two nodes a level (2 log2 D nodes of D event times) and every event time adds up its ancestors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Up to this many cells the matrix of rows at risk is built as it is.
DENSE = 100_000
#: Times closer than this share of the largest are the same time (rounding of differences).
SAME_TIME = 1e-10


def snap(*times: Floats) -> list[Floats]:
    """Make times equal that differ by rounding only, as 0.3 - 0.1 and 0.2 do."""
    joined = np.concatenate(times)
    values = np.unique(joined)
    if len(values) > 1:
        apart = np.diff(values) > SAME_TIME * np.abs(values[[0, -1]]).max()
        if not apart.all():
            first = values[np.concatenate([[True], apart])]
            which = np.cumsum(np.concatenate([[0], apart.astype(np.intp)]))
            joined = first[which[np.searchsorted(values, joined)]]
    return np.split(joined, np.cumsum([len(t) for t in times])[:-1])


class RiskSets:
    """The distinct event times of every stratum and the rows at risk at each.

    Parameters
    ----------
    start : ndarray, shape (n,), or None
        A row is at risk after its start; None: from the beginning.
    stop : ndarray, shape (n,)
        A row is at risk up to and including its stop.
    event : ndarray of bool, shape (n,)
        Whether the row ends with an event.
    strata : ndarray of int, shape (n,)
        Codes from 0.

    Attributes
    ----------
    time, stratum : ndarray, shape (D,)
        Event times, sorted by stratum, then time.
    rows : ndarray of int
        Rows with an event, sorted by event time.
    count : ndarray of int, shape (D,)
        Events at each event time; ``first`` is where each begins in ``rows``.
    group : ndarray of int
        The event time of each of ``rows``.
    low, high : ndarray of int, shape (n,)
        A row is at risk at the event times ``low <= d < high``.
    """

    def __init__(
        self, start: Floats | None, stop: Floats, event: npt.NDArray[np.bool_], strata: Ints
    ) -> None:
        self.start, self.stop, self.event, self.strata = start, stop, event, strata
        found = np.flatnonzero(event)
        self.rows: Ints = found[np.lexsort((stop[found], strata[found]))]
        t, s = stop[self.rows], strata[self.rows]
        new = np.ones(len(t), dtype=bool)
        new[1:] = (t[1:] != t[:-1]) | (s[1:] != s[:-1])
        self.first: Ints = np.flatnonzero(new)
        self.time: Floats = t[self.first]
        self.stratum: Ints = s[self.first]
        self.count: Ints = np.diff(np.append(self.first, len(t)))
        self.group: Ints = np.repeat(np.arange(len(self.first)), self.count)
        self.n = len(stop)
        unique = np.unique(self.time)
        span = len(unique) + 1
        keys = self.stratum * span + np.searchsorted(unique, self.time)
        base = strata * span
        self.high: Ints = np.searchsorted(
            keys, base + np.searchsorted(unique, stop, side="right"), side="left"
        )
        entered = base if start is None else base + np.searchsorted(unique, start, side="right")
        self.low: Ints = np.searchsorted(keys, entered, side="left")
        size = len(self.time)
        self._dense: Floats | None = None
        if self.n * size <= DENSE:
            each = np.arange(size)[:, None]
            self._dense = ((self.low <= each) & (each < self.high)).astype(np.float64)
        else:
            self._plant()

    def _plant(self) -> None:
        """Build the tree: node 1 is the root, node i has the children 2i and 2i + 1."""
        self._leaves = 1 << max(0, len(self.time) - 1).bit_length()
        left, right = self.low + self._leaves, self.high + self._leaves
        rows: list[Ints] = []
        nodes: list[Ints] = []
        while (left < right).any():
            live = left < right
            odd = live & (left & 1 == 1)
            rows.append(np.flatnonzero(odd))
            nodes.append(left[odd])
            left = left + odd
            odd = live & (right & 1 == 1)
            right = right - odd
            rows.append(np.flatnonzero(odd))
            nodes.append(right[odd])
            left, right = left >> 1, right >> 1
        row, node = np.concatenate(rows), np.concatenate(nodes)
        ones = np.ones(len(row))
        self._down = sparse.csr_array((ones, (node, row)), shape=(2 * self._leaves, self.n))
        self._up = sparse.csr_array((ones, (row, node)), shape=(self.n, 2 * self._leaves))

    def at_risk(self, values: Floats) -> Floats:
        """Sum the rows' values over the rows at risk: (n, q) to (D, q)."""
        if self._dense is not None:
            return np.asarray(self._dense @ values)
        node = np.asarray(self._down @ values)
        size = 1
        while size < self._leaves:
            node[2 * size : 4 * size] += np.repeat(node[size : 2 * size], 2, axis=0)
            size *= 2
        return node[self._leaves : self._leaves + len(self.time)]

    def over_time(self, values: Floats) -> Floats:
        """Sum values of event times (D, q) over those at which each row is at risk: (n, q)."""
        if self._dense is not None:
            return np.asarray(self._dense.T @ values)
        node = np.zeros((2 * self._leaves, values.shape[1]))
        node[self._leaves : self._leaves + len(values)] = values
        size = self._leaves // 2
        while size:
            node[size : 2 * size] = (
                node[2 * size : 4 * size : 2] + node[2 * size + 1 : 4 * size : 2]
            )
            size //= 2
        return np.asarray(self._up @ node)

    def over_events(self, values: Floats) -> Floats:
        """Sum values of ``rows`` (m, q) over the events of each time: (D, q)."""
        return np.asarray(np.add.reduceat(values, self.first, axis=0))

    def members(self, d: int) -> Ints:
        """Return the rows at risk at event time ``d``."""
        return np.flatnonzero((self.low <= d) & (d < self.high))
