"""Partially nested model: lme4, lmerTest, pbkrtest, nlme; identities; bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import ancova, partially_nested
from trialkit.methods.linear.nested import BOUNDARY, NestedFit

Compare = Callable[..., float]
FOLDER = Path(__file__).parent.parent.parent / "oracles" / "nested"
FORMULA = "speed ~ base + site + arm"
DENSE = "R 4.2.2 dense matrices, numDeriv, tests/oracles/nested"
NESTED: dict[str, Any] = {"therapist": "therapist", "arm": "arm", "nested": "Robotic"}


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    rows = []
    for line in (FOLDER / "oracle.txt").read_text().splitlines():
        fit, quantity, rest = line.split(",", 2)
        key, value = rest.rsplit(",", 1)
        rows.append((fit, quantity, key.replace("(Intercept)", "Intercept"), float(value)))
    return pd.DataFrame(rows, columns=["fit", "quantity", "key", "value"])


def trial() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "data.csv")


def wanted(oracle: pd.DataFrame, fit: str, quantity: str) -> pd.Series[float]:
    rows = oracle[(oracle["fit"] == fit) & (oracle["quantity"] == quantity)]
    assert len(rows)
    return pd.Series(rows["value"].to_numpy(), index=rows["key"])


def column(fit: NestedFit, name: str) -> pd.Series[float]:
    table = fit.coefficients
    term = table["term"].str.replace(r"\[T\.([^\]]*)\]", r"\1", regex=True)
    return pd.Series(table[name].to_numpy(), index=term)


@pytest.mark.parametrize("df", ["kenward_roger", "satterthwaite"])
def test_equal_variances_as_lme4(compare: Compare, oracle: pd.DataFrame, df: str) -> None:
    fit = partially_nested(FORMULA, trial(), **NESTED, df=df)
    package = "pbkrtest 0.5-2" if df == "kenward_roger" else "lmerTest 3.1-3"
    source = f"R 4.2.2 lme4 1.1-31, {package}, tests/oracles/nested"
    first = ("partially_nested", f"equal residuals, {df}", source)
    expected = wanted(oracle, "equal", "estimate")
    compare(*first, "estimates", column(fit, "estimate")[expected.index], expected, rel=1e-6)
    expected = wanted(oracle, "equal", f"se_{df}")
    compare(*first, "SE", column(fit, "se")[expected.index], expected, rel=1e-6)
    expected = wanted(oracle, "equal", f"df_{df}")
    compare(*first, "df", column(fit, "df")[expected.index], expected, rel=1e-5)
    variance = fit.components.set_index("component")["variance"]
    expected = wanted(oracle, "equal", "variance")
    compare(*first, "variances", variance[expected.index], expected, rel=1e-6)
    compare(
        *first,
        "-2 REML log-likelihood",
        fit.minus2_loglik,
        wanted(oracle, "equal", "minus2_loglik"),
        abs=1e-7,
    )
    assert fit.icc == pytest.approx(variance["therapist"] / variance.sum(), rel=1e-12)
    assert (fit.n_therapists, fit.n_missing, fit.n + fit.n_missing) == (9, 5, len(trial()))


def test_variances_by_arm_as_nlme(compare: Compare, oracle: pd.DataFrame) -> None:
    fit = partially_nested(FORMULA, trial(), **NESTED, residual="by_arm", df="satterthwaite")
    source = "R 4.2.2 nlme 3.1-162, tests/oracles/nested"
    first = ("partially_nested", "residuals by arm", source)
    expected = wanted(oracle, "by_arm", "estimate")
    compare(*first, "estimates", column(fit, "estimate")[expected.index], expected, rel=1e-5)
    expected = wanted(oracle, "by_arm", "se_satterthwaite")
    compare(*first, "SE", column(fit, "se")[expected.index], expected, rel=1e-5)
    variance = fit.components.set_index("component")["variance"]
    expected = wanted(oracle, "by_arm", "variance")
    compare(*first, "variances", variance[expected.index], expected, rel=1e-5)


@pytest.mark.parametrize("df", ["kenward_roger", "satterthwaite"])
@pytest.mark.parametrize("residual", ["equal", "by_arm"])
def test_dense_matrices(compare: Compare, oracle: pd.DataFrame, residual: str, df: str) -> None:
    name = f"dense_{residual}"
    fit = partially_nested(FORMULA, trial(), **NESTED, residual=residual, df=df)
    first = ("partially_nested", f"residuals {residual}, {df}", DENSE)
    expected = wanted(oracle, name, "estimate")
    compare(*first, "estimates", column(fit, "estimate")[expected.index], expected, rel=1e-6)
    for quantity in ("se", "df"):
        expected = wanted(oracle, name, f"{quantity}_{df}")
        compare(*first, quantity, column(fit, quantity)[expected.index], expected, rel=1e-6)
    order = ["residual", "therapist"]
    if residual == "by_arm":
        order = ["residual, other", "residual, nested", "therapist"]
    table = fit.components.set_index("component").loc[order]
    compare(*first, "variances", table["variance"], wanted(oracle, name, "theta"), rel=1e-6)
    compare(*first, "SE of variances", table["se"], wanted(oracle, name, "theta_se"), rel=1e-6)
    found = wanted(oracle, name, "minus2_loglik")
    compare(*first, "-2 REML log-likelihood", fit.minus2_loglik, found, abs=1e-7)


def test_no_variance_between_therapists(compare: Compare, oracle: pd.DataFrame) -> None:
    """At the bound the fit is the linear model's, and says so."""
    assert wanted(oracle, "flat", "variance")["therapist"] == 0.0
    fit = partially_nested("flat ~ base + site + arm", trial(), **NESTED)
    first = ("partially_nested", "variance at its bound", "R 4.2.2 lm, tests/oracles/nested")
    for name in ("estimate", "se"):
        expected = wanted(oracle, "flat", name)
        compare(*first, name, column(fit, name)[expected.index], expected, rel=1e-9)
    assert column(fit, "df").to_numpy() == pytest.approx(wanted(oracle, "flat", "df").item())
    assert BOUNDARY in fit.notes
    assert BOUNDARY in fit.variant
    assert fit.icc == 0.0
    assert fit.components["variance"].iloc[0] == 0.0
    assert np.isnan(fit.components["se"].iloc[0])
    options = {**NESTED, "residual": "by_arm"}
    first = ("partially_nested", "variance at its bound, by arm", DENSE)
    for df in ("kenward_roger", "satterthwaite"):
        fit = partially_nested("flat ~ base + site + arm", trial(), **options, df=df)
        for name in ("se", "df"):
            expected = wanted(oracle, "flat_by_arm", f"{name}_{df}")
            compare(*first, f"{name}, {df}", column(fit, name)[expected.index], expected, rel=1e-6)


