"""Kaplan-Meier curves, quantiles and milestones against R's survival, lifelines and theory."""

from __future__ import annotations

import json
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
from trialkit.methods import kaplan_meier, logrank

ORACLE = Path(__file__).parents[2] / "oracles" / "survival"
R = "R survival 3.5-3, tests/oracles/survival"
COLUMNS = {"time": "DAYS", "event": "FALL", "group": "TRT01P"}
SHORT = {"time": "t", "event": "e", "group": "g"}
TYPES = {"loglog": "log-log", "log": "log", "plain": "plain"}

mpl.use("Agg")


@pytest.fixture(scope="module")
def veterans_oracle(shared: Path) -> dict[str, Any]:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


@pytest.fixture(scope="module")
def veteran(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "oracles" / "veteran.csv")


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    frame = pd.read_csv(ORACLE / "data.csv")
    frame["TRT01P"] = pd.Categorical(frame["TRT01P"], ["Control", "Low", "High"])
    return frame


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "group", "at", "value"]
    return pd.read_csv(ORACLE / "oracle.txt", header=None, names=names, dtype={"at": str})


def test_curves_equal_survfit_on_veterans(
    compare: Callable[..., float], veterans_oracle: dict[str, Any], veteran: pd.DataFrame
) -> None:
    fit = kaplan_meier(veteran, time="time", event="status", group="trt")
    table = fit.at([30, 90, 180, 365])
    rows = pd.DataFrame(veterans_oracle["veteran_km_loglog"])
    for mine, theirs in (
        ("estimate", "surv"),
        ("se", "se"),
        ("lower", "lower"),
        ("upper", "upper"),
    ):
        compare(
            "kaplan_meier",
            "log-log intervals",
            "R survival, veteran",
            theirs,
            table[mine],
            rows[theirs],
            rel=1e-12,
        )
    for name, key in (("estimate", "est"), ("lower", "lower"), ("upper", "upper")):
        assert fit.median[name].tolist() == veterans_oracle["veteran_median_loglog"][key]


@pytest.mark.parametrize("interval", TYPES)
def test_each_interval_equals_survfit(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame, interval: str
) -> None:
    fit = kaplan_meier(falls, **COLUMNS, interval=interval)
    want = oracle[(oracle["fit"] == TYPES[interval]) & (oracle["at"] != "1")]
    table = fit.at([30, 75, 120, 149])
    variant = f"{TYPES[interval]} intervals"
    for mine, theirs in (
        ("estimate", "surv"),
        ("se", "se"),
        ("lower", "lower"),
        ("upper", "upper"),
        ("at_risk", "at_risk"),
    ):
        values = want[want["quantity"] == theirs]["value"]
        compare("kaplan_meier", variant, R, mine, table[mine], values, rel=1e-12)
    shares = fit.quantile([0.1, 0.25, 0.5, 0.75])
    for mine, theirs in (
        ("estimate", "quantile"),
        ("lower", "quantile_lower"),
        ("upper", "quantile_upper"),
    ):
        values = want[want["quantity"] == theirs]["value"]
        compare("kaplan_meier", variant, R, f"quantiles, {mine}", shares[mine], values, rel=1e-12)


@pytest.mark.slow
def test_curves_equal_lifelines(compare: Callable[..., float], falls: pd.DataFrame) -> None:
    from lifelines import KaplanMeierFitter

    fit = kaplan_meier(falls, **COLUMNS)
    for name in fit.levels:
        own = falls[falls["TRT01P"] == name]
        theirs = KaplanMeierFitter().fit(own["DAYS"], own["FALL"])
        mine = fit.curves[fit.curves["group"] == name]
        expected = theirs.survival_function_.to_numpy()[:, 0]
        compare(
            "kaplan_meier",
            "curve",
            "lifelines 0.30.3",
            "survival",
            mine["survival"],
            expected,
            abs=1e-12,
        )
        inside = (mine["survival"] > 0).to_numpy()
        limits = theirs.confidence_interval_.to_numpy()[inside]
        got = mine[["lower", "upper"]].to_numpy()[inside]
        compare(
            "kaplan_meier",
            "log-log intervals",
            "lifelines 0.30.3",
            "limits",
            got,
            limits,
            abs=1e-12,
        )


