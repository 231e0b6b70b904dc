"""Cumulative link models against ordinal::clm, polr, SAS and identities."""

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
from trialkit.methods import binary, ordinal
from trialkit.methods.categorical._cumulative import SEPARATED

Compare = Callable[..., float]
FOLDER = Path(__file__).parents[2] / "oracles" / "ordinal"
R = "R 4.2.2, own data (tests/oracles/ordinal)"
CUTS = ["0|1", "1|2", "2|3", "3|4", "4|5"]
TERMS = ["TRTRobot", "TRTUsual", "SITEB", "SITEC", "BASE"]
NUMBERS = ["estimate", "se", "p", "lower", "upper"]
Ours = dict[tuple[str, str], dict[str, float]]


@pytest.fixture(scope="module")
def shared_results(shared: Path) -> dict[str, Any]:
    text = (shared / "oracles" / "survival_counts_ordinal.json").read_text()
    found: dict[str, Any] = json.loads(text)["results"]
    return found


@pytest.fixture(scope="module")
def wine(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "oracles" / "wine.csv")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "data.csv")


@pytest.fixture(scope="module")
def ours() -> Ours:
    out: Ours = {}
    for line in (FOLDER / "oracle.txt").read_text().splitlines():
        fit, quantity, term, value = line.split(",")
        out.setdefault((fit, quantity), {})[term] = float(value)
    return out


def cheese() -> pd.DataFrame:
    """McCullagh and Nelder 1989, p. 175: four cheeses, nine ratings."""
    counts = {
        "A": [0, 0, 1, 7, 8, 8, 19, 8, 1],
        "B": [6, 9, 12, 11, 7, 6, 1, 0, 0],
        "C": [1, 1, 6, 8, 23, 7, 5, 1, 0],
        "D": [0, 0, 0, 1, 3, 7, 14, 16, 11],
    }
    rows = [(a, i + 1, n) for a, own in counts.items() for i, n in enumerate(own)]
    return pd.DataFrame(rows, columns=["cheese", "rating", "n"])


def test_wine_equals_clm(
    wine: pd.DataFrame, shared_results: dict[str, Any], compare: Compare
) -> None:
    fit = ordinal("rating ~ temp + contact", wine)
    wanted = shared_results["wine_clm"]
    both = pd.concat([fit.thresholds, fit.coefficients])
    args = ("ordinal", "proportional odds", "ordinal 2022.11.16 clm, wine")
    for column, key in (("estimate", "Estimate"), ("se", "Std. Error"), ("p", "Pr(>|z|)")):
        compare(*args, column, both[column], [c[key] for c in wanted["coef"]], rel=1e-6)
    compare(*args, "log-likelihood", fit.loglik, wanted["loglik"], rel=1e-10)
    tests = fit.proportional_odds_test()
    tests = tests[tests["test"] == "likelihood_ratio"].set_index("term")
    for row in shared_results["wine_clm_nominal_test"][1:]:
        got = tests.loc[row["term"], ["df", "statistic", "p"]].astype(float)
        compare("ordinal", "likelihood ratio of proportionality", "clm nominal_test, wine",
                "df, statistic, p", got, [row["Df"], row["LRT"], row["Pr..Chi."]],
                rel=1e-6)  # fmt: skip
    assert any("infinite" in note for note in fit.notes)


