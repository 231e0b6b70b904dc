"""Graphs against graphicalMCP and mvtnorm; closure, consonance and checks of the input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import fixed_sequence, graph, holm
from trialkit.methods.multiplicity.closure import closed_test
from trialkit.methods.multiplicity.normal import bivariate, orthant

ORACLE = Path(__file__).parents[2] / "oracles" / "multiplicity" / "oracle.txt"
GRAPHICAL = "graphicalMCP 0.2.8, twelve graphs"
MVTNORM = "R mvtnorm 1.1-3"
Compare = Callable[..., float]
Case = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[float]]
HOLM3 = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
TESTS = {"s": "simes", "b": "bonferroni", "p": "parametric", "hochberg": "hochberg"}


def lines(kind: str) -> list[list[str]]:
    rows = [line.split(",") for line in ORACLE.read_text().splitlines()]
    return [row[1:] for row in rows if row[0] == kind]


def options(case: dict[str, Any]) -> dict[str, Any]:
    """Translate the options of an oracle's case."""
    extra, names = case["extra"], case["names"]
    if not extra:
        return {}
    if isinstance(extra["test_types"], str):
        return {"test": TESTS[extra["test_types"]]}
    groups = [[names[i - 1] for i in group] for group in extra["test_groups"]]
    correlation = pd.DataFrame(np.nan, index=names, columns=names)
    for group, block in zip(groups, extra["test_corr"], strict=True):
        if block is not None:
            correlation.loc[group, group] = block
    kinds = [TESTS[t] for t in extra["test_types"]]
    return {"test": kinds, "groups": groups, "correlation": correlation}


def test_twelve_graphs(shared: Path, compare: Compare) -> None:
    cases = json.loads((shared / "oracles" / "graphical_mcp.json").read_text())["examples"]
    assert len(cases) == 12
    mine: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for name, case in cases.items():
        made = graph(
            case["weights"],
            case["transitions"],
            alpha=case["alpha"],
            names=case["names"],
            **options(case),
        )
        result = made.test(case["p"])
        assert result.table["rejected"].tolist() == case["rejected"], name
        kind = made.variant
        kind = next(k for k in ("parametric", "simes", "hochberg", "Bonferroni") if k in kind)
        mine.setdefault(kind, []).extend(result.table["p_adjusted"])
        theirs.setdefault(kind, []).extend(case["adjusted_p"])
    assert set(mine) == {"parametric", "simes", "hochberg", "Bonferroni"}
    for kind, values in mine.items():
        compare("graph", kind, GRAPHICAL, "adjusted p", values, theirs[kind], abs=1e-10)


@pytest.mark.parametrize("name", ["mixed", "dunnett"])
def test_parametric_closed_test_against_mvtnorm(name: str, compare: Compare) -> None:
    r = {"mixed": (0.3, -0.2, 0.5), "dunnett": (0.5, 0.5, 0.5)}[name]
    full = np.array([[1, r[0], r[1]], [r[0], 1, r[2]], [r[1], r[2], 1]])
    made = graph([0.5, 0.3, 0.2], HOLM3, test="parametric", correlation=full)
    result = made.test([0.013, 0.021, 0.018])
    variant = f"parametric, {name} correlation"
    theirs = [float(row[3]) for row in lines("parametric") if row[0] == name]
    got = result.table["p_adjusted"]
    compare("graph", variant, MVTNORM, "adjusted p", got, theirs, abs=1e-10)
    where = result.intersections.set_index("hypotheses")["p"]
    rows = [row for row in lines("factor") if row[0] == name]
    keys = [tuple(f"H{i}" for i in row[1].split()) for row in rows]
    theirs = [float(row[2]) for row in rows]
    compare("graph", variant, MVTNORM, "p of intersections", where[keys], theirs, abs=1e-10)
    levels = [made.levels_of(key) / (0.025 * made.weights_of(key)) for key in keys]
    assert all(np.ptp(c) < 1e-12 for c in levels)  # one factor a group
    factors = [c.iloc[0] for c in levels]
    theirs = [float(row[3]) for row in rows]
    compare("graph", variant, MVTNORM, "factor c of the levels", factors, theirs, rel=1e-9)


