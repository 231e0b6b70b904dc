"""Levels without an event, other separation, and random designs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import negative_binomial, poisson
from trialkit.methods.counts._newton import excess

METHODS = [negative_binomial, poisson]


def falls(seed: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 90
    site = rng.choice(["A", "B", "C"], n, p=[0.5, 0.35, 0.15])
    count = rng.poisson(rng.gamma(1.0, 1.5, n))
    return pd.DataFrame(
        {
            "n": np.where(site == "C", 0, count),
            "arm": rng.choice(["Conventional", "Robotic"], n),
            "site": site,
            "x": rng.normal(0, 1, n),
            "py": rng.uniform(0.3, 1.2, n),
        }
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_level_without_an_event_leaves_the_rest(method: Callable[..., Any]) -> None:
    """The fit is that of the other rows; the level's own ratio has no number."""
    data = falls()
    fit = method("n ~ arm + site + x", data, exposure="py")
    rest = method("n ~ arm + site + x", data[data["site"] != "C"], exposure="py")
    pd.testing.assert_frame_equal(fit.coefficients, rest.coefficients, rtol=1e-10)
    lost = int((data["site"] == "C").sum())
    assert any(f"no event where site is C: {lost} rows" in note for note in fit.notes)
    assert (fit.n, fit.n_missing) == (len(data), 0)
    pd.testing.assert_frame_equal(
        fit.rate_ratio("arm", reference="Conventional"),
        rest.rate_ratio("arm", reference="Conventional"),
        rtol=1e-10,
    )
    table = fit.rate_ratio("site", reference="A")
    assert table["site"].tolist() == ["B", "C"]
    assert table["estimate"].isna().tolist() == [False, True]
    assert fit.rate_ratio("site", reference="C")["estimate"].isna().all()
    assert fit.rates("site")["estimate"].isna().tolist() == [False, False, True]
    assert fit.rate("site")["estimate"].isna().tolist() == [False, False, True]
    # standardised rates count the participants of C, with the rate zero
    share = 1.0 - lost / len(data)
    for variance in ("robust", "delta"):
        one = fit.rate_difference("arm", reference="Conventional", variance=variance)
        two = rest.rate_difference("arm", reference="Conventional", variance=variance)
        for name in ("estimate", "se"):
            np.testing.assert_allclose(one[name], share * two[name], rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_limit_is_where_a_large_penalty_goes(method: Callable[..., Any]) -> None:
    """One event of the empty level, weighted away: the coefficients walk to the limit."""
    data = falls()
    limit = method("n ~ arm + site + x", data, exposure="py").coefficients
    at = data.index[data["site"] == "C"]
    gaps = []
    for factor in (1e2, 1e4, 1e6):
        near = data.assign(py=data["py"].where(data["site"] != "C", data["py"] * factor))
        near.loc[at[0], "n"] = 1
        found = method("n ~ arm + site + x", near, exposure="py").coefficients
        found = found[found["term"] != "site[T.C]"]
        gaps.append(np.abs(found["estimate"].to_numpy() - limit["estimate"].to_numpy()).max())
    assert all(np.isfinite(gaps))
    assert max(gaps) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_two_level_stratum_and_the_reference_level(method: Callable[..., Any]) -> None:
    data = falls()
    data["faller"] = np.where(data["site"] == "C", "no", "yes")  # sorted: "no" is the reference
    fit = method("n ~ arm + faller", data, exposure="py")
    rest = method("n ~ arm", data[data["faller"] == "yes"], exposure="py")
    got = fit.rate_ratio("arm", reference="Conventional")
    want = rest.rate_ratio("arm", reference="Conventional")
    pd.testing.assert_frame_equal(got, want, rtol=1e-9)
    assert fit.failed is None
    for reference in ("no", "yes"):
        table = fit.rate_ratio("faller", reference=reference)
        assert len(table) == 1
        assert table["estimate"].isna().all()
    with pytest.raises(UsageError):
        fit.rate_ratio("faller", reference="maybe")


@pytest.mark.parametrize("method", METHODS)
def test_an_arm_without_an_event(method: Callable[..., Any]) -> None:
    data = falls()
    data.loc[data["arm"] == "Robotic", "n"] = 0
    alone = method("n ~ arm", data, exposure="py")
    assert alone.failed is not None
    assert "no event where arm is Robotic" in alone.failed
    assert alone.rate_ratio("arm", reference="Conventional").empty
    fit = method("n ~ arm + site", data, exposure="py")
    for table in (
        fit.rate_ratio("arm", reference="Conventional"),
        fit.rate_difference("arm", reference="Conventional"),
    ):
        numbers = table.drop(columns=["arm", "reference"]).to_numpy(float)
        assert np.isnan(numbers).all()
    assert any("no event where arm is Robotic" in note for note in fit.notes)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_cell_of_an_interaction(method: Callable[..., Any]) -> None:
    data = falls()
    cell = (data["arm"] == "Robotic") & (data["site"] == "B")
    data.loc[cell, "n"] = 0
    fit = method("n ~ arm * site", data[data["site"] != "C"], exposure="py")
    assert fit.failed is None
    assert any("rows left out" in note for note in fit.notes)
    assert fit.rate_ratio("arm", reference="Conventional")["estimate"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_separation_by_a_number(method: Callable[..., Any]) -> None:
    """Events at x = 0 alone, none at larger x: the slope is minus infinity."""
    data = pd.DataFrame(
        {"n": [3, 1, 4, 0, 2, 0, 0, 0], "x": [0, 0, 0, 0, 0, 1.0, 2.0, 5.0], "g": list("ababaabb")}
    )
    fit = method("n ~ g + x", data)
    rest = method("n ~ g", data[data["x"] == 0])
    assert any("separates rows" in note for note in fit.notes)
    np.testing.assert_allclose(
        fit.rate_ratio("g", reference="a")["estimate"],
        rest.rate_ratio("g", reference="a")["estimate"],
        rtol=1e-9,
    )


def test_excess_is_smooth_where_its_series_takes_over() -> None:
    z = np.array([0.0, 1e-12, 1e-4, 0.0299999, 0.0300001, 0.5, 40.0])
    g, slope = excess(z)
    assert g[0] == 0.5
    assert slope[0] == pytest.approx(-2.0 / 3.0)
    direct = (np.log1p(z[4:]) - z[4:] / (1 + z[4:])) / z[4:] ** 2
    np.testing.assert_allclose(g[4:], direct, rtol=1e-12)
    assert g[3] == pytest.approx(g[4], rel=1e-6)
    assert slope[3] == pytest.approx(slope[4], rel=1e-6)
    step = 1e-6
    ahead, behind = excess(z[4:] + step)[0], excess(z[4:] - step)[0]
    np.testing.assert_allclose(slope[4:], (ahead - behind) / (2 * step), rtol=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(4, 45),
    mean=st.floats(0.02, 6.0),
    spread=st.floats(0.05, 4.0),
    missing=st.floats(0.0, 0.4),
    which=st.sampled_from(["joint", "conditional", "poisson", "hc1"]),
)
def test_random_designs_are_finite_or_failed(
    seed: int, n: int, mean: float, spread: float, missing: float, which: str
) -> None:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "n": rng.poisson(rng.gamma(1 / spread, spread * mean, n)).astype(float),
            "g": rng.choice(["a", "b"], n),
            "s": rng.choice(["u", "v", "w"], n, p=[0.6, 0.3, 0.1]),
            "x": rng.normal(0, 1, n) * 10.0 ** rng.integers(-4, 5),
            "py": rng.uniform(0.05, 1.5, n),
        }
    )
    data.loc[rng.uniform(size=n) < missing, "x"] = np.nan
    complete = data.dropna()
    if min(complete["g"].nunique(), complete["s"].nunique()) < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        formula = "n ~ g + s + x"
        if which in ("poisson", "hc1"):
            se = "hc0" if which == "poisson" else "hc1"
            fit: Any = poisson(formula, data, exposure="py", se=se)
        else:
            fit = negative_binomial(formula, data, exposure="py", information=which)
        tables = [fit.rate_ratio("g", reference="a")]
        tables += [
            fit.rate_difference("g", reference="a", variance=v)
            for v in ("unconditional", "robust", "delta")
        ]
        fit.rate("g")
        fit.rates("g")
    if fit.failed:
        assert all(table.empty for table in tables)
        return
    for table in tables:
        numbers = table[["estimate", "se", "statistic", "p", "lower", "upper"]].to_numpy(float)
        if np.isnan(numbers).all():  # not estimable, and a note says why
            assert any("left out" in note or "dropped as" in note for note in fit.notes)
            continue
        assert np.isfinite(numbers[:, :4]).all()
        assert (table["se"] > 0).all()
        assert table["p"].between(0, 1).all()
        assert (table["lower"] <= table["estimate"]).all()
        assert (table["estimate"] <= table["upper"]).all()
