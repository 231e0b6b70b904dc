from __future__ import annotations

import numpy as np
import pytest

from device_interface.contract import Block
from device_interface.freshness import Counts, Freshness
from device_interface.telemetry_faults import TELEMETRY_FAULTS, TelemetryFaults

PERIOD_NS = 10_000_000


def rows(first: int, n: int) -> Block:
    seq = np.arange(first, first + n, dtype=np.uint32)
    t = seq.astype(np.int64) * PERIOD_NS
    return Block("own", seq, t, t, seq[:, None].astype(np.float32))


def sent(kind: str, size: int) -> tuple[Counts, list[int]]:
    """Twenty rows in blocks of `size`, hurt by `kind` after the first block."""
    faults, freshness, seq = TelemetryFaults(), Freshness(100.0), list[int]()
    for at in range(0, 20, size):
        if at == size:
            faults.begin(kind, rows=3)
        block = faults.passed(rows(at, size), own=True)
        if block is not None:
            assert np.array_equal(block.values[:, 0], block.seq)
            freshness.take(block)
            seq += block.seq.tolist()
    return freshness.counts, seq


@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_fault_hurts_rows_in_its_own_way_however_they_are_cut(size: int) -> None:
    assert sent("gap", size)[0] == Counts(rows=17, gaps=1, missing=3)
    assert sent("duplicate", size)[0] == Counts(rows=21, duplicates=1)
    assert sent("reorder", size)[0] == Counts(rows=20, gaps=1, reordered=1)
    assert sent("clock_step", size)[0] == Counts(rows=20, clock_steps=1)
    assert sent("freeze", size)[1] == list(range(size))


def test_other_streams_are_hurt_by_a_freeze_alone() -> None:
    for kind in TELEMETRY_FAULTS - {"clock_step"}:
        faults = TelemetryFaults()
        faults.begin(kind, rows=3)
        block = faults.passed(rows(0, 5), own=False)
        assert (block is None) == (kind == "freeze")
        assert block is None or block.seq.tolist() == list(range(5))
