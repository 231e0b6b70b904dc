"""Rows of continuous outcomes: MMRM and ANCOVA, with observed means and profiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from trialkit.analysis.block import Block, contrast_rows, estimate_rows, fail
from trialkit.analysis.prepare import Prepared
from trialkit.analysis.rows import DAY, SUBJECT, VISIT
from trialkit.methods import ancova, mmrm


def run_mmrm(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the MMRM; keep LS-means and differences of every visit."""
    analysis, variable = prepared.analysis, prepared.variable
    margins = prepared.options.pop("margins", "equal")
    fit = mmrm(analysis.formula, prepared.frame, subject=SUBJECT, visit=VISIT, **prepared.options)
    block.variant, block.notes = fit.variant, list(fit.notes)
    if fit.aliased:
        block.notes.append(f"dropped as combinations of other columns: {', '.join(fit.aliased)}")
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        by = VISIT if any(VISIT in f.variables for f in fit.design.factors.values()) else None
        options: dict[str, Any] = {"by": by, "level": prepared.level, "weights": margins}
        contrasts = fit.contrast(variable, reference=prepared.reference, **options)
        block.variant = _variant(fit.variant, contrasts, [name for name, _ in fit.fallbacks])
        contrast_rows(block, prepared, contrasts, "difference", analysis.visit)
        if block.p is None and block.reason is None:
            fail(block, f"no value at {analysis.visit}")
        means = fit.lsmeans(variable, **options)
        estimate_rows(block, means, "lsmean", variable, unit=analysis.unit, visit=analysis.visit)
        if full and by is not None:
            _profile(block, prepared, means)
    if full:
        observed(block, prepared)


def run_ancova(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the ANCOVA at the registered visit."""
    analysis, variable = prepared.analysis, prepared.variable
    options: dict[str, Any] = {"level": prepared.level}
    options["weights"] = prepared.options.get("margins", "equal")
    se = prepared.options.get("se", "classical")
    fit = ancova(analysis.formula, prepared.frame, se=se)
    block.variant, block.notes = fit.variant, list(fit.notes)
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        contrasts = fit.contrast(variable, reference=prepared.reference, **options)
        block.variant = _variant(fit.variant, contrasts, [])
        contrast_rows(block, prepared, contrasts, "difference", analysis.visit)
        means = fit.lsmeans(variable, **options)
        estimate_rows(block, means, "lsmean", variable, unit=analysis.unit, visit=analysis.visit)
    if full:
        observed(block, prepared)


def _variant(fitted: str, table: pd.DataFrame, failed: list[str]) -> str:
    """Name the fit, the structures that failed before it, and the margins of the means."""
    parts = [fitted]
    if failed:
        parts.append(f"a fallback: {', '.join(failed)} tried before and failed")
    return "; ".join([*parts, f"LS-means: {table.attrs['variant']}"])


def _profile(block: Block, prepared: Prepared, means: pd.DataFrame) -> None:
    days, counts = prepared.visits, _observed_counts(prepared)
    for row in means.to_dict("records"):
        group, visit = str(row[prepared.variable]), str(row[VISIT])
        number = counts.get((group, visit), 0)
        block.rows.add("lsmean", "n", float(number), group=group, visit=visit, unit="")
        block.points.append(
            {
                "analysis": prepared.analysis.id,
                "series": "profile",
                "group": group,
                "label": visit,
                "x": days.get(visit, math.nan),
                "y": row["estimate"],
                "lower": row["lower"],
                "upper": row["upper"],
                "n": float(number),
            }
        )
    block.points.sort(key=lambda p: (prepared.arms.index(p["group"]), p["x"]))


def _observed_counts(prepared: Prepared) -> dict[tuple[str, str], int]:
    rows = prepared.frame[prepared.used]
    sizes = rows.groupby([prepared.variable, VISIT], observed=True).size()
    table = sizes.rename("n").reset_index()
    return {
        (str(g), str(v)): int(n)
        for g, v, n in zip(table[prepared.variable], table[VISIT], table["n"], strict=True)
    }


def observed(block: Block, prepared: Prepared) -> None:
    """Write n, mean and SD of the observed values by arm and visit, and their profile."""
    outcome = prepared.analysis.formula.partition("~")[0].strip()
    if outcome not in prepared.frame.columns:
        return  # an expression of columns
    unit = prepared.analysis.unit
    rows = prepared.frame[prepared.used]
    visits = prepared.visits
    for arm in prepared.arms:
        own = rows[rows[prepared.variable] == arm]
        start = prepared.baseline[prepared.baseline.index.isin(set(own[SUBJECT]))].dropna()
        if len(start) and outcome == "AVAL":
            block.points.append(_point(prepared, arm, "baseline", 0.0, start.to_numpy()))
        for visit, day in visits.items():
            values = own[own[VISIT] == visit][outcome].to_numpy(dtype=np.float64)
            place = {"group": arm, "visit": visit}
            block.rows.add("observed_mean", "n", float(len(values)), unit="", **place)
            if len(values):
                block.rows.add("observed_mean", "mean", values.mean(), unit=unit, **place)
                block.points.append(_point(prepared, arm, visit, day, values))
            if len(values) > 1:
                block.rows.add("observed_mean", "sd", values.std(ddof=1), unit=unit, **place)
    _effect_size(block, prepared, outcome)


def _point(
    prepared: Prepared, arm: str, label: str, day: float, values: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Return a mean with its t interval."""
    half = math.nan
    if len(values) > 1:
        quantile = stats.t.ppf(0.5 + prepared.level / 2.0, len(values) - 1)
        half = float(quantile * values.std(ddof=1) / math.sqrt(len(values)))
    return {
        "analysis": prepared.analysis.id,
        "series": "profile_observed",
        "group": arm,
        "label": label,
        "x": day,
        "y": float(values.mean()),
        "lower": float(values.mean()) - half,
        "upper": float(values.mean()) + half,
        "n": float(len(values)),
    }


def _effect_size(block: Block, prepared: Prepared, outcome: str) -> None:
    """Write Hedges' g of the observed values at the registered visit."""
    from trialkit.errors import UsageError
    from trialkit.methods import hedges_g

    rows = prepared.frame[prepared.used]
    if prepared.analysis.visit is not None and DAY in rows.columns:
        rows = rows[rows[VISIT] == prepared.analysis.visit]
    groups = [
        rows[rows[prepared.variable] == arm][outcome]
        for arm in (prepared.treatment, prepared.reference)
    ]
    place = {
        "group": prepared.treatment,
        "reference": prepared.reference,
        "visit": prepared.analysis.visit,
    }
    try:
        found = hedges_g(*groups, level=prepared.level).iloc[0]
    except UsageError as error:
        block.rows.add("effect_size", "estimate", None, reason=error.message, **place)
        return
    note = "Hedges' g of observed values"
    for name in ("estimate", "lower", "upper", "n"):
        text = note if name == "estimate" and math.isfinite(found[name]) else None
        block.rows.add("effect_size", name, float(found[name]), text=text, unit="", **place)
