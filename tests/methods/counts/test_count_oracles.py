"""Count models against R on own data: joint information, sandwiches, standardised rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trialkit.methods import negative_binomial, poisson
from trialkit.methods.counts._fit import CountFit, Variance

Compare = Callable[..., float]
FOLDER = Path(__file__).parent.parent.parent / "oracles" / "counts"
ADDITIVE = "falls ~ arm + stratum + abc"
R = "R 4.2.2 MASS 7.3-58, numDeriv, tests/oracles/counts"
SANDWICH = "R 4.2.2 glm, sandwich 3.0-2, tests/oracles/counts"
VARIANCES: tuple[Variance, ...] = ("delta", "robust", "unconditional")


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "key", "value"]
    table = pd.read_csv(FOLDER / "oracle.txt", names=names, keep_default_na=False)
    return table.assign(value=table["value"].astype(float))


def people(*, empty: bool = False) -> pd.DataFrame:
    """One row a participant; stratum D, without an event, only if asked for."""
    rows = pd.read_csv(FOLDER / "data.csv")
    keys = ["id", "arm", "stratum", "abc"]
    data = rows.groupby(keys, dropna=False)[["falls", "years"]].sum(min_count=3).reset_index()
    return data if empty else data[data["stratum"] != "D"]


def wanted(oracle: pd.DataFrame, fit: str, quantity: str) -> pd.Series:
    rows = oracle[(oracle["fit"] == fit) & (oracle["quantity"] == quantity)]
    assert len(rows)
    names = rows["key"].str.replace("(Intercept)", "Intercept", regex=False)
    return pd.Series(rows["value"].to_numpy(), index=names)


def coefficients(fit: CountFit, column: str) -> pd.Series:
    table = fit.coefficients
    term = table["term"].str.replace(r"\[T\.([^\]]*)\]", r"\1", regex=True)
    return pd.Series(table[column].to_numpy(), index=term)


def compare_rates(
    compare: Compare, oracle: pd.DataFrame, name: str, fit: CountFit, source: str = R
) -> None:
    arms = ["Conventional", "Robotic", "Tablet"]
    first = (fit.method, f"standardised rates, {name}", source)
    for variance in VARIANCES:
        rate = fit.rate("arm", variance=variance).set_index("arm")
        theta = wanted(oracle, name, "rate")[arms]
        compare(*first, "rate", rate.loc[arms, "estimate"], theta, rel=1e-7)
        se = wanted(oracle, name, f"rate_se_{variance}")[arms] / theta
        compare(*first, f"rate SE, {variance}", rate.loc[arms, "se"], se, rel=1e-6)
        gap = fit.rate_difference("arm", reference="Conventional", variance=variance)
        gap = gap.set_index("arm")
        difference = wanted(oracle, name, "difference") if name != "poisson" else None
        if difference is None:
            difference = (theta - theta["Conventional"])[arms[1:]]
        compare(*first, "difference", gap.loc[arms[1:], "estimate"], difference[arms[1:]], rel=1e-6)
        se = wanted(oracle, name, f"difference_se_{variance}")[arms[1:]]
        compare(*first, f"difference SE, {variance}", gap.loc[arms[1:], "se"], se, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("nb", ADDITIVE),
        ("nb_interaction", "falls ~ arm * abc + stratum"),
        ("nb_empty_level", ADDITIVE),
    ],
)
def test_negative_binomial(compare: Compare, oracle: pd.DataFrame, name: str, formula: str) -> None:
    data = people(empty=name == "nb_empty_level")
    fit = negative_binomial(formula, data, exposure="years", subject="id")
    assert fit.failed is None
    for information, variant in (("joint", "joint"), ("conditional", "conditional")):
        other = negative_binomial(formula, data, exposure="years", information=information)
        first = ("negative_binomial", f"{variant} information, {name}", R)
        for column, key in (("estimate", "estimate"), ("se", f"se_{information}")):
            expected = wanted(oracle, name, key).drop("k", errors="ignore")
            got = coefficients(other, column)[expected.index]
            compare(*first, f"coefficients: {column}", got, expected, rel=1e-6)
    first = ("negative_binomial", f"joint information, {name}", R)
    compare(*first, "dispersion", fit.dispersion, wanted(oracle, name, "estimate")["k"], rel=1e-6)
    compare(
        *first, "dispersion SE", fit.dispersion_se, wanted(oracle, name, "se_joint")["k"], rel=1e-6
    )
    compare(*first, "log-likelihood", fit.loglik, wanted(oracle, name, "loglik"), abs=1e-7)
    ratio = 2 * (wanted(oracle, name, "loglik") - wanted(oracle, name, "loglik_poisson"))
    compare(
        *first, "dispersion test", fit.dispersion_test()["statistic"], ratio.to_numpy(), rel=1e-6
    )
    compare_rates(compare, oracle, name, fit)


def test_poisson(compare: Compare, oracle: pd.DataFrame) -> None:
    data = people()
    fit = poisson(ADDITIVE, data, exposure="years")
    first = ("poisson", "one row a participant", SANDWICH)
    for se in ("model", "pearson", "hc0", "hc1", "hc2", "hc3"):
        other = poisson(ADDITIVE, data, exposure="years", se=se)
        expected = wanted(oracle, "poisson", f"se_{se}")
        got = coefficients(other, "se")[expected.index]
        compare(*first, f"SE {se}", got, expected, rel=1e-7)
    expected = wanted(oracle, "poisson", "estimate")
    compare(
        *first, "coefficients", coefficients(fit, "estimate")[expected.index], expected, rel=1e-7
    )
    compare(*first, "log-likelihood", fit.loglik, wanted(oracle, "poisson", "loglik"), abs=1e-8)
    expected = wanted(oracle, "poisson", "dispersion")
    compare(*first, "Pearson dispersion", fit.pearson_dispersion, expected, rel=1e-8)
    compare_rates(compare, oracle, "poisson", fit, SANDWICH)


def test_poisson_clusters(compare: Compare, oracle: pd.DataFrame) -> None:
    rows = pd.read_csv(FOLDER / "data.csv").query("stratum != 'D'")
    for se in ("hc0", "hc1"):
        fit = poisson(ADDITIVE, rows, exposure="years", subject="id", se=se)
        expected = wanted(oracle, "clusters", f"se_{se}")
        got = coefficients(fit, "se")[expected.index]
        compare("poisson", "clusters of rows", SANDWICH, f"SE {se}", got, expected, rel=1e-7)
    assert fit.n == 3 * fit.n_subjects
    assert "by id" in fit.variant


def test_poisson_in_the_limit(compare: Compare, oracle: pd.DataFrame) -> None:
    """R's glm walks towards minus infinity; the other coefficients arrive where ours are."""
    fit = poisson(ADDITIVE, people(empty=True), exposure="years", se="model")
    for column, key in (("estimate", "estimate"), ("se", "se_model")):
        expected = wanted(oracle, "poisson_empty_level", key)
        got = coefficients(fit, column)[expected.index]
        compare(
            "poisson",
            "a stratum without an event",
            "R 4.2.2 glm with the stratum, tests/oracles/counts",
            f"other coefficients: {column}",
            got,
            expected,
            rel=1e-6,
        )
    assert any("no event where stratum is D" in note for note in fit.notes)
    assert np.isfinite(fit.rate("arm")["estimate"]).all()