def test_by_arm_without_covariates_is_welch() -> None:
    """No therapists' variance, no covariates: Welch's SE and Satterthwaite's df."""
    rng = np.random.default_rng(11)
    nested = rng.normal(0.0, 1.0, (6, 5))
    nested -= nested.mean(axis=1, keepdims=True)
    data = pd.DataFrame(
        {
            "flat": np.append(nested.ravel(), rng.normal(1.0, 2.0, 25)),
            "arm": ["Robotic"] * 30 + ["Conventional"] * 25,
            "therapist": [*np.arange(6).repeat(5).astype(str), *[None] * 25],
        }
    )
    fit = partially_nested("flat ~ arm", data, **NESTED, residual="by_arm", df="satterthwaite")
    assert fit.icc == 0.0
    one, two = (data.loc[data["arm"] == a, "flat"] for a in ("Conventional", "Robotic"))
    parts = np.array([one.var() / len(one), two.var() / len(two)])
    row = fit.contrast("arm", reference="Conventional").iloc[0]
    assert row["se"] == pytest.approx(np.sqrt(parts.sum()), rel=1e-9)
    welch = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(two) - 1]).sum()
    assert row["df"] == pytest.approx(welch, rel=1e-7)


def test_balanced_clusters_against_their_means() -> None:
    """Equal caseloads, no covariates: the nested arm's mean has the variance of cluster means."""
    rng = np.random.default_rng(3)
    sizes, m = 8, 6
    nested = rng.normal(0, 1.0, sizes).repeat(m) + rng.normal(0, 1.0, sizes * m)
    data = pd.DataFrame(
        {
            "y": np.append(nested, rng.normal(0, 1.5, 40)),
            "arm": ["R"] * (sizes * m) + ["C"] * 40,
            "who": [*np.arange(sizes).repeat(m).astype(str), *[None] * 40],
        }
    )
    options: dict[str, Any] = {"therapist": "who", "arm": "arm", "nested": "R"}
    fit = partially_nested("y ~ arm", data, **options, residual="by_arm")
    means = data[data["arm"] == "R"].groupby("who")["y"].mean()
    mean = fit.lsmeans("arm").set_index("arm").loc["R"]
    assert mean["estimate"] == pytest.approx(means.mean(), rel=1e-10)
    assert mean["se"] == pytest.approx(means.std() / np.sqrt(sizes), rel=1e-8)
    assert mean["df"] == pytest.approx(sizes - 1, rel=1e-6)


def test_units_order_labels_and_reference() -> None:
    data = trial()
    plain = partially_nested(FORMULA, data, **NESTED).contrast("arm", reference="Conventional")
    moved = data.sample(frac=1.0, random_state=5).assign(
        speed=lambda d: d["speed"] * 1e5 - 3e6,
        base=lambda d: d["base"] * 1e-4 + 9.0,
        arm=lambda d: d["arm"].map({"Robotic": "A", "Conventional": "Z"}),
        therapist=lambda d: d["therapist"].map(lambda v: f"x{str(v)[::-1]}"),
    )
    other = partially_nested(FORMULA, moved, therapist="therapist", arm="arm", nested="A")
    turned = other.contrast("arm", reference="A")
    np.testing.assert_allclose(turned["estimate"], -1e5 * plain["estimate"], rtol=1e-6)
    for name in ("se", "df", "p"):
        scale = 1e5 if name == "se" else 1.0
        np.testing.assert_allclose(turned[name], scale * plain[name], rtol=1e-6)
    assert other.icc == pytest.approx(partially_nested(FORMULA, data, **NESTED).icc, rel=1e-6)


