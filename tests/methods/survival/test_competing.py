"""Cumulative incidence and Gray's test against R's cmprsk, formulas and theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import competing_risks, kaplan_meier, logrank

ORACLE = Path(__file__).parents[2] / "oracles" / "competing"
R = "R cmprsk 2.2-11, tests/oracles/competing"
COLUMNS = {"cause": "CAUSE", "group": "TRT01P"}
SHORT = {"time": "t", "cause": "c", "group": "g"}
ARMS = ["Control", "Low", "High"]
SCALES = {"DAYS": "tied times", "EXACT": "no ties"}
TIMES = [30, 75, 120, 148]

mpl.use("Agg")


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    frame = pd.read_csv(ORACLE / "data.csv")
    frame["TRT01P"] = pd.Categorical(frame["TRT01P"], ARMS)
    return frame


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "key", "at", "value"]
    return pd.read_csv(
        ORACLE / "oracle.txt", header=None, names=names, dtype=dict.fromkeys(names[2:4], str)
    )


@pytest.mark.parametrize("scale", SCALES)
def test_incidence_equals_cuminc(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame, scale: str
) -> None:
    fit = competing_risks(falls, time=scale, **COLUMNS)
    for cause in (1, 2, 3):
        want = oracle[oracle["fit"] == f"cuminc_{scale}_{cause}"]
        table = fit.at(TIMES, cause=cause)
        for quantity, got in (("estimate", table["estimate"]), ("variance", table["se"] ** 2)):
            part = want[want["quantity"] == quantity].set_index(["key", "at"])["value"]
            expected = [part[arm, str(t)] for arm in ARMS for t in TIMES]
            variant = f"Aalen variance, {SCALES[scale]}"
            compare("competing_risks", variant, R, quantity, got, expected, rel=1e-10)


@pytest.mark.parametrize("scale", SCALES)
def test_delta_variance_equals_its_formula_in_r(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame, scale: str
) -> None:
    table = competing_risks(falls, time=scale, **COLUMNS, variance="delta").at(TIMES, cause=1)
    part = oracle[oracle["fit"] == f"delta_{scale}_1"].set_index(["key", "at"])["value"]
    expected = [part[arm, str(t)] for arm in ARMS for t in TIMES]
    name = "R 4.2.2, formula, tests/oracles/competing"
    compare(
        "competing_risks", "delta variance", name, "variance", table["se"] ** 2, expected, rel=1e-10
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("fit", "options", "rho"),
    [("gray", {}, 0.0), ("gray_strata", {"strata": "SITEID"}, 0.0), ("gray_rho1", {}, 1.0)],
)
def test_gray_equals_cuminc(
    compare: Callable[..., float],
    oracle: pd.DataFrame,
    falls: pd.DataFrame,
    scale: str,
    fit: str,
    options: dict[str, str],
    rho: float,
) -> None:
    done = competing_risks(falls, time=scale, **COLUMNS, **options).gray(rho=rho)
    want = oracle[oracle["fit"] == f"{fit}_{scale}"]["value"]
    words = {"gray": "", "gray_strata": ", stratified", "gray_rho1": ", rho 1"}[fit]
    variant = f"Gray's test{words}, {SCALES[scale]}"
    compare("competing_risks", variant, R, "chi-square", done["statistic"], want, rel=1e-10)
    assert (done["df"] == 2).all()
    assert done["reason"].isna().all()


@pytest.mark.parametrize("scale", SCALES)
def test_gray_of_two_groups(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame, scale: str
) -> None:
    two = falls[falls["TRT01P"] != "Low"]
    done = competing_risks(two, time=scale, **COLUMNS).gray()
    want = oracle[oracle["fit"] == f"gray2_{scale}"]["value"]
    compare(
        "competing_risks",
        "Gray's test, two groups",
        R,
        "chi-square",
        done["statistic"],
        want,
        rel=1e-10,
    )


def test_one_cause_is_one_minus_kaplan_meier(falls: pd.DataFrame) -> None:
    data = falls.assign(ANY=(falls["CAUSE"] > 0).astype(int))
    curve = kaplan_meier(data, time="DAYS", event="ANY", group="TRT01P").at(TIMES)
    fit = competing_risks(data, time="DAYS", cause="ANY", group="TRT01P", variance="delta")
    table = fit.at(TIMES)
    assert table["estimate"].to_numpy() == pytest.approx(1 - curve["estimate"].to_numpy())
    assert table["se"].to_numpy() == pytest.approx(curve["se"].to_numpy(), rel=1e-10)


def test_the_causes_add_up(falls: pd.DataFrame) -> None:
    curves = competing_risks(falls, time="DAYS", **COLUMNS).curves
    total = curves.groupby(["group", "time"], sort=False)["estimate"].sum()
    free = curves.groupby(["group", "time"], sort=False)["free"].first()
    assert total.to_numpy() == pytest.approx(1 - free.to_numpy(), abs=1e-12)
    inside = curves[(curves["estimate"] > 0) & (curves["estimate"] < 1)]
    assert (inside["lower"] < inside["estimate"]).all()
    assert (inside["estimate"] < inside["upper"]).all()


def test_log_log_interval() -> None:
    """F^exp(+-z se / (F log F)), as SAS and tidycmprsk document it."""
    data = pd.DataFrame(
        {"t": range(1, 11), "c": [1, 2, 0, 1, 1, 2, 0, 0, 1, 0], "g": list("aaaaabbbbb")}
    )
    row = competing_risks(data, **SHORT).at(4.5, cause=1).iloc[0]
    f, se = row["estimate"], row["se"]
    ends = sorted(f ** math.exp(s * 1.959963984540054 * se / (f * math.log(f))) for s in (-1, 1))
    assert [row["lower"], row["upper"]] == pytest.approx(ends, rel=1e-12)
    plain = competing_risks(data, **SHORT, interval="plain").at(4.5, cause=1).iloc[0]
    assert plain["upper"] == pytest.approx(min(f + 1.959963984540054 * se, 1.0))


def test_differences(falls: pd.DataFrame) -> None:
    fit = competing_risks(falls, time="DAYS", **COLUMNS)
    at = fit.at(120, cause=2).set_index("TRT01P")
    row = fit.difference(120, reference="Control", cause=2).set_index("TRT01P").loc["High"]
    assert row["estimate"] == pytest.approx(
        at.loc["High", "estimate"] - at.loc["Control", "estimate"]
    )
    assert row["se"] == pytest.approx(math.hypot(at.loc["High", "se"], at.loc["Control", "se"]))
    ratio = fit.difference(120, reference="Control", cause=2, measure="ratio").set_index("TRT01P")
    back = fit.difference(120, reference="High", cause=2, measure="ratio").set_index("TRT01P")
    assert ratio.loc["High", "estimate"] == pytest.approx(1 / back.loc["Control", "estimate"])
    early = fit.difference(1, reference="Control", cause=3)
    assert early["reason"].notna().all()
    late = fit.difference(900, reference="Control", cause=1)
    assert "beyond the last observation" in late["reason"].iloc[0]


def test_words_units_order_and_labels_do_not_matter(falls: pd.DataFrame) -> None:
    fit = competing_risks(falls, time="DAYS", **COLUMNS)
    names = {0: "censored", 1: "fall", 2: "death", 3: "illness"}
    arms = {"Control": "z", "Low": "m", "High": "a"}
    moved = falls.assign(
        DAYS=falls["DAYS"] / 365.25,
        CAUSE=falls["CAUSE"].map(names),
        TRT01P=falls["TRT01P"].astype(str).map(arms),
    ).sample(frac=1.0, random_state=5)
    again = competing_risks(moved, time="DAYS", **COLUMNS, censored="censored")
    assert again.causes == ("death", "fall", "illness")
    one, two = fit.gray().set_index("cause"), again.gray().set_index("cause")
    for number, word in list(names.items())[1:]:
        assert two.loc[word, "statistic"] == pytest.approx(one.loc[number, "statistic"], rel=1e-9)
    assert again.n_groups.set_index("group").loc["m", "fall"] == 14


def test_without_competing_events_gray_is_near_the_logrank_test() -> None:
    """The same score where nobody is censored: R_k is then the number without an event."""
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"t": rng.exponential(1.0, 300), "c": 1, "g": np.arange(300) % 2})
    gray = competing_risks(data, **SHORT).gray().iloc[0]
    plain = logrank(data.rename(columns={"c": "e"}), time="t", event="e", group="g")
    assert gray["statistic"] == pytest.approx(plain.statistic, rel=0.05)


def test_no_event_fails() -> None:
    data = pd.DataFrame({"t": [1, 2, 3, 4], "c": 0, "g": list("aabb")})
    fit = competing_risks(data, **SHORT)
    assert fit.failed == "no event in these data"
    assert fit.at(2).empty
    assert fit.gray().empty
    assert "failed" in fit.summary()


def test_gray_that_is_not_defined_says_why() -> None:
    data = pd.DataFrame({"t": [1, 2, 3, 4], "c": [2, 2, 0, 1], "g": list("aabb")})
    reason = competing_risks(data, **SHORT).gray().set_index("cause")
    assert "more than one group" in reason.loc[1, "reason"]
    assert np.isnan(reason.loc[1, "p"])


@pytest.mark.parametrize(
    ("change", "options", "word"),
    [
        ({"t": [-1, 2, 3, 4]}, {}, "negative"),
        ({"t": list("abcd")}, {}, "not numeric"),
        ({"g": list("aaaa")}, {}, "only the level"),
        ({"c": ["x", "y", "none", "x"]}, {}, "value for censoring"),
        ({"c": [1.0, np.inf, 0.0, 1.0]}, {}, "infinite"),
        ({}, {"variance": "ij"}, "variance"),
        ({}, {"interval": "log"}, "interval"),
        ({}, {"strata": "s"}, "no column"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], options: dict[str, Any], word: str) -> None:
    data = pd.DataFrame({"t": [1, 2, 3, 4], "c": [1, 2, 0, 1], "g": list("aabb")} | change)
    with pytest.raises(UsageError, match=word):
        competing_risks(data, **SHORT, **options)


def test_bad_questions_are_refused() -> None:
    data = pd.DataFrame({"t": [1, 2, 3, 4], "c": [1, 2, 0, 1], "g": list("aabb")})
    fit = competing_risks(data, **SHORT)
    with pytest.raises(UsageError, match="not a cause"):
        fit.at(2, cause=7)
    with pytest.raises(UsageError, match="not a level"):
        fit.difference(2, reference="c", cause=1)
    with pytest.raises(UsageError, match="measure"):
        fit.difference(2, reference="a", cause=1, measure="cumulative_hazard_ratio")
    with pytest.raises(UsageError, match="negative"):
        fit.gray(rho=-1.0)


def test_the_figure_names_the_cause(falls: pd.DataFrame) -> None:
    fit = competing_risks(falls, time="DAYS", **COLUMNS)
    ax = fit.plot(cause=2)
    assert ax.get_ylabel() == "Cumulative incidence of 2"
    assert ax.get_xticklabels()[0].get_text().split("\n")[2:] == ["89", "37", "64"]
    mpl.pyplot.close(ax.figure)


rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from("abc"), st.sampled_from("xy")),
    min_size=2,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from(["aalen", "delta"]))
def test_any_data_give_probabilities_or_a_reason(
    values: list[tuple[int, int, str, str]], variance: str
) -> None:
    data = pd.DataFrame(values, columns=["t", "c", "g", "s"])
    if data["g"].nunique() < 2:
        return
    fit = competing_risks(data, **SHORT, strata="s", variance=variance)
    if fit.failed is not None:
        return
    curves = fit.curves
    assert curves["estimate"].between(0, 1 + 1e-12).all()
    assert (curves["se"] >= 0).all()
    limited = curves.dropna(subset=["lower"])
    assert limited["lower"].between(0, 1).all()
    assert limited["upper"].between(0, 1).all()
    test = fit.gray()
    good = test[test["reason"].isna()]
    assert good["p"].between(0, 1).all()
    assert (good["df"] >= 1).all()
    assert test[test["reason"].notna()]["statistic"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 60, 200])
def test_grays_type_one_error(n: int) -> None:
    from trialkit.methods.survival._gray import gray_test

    rng = np.random.default_rng(20260807)
    runs, code, layer, hits, used = 5000, np.arange(n) % 2, np.zeros(n, dtype=np.intp), 0, 0
    for _ in range(runs):
        times = rng.exponential(1.0, (3, n)) * np.array([1.5, 1.0, 1.5])[:, None]
        done = gray_test(times.min(axis=0), code, times.argmin(axis=0), 1, 2, layer, 1, 0.0)
        used += done.failed is None
        hits += done.p < 0.05
    error = math.sqrt(0.05 * 0.95 / used)
    print(f"n {n}: type I error {hits / used:.4f} of {used}, Monte Carlo error {error:.4f}")
    assert abs(hits / used - 0.05) < 4 * error + {20: 0.02, 60: 0.008, 200: 0.004}[n]