def test_housing_equals_polr(
    shared: Path, shared_results: dict[str, Any], compare: Compare
) -> None:
    housing = pd.read_csv(shared / "oracles" / "housing.csv")
    for name, levels in (
        ("Infl", ["Low", "Medium", "High"]),
        ("Type", ["Tower", "Apartment", "Atrium", "Terrace"]),
        ("Cont", ["Low", "High"]),
    ):
        housing[name] = pd.Categorical(housing[name], categories=levels)
    fit = ordinal(
        "Sat ~ Infl + Type + Cont", housing, levels=["Low", "Medium", "High"], frequency="Freq"
    )
    assert fit.n == 1681
    wanted = shared_results["housing_polr"]
    both = pd.concat([fit.coefficients, fit.thresholds])
    args = ("ordinal", "proportional odds, frequencies", "MASS 7.3-58.2 polr, housing")
    compare(*args, "estimate", both["estimate"], [c["Value"] for c in wanted["coef"]], rel=1e-6)
    scaled = (both["estimate"] - [c["Value"] for c in wanted["coef"]]) / both["se"]
    compare(*args, "estimate in SE", scaled, np.zeros(len(both)), abs=1e-5)
    compare(*args, "SE", both["se"], [c["Std. Error"] for c in wanted["coef"]], rel=1e-6)
    compare(*args, "deviance", fit.minus2_loglik, wanted["deviance"], rel=1e-10)
    assert fit.minus2_loglik <= wanted["deviance"] + 1e-9


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_links_equal_clm(data: pd.DataFrame, ours: Ours, compare: Compare, link: Any) -> None:
    fit = ordinal("FAC ~ TRT + SITE + BASE", data, link=link)
    both = pd.concat([fit.thresholds, fit.coefficients])
    args = ("ordinal", f"cumulative {link}", f"{R} clm")
    for column in ("estimate", "se", "p"):
        wanted = [ours[link, column][t] for t in CUTS + TERMS]
        compare(*args, column, both[column], wanted, rel=1e-7)
    compare(*args, "log-likelihood", fit.loglik, ours[link, "loglik"][""], rel=1e-12)
    if link == "logit":
        wanted = [ours["polr", "estimate"][t] for t in CUTS + TERMS]
        compare("ordinal", "cumulative logit", f"{R} polr", "estimate", both["estimate"], wanted,
                rel=1e-6)  # fmt: skip


def test_partial_proportional_odds_equal_clm(
    data: pd.DataFrame, ours: Ours, compare: Compare
) -> None:
    fit = ordinal("FAC ~ TRT + SITE + BASE", data, nominal="TRT")
    args = ("ordinal", "partial proportional odds", f"{R} clm(nominal=)")
    compare(*args, "log-likelihood", fit.loglik, ours["partial", "loglik"][""], rel=1e-12)
    table = fit.coefficients.set_index("term")
    for column in ("estimate", "se"):
        wanted = ours["partial", column]
        sign = -1.0 if column == "estimate" else 1.0
        got, want = [], []
        for cut in CUTS:
            for arm in ("Robot", "Usual"):
                got.append(table.loc[f"TRT[T.{arm}] ({cut})", column])
                want.append(sign * wanted[f"{cut}.TRT{arm}"])
        for ours_name, clm_name in (
            ("SITE[T.B]", "SITEB"),
            ("SITE[T.C]", "SITEC"),
            ("BASE", "BASE"),
        ):
            got.append(table.loc[ours_name, column])
            want.append(wanted[clm_name])
        compare(*args, column, got, want, rel=1e-7)
        want = [wanted[f"{cut}.(Intercept)"] for cut in CUTS]
        compare(*args, f"thresholds: {column}", fit.thresholds[column], want, rel=1e-7)
    odds = fit.odds_ratio("TRT", reference="Usual")
    assert odds.columns[:3].tolist() == ["TRT", "reference", "threshold"]
    assert len(odds) == 10
    row = odds[(odds["TRT"] == "Robot") & (odds["threshold"] == "2|3")].iloc[0]
    wanted = ours["partial", "estimate"]
    assert np.log(row["estimate"]) == pytest.approx(
        wanted["2|3.TRTUsual"] - wanted["2|3.TRTRobot"], rel=1e-7
    )
    assert fit.probabilities("TRT").groupby("TRT")["estimate"].sum().tolist() == pytest.approx(
        [1.0, 1.0, 1.0]
    )


def test_tests_of_proportionality(data: pd.DataFrame, ours: Ours, compare: Compare) -> None:
    table = ordinal("FAC ~ TRT + SITE + BASE", data).proportional_odds_test()
    table = table.set_index(["test", "term"])
    terms = ["all", "TRT", "SITE", "BASE"]
    for test, key in (("score", "observed"), ("score_expected", "expected")):
        got = [table.loc[(test, t), "statistic"] for t in terms]
        wanted = [ours[f"score {t}", key][""] for t in terms]
        compare("ordinal", f"score test, {key} information", f"{R} numDeriv", "chi-square", got,
                wanted, rel=1e-5)  # fmt: skip
    got = [table.loc[("likelihood_ratio", t), "statistic"] for t in terms]
    wanted = [ours["likelihood_ratio", "statistic"][t] for t in terms]
    compare("ordinal", "likelihood ratio of proportionality", f"{R} clm", "chi-square", got, wanted,
            rel=1e-6)  # fmt: skip
    assert table.loc[("score", "all"), "df"] == 20


