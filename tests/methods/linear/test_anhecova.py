"""ANHECOVA and standardised means: RobinCar2, R, identities, schemes of randomisation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from trialkit.errors import UsageError
from trialkit.methods import ancova, binary
from trialkit.methods.linear.robust import unconditional_covariance

Compare = Callable[..., float]
ORACLES = Path(__file__).parent.parent.parent / "oracles"
ROBIN = "RobinCar2 0.2.3, glm_data"
OWN = "R 4.2.2 lm, sandwich 3.0-2, tests/oracles/ancova"
ARM: dict[str, Any] = {"arm": "TRT01P"}


def last_visit() -> pd.DataFrame:
    data = pd.read_csv(ORACLES / "mmrm" / "data.csv").query("AVISIT == 'W12'")
    return data.assign(TRT01P=pd.Categorical(data["TRT01P"], ["Control", "Low", "High"]))


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "key", "value"]
    return pd.read_csv(ORACLES / "ancova" / "anhecova.txt", names=names)


def wanted(oracle: pd.DataFrame, fit: str, quantity: str) -> pd.Series[float]:
    rows = oracle[(oracle["fit"] == fit) & (oracle["quantity"] == quantity)]
    assert len(rows)
    return pd.Series(rows["value"].to_numpy(), index=rows["key"])


@pytest.mark.parametrize(
    ("name", "formula", "options"),
    [
        ("anhecova_simple", "AVAL ~ BASE + SITEID + TRT01P", {"adjust": "anhecova"}),
        (
            "anhecova_base_block",
            "AVAL ~ BASE + TRT01P",
            {"adjust": "anhecova", "strata": "SITEID", "randomisation": "permuted_block"},
        ),
        ("anhecova_base_simple", "AVAL ~ BASE + TRT01P", {"adjust": "anhecova"}),
        ("standardised_simple", "AVAL ~ BASE + SITEID + TRT01P", {"adjust": "standardised"}),
        (
            "standardised_block",
            "AVAL ~ BASE + SITEID + TRT01P",
            {"adjust": "standardised", "strata": ["SITEID"], "randomisation": "permuted_block"},
        ),
    ],
)
def test_agrees_with_the_formulas_in_r(
    compare: Compare, oracle: pd.DataFrame, name: str, formula: str, options: dict[str, Any]
) -> None:
    fit = ancova(formula, last_visit(), **ARM, **options)
    first = ("ancova", name.replace("_", " "), OWN)
    means = fit.lsmeans("TRT01P").set_index("TRT01P")
    gaps = fit.contrast("TRT01P", reference="Control").set_index("TRT01P")
    for table, quantity in ((means, "mean"), (gaps, "difference")):
        for column, key in (("estimate", quantity), ("se", f"{quantity}_se")):
            expected = wanted(oracle, name, key)
            got = table.loc[expected.index, column].to_numpy(float)
            compare(*first, key, got, expected, rel=1e-9)


def test_small_sample_variant(compare: Compare, oracle: pd.DataFrame) -> None:
    options: dict[str, Any] = {"adjust": "anhecova", "small_sample": True}
    fit = ancova("AVAL ~ BASE + SITEID + TRT01P", last_visit(), **ARM, **options)
    row = fit.contrast("TRT01P", reference="Control").set_index("TRT01P").loc["High"]
    for column, key in (("estimate", ""), ("se", "_se"), ("df", "_df")):
        expected = wanted(oracle, "small_sample", f"difference{key}")
        compare("ancova", "anhecova, small-sample", OWN, column, row[column], expected, rel=1e-9)


@pytest.mark.parametrize("se", ["hc0", "hc1", "hc2", "hc3"])
def test_heteroscedasticity_consistent(compare: Compare, oracle: pd.DataFrame, se: str) -> None:
    table = ancova("AVAL ~ BASE + SITEID + TRT01P", last_visit(), se=se).coefficients
    term = table["term"].str.replace(r"\[T\.([^\]]*)\]", r"\1", regex=True)
    term = term.replace({"TRT01PLow": "armLow", "TRT01PHigh": "armHigh"}).str.replace(
        "SITEID", "site"
    )
    got = pd.Series(table["se"].to_numpy(), index=term.replace("Intercept", "(Intercept)"))
    expected = wanted(oracle, "hc", se)
    compare("ancova", se.upper(), OWN, "SE", got[expected.index], expected, rel=1e-9)


def test_robincar2_linear(compare: Compare, shared: Path) -> None:
    """Printed numbers of robin_lm, and of treatment_effect in the package's snapshots."""
    data = pd.read_csv(shared / "oracles" / "robincar2_glm_data.csv")
    options: dict[str, Any] = {"adjust": "standardised", "arm": "treatment"}
    fit = ancova("y ~ treatment * s1", data, **options)
    means = fit.lsmeans("treatment")
    gap = fit.contrast("treatment", reference="pbo").iloc[0]
    first = ("ancova", "standardised, simple randomisation", ROBIN)
    text = json.loads((shared / "oracles" / "covariate_adjustment.json").read_text())
    printed = "\n".join(text["RobinCar2_print"]["robin_lm"])
    rows = re.findall(r"^(?:pbo|trt1|trt2) +([\d.]+) ([\d.]+)", printed, flags=re.MULTILINE)
    expected = np.array(rows, dtype=float)
    compare(*first, "means", means["estimate"], expected[:, 0], abs=5.1e-7)
    compare(*first, "SE of means", means["se"], expected[:, 1], abs=5.1e-7)
    found = re.search(r"trt1 v\.s\. pbo +([\d.]+) ([\d.]+)", printed)
    assert found is not None
    compare(*first, "difference", gap["estimate"], float(found[1]), abs=5.1e-6)
    compare(*first, "SE of difference", gap["se"], float(found[2]), abs=5.1e-6)
    # RobinCar2 commit 0a3e44bc, tests/testthat/_snaps/treatment_effect.md
    fit = ancova("y ~ treatment * s1 + covar", data, **options)
    means = fit.lsmeans("treatment")
    compare(
        *first,
        "means, with a covariate",
        means["estimate"],
        [0.2003208, 0.7639709, 0.9712499],
        abs=5.1e-8,
    )
    compare(
        *first,
        "SE of means, with a covariate",
        means["se"],
        [0.06768998, 0.07592944, 0.07654319],
        abs=5.1e-9,
    )


