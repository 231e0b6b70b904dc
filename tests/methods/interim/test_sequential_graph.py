"""Graphical procedures over several looks: the published algorithm step by step, errors kept."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods import graph, sequential, sequential_graph
from trialkit.methods.interim.graph import SequentialGraph

NAMES = ("speed", "falls", "confidence")


def plan(weights: tuple[float, ...] = (0.6, 0.2, 0.2)) -> SequentialGraph:
    edges = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    made = graph(list(weights), edges, names=NAMES, alpha=0.025)
    spending = {
        "speed": "obrien_fleming",
        "falls": ("hwang_shih_decani", -4),
        "confidence": "pocock",
    }
    looks = {"speed": [0.5, 1.0], "falls": [0.4, 1.0], "confidence": [0.5, 1.0]}
    return sequential_graph(made, looks, spending=spending)


def by_hand(planned: SequentialGraph, p: pd.DataFrame) -> dict[str, int]:
    """Algorithm 1 of Maurer and Bretz: reject, hand on, test the others again at the look."""
    gone: dict[str, int] = {}
    for look in range(1, len(p) + 1):
        while len(gone) < len(NAMES):
            weights = planned.graph.state(tuple(gone)).weights
            hit = None
            for name in NAMES:
                level = float(weights[name]) * planned.graph.alpha
                if name in gone or level <= 0.0:
                    continue
                times = planned.information[name][:look]
                rule = planned.plans[name].spending
                pair = rule.name if rule.parameter is None else (rule.name, rule.parameter)
                bound = sequential([1.0], alpha=level, spending=pair).at(times).boundaries
                if p[name].iloc[look - 1] <= bound["nominal_p"].iloc[-1]:
                    hit = name
                    break
            if hit is None:
                break
            gone[hit] = look
    return gone


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1e-5, 0.08), min_size=6, max_size=6))
def test_equals_the_algorithm_step_by_step(values: list[float]) -> None:
    planned = plan()
    p = pd.DataFrame(np.reshape(values, (2, 3)), columns=list(NAMES))
    found = planned.test(p).table.set_index("name")
    wanted = by_hand(planned, p)
    assert {n: int(found.loc[n, "look"]) for n in NAMES if found.loc[n, "rejected"]} == wanted


def test_one_look_is_the_graph_itself() -> None:
    made = graph([0.5, 0.5], [[0, 1], [1, 0]], names=["a", "b"])
    p = pd.DataFrame([[0.011, 0.02]], columns=["a", "b"])
    found = sequential_graph(made, [1.0]).test(p)
    plain = made.test({"a": 0.011, "b": 0.02})
    assert found.table["rejected"].tolist() == [bool(v) for v in plain.table["rejected"]]
    np.testing.assert_allclose(found.table["repeated_p"], [0.011, 0.02], rtol=1e-9)


def test_a_share_is_handed_on_within_the_look() -> None:
    """Falls alone miss the bound of a fifth of alpha, and meet that of the larger share."""
    planned = plan()
    small = planned.bound("falls", 2, 0.2 * 0.025)
    p = pd.DataFrame([[0.5, 0.5, 0.5], [1e-6, small * 1.5, 0.5]], columns=list(NAMES))
    found = planned.test(p)
    assert found.table["rejected"].tolist() == [True, True, False]
    rows = found.looks.set_index(["look", "name"])
    assert rows.loc[(2, "falls"), "weight"] == pytest.approx(0.5)
    assert rows.loc[(2, "falls"), "bound"] > small * 1.5
    assert [state.rejected for state in found.states] == [(), ("speed",), ("speed", "falls")]
    assert "sequential graph" in found.summary()


def test_an_analysis_that_is_not_there_is_not_rejected_and_rejections_stay() -> None:
    planned = sequential_graph(
        graph([1, 0], [[0, 1], [0, 0]], names=["a", "b"]), {"a": [0.5, 1], "b": [math.nan, 1]}
    )
    p = pd.DataFrame({"a": [1e-6, math.nan], "b": [math.nan, 0.01]})
    found = planned.test(p).table.set_index("name")
    assert found["look"].tolist() == [1.0, 2.0]
    failed = pd.DataFrame({"a": [math.nan, math.nan], "b": [math.nan, 0.0]})
    assert not planned.test(failed).table["rejected"].any()


def test_familywise_error_over_simulated_trials() -> None:
    """20,000 trials, two hypotheses with correlated statistics, both null, two looks."""
    made = graph([0.5, 0.5], [[0, 1], [1, 0]], names=["a", "b"], alpha=0.025)
    planned = sequential_graph(made, [0.5, 1.0])
    half = [planned.bound("a", look, 0.0125) for look in (1, 2)]
    rng = np.random.Generator(np.random.Philox(5))
    trials = 20_000
    root = np.linalg.cholesky([[1.0, 0.5], [0.5, 1.0]])
    first = rng.standard_normal((trials, 2)) @ root.T
    second = (first + rng.standard_normal((trials, 2)) @ root.T) / math.sqrt(2.0)
    hit = (special.ndtr(-first) <= half[0]) | (special.ndtr(-second) <= half[1])
    rate = float(hit.any(axis=1).mean())  # with both null the first rejection decides
    assert rate <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / trials)
    assert rate > 0.015


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ({"a": [0.1]}, "columns"),
        ({"a": [0.1], "b": [1.1]}, "outside"),
        ({"a": [0.1] * 3, "b": [math.nan] * 3}, "3 looks"),
        ({"a": [0.1], "b": [0.1]}, "no information"),
    ],
)
def test_bad_p_values_are_refused(p: dict[str, list[float]], words: str) -> None:
    planned = sequential_graph(
        graph([1, 0], [[0, 1], [0, 0]], names=["a", "b"]), {"a": [0.5, 1], "b": [math.nan, 1]}
    )
    with pytest.raises(UsageError, match=words):
        planned.test(pd.DataFrame(p))


def test_bad_plans_are_refused() -> None:
    two = graph([1, 0], [[0, 1], [0, 0]], names=["a", "b"])
    simes = graph([0.5, 0.5], [[0, 1], [1, 0]], names=["a", "b"], test="simes")
    with pytest.raises(UsageError, match="Bonferroni"):
        sequential_graph(simes, [0.5, 1])
    with pytest.raises(UsageError, match="b has no information"):
        sequential_graph(two, {"a": [0.5, 1]})
    with pytest.raises(UsageError, match="another level"):
        sequential_graph(two, [0.5, 1], spending="classical_pocock")
    with pytest.raises(UsageError, match="does not rise"):
        sequential_graph(two, [1, 0.5])
    with pytest.raises(UsageError, match="not analysed"):
        sequential_graph(two, {"a": [0.5, 1], "b": [math.nan, 1]}).bound("b", 1, 0.01)
