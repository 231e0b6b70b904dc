"""Recurrent events against R's survival (survival_counts_ordinal.json, tests/oracles/recurrent)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import recurrent
from trialkit.methods.survival.recurrent import SURVIVORS, RecurrentFit

HERE = Path(__file__).parents[2] / "oracles" / "recurrent"
R = "R survival 3.5-3, made-up falls"
BLADDER: dict[str, Any] = {
    "start": "start",
    "stop": "stop",
    "event": "event",
    "subject": "id",
    "formula": "~ rx + number + size",
}
FALLS: dict[str, Any] = {
    "start": "START",
    "stop": "STOP",
    "event": "FALL",
    "subject": "USUBJID",
    "formula": "~ TRT01P + AGE + FEAR + AID",
}
MODELS: dict[str, dict[str, Any]] = {
    "andersen_gill": {},
    "lwyy": {},
    "pwp_total": {"max_order": 4},
    "pwp_gap": {"max_order": 4},
    "wlw": {"max_order": 3, "formula": "~ TRT01P + AGE + FEAR"},
}


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


@pytest.fixture(scope="module")
def bladder(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "oracles" / "bladder2.csv")


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    return pd.read_csv(HERE / "data.csv")


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "a", "b", "value"]
    return pd.read_csv(HERE / "oracle.txt", names=names, keep_default_na=False)


def fitted(data: pd.DataFrame, model: str, **more: Any) -> RecurrentFit:
    fit: RecurrentFit = recurrent(data, **{**FALLS, "model": model, **MODELS[model], **more})
    assert fit.failed is None
    return fit


@pytest.mark.parametrize(
    ("key", "model", "ties", "se"),
    [
        ("bladder2_AG_naive_efron", "andersen_gill", "efron", "se(coef)"),
        ("bladder2_AG_naive_breslow", "andersen_gill", "breslow", "se(coef)"),
        ("bladder2_LWYY_robust_efron", "lwyy", "efron", "robust se"),
        ("bladder2_LWYY_robust_breslow", "lwyy", "breslow", "robust se"),
        ("bladder2_PWP_total_breslow", "pwp_total", "breslow", "robust se"),
        ("bladder2_PWP_gap_breslow", "pwp_gap", "breslow", "robust se"),
        ("bladder_WLW_breslow", "wlw", "breslow", "robust se"),
    ],
)
def test_bladder_equals_coxph(
    compare: Any,
    published: dict[str, Any],
    bladder: pd.DataFrame,
    key: str,
    model: Any,
    ties: Any,
    se: str,
) -> None:
    fit = recurrent(bladder, model=model, ties=ties, **BLADDER)
    assert fit.failed is None
    for mine, theirs in (("estimate", "coef"), ("se", se), ("p", "Pr(>|z|)")):
        wanted = [row[theirs] for row in published[key]]
        compare("recurrent", f"{model}, {ties}", "R survival, bladder2", mine,
                fit.coefficients[mine], wanted, rel=1e-7)  # fmt: skip
    assert (fit.n_subjects, fit.person_time) == (85, float((bladder.stop - bladder.start).sum()))


def test_rows_already_wide_give_the_same_as_rows_built(
    compare: Any, published: dict[str, Any], shared: Path, bladder: pd.DataFrame
) -> None:
    wide = pd.read_csv(shared / "oracles" / "bladder_wlw.csv")
    names = {**BLADDER, "start": None}
    given = recurrent(wide, model="wlw", order="enum", **names)
    built = recurrent(bladder, model="wlw", **BLADDER)
    assert given.coefficients["se"].to_numpy() == pytest.approx(built.coefficients["se"].to_numpy())
    wanted = [row["robust se"] for row in published["bladder_WLW_breslow"]]
    compare("recurrent", "wlw, rows given", "R survival, bladder", "se", given.coefficients["se"],
            wanted, rel=1e-7)  # fmt: skip
    assert given.orders.equals(built.orders)
    assert given.person_time == built.person_time
    assert given.orders["events"].tolist() == [47, 29, 22, 14]


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_falls_equal_coxph(
    compare: Any, oracle: pd.DataFrame, falls: pd.DataFrame, model: str, ties: Any
) -> None:
    fit = fitted(falls, model, ties=ties)
    name = "rate" if model in ("lwyy", "andersen_gill") else model
    own = oracle[oracle["fit"] == f"{name}_{ties}"].set_index("quantity")["value"].astype(float)
    se = "se" if model == "andersen_gill" else "robust_se"
    for mine, theirs in (("estimate", "estimate"), ("se", se)):
        compare("recurrent", f"{model}, {ties}", R, mine, fit.coefficients[mine], own[theirs],
                rel=1e-8)  # fmt: skip
    if model != "andersen_gill":
        score = fit.tests.set_index("test").loc["robust_score", "statistic"]
        compare("recurrent", f"{model}, {ties}", R, "robust score test", score,
                own["robust_score"], rel=1e-8)  # fmt: skip
    assert [fit.n, fit.n_events] == [own["n"], own["events"]]


def test_counts_are_those_of_the_rows_used(falls: pd.DataFrame) -> None:
    fit = fitted(falls, "lwyy", formula="~ TRT01P")
    table = fit.counts("TRT01P").set_index("TRT01P")
    by = falls.groupby("TRT01P")
    assert table["events"].tolist() == by["FALL"].sum().tolist()
    assert table["subjects"].tolist() == by["USUBJID"].nunique().tolist()
    time = (falls["STOP"] - falls["START"]).groupby(falls["TRT01P"]).sum()
    assert table["person_time"].tolist() == time.tolist()
    fell = falls[falls["FALL"] == 1].groupby("TRT01P")["USUBJID"].nunique()
    assert table["with_event"].tolist() == fell.tolist()
    assert (table["rate"] == table["events"] / table["person_time"]).all()
    assert fit.person_time == table["person_time"].sum()
    wlw = fitted(falls, "wlw", formula="~ TRT01P").counts("TRT01P").set_index("TRT01P")
    assert wlw["person_time"].tolist() == time.tolist()


def test_missing_covariates_are_counted(falls: pd.DataFrame) -> None:
    fit = fitted(falls, "lwyy")
    assert fit.n_missing == falls["FEAR"].isna().sum()
    assert fit.n == len(falls) - fit.n_missing
    assert fit.n_subjects == falls.dropna()["USUBJID"].nunique()


def test_lwyy_has_the_estimates_of_andersen_gill(falls: pd.DataFrame) -> None:
    rate, model = fitted(falls, "lwyy"), fitted(falls, "andersen_gill")
    assert rate.beta.tolist() == model.beta.tolist()
    assert (rate.coefficients["se"] != model.coefficients["se"]).all()
    assert rate.naive_covariance == pytest.approx(model.covariance, rel=1e-14)


@pytest.mark.parametrize("model", list(MODELS))
def test_units_order_and_labels_do_not_matter(falls: pd.DataFrame, model: str) -> None:
    fit = fitted(falls, model)
    other = falls.sample(frac=1.0, random_state=1).copy()
    other["USUBJID"] = -pd.factorize(other["USUBJID"])[0]
    other["START"], other["STOP"] = other["START"] / 365.25, other["STOP"] / 365.25
    moved = fitted(other, model)
    for name in ("estimate", "se"):
        got, wanted = moved.coefficients[name], fit.coefficients[name]
        assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-9)
    ratio = fit.rate_ratio("TRT01P", reference="Conventional")["estimate"].iloc[0]
    turned = fit.hazard_ratio("TRT01P", reference="Robotic")["estimate"].iloc[0]
    assert ratio * turned == pytest.approx(1.0, rel=1e-12)


def test_splitting_an_interval_changes_nothing(falls: pd.DataFrame) -> None:
    long = falls["STOP"] - falls["START"] > 1
    middle = (falls["START"] + falls["STOP"]) // 2
    early = falls[long].assign(STOP=middle[long], FALL=0)
    late = falls[long].assign(START=middle[long])
    split = pd.concat([falls[~long], early, late])
    for model in ("lwyy", "andersen_gill", "pwp_total", "pwp_gap", "wlw"):
        whole, parts = fitted(falls, model), fitted(split, model)
        for name in ("estimate", "se"):
            got, wanted = parts.coefficients[name], whole.coefficients[name]
            assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-9)
        assert parts.person_time == whole.person_time


def test_orders_given_and_counted_agree(falls: pd.DataFrame) -> None:
    ordered = falls.sort_values(["USUBJID", "START"])
    earlier = ordered.groupby("USUBJID")["FALL"].transform(lambda e: e.cumsum() - e)
    ordered = ordered.assign(ORDER=earlier + 1)
    for model in ("pwp_total", "pwp_gap"):
        counted, given = fitted(ordered, model), fitted(ordered, model, order="ORDER")
        assert given.beta.tolist() == counted.beta.tolist()
        assert given.orders.equals(counted.orders)
    assert counted.orders["order"].tolist() == [1, 2, 3, 4]


def test_first_order_alone_is_a_cox_regression_of_the_first_event(falls: pd.DataFrame) -> None:
    from trialkit.methods import cox

    fit = fitted(falls, "wlw", max_order=1, ties="efron")
    ends = falls.groupby("USUBJID")["STOP"].max()
    first = falls[falls["FALL"] == 1].groupby("USUBJID")["STOP"].min()
    one = falls.drop_duplicates("USUBJID").set_index("USUBJID")
    one = one.assign(T=first.reindex(ends.index).fillna(ends), E=one.index.isin(first.index) * 1)
    wanted = cox("~ TRT01P + AGE + FEAR", one.reset_index(), time="T", event="E", robust=True)
    for name in ("estimate", "se"):
        got = fit.coefficients[name].to_numpy()
        assert got == pytest.approx(wanted.coefficients[name].to_numpy(), rel=1e-9)


def test_death_is_noted(falls: pd.DataFrame) -> None:
    fit = fitted(falls, "lwyy", death="DEATH")
    assert SURVIVORS in fit.notes
    assert SURVIVORS in fit.summary()
    assert fit.beta.tolist() == fitted(falls, "lwyy").beta.tolist()


def rows(**change: Any) -> pd.DataFrame:
    good = {
        "id": ["a", "a", "b", "b", "c", "d"],
        "start": [0.0, 3, 0, 4, 0, 0],
        "stop": [3.0, 9, 4, 8, 7, 6],
        "event": [1, 0, 1, 1, 0, 1],
        "death": [0, 0, 0, 1, 0, 0],
        "arm": ["x", "x", "y", "y", "x", "y"],
        "age": [60.0, 60, 70, 70, 66, 64],
        "order": [1, 2, 1, 2, 1, 1],
    }
    return pd.DataFrame({**good, **change})


SMALL: dict[str, Any] = {
    "start": "start",
    "stop": "stop",
    "event": "event",
    "subject": "id",
    "formula": "~ arm",
}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"start": [0.0, 2, 0, 4, 0, 0]}, {}, ["overlap", "a (rows 0 and 1)"]),
        ({"start": [0.0, 5, 0, 4, 0, 0]}, {}, ["left out between", "a (rows 0 and 1)"]),
        ({"start": [0.0, 3, 0, 8, 0, 0]}, {}, ["start is not before stop", "b (row 3)"]),
        ({"start": [0.0, 0, 0, 4, 0, 0], "stop": [3.0, 3, 4, 8, 7, 6]}, {}, ["twice", "0 and 1"]),
        ({"death": [0, 0, 1, 0, 0, 0]}, {"death": "death"}, ["after death", "b (rows 2 and 3)"]),
        ({"event": [2, 0, 1, 1, 0, 1]}, {}, ["other than 0 and 1"]),
        ({"stop": [3.0, np.inf, 4, 8, 7, 6]}, {}, ["infinite"]),
        ({"age": [60.0, np.inf, 70, 70, 66, 64]}, {"formula": "~ age"}, ["infinite"]),
        ({"age": [60.0, 61, 7, 7, 6, 4]}, {"model": "wlw", "formula": "~ age"}, ["within a"]),
        ({"arm": ["x"] * 6}, {}, ["only the level"]),
        ({"order": [0, 1, 1, 2, 1, 1]}, {"model": "pwp_gap", "order": "order"}, ["1, 2, ..."]),
        ({}, {"model": "wlw", "order": "order", "start": None, "subject": "arm"}, ["several rows"]),
        ({}, {"model": "frailty"}, ["frailty"]),
        ({}, {"ties": "exact"}, ["exact"]),
        ({}, {"gaps": "fill"}, ["fill"]),
        ({}, {"start": None}, ["start is not given"]),
        ({}, {"max_order": 2}, ["does not tell"]),
        ({}, {"model": "wlw", "max_order": 0}, ["max_order is 0"]),
        ({}, {"model": "wlw", "gaps": "allow"}, ["all time from entry"]),
        ({}, {"subject": "nobody"}, ["nobody"]),
        ({}, {"model": "wlw", "order": "nothing"}, ["nothing"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused(
    change: dict[str, Any], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        recurrent(rows(**change), **{**SMALL, **options})
    for word in words:
        assert word in str(error.value)


def test_gaps_may_be_allowed() -> None:
    data = rows(start=[0.0, 5, 0, 4, 0, 0])
    fit = recurrent(data, **SMALL, gaps="allow")
    assert fit.failed is None
    assert fit.person_time == (data["stop"] - data["start"]).sum()


@pytest.mark.parametrize("model", list(MODELS))
def test_failures_have_a_reason(model: Any) -> None:
    none = recurrent(rows(event=0), **SMALL, model=model)
    assert none.failed == "no event in these data"
    assert none.rate_ratio("arm", reference="x").empty
    assert none.counts("arm")["events"].tolist() == [0, 0]
    lone = recurrent(rows(event=[0, 0, 1, 1, 0, 1]), **SMALL, model=model)
    assert lone.failed is not None
    assert "monotone" in lone.failed
    assert "arm[T.y]" in lone.failed


def test_two_participants_do_not_carry_a_robust_covariance() -> None:
    data = rows(event=1).query("id in ['a', 'b']")
    fit = recurrent(data, **SMALL)
    assert fit.failed is not None
    assert fit.coefficients.empty


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    people=st.integers(2, 14),
    model=st.sampled_from(list(MODELS)),
    ties=st.sampled_from(["breslow", "efron"]),
)
def test_any_history_gives_numbers_or_a_reason(
    seed: int, people: int, model: Any, ties: Any
) -> None:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(people):
        times = np.unique(rng.integers(1, 15, rng.integers(1, 5)))
        starts = np.concatenate([[0], times[:-1]])
        for start, stop in zip(starts, times, strict=True):
            made.append((i, "xy"[i % 2], start, stop, int(rng.random() < 0.6)))
    data = pd.DataFrame(made, columns=["id", "arm", "start", "stop", "event"])
    data["z"] = rng.normal(size=people)[data["id"]]
    data.loc[rng.random(len(data)) < 0.05, "z"] = np.nan
    if data["z"].isna().all() or data.dropna()["arm"].nunique() < 2:
        return
    options = {**SMALL, "formula": "~ arm + z"}
    try:
        fit = recurrent(data, **options, model=model, ties=ties)
    except UsageError:  # the rows at risk have one arm only
        return
    table = fit.rate_ratio("arm", reference="x")
    if fit.failed is not None:
        assert table.empty
        return
    assert np.isfinite(fit.coefficients.drop(columns=["term", "df"]).to_numpy(dtype=float)).all()
    assert (fit.coefficients["se"] > 0).all()
    assert fit.coefficients["p"].between(0.0, 1.0).all()
    assert fit.tests["p"].between(0.0, 1.0).all()
