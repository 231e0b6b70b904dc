"""Restricted mean survival times against survRM2, R's survival and theory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import kaplan_meier, rmst
from trialkit.methods.survival.rmst import restricted_mean

ORACLE = Path(__file__).parents[2] / "oracles" / "survival"
R = "R survival 3.5-3, tests/oracles/survival"
COLUMNS = {"time": "DAYS", "event": "FALL", "group": "TRT01P"}
SHORT = {"time": "t", "event": "e", "group": "g"}


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    frame = pd.read_csv(ORACLE / "data.csv")
    frame["TRT01P"] = pd.Categorical(frame["TRT01P"], ["Control", "Low", "High"])
    return frame


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "group", "tau", "value"]
    return pd.read_csv(ORACLE / "oracle.txt", header=None, names=names, dtype={"tau": str})


def test_pbc_equals_survrm2(compare: Callable[..., float], shared: Path) -> None:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    want = json.loads(path.read_text())["results"]["pbc_rmst_tau10"]
    data = pd.read_csv(shared / "oracles" / "pbc_survRM2.csv")
    fit = rmst(data, time="time", event="status", group="arm", tau=10.0)
    name, variant = "R survRM2, pbc", "difference, Greenwood plug-in"
    compare(
        "rmst", variant, name, "means", fit.table["estimate"], want["rmst_arm0_arm1"], rel=1e-12
    )
    compare("rmst", variant, name, "SE", fit.table["se"], want["se"], rel=1e-12)
    row = fit.difference(reference=0).iloc[0]
    got = [row["estimate"], row["se"], row["lower"], row["upper"], row["p"]]
    expected = [want["diff"], want["se_diff"], *want["ci"], want["p"]]
    compare("rmst", variant, name, "difference, SE, interval, p", got, expected, rel=1e-10)
    assert (row["arm"], row["reference"]) == (1, 0)


@pytest.mark.parametrize("tau", [180, 365])
def test_veterans_equal_survfit(compare: Callable[..., float], shared: Path, tau: int) -> None:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    want = json.loads(path.read_text())["results"][f"veteran_rmst_tau{tau}"]
    data = pd.read_csv(shared / "oracles" / "veteran.csv")
    fit = rmst(data, time="time", event="status", group="trt", tau=tau)
    row = fit.difference(reference=1).iloc[0]
    got = [*fit.table["estimate"], *fit.table["se"], row["estimate"], row["se"], row["p"]]
    expected = [*want["rmst"], *want["se"], want["diff_2_minus_1"], want["se_diff"], want["p"]]
    compare("rmst", "difference", "R survival, veteran", "all", got, expected, rel=1e-10)


def test_three_arms_and_strata_equal_r(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame
) -> None:
    def check(name: str, tau: float, **options: Any) -> None:
        table = rmst(falls, **COLUMNS, tau=tau, **options).table
        want = oracle[(oracle["fit"] == name) & (oracle["tau"] == str(tau))]
        for mine, theirs in (("estimate", "rmean"), ("se", "se")):
            values = want[want["quantity"] == theirs]["value"]
            variant = "means, standardised over strata" if options else "means"
            compare("rmst", variant, R, f"{mine} to day {tau}", table[mine], values, rel=1e-11)

    for tau in (60, 120, 150):
        check("rmst", tau)
    check("rmst_strata", 100, strata="SITEID")


def test_the_mean_is_the_area_under_the_curve(falls: pd.DataFrame) -> None:
    curves = kaplan_meier(falls, **COLUMNS).curves
    table = rmst(falls, **COLUMNS, tau=133.5).table.set_index("TRT01P")["estimate"]
    for name, one in curves.groupby("group"):
        inside = one[one["time"] <= 133.5]
        widths = np.diff([*inside["time"], 133.5])
        assert table[name] == pytest.approx(float(inside["survival"] @ widths), rel=1e-12)


def test_without_censoring_it_is_the_mean_of_the_cut_times() -> None:
    times = np.array([1.0, 2.0, 2.0, 5.0, 9.0, 11.0])
    area, variance, reached = restricted_mean(times, np.ones(6), 6.0)
    cut = np.minimum(times, 6.0)
    assert area == pytest.approx(cut.mean(), rel=1e-12)
    assert variance == pytest.approx(cut.var() / 6, rel=1e-12)
    assert reached


def test_ratios(falls: pd.DataFrame) -> None:
    fit = rmst(falls, **COLUMNS, tau=120)
    mean, variance = fit.mean, fit.variance
    row = fit.ratio(reference="Control").set_index("TRT01P").loc["High"]
    assert row["estimate"] == pytest.approx(mean[2] / mean[0])
    log_se = math.sqrt(variance[2] / mean[2] ** 2 + variance[0] / mean[0] ** 2)
    assert row["se"] == pytest.approx(log_se)
    assert row["lower"] == pytest.approx(row["estimate"] * math.exp(-1.959963984540054 * log_se))
    lost = fit.ratio(reference="Control", of="rmtl").set_index("TRT01P").loc["High"]
    assert lost["estimate"] == pytest.approx((120 - mean[2]) / (120 - mean[0]))
    with pytest.raises(UsageError, match="quantity"):
        fit.ratio(reference="Control", of="hazard")
    with pytest.raises(UsageError, match="not a level"):
        fit.difference(reference="Sham")


def test_units_scale_and_order_does_not_matter(falls: pd.DataFrame) -> None:
    fit = rmst(falls, **COLUMNS, tau=120, strata="SITEID")
    moved = falls.assign(DAYS=falls["DAYS"] / 7).sample(frac=1.0, random_state=2)
    again = rmst(moved, **COLUMNS, tau=120 / 7, strata="SITEID")
    assert fit.failed == again.failed
    plain = rmst(falls, **COLUMNS, tau=120).difference(reference="Low")
    weeks = rmst(moved, **COLUMNS, tau=120 / 7).difference(reference="Low")
    assert weeks["estimate"].to_numpy() * 7 == pytest.approx(plain["estimate"].to_numpy())
    assert weeks["p"].to_numpy() == pytest.approx(plain["p"].to_numpy(), rel=1e-9)


def test_tau_beyond_the_follow_up_fails() -> None:
    data = pd.DataFrame({"t": [2.0, 5, 8, 3, 4, 6], "e": [1, 0, 0, 1, 1, 1], "g": list("aaabbb")})
    far = rmst(data, **SHORT, tau=8.5)
    assert far.failed is not None
    assert "beyond the last follow-up of a: 8" in far.failed
    assert far.table.empty
    assert far.difference(reference="a").empty
    assert far.ratio(reference="a").empty
    assert "failed" in far.summary()
    near = rmst(data, **SHORT, tau=8.0)  # b ends at 0 by then: allowed, as in survRM2
    assert near.failed is None
    assert near.table["estimate"].iloc[1] == pytest.approx((3 + 4 + 6) / 3)
    assert rmst(data, **SHORT).tau == 6.0
    assert "from the data" in rmst(data, **SHORT).notes[0]


def test_other_failures_say_why(falls: pd.DataFrame) -> None:
    none = rmst(falls.assign(FALL=0), **COLUMNS, tau=100)
    assert none.failed is not None
    assert "no event before tau" in none.failed
    gone = falls[~((falls["TRT01P"] == "Low") & (falls["SITEID"] == "C"))]
    empty = rmst(gone, **COLUMNS, tau=60, strata="SITEID")
    assert empty.failed is not None
    assert "no participant in Low, C" in empty.failed
    start = rmst(falls.assign(DAYS=falls["DAYS"].where(falls["TRT01P"] != "Low", 0)), **COLUMNS)
    assert start.failed is not None
    assert "time 0" in start.failed
    for tau in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="tau"):
            rmst(falls, **COLUMNS, tau=tau)


rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from("abc")), min_size=2, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from([None, 2.0, 4.5]))
def test_any_data_give_means_or_a_reason(
    values: list[tuple[int, bool, str]], tau: float | None
) -> None:
    data = pd.DataFrame(values, columns=["t", "e", "g"]).astype({"e": int})
    if data["g"].nunique() < 2:
        return
    fit = rmst(data, **SHORT, tau=tau)
    if fit.failed is None:
        assert ((fit.mean >= 0) & (fit.mean <= fit.tau + 1e-12)).all()
        assert (fit.variance >= 0).all()
        difference = fit.difference(reference=fit.levels[0])
        assert (difference["p"].between(0, 1) == (difference["se"] > 0)).all()
        assert difference["estimate"].notna().all()
    else:
        assert fit.table.empty


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize("n", [20, 60, 200])
def test_coverage_of_the_difference(n: int, ratio: float) -> None:
    """Exponential times, uniform censoring beyond tau; at a ratio of 1 a miss is a type I error."""
    rng = np.random.default_rng(20260806)
    tau, runs, hit, used = 1.0, 5000, 0, 0
    truth = -(1 - math.exp(-ratio * tau)) / ratio + (1 - math.exp(-tau))
    for _ in range(runs):
        parts = []
        for rate in (1.0, ratio):
            event, end = rng.exponential(1 / rate, n // 2), rng.uniform(0.5, 3.0, n // 2)
            parts.append(restricted_mean(np.minimum(event, end), (event <= end).astype(float), tau))
        if parts[0][2] and parts[1][2]:
            used += 1
            gap = parts[0][0] - parts[1][0] - truth
            hit += abs(gap) <= 1.959963984540054 * math.sqrt(parts[0][1] + parts[1][1])
    error = math.sqrt(0.95 * 0.05 / used)
    print(
        f"n {n}, ratio {ratio}: coverage {hit / used:.4f} of {used}, Monte Carlo error {error:.4f}"
    )
    assert abs(hit / used - 0.95) < 4 * error + {20: 0.05, 60: 0.012, 200: 0.004}[n]