def test_normal_probabilities_against_mvtnorm(compare: Compare) -> None:
    rows = np.array(lines("bivariate"), dtype=float)
    got = [bivariate(np.array([h]), np.array([k]), r)[0] for r, h, k, _ in rows]
    compare("graph", "bivariate normal", MVTNORM, "probability", got, rows[:, 3], abs=1e-13)
    for _, upper, corr, value in lines("trivariate"):
        a, b, c = map(float, corr.split())
        full = np.array([[1, a, b], [a, 1, c], [b, c, 1]])
        found = orthant(np.array(upper.split(), dtype=float), full)[0]
        variant = "trivariate normal"
        compare("graph", variant, MVTNORM, "probability", found, float(value), abs=1e-12)


def test_singular_correlations_have_closed_forms() -> None:
    h, k = np.array([0.3, -1.0]), np.array([1.2, 0.5])
    lower = orthant(np.array([0.3]), np.eye(1))[0]
    assert bivariate(h, k, 1.0)[0] == pytest.approx(lower, abs=1e-15)
    assert bivariate(h, k, -1.0)[1] == 0.0
    same = np.ones((3, 3))
    assert orthant(np.array([0.3, 0.4, 0.5]), same)[0] == pytest.approx(lower, abs=2e-6)


def test_four_and_five_dimensions_by_two_ways() -> None:
    from trialkit.methods.multiplicity.normal import _conditional, _lattice

    a = np.array([0.7, 0.5, 0.8, 0.3])
    full = np.outer(a, a)
    np.fill_diagonal(full, 1.0)
    upper = np.array([2.0, 1.5, 2.2, 1.8])
    assert _conditional(upper, full) == pytest.approx(orthant(upper, full)[0], abs=1e-11)
    assert _lattice(upper, full) == pytest.approx(orthant(upper, full)[0], abs=5e-6)
    assert _lattice(upper, full) == _lattice(upper, full)


@st.composite
def graphs(draw: st.DrawFn, largest: int = 6) -> Case:
    m = draw(st.integers(1, largest))
    unit = st.integers(0, 10)
    raw = np.array(draw(st.lists(unit, min_size=m, max_size=m)), dtype=float)
    weights = raw / max(raw.sum(), 1.0)
    matrix = np.array(draw(st.lists(unit, min_size=m * m, max_size=m * m)), dtype=float)
    matrix = matrix.reshape(m, m)
    np.fill_diagonal(matrix, 0.0)
    matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 12.0)
    p = draw(st.lists(st.floats(0, 0.2), min_size=m, max_size=m))
    return weights, matrix, p


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_closure_of_bonferroni_is_the_shortcut_and_consonant(case: Case) -> None:
    weights, matrix, p = case
    made = graph(weights, matrix, alpha=0.05)

    def local(inside: pd.Series) -> float:
        share = made.weights_of(list(inside.index))
        live = share > 0.0
        return min(1.0, (inside[live] / share[live]).min()) if live.any() else 1.0

    named = dict(zip(made.names, p, strict=True))
    closed, stepped = closed_test(named, local, alpha=0.05), made.test(named)
    assert stepped.table["p_adjusted"].to_numpy() == pytest.approx(
        closed.table["p_adjusted"].to_numpy(), abs=1e-12
    )
    assert closed.consonant
    assert made.adjust([p])[0] == pytest.approx(stepped.table["p_adjusted"].to_numpy(), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_graphs_keep_weights_and_orders_of_power(case: Case) -> None:
    weights, matrix, p = case
    made = graph(weights, matrix, alpha=0.05)
    result = made.test(p)
    table = result.table
    assert table["p_adjusted"].between(0, 1).all()
    for state in result.steps:
        assert state.weights.sum() <= 1 + 1e-12
        assert (state.transitions.sum(axis=1) <= 1 + 1e-12).all()
        assert (np.diagonal(state.transitions) == 0).all()
        assert (state.weights[list(state.rejected)] == 0).all()
    simes = graph(weights, matrix, alpha=0.05, test="simes").test(p)
    assert (simes.table["p_adjusted"] <= table["p_adjusted"] + 1e-12).all()
    back = list(range(len(p)))[::-1]
    turned = graph(weights[back], matrix[np.ix_(back, back)], alpha=0.05).test(np.array(p)[back])
    assert turned.table["p_adjusted"].to_numpy()[back] == pytest.approx(
        table["p_adjusted"].to_numpy(), abs=1e-12
    )


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.999999])
def test_parametric_lies_between_bonferroni_and_one_test(correlation: float) -> None:
    full = np.full((3, 3), correlation)
    np.fill_diagonal(full, 1.0)
    p = [0.012, 0.02, 0.013]
    plain = graph([1 / 3] * 3, HOLM3).test(p).table["p_adjusted"].to_numpy()
    made = graph([1 / 3] * 3, HOLM3, test="parametric", correlation=full)
    found = made.test(p).table["p_adjusted"].to_numpy()
    assert (found <= plain).all()
    assert (found >= p).all()
    if correlation == 0.0:
        assert found[0] == pytest.approx(1 - (1 - 0.012) ** 3, abs=1e-14)  # Sidak
    if correlation > 0.99:
        assert found.max() == pytest.approx(0.02, rel=0.01)
        assert found.min() == pytest.approx(0.012, rel=0.01)