def test_cheese_as_sas_prints_it(compare: Compare) -> None:
    """The effect 1.6128 of D is in SAS's documentation of this example."""
    fit = ordinal("rating ~ cheese", cheese(), frequency="n")
    table = fit.coefficients.set_index("term")
    compare("ordinal", "proportional odds, frequencies", "SAS PROC LOGISTIC, cheese", "effect of D",
            table.loc["cheese[T.D]", "estimate"], 1.6128, abs=5.1e-5)  # fmt: skip
    tests = fit.proportional_odds_test().set_index("test")
    assert tests["df"].tolist() == [21, 21, 21]
    # the score statistic is finite although cells are empty and the information is singular
    assert tests.loc["score", "statistic"] == pytest.approx(17.287, abs=1e-3)


def test_likelihood_ratio_against_the_saturated_model() -> None:
    """With one factor, effects by threshold saturate: the bound is the multinomial likelihood."""
    data = cheese()
    fit = ordinal("rating ~ cheese", data, frequency="n")
    share = data["n"] / data.groupby("cheese")["n"].transform("sum")
    used = data["n"] > 0
    saturated = float((data["n"][used] * np.log(share[used])).sum())
    tests = fit.proportional_odds_test().set_index("test")
    wanted = 2.0 * (saturated - fit.loglik)
    assert tests.loc["likelihood_ratio", "statistic"] == pytest.approx(wanted, abs=1e-6)


def test_standardised_probabilities(data: pd.DataFrame, ours: Ours, compare: Compare) -> None:
    fit = ordinal("FAC ~ TRT + SITE + BASE", data)
    table = fit.probabilities("TRT")
    args = ("ordinal", "standardised probabilities", f"{R} clm, numDeriv")
    for column in ("estimate", "se"):
        wanted = [
            ours[f"standardised {arm}", column][str(c)]
            for arm in ("Control", "Robot", "Usual")
            for c in range(6)
        ]
        compare(*args, column, table[column], wanted, rel=1e-6)
    assert ((table["lower"] < table["estimate"]) & (table["estimate"] < table["upper"])).all()
    assert table["lower"].gt(0).all()
    assert table["upper"].lt(1).all()
    above = fit.probabilities("TRT", cumulative=True)
    own = table[table["TRT"] == "Robot"]["estimate"].to_numpy()
    at_least = above[above["TRT"] == "Robot"]["estimate"].to_numpy()
    assert at_least == pytest.approx(own[::-1].cumsum()[::-1][1:])


def test_predictions(data: pd.DataFrame) -> None:
    fit = ordinal("FAC ~ TRT + SITE + BASE", data)
    p = fit.predict()
    assert p.sum(axis=1).to_numpy() == pytest.approx(1.0)
    # at the maximum the expected numbers above each threshold are the observed ones
    codes = fit.model.y
    observed = np.bincount(codes, minlength=6)
    again = fit.predict(data.loc[fit.design.rows].reset_index(drop=True))
    assert again.to_numpy() == pytest.approx(p.to_numpy())
    assert p.sum().to_numpy() == pytest.approx(observed, rel=0.1)
    with pytest.raises(UsageError, match="unknown to the fit"):
        fit.predict(data.dropna().assign(TRT="Sham"))
    with pytest.raises(UsageError, match="miss a covariate"):
        fit.predict(data)


def test_two_categories_are_logistic_regression(data: pd.DataFrame) -> None:
    cut = data.assign(Y=(data["FAC"] > 2).where(data["FAC"].notna()).astype("float"))
    fit = ordinal("Y ~ TRT + BASE", cut)
    other = binary("Y ~ TRT + BASE", cut)
    a = fit.odds_ratio("TRT", reference="Usual")
    b = other.odds_ratio("TRT", reference="Usual")
    np.testing.assert_allclose(a[NUMBERS].astype(float), b[NUMBERS].astype(float), rtol=1e-9)
    assert fit.proportional_odds_test().empty


