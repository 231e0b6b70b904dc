"""Poisson with robust standard errors: R's numbers, identities, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import negative_binomial, poisson
from trialkit.methods.linear.robust import unconditional_covariance

Compare = Callable[..., float]


def falls(n: int = 120, seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arm = rng.choice(["Conventional", "Robotic"], n)
    base = rng.normal(0, 1, n)
    years = rng.uniform(0.2, 1.5, n)
    mean = rng.gamma(1.2, 1 / 1.2, n) * years * np.exp(0.7 - 0.4 * (arm == "Robotic") + 0.3 * base)
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "falls": rng.poisson(mean),
            "arm": arm,
            "base": base,
            "years": years,
            "site": rng.choice(["A", "B", "C"], n),
        }
    )


def test_epil(compare: Compare, shared: Path) -> None:
    folder = shared / "oracles"
    oracle = json.loads((folder / "survival_counts_ordinal.json").read_text())["results"]
    wanted = oracle["epil_poisson"]
    data = pd.read_csv(folder / "epil_total.csv").assign(log_base=lambda d: np.log(d["base"] / 4))
    first = ("poisson", "one row a participant", "R 4.2.2 glm, MASS epil totals")
    table = pd.DataFrame(wanted["coef"])
    model = poisson("y ~ trt + log_base", data, exposure="weeks", se="model")
    got = model.coefficients
    compare(*first, "coefficients", got["estimate"], table["Estimate"], rel=1e-9)
    compare(*first, "SE model", got["se"], table["Std. Error"], rel=1e-6)
    for se in ("hc0", "hc1"):
        got = poisson("y ~ trt + log_base", data, exposure="weeks", se=se).coefficients
        compare(*first, f"SE {se}", got["se"], wanted[f"se_{se.upper()}"], rel=1e-6)
    compare(
        *first,
        "Pearson dispersion",
        model.pearson_dispersion,
        wanted["pearson_dispersion"],
        rel=1e-6,
    )


def test_arms_alone_have_closed_forms() -> None:
    """Rates are events over time; the sandwich sums squared residuals of the arm."""
    data = falls()
    fit = poisson("falls ~ arm", data, exposure="years")
    groups = data.groupby("arm")
    events, time = groups["falls"].sum(), groups["years"].sum()
    rate = fit.rate("arm").set_index("arm")
    np.testing.assert_allclose(rate["estimate"], events / time, rtol=1e-12)
    residual = data["falls"] - data["years"] * data["arm"].map(events / time)
    own = (residual**2).groupby(data["arm"]).sum() / time**2
    np.testing.assert_allclose(rate["se"] * rate["estimate"], np.sqrt(own), rtol=1e-10)
    row = fit.rate_difference("arm", reference="Conventional").iloc[0]
    gap = events / time
    assert row["estimate"] == pytest.approx(gap["Robotic"] - gap["Conventional"], rel=1e-10)
    assert row["se"] == pytest.approx(np.sqrt(own.sum()), rel=1e-10)
    ratio = fit.rate_ratio("arm", reference="Conventional").iloc[0]
    assert ratio["estimate"] == pytest.approx(gap["Robotic"] / gap["Conventional"], rel=1e-10)
    pd.testing.assert_frame_equal(
        fit.rate("arm", variance="robust"), fit.rate("arm"), rtol=1e-12, check_like=False
    )


def test_unconditional_variance_is_close_to_that_of_ye() -> None:
    """Equal follow-up: the same influence functions as Ye's formula, in another estimate."""
    data = falls(4000)
    fit = poisson("falls ~ arm * base", data)
    levels = ["Conventional", "Robotic"]
    mu = np.empty((len(data), 2))
    for a, level in enumerate(levels):
        columns = {**fit.design.columns, "arm": np.full(len(data), level, dtype=object)}
        mu[:, a] = np.exp(fit.design.matrix(columns)[:, fit.design.kept] @ fit.beta)
    arm = pd.Index(levels).get_indexer(pd.Index(data["arm"])).astype(np.intp)
    cov = unconditional_covariance(data["falls"].to_numpy(float), mu, arm)
    row = fit.rate_difference("arm", reference="Conventional").iloc[0]
    ye = np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    assert row["se"] == pytest.approx(ye, rel=0.01)
    narrow = fit.rate_difference("arm", reference="Conventional", variance="robust").iloc[0]
    assert narrow["se"] < row["se"]  # the effect differs by base: covariates' spread counts


def test_one_row_clusters_are_no_clusters() -> None:
    data = falls()
    plain = poisson("falls ~ arm + base", data, exposure="years")
    single = poisson("falls ~ arm + base", data, exposure="years", subject="id")
    pd.testing.assert_frame_equal(plain.coefficients, single.coefficients, rtol=1e-12)
    pd.testing.assert_frame_equal(
        plain.rate_difference("arm", reference="Robotic"),
        single.rate_difference("arm", reference="Robotic"),
        rtol=1e-10,
    )