@pytest.mark.parametrize(("name", "blocks"), [("glm_pb_diff", True), ("glm_simple_diff", False)])
def test_robincar2_at_full_precision(
    compare: Compare, shared: Path, name: str, blocks: bool
) -> None:
    """The covariance is that of RobinCar2 whatever the working model: here a logistic one."""
    everything = json.loads((shared / "oracles" / "covariate_adjustment.json").read_text())
    expected = everything["RobinCar2"][name]
    data = pd.read_csv(shared / "oracles" / "robincar2_glm_data.csv")
    fit = binary("y_b ~ treatment + s1 + covar", data)
    levels = ["pbo", "trt1", "trt2"]
    mu = np.empty((len(data), 3))
    for a, level in enumerate(levels):
        columns = {**fit.design.columns, "treatment": np.full(len(data), level, dtype=object)}
        mu[:, a] = 1.0 / (1.0 + np.exp(-fit.design.matrix(columns)[:, fit.design.kept] @ fit.beta))
    arm = pd.Index(levels).get_indexer(pd.Index(data["treatment"])).astype(np.intp)
    stratum = np.asarray(pd.factorize(data["s1"])[0], dtype=np.intp) if blocks else None
    cov = unconditional_covariance(data["y_b"].to_numpy(float), mu, arm, stratum)
    pairs = np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]])
    scheme = "stratified permuted blocks" if blocks else "simple randomisation"
    first = ("ancova", f"unconditional variance, {scheme}", ROBIN)
    compare(*first, "means", mu.mean(axis=0), expected["mean"], rel=1e-8)
    got = pairs @ cov @ pairs.T
    compare(*first, "covariance of differences", got, expected["contrast_vcov"], rel=1e-6)
    if blocks:
        compare(*first, "covariance of means", cov, expected["mean_vcov"], rel=1e-6)


