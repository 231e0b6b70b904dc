"""What can go wrong with a device's rows on their way to the host, made to happen on a bench."""

from __future__ import annotations

import numpy as np

from device_interface.contract import Block

CLOCK_STEP_NS = 1_000_000_000
TELEMETRY_FAULTS = frozenset({"freeze", "gap", "duplicate", "reorder", "clock_step"})


class TelemetryFaults:
    """Hurts blocks as it was told to; does nothing until then.

    ``freeze`` ends all rows for good. The others hurt the device's own stream: ``gap`` loses
    rows, ``duplicate`` sends the next row twice, ``reorder`` exchanges the next two rows, and
    ``clock_step`` sets the device's clock one second forward.

    Attributes
    ----------
    clock_ns : int
        How far the device's clock was set forward.
    """

    def __init__(self) -> None:
        self.clock_ns = 0
        self._frozen = False
        self._lose = 0
        self._twice = False
        self._exchange = False
        self._held: Block | None = None

    def begin(self, kind: str, rows: int) -> None:
        """Begin the fault `kind`; `rows` is the size of a gap."""
        if kind == "freeze":
            self._frozen = True
        elif kind == "gap":
            self._lose += rows
        elif kind == "duplicate":
            self._twice = True
        elif kind == "reorder":
            self._exchange = True
        elif kind == "clock_step":
            self.clock_ns += CLOCK_STEP_NS

    def passed(self, block: Block, *, own: bool) -> Block | None:
        """Return what is left of `block`; `own` says that it is of the device's own stream."""
        if self._frozen:
            return None
        hurts = self._lose or self._twice or self._exchange or self._held is not None
        if not self.clock_ns and not (own and hurts):
            return block
        rows = np.arange(len(block))
        if own:
            lost = min(self._lose, len(block))
            self._lose -= lost
            rows = rows[lost:]
        if own and self._twice and len(rows):
            rows = np.insert(rows, 0, rows[0])
            self._twice = False
        if own and self._exchange and len(rows) > 1:
            rows[[-2, -1]] = rows[[-1, -2]]
            self._exchange = False
        if not len(rows):
            return None
        t = block.t_device_ns[rows] + self.clock_ns
        sent = Block(block.stream, block.seq[rows], t, t, block.values[rows])
        if own and self._exchange:  # a row by itself waits for the next one
            self._exchange, self._held = False, sent
            return None
        if own and self._held is not None:
            sent, self._held = _after_first(sent, self._held), None
        return sent


def _after_first(block: Block, late: Block) -> Block:
    """Return `block` with the rows of `late` behind its first."""
    t = np.insert(block.t_device_ns, 1, late.t_device_ns)
    return Block(
        block.stream,
        np.insert(block.seq, 1, late.seq),
        t,
        t,
        np.insert(block.values, 1, late.values, axis=0),
    )