def test_known_graphs_are_holm_and_the_fixed_sequence() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03}
    weights = dict.fromkeys(p, 1 / 3)
    found = graph(weights, HOLM3, alpha=0.05).test(p).table["p_adjusted"].to_numpy()
    assert found == pytest.approx(holm(p)["p_adjusted"].to_numpy(), abs=1e-15)
    chain = graph({"a": 1, "b": 0, "c": 0}, {"a": {"b": 1}, "b": {"c": 1}}, alpha=0.05)
    found = chain.test(pd.Series(p)).table["p_adjusted"].to_numpy()
    assert found == pytest.approx(fixed_sequence(p)["p_adjusted"].to_numpy(), abs=1e-15)


def test_the_graph_after_each_rejection() -> None:
    # Bretz et al. (2009), two primaries and two secondaries
    matrix = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]]
    result = graph([0.5, 0.5, 0, 0], matrix, alpha=0.025).test([0.0185, 0.01, 0.105, 0.006])
    assert result.rejected == ["H2", "H4", "H1"]
    first = result.steps[1]
    assert first.weights.tolist() == [0.75, 0.0, 0.0, 0.25]
    assert first.transitions.loc["H1"].tolist() == pytest.approx([0, 0, 2 / 3, 1 / 3], abs=1e-15)
    assert first.transitions.loc["H3"].tolist() == pytest.approx([0.5, 0, 0, 0.5], abs=1e-15)
    assert result.steps[-1].weights.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert result.table["step"].tolist() == [3, 1, 0, 2]
    assert "H2 > H4 > H1" in result.summary()
    assert "H2 > H4 > H1" in result._repr_html_().replace("&gt;", ">")


def test_failed_analyses_hand_nothing_on() -> None:
    made = graph({"a": 0.5, "b": 0.5}, {"a": {"b": 1}, "b": {"a": 1}})
    result = made.test({"a": None, "b": 0.02})
    assert result.table["rejected"].tolist() == [False, False]
    assert np.isnan(result.table["p"].iloc[0])
    assert result.n_missing == 1
    assert "a" in result.notes[0]
    assert made.test({"b": 0.012, "a": float("nan")}).rejected == ["b"]


def test_a_closed_test_can_lack_consonance() -> None:
    # Simes rejects the pair while neither is rejected alone with the third
    result = graph([1 / 3] * 3, HOLM3, alpha=0.05, test="simes").test([0.03, 0.03, 0.9])
    assert result.table["p_adjusted"].tolist() == pytest.approx([0.06, 0.06, 0.9])
    assert not result.consonant
    full = closed_test({"a": 0.04, "b": 0.04}, lambda p: 0.01 if len(p) == 2 else 0.5, alpha=0.05)
    assert not full.consonant
    assert not full.table["rejected"].any()


def test_thirds_do_not_divide_by_rounding_noise() -> None:
    m = 6
    matrix = (np.ones((m, m)) - np.eye(m)) / (m - 1)
    made = graph(np.full(m, 1 / m), matrix, alpha=0.05)
    for k in range(1, m + 1):
        names = [f"H{i + 1}" for i in range(k)]
        assert made.weights_of(names).to_numpy() == pytest.approx(np.full(k, 1 / k), abs=1e-15)


