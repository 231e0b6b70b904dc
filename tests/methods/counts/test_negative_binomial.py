"""Negative binomial against SAS GENMOD, R and published analyses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import negative_binomial
from trialkit.methods.counts.negative_binomial import POISSON_LIMIT

Compare = Callable[..., float]


def test_epil_equals_the_joint_observed_information(compare: Compare, shared: Path) -> None:
    folder = shared / "oracles"
    oracle = json.loads((folder / "survival_counts_ordinal.json").read_text())["results"]
    wanted = oracle["epil_nb_joint_observed_information"]
    data = pd.read_csv(folder / "epil_total.csv").assign(log_base=lambda d: np.log(d["base"] / 4))
    formula = "y ~ trt + log_base"
    fit = negative_binomial(formula, data, exposure="weeks")
    first = ("negative_binomial", "joint information", "R 4.2.2 joint likelihood, MASS epil totals")
    compare(*first, "estimates", fit.coefficients["estimate"], wanted["coef"], rel=1e-6)
    compare(*first, "SE", fit.coefficients["se"], wanted["se"], rel=1e-6)
    compare(*first, "dispersion", fit.dispersion, wanted["k"], rel=1e-6)
    compare(*first, "log-likelihood", fit.loglik, wanted["loglik"], abs=1e-8)
    known = oracle["epil_glmnb"]
    fit = negative_binomial(formula, data, exposure="weeks", information="conditional")
    first = ("negative_binomial", "conditional information", "R 4.2.2 glm.nb, MASS epil totals")
    table = pd.DataFrame(known["coef"])
    compare(*first, "estimates", fit.coefficients["estimate"], table["Estimate"], rel=1e-6)
    compare(*first, "SE", fit.coefficients["se"], table["Std. Error"], rel=1e-6)
    compare(*first, "dispersion", 1.0 / fit.dispersion, known["theta"], rel=1e-6)


def test_camis_equals_sas_genmod(compare: Compare, shared: Path) -> None:
    """Coefficients, standard errors and LS-means to the printed digits of SAS and R."""
    folder = shared / "oracles"
    wanted = json.loads((folder / "published_sas_r.json").read_text())["negative_binomial"]
    data = pd.read_csv(folder / "camis_negbin.csv").assign(years=lambda d: np.exp(d["logtime"]))
    formula = "y ~ grpc + x1 + x2"
    fit = negative_binomial(formula, data, exposure="years")
    keys = ["(Intercept)", "grpcTrt", "x1", "x2B", "x2C"]
    first = ("negative_binomial", "joint information", "SAS 9.4 GENMOD, CAMIS data")
    expected = [wanted["estimate"][k] for k in keys]
    compare(*first, "estimates", fit.coefficients["estimate"], expected, rel=1e-6)
    expected = [wanted["se_sas_genmod_joint_observed"][k] for k in keys]
    compare(*first, "SE", fit.coefficients["se"], expected, abs=1e-7)
    compare(*first, "dispersion", fit.dispersion, wanted["k"], abs=5.1e-7)
    for weights, key in (("equal", "lsmeans_equal"), ("observed", "lsmeans_om")):
        means = fit.means("grpc", weights=weights).set_index("grpc")
        for column, place, digits in (("estimate", 0, 5.1e-5), ("se", 1, 5.1e-4)):
            expected = [wanted[key][arm][place] for arm in ("Plb", "Trt")]
            got = means.loc[["Plb", "Trt"], column]
            compare(*first, f"LS-means, {weights}: {column}", got, expected, abs=digits)
    fit = negative_binomial(formula, data, exposure="years", information="conditional")
    first = ("negative_binomial", "conditional information", "R 4.2.2 glm.nb, CAMIS data")
    expected = [wanted["se_R_glm_nb"][k] for k in keys]
    compare(*first, "SE", fit.coefficients["se"], expected, abs=1e-7)
    ratio = fit.rate_ratio("grpc", reference="Plb").iloc[0]
    assert ratio["estimate"] == pytest.approx(np.exp(wanted["estimate"]["grpcTrt"]), rel=1e-6)


def test_cgd_rate_ratio(shared: Path) -> None:
    """Known answer of PROVENANCE.md: .357 (.193 to .657), alpha .91."""
    rows = pd.read_csv(shared / "data" / "recurrent_cgd_gamma_interferon.csv")
    data = (
        rows.groupby("id")
        .agg(treat=("treat", "first"), events=("status", "sum"), days=("tstop", "max"))
        .assign(years=lambda d: d["days"] / 365.25)
    )
    fit = negative_binomial("events ~ treat", data, exposure="years")
    row = fit.rate_ratio("treat", reference="placebo").iloc[0]
    assert [round(row[k], 3) for k in ("estimate", "lower")] == [0.357, 0.193]
    assert row["upper"] == pytest.approx(0.657, abs=1e-3)
    assert fit.dispersion == pytest.approx(0.91, abs=5e-3)
    days = negative_binomial("events ~ treat", data, exposure="days")
    assert days.rate_ratio("treat", reference="placebo")["estimate"].iloc[0] == pytest.approx(
        row["estimate"], rel=1e-9
    )


def test_epilepsy_rate_ratio(shared: Path) -> None:
    """Known answer of PROVENANCE.md: .755 (.561 to 1.015), alpha .277."""
    rows = pd.read_csv(shared / "data" / "count_epilepsy_progabide.csv")
    data = rows.groupby("subject").agg(
        treatment=("treatment", "first"),
        seizures=("seizure.rate", "sum"),
        base=("base", "first"),
    )
    fit = negative_binomial("seizures ~ treatment + log(base)", data)
    row = fit.rate_ratio("treatment", reference="placebo").iloc[0]
    found = [row[k] for k in ("estimate", "lower", "upper")]
    assert found == pytest.approx([0.755, 0.561, 1.015], abs=1e-3)
    assert fit.dispersion == pytest.approx(0.277, abs=5e-4)


def test_no_follow_up_is_missing() -> None:
    data = pd.DataFrame(
        {"n": [0, 3, 0, 2, 6, 2, 1, 9], "g": list("aabbaabb"), "py": [1, 1, 0, 1, 2, 1, 1, None]}
    )
    fit = negative_binomial("n ~ g", data, exposure="py")
    assert (fit.n, fit.n_missing) == (6, 2)
    assert any("1 rows without follow-up" in note for note in fit.notes)


def test_underdispersed_counts_give_the_poisson_limit() -> None:
    data = pd.DataFrame({"n": [2, 3] * 10, "g": list("ab") * 10, "py": [1.0] * 20})
    fit = negative_binomial("n ~ g", data, exposure="py")
    assert fit.failed is None
    assert fit.dispersion == 0.0
    assert POISSON_LIMIT in fit.variant
    row = fit.contrast("g", reference="a").iloc[0]
    assert row["estimate"] == pytest.approx(np.log(1.5))
    assert row["se"] == pytest.approx(np.sqrt(1 / 20 + 1 / 30))


@pytest.mark.parametrize(
    ("counts", "reason"), [([0] * 8, "no event in these"), ([1, 2, 0, 0, 3, 1, 0, 0], "is b")]
)
def test_fails_with_a_reason(counts: list[int], reason: str) -> None:
    data = pd.DataFrame({"n": counts, "g": list("aabbaabb"), "py": [1.0] * 8})
    fit = negative_binomial("n ~ g", data, exposure="py")
    assert fit.failed is not None
    assert reason in fit.failed
    assert fit.coefficients.empty
    assert fit.rate_ratio("g", reference="a").empty


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n": [0.5, 1, 2, 3]}, "no counts"),
        ({"py": [-1.0, 1, 1, 1]}, "negative"),
        ({"py": [0.0, 1, 1, 1]}, "no follow-up"),
        ({"py": [np.inf, 1, 1, 1]}, "infinite"),
        ({"py": list("1234")}, "not numeric"),
        ({"n": [1, 0, 2, 30_000_000]}, "above"),
        ({"n": [1, 0, 2, np.inf]}, "infinite"),
        ({"id": [1, 1, 2, 3]}, "several rows"),
        ({"g": list("aaaa")}, "only the level"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    data = pd.DataFrame({"n": [1, 0, 2, 3], "g": list("aabb"), "py": [1.0] * 4} | change)
    with pytest.raises(UsageError, match=word) as caught:
        negative_binomial("n ~ g", data, exposure="py", subject="id" if "id" in data else None)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda d: negative_binomial("n ~ g", d, information="expected"), "expected"),
        (lambda d: negative_binomial("n ~ g", d, exposure="weeks"), "weeks"),
        (lambda d: negative_binomial("n ~ g", d, subject="who"), "who"),
        (lambda d: negative_binomial("n ~ g", d).rate_ratio("g", reference="z"), "'z'"),
        (lambda d: negative_binomial("n ~ g", d).rate_difference("g", reference="z"), "'z'"),
        (lambda d: negative_binomial("n ~ g", d).rate("g", variance="ge"), "'ge'"),
        (lambda d: negative_binomial("n ~ g", d).rate("g", average="all"), "'all'"),
        (lambda d: negative_binomial("n ~ g", d).rates("n"), "not a factor"),
    ],
)
def test_options_that_do_not_exist(call: Callable[[pd.DataFrame], object], word: str) -> None:
    data = pd.DataFrame({"n": [1, 0, 2, 3, 9], "g": list("aabba")})
    with pytest.raises(UsageError, match=word):
        call(data)


def test_random_designs_are_finite_or_failed() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        n = int(rng.integers(6, 40))
        data = pd.DataFrame(
            {
                "n": rng.poisson(rng.gamma(0.6, rng.uniform(0.2, 6), n)),
                "g": rng.permutation(np.resize(["a", "b"], n)),
                "py": rng.uniform(0.05, 1.5, n),
            }
        )
        fit = negative_binomial("n ~ g", data, exposure="py")
        if fit.failed is None:
            row = fit.rate_ratio("g", reference="a").iloc[0]
            assert np.isfinite(row.drop(["g", "reference", "df"]).to_numpy(float)).all()
            assert 0 <= row["p"] <= 1
            assert row["lower"] <= row["estimate"] <= row["upper"]
