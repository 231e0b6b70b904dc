"""Cox, Kaplan-Meier and log-rank against R's survival (oracles/survival_counts_ordinal.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import cox, kaplan_meier
from trialkit.methods.survival.cox import MONOTONE


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, Any]:
    path = shared / "oracles" / "survival_counts_ordinal.json"
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


@pytest.fixture(scope="module")
def veteran(shared: Path) -> pd.DataFrame:
    frame = pd.read_csv(shared / "oracles" / "veteran.csv")
    frame["arm"] = frame["trt"].map({1: "standard", 2: "test"})
    return frame


@pytest.mark.parametrize(
    ("key", "strata"),
    [("veteran_cox_trt_karno_efron", None), ("veteran_cox_strat", "celltype")],
)
def test_cox_equals_coxph(
    oracle: dict[str, Any], veteran: pd.DataFrame, key: str, strata: str | None
) -> None:
    fit = cox("~ trt + karno", veteran, time="time", event="status", strata=strata)
    assert fit.failed is None
    table = fit.coefficients.set_index("term")
    for row in oracle[key]:
        got = table.loc[row["term"]]
        assert got["estimate"] == pytest.approx(row["coef"], rel=1e-7)
        assert got["se"] == pytest.approx(row["se(coef)"], rel=1e-7)
        assert got["p"] == pytest.approx(row["Pr(>|z|)"], rel=1e-6)


def test_hazard_ratio_is_the_exponential_of_its_coefficient(
    oracle: dict[str, Any], veteran: pd.DataFrame
) -> None:
    fit = cox("time ~ arm + karno", veteran, time="time", event="status")
    row = fit.hazard_ratio("arm", reference="standard").iloc[0]
    wanted = oracle["veteran_cox_trt_karno_efron"][0]
    assert row["arm"] == "test"
    assert row["estimate"] == pytest.approx(wanted["exp(coef)"], rel=1e-7)
    assert row["upper"] == pytest.approx(
        np.exp(wanted["coef"] + 1.959963984540054 * wanted["se(coef)"]), rel=1e-7
    )
    turned = fit.hazard_ratio("arm", reference="test").iloc[0]
    assert turned["estimate"] == pytest.approx(1 / row["estimate"], rel=1e-12)


def test_kaplan_meier_equals_survfit(oracle: dict[str, Any], veteran: pd.DataFrame) -> None:
    fit = kaplan_meier(veteran, time="time", event="status", group="trt")
    table = fit.at([30, 90, 180, 365])
    for row in oracle["veteran_km_loglog"]:
        arm = int(row["trt"].removeprefix("trt="))
        got = table[(table["trt"] == arm) & (table["time"] == row["time"])].iloc[0]
        for mine, theirs in (("estimate", "surv"), ("se", "se"), ("lower", "lower")):
            assert got[mine] == pytest.approx(row[theirs], rel=1e-9)
        assert got["upper"] == pytest.approx(row["upper"], rel=1e-9)
    median = fit.median
    for name, key in (("estimate", "est"), ("lower", "lower"), ("upper", "upper")):
        assert median[name].tolist() == oracle["veteran_median_loglog"][key]


def test_logrank_equals_survdiff(oracle: dict[str, Any], veteran: pd.DataFrame) -> None:
    fit = kaplan_meier(veteran, time="time", event="status", group="trt", strata="celltype")
    plain = fit.logrank().iloc[0]
    assert plain["statistic"] == pytest.approx(oracle["veteran_logrank"]["chisq"], rel=1e-10)
    assert plain["p"] == pytest.approx(0.9277, abs=5e-5)
    strata = fit.logrank("celltype").iloc[0]["statistic"]
    assert strata == pytest.approx(oracle["veteran_logrank_strat_celltype"]["chisq"], rel=1e-10)


def test_cgd_time_to_first_infection(shared: Path) -> None:
    """Known answer of PROVENANCE.md: patients with an event 14 and 30, log-rank p .00061."""
    rows = pd.read_csv(shared / "data" / "recurrent_cgd_gamma_interferon.csv")
    first = rows[rows["enum"] == 1]
    fit = kaplan_meier(first, time="tstop", event="status", group="treat")
    assert dict(zip(fit.n_groups["group"], fit.n_groups["events"], strict=True)) == {
        "placebo": 30,
        "rIFN-g": 14,
    }
    assert fit.logrank()["p"].iloc[0] == pytest.approx(0.00061, abs=5e-6)


def test_units_of_time_do_not_matter(veteran: pd.DataFrame) -> None:
    days = cox("~ arm", veteran, time="time", event="status")
    years = cox("~ arm", veteran.assign(time=veteran["time"] / 365.25), time="time", event="status")
    assert years.beta == pytest.approx(days.beta, rel=1e-9)


def test_median_not_reached_is_missing() -> None:
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 0, 0], "g": list("aabb")})
    fit = kaplan_meier(data, time="t", event="e", group="g")
    assert fit.median.set_index("g")["estimate"].isna()["b"]
    assert np.isnan(fit.at(9.0)["estimate"]).all()


@pytest.mark.parametrize(
    ("events", "reason"),
    [([0] * 8, "no event"), ([1, 1, 1, 1, 0, 0, 0, 0], MONOTONE)],
)
def test_cox_fails_with_a_reason(events: list[int], reason: str) -> None:
    data = pd.DataFrame({"t": range(1, 9), "e": events, "g": list("aaaabbbb")})
    fit = cox("~ g", data, time="t", event="e")
    assert fit.failed is not None
    assert reason in fit.failed
    assert fit.hazard_ratio("g", reference="a").empty


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"e": [2, 0, 1, 1]}, "other than 0 and 1"),
        ({"t": [-1.0, 2, 3, 4]}, "negative"),
        ({"g": list("aaaa")}, "only the level"),
        ({"t": list("abcd")}, "not numeric"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    data = pd.DataFrame({"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb")} | change)
    with pytest.raises(UsageError, match=word):
        cox("~ g", data, time="t", event="e")
    with pytest.raises(UsageError):
        kaplan_meier(data, time="t", event="e", group="g")


def test_ties_other_than_efron_are_refused(veteran: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="exact"):
        cox("~ arm", veteran, time="time", event="status", ties="exact")


def test_missing_rows_are_counted(veteran: pd.DataFrame) -> None:
    holes = veteran.assign(karno=veteran["karno"].where(veteran.index > 4))
    fit = cox("~ arm + karno", holes, time="time", event="status")
    assert (fit.n, fit.n_missing) == (len(veteran) - 5, 5)
