"""Weights of LS-means, and means that are equal at baseline: oracles, identities, bad input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import ancova, mmrm
from trialkit.methods._design import build_design

ORACLES = Path(__file__).parent.parent.parent / "oracles"
KEYS: dict[str, Any] = {"subject": "USUBJID", "visit": "AVISIT"}
ONE = "AVAL ~ BASE*(TRT01P + SITEID) + SITEID*SEX + TRT01P:SEX"
MANY = "AVAL ~ BASE*AVISIT + SITEID + SEX + TRT01P*AVISIT + TRT01P:SEX"
CLDA = "AVAL ~ STRATUM + TRT01P*AVISIT"
R = "R 4.2.2, emmeans 1.8.4-1, tests/oracles/lsmeans"
GLS = "R 4.2.2, nlme 3.1-162 gls, tests/oracles/"
Compare = Callable[..., float]


def trial(topic: str) -> pd.DataFrame:
    data = pd.read_csv(ORACLES / topic / "data.csv")
    order = list(dict.fromkeys(data["AVISIT"]))
    data["AVISIT"] = pd.Categorical(data["AVISIT"], order)
    data["TRT01P"] = pd.Categorical(data["TRT01P"], ["Control", "Low", "High"])
    return data


def oracle(topic: str, names: list[str]) -> pd.DataFrame:
    return pd.read_csv(ORACLES / topic / "oracle.txt", names=names, keep_default_na=False)


def weights_oracle() -> pd.DataFrame:
    return oracle("lsmeans", ["fit", "quantity", "weights", "arm", "visit", "value"])


@pytest.mark.parametrize("weights", ["equal", "observed", "counterfactual"])
def test_weights_agree_with_emmeans_at_one_visit(weights: str, compare: Compare) -> None:
    data = trial("lsmeans")
    fit = ancova(ONE, data[data.AVISIT == "W12"])
    found = {
        "lsmean": fit.lsmeans("TRT01P", weights=weights),
        "difference": fit.contrast("TRT01P", reference="Control", weights=weights),
    }
    theirs = weights_oracle().query("fit == 'lm' and weights == @weights")
    assert len(theirs) == 10
    for quantity, table in found.items():
        assert table.attrs["weights"] == weights
        mine = table.set_index("TRT01P")
        for suffix, column in (("", "estimate"), ("_se", "se")):
            rows = theirs[theirs.quantity == quantity + suffix]
            compare(
                "ancova",
                f"LS-means, {weights} weights",
                R,
                f"{quantity} {column}",
                mine.loc[rows["arm"], column],
                rows["value"].astype(float),
                rel=1e-9,
            )


def by_hand(fit: Any, variance: str, level: str) -> tuple[float, float]:
    """Counterfactual mean of an ANCOVA and its SE, from the model matrix alone."""
    columns = dict(fit.design.columns)
    columns["TRT01P"] = np.full(len(fit.design.y), level, dtype=object)
    rows = fit.design.matrix(columns)[:, fit.design.kept]
    beta, cov = fit.inference.beta, fit.inference.covariance
    mean = rows.mean(axis=0)
    extra = (rows @ beta).var(ddof=1) / len(rows) if variance == "unconditional" else 0.0
    return float(mean @ beta), float(np.sqrt(mean @ cov @ mean + extra))


@pytest.mark.parametrize("variance", ["conditional", "unconditional"])
def test_counterfactual_variances_agree_with_sums_in_r(variance: str, compare: Compare) -> None:
    data = trial("lsmeans")
    fit = ancova(ONE, data[data.AVISIT == "W12"])
    from trialkit.methods import _marginal

    means = _marginal.margins(fit.design, "TRT01P", None, "counterfactual", variance=variance)
    table = _marginal.tabulate(fit.design, means, fit.inference).set_index("TRT01P")
    theirs = weights_oracle().query("fit == 'by hand' and weights == @variance")
    own = theirs[theirs.quantity == "lsmean_se"]
    assert len(own) == 3
    name = f"counterfactual means, {variance} variance"
    compare("ancova", name, "R 4.2.2, tests/oracles/lsmeans", "standard errors",
            table.loc[own["arm"], "se"], own["value"], rel=1e-9)  # fmt: skip
    for level in ("Control", "Low", "High"):
        mean, se = by_hand(fit, variance, level)
        assert table.loc[level, "estimate"] == pytest.approx(mean, rel=1e-10)
        assert table.loc[level, "se"] == pytest.approx(se, rel=1e-10)
    assert variance in table.attrs["variant"]
    factor = fit.design.categorical("TRT01P")
    rows = _marginal.differences(means, factor, "TRT01P", "Control")
    differences = _marginal.tabulate(fit.design, rows, fit.inference).set_index("TRT01P")
    own = theirs[theirs.quantity == "difference_se"]
    if variance == "unconditional":
        assert len(own) == 2
        compare("ancova", "counterfactual differences, unconditional variance",
                "R 4.2.2, tests/oracles/lsmeans", "standard errors",
                differences.loc[own["arm"], "se"], own["value"], rel=1e-9)  # fmt: skip
        assert fit.inference is not None
        assert (differences["df"] > fit.inference.df).all()


@pytest.mark.parametrize("weights", ["equal", "observed", "counterfactual"])
def test_weights_agree_with_gls_over_visits(weights: str, compare: Compare) -> None:
    fit = mmrm(MANY, trial("lsmeans"), **KEYS, df="satterthwaite")
    keys = ["TRT01P", "AVISIT"]
    found = {
        "lsmean": fit.lsmeans("TRT01P", by="AVISIT", weights=weights).set_index(keys),
        "difference": fit.contrast(
            "TRT01P", reference="Control", by="AVISIT", weights=weights
        ).set_index(keys),
    }
    theirs = weights_oracle().query("fit == 'gls' and weights == @weights")
    assert len(theirs) == 40
    for quantity, table in found.items():
        rows = theirs[theirs.quantity == quantity]
        mine = table.loc[list(zip(rows["arm"], rows["visit"], strict=True))]
        gap = (mine["estimate"].to_numpy() - rows["value"].to_numpy()) / mine["se"].to_numpy()
        name = f"LS-means, {weights} weights"
        where = GLS + "lsmeans"
        compare(
            "mmrm", name, where, f"{quantity} estimate in SE", gap, np.zeros(len(gap)), abs=1e-4
        )
        rows = theirs[theirs.quantity == quantity + "_se"]
        mine = table.loc[list(zip(rows["arm"], rows["visit"], strict=True))]
        compare("mmrm", name, where, f"{quantity} se", mine["se"], rows["value"], rel=2e-5)


def test_participants_count_once_whatever_they_miss() -> None:
    """Dropping rows of some participants does not move the weights of counterfactual means."""
    data = trial("lsmeans").assign(AVAL=lambda d: d["AVAL"].fillna(0.0))
    whole = build_design(MANY, data, also=["USUBJID"])
    gone = (data["SITEID"] == "S1") & data["AVISIT"].isin(["W2", "W4"])
    part = build_design(MANY, data[~gone], also=["USUBJID"])
    from trialkit.methods._marginal import margins

    ask: dict[str, Any] = {"unit": "USUBJID", "occasion": "AVISIT"}
    found = [margins(d, "TRT01P", "AVISIT", "counterfactual", **ask).rows for d in (whole, part)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)
    observed = [margins(d, "TRT01P", "AVISIT", "observed").rows for d in (whole, part)]
    assert np.abs(observed[0] - observed[1]).max() > 1e-3


def test_balanced_factors_make_all_weights_alike() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    people = pd.DataFrame(
        [(f"{a}{s}{k}", a, s) for a in "AB" for s in "xy" for k in range(12)],
        columns=["USUBJID", "TRT01P", "SEX"],
    )
    data = people.merge(pd.DataFrame({"AVISIT": ["V1", "V2", "V3"]}), how="cross")
    data["AVAL"] = rng.normal(size=len(data))
    fit = mmrm("AVAL ~ SEX*TRT01P + TRT01P*AVISIT", data, **KEYS)
    tables = [
        fit.lsmeans("TRT01P", by="AVISIT", weights=w)[["estimate", "se", "df"]].astype(float)
        for w in ("equal", "observed", "counterfactual")
    ]
    for other in tables[1:]:
        np.testing.assert_allclose(tables[0], other, rtol=1e-9)
    without = [fit.lsmeans("TRT01P", weights=w)["estimate"] for w in ("equal", "counterfactual")]
    np.testing.assert_allclose(without[0], without[1], rtol=1e-9)


def test_row_order_and_labels_do_not_matter() -> None:
    data = trial("lsmeans")
    mixed = data.sample(frac=1.0, random_state=2).assign(USUBJID=lambda d: d["USUBJID"].str[::-1])
    for weights in ("observed", "counterfactual"):
        one, two = (
            mmrm(MANY, d, **KEYS).contrast(
                "TRT01P", reference="Control", by="AVISIT", weights=weights
            )
            for d in (data, mixed)
        )
        np.testing.assert_allclose(
            one[["estimate", "se"]].astype(float), two[["estimate", "se"]].astype(float), rtol=1e-8
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "proportional"}, "'proportional'"),
        ({"weights": "counterfactual", "variance": "robust"}, "'robust'"),
        ({"weights": "observed", "variance": "unconditional"}, "not defined"),
    ],
)
def test_unknown_weights_are_refused(options: dict[str, Any], words: str) -> None:
    fit = mmrm(MANY, trial("lsmeans"), **KEYS)
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        fit.lsmeans("TRT01P", by="AVISIT", **options)
    assert caught.value.remedy


def test_equal_baseline_agrees_with_gls(compare: Compare) -> None:
    fit = mmrm(CLDA, trial("clda"), **KEYS, df="satterthwaite", equal_at={"TRT01P": "Baseline"})
    assert fit.failed is None
    assert fit.variant.endswith("TRT01P equal at AVISIT Baseline")
    theirs = oracle("clda", ["quantity", "arm", "visit", "value"])
    value = float(theirs.query("quantity == 'minus2_loglik'")["value"].iloc[0])
    where = GLS + "clda"
    compare("mmrm", "cLDA", where, "-2 REML log-likelihood", fit.minus2_loglik, value, abs=1e-6)
    keys = ["TRT01P", "AVISIT"]
    found = {
        "lsmean": fit.lsmeans("TRT01P", by="AVISIT").set_index(keys),
        "difference": fit.contrast("TRT01P", reference="Control", by="AVISIT").set_index(keys),
    }
    for quantity, table in found.items():
        rows = theirs[theirs.quantity == quantity]
        assert len(rows) == len(table)
        mine = table.loc[list(zip(rows["arm"], rows["visit"], strict=True))]
        gap = (mine["estimate"].to_numpy() - rows["value"].to_numpy()) / mine["se"].to_numpy()
        compare(
            "mmrm", "cLDA", where, f"{quantity} estimate in SE", gap, np.zeros(len(gap)), abs=1e-4
        )
        rows = theirs[theirs.quantity == quantity + "_se"]
        mine = table.loc[list(zip(rows["arm"], rows["visit"], strict=True))]
        compare("mmrm", "cLDA", where, f"{quantity} se", mine["se"], rows["value"], rel=2e-5)
    chi = float(theirs.query("quantity == 'wald_chisq'")["value"].iloc[0])
    test = fit.anova().set_index("term").loc["TRT01P:AVISIT"]
    assert test["num_df"] == 6  # two arms at three visits; nothing to test at baseline
    compare("mmrm", "cLDA", where, "Wald chi-square of arm by visit", wald(fit), chi, rel=1e-4)


def wald(fit: Any) -> float:
    """Wald statistic of the joint type III hypothesis of arm by visit."""
    from trialkit.methods._type3 import hypothesis

    term = next(t for t in fit.design.terms if t.name == "TRT01P:AVISIT")
    rows = hypothesis(fit.design, term)
    value = rows @ fit.inference.beta
    return float(value @ np.linalg.solve(rows @ fit.inference.covariance() @ rows.T, value))


def test_equal_baseline_means_are_one_and_their_differences_no_result() -> None:
    fit = mmrm(CLDA, trial("clda"), **KEYS, equal_at={"TRT01P": "Baseline"})
    means = fit.lsmeans("TRT01P", by="AVISIT").query("AVISIT == 'Baseline'")
    assert means["estimate"].nunique() == means["se"].nunique() == 1
    table = fit.contrast("TRT01P", reference="Control", by="AVISIT")
    assert "Baseline" not in set(table["AVISIT"])
    assert len(table) == 6
    assert fit.aliased == ["TRT01P[T.Low]", "TRT01P[T.High]"]
    # so a coefficient of arm by visit is the difference itself
    row = fit.coefficients.set_index("term").loc["TRT01P[T.High]:AVISIT[T.W12]"]
    own = table.query("TRT01P == 'High' and AVISIT == 'W12'").iloc[0]
    assert row["estimate"] == pytest.approx(own["estimate"], rel=1e-12)


def test_equal_baseline_does_not_depend_on_reference_or_visit_order() -> None:
    data = trial("clda")
    one = mmrm(CLDA, data, **KEYS, equal_at={"TRT01P": "Baseline"})
    other = data.assign(
        TRT01P=pd.Categorical(data["TRT01P"], ["High", "Control", "Low"]),
        AVISIT=pd.Categorical(data["AVISIT"], ["W8", "W12", "Baseline", "W4"]),
    )
    two = mmrm(CLDA, other, **KEYS, equal_at={"TRT01P": "Baseline"})
    tables = [
        f.contrast("TRT01P", reference="Control", by="AVISIT")
        .astype({"TRT01P": str, "AVISIT": str})
        .sort_values(["TRT01P", "AVISIT"])[["estimate", "se", "df"]]
        .to_numpy(dtype=float)
        for f in (one, two)
    ]
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-7)
    assert two.minus2_loglik == pytest.approx(one.minus2_loglik, abs=1e-8)
    anova = [f.anova().set_index("term").loc["TRT01P:AVISIT", "statistic"] for f in (one, two)]
    assert anova[0] == pytest.approx(anova[1], rel=1e-6)


@pytest.mark.parametrize("reml", [False, True])
def test_equal_baseline_is_the_baseline_as_covariate(reml: bool) -> None:
    """With every baseline seen, both models say the same of the later visits given the first.

    The likelihood of the long form is f(baseline) f(later | baseline); with free effects of
    stratum and arm by visit the second factor is the model with the baseline as covariate and
    its parameters are its own. So maximum likelihood gives the same differences, whatever
    later visits are missing; REML gives nearly the same.
    """
    data = trial("clda")
    base = data[data.AVISIT == "Baseline"].set_index("USUBJID")["AVAL"].dropna()
    data = data[data["USUBJID"].isin(base.index)]
    options: dict[str, Any] = {**KEYS, "reml": reml, "df": "satterthwaite"}
    tied: dict[str, Any] = {**options, "equal_at": {"TRT01P": "Baseline"}}
    long = mmrm("AVAL ~ STRATUM*AVISIT + TRT01P*AVISIT", data, **tied)
    later = data[data.AVISIT != "Baseline"].assign(BASE=lambda d: d["USUBJID"].map(base))
    later["AVISIT"] = later["AVISIT"].cat.remove_unused_categories()
    right = "STRATUM*AVISIT + TRT01P*AVISIT"
    plain = mmrm(f"AVAL ~ BASE*AVISIT + {right}", later, **options)
    ask: dict[str, Any] = {"reference": "Control", "by": "AVISIT"}
    one, two = (f.contrast("TRT01P", **ask).set_index(["TRT01P", "AVISIT"]) for f in (long, plain))
    gap = (one["estimate"] - two["estimate"]).abs() / two["se"]
    assert gap.max() < (0.01 if reml else 1e-7)
    unadjusted = mmrm(f"AVAL ~ {right}", later, **options).contrast("TRT01P", **ask)
    off = unadjusted.set_index(["TRT01P", "AVISIT"])["estimate"] - two["estimate"]
    assert (off.abs() / two["se"]).max() > 0.1


@pytest.mark.parametrize(
    ("equal_at", "words"),
    [
        ({"TRT01P": "Week 99"}, "'Week 99' is not a visit"),
        ({"ARM": "Baseline"}, "'ARM'"),
        ({"AVISIT": "Baseline"}, "'AVISIT'"),
    ],
)
def test_bad_equal_at_is_refused(equal_at: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        mmrm(CLDA, trial("clda"), **KEYS, equal_at=equal_at)
    assert caught.value.remedy


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(12, 40),
    missing=st.floats(0.0, 0.5),
    weights=st.sampled_from(["equal", "observed", "counterfactual"]),
)
def test_any_design_gives_sound_means_that_are_averages_of_predictions(
    seed: int, n: int, missing: float, weights: str
) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    people = pd.DataFrame(
        {
            "USUBJID": [f"P{i}" for i in range(n)],
            "TRT01P": np.where(np.arange(n) % 3 == 0, "High", "Control"),
            "SEX": rng.choice(["F", "M"], n, p=[0.3, 0.7]),
            "BASE": rng.normal(size=n),
        }
    )
    data = people.merge(pd.DataFrame({"AVISIT": ["V1", "V2", "V3"]}), how="cross")
    data["AVAL"] = np.where(rng.random(len(data)) < missing, np.nan, rng.normal(size=len(data)))
    try:
        fit = mmrm("AVAL ~ SEX*BASE + TRT01P*AVISIT", data, **KEYS)
    except UsageError:
        return  # an arm, a sex or a visit without rows
    means = fit.lsmeans("TRT01P", by="AVISIT", weights=weights)
    if fit.failed is not None:
        assert means.empty
        return
    can = means["estimate"].notna()
    assert (means.loc[can, "se"] > 0).all()
    numbers = means.loc[can, ["estimate", "se", "df", "lower", "upper"]].to_numpy(dtype=float)
    assert np.isfinite(numbers).all()
    if weights != "counterfactual":
        return
    seen = people[people["USUBJID"].isin(data.dropna()["USUBJID"])]
    for row in means[can].itertuples():
        own = fit.predict(seen.assign(TRT01P=row.TRT01P, AVISIT=row.AVISIT))["estimate"]
        assert own.mean() == pytest.approx(row.estimate, rel=1e-9, abs=1e-9)
