"""Logistic regression and standardised risks against beeca, SAS macros, RobinCar2 and R."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import binary
from trialkit.methods.categorical.binary import SEPARATION, BinaryFit

Compare = Callable[..., float]
FOLDER = Path(__file__).parents[2] / "oracles" / "binary"
R = "R 4.2.2, own data (tests/oracles/binary)"
TERMS = ["(Intercept)", "TRTHigh", "TRTLow", "AGE", "BASE"]


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (shared / "oracles" / "covariate_adjustment.json").read_text()
    )
    return found


@pytest.fixture(scope="module")
def trial01(shared: Path) -> BinaryFit:
    data = pd.read_csv(shared / "oracles" / "beeca_trial01.csv", dtype={"trtp": str})
    fit: BinaryFit = binary("aval ~ trtp + bl_cov", data)
    assert (fit.n, fit.n_missing) == (267, 1)
    return fit


@pytest.fixture(scope="module")
def own() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "data.csv")


@pytest.fixture(scope="module")
def ours() -> dict[tuple[str, str], dict[str, float]]:
    out: dict[tuple[str, str], dict[str, float]] = {}
    for line in (FOLDER / "oracle.txt").read_text().splitlines():
        fit, quantity, term, value = line.split(",")
        out.setdefault((fit, quantity), {})[term] = float(value)
    return out


def test_logistic_equals_glm(oracle: dict[str, Any], trial01: BinaryFit, compare: Compare) -> None:
    wanted = oracle["beeca"]["logistic"]
    table = trial01.coefficients
    args = ("binary", "logistic, maximum likelihood", "R glm, beeca trial01")
    compare(*args, "coefficients", table["estimate"], [r["est"] for r in wanted], rel=1e-6)
    compare(*args, "standard errors", table["se"], [r["se"] for r in wanted], rel=1e-6)


@pytest.mark.parametrize("measure", ["difference", "ratio", "odds_ratio"])
@pytest.mark.parametrize(
    ("variance", "key"),
    [
        ("ye", "Ye|HC0"),
        ("ge", "Ge|HC0"),
        ("ge_hc1", "Ge|HC1"),
        ("ge_hc3", "Ge|HC3"),
        ("delta", "Ge|model-based"),
    ],
)
def test_standardised_equals_beeca(
    oracle: dict[str, Any],
    trial01: BinaryFit,
    compare: Compare,
    measure: Any,
    variance: Any,
    key: str,
) -> None:
    name = {"difference": "diff", "ratio": "logrr", "odds_ratio": "logor"}[measure]
    wanted = oracle["beeca"][f"{key}|{name}"]
    row = trial01.standardised("trtp", reference="0", measure=measure, variance=variance).iloc[0]
    value = row["estimate"] if measure == "difference" else np.log(row["estimate"])
    args = ("binary", f"standardised, {variance}", "beeca 0.2.0, trial01")
    compare(*args, f"{measure}: estimate", value, wanted["estimate"], rel=1e-6)
    compare(*args, f"{measure}: SE", row["se"], wanted["se"], rel=1e-6)


def test_delta_equals_the_sas_margins_macro(
    oracle: dict[str, Any], trial01: BinaryFit, compare: Compare
) -> None:
    wanted = oracle["beeca"]["sas_margins_macro"][0]
    row = trial01.standardised("trtp", reference="0", variance="delta").iloc[0]
    compare(
        "binary",
        "standardised, delta",
        "SAS %margins, trial01",
        "difference, SE, p, limits",
        row[["estimate", "se", "p", "lower", "upper"]].astype(float),
        [wanted[k] for k in ("Estimate", "StdErr", "Pr", "Lower", "Upper")],
        rel=1e-6,
    )


def test_ge_is_near_the_sas_ge_macro(
    oracle: dict[str, Any], trial01: BinaryFit, compare: Compare
) -> None:
    """The macro prints a model-based SE after a fit of six digits."""
    wanted = oracle["beeca"]["sas_ge_macro"]
    wanted = wanted[0] if isinstance(wanted, list) else wanted
    row = trial01.standardised("trtp", reference="0", variance="delta").iloc[0]
    args = ("binary", "standardised, delta", "SAS Ge macro, trial01")
    compare(*args, "difference, SE", row[["estimate", "se"]].astype(float),
            [wanted["diff"], wanted["se"]], rel=1e-5)  # fmt: skip


def test_risks_equal_beeca(oracle: dict[str, Any], trial01: BinaryFit, compare: Compare) -> None:
    table = oracle["beeca"]["marginal_results_Ye_diff"]["STATVAL"]
    risks = trial01.risks("trtp")
    args = ("binary", "standardised, ye", "beeca 0.2.0, trial01")
    compare(*args, "risks", risks["estimate"], [table[3], table[8]], rel=1e-6)
    compare(*args, "SE of risks", risks["se"], [table[4], table[9]], rel=1e-6)


@pytest.mark.parametrize(("strata", "key"), [(None, "simple"), ("s1", "pb")])
def test_three_arms_equal_robincar2(
    shared: Path, oracle: dict[str, Any], compare: Compare, strata: str | None, key: str
) -> None:
    wanted = oracle["RobinCar2"][f"glm_{key}_diff"]
    data = pd.read_csv(shared / "oracles" / "robincar2_glm_data.csv")
    fit = binary("y_b ~ treatment + s1 + covar", data)
    what = "permuted blocks" if strata else "simple randomisation"
    args = ("binary", f"standardised, ye, {what}", "RobinCar2 0.2.3.9000, glm_data")
    risks = fit.risks("treatment", strata=strata)
    compare(*args, "risks", risks["estimate"], wanted["mean"], rel=1e-6)
    if "mean_vcov" in wanted:
        expected = np.sqrt(np.diag(wanted["mean_vcov"]))
        compare(*args, "SE of risks", risks["se"], expected, rel=1e-6)
    table = fit.standardised("treatment", reference="pbo", strata=strata)
    compare(*args, "differences", table["estimate"], wanted["contrast"][:2], rel=1e-6)
    expected = np.sqrt(np.diag(wanted["contrast_vcov"]))[:2]
    compare(*args, "SE of differences", table["se"], expected, rel=1e-6)
    other = fit.standardised("treatment", reference="trt1", strata=strata).iloc[1]
    compare(*args, "trt2 - trt1", [other["estimate"], other["se"]],
            [wanted["contrast"][2], np.sqrt(wanted["contrast_vcov"][2][2])], rel=1e-6)  # fmt: skip


def test_printed_robincar2_numbers(shared: Path, compare: Compare) -> None:
    data = pd.read_csv(shared / "oracles" / "robincar2_glm_data.csv")
    args = ("binary", "standardised, ye, permuted blocks", "RobinCar2 print, glm_data")
    fit = binary("y_b ~ treatment * s1 + covar", data)
    row = fit.standardised("treatment", reference="pbo", strata="s1").iloc[0]
    compare(*args, "difference, interactions", row[["estimate", "se"]].astype(float),
            [0.224599, 0.047711], abs=5e-7)  # fmt: skip
    fit = binary("y_b ~ treatment + s1 + covar", data)
    row = fit.standardised("treatment", reference="pbo", strata="s1", measure="ratio").iloc[0]
    compare(*args, "log ratio", [np.log(row["estimate"]), row["se"]], [0.488945, 0.110614],
            abs=5e-7)  # fmt: skip


def test_own_maximum_likelihood_and_sandwich(
    own: pd.DataFrame, ours: dict[tuple[str, str], dict[str, float]], compare: Compare
) -> None:
    fit = binary("Y ~ TRT + AGE + BASE", own)
    args = ("binary", "logistic, maximum likelihood", f"{R} glm")
    for column in ("estimate", "se"):
        wanted = [ours["ml", column][t] for t in TERMS]
        compare(*args, column, fit.coefficients[column], wanted, rel=1e-9)
    compare(*args, "log-likelihood", fit.loglik, ours["ml", "loglik"][""], rel=1e-12)
    from trialkit.methods.categorical._logistic import Maximum, sandwich

    at = Maximum(fit.beta, fit.covariance, fit.loglik)
    for kind in ("HC0", "HC1", "HC3"):
        got = np.sqrt(np.diag(sandwich(fit.design.x, fit.design.y, at, kind.lower())))
        wanted = [ours["ml", kind][t] for t in TERMS]
        compare("binary", "sandwich", f"{R} sandwich", kind, got, wanted, rel=1e-8)


@pytest.mark.parametrize(("name", "y"), [("firth", "Y"), ("firth_separated", "RARE")])
def test_firth(
    own: pd.DataFrame,
    ours: dict[tuple[str, str], dict[str, float]],
    compare: Compare,
    name: str,
    y: str,
) -> None:
    estimator: Any = "firth" if y == "Y" else "ml"
    fit = binary(f"{y} ~ TRT + AGE + BASE", own, estimator=estimator, separation="firth")
    assert fit.failed is None
    assert "Firth" in fit.variant
    assert any("separated" in note for note in fit.notes) == (y == "RARE")
    table = fit.coefficients
    what = "Firth" if y == "Y" else "Firth, separated"
    for column, key in (("estimate", "estimate"), ("se", "se"), ("statistic", "root"),
                        ("lower", "lower"), ("upper", "upper")):  # fmt: skip
        wanted = [ours[name, key][t] for t in TERMS]
        compare("binary", what, f"{R} optim", column, table[column], wanted, rel=1e-6)
    for column in ("estimate", "se"):
        wanted = [ours[f"{name}_brglm", column][t] for t in TERMS]
        compare("binary", what, f"{R} brglm", column, table[column], wanted, rel=1e-6)
    row = fit.contrast("TRT", reference="Low").iloc[1]
    wanted = [ours[name, k]["High-Low"] for k in ("row", "root", "lower", "upper")]
    got = row[["estimate", "statistic", "lower", "upper"]].astype(float)
    compare("binary", what, f"{R} optim", "contrast of arms", got, wanted, rel=1e-6)


def test_conditional(
    own: pd.DataFrame, ours: dict[tuple[str, str], dict[str, float]], compare: Compare
) -> None:
    fit = binary("Y ~ TRT + AGE + BASE", own, strata="SITE")
    args = ("binary", "conditional on strata", f"{R} clogit exact")
    for column in ("estimate", "se"):
        wanted = [ours["conditional", column][t] for t in TERMS[1:]]
        compare(*args, column, fit.coefficients[column], wanted, rel=1e-8)
    compare(*args, "log-likelihood", fit.loglik, ours["conditional", "loglik"][""], rel=1e-10)
    row = fit.odds_ratio("TRT", reference="Control").iloc[0]
    assert np.log(row["estimate"]) == pytest.approx(ours["conditional", "estimate"]["TRTHigh"])
    assert any("one response only" in note for note in fit.notes)
    with pytest.raises(UsageError, match="conditional"):
        fit.standardised("TRT", reference="Control")


def test_conditional_drops_what_is_constant_within_strata() -> None:
    data = pd.DataFrame(
        {
            "y": [0, 1, 1, 0, 0, 1, 1, 0, 1, 0],
            "g": list("ababababab"),
            "s": list("1111222233"),
            "z": [5.0] * 4 + [7.0] * 4 + [9.0] * 2,
        }
    )
    fit = binary("y ~ g + z", data, strata="s")
    assert fit.coefficients["term"].tolist() == ["g[T.b]"]
    assert any("z" in note for note in fit.notes)
    fit = binary("y ~ z", data, strata="s")
    assert fit.failed is not None
    assert "varies within strata" in fit.failed
    data["y"] = (data["g"] == "b").astype(int)
    assert binary("y ~ g", data, strata="s").failed == SEPARATION


def test_matched_pairs_are_the_odds_of_discordance() -> None:
    """For pairs the conditional estimate is the log ratio of the discordant counts."""
    rows = [(i, a, y) for i in range(12) for a, y in (("t", i < 9), ("c", i >= 9))]
    data = pd.DataFrame(rows, columns=["pair", "g", "y"])
    fit = binary("y ~ g", data, strata="pair")
    row = fit.coefficients.iloc[0]
    assert row["estimate"] == pytest.approx(np.log(9 / 3))
    assert row["se"] == pytest.approx(np.sqrt(1 / 9 + 1 / 3))


def test_stent_harms(shared: Path) -> None:
    """Known direction: 33/224 strokes with a stent against 13/227."""
    data = pd.read_csv(shared / "data" / "binary_stent365_stroke.csv")
    group, outcome = data.columns[-2], data.columns[-1]
    data["y"] = (data[outcome] == "stroke").astype(int)
    data["arm"] = data[group]
    fit = binary("y ~ arm", data)
    reference = next(v for v in data["arm"].unique() if "control" in v)
    row = fit.standardised("arm", reference=reference, variance="delta").iloc[0]
    assert row["estimate"] * 100 > 0
    assert fit.odds_ratio("arm", reference=reference)["estimate"].iloc[0] > 1


def test_without_covariates_the_difference_is_that_of_proportions() -> None:
    data = pd.DataFrame(
        {"y": [1] * 30 + [0] * 20 + [1] * 18 + [0] * 32, "g": ["a"] * 50 + ["b"] * 50}
    )
    row = binary("y ~ g", data).standardised("g", reference="a", variance="delta").iloc[0]
    assert row["estimate"] == pytest.approx(18 / 50 - 30 / 50)
    assert row["se"] == pytest.approx(np.sqrt(0.6 * 0.4 / 50 + 0.36 * 0.64 / 50))


def test_marginal_and_conditional_odds_ratios_agree_without_covariates() -> None:
    data = pd.DataFrame(
        {"y": [1] * 30 + [0] * 20 + [1] * 18 + [0] * 32, "g": ["a"] * 50 + ["b"] * 50}
    )
    fit = binary("y ~ g", data)
    given = fit.odds_ratio("g", reference="a").iloc[0]
    marginal = fit.standardised("g", reference="a", measure="odds_ratio", variance="delta").iloc[0]
    columns = ["estimate", "se", "p", "lower", "upper"]
    assert marginal[columns].tolist() == pytest.approx(given[columns].tolist())


def test_firth_of_an_empty_cell_is_half_an_event() -> None:
    """With one factor the penalty adds a half to each cell (Heinze and Schemper 2002)."""
    data = pd.DataFrame({"y": [0] * 10 + [1] * 6 + [0] * 4, "g": ["a"] * 10 + ["b"] * 10})
    fit = binary("y ~ g", data, separation="firth")
    odds = fit.odds_ratio("g", reference="a").iloc[0]
    assert odds["estimate"] == pytest.approx((6.5 / 4.5) / (0.5 / 10.5))
    assert 1 < odds["lower"] < odds["estimate"] < odds["upper"] < np.inf
    assert fit.standardised("g", reference="a").empty
    assert any("no spread" in note for note in fit.notes)
    assert len(fit.standardised("g", reference="a", variance="delta")) == 1


def test_firth_is_not_used_where_a_maximum_exists(own: pd.DataFrame) -> None:
    plain = binary("Y ~ TRT + BASE", own)
    asked = binary("Y ~ TRT + BASE", own, separation="firth")
    assert asked.variant == plain.variant
    pd.testing.assert_frame_equal(asked.coefficients, plain.coefficients)


@pytest.mark.parametrize("estimator", ["ml", "firth"])
def test_units_rows_and_labels_do_not_matter(own: pd.DataFrame, estimator: Any) -> None:
    fit = binary("Y ~ TRT + AGE + BASE", own, estimator=estimator)
    moved = own.assign(
        BASE=own["BASE"] * 1e6 + 3e6,
        AGE=own["AGE"] / 1e5,
        TRT=own["TRT"].map({"Control": "zz", "Low": "a", "High": "m"}),
    ).sample(frac=1.0, random_state=1)
    other = binary("Y ~ TRT + AGE + BASE", moved, estimator=estimator)
    here = fit.odds_ratio("TRT", reference="Low").set_index("TRT").loc["High"]
    there = other.odds_ratio("TRT", reference="a").set_index("TRT").loc["m"]
    columns = ["estimate", "se", "p", "lower", "upper"]
    assert there[columns].tolist() == pytest.approx(here[columns].tolist(), rel=1e-7)
    back = other.odds_ratio("TRT", reference="m").set_index("TRT").loc["a"]
    assert 1 / back["estimate"] == pytest.approx(here["estimate"], rel=1e-7)
    assert 1 / back["upper"] == pytest.approx(here["lower"], rel=1e-7)
    risk = fit.standardised("TRT", reference="Low").set_index("TRT").loc["High"]
    again = other.standardised("TRT", reference="a").set_index("TRT").loc["m"]
    assert again[columns].tolist() == pytest.approx(risk[columns].tolist(), rel=1e-7)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], SEPARATION),
        ([0, 0, 0, 0, 1, 0, 1, 1], SEPARATION),
        ([1] * 8, "every participant has the response 1"),
    ],
)
def test_fails_with_a_reason(response: list[int], reason: str) -> None:
    fit = binary("y ~ g", pd.DataFrame({"y": response, "g": list("aaaabbbb")}))
    assert fit.failed == reason
    assert not fit.converged
    assert fit.standardised("g", reference="a").empty
    assert fit.odds_ratio("g", reference="a").empty
    assert fit.risks("g").empty
    assert fit.coefficients.empty
    assert reason in fit.summary()


def test_too_few_rows_fail() -> None:
    data = pd.DataFrame({"y": [0, 1], "g": list("ab"), "x": [1.0, 2.0]})
    assert "do not suffice" in (binary("y ~ g", data).failed or "")
    assert "do not suffice" in (binary("y ~ g", data, estimator="firth").failed or "")
    with pytest.raises(UsageError, match="only the level"):
        binary("y ~ g", data.iloc[:1])


def test_collinear_columns_are_named() -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": list("ab") * 20, "x": rng.normal(size=40)})
    data["y"], data["x2"] = rng.integers(0, 2, 40), 3.0 * data["x"] - 1.0
    fit = binary("y ~ g + x + x2", data)
    assert fit.notes == ["dropped as combinations of other columns: x2"]
    assert np.isfinite(fit.odds_ratio("g", reference="a")["estimate"]).all()


def test_steep_but_not_separated_is_estimated() -> None:
    x = np.linspace(-1, 1, 60)
    y = (x > 0).astype(int)
    y[[29, 31]] = [1, 0]
    fit = binary("y ~ x", pd.DataFrame({"x": x, "y": y}))
    assert fit.failed is None
    assert fit.coefficients.set_index("term").loc["x", "estimate"] > 20


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"y": [0, 2, 1, 1]}, "other than 0 and 1"),
        ({"y": list("nyny")}, "not numeric"),
        ({"y": [0.0, np.inf, 1.0, 1.0]}, "infinite"),
        ({"g": list("aaaa")}, "only the level"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    data = pd.DataFrame({"y": [0, 1, 1, 0], "g": list("aabb")} | change)
    with pytest.raises(UsageError, match=word):
        binary("y ~ g", data)


def test_unknown_options_are_refused(trial01: BinaryFit, own: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="not a level"):
        trial01.standardised("trtp", reference="9")
    with pytest.raises(UsageError, match="measure"):
        trial01.standardised("trtp", reference="0", measure="nnt")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="variance"):
        trial01.standardised("trtp", reference="0", variance="hc9")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not in the formula"):
        trial01.standardised("trtp", reference="0", strata="region_2")
    with pytest.raises(UsageError, match="takes no strata"):
        trial01.standardised("trtp", reference="0", variance="ge", strata="bl_cov")
    with pytest.raises(UsageError, match="estimator"):
        binary("Y ~ TRT", own, estimator="map")
    with pytest.raises(UsageError, match="penalised"):
        binary("Y ~ TRT", own, estimator="firth", strata="SITE")
    with pytest.raises(UsageError, match="no column"):
        binary("Y ~ TRT", own, strata="CLINIC")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_noise_is_passed_off_as_a_result(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 24))
    rows = {
        "g": data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n)),
        "y": data.draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=n, max_size=n)),
        "x": data.draw(
            st.lists(st.one_of(st.floats(-9, 9), st.just(np.nan)), min_size=n, max_size=n)
        ),
    }
    estimator: Any = data.draw(st.sampled_from(["ml", "firth"]))
    try:
        fit = binary("y ~ g + x", pd.DataFrame(rows), estimator=estimator)
    except UsageError:
        return
    table = fit.odds_ratio("g", reference="a")
    risk = fit.standardised("g", reference="a", variance="delta")
    if fit.failed is not None:
        assert table.empty
        assert risk.empty
        return
    if fit.design.aliased and table["estimate"].isna().all():  # arm and covariate are one
        assert table[["se", "p"]].isna().all(axis=None)
        return
    assert (table["se"] >= 0).all()
    assert table["p"].between(0, 1).all()
    assert (table["lower"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["upper"]).all()
    assert risk["p"].between(0, 1).all()