def test_splitting_follow_up_changes_nothing_within_clusters() -> None:
    """A participant's time cut in two rows: the same rates, and the same cluster-robust SE."""
    data = falls()
    first = np.random.default_rng(0).binomial(data["falls"], 0.4)
    half = pd.concat(
        [
            data.assign(falls=first, years=data["years"] * 0.25),
            data.assign(falls=data["falls"] - first, years=data["years"] * 0.75),
        ]
    )
    whole = poisson("falls ~ arm + base", data, exposure="years").coefficients
    fit = poisson("falls ~ arm + base", half, exposure="years", subject="id")
    np.testing.assert_allclose(fit.coefficients["estimate"], whole["estimate"], rtol=1e-9)
    np.testing.assert_allclose(fit.coefficients["se"], whole["se"], rtol=1e-9)
    assert (fit.n, fit.n_subjects) == (240, 120)


@pytest.mark.parametrize("method", [poisson, negative_binomial])
def test_units_order_labels_and_reference(method: Callable[..., Any]) -> None:
    data = falls()
    formula = "falls ~ arm + base + site"
    plain = method(formula, data, exposure="years")
    moved = data.sample(frac=1.0, random_state=1).assign(
        years=lambda d: d["years"] * 365.25,
        base=lambda d: 1e4 * d["base"] - 3e5,
        arm=lambda d: d["arm"].map({"Conventional": "z", "Robotic": "a"}),
    )
    other = method(formula, moved, exposure="years")
    one = plain.rate_ratio("arm", reference="Conventional").iloc[0]
    two = other.rate_ratio("arm", reference="a").iloc[0]
    assert two["estimate"] == pytest.approx(1.0 / one["estimate"], rel=1e-8)
    for name in ("se", "p"):
        assert two[name] == pytest.approx(one[name], rel=1e-7)
    for variance in ("unconditional", "robust", "delta"):
        one = plain.rate_difference("arm", reference="Conventional", variance=variance).iloc[0]
        two = other.rate_difference("arm", reference="a", variance=variance).iloc[0]
        for name in ("estimate", "se"):
            sign = -1.0 if name == "estimate" else 1.0
            assert sign * 365.25 * two[name] == pytest.approx(one[name], rel=1e-7)
    rates = plain.rate("arm").set_index("arm")["estimate"]
    gap = plain.rate_difference("arm", reference="Conventional")["estimate"].iloc[0]
    assert gap == pytest.approx(rates["Robotic"] - rates["Conventional"], rel=1e-12)


def test_text_names_what_was_averaged() -> None:
    fit = poisson("falls ~ arm + base", falls(), exposure="years")
    assert "HC0" in fit.variant
    assert "standardised" in fit.rate("arm").attrs["variant"]
    assert "unconditional" in fit.rate_difference("arm", reference="Robotic").attrs["variant"]
    assert "log scale" in fit.rate("arm", average="covariates").attrs["variant"]
    pd.testing.assert_frame_equal(fit.rate("arm", average="covariates"), fit.rates("arm"))
    assert "Intercept" in fit.summary()
    assert "<pre>" in fit._repr_html_()


@pytest.mark.parametrize(
    ("counts", "options", "reason"),
    [
        ([0] * 6, {}, "no event"),
        ([2, 2, 2, 3, 3, 3], {"se": "hc0"}, "exactly"),
        ([2, 2, 2, 3, 3, 3], {"se": "pearson"}, "exactly"),
        ([1, 2, 0, 0, 0, 0], {}, "g is b"),
    ],
)
def test_fails_with_a_reason(counts: list[int], options: dict[str, Any], reason: str) -> None:
    data = pd.DataFrame({"n": counts, "g": list("aaabbb")})
    fit = poisson("n ~ g", data, **options)
    assert fit.failed is not None
    assert reason in fit.failed
    for table in (
        fit.coefficients,
        fit.rate_ratio("g", reference="a"),
        fit.rate("g"),
        fit.rates("g"),
        fit.rate_difference("g", reference="a"),
    ):
        assert table.empty
    assert fit.failed in fit.summary()


def test_one_participant_and_leverage_one() -> None:
    data = pd.DataFrame({"n": [1, 2, 4, 3], "g": list("aaab"), "id": [1] * 4})
    assert "leverage" not in str(poisson("n ~ g", data).failed)
    for se in ("hc2", "hc3"):
        assert "undefined" in str(poisson("n ~ g", data, se=se).failed)
    assert "one participant" in str(poisson("n ~ g", data, subject="id").failed)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"se": "hc4"}, "'hc4'"),
        ({"se": "hc3", "subject": "id"}, "clusters"),
        ({"subject": "nobody"}, "nobody"),
        ({"exposure": "site"}, "not numeric"),
    ],
)
def test_bad_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        poisson("falls ~ arm", falls(), **options)
    assert caught.value.remedy