def test_without_covariates_is_welch() -> None:
    """Arms alone: difference of means, Welch's SE; with the small-sample variant Welch's df."""
    data = last_visit().dropna(subset="AVAL")
    one, two = (data.loc[data["TRT01P"] == a, "AVAL"] for a in ("Control", "High"))
    welch = stats.ttest_ind(two, one, equal_var=False)
    for small in (False, True):
        fit = ancova("AVAL ~ TRT01P", data, adjust="anhecova", small_sample=small, **ARM)
        row = fit.contrast("TRT01P", reference="Control").set_index("TRT01P").loc["High"]
        assert row["estimate"] == pytest.approx(two.mean() - one.mean(), rel=1e-12)
        assert row["se"] == pytest.approx(np.sqrt(one.var() / len(one) + two.var() / len(two)))
        if small:
            assert row["df"] == pytest.approx(welch.df, rel=1e-10)
            assert row["p"] == pytest.approx(welch.pvalue, rel=1e-9)
        else:
            assert np.isinf(row["df"])


def test_anhecova_has_one_variance_for_every_scheme() -> None:
    """Strata in the model of each arm: residuals average zero there, so the scheme is nothing."""
    data = last_visit()
    data["SEX"] = np.where(np.arange(len(data)) % 2 == 0, "F", "M")
    formula = "AVAL ~ BASE + SITEID*SEX + TRT01P"
    options: dict[str, Any] = {**ARM, "strata": ["SITEID", "SEX"], "adjust": "anhecova"}
    found = [
        ancova(formula, data, **options, randomisation=scheme).contrast("TRT01P", "Control")
        for scheme in ("simple", "permuted_block", "minimisation")
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other["se"], found[0]["se"], rtol=1e-9)
    additive = "AVAL ~ BASE + SITEID + SEX + TRT01P"
    with pytest.raises(UsageError, match="every combination of SITEID, SEX"):
        ancova(additive, data, **options, randomisation="minimisation")


def test_blocks_never_widen_and_the_formula_may_hold_interactions() -> None:
    data = last_visit()
    options: dict[str, Any] = {**ARM, "adjust": "anhecova", "strata": "SITEID"}
    plain = ancova("AVAL ~ BASE + TRT01P", data, **options)
    blocks = ancova("AVAL ~ BASE + TRT01P", data, **options, randomisation="permuted_block")
    gap = [fit.contrast("TRT01P", "Control")["se"] for fit in (plain, blocks)]
    assert (gap[1] < gap[0]).all()
    crossed = ancova("AVAL ~ TRT01P*BASE", data, **options)
    pd.testing.assert_frame_equal(crossed.lsmeans("TRT01P"), plain.lsmeans("TRT01P"))
    written = ancova("AVAL ~ TRT01P*BASE", data, adjust="standardised", **ARM)
    np.testing.assert_allclose(
        written.lsmeans("TRT01P")[["estimate", "se"]],
        plain.lsmeans("TRT01P")[["estimate", "se"]],
        rtol=1e-9,
    )


@pytest.mark.parametrize("small", [False, True])
def test_units_order_labels_and_reference(small: bool) -> None:
    data = last_visit()
    options: dict[str, Any] = {"adjust": "anhecova", "small_sample": small}
    formula = "AVAL ~ BASE + SITEID + TRT01P"
    plain = ancova(formula, data, **ARM, **options).contrast("TRT01P", "Control").iloc[1]
    names = {"Control": "z", "Low": "y", "High": "x"}
    moved = data.sample(frac=1.0, random_state=3).assign(
        AVAL=lambda d: d["AVAL"] * 1e4 + 2e6,
        BASE=lambda d: d["BASE"] * 1e-3 - 4.0,
        TRT01P=lambda d: d["TRT01P"].astype(str).map(names),
    )
    turned = ancova(formula, moved, **ARM, **options).contrast("TRT01P", "x")
    row = turned.set_index("TRT01P").loc["z"]
    assert row["estimate"] == pytest.approx(-1e4 * plain["estimate"], rel=1e-7)
    assert row["se"] == pytest.approx(1e4 * plain["se"], rel=1e-7)
    assert row["p"] == pytest.approx(plain["p"], rel=1e-6)


