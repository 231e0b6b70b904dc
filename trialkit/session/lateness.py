"""How late the ticks of a session's own loop come, as a histogram with fixed bins."""

from __future__ import annotations

import math

from trialkit.record.kinds import Timing

FIRST_S = 1e-4
PER_DECADE = 5
DECADES = 5
N_BINS = PER_DECADE * DECADES + 2
"""One bin below `FIRST_S`, `PER_DECADE` a decade up to 10 s, one above."""


def edge_s(at: int) -> float:
    """Return the upper edge of the bin `at` in s; infinite for the last."""
    return math.inf if at >= N_BINS - 1 else FIRST_S * 10.0 ** (at / PER_DECADE)


class Lateness:
    """Counts how late ticks come."""

    def __init__(self) -> None:
        self._bins = [0] * N_BINS
        self._max_s = 0.0

    def add(self, late_s: float) -> None:
        """Count a tick that came `late_s` seconds after it was due; early counts as 0."""
        late_s = max(0.0, late_s)
        at = 0
        if late_s > FIRST_S:
            at = min(N_BINS - 1, math.ceil(PER_DECADE * math.log10(late_s / FIRST_S)))
        self._bins[at] += 1
        self._max_s = max(self._max_s, late_s)

    def quantile_s(self, share: float) -> float:
        """Return the upper edge of the bin that holds the quantile, at most the largest value."""
        wanted = share * sum(self._bins)
        reached = 0
        for at, count in enumerate(self._bins):
            reached += count
            if reached >= wanted and count:
                return min(edge_s(at), self._max_s)
        return 0.0

    def timing(self) -> Timing:
        """Return the histogram as it goes into the record."""
        return Timing(
            ticks=sum(self._bins),
            p50_s=round(self.quantile_s(0.5), 6),
            p99_s=round(self.quantile_s(0.99), 6),
            max_s=round(self._max_s, 6),
            bins=list(self._bins),
        )
