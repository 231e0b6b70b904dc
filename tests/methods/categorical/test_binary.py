"""Logistic regression and standardised risks against beeca, SAS macros and RobinCar2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import binary
from trialkit.methods.categorical.binary import SEPARATION, BinaryFit


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (shared / "oracles" / "covariate_adjustment.json").read_text()
    )
    return found


@pytest.fixture(scope="module")
def trial01(shared: Path) -> BinaryFit:
    data = pd.read_csv(shared / "oracles" / "beeca_trial01.csv", dtype={"trtp": str})
    fit = binary("aval ~ trtp + bl_cov", data)
    assert (fit.n, fit.n_missing) == (267, 1)
    return fit


def test_logistic_equals_glm(oracle: dict[str, Any], trial01: BinaryFit) -> None:
    wanted = oracle["beeca"]["logistic"]
    assert trial01.coefficients["estimate"].tolist() == pytest.approx([r["est"] for r in wanted])
    assert trial01.coefficients["se"].tolist() == pytest.approx([r["se"] for r in wanted], rel=1e-7)


@pytest.mark.parametrize("measure", ["difference", "ratio", "odds_ratio"])
@pytest.mark.parametrize(
    ("variance", "key"), [("ye", "Ye|HC0"), ("ge", "Ge|HC0"), ("delta", "Ge|model-based")]
)
def test_standardised_equals_beeca(
    oracle: dict[str, Any], trial01: BinaryFit, measure: Any, variance: Any, key: str
) -> None:
    name = {"difference": "diff", "ratio": "logrr", "odds_ratio": "logor"}[measure]
    wanted = oracle["beeca"][f"{key}|{name}"]
    row = trial01.standardised("trtp", reference="0", measure=measure, variance=variance).iloc[0]
    value = row["estimate"] if measure == "difference" else np.log(row["estimate"])
    assert value == pytest.approx(wanted["estimate"], rel=1e-9)
    assert row["se"] == pytest.approx(wanted["se"], rel=1e-7)


def test_delta_equals_the_sas_margins_macro(oracle: dict[str, Any], trial01: BinaryFit) -> None:
    wanted = oracle["beeca"]["sas_margins_macro"][0]
    row = trial01.standardised("trtp", reference="0", variance="delta").iloc[0]
    assert row["se"] == pytest.approx(wanted["StdErr"], rel=1e-8)
    assert row["p"] == pytest.approx(wanted["Pr"], rel=1e-6)
    assert (row["lower"], row["upper"]) == pytest.approx(
        (wanted["Lower"], wanted["Upper"]), rel=1e-7
    )


def test_risks_equal_beeca(oracle: dict[str, Any], trial01: BinaryFit) -> None:
    table = oracle["beeca"]["marginal_results_Ye_diff"]
    risks = trial01.risks("trtp")
    assert risks["estimate"].tolist() == pytest.approx([table["STATVAL"][3], table["STATVAL"][8]])
    assert risks["se"].tolist() == pytest.approx([table["STATVAL"][4], table["STATVAL"][9]])


def test_three_arms_equal_robincar2(shared: Path, oracle: dict[str, Any]) -> None:
    wanted = oracle["RobinCar2"]["glm_simple_diff"]
    data = pd.read_csv(shared / "oracles" / "robincar2_glm_data.csv")
    fit = binary("y_b ~ treatment + s1 + covar", data)
    assert fit.risks("treatment")["estimate"].tolist() == pytest.approx(wanted["mean"], rel=1e-8)
    table = fit.standardised("treatment", reference="pbo")
    assert table["estimate"].tolist() == pytest.approx(wanted["contrast"][:2], rel=1e-8)
    assert table["se"].tolist() == pytest.approx(
        np.sqrt(np.diag(wanted["contrast_vcov"]))[:2].tolist(), rel=1e-7
    )


def test_stent_harms(shared: Path) -> None:
    """Known direction: 33/224 strokes with a stent against 13/227."""
    data = pd.read_csv(shared / "data" / "binary_stent365_stroke.csv")
    group, outcome = data.columns[-2], data.columns[-1]
    data["y"] = (data[outcome] == "stroke").astype(int)
    data["arm"] = data[group]
    fit = binary("y ~ arm", data)
    reference = next(v for v in data["arm"].unique() if "control" in v)
    row = fit.standardised("arm", reference=reference, variance="delta").iloc[0]
    assert row["estimate"] * 100 > 0
    assert fit.odds_ratio("arm", reference=reference)["estimate"].iloc[0] > 1


def test_without_covariates_the_difference_is_that_of_proportions() -> None:
    data = pd.DataFrame(
        {"y": [1] * 30 + [0] * 20 + [1] * 18 + [0] * 32, "g": ["a"] * 50 + ["b"] * 50}
    )
    row = binary("y ~ g", data).standardised("g", reference="a", variance="delta").iloc[0]
    assert row["estimate"] == pytest.approx(18 / 50 - 30 / 50)
    assert row["se"] == pytest.approx(np.sqrt(0.6 * 0.4 / 50 + 0.36 * 0.64 / 50))


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], SEPARATION),
        ([0, 0, 0, 0, 1, 0, 1, 1], SEPARATION),
        ([1] * 8, "every participant has the response 1"),
    ],
)
def test_fails_with_a_reason(response: list[int], reason: str) -> None:
    fit = binary("y ~ g", pd.DataFrame({"y": response, "g": list("aaaabbbb")}))
    assert fit.failed == reason
    assert not fit.converged
    assert fit.standardised("g", reference="a").empty
    assert fit.odds_ratio("g", reference="a").empty
    assert fit.risks("g").empty


def test_steep_but_not_separated_is_estimated() -> None:
    x = np.linspace(-1, 1, 60)
    y = (x > 0).astype(int)
    y[[29, 31]] = [1, 0]
    fit = binary("y ~ x", pd.DataFrame({"x": x, "y": y}))
    assert fit.failed is None
    assert fit.coefficients.set_index("term").loc["x", "estimate"] > 20


@pytest.mark.parametrize(
    ("change", "word"),
    [({"y": [0, 2, 1, 1]}, "other than 0 and 1"), ({"y": list("nyny")}, "not numeric")],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    data = pd.DataFrame({"y": [0, 1, 1, 0], "g": list("aabb")} | change)
    with pytest.raises(UsageError, match=word):
        binary("y ~ g", data)


def test_unknown_reference_and_measure_are_refused(trial01: BinaryFit) -> None:
    with pytest.raises(UsageError, match="not a level"):
        trial01.standardised("trtp", reference="9")
    with pytest.raises(UsageError, match="measure"):
        trial01.standardised("trtp", reference="0", measure="nnt")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="variance"):
        trial01.standardised("trtp", reference="0", variance="hc9")  # type: ignore[arg-type]
