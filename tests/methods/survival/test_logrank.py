"""The log-rank test and its relatives against R's survdiff, statsmodels and theory."""

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
from trialkit.methods import logrank

ORACLE = Path(__file__).parents[2] / "oracles" / "survival"
R = "R survival 3.5-3, tests/oracles/survival"
COLUMNS = {"time": "DAYS", "event": "FALL", "group": "TRT01P"}
SHORT = {"time": "t", "event": "e", "group": "g"}
ARMS = ["Control", "Low", "High"]


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    frame = pd.read_csv(ORACLE / "data.csv")
    frame["TRT01P"] = pd.Categorical(frame["TRT01P"], ARMS)
    return frame


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "group", "other", "value"]
    return pd.read_csv(ORACLE / "oracle.txt", header=None, names=names)


def test_veterans_equal_survdiff(compare: Callable[..., float], shared: Path) -> None:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    want = json.loads(path.read_text())["results"]
    data = pd.read_csv(shared / "oracles" / "veteran.csv")
    columns = {"time": "time", "event": "status", "group": "trt"}
    done = logrank(data, **columns)
    plain = want["veteran_logrank"]
    name = "R survival, veteran"
    compare("logrank", "log-rank", name, "chi-square", done.statistic, plain["chisq"], rel=1e-10)
    compare(
        "logrank", "log-rank", name, "expected", done.groups["expected"], plain["exp"], rel=1e-12
    )
    compare("logrank", "log-rank", name, "covariance", done.covariance, plain["var"], rel=1e-11)
    assert done.groups["events"].tolist() == plain["obs"]
    assert done.p == pytest.approx(0.9277, abs=5e-5)
    within = logrank(data, **columns, strata="celltype").statistic
    value = want["veteran_logrank_strat_celltype"]["chisq"]
    compare("logrank", "stratified", name, "chi-square", within, value, rel=1e-10)


@pytest.mark.parametrize(
    ("fit", "options"),
    [
        ("logrank", {}),
        ("logrank_strata", {"strata": "SITEID"}),
        ("rho1", {"weights": "peto"}),
        ("rho1_strata", {"weights": "peto", "strata": "SITEID"}),
        ("rho05", {"weights": "fleming_harrington", "rho": 0.5}),
    ],
)
def test_three_arms_equal_survdiff(
    compare: Callable[..., float],
    oracle: pd.DataFrame,
    falls: pd.DataFrame,
    fit: str,
    options: dict[str, Any],
) -> None:
    done = logrank(falls, **COLUMNS, **options)
    want = oracle[oracle["fit"] == fit]
    value = want[want["quantity"] == "chisq"]["value"]
    fit = done.variant.removesuffix(", hypergeometric variance").replace(" by SITEID", "")
    compare("logrank", fit, R, "chi-square", done.statistic, value, rel=1e-10)
    var = want[want["quantity"] == "var"]["value"].to_numpy().reshape(3, 3)
    compare("logrank", fit, R, "covariance", done.covariance, var, rel=1e-10)
    values = want[want["quantity"] == "exp"]["value"]
    compare("logrank", fit, R, "expected", done.groups["expected"], values, rel=1e-10)
    assert done.df == 2
    assert done.table["p"].iloc[0] == done.p


@pytest.mark.parametrize("strata", [None, "SITEID"])
def test_trend_equals_the_score_test_of_cox(
    compare: Callable[..., float], oracle: pd.DataFrame, falls: pd.DataFrame, strata: str | None
) -> None:
    """Without ties the trend test is the score test of a Cox model in the scores."""
    done = logrank(falls, time="EXACT", event="FALL", group="TRT01P", strata=strata, trend=True)
    want = oracle[oracle["fit"] == ("trend_strata" if strata else "trend")]["value"]
    compare(
        "logrank", "trend", "R survival coxph score", "chi-square", done.statistic, want, rel=1e-10
    )
    assert done.df == 1
    assert done.z < 0  # fewer falls with more training
    moved = {"Control": 5.0, "Low": 7.0, "High": 9.0}
    again = logrank(falls, time="EXACT", event="FALL", group="TRT01P", strata=strata, trend=moved)
    assert again.z == pytest.approx(done.z, rel=1e-10)


@pytest.mark.parametrize(
    ("weights", "theirs", "options"),
    [
        ("wilcoxon", "gb", {}),
        ("tarone_ware", "tw", {}),
        ("logrank", None, {}),
        ("logrank", None, {"strata": "SITEID"}),
    ],
)
def test_other_weights_equal_statsmodels(
    compare: Callable[..., float],
    falls: pd.DataFrame,
    weights: str,
    theirs: str | None,
    options: dict[str, str],
) -> None:
    from statsmodels.duration.survfunc import survdiff

    strata = falls["SITEID"].to_numpy() if options else None
    codes = falls["TRT01P"].cat.codes.to_numpy()
    value = survdiff(falls["DAYS"], falls["FALL"], codes, weight_type=theirs, strata=strata)[0]
    done = logrank(falls, **COLUMNS, weights=weights, **options)
    compare(
        "logrank",
        weights,
        "statsmodels 0.15 survdiff",
        "chi-square",
        done.statistic,
        value,
        rel=1e-9,
    )


