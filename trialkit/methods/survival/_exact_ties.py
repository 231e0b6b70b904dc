"""The discrete partial likelihood: which of those at risk had the events of one time.

Given d events among the rows at risk, the likelihood of one event time is the product of the
relative hazards of the rows with events over the sum of such products over all sets of d rows
(Cox DR, 1972, J R Stat Soc B 34:187, section 6; R calls it ``ties="exact"``, SAS
``ties=discrete``). The sum is an elementary symmetric function. It is computed here as a
probability, which neither overflows nor cancels: let the rows have events independently with
odds ``c exp(eta)``, ``c`` such that d events are expected. Then the likelihood of the set seen is
the same conditional probability given d events, and its score and information are the mean and
the covariance of the sum of covariates over a random set of d rows given d. One pass over the
rows adds them one by one to the joint law of the number of events and the first two moments of
that sum (the recursion of Gail MH, Lubin JH, Rubinstein LV, 1981, Biometrika 68:703, in
probabilities).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class TiedSets:
    """The event times with two or more events, padded to one width.

    Parameters
    ----------
    members : ndarray of int, shape (G, width)
        Rows at risk; padded with 0.
    present : ndarray of bool, shape (G, width)
    count : ndarray of int, shape (G,)
        Events.
    """

    members: Ints
    present: npt.NDArray[np.bool_]
    count: Ints

    @classmethod
    def build(cls, members: Sequence[Ints], count: Ints) -> TiedSets:
        """Pad the lists of rows at risk."""
        width = max(len(m) for m in members)
        table = np.zeros((len(members), width), dtype=np.intp)
        present = np.zeros(table.shape, dtype=bool)
        for i, rows in enumerate(members):
            table[i, : len(rows)] = rows
            present[i, : len(rows)] = True
        return cls(table, present, count)

    def evaluate(self, eta: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Return, a group, log of the symmetric function, and mean and covariance of the sum.

        Parameters
        ----------
        eta : ndarray, shape (n,)
        x : ndarray, shape (n, p)

        Returns
        -------
        log_sum : ndarray, shape (G,)
        mean : ndarray, shape (G, p)
        covariance : ndarray, shape (G, p, p)
        """
        local = np.where(self.present, eta[self.members], -np.inf)
        top = local.max(axis=1, keepdims=True)
        odds = np.exp(local - top)
        log_c = self._tilt(odds)
        odds *= np.exp(log_c)[:, None]
        chance = odds / (1.0 + odds)
        weight = odds / odds.sum(axis=1, keepdims=True)
        centre = np.einsum("gw,gwp->gp", weight, x[self.members])
        moved = (x[self.members] - centre[:, None, :]) * self.present[:, :, None]
        zero, one, two = self._moments(chance, moved)
        mean = one / zero[:, None]
        covariance = two / zero[:, None, None] - mean[:, :, None] * mean[:, None, :]
        log_sum = np.log(zero) + np.log1p(odds).sum(axis=1) + self.count * (top[:, 0] - log_c)
        return log_sum, mean + self.count[:, None] * centre, covariance

    def _tilt(self, odds: Floats) -> Floats:
        """Return log c at which about ``count`` events are expected; any c is valid."""
        size = self.present.sum(axis=1)
        want = np.minimum(self.count, size - 0.5)
        log_c = np.log(want / (size - want)) - np.log(odds.sum(axis=1) / size)
        for _ in range(12):
            tilted = odds * np.exp(log_c)[:, None]
            share = tilted / (1.0 + tilted)
            slope = np.maximum((share * (1.0 - share)).sum(axis=1), 1e-3)
            log_c += np.clip((want - share.sum(axis=1)) / slope, -2.0, 2.0)
        return np.asarray(log_c)

    def _moments(self, chance: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Return P(N = d), E[T; N = d] and E[TT'; N = d] with T the sum of x over the events."""
        groups, width, p = x.shape
        most = int(self.count.max())
        zero = np.zeros((groups, most + 1))
        zero[:, 0] = 1.0
        one = np.zeros((groups, most + 1, p))
        two = np.zeros((groups, most + 1, p, p))
        for i in range(width):
            q = chance[:, i, None]
            own = x[:, i]
            k = min(i + 1, most)
            add0 = q * zero[:, :k]
            lead = add0[:, :, None] * own[:, None, :]
            add1 = q[:, :, None] * one[:, :k]
            cross = add1[:, :, :, None] * own[:, None, None, :]
            add2 = q[:, :, None, None] * two[:, :k] + cross + cross.swapaxes(2, 3)
            add2 += lead[:, :, :, None] * own[:, None, None, :]
            rest = 1.0 - q
            zero *= rest
            one *= rest[:, :, None]
            two *= rest[:, :, None, None]
            zero[:, 1 : k + 1] += add0
            one[:, 1 : k + 1] += add1 + lead
            two[:, 1 : k + 1] += add2
        pick = np.arange(groups)
        return zero[pick, self.count], one[pick, self.count], two[pick, self.count]