def test_bad_graphs_are_refused() -> None:
    good = [[0.0, 1.0], [1.0, 0.0]]
    cases: list[tuple[str, Any]] = [
        ("more than 1", lambda: graph([0.6, 0.5], good)),
        ("not negative", lambda: graph([-0.1, 0.5], good)),
        ("not negative", lambda: graph([float("inf"), 0.5], good)),
        ("more than 1", lambda: graph([0.5, 0.5], [[0, 1.2], [1, 0]])),
        ("to itself", lambda: graph([0.5, 0.5], [[0.2, 0.5], [1, 0]])),
        ("shape", lambda: graph([0.5, 0.5], [[0, 1, 0], [1, 0, 0]])),
        ("numbers", lambda: graph(["x", "y"], good)),
        ("do not fit", lambda: graph([0.5, 0.5], good, names=["a", "a"])),
        ("do not fit", lambda: graph([], [])),
        ("name", lambda: graph({"a": 0.5, "b": 0.5}, {"a": {"c": 1.0}})),
        ("are not the hypotheses", lambda: graph({"a": 1.0}, pd.DataFrame([[0.0]]))),
        ("alpha", lambda: graph([0.5, 0.5], good, alpha=0.0)),
        ("does not name a test", lambda: graph([0.5, 0.5], good, test="fisher")),
        ("each hypothesis once", lambda: graph([0.5, 0.5], good, groups=[["H1"]])),
        ("needs the correlation", lambda: graph([0.5, 0.5], good, test="parametric")),
        (
            "no correlation matrix",
            lambda: graph([0.5, 0.5], good, test="parametric", correlation=[[1, 2], [2, 1]]),
        ),
        ("equal weights", lambda: graph([0.7, 0.3], good, test="hochberg")),
        ("an overflow", lambda: graph([1, 0], [[0, 0.5], [0, 0]], overflow=[[0, 1], [0, 0]])),
        ("no hypothesis", lambda: graph([0.5, 0.5], good).weights_of(["H9"])),
        ("no hypothesis", lambda: graph([0.5, 0.5], good).weights_of([])),
        ("do not fit", lambda: graph([0.5, 0.5], good).test({"H1": 0.1, "H3": 0.2})),
        ("3 p-values", lambda: graph([0.5, 0.5], good).test([0.1, 0.2, 0.3])),
        ("between 0 and 1", lambda: graph([0.5, 0.5], good).test([0.1, 1.2])),
        ("outside", lambda: graph([0.5, 0.5], good).adjust([[0.1, 1.2]])),
        ("no step", lambda: graph([0.5, 0.5], good).test([0.1, 0.2]).plot(7)),
        ("depend on", lambda: graph([0.5, 0.5], good, test="simes").levels_of(["H1"])),
        (
            "intersections",
            lambda: graph([0.05] * 20, np.zeros((20, 20)), test="simes").test([1] * 20),
        ),
        ("returned", lambda: closed_test({"a": 0.5}, lambda p: float("nan"))),
    ]
    for words, call in cases:
        with pytest.raises(UsageError, match=words):
            call()


def test_plots_draw_every_node_and_edge() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    matrix = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]]
    made = graph([0.5, 0.5, 0, 0], matrix, alpha=0.025)
    ax = made.plot(title="start")
    texts = [t.get_text() for t in ax.texts]
    assert sum(t.startswith("H") for t in texts) == 4
    assert len(texts) == 4 + 6
    ax = made.test([0.0185, 0.01, None, 0.006]).plot()
    assert [t.get_text() for t in ax.texts if "rejected" in t.get_text()]
    assert ax.get_title(loc="left") == "Graph after rejecting H1"
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_familywise_error_is_kept(correlation: float, capsys: pytest.CaptureFixture[str]) -> None:
    from scipy import special

    matrix = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]]
    trials, alpha = 20_000, 0.025
    rng = np.random.default_rng(11)
    full = np.full((4, 4), correlation)
    np.fill_diagonal(full, 1.0)
    z = rng.standard_normal((trials, 4)) @ np.linalg.cholesky(full).T
    se = np.sqrt(alpha * (1 - alpha) / trials)
    for shift in ([0, 0, 0, 0], [3, 0, 0, 0], [0, 3, 3, 0]):
        p = special.ndtr(-(z + np.array(shift)))
        for test in ("bonferroni", "simes"):
            made = graph([0.5, 0.5, 0, 0], matrix, alpha=alpha, test=test)
            adjusted = made.adjust(p if test == "bonferroni" else p[:4000])
            wrong = ((adjusted <= alpha) & (np.array(shift) == 0)).any(axis=1).mean()
            with capsys.disabled():
                print(f"\n{test} rho {correlation} shift {shift}: {wrong:.4f} (+-{se:.4f})")
            allowed = se if test == "bonferroni" else se * np.sqrt(5)
            assert wrong <= alpha + 3 * allowed
    made = graph(
        [1 / 4] * 4, (np.ones((4, 4)) - np.eye(4)) / 3, test="parametric", correlation=full
    )
    level = made.levels_of(["H1", "H2", "H3", "H4"]).to_numpy()
    wrong = (special.ndtr(-z) <= level).any(axis=1).mean()
    assert abs(wrong - 0.025) <= 4 * se  # exact under the whole null hypothesis