def test_therapists_outside_the_nested_arm_do_not_matter() -> None:
    data = trial()
    named = data["therapist"].where(data["arm"] == "Robotic", "T1")
    one = partially_nested(FORMULA, data, **NESTED).coefficients
    two = partially_nested(FORMULA, data.assign(therapist=named), **NESTED).coefficients
    pd.testing.assert_frame_equal(one, two)


def test_missing_therapist_is_a_missing_value() -> None:
    data = trial()
    first = data.index[(data["arm"] == "Robotic") & data["speed"].notna() & data["base"].notna()][0]
    fit = partially_nested(FORMULA, data.assign(therapist=data["therapist"].drop(first)), **NESTED)
    assert fit.n_missing == 6
    assert any("1 participants of the nested arm without" in note for note in fit.notes)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"speed": 1.0}, {}, "exactly"),
        ({"therapist": "T1"}, {}, "1 therapists"),
        ({"therapist": lambda d: d["id"].astype(str)}, {}, "two participants"),
        ({}, {"nested": ["Robotic", "Conventional"], "residual": "by_arm"}, "no other residual"),
        ({"speed": lambda d: d["speed"].where(d["id"].isin([1, 20, 30, 60, 70]))}, {}, "carry"),
    ],
)
def test_failed_fit_has_a_reason(
    change: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    data = trial().assign(**change)
    data["therapist"] = data["therapist"].fillna("T9")
    fit = partially_nested("speed ~ base + arm", data, **{**NESTED, **options})
    assert fit.failed is not None
    assert reason in fit.failed
    assert fit.coefficients.empty
    assert fit.components.empty
    assert fit.contrast("arm", reference="Conventional").empty
    assert fit.failed in fit.summary()


@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("speed ~ arm", {"nested": "Tablet"}, "'Tablet'"),
        ("speed ~ arm", {"nested": []}, "not a level"),
        ("speed ~ arm", {"therapist": "nurse"}, "'nurse'"),
        ("speed ~ arm", {"residual": "toeplitz"}, "toeplitz"),
        ("speed ~ arm", {"df": "residual"}, "residual"),
        ("speed ~ base", {}, "not a factor"),
        ("site ~ arm", {}, "not numeric"),
        ("speed ~ nope + arm", {}, "nope"),
        ("speed ~ arm", {"subject": "site"}, "several rows"),
    ],
)
def test_bad_input(formula: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        partially_nested(formula, trial(), **{**NESTED, **options})
    assert caught.value.remedy


def test_infinite_values_are_refused() -> None:
    data = trial()
    data.loc[data.index[0], "speed"] = np.inf
    with pytest.raises(UsageError, match="infinite"):
        partially_nested(FORMULA, data, **NESTED)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=7),
    others=st.integers(1, 15),
    missing=st.floats(0.0, 0.5),
    residual=st.sampled_from(["equal", "by_arm"]),
    df=st.sampled_from(["kenward_roger", "satterthwaite"]),
)
def test_random_designs_are_finite_or_failed(
    seed: int, sizes: list[int], others: int, missing: float, residual: str, df: str
) -> None:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    n = len(who) + others
    data = pd.DataFrame(
        {
            "y": rng.normal(50, 10, n).round(rng.integers(-1, 3)),
            "x": rng.normal(0, 1, n),
            "arm": ["R"] * len(who) + ["C"] * others,
            "who": [*who, *[None] * others],
        }
    )
    data.loc[rng.uniform(size=n) < missing, "y"] = np.nan
    options: dict[str, Any] = {"therapist": "who", "arm": "arm", "nested": "R"}
    if data.dropna(subset="y")["arm"].nunique() < 2:
        return
    fit = partially_nested("y ~ x + arm", data, **options, residual=residual, df=df)
    if fit.failed:
        assert fit.coefficients.empty
        return
    table = fit.contrast("arm", reference="C")
    numbers = table[["estimate", "se", "df", "statistic", "p", "lower", "upper"]].to_numpy(float)
    assert np.isfinite(numbers).all()
    assert (table["se"] > 0).all()
    assert (table["df"] > 0).all()
    assert table["p"].between(0, 1).all()
    assert 0.0 <= fit.icc < 1.0
    if fit.icc == 0.0 and residual == "equal":
        linear = ancova("y ~ x + arm", data).contrast("arm", reference="C")
        np.testing.assert_allclose(table["se"], linear["se"], rtol=1e-6)
