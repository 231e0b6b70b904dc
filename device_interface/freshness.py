"""Counts what a stream of telemetry lost, repeated, exchanged or mistimed, and when it is stale.

Nothing is mended: rows go on as they came, and the counts say what was wrong with them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Block

STALE_PERIODS = 3
_WORD = 1 << 32
_KEPT_MISSING = 100_000


@dataclass
class Counts:
    """What happened to the rows of a stream.

    Attributes
    ----------
    rows : int
        Rows that came.
    gaps, missing : int
        Places where sequence numbers were left out, and how many of them never came.
    duplicates : int
        Rows that had come before.
    reordered : int
        Rows that came after a later one.
    wraps : int
        Times that the sequence number went past 2**32.
    clock_steps : int
        Places where the device's clock went back, or moved by something other than the rows.
    """

    rows: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    reordered: int = 0
    wraps: int = 0
    clock_steps: int = 0

    def __sub__(self, other: Counts) -> Counts:
        """Return what was counted since `other`."""
        return Counts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def whole(self) -> bool:
        """True where nothing was lost, repeated, exchanged or mistimed (a wrap is no fault)."""
        return not (
            self.gaps or self.missing or self.duplicates or self.reordered or self.clock_steps
        )


class Freshness:
    """Follows one stream.

    Parameters
    ----------
    rate_hz : float or None
        Declared rate; None (a row a stride) leaves only a clock that goes back to be found.
    delivery_s : float
        How often blocks come; 0 where each row comes by itself.
    """

    def __init__(self, rate_hz: float | None, *, delivery_s: float = 0.0) -> None:
        self.counts = Counts()
        self._period_ns = 1e9 / rate_hz if rate_hz else None
        # a clock may tremble; five periods, or 20 ms where that is longer, is no trembling
        self._step_ns = max(5.0 * self._period_ns, 2e7) if self._period_ns else None
        self._every_ns = max(self._period_ns or 0.0, delivery_s * 1e9)
        self._highest = 0
        self._begun = False
        self._t_ns = 0
        self._host_ns: int | None = None
        self._missing: set[int] = set()

    def take(self, block: Block) -> Counts:
        """Count a block of the stream and return what it added.

        Parameters
        ----------
        block : Block
            ``seq``, ``t_device_ns`` and ``t_host_ns`` of shape (n,).
        """
        before = Counts(**vars(self.counts))
        n = len(block)
        if not n:
            return Counts()
        self.counts.rows += n
        self._host_ns = int(block.t_host_ns[-1])
        seq, t = block.seq, block.t_device_ns
        if not self._begun:
            self._begun, self._highest, self._t_ns = True, int(seq[0]), int(t[0])
            seq, t = seq[1:], t[1:]
        if not self._plain(seq, t):
            for number, at in zip(seq.tolist(), t.tolist(), strict=True):
                self._row(number, at)
        return self.counts - before

    def stale(self, t_host_ns: int) -> bool:
        """Return True where no row came for three periods before the host's `t_host_ns`."""
        if self._host_ns is None or not self._every_ns:
            return False
        return t_host_ns - self._host_ns > STALE_PERIODS * self._every_ns

    def _plain(self, seq: NDArray[np.uint32], t: NDArray[np.int64]) -> bool:
        """Take consecutive, evenly timed rows at once; False leaves them to `_row`."""
        if not len(seq):
            return True
        steps: NDArray[np.int64] = np.diff(np.append(self._highest, seq.astype(np.int64)))
        times: NDArray[np.int64] = np.diff(np.append(self._t_ns, t))
        even = times.min() > 0 and (
            self._period_ns is None
            or self._step_ns is None
            or np.abs(times - self._period_ns).max() <= self._step_ns
        )
        if not even or not (steps == 1).all():
            return False
        self._highest, self._t_ns = int(seq[-1]), int(t[-1])
        return True

    def _row(self, number: int, t_ns: int) -> None:
        highest = self._highest
        ahead = (number - highest + _WORD // 2) % _WORD - _WORD // 2
        if ahead <= 0:
            if number in self._missing:
                self._missing.discard(number)
                self.counts.missing -= 1
                self.counts.reordered += 1
            else:
                self.counts.duplicates += 1
            return
        if ahead > 1:
            self.counts.gaps += 1
            self.counts.missing += ahead - 1
            if len(self._missing) + ahead < _KEPT_MISSING:
                self._missing.update((highest + k) % _WORD for k in range(1, ahead))
        if number < highest:
            self.counts.wraps += 1
        passed = t_ns - self._t_ns
        if passed <= 0 or (
            self._period_ns is not None
            and self._step_ns is not None
            and abs(passed - ahead * self._period_ns) > self._step_ns
        ):
            self.counts.clock_steps += 1
        self._highest, self._t_ns = number, t_ns