def test_milestones_equal_their_formulas_in_r(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame
) -> None:
    fit = kaplan_meier(falls, **COLUMNS)
    want = oracle[oracle["fit"] == "milestone"].pivot(
        index="group", columns="quantity", values="value"
    )
    want = want.loc[["Low", "High"]]
    plain = fit.milestone(120, reference="Control")
    mover = fit.milestone(120, reference="Control", interval="mover")
    ratio = fit.milestone(120, reference="Control", measure="ratio")
    hazard = fit.milestone(120, reference="Control", measure="cumulative_hazard_ratio")
    assert plain["TRT01P"].tolist() == ["Low", "High"]
    for got, key, variant in (
        (plain["estimate"], "difference", "difference"),
        (plain["se"], "difference_se", "difference"),
        (plain["p"], "difference_p", "difference"),
        (mover["lower"], "mover_lower", "difference, MOVER"),
        (mover["upper"], "mover_upper", "difference, MOVER"),
        (ratio["estimate"], "ratio", "ratio"),
        (ratio["lower"], "ratio_lower", "ratio"),
        (hazard["p"], "cloglog_p", "complementary log-log"),
    ):
        compare("kaplan_meier", f"milestone {variant}", R, key, got, want[key], rel=1e-10)
    assert plain["reason"].isna().all()
    assert (hazard["df"] == np.inf).all()


def test_milestones_turn_with_the_reference(falls: pd.DataFrame) -> None:
    fit = kaplan_meier(falls, **COLUMNS)
    for measure in ("difference", "ratio", "cumulative_hazard_ratio"):
        there = fit.milestone(100, reference="Control", measure=measure).set_index("TRT01P")
        back = fit.milestone(100, reference="High", measure=measure).set_index("TRT01P")
        one, two = there.loc["High"], back.loc["Control"]
        turned = -two["estimate"] if measure == "difference" else 1 / two["estimate"]
        assert one["estimate"] == pytest.approx(turned, rel=1e-12)
        assert one["p"] == pytest.approx(two["p"], rel=1e-10)


def test_without_censoring_the_curve_is_a_proportion() -> None:
    data = pd.DataFrame({"t": [3.0, 1, 2, 2, 5, 4, 6, 7], "e": 1, "g": list("aaaabbbb")})
    row = kaplan_meier(data, **SHORT).at(2.5).iloc[0]
    assert row["estimate"] == pytest.approx(0.25)
    assert row["se"] == pytest.approx(np.sqrt(0.25 * 0.75 / 4))


def test_a_curve_at_zero_has_no_interval_there() -> None:
    """As in R: limits are missing where nobody is left, and the median's upper limit with them."""
    data = pd.DataFrame({"t": [0.0, 1, 2, 2, 3, 1], "e": [1, 1, 1, 0, 1, 1], "g": list("aaaaab")})
    fit = kaplan_meier(data, **SHORT)
    own = fit.curves[fit.curves["group"] == "a"]
    assert own["time"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert own["survival"].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.0])
    assert own["lower"].round(3).tolist()[:3] == [0.204, 0.126, 0.052]
    assert np.isnan(own[["lower", "upper"]].to_numpy()[3]).all()
    quartiles = fit.quantile([0.25, 0.5, 0.75])
    assert quartiles[quartiles["g"] == "a"]["estimate"].tolist() == [1.0, 2.0, 3.0]
    assert quartiles["upper"].isna().all()
    assert fit.at(50.0)["estimate"].tolist() == [0.0, 0.0]


def test_a_step_at_the_quantile_gives_its_middle() -> None:
    """R: quantile(survfit(Surv(1:4, c(1,1,0,0)) ~ 1)) is 1.5 and 3, the last to the end."""
    data = pd.DataFrame({"t": [1.0, 2, 3, 4] * 2, "e": [1, 1, 0, 0] * 2, "g": list("aaaabbbb")})
    found = kaplan_meier(data, **SHORT).quantile([0.25, 0.5, 0.75])
    own = found[found["g"] == "a"]["estimate"].tolist()
    assert own[:2] == [1.5, 3.0]
    assert np.isnan(own[2])


