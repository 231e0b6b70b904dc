"""Exact inference for one proportion, for two, and for strata of two.

- Clopper CJ, Pearson ES (1934), The use of confidence or fiducial limits illustrated in the
  case of the binomial, Biometrika 26:404.
- Fisher's exact test, two-sided by the probabilities not above that of the data, and the
  conditional maximum-likelihood odds ratio with the interval of its two one-sided tests, as R's
  ``fisher.test``. Strata are convolved: the sum of events in the treated arm, given all
  margins, as R's ``mantelhaen.test(exact = TRUE)``.
- Chan ISF, Zhang Z (1999), Test-based exact confidence intervals for the difference of two
  binomial proportions, Biometrics 55:1202: two one-sided unconditional tests that order the
  tables by the score statistic, the nuisance proportion taken where the tail is largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from trialkit.methods.categorical._score import LIMIT, TwoByTwo, score_table

Floats = npt.NDArray[np.float64]
#: Pairs of events beyond which the unconditional interval takes too long.
UNCONDITIONAL_LIMIT = 40_000


def clopper_pearson(x: float, n: float, level: float) -> tuple[float, float]:
    """Return the exact interval of ``x`` in ``n``."""
    tail = (1.0 - level) / 2.0
    lower = 0.0 if x == 0 else float(special.betaincinv(x, n - x + 1.0, tail))
    upper = 1.0 if x == n else float(special.betaincinv(x + 1.0, n - x, 1.0 - tail))
    return lower, upper


@dataclass(frozen=True)
class Conditional:
    """Distribution of the treated arm's events, given all margins, summed over strata.

    Parameters
    ----------
    seen : int
        The events of the treated arm.
    values : ndarray, shape (k,)
        What they could have been.
    log_weights : ndarray, shape (k,)
        Log of the number of ways, up to a constant.
    """

    seen: int
    values: Floats
    log_weights: Floats

    def probabilities(self, log_odds: float) -> Floats:
        """Return the distribution under a common log odds ratio."""
        raised = self.log_weights + log_odds * self.values
        out = np.exp(raised - raised.max())
        return np.asarray(out / out.sum())

    def p_value(self, log_odds: float = 0.0) -> float:
        """Return the two-sided p: the tables no more probable than the data's."""
        p = self.probabilities(log_odds)
        own = p[np.searchsorted(self.values, self.seen)]
        return float(min(1.0, p[p <= own * (1.0 + 1e-7)].sum()))

    def estimate(self) -> float:
        """Return the conditional maximum-likelihood odds ratio."""
        if self.seen == self.values[0]:
            return 0.0
        if self.seen == self.values[-1]:
            return math.inf
        return math.exp(
            self._solve(lambda beta: float(self.probabilities(beta) @ self.values) - self.seen)
        )

    def interval(self, level: float) -> tuple[float, float]:
        """Return the interval of the two one-sided exact tests."""
        tail = (1.0 - level) / 2.0
        above, below = self.values >= self.seen, self.values <= self.seen
        lower, upper = 0.0, math.inf
        if self.seen > self.values[0]:
            lower = math.exp(
                self._solve(lambda b: float(self.probabilities(b)[above].sum()) - tail)
            )
        if self.seen < self.values[-1]:
            upper = math.exp(
                self._solve(lambda b: tail - float(self.probabilities(b)[below].sum()))
            )
        return lower, upper

    @staticmethod
    def _solve(rising: object) -> float:
        assert callable(rising)
        return float(optimize.brentq(rising, -LIMIT, LIMIT, xtol=1e-14, rtol=1e-14))


def conditional(tables: list[TwoByTwo]) -> Conditional | None:
    """Return the conditional distribution; None when the margins leave one table only."""
    low, seen = 0, 0
    weights: Floats = np.ones(1)
    scale = 0.0
    for t in tables:
        n1, n0, m = round(t.n1), round(t.n0), round(t.x1 + t.x0)
        first, last = max(0, m - n0), min(m, n1)
        k = np.arange(first, last + 1.0)
        log = _log_choose(n1, k) + _log_choose(n0, m - k)
        scale += float(log.max())
        weights = np.convolve(weights, np.exp(log - log.max()))
        scale += math.log(float(weights.max()))
        weights = weights / weights.max()
        low, seen = low + first, seen + round(t.x1)
    if len(weights) < 2:
        return None
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    return Conditional(seen, np.arange(low, low + len(weights), dtype=np.float64), logs)


def _log_choose(n: float, k: Floats) -> Floats:
    return np.asarray(
        special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
    )


def chan_zhang(t: TwoByTwo, level: float) -> tuple[float, float, float]:
    """Return the exact unconditional interval of ``p1 - p0`` and the two-sided p of 0.

    The limits are good to about 1e-5: the tail is searched over a grid of the nuisance
    proportion, refined where it is largest.
    """
    tail = (1.0 - level) / 2.0
    mirrored = TwoByTwo(t.n1 - t.x1, t.n1, t.n0 - t.x0, t.n0)
    lower = _lower(t, tail)
    upper = -_lower(mirrored, tail)
    p = min(1.0, 2.0 * min(_worst_tail(t, 0.0), _worst_tail(mirrored, 0.0)))
    return lower, upper, p


def _lower(t: TwoByTwo, tail: float) -> float:
    """Return the least difference that the upper-tail test does not reject."""
    gap = t.p1 - t.p0
    if t.x1 == 0 and t.x0 == t.n0:
        return -1.0
    grid = np.linspace(-1.0, gap, 41)[1:]
    low, high = -1.0, gap
    for value in grid:
        if _worst_tail(t, float(value)) > tail:
            high = float(value)
            break
        low = float(value)
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        if _worst_tail(t, middle) > tail:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def _worst_tail(t: TwoByTwo, delta: float) -> float:
    """Return the largest probability, over the nuisance, of a z at least that observed."""
    n1, n0 = round(t.n1), round(t.n0)
    z = score_table(n1, n0, delta)
    seen = z[round(t.x1), round(t.x0)]
    region = z >= seen - 1e-9 * (1.0 + min(abs(float(seen)), 1e9))
    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)
    best = 0.0
    for _ in range(3):
        grid = np.linspace(low, high, 101)
        found = _tail(region, n1, n0, grid, delta)
        at = int(found.argmax())
        best = max(best, float(found[at]))
        low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, 100)])
    return best


def _tail(region: npt.NDArray[np.bool_], n1: int, n0: int, p0: Floats, delta: float) -> Floats:
    one = _binomial(n1, np.clip(p0 + delta, 0.0, 1.0))
    zero = _binomial(n0, p0)
    return np.asarray(np.einsum("gi,gi->g", one, zero @ region.T.astype(np.float64)))


def _binomial(n: int, p: Floats) -> Floats:
    k = np.arange(n + 1.0)
    return np.asarray(
        np.exp(
            _log_choose(n, k) + special.xlogy(k, p[:, None]) + special.xlog1py(n - k, -p[:, None])
        )
    )