def test_effects_by_threshold_of_everything_are_logistic_regressions_when_saturated() -> None:
    """One two-level factor: the effect at a threshold is the log odds ratio of the cut."""
    rng = np.random.default_rng(11)
    data = pd.DataFrame({"g": np.repeat(["a", "b"], 60), "y": rng.integers(0, 4, 120)})
    fit = ordinal("y ~ g", data, nominal="g")
    odds = fit.odds_ratio("g", reference="a")
    for k, row in enumerate(odds.to_dict("records")):
        cut = binary("z ~ g", data.assign(z=(data["y"] > k).astype(int)))
        want = cut.odds_ratio("g", reference="a").iloc[0]
        assert row["estimate"] == pytest.approx(want["estimate"], rel=1e-7)
        assert row["se"] == pytest.approx(want["se"], rel=1e-6)


def test_frequencies_are_repeated_rows() -> None:
    table = cheese()
    long = table.loc[table.index.repeat(table["n"])]
    a = ordinal("rating ~ cheese", table, frequency="n")
    b = ordinal("rating ~ cheese", long)
    assert a.n == b.n == 208
    np.testing.assert_allclose(a.coefficients[NUMBERS], b.coefficients[NUMBERS], rtol=1e-9)


def test_reversed_categories_reverse_the_sign(data: pd.DataFrame) -> None:
    a = ordinal("FAC ~ TRT + BASE", data)
    b = ordinal("FAC ~ TRT + BASE", data.assign(FAC=5 - data["FAC"]))
    assert b.coefficients["estimate"].tolist() == pytest.approx(
        (-a.coefficients["estimate"]).tolist()
    )
    assert b.loglik == pytest.approx(a.loglik)


def test_units_rows_and_labels_do_not_matter(data: pd.DataFrame) -> None:
    a = ordinal("FAC ~ TRT + SITE + BASE", data).odds_ratio("TRT", reference="Usual")
    moved = data.assign(
        BASE=data["BASE"] * 1e5 - 4e6,
        TRT=data["TRT"].map({"Control": "x", "Robot": "a", "Usual": "k"}),
        FAC=data["FAC"] * 10.0,
    ).sample(frac=1.0, random_state=8)
    b = ordinal("FAC ~ TRT + SITE + BASE", moved).odds_ratio("TRT", reference="k")
    here = a.set_index("TRT").loc["Robot", NUMBERS].astype(float)
    there = b.set_index("TRT").loc["a", NUMBERS].astype(float)
    assert there.tolist() == pytest.approx(here.tolist(), rel=1e-7)


def test_text_needs_an_order(data: pd.DataFrame) -> None:
    names = dict(enumerate(["none", "little", "some", "much", "most", "all"]))
    text = data.assign(FAC=data["FAC"].map(names))
    with pytest.raises(UsageError, match="no order"):
        ordinal("FAC ~ TRT", text)
    a = ordinal("FAC ~ TRT", data)
    b = ordinal("FAC ~ TRT", text, levels=list(names.values()))
    ordered = pd.Categorical(text["FAC"], categories=list(names.values()), ordered=True)
    c = ordinal("FAC ~ TRT", text.assign(FAC=ordered))
    for other in (b, c):
        np.testing.assert_allclose(other.coefficients[NUMBERS], a.coefficients[NUMBERS])
    assert b.threshold_names[0] == "none|little"
    with pytest.raises(UsageError, match="not among its levels"):
        ordinal("FAC ~ TRT", text, levels=["none", "little"])
    with pytest.raises(UsageError, match="named twice"):
        ordinal("FAC ~ TRT", text, levels=["none", "none"])


def test_empty_categories_floor_and_ceiling_are_said(data: pd.DataFrame) -> None:
    fit = ordinal("FAC ~ TRT", data, levels=[0, 1, 2, 2.5, 3, 4, 5])
    assert fit.notes == ["empty categories, merged with the next: 2.5"]
    assert fit.levels == (0, 1, 2, 3, 4, 5)
    high = ordinal("FAC ~ TRT", data.assign(FAC=data["FAC"].clip(lower=3)))
    assert any(note.startswith("floor") for note in high.notes)
    top = ordinal("FAC ~ TRT", data.assign(FAC=data["FAC"].clip(upper=2)))
    assert any(note.startswith("ceiling") for note in top.notes)


