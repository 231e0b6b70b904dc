"""A setting that moves at a bounded rate, and the actuator that follows it with a lag."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REST = 1e-4


class Ramp:
    """One setting of the plant.

    Only additions, multiplications and divisions are used, so that the rows do not depend
    on a mathematics library.

    Parameters
    ----------
    rest : float
        Value at the start.
    rate_per_s : float
        Fastest change of the set value.
    lag_s : float
        Time constant of the actuator, first order.
    """

    __slots__ = ("_lag_s", "_rate", "actual", "rate_limit", "set_value", "target")

    def __init__(self, rest: float, rate_per_s: float, lag_s: float) -> None:
        self.set_value = rest
        self.actual = rest
        self.target = rest
        self.rate_limit = rate_per_s
        self._rate = rate_per_s
        self._lag_s = lag_s

    def go(self, target: float, rate_per_s: float | None = None) -> None:
        """Move to `target`, at `rate_per_s` or the fastest own rate."""
        self.target = target
        self._rate = rate_per_s if rate_per_s is not None else self.rate_limit

    def drop(self, value: float) -> None:
        """Be at `value` at once: power was removed."""
        self.target = self.set_value = self.actual = value

    @property
    def settled(self) -> bool:
        """True where neither the set value nor the actuator moves any more."""
        return self.set_value == self.target and self.actual == self.set_value

    def step(self, dt_s: float) -> None:
        """Let `dt_s` pass."""
        gap = self.target - self.set_value
        reach = self._rate * dt_s
        if abs(gap) <= reach:
            self.set_value = self.target
        else:
            self.set_value += reach if gap > 0 else -reach
        self.actual += (self.set_value - self.actual) * (dt_s / (self._lag_s + dt_s))
        if abs(self.actual - self.set_value) < _REST and self.set_value == self.target:
            self.actual = self.set_value

    def rows(self, n: int, dt_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `n` samples of the set and the actual value, each of shape (n,)."""
        if self.settled:
            value = np.full(n, self.actual)
            return value, value
        both = np.empty((2, n))
        for at in range(n):
            self.step(dt_s)
            both[0, at] = self.set_value
            both[1, at] = self.actual
        return both[0], both[1]