def test_median_not_reached_is_missing() -> None:
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 0, 0], "g": list("aabb")})
    fit = kaplan_meier(data, **SHORT)
    assert fit.median.set_index("g")["estimate"].isna()["b"]
    assert np.isnan(fit.at(9.0)["estimate"]).all()
    late = fit.milestone([9.0, 0.5], reference="a")
    assert late["estimate"].isna().all()
    assert "beyond the last observation" in late["reason"].iloc[0]
    assert "no event before" in late["reason"].iloc[1]
    ratio = fit.milestone(1.5, reference="a", measure="cumulative_hazard_ratio")
    assert ratio["p"].isna().all()
    assert "no event before" in ratio["reason"].iloc[0]


def test_cgd_time_to_first_infection(shared: Path) -> None:
    """Known answer of PROVENANCE.md: patients with an event 14 and 30, log-rank p .00061."""
    rows = pd.read_csv(shared / "data" / "recurrent_cgd_gamma_interferon.csv")
    first = rows[rows["enum"] == 1]
    fit = kaplan_meier(first, time="tstop", event="status", group="treat")
    assert dict(zip(fit.n_groups["group"], fit.n_groups["events"], strict=True)) == {
        "placebo": 30,
        "rIFN-g": 14,
    }
    assert fit.logrank()["p"].iloc[0] == pytest.approx(0.00061, abs=5e-6)


def test_the_fit_tests_as_logrank_does(falls: pd.DataFrame) -> None:
    fit = kaplan_meier(falls, **COLUMNS, strata="SITEID")
    for strata in (None, "SITEID"):
        wanted = logrank(falls, **COLUMNS, strata=strata)
        row = fit.logrank(strata).iloc[0]
        assert (row["statistic"], row["df"], row["p"]) == (wanted.statistic, wanted.df, wanted.p)
    with pytest.raises(UsageError, match="not given"):
        fit.logrank("AGE")
    none = kaplan_meier(falls.assign(FALL=0), **COLUMNS).logrank()
    assert none["p"].isna().all()


def test_units_order_and_labels_do_not_matter(falls: pd.DataFrame) -> None:
    fit = kaplan_meier(falls, **COLUMNS)
    names = {"Control": "zz", "Low": "mm", "High": "aa"}
    moved = falls.assign(DAYS=falls["DAYS"] / 365.25, TRT01P=falls["TRT01P"].astype(str).map(names))
    again = kaplan_meier(moved.sample(frac=1.0, random_state=1), **COLUMNS)
    for name, other in names.items():
        one, two = fit.median.set_index("TRT01P"), again.median.set_index("TRT01P")
        assert two.loc[other].to_numpy() * 365.25 == pytest.approx(one.loc[name].to_numpy())
    difference = fit.milestone(90, reference="Control").set_index("TRT01P").loc["High"]
    other = again.milestone(90 / 365.25, reference="zz").set_index("TRT01P").loc["aa"]
    assert other["p"] == pytest.approx(difference["p"], rel=1e-12)