@pytest.mark.parametrize(
    ("y", "word"),
    [
        ([2] * 12, "in the category 2"),
        ([0, 0, 1, 1, 1, 0, 2, 2, 2, 3, 3, 2], SEPARATED),
        ([0, 1, 0, 1, 2, 1, 2, 2, 2, 2, 2, 2], SEPARATED),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "do not suffice"),
    ],
)
def test_fails_with_a_reason(y: list[int], word: str) -> None:
    data = pd.DataFrame({"y": y, "g": ["a"] * 6 + ["b"] * 6})
    fit = ordinal("y ~ g", data)
    assert fit.failed is not None
    assert word in fit.failed
    assert not fit.converged
    for table in (
        fit.coefficients,
        fit.thresholds,
        fit.odds_ratio("g", reference="a"),
        fit.proportional_odds_test(),
        fit.probabilities("g"),
        fit.predict(),
    ):
        assert table.empty
    assert word in fit.summary()


def test_crossing_thresholds_are_said() -> None:
    """A steep effect at one threshold and none at the other cross far from the data."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=120), [40.0]])
    y = np.where(rng.logistic(size=121) < 2.0 * x - 1.0, 1, 0) + rng.integers(0, 2, 121)
    y[-1] = 2
    data = pd.DataFrame({"y": y, "x": x, "g": np.tile(["a", "b"], 61)[:121]})
    fit = ordinal("y ~ x + g", data, nominal="x")
    assert fit.failed is None
    negative = bool((fit.predict() < 0).any().any())
    assert negative
    assert any("cross" in note for note in fit.notes)
    assert fit.probabilities("g").empty


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"formula": "FAC ~ NO"}, "no column"),
        ({"formula": "~ TRT"}, "no outcome"),
        ({"formula": "FAC ~ 0 + TRT"}, "intercept"),
        ({"link": "loglog"}, "link"),
        ({"nominal": "SITE"}, "not a term"),
        ({"frequency": "BASE"}, "whole numbers"),
        ({"frequency": "NO"}, "no column"),
    ],
)
def test_bad_input_is_refused(data: pd.DataFrame, change: dict[str, Any], word: str) -> None:
    options: dict[str, Any] = {"formula": "FAC ~ TRT + BASE"} | change
    formula = options.pop("formula")
    with pytest.raises(UsageError, match=word):
        ordinal(formula, data, **options)


def test_more_bad_input(data: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="infinite"):
        ordinal("FAC ~ TRT", data.assign(FAC=data["FAC"].replace(2.0, np.inf)))
    with pytest.raises(UsageError, match="infinite"):
        ordinal("FAC ~ BASE", data.assign(BASE=data["BASE"].fillna(np.inf)))
    with pytest.raises(UsageError, match="not a level"):
        ordinal("FAC ~ TRT", data).odds_ratio("TRT", reference="Sham")
    with pytest.raises(UsageError, match="no odds ratios"):
        ordinal("FAC ~ TRT", data, link="probit").odds_ratio("TRT", reference="Control")
    fit = ordinal("FAC ~ TRT + BASE + B2", data.assign(B2=2 * data["BASE"] + 1))
    assert any("B2" in note for note in fit.notes)
    counts = fit.counts("TRT")
    assert counts["n"].sum() == fit.n
    with pytest.raises(UsageError, match="not in the formula"):
        fit.counts("SITE")


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_noise_is_passed_off_as_a_result(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 30))
    frame = pd.DataFrame(
        {
            "g": data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)),
            "y": data.draw(
                st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]), min_size=n, max_size=n)
            ),
            "x": data.draw(
                st.lists(st.one_of(st.floats(-9, 9), st.just(np.nan)), min_size=n, max_size=n)
            ),
        }
    )
    nominal: Any = data.draw(st.sampled_from([(), "x"]))
    try:
        fit = ordinal("y ~ g + x", frame, nominal=nominal)
        table = fit.odds_ratio("g", reference="a")
    except UsageError:
        return
    if fit.failed is not None:
        assert table.empty
        return
    assert (table["se"] >= 0).all()
    assert table["p"].between(0, 1).all()
    assert fit.proportional_odds_test()["p"].between(0, 1).all()
    shares = fit.probabilities("g")
    assert (shares["estimate"].between(0, 1)).all()
    assert shares[["lower", "upper"]].notna().all().all()
