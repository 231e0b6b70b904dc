"""Cox regression against R's survival (oracles/survival_counts_ordinal.json, tests/oracles/cox)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import cox
from trialkit.methods.survival._partial import fit_partial
from trialkit.methods.survival.cox import MONOTONE, CoxFit

HERE = Path(__file__).parents[2] / "oracles" / "cox"
RIGHT = "~ TRT01P + AGE + SPEED"
FORMS: dict[str, dict[str, Any]] = {
    "right": {"formula": RIGHT},
    "right_strata": {"formula": RIGHT, "strata": "SITEID"},
    "entry": {"formula": RIGHT, "start": "START"},
    "entry_strata": {"formula": "~ TRT01P * AGE + SPEED", "start": "START", "strata": "SITEID"},
}
KEYS = [f"{form}_{ties}" for form in FORMS for ties in ("efron", "breslow")]
R = "R survival 3.5-3, made-up weeks"


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


@pytest.fixture(scope="module")
def veteran(shared: Path) -> pd.DataFrame:
    frame = pd.read_csv(shared / "oracles" / "veteran.csv")
    frame["arm"] = frame["trt"].map({1: "standard", 2: "test"})
    return frame


@pytest.fixture(scope="module")
def weeks() -> pd.DataFrame:
    frame = pd.read_csv(HERE / "data.csv")
    levels = ["Control", "Low", "High"]
    return frame.assign(TRT01P=pd.Categorical(frame["TRT01P"], categories=levels))


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "a", "b", "value"]
    return pd.read_csv(HERE / "oracle.txt", names=names, keep_default_na=False)


def rows_of(weeks: pd.DataFrame, form: str) -> pd.DataFrame:
    return weeks if "entry" in form else weeks.drop_duplicates("USUBJID", keep="last")


def fitted(weeks: pd.DataFrame, key: str, **more: Any) -> CoxFit:
    form, ties = key.rsplit("_", 1)
    options: dict[str, Any] = {**FORMS[form], "ties": ties, **more}
    formula = options.pop("formula")
    fit: CoxFit = cox(formula, rows_of(weeks, form), time="STOP", event="EVENT", **options)
    assert fit.failed is None
    return fit


def values(oracle: pd.DataFrame, key: str, quantity: str) -> list[float]:
    own = oracle[(oracle["fit"] == key) & (oracle["quantity"] == quantity)]
    return own["value"].astype(float).tolist()


def variant(key: str) -> str:
    form, ties = key.rsplit("_", 1)
    words = {"right": "", "entry": ", start-stop", "strata": ", stratified"}
    return ties + "".join(words[word] for word in form.split("_"))


@pytest.mark.parametrize("key", [*KEYS, "right_exact", "right_strata_exact", "entry_exact"])
def test_estimates_equal_coxph(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, key: str
) -> None:
    fit = fitted(weeks, key)
    table = fit.coefficients
    for quantity in ("estimate", "se"):
        compare(
            "cox",
            variant(key),
            R,
            quantity,
            table[quantity],
            values(oracle, key, quantity),
            rel=1e-8,
        )
    logs = [fit.loglik_null, fit.loglik]
    compare(
        "cox", variant(key), R, "log-likelihood", logs, values(oracle, key, "loglik"), rel=1e-10
    )
    tests = fit.tests.set_index("test")["statistic"]
    wanted = oracle[(oracle["fit"] == key) & (oracle["quantity"] == "test")].set_index("a")["value"]
    wanted = wanted[~wanted.index.str.startswith("robust")]
    got = tests[wanted.index].to_numpy()
    compare("cox", variant(key), R, "overall tests", got, wanted.astype(float), rel=1e-8)
    if "entry_exact" not in key:
        assert [fit.n, fit.n_events] == [values(oracle, key, w)[0] for w in ("n", "events")]
        compare(
            "cox", variant(key), R, "concordance", fit.concordance,
            values(oracle, key, "concordance"), rel=1e-12,
        )  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_clustered_errors_equal_coxph(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, key: str
) -> None:
    fit = fitted(weeks, key, cluster="USUBJID")
    name = f"{variant(key)}, clustered"
    got = fit.coefficients["se"]
    compare("cox", name, R, "robust se", got, values(oracle, key, "robust_se"), rel=1e-8)
    tests = fit.tests.set_index("test")["statistic"]
    wanted = oracle[(oracle["fit"] == key) & (oracle["quantity"] == "test")].set_index("a")["value"]
    robust = wanted[["robust_wald", "robust_score"]].astype(float)
    compare("cox", name, R, "robust tests", tests[["wald", "robust_score"]], robust, rel=1e-8)
    assert fit.n_subjects == rows_of(weeks, key).dropna()["USUBJID"].nunique()
    plain = fitted(weeks, key)
    assert fit.coefficients["estimate"].tolist() == plain.coefficients["estimate"].tolist()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("transform", ["km", "rank", "identity", "log"])
def test_proportionality_equals_cox_zph(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, key: str, transform: Any
) -> None:
    found = fitted(weeks, key).proportionality(transform)
    assert found.failed is None
    wanted = values(oracle, key, f"zph_{transform}")
    compare("cox", variant(key), R, "cox.zph", found.table["statistic"], wanted, rel=1e-7)
    assert found.table["df"].tolist()[0] == 2.0
    assert found.table["p"].between(0.0, 1.0).all()
    if transform == "km":
        names = list(found.residuals.columns[3:])
        square = (found.residuals[names] ** 2).mean()
        wanted = values(oracle, key, "schoenfeld_mean_square")
        compare("cox", variant(key), R, "scaled Schoenfeld residuals", square, wanted, rel=1e-7)


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_proportionality_is_the_score_test_of_a_covariate_that_moves(
    weeks: pd.DataFrame, ties: Any
) -> None:
    """Split the rows at every event time and add age times time: its score at the estimate."""
    last = weeks.drop_duplicates("USUBJID", keep="last")[["AGE", "STOP", "EVENT"]]
    fit = cox("~ AGE", last, time="STOP", event="EVENT", ties=ties)
    cuts = np.concatenate([[0.0], np.unique(last["STOP"])])
    rows = last.loc[last.index.repeat(len(cuts) - 1)].reset_index(drop=True)
    start, stop = np.tile(cuts[:-1], len(last)), np.tile(cuts[1:], len(last))
    keep = stop <= rows["STOP"]
    rows, start, stop = rows[keep], start[keep], stop[keep]
    event = (rows["EVENT"] == 1) & (rows["STOP"] == stop)
    x = np.column_stack([rows["AGE"], rows["AGE"] * stop])
    moving = fit_partial(stop, event.to_numpy(), x, start=start, ties=ties)
    assert moving.problem is not None
    point = moving.problem.evaluate(np.array([fit.beta[1] * moving.problem.scale[0], 0.0]))
    assert abs(point.score[0]) < 1e-8
    wanted = point.score @ np.linalg.solve(point.information, point.score)
    got = fit.proportionality("identity").table["statistic"]
    assert got.tolist() == pytest.approx([wanted, wanted], rel=1e-7)


@pytest.mark.parametrize("key", KEYS)
def test_baseline_equals_survfit(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, key: str
) -> None:
    at = {"TRT01P": "Low", "AGE": 70, "SPEED": 0.9}
    table = fitted(weeks, key).baseline(at)
    own = oracle[oracle["fit"] == key]
    for mine, theirs in (("cumulative_hazard", "cumhaz"), ("se", "cumhaz_se")):
        wanted = own[own["quantity"] == theirs]
        if "strata" in key:
            assert table["SITEID"].tolist() == wanted["a"].tolist()
        assert table["time"].tolist() == wanted["b"].astype(float).tolist()
        compare(
            "cox", variant(key), R, f"baseline {theirs}", table[mine], wanted["value"], rel=1e-8
        )
    assert (table["lower"] <= table["survival"]).all()


@pytest.mark.parametrize(
    ("key", "ties", "strata"),
    [
        ("veteran_cox_trt_karno_efron", "efron", None),
        ("veteran_cox_trt_karno_breslow", "breslow", None),
        ("veteran_cox_trt_karno_exact", "exact", None),
        ("veteran_cox_strat", "efron", "celltype"),
    ],
)
def test_veteran_equals_coxph(
    compare: Any, published: dict[str, Any], veteran: pd.DataFrame, key: str, ties: Any, strata: Any
) -> None:
    fit = cox("~ trt + karno", veteran, time="time", event="status", ties=ties, strata=strata)
    name = ties + (", stratified" if strata else "")
    rows = published[key]
    for mine, theirs in (("estimate", "coef"), ("se", "se(coef)"), ("p", "Pr(>|z|)")):
        wanted = [row[theirs] for row in rows]
        compare("cox", name, "R survival, veteran", mine, fit.coefficients[mine], wanted, rel=1e-7)


def test_veteran_zph(compare: Any, published: dict[str, Any], veteran: pd.DataFrame) -> None:
    fit = cox("~ trt + karno", veteran, time="time", event="status")
    wanted = published["veteran_coxzph_km"]
    table = fit.proportionality().table
    assert table["term"].tolist() == [row["term"] for row in wanted]
    for mine, theirs in (("statistic", "chisq"), ("p", "p")):
        expected = [row[theirs] for row in wanted]
        compare("cox", "efron", "R survival, veteran", f"cox.zph {theirs}", table[mine], expected,
                rel=1e-7)  # fmt: skip


def test_hazard_ratio_is_the_exponential_of_its_coefficient(
    published: dict[str, Any], veteran: pd.DataFrame
) -> None:
    fit = cox("time ~ arm + karno", veteran, time="time", event="status")
    row = fit.hazard_ratio("arm", reference="standard").iloc[0]
    wanted = published["veteran_cox_trt_karno_efron"][0]
    assert row["arm"] == "test"
    assert row["estimate"] == pytest.approx(wanted["exp(coef)"], rel=1e-7)
    assert row["upper"] == pytest.approx(
        np.exp(wanted["coef"] + 1.959963984540054 * wanted["se(coef)"]), rel=1e-7
    )
    turned = fit.hazard_ratio("arm", reference="test").iloc[0]
    assert turned["estimate"] == pytest.approx(1 / row["estimate"], rel=1e-12)
    unit = fit.hazard_ratio("karno").iloc[0]
    assert unit["estimate"] == pytest.approx(
        published["veteran_cox_trt_karno_efron"][1]["exp(coef)"], rel=1e-7
    )
    with pytest.raises(UsageError, match="reference"):
        fit.hazard_ratio("arm")


def test_ten_years_per_unit_changes_only_its_coefficient(weeks: pd.DataFrame) -> None:
    fit = fitted(weeks, "entry_efron")
    other = weeks.assign(AGE=weeks["AGE"] / 10.0, START=weeks["START"] * 7.0 / 365.25)
    other["STOP"] = weeks["STOP"] * 7.0 / 365.25
    moved = fitted(other, "entry_efron")
    scale = np.array([1.0, 1.0, 10.0, 1.0])
    for name in ("estimate", "se"):
        got, wanted = moved.coefficients[name] / scale, fit.coefficients[name]
        assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-9)
    ours, theirs = (f.proportionality("rank").table["statistic"] for f in (fit, moved))
    assert theirs.to_numpy() == pytest.approx(ours.to_numpy(), rel=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_row_order_and_reference_level_do_not_matter(weeks: pd.DataFrame, ties: Any) -> None:
    fit = fitted(weeks, f"entry_{ties}")
    shuffled = weeks.sample(frac=1.0, random_state=3)
    again = fitted(shuffled, f"entry_{ties}")
    got, wanted = again.coefficients["estimate"], fit.coefficients["estimate"]
    assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-9)
    levels = ["High", "Low", "Control"]
    turned = fitted(
        weeks.assign(TRT01P=pd.Categorical(weeks["TRT01P"].astype(str), categories=levels)),
        f"entry_{ties}",
    )
    assert turned.loglik == pytest.approx(fit.loglik, rel=1e-12)
    both = [f.hazard_ratio("TRT01P", reference="Low").set_index("TRT01P") for f in (fit, turned)]
    assert both[1].loc["High", "estimate"] == pytest.approx(
        both[0].loc["High", "estimate"], rel=1e-9
    )


def test_late_entry_at_zero_is_no_entry(weeks: pd.DataFrame) -> None:
    last = weeks.drop_duplicates("USUBJID", keep="last").assign(START=0)
    plain = fitted(last, "right_efron")
    entered = fitted(last, "right_efron", start="START")
    assert entered.beta.tolist() == plain.beta.tolist()


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_rows_split_in_time_change_nothing(weeks: pd.DataFrame, ties: Any) -> None:
    last = weeks.drop_duplicates("USUBJID", keep="last").assign(START=0.0)
    long = last[last["STOP"] > 5]
    early = long.assign(STOP=5.0, EVENT=0)
    late = long.assign(START=5.0)
    split = pd.concat([last[last["STOP"] <= 5], early, late])
    whole = fitted(last, f"right_{ties}", cluster="USUBJID")
    parts = fitted(split, f"entry_{ties}", cluster="USUBJID")
    for name in ("estimate", "se"):
        got, wanted = parts.coefficients[name], whole.coefficients[name]
        assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-9)
    assert parts.naive_covariance == pytest.approx(whole.naive_covariance, rel=1e-9)
    assert parts.concordance == pytest.approx(whole.concordance, rel=1e-12)


def test_without_ties_all_three_agree() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"t": rng.permutation(60) + 1.0, "e": rng.random(60) < 0.7})
    data["x"] = rng.normal(size=60)
    fits = [
        cox("~ x", data, time="t", event="e", ties=ties) for ties in ("efron", "breslow", "exact")
    ]
    betas = [fit.coefficients["estimate"].iloc[0] for fit in fits]
    assert betas == pytest.approx([betas[0]] * 3, rel=1e-12)
    tests = [fit.proportionality().table["statistic"].iloc[0] for fit in fits]
    assert tests == pytest.approx([tests[0]] * 3, rel=1e-9)


def test_exact_ties_of_one_time_are_a_conditional_hypergeometric() -> None:
    """Two arms, one event time: the odds ratio of Fisher's noncentral hypergeometric law."""
    from scipy.stats import nchypergeom_fisher

    data = pd.DataFrame(
        {"t": [1.0] * 12 + [2.0] * 18, "arm": list("aaaabbbbbbbb") + ["a"] * 11 + ["b"] * 7}
    )
    data["e"] = [1] * 12 + [0] * 18
    fit = cox("~ arm", data, time="t", event="e", ties="exact")
    odds = fit.hazard_ratio("arm", reference="a")["estimate"].iloc[0]
    law = nchypergeom_fisher(30, 15, 12, odds)
    assert law.mean() == pytest.approx(8.0, rel=1e-10)
    assert fit.coefficients["se"].iloc[0] == pytest.approx(law.var() ** -0.5, rel=1e-9)