def test_missing_rows_are_counted(falls: pd.DataFrame) -> None:
    holes = falls.assign(DAYS=falls["DAYS"].where(falls.index > 4))
    fit = kaplan_meier(holes, **COLUMNS)
    assert (fit.n, fit.n_missing, fit.n_subjects) == (len(falls) - 5, 5, len(falls) - 5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"e": [2, 0, 1, 1]}, "other than 0 and 1"),
        ({"e": list("1011")}, "not numeric"),
        ({"t": [-1.0, 2, 3, 4]}, "negative"),
        ({"t": [np.inf, 2, 3, 4]}, "infinite"),
        ({"g": list("aaaa")}, "only the level"),
        ({"g": ["a", "a", 1, 1]}, "mixes types"),
        ({"t": list("abcd")}, "not numeric"),
        ({"t": [np.nan] * 4}, "No row"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb")} | change)
    with pytest.raises(UsageError, match=word):
        kaplan_meier(data, **SHORT)


def test_bad_options_are_refused() -> None:
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb")})
    with pytest.raises(UsageError, match="no column"):
        kaplan_meier(data, time="T", event="e", group="g")
    with pytest.raises(UsageError, match="interval"):
        kaplan_meier(data, **SHORT, interval="arcsine")
    fit = kaplan_meier(data, **SHORT)
    with pytest.raises(UsageError, match="not a level"):
        fit.milestone(1.0, reference="c")
    with pytest.raises(UsageError, match="measure"):
        fit.milestone(1.0, reference="a", measure="odds")
    with pytest.raises(UsageError, match="not a time"):
        fit.at(-1.0)
    with pytest.raises(UsageError, match="not a share"):
        fit.quantile(1.0)


def test_the_figure_shows_curves_and_numbers_at_risk(falls: pd.DataFrame) -> None:
    fit = kaplan_meier(falls, **COLUMNS)
    ax = fit.plot(xlabel="Days")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["Control", "Low", "High"]
    first = ax.get_xticklabels()[0].get_text().split("\n")
    assert first == ["0", "", "87", "38", "45"]
    assert ax.get_xlabel() == "Days"
    assert "At risk" in ax.texts[0].get_text()
    mpl.pyplot.close(ax.figure)
    assert "product limit" in fit.summary()


rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from(sorted(TYPES)))
def test_any_data_give_probabilities_or_a_reason(
    values: list[tuple[int, bool, str]], interval: str
) -> None:
    data = pd.DataFrame(values, columns=["t", "e", "g"]).astype({"e": int})
    if data["g"].nunique() < 2:
        with pytest.raises(UsageError, match="only the level"):
            kaplan_meier(data, **SHORT)
        return
    fit = kaplan_meier(data, **SHORT, interval=interval)
    curves = fit.curves
    alive = curves[curves["survival"] > 0]
    assert alive["lower"].between(0, alive["survival"] + 1e-12).all()
    assert alive["upper"].between(alive["survival"] - 1e-12, 1).all()
    for measure in ("difference", "ratio", "cumulative_hazard_ratio"):
        table = fit.milestone([1, 3], reference=fit.levels[0], measure=measure)
        good = table[table["reason"].isna()]
        assert good["p"].between(0, 1).all()
        assert (good["se"] > 0).all()
        assert (good["lower"] <= good["upper"]).all()
        assert table[table["reason"].notna()]["estimate"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize("n", [20, 60, 200])
def test_coverage_of_log_log_limits_and_of_milestones(n: int, ratio: float) -> None:
    """Exponential times, half of the participants in each group, about a third censored.

    With a ratio of hazards of 1, a difference outside its limits is a type I error.
    """
    from trialkit.methods.survival._risk import greenwood, limits, product_limit, risk_table

    rng = np.random.default_rng(20260809)
    z, at, runs, rates = 1.959963984540054, 0.6, 5000, (1.0, ratio)
    truth = np.exp(-np.array(rates) * at)
    own = np.zeros(n // 2, dtype=np.intp)
    inside, both, defined = 0, 0, 0
    for _ in range(runs):
        found = []
        for rate in rates:
            event, end = rng.exponential(1 / rate, n // 2), rng.exponential(2.0, n // 2)
            kind = (event <= end).astype(np.intp)
            table = risk_table(np.minimum(event, end), own, kind, 1)
            survival = product_limit(table.events, table.at_risk)[:, 0]
            total = greenwood(table.events, table.at_risk)[:, 0]
            i = int(np.searchsorted(table.time, at, side="right")) - 1
            low, high = limits(survival, total, z, "loglog")
            known = 0 <= i < len(table.time) - 1 and 0 < survival[i] < 1
            found.append((survival[i], survival[i] * np.sqrt(total[i]), low[i], high[i], known))
        if found[0][4] and found[1][4]:
            defined += 1
            inside += found[0][2] <= truth[0] <= found[0][3]
            gap = found[1][0] - found[0][0] - (truth[1] - truth[0])
            both += abs(gap) <= z * np.hypot(found[0][1], found[1][1])
    error = np.sqrt(0.95 * 0.05 / defined)
    print(
        f"n {n}, ratio {ratio}: log-log {inside / defined:.4f}, difference {both / defined:.4f}, "
        f"{defined} samples, Monte Carlo error {error:.4f}"
    )
    assert abs(inside / defined - 0.95) < 4 * error + {20: 0.03, 60: 0.01, 200: 0.004}[n]
    assert abs(both / defined - 0.95) < 4 * error + {20: 0.05, 60: 0.015, 200: 0.006}[n]