def test_numeric_arms_need_no_conversion() -> None:
    data = last_visit().assign(dose=lambda d: d["TRT01P"].cat.codes)
    named = ancova("AVAL ~ BASE + TRT01P", data, adjust="anhecova", **ARM)
    for adjust in ("anhecova", "standardised"):
        formula = "AVAL ~ BASE * C(dose)"
        fit = ancova(formula, data, adjust=adjust, arm="dose")
        got, want = fit.contrast("dose", 0), named.contrast("TRT01P", "Control")
        np.testing.assert_allclose(got["se"], want["se"], rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "change", "reason"),
    [
        ("AVAL ~ BASE + TRT01P", {"AVAL": 3.0}, "exactly"),
        (
            "AVAL ~ SITEID + TRT01P",
            {"SITEID": lambda d: d["SITEID"].where(d["TRT01P"] != "Low", "A")},
            "Low cannot estimate",
        ),
        (
            "AVAL ~ BASE + TRT01P",
            {"AVAL": lambda d: d["AVAL"].where(d["TRT01P"].ne("High") | d["AVAL"].gt(46))},
            "cannot carry",
        ),
    ],
)
def test_failed_fit_has_a_reason(formula: str, change: dict[str, Any], reason: str) -> None:
    fit = ancova(formula, last_visit().assign(**change), adjust="anhecova", **ARM)
    assert fit.failed is not None
    assert reason in fit.failed
    assert fit.coefficients.empty
    assert fit.contrast("TRT01P", reference="Control").empty
    assert fit.failed in fit.summary()
    assert not fit.converged


@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("AVAL ~ BASE", {}, "no term TRT01P"),
        ("AVAL ~ TRT01P", {"adjust": "ancova"}, "'ancova'"),
        ("AVAL ~ TRT01P", {"randomisation": "urn"}, "'urn'"),
        ("AVAL ~ TRT01P", {"randomisation": "minimisation"}, "balanced"),
        ("AVAL ~ TRT01P", {"arm": None}, "need the arm"),
        ("AVAL ~ TRT01P", {"se": "hc3"}, "own variance"),
        ("AVAL ~ TRT01P", {"strata": "NOPE"}, "NOPE"),
        ("AVAL ~ TRT01P", {"adjust": "standardised", "small_sample": True}, "small-sample"),
    ],
)
def test_bad_input(formula: str, options: dict[str, Any], words: str) -> None:
    given_options = {**ARM, "adjust": "anhecova", **options}
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        ancova(formula, last_visit(), **given_options)
    assert caught.value.remedy


def test_questions_it_cannot_answer() -> None:
    fit = ancova("AVAL ~ BASE + SITEID + TRT01P", last_visit(), adjust="anhecova", **ARM)
    calls: tuple[Callable[[], pd.DataFrame], ...] = (
        lambda: fit.lsmeans("SITEID"),
        lambda: fit.lsmeans("TRT01P", by="SITEID"),
        lambda: fit.contrast("TRT01P", "Control", weights="equal"),
        lambda: fit.contrast("TRT01P", "Placebo"),
    )
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert fit.coefficients["term"].tolist() == [f"TRT01P[{v}]" for v in fit.levels]
    assert list(fit.slopes) == ["term", "Control", "Low", "High"]
    assert "<table" in fit._repr_html_()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(5, 40),
    missing=st.floats(0.0, 0.6),
    scheme=st.sampled_from(["simple", "permuted_block"]),
    adjust=st.sampled_from(["anhecova", "standardised"]),
    small=st.booleans(),
)
def test_random_designs_are_finite_or_failed(
    seed: int, n: int, missing: float, scheme: str, adjust: str, small: bool
) -> None:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "y": rng.normal(0, 1, n).round(rng.integers(0, 3)),
            "x": rng.normal(0, 1, n),
            "s": rng.choice(["a", "b", "c"], n),
            "g": rng.choice(["A", "B", "C"], n, p=[0.5, 0.4, 0.1]),
        }
    )
    data.loc[rng.uniform(size=n) < missing, "x"] = np.nan
    complete = data.dropna()
    if min(complete["s"].nunique(), complete["g"].nunique()) < 2:
        return
    options: dict[str, Any] = {"strata": "s", "randomisation": scheme, "adjust": adjust}
    options["small_sample"] = small and adjust == "anhecova"
    fit = ancova("y ~ x + s + g", data, arm="g", **options)
    table = fit.contrast("g", reference=fit.levels[0])
    if fit.failed:
        assert table.empty
        return
    numbers = table.drop(columns=["g", "reference", "df"]).to_numpy(float)
    assert np.isfinite(numbers).all()
    assert (table["se"] > 0).all()
    assert (table["df"] > 0).all()
    assert table["p"].between(0, 1).all()