def test_a_permuted_copy_gives_the_same(falls: pd.DataFrame) -> None:
    done = logrank(falls, **COLUMNS, strata="SITEID", weights="peto")
    names = {"Control": "z", "Low": "m", "High": "a"}
    moved = falls.assign(DAYS=falls["DAYS"] * 1e-4, TRT01P=falls["TRT01P"].astype(str).map(names))
    again = logrank(moved[::-1], **COLUMNS, strata="SITEID", weights="peto")
    assert again.statistic == pytest.approx(done.statistic, rel=1e-10)
    one = done.groups.set_index("group")["expected"]
    two = again.groups.set_index("group")["expected"]
    assert two[[names[g] for g in ARMS]].to_numpy() == pytest.approx(one[ARMS].to_numpy())


def test_one_stratum_is_no_stratum(falls: pd.DataFrame) -> None:
    whole = logrank(falls, **COLUMNS)
    one = logrank(falls.assign(ONE="x"), **COLUMNS, strata="ONE")
    assert one.statistic == whole.statistic
    assert "stratified by ONE" in one.variant


def test_sign_of_two_groups() -> None:
    data = pd.DataFrame({"t": range(1, 9), "e": 1, "g": list("bbbbaaaa")})
    done = logrank(data, **SHORT)
    assert done.z == pytest.approx(math.sqrt(done.statistic))  # b, the second, fails early
    turned = logrank(data.assign(g=data["g"].map({"a": "b", "b": "a"})), **SHORT)
    assert turned.z == pytest.approx(-done.z)


def test_permutation_variance_of_an_untied_uncensored_sample() -> None:
    """Two participants, both with the event: O - E is 1/2, its variance 1/4."""
    done = logrank(pd.DataFrame({"t": [1, 2], "e": [1, 1], "g": list("ab")}), **SHORT)
    assert done.score.tolist() == pytest.approx([0.5, -0.5])
    assert done.statistic == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"t": [1, 2, 3], "e": [0, 0, 0], "g": list("aab")}, "no event in"),
        ({"t": [1, 2, 3], "e": [0, 0, 1], "g": list("aab")}, "more than one group"),
        ({"t": [1, 2, 2], "e": [0, 1, 1], "g": list("abb")}, "more than one group"),
    ],
)
def test_a_test_that_is_not_defined_says_why(data: dict[str, Any], word: str) -> None:
    done = logrank(pd.DataFrame(data), **SHORT)
    assert done.failed is not None
    assert word in done.failed
    assert done.table.empty
    assert math.isnan(done.p)
    assert word in done.summary()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"weights": "renyi"}, "weight"),
        ({"rho": 1.0}, "no meaning"),
        ({"weights": "fleming_harrington", "gamma": -1.0}, "negative"),
        ({"trend": {"a": 1.0}}, "one for each level"),
        ({"trend": {"a": 1.0, "b": 1.0}}, "differ"),
        ({"strata": "s"}, "no column"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], word: str) -> None:
    data = pd.DataFrame({"t": [1, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb")})
    with pytest.raises(UsageError) as caught:
        logrank(data, **SHORT, **options)
    assert word in f"{caught.value.message} {caught.value.remedy}"


rows = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from("abc"), st.sampled_from("xy")),
    min_size=2,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(rows, st.sampled_from(["logrank", "wilcoxon", "peto", "tarone_ware"]), st.booleans())
def test_any_data_give_a_test_or_a_reason(
    values: list[tuple[int, bool, str, str]], weights: str, trend: bool
) -> None:
    data = pd.DataFrame(values, columns=["t", "e", "g", "s"]).astype({"e": int})
    if data["g"].nunique() < 2:
        return
    done = logrank(data, **SHORT, strata="s", weights=weights, trend=trend)
    assert done.score.sum() == pytest.approx(0.0, abs=1e-9)
    if done.failed is None:
        assert done.statistic >= 0
        assert 0 <= done.p <= 1
        assert 1 <= done.df < data["g"].nunique() + 0
    else:
        assert done.table.empty


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 60, 200])
def test_type_one_error(n: int) -> None:
    from trialkit.methods.survival._rank_test import compare_groups

    rng = np.random.default_rng(20260805)
    runs, code, layer = 5000, np.arange(n) % 2, np.zeros(n, dtype=np.intp)
    hits = 0
    for _ in range(runs):
        event, end = rng.exponential(1.0, n), rng.exponential(1.5, n)
        done = compare_groups(np.minimum(event, end), (event <= end).astype(float), code, 2, layer)
        hits += done.p < 0.05
    error = math.sqrt(0.05 * 0.95 / runs)
    print(f"n {n}: type I error {hits / runs:.4f}, Monte Carlo error {error:.4f}")
    assert abs(hits / runs - 0.05) < 4 * error + (0.012 if n == 20 else 0.004)
