"""Events that recur: rates from counts, and regressions of the rows at risk."""

from __future__ import annotations

import math
from typing import Any

from trialkit.analysis.block import Block, contrast_rows, estimate_rows, fail
from trialkit.analysis.prepare import Prepared
from trialkit.analysis.rows import DAYS_A_YEAR, SUBJECT
from trialkit.methods import negative_binomial, poisson, recurrent


def run_negative_binomial(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the negative binomial model; rates are per year where PYEARS is the exposure."""
    options = _with_exposure(prepared)
    fit = negative_binomial(prepared.analysis.formula, prepared.frame, **options)
    _rates(block, prepared, fit)
    if fit.failed is None:
        block.rows.add("dispersion", "estimate", fit.dispersion, unit="")
        if math.isfinite(fit.dispersion_se):
            block.rows.add("dispersion", "se", fit.dispersion_se, unit="")
    if full:
        _observed(block, prepared, options["exposure"])


def run_poisson(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the Poisson model; rates as for the negative binomial."""
    options = _with_exposure(prepared)
    fit = poisson(prepared.analysis.formula, prepared.frame, **options)
    _rates(block, prepared, fit)
    if fit.failed is None:
        block.rows.add("pearson_dispersion", "estimate", fit.pearson_dispersion, unit="")
    if full:
        _observed(block, prepared, options["exposure"])


def _with_exposure(prepared: Prepared) -> dict[str, Any]:
    known = "PYEARS" if "PYEARS" in prepared.frame.columns else None
    return {"exposure": known, **prepared.options}


def _rates(block: Block, prepared: Prepared, fit: Any) -> None:
    """Write rate ratios and rates of a count model."""
    analysis, variable = prepared.analysis, prepared.variable
    block.variant = fit.variant
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.rate_ratio(variable, reference=prepared.reference, level=prepared.level)
        contrast_rows(block, prepared, table, block.quantity, analysis.visit)
        rates = fit.rates(variable, level=prepared.level)
        estimate_rows(block, rates, "rate", variable, unit=analysis.unit, log=True)
    block.notes = list(fit.notes)


def _observed(block: Block, prepared: Prepared, exposure: str | None) -> None:
    outcome = prepared.analysis.formula.partition("~")[0].strip()
    rows = prepared.frame[prepared.used]
    for arm in prepared.arms:
        own = rows[rows[prepared.variable] == arm]
        if outcome in own.columns:
            block.rows.add("events", "count", float(own[outcome].sum()), group=arm, unit="")
            with_event = float((own[outcome] > 0).sum())
            block.rows.add("with_event", "count", with_event, group=arm, unit="")
        if exposure == "PYEARS":
            years = float(own[exposure].sum())
            block.rows.add("person_years", "estimate", years, group=arm, unit="years")


def run_recurrent(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the regression of the rows at risk; days that nobody reported on are not at risk."""
    analysis, variable = prepared.analysis, prepared.variable
    wlw = prepared.options.get("model") == "wlw"  # which takes all time from entry as at risk
    fit = recurrent(
        prepared.frame,
        start="TSTART",
        stop="TSTOP",
        event="EVENT",
        subject=SUBJECT,
        formula=analysis.formula,
        gaps="refuse" if wlw else "allow",
        **prepared.options,
    )
    block.variant = fit.variant
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.rate_ratio(variable, reference=prepared.reference, level=prepared.level)
        contrast_rows(block, prepared, table, block.quantity)
    block.notes = list(fit.notes)
    if not full:
        return
    rows = prepared.frame[prepared.used]
    for arm in prepared.arms:
        own = rows[rows[variable] == arm]
        block.rows.add("events", "count", float(own["EVENT"].sum()), group=arm, unit="")
        with_event = float(own[own["EVENT"] > 0][SUBJECT].nunique())
        block.rows.add("with_event", "count", with_event, group=arm, unit="")
        years = float((own["TSTOP"] - own["TSTART"]).sum()) / DAYS_A_YEAR
        block.rows.add("person_years", "estimate", years, group=arm, unit="years")
