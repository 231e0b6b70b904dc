"""Holm, Hochberg and Hommel against R, fixed sequence and fallback by hand, failed analyses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from trialkit.errors import UsageError
from trialkit.methods import fallback, fixed_sequence, hochberg, holm, hommel

ORACLE = Path(__file__).parents[2] / "oracles" / "multiplicity" / "oracle.txt"
P = st.lists(st.floats(0, 1), min_size=1, max_size=8)
PROCEDURES = {"holm": holm, "hochberg": hochberg, "hommel": hommel}


def named(values: list[float | None]) -> dict[str, float | None]:
    return {f"h{i}": v for i, v in enumerate(values)}


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_against_p_adjust(procedure: str, compare: Callable[..., float]) -> None:
    rows = [line.split(",") for line in ORACLE.read_text().splitlines()]
    mine, theirs = [], []
    for _, group in itertools.groupby(
        [r for r in rows if r[0] == "flat" and r[1] == procedure], key=lambda r: r[2]
    ):
        cells = list(group)
        p = named([float(c[3]) for c in cells])
        mine += PROCEDURES[procedure](p)["p_adjusted"].tolist()
        theirs += [float(c[4]) for c in cells]
    oracle = "R 4.2.2 p.adjust, six sets"
    compare(procedure, procedure, oracle, "adjusted p", mine, theirs, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(P)
def test_procedures_equal_statsmodels(values: list[float]) -> None:
    for name, other in (("holm", "holm"), ("hochberg", "simes-hochberg"), ("hommel", "hommel")):
        rejected, adjusted, *_ = multipletests(values, alpha=0.05, method=other)
        table = PROCEDURES[name](named(list(values)))
        assert table["p_adjusted"].to_numpy() == pytest.approx(adjusted, abs=1e-12)
        clear = np.abs(adjusted - 0.05) > 1e-9
        assert (table["rejected"].to_numpy() == rejected)[clear].all()


def simes(p: pd.Series) -> float:
    ranked = np.sort(p.to_numpy())
    return float((len(ranked) * ranked / np.arange(1, len(ranked) + 1)).min())


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_hommel_is_the_closed_simes_test(values: list[float]) -> None:
    from trialkit.methods.multiplicity.closure import closed_test

    p = named(list(values))
    closed = closed_test(p, simes, alpha=0.05).table
    assert hommel(p)["p_adjusted"].to_numpy() == pytest.approx(
        closed["p_adjusted"].to_numpy(), abs=1e-14
    )


def test_hommel_is_at_least_as_powerful_as_hochberg_and_hochberg_as_holm() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        p = named(list(rng.uniform(size=6) ** 3))
        a, b, c = (f(p)["p_adjusted"].to_numpy() for f in (hommel, hochberg, holm))
        assert (a <= b + 1e-15).all()
        assert (b <= c + 1e-15).all()


def test_fixed_sequence_stops_at_the_first_that_is_not_rejected() -> None:
    table = fixed_sequence(named([0.01, 0.2, 0.001]))
    assert table["p_adjusted"].tolist() == [0.01, 0.2, 0.2]
    assert table["rejected"].tolist() == [True, False, False]


def test_fallback_hands_a_rejected_share_on() -> None:
    # H2 alone has .3 * .05 = .015; with the share of H1, .8 * .05 = .04
    lone = fallback(named([0.03, 0.02, 0.2]), [0.5, 0.3, 0.2])
    assert lone["rejected"].tolist() == [False, False, False]
    table = fallback(named([0.02, 0.035, 0.04]), [0.5, 0.3, 0.2])
    assert table["rejected"].tolist() == [True, True, True]
    assert table["p_adjusted"].tolist() == pytest.approx([0.04, 0.035 / 0.8, 0.035 / 0.8])
    by_name = {"h2": 0.2, "h0": 0.5, "h1": 0.3}
    pd.testing.assert_frame_equal(fallback(named([0.02, 0.035, 0.04]), by_name), table)


def test_a_failed_analysis_is_never_rejected() -> None:
    table = fixed_sequence(named([None, 0.0001]))
    assert table["rejected"].tolist() == [False, False]
    assert np.isnan(table["p"].iloc[0])
    assert holm(named([float("nan"), 0.01]))["rejected"].tolist() == [False, True]
    for procedure in (holm, hochberg, hommel):
        assert procedure(named([None, 0.03]))["rejected"].tolist() == [False, False]
    assert fallback(named([None, 0.03]), [0.5, 0.5])["rejected"].tolist() == [False, False]


def test_a_failed_analysis_is_not_rejected_even_at_an_alpha_near_one() -> None:
    assert not holm(named([None]), alpha=1.0 - 1e-16 * 2)["rejected"].any()


@settings(max_examples=30, deadline=None)
@given(P)
def test_adjusted_p_is_never_below_p(values: list[float]) -> None:
    for procedure in (holm, hochberg, hommel, fixed_sequence):
        table = procedure(named(list(values)))
        assert (table["p_adjusted"] >= table["p"] - 1e-15).all()
        assert table["p_adjusted"].between(0, 1).all()


def test_a_series_gives_the_same_as_a_mapping() -> None:
    p = named([0.01, 0.2, 0.03])
    for procedure in (holm, hochberg, hommel, fixed_sequence):
        pd.testing.assert_frame_equal(procedure(pd.Series(p)), procedure(p))


def test_an_adjusted_p_equal_to_alpha_is_rejected() -> None:
    assert holm(named([0.1, 0.9, 0.9]), alpha=0.3)["rejected"].iloc[0]  # 3 * .1 > .3 in binary


def test_bad_input_is_refused() -> None:
    for bad in (1.2, -0.1, float("inf"), "x"):
        with pytest.raises(UsageError, match="between 0 and 1"):
            holm({"a": bad})
    for alpha in (0.0, 1.0, -1, float("nan"), True, "0.05"):
        with pytest.raises(UsageError, match="alpha"):
            fixed_sequence(named([0.5]), alpha=alpha)
    with pytest.raises(UsageError, match="no p-values"):
        hommel({})
    with pytest.raises(UsageError, match="twice"):
        holm(pd.Series([0.1, 0.2], index=["a", "a"]))
    with pytest.raises(UsageError, match="fit"):
        fallback(named([0.1, 0.2]), [0.5, 0.3, 0.2])
    with pytest.raises(UsageError, match="one weight"):
        fallback(named([0.1, 0.2]), {"h0": 0.5, "other": 0.5})
    with pytest.raises(UsageError, match="more than 1"):
        fallback(named([0.1, 0.2]), [0.7, 0.5])
