"""Holm against statsmodels, the fixed sequence by hand, failed analyses in both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from trialkit.methods import fixed_sequence, holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def named(values: list[float | None]) -> dict[str, float | None]:
    return {f"h{i}": v for i, v in enumerate(values)}


@given(P)
def test_holm_equals_statsmodels(values: list[float]) -> None:
    rejected, adjusted, *_ = multipletests(values, alpha=0.05, method="holm")
    table = holm(named(list(values)))
    assert table["p_adjusted"].to_numpy() == pytest.approx(adjusted, abs=1e-12)
    clear = np.abs(adjusted - 0.05) > 1e-9
    assert (table["rejected"].to_numpy() == rejected)[clear].all()


def test_fixed_sequence_stops_at_the_first_that_is_not_rejected() -> None:
    table = fixed_sequence(named([0.01, 0.2, 0.001]))
    assert table["p_adjusted"].tolist() == [0.01, 0.2, 0.2]
    assert table["rejected"].tolist() == [True, False, False]


def test_a_failed_analysis_is_never_rejected() -> None:
    table = fixed_sequence(named([None, 0.0001]))
    assert table["rejected"].tolist() == [False, False]
    assert np.isnan(table["p"].iloc[0])
    assert holm(named([float("nan"), 0.01]))["rejected"].tolist() == [False, True]
    assert holm(named([None, 0.03]))["rejected"].tolist() == [False, False]


@given(P)
def test_adjusted_p_is_never_below_p(values: list[float]) -> None:
    for procedure in (holm, fixed_sequence):
        table = procedure(named(list(values)))
        assert (table["p_adjusted"] >= table["p"] - 1e-15).all()
        assert table["p_adjusted"].between(0, 1).all()


def test_p_outside_the_unit_interval_is_an_argument_error() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(named([1.2]))
    with pytest.raises(ValueError, match="alpha"):
        fixed_sequence(named([0.5]), alpha=1.0)