@pytest.mark.parametrize(
    ("events", "reason"),
    [([0] * 8, "no event"), ([1, 1, 1, 1, 0, 0, 0, 0], MONOTONE)],
)
@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_cox_fails_with_a_reason(events: list[int], reason: str, ties: Any) -> None:
    data = pd.DataFrame({"t": range(1, 9), "e": events, "g": list("aaaabbbb")})
    fit = cox("~ g", data, time="t", event="e", ties=ties)
    assert fit.failed is not None
    assert reason in fit.failed
    assert not fit.converged
    assert fit.hazard_ratio("g", reference="a").empty
    assert fit.coefficients.empty
    assert fit.tests.empty
    assert fit.baseline().empty
    assert np.isnan(fit.concordance)
    test = fit.proportionality()
    assert test.failed == fit.failed
    assert test.table.empty
    assert "failed" in fit.summary()


def test_monotone_likelihood_names_its_covariate(weeks: pd.DataFrame) -> None:
    data = weeks.assign(EVENT=weeks["EVENT"] * (weeks["TRT01P"] != "High"))
    fit = cox(RIGHT, data, time="STOP", event="EVENT", start="START")
    assert fit.failed == f"{MONOTONE} (TRT01P[T.High])"


def test_a_large_but_finite_hazard_ratio_is_found() -> None:
    """One event among many of the other arm: the ratio is huge, and finite."""
    n = 400
    data = pd.DataFrame({"t": np.arange(1, 2 * n + 1), "arm": ["a"] * n + ["b"] * n})
    data["e"] = (data["arm"] == "a").astype(int)
    data.loc[3, "arm"] = "b"
    fit = cox("~ arm", data, time="t", event="e")
    assert fit.failed is None
    ratio = fit.hazard_ratio("arm", reference="b")["estimate"].iloc[0]
    assert 300 < ratio < np.inf


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"z": "site"}, "no variation among those at risk"),
        ({"z": "mix"}, "collinear among those at risk"),
    ],
)
def test_what_strata_take_away_is_named(columns: dict[str, str], reason: str) -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"t": rng.random(40), "e": 1, "s": ["p", "q"] * 20, "x": rng.random(40)})
    site = (data["s"] == "p") * 1.0
    data["z"] = site if columns["z"] == "site" else site + data["x"]
    fit = cox("~ x + z", data, time="t", event="e", strata="s")
    assert fit.failed is not None
    assert reason in fit.failed
    assert "z" in fit.failed


