from __future__ import annotations

import math

import pytest

from trialkit.session.lateness import FIRST_S, N_BINS, Lateness, edge_s


def test_edges_are_five_a_decade_from_a_tenth_of_a_millisecond_to_ten_seconds() -> None:
    assert edge_s(0) == FIRST_S == 1e-4
    assert edge_s(5) == pytest.approx(1e-3)
    assert edge_s(N_BINS - 2) == pytest.approx(10.0)
    assert edge_s(N_BINS - 1) == math.inf


def test_every_value_lies_in_the_bin_whose_edges_enclose_it() -> None:
    for n in range(1, 400):
        late = 1e-5 * 1.04**n
        counted = Lateness()
        counted.add(late)
        at = counted.timing().bins.index(1)
        assert late <= edge_s(at) * (1 + 1e-12)
        assert at == 0 or late > edge_s(at - 1) * (1 - 1e-12)


def test_quantiles_are_upper_edges_and_never_beyond_the_largest() -> None:
    late = Lateness()
    for value in [0.0002] * 98 + [0.03, 0.7]:
        late.add(value)
    timing = late.timing()
    assert timing.ticks == 100
    assert 0.0002 <= timing.p50_s <= 0.0002 * 10**0.2
    assert 0.03 <= timing.p99_s <= 0.03 * 10**0.2
    assert timing.max_s == 0.7
    assert sum(timing.bins) == 100


def test_early_is_not_late_and_nothing_is_no_error() -> None:
    late = Lateness()
    assert late.timing().p99_s == 0.0
    late.add(-1.0)
    assert late.timing().max_s == 0.0
    late.add(99.0)
    assert late.timing().bins[-1] == 1
    assert late.timing().p99_s == 99.0
