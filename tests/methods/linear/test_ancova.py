"""ANCOVA: oracles of R, identities, bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import ancova

Compare = Callable[..., float]

ORACLES = Path(__file__).parent.parent.parent / "oracles"
FORMULAS = {
    "additive": "AVAL ~ BASE + SITEID + TRT01P",
    "interaction": "AVAL ~ BASE + SITEID*TRT01P",
    "empty_cell": "AVAL ~ BASE + SITEID*TRT01P",
}


def last_visit() -> pd.DataFrame:
    data = pd.read_csv(ORACLES / "mmrm" / "data.csv").query("AVISIT == 'W12'")
    return data.assign(TRT01P=pd.Categorical(data["TRT01P"], ["Control", "Low", "High"]))


def test_fev_visit_4(compare: Compare, shared: Path) -> None:
    """survival_counts_ordinal.json: R lm with emmeans, and HC3."""
    everything = json.loads((shared / "oracles/survival_counts_ordinal.json").read_text())
    oracle = everything["results"]["fev_vis4_ancova"]
    data = pd.read_csv(shared / "oracles/fev_data.csv").query("AVISIT == 'VIS4'")
    formula = "FEV1 ~ FEV1_BL + RACE + SEX + ARMCD"
    fit = ancova(formula, data)
    first = ("ancova", "least squares", "R 4.2.2 lm, emmeans 1.8.4-1, fev_data visit 4")
    want = pd.DataFrame(oracle["coef"])
    columns = ["Estimate", "Std. Error", "t value", "Pr(>|t|)"]
    for mine, theirs in zip(["estimate", "se", "statistic", "p"], columns, strict=True):
        compare(*first, mine, fit.coefficients[mine], want[theirs], rel=1e-9)
    compare(*first, "residual SD", fit.sigma, oracle["sigma"], rel=1e-12)
    found = fit.contrast("ARMCD", reference="PBO").iloc[0]
    names = {"estimate": "estimate", "se": "SE", "df": "df", "p": "p.value", "upper": "upper.CL"}
    for mine, theirs in names.items():
        compare(*first, f"difference: {mine}", found[mine], oracle["diff"][0][theirs], rel=1e-9)
    for weights, key in (("equal", "lsmeans"), ("observed", "lsmeans_proportional")):
        means = fit.lsmeans("ARMCD", weights=weights)
        for mine, theirs in (("estimate", "emmean"), ("se", "SE"), ("lower", "lower.CL")):
            want_here = [row[theirs] for row in oracle[key]]
            compare(*first, f"LS-means, {weights}: {mine}", means[mine], want_here, rel=1e-9)
    for se in ("hc0", "hc3"):
        robust = ancova(formula, data, se=se)
        first = ("ancova", se.upper(), "R 4.2.2 sandwich, fev_data visit 4")
        want_here = oracle[f"se_{se.upper()}"]
        compare(*first, "SE", robust.coefficients["se"], want_here, rel=1e-9)
        assert se.upper() in robust.variant


@pytest.mark.parametrize("model", list(FORMULAS))
def test_agrees_with_lm(model: str) -> None:
    """tests/oracles/ancova: lm, emmeans and joint_tests (F rounded to three decimals)."""
    names = ["fit", "quantity", "first", "second", "value"]
    oracle = pd.read_csv(
        ORACLES / "ancova" / "oracle.txt", names=names, dtype=str, keep_default_na=False
    ).query("fit == @model")
    data = last_visit()
    if model == "empty_cell":
        data = data[~((data.SITEID == "C") & (data.TRT01P == "Low"))]
    fit = ancova(FORMULAS[model], data)
    assert fit.aliased == (["SITEID[T.C]:TRT01P[T.Low]"] if model == "empty_cell" else [])
    terms = fit.coefficients["term"].str.replace(r"\[T\.([^\]]*)\]", r"\1", regex=True)
    table = fit.coefficients.assign(term=terms.replace("Intercept", "(Intercept)"))
    tables = {
        "coefficient": table.set_index("term"),
        "lsmean": fit.lsmeans("TRT01P").set_index("TRT01P"),
        "difference": fit.contrast("TRT01P", reference="Control").set_index("TRT01P"),
    }
    tests = fit.anova().set_index("term")
    compared = 0
    rows: list[Any] = list(oracle.itertuples())
    for row in rows:
        value = np.nan if row.value == "NA" else float(row.value)
        what, _, column = row.quantity.partition("_")
        if row.quantity in {"estimate", "se", "p"}:
            found = tables["coefficient"].loc[row.first, row.quantity]
        elif what in {"lsmean", "difference"}:
            found = tables[what].loc[row.first.split(" - ")[0], column or "estimate"]
        elif row.quantity == "df":
            found = fit.coefficients["df"].iloc[0]
        elif row.first == "(confounded)":
            continue
        else:
            assert tests.loc[row.first, "num_df"] == int(row.second)
            assert tests.loc[row.first, "statistic"] == pytest.approx(value, abs=5.1e-4)
            continue
        assert found == pytest.approx(value, rel=1e-9, nan_ok=True), row
        compared += 1
    assert compared >= 26


def test_units_and_reference_level() -> None:
    data = last_visit()
    plain = ancova(FORMULAS["additive"], data)
    scaled = ancova(
        FORMULAS["additive"], data.assign(AVAL=data.AVAL * 1e4, BASE=data.BASE * 1e-3 + 7)
    )
    one = plain.contrast("TRT01P", reference="Low")
    two = scaled.contrast("TRT01P", reference="Low")
    np.testing.assert_allclose(two[["statistic", "p"]], one[["statistic", "p"]], rtol=1e-8)
    np.testing.assert_allclose(two["estimate"], one["estimate"] * 1e4, rtol=1e-8)
    assert one["TRT01P"].tolist() == ["Control", "High"]


def few(data: pd.DataFrame) -> pd.Series[bool]:
    """One subject a site and arm on the diagonal, so that no level is lost."""
    cells = data.dropna().drop_duplicates(["SITEID", "TRT01P"])
    pick = cells[cells["SITEID"].map({"A": 0, "B": 1, "C": 2}) == cells["TRT01P"].cat.codes]
    return data.index.to_series().isin(pick.index)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AVAL": 3.0}, "exactly"),
        ({"BASE": lambda d: d["BASE"].where(few(d))}, "cannot carry"),
    ],
)
def test_failed_fit_has_a_reason(change: dict[str, Any], reason: str) -> None:
    fit = ancova(FORMULAS["additive"], last_visit().assign(**change))
    assert fit.failed is not None
    assert reason in fit.failed
    assert fit.coefficients.empty
    assert fit.contrast("TRT01P", reference="Control").empty
    assert fit.anova().empty
    assert fit.failed in fit.summary()


@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("AVAL ~ NOPE", {}, "NOPE"),
        ("AVAL ~ BASE", {"se": "hc9"}, "'hc9'"),
        ("AVAL ~ BASE", {"subject": "SITEID"}, "several rows"),
        ("AVAL ~ BASE", {"subject": "nobody"}, "nobody"),
        ("AVAL ~ BASE", {"arm": "TRT01P"}, "adjust="),
        ("SITEID ~ BASE", {}, "not numeric"),
        ("AVAL ~ AVISIT", {}, "only the level"),
    ],
)
def test_bad_input(formula: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        ancova(formula, last_visit(), **options)
    assert caught.value.remedy


def test_counts_and_text() -> None:
    data = last_visit()
    fit = ancova(FORMULAS["additive"], data)
    assert fit.n + fit.n_missing == len(data) == 90
    assert fit.n == data["AVAL"].notna().sum()
    assert fit.converged
    assert "residual SD" in fit.summary()
    assert "<table" in fit._repr_html_()
