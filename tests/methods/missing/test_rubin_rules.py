"""Rubin's rules against mice, and what must hold for any numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import rubin
from trialkit.methods._marginal import STATISTICS

ORACLE = Path(__file__).parents[2] / "oracles" / "rubin" / "oracle.txt"
SPREADS = [0.1, 1, 0.5, 0.02, 2, 0.3, 0.1, 1]


def test_mice(compare: Callable[..., float]) -> None:
    got, expected = [], []
    for row in csv.reader(ORACLE.open()):
        m, spread = int(row[1]), SPREADS[int(row[0].removeprefix("case")) - 1]
        k = np.arange(1, m + 1)
        q, u = 1.25 + spread * np.sin(3 * k), 0.4 + 0.1 * np.cos(k)
        done = rubin(q, u, float(row[2]))
        parts = [done.estimate, done.within, done.between, done.variance, done.df]
        got.append([float(p[0]) for p in [*parts, done.increase, done.fmi]])
        expected.append([float(v) for v in row[3:]])
    assert len(got) == 40
    mine, theirs = np.array(got), np.array(expected)
    oracle = "R mice 3.15.0 pool.scalar, made-up estimates"
    for i, what in enumerate(
        ["estimate", "within", "between", "total variance", "df", "relative increase", "fmi"]
    ):
        compare("rubin", "Barnard-Rubin df", oracle, what, mine[:, i], theirs[:, i], rel=1e-10)


def test_without_variation_the_complete_data_df_remain() -> None:
    done = rubin([2.0, 2.0, 2.0], [0.25, 0.25, 0.25], 30.0)
    assert done.between[0] == 0.0
    assert done.share[0] == 0.0
    np.testing.assert_allclose(done.df, 31.0 / 33.0 * 30.0)
    assert np.isinf(rubin([2.0, 2.0], [0.25, 0.25]).df[0])
    assert rubin([2.0, 2.0], [0.25, 0.25]).mc_se[0] == 0.0


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=12),
    st.floats(1e-6, 1e4),
    st.floats(1.0, 1e4),
)
def test_any_numbers(estimates: list[float], variance: float, df: float) -> None:
    q, u = np.array(estimates), np.full(len(estimates), variance)
    done = rubin(q, u, df)
    table = done.table.iloc[0]
    assert 0.0 <= table.p <= 1.0
    assert done.variance[0] >= variance * (1 - 1e-12)
    assert 0.0 < done.df[0] <= df
    assert table.lower <= table.estimate <= table.upper
    moved = rubin(7.0 + 3.0 * q, 9.0 * u, df)
    np.testing.assert_allclose(moved.se, 3.0 * done.se, rtol=1e-7)
    np.testing.assert_allclose(moved.df, done.df, rtol=1e-5)
    np.testing.assert_allclose(moved.mc_se, 3.0 * done.mc_se, rtol=1e-5, atol=1e-9)


def test_several_estimates_at_once() -> None:
    random = np.random.default_rng(4)
    q, u = random.normal(size=(6, 3)), random.uniform(1, 2, (6, 3))
    whole = rubin(q, u, 40.0)
    for k in range(3):
        one = rubin(q[:, k], u[:, k], 40.0)
        np.testing.assert_allclose(one.df, whole.df[k])
        np.testing.assert_allclose(one.se, whole.se[k])
    assert list(whole.table.columns) == list(STATISTICS)
    assert "6 imputations" in whole.summary()
    assert "<table" in whole._repr_html_()


@pytest.mark.parametrize(
    ("q", "u", "df", "what"),
    [
        ([1.0], [1.0], 5.0, "one imputation"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 5.0, "shapes"),
        ([1.0, np.nan], [1.0, 1.0], 5.0, "not finite"),
        ([1.0, np.inf], [1.0, 1.0], 5.0, "not finite"),
        ([1.0, 2.0], [1.0, -1.0], 5.0, "negative"),
        ([1.0, 2.0], [1.0, 1.0], 0.0, "df are not positive"),
    ],
)
def test_bad_input(q: list[float], u: list[float], df: float, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        rubin(q, u, df)