def test_aliased_columns_are_dropped_and_named(veteran: pd.DataFrame) -> None:
    data = veteran.assign(again=veteran["karno"] * 2.0)
    fit = cox("~ karno + again", data, time="time", event="status")
    assert fit.failed is None
    assert fit.coefficients["term"].tolist() == ["karno"]
    assert "again" in fit.notes[0]


def test_one_participant_and_one_arm_empty() -> None:
    one = pd.DataFrame({"t": [3.0], "e": [1], "x": [2.0]})
    fit = cox("~ x", one, time="t", event="e")
    assert fit.failed is not None
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": 1, "g": list("aaaa")})
    with pytest.raises(UsageError, match="only the level"):
        cox("~ g", data, time="t", event="e")


def test_too_few_clusters_fail(weeks: pd.DataFrame) -> None:
    data = weeks.assign(who=weeks["SITEID"].isin(["A"]))
    fit = cox(RIGHT, data, time="STOP", event="EVENT", cluster="who")
    assert fit.failed == "too few clusters for a robust covariance"
    assert fit.coefficients.empty


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"e": [2, 0, 1, 1]}, "other than 0 and 1"),
        ({"t": [-1.0, 2, 3, 4]}, "negative"),
        ({"t": [np.inf, 2, 3, 4]}, "infinite"),
        ({"x": [np.inf, 2, 3, 4]}, "infinite"),
        ({"g": list("aaaa")}, "only the level"),
        ({"t": list("abcd")}, "not numeric"),
        ({"s": [0.0, 2, 0, 0]}, "not before"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    good = {"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb"), "s": [0.0] * 4}
    data = pd.DataFrame({**good, "x": [1.0, 3, 2, 5], **change})
    with pytest.raises(UsageError, match=word):
        cox("~ g + x", data, time="t", event="e", start="s")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ties": "midway"}, "midway"),
        ({"ties": "exact", "robust": True}, "no robust"),
        ({"strata": "nowhere"}, "nowhere"),
        ({"formula": "~ 0 + arm"}, "intercept"),
    ],
)
def test_impossible_options_are_refused(
    veteran: pd.DataFrame, options: dict[str, Any], word: str
) -> None:
    formula = options.pop("formula", "~ arm")
    with pytest.raises(UsageError, match=word):
        cox(formula, veteran, time="time", event="status", **options)
    fit = cox("~ arm", veteran, time="time", event="status")
    with pytest.raises(UsageError, match="median"):
        fit.proportionality("median")
    for at in ({"karno": 3}, {"arm": "neither"}):
        with pytest.raises(UsageError):
            fit.baseline(at)


def test_missing_rows_are_counted(veteran: pd.DataFrame) -> None:
    holes = veteran.assign(karno=veteran["karno"].where(veteran.index > 4))
    fit = cox("~ arm + karno", holes, time="time", event="status")
    assert (fit.n, fit.n_missing) == (len(veteran) - 5, 5)


def test_plot_of_residuals(weeks: pd.DataFrame) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    found = fitted(weeks, "entry_efron").proportionality()
    axes = found.plot("AGE")
    assert "AGE" in axes.get_ylabel()
    assert np.asarray(axes.lines[0].get_xdata()).size == found.n_events
    with pytest.raises(UsageError):
        found.plot("HEIGHT")
    pyplot.close("all")
