from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from device_interface.contract import Block
from device_interface.freshness import Counts, Freshness

PERIOD_NS = 10_000_000
WORD = 2**32


def block(seq: list[int], t_ns: list[int] | None = None) -> Block:
    """Rows on an even grid by their numbers, unless other times are given."""
    base = seq[0]
    times = t_ns if t_ns is not None else [(s - base) % WORD * PERIOD_NS for s in seq]
    t = np.array(times, np.int64)
    n = len(seq)
    return Block("s", np.array(seq, np.uint64).astype(np.uint32), t, t, np.zeros((n, 1), "f4"))


def counted(*blocks: Block, rate_hz: float | None = 100.0) -> Counts:
    freshness = Freshness(rate_hz)
    for one in blocks:
        freshness.take(one)
    return freshness.counts


def test_whole_rows_count_nothing() -> None:
    assert counted(block(list(range(500)))) == Counts(rows=500)
    assert counted(block([7])).whole


def test_a_gap_is_counted_with_its_size_and_its_time_is_no_step() -> None:
    found = counted(block([0, 1, 2, 10, 11]))
    assert found == Counts(rows=5, gaps=1, missing=7)
    assert not found.whole


def test_a_gap_that_was_numbered_away_shows_in_the_clock() -> None:
    times = [0, 1, 2, 40, 41]
    found = counted(block([0, 1, 2, 3, 4], [t * PERIOD_NS for t in times]))
    assert found == Counts(rows=5, clock_steps=1)


def test_duplicates_and_late_rows_are_told_apart() -> None:
    assert counted(block([0, 1, 1, 2])) == Counts(rows=4, duplicates=1)
    assert counted(block([0, 1, 3, 2, 4])) == Counts(rows=5, gaps=1, reordered=1)
    assert counted(block([0, 1, 3, 2, 2])) == Counts(rows=5, gaps=1, reordered=1, duplicates=1)


def test_a_clock_that_goes_back_or_jumps_is_counted_once() -> None:
    back = [0, 1, 2, -50, -49, -48]
    found = counted(block(list(range(6)), [t * PERIOD_NS for t in back]))
    assert found == Counts(rows=6, clock_steps=1)
    trembling = [0, 12_000_000, 19_000_000, 31_000_000, 40_000_000]
    assert counted(block(list(range(5)), trembling)).whole


def test_rows_without_a_rate_only_look_for_a_clock_that_goes_back() -> None:
    assert counted(block([0, 1, 2], [0, 5_000_000_000, 5_100_000_000]), rate_hz=None).whole
    assert counted(block([0, 1, 2], [0, 5, 4]), rate_hz=None).clock_steps == 1


def test_a_number_that_rolls_over_is_a_wrap_and_no_loss() -> None:
    seq = [(WORD - 3 + k) % WORD for k in range(6)]
    assert counted(block(seq)) == Counts(rows=6, wraps=1)
    lost = [WORD - 2, WORD - 1, 2, 3]
    found = counted(block(lost, [0, PERIOD_NS, 4 * PERIOD_NS, 5 * PERIOD_NS]))
    assert found == Counts(rows=4, wraps=1, gaps=1, missing=2)


def test_a_stream_is_stale_after_three_periods() -> None:
    freshness = Freshness(100.0)
    assert not freshness.stale(10**12)  # nothing has come yet: nothing is known
    freshness.take(block([0, 1, 2]))
    last = 2 * PERIOD_NS
    assert not freshness.stale(last + 3 * PERIOD_NS)
    assert freshness.stale(last + 3 * PERIOD_NS + 1)
    slow = Freshness(100.0, delivery_s=0.02)
    slow.take(block([0, 1, 2]))
    assert not slow.stale(last + 60_000_000)
    assert slow.stale(last + 60_000_001)


@given(
    first=st.integers(0, WORD - 1),
    lost=st.sets(st.integers(1, 198), max_size=40),
    cuts=st.lists(st.integers(1, 199), max_size=6),
)
def test_what_was_lost_is_what_is_counted_however_it_is_cut(
    first: int, lost: set[int], cuts: list[int]
) -> None:
    rows = [k for k in range(200) if k not in lost]
    seq, t = [(first + k) % WORD for k in rows], [k * PERIOD_NS for k in rows]
    edges = sorted({0, *(min(c, len(rows)) for c in cuts), len(rows)})
    parts = [block(seq[a:b], t[a:b]) for a, b in pairwise(edges) if b > a]
    found = counted(*parts)
    assert found.missing == len(lost)
    assert found.gaps == sum(1 for k in lost if k - 1 not in lost)
    assert found.wraps == (1 if first + 199 >= WORD else 0)
    assert (found.duplicates, found.reordered, found.clock_steps) == (0, 0, 0)


@given(st.permutations(list(range(30))))
def test_rows_in_any_order_lose_nothing(order: list[int]) -> None:
    seq = [0, *(k + 1 for k in order)]
    found = counted(block(seq, [k * PERIOD_NS for k in seq]))
    assert found.missing == 0
    assert found.duplicates == 0
    assert found.rows == 31
