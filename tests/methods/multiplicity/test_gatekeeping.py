"""Serial and parallel gatekeeping against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import fixed_sequence, holm
from trialkit.methods.multiplicity.gatekeeping import gatekeeping

P5 = st.lists(st.floats(1e-6, 0.1), min_size=5, max_size=5)
NAMES = ["walk", "falls", "abc", "bbs", "tug"]
FAMILIES = [["walk", "falls"], ["abc", "bbs", "tug"]]


@settings(max_examples=40, deadline=None)
@given(P5)
def test_serial_is_holm_behind_holm(values: list[float]) -> None:
    p = dict(zip(NAMES, values, strict=True))
    first = holm({n: p[n] for n in FAMILIES[0]})["p_adjusted"].to_numpy()
    second = holm({n: p[n] for n in FAMILIES[1]})["p_adjusted"].to_numpy()
    found = gatekeeping(FAMILIES, alpha=0.05).test(p).table["p_adjusted"].to_numpy()
    assert found[:2] == pytest.approx(first, rel=1e-12)
    assert found[2:] == pytest.approx(np.maximum(second, first.max()), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(P5)
def test_parallel_is_bonferroni_then_holm_at_what_was_won(values: list[float]) -> None:
    p = dict(zip(NAMES, values, strict=True))
    for alpha in (0.025, 0.05):
        result = gatekeeping(FAMILIES, alpha=alpha, gate="parallel").test(p)
        won = [p[n] <= alpha / 2 for n in FAMILIES[0]]
        second = {n: p[n] for n in FAMILIES[1]}
        expected = [False] * 3
        if any(won):
            expected = holm(second, alpha=alpha * sum(won) / 2)["rejected"].tolist()
        assert result.table["rejected"].tolist() == [*won, *expected]


def test_three_serial_families_of_one_are_the_fixed_sequence() -> None:
    p = {"a": 0.01, "b": 0.03, "c": 0.02}
    found = gatekeeping([["a"], ["b"], ["c"]], alpha=0.05).test(p).table["p_adjusted"]
    assert found.to_numpy() == pytest.approx(fixed_sequence(p)["p_adjusted"].to_numpy(), rel=1e-14)


def test_a_zero_p_behind_a_closed_gate_is_not_rejected() -> None:
    result = gatekeeping([["a", "b"], ["c"]], alpha=0.05).test({"a": 0.01, "b": 0.2, "c": 0.0})
    assert result.rejected == ["a"]
    open_gate = gatekeeping([["a", "b"], ["c"]], alpha=0.05)
    assert open_gate.test({"a": 0.01, "b": 0.04, "c": 0.0}).rejected == ["a", "b", "c"]
    assert open_gate.test({"a": 0.01, "b": 0.04, "c": 0.04}).steps[2].weights["c"] == 1.0


def test_bad_families_are_refused() -> None:
    cases: list[list[list[str]]] = [[], [[]], [["a"], []], [["a"], ["a"]]]
    for bad in cases:
        with pytest.raises(UsageError, match="families"):
            gatekeeping(bad)
    with pytest.raises(UsageError, match="gate"):
        gatekeeping([["a"]], gate="open")  # type: ignore[arg-type]
