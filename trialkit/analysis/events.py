"""Times to events: Cox, Kaplan-Meier, restricted means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trialkit.analysis.block import Block, contrast_rows, estimate_rows, fail
from trialkit.analysis.prepare import Prepared
from trialkit.methods import cox, kaplan_meier, rmst


def run_cox(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the Cox model."""
    analysis, variable = prepared.analysis, prepared.variable
    fit = cox(analysis.formula, prepared.frame, time="AVAL", event="EVENT", **prepared.options)
    block.variant, block.notes = fit.variant, list(fit.notes)
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.hazard_ratio(variable, reference=prepared.reference, level=prepared.level)
        contrast_rows(block, prepared, table, "hazard_ratio", analysis.visit)
    if full:
        rows = prepared.frame[prepared.used]
        for arm in prepared.arms:
            number = float(rows[rows[variable] == arm]["EVENT"].sum())
            block.rows.add("events", "count", number, group=arm, unit="")


def run_kaplan_meier(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Estimate the curves and test them against each other."""
    variable = prepared.variable
    times = prepared.options.pop("times", [])
    fit = kaplan_meier(
        prepared.frame,
        time="AVAL",
        event="EVENT",
        group=variable,
        level=prepared.level,
        **prepared.options,
    )
    strata = prepared.options.get("strata")
    test = fit.logrank(strata).iloc[0]
    block.variant = fit.variant + (f", log-rank stratified by {strata}" if strata else ", log-rank")
    block.notes = list(fit.notes)
    if math.isfinite(test["p"]):
        for name in ("statistic", "df", "p"):
            block.rows.add("logrank", name, test[name], unit="")
        block.p = float(test["p"])
    else:
        fail(block, "the log-rank test is not defined for these data")
    for row in fit.n_groups.to_dict("records"):
        block.rows.add("events", "count", row["events"], group=str(row["group"]), unit="")
    for row in fit.median.to_dict("records"):
        for name in ("estimate", "lower", "upper"):
            reached = math.isfinite(row[name])
            text = None if reached else "not reached"
            block.rows.add(
                "median_time", name, row[name], group=str(row[variable]), unit="days", text=text
            )
    if len(times):
        _milestones(block, prepared, fit, times)
    if full:
        _curves(block, prepared, fit)


def run_rmst(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Compare the mean times without an event up to the registered time."""
    variable, unit = prepared.variable, block.rows.fixed["unit"]
    fit = rmst(
        prepared.frame,
        time="AVAL",
        event="EVENT",
        group=variable,
        level=prepared.level,
        **prepared.options,
    )
    block.variant, block.notes = fit.variant, list(fit.notes)
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.difference(reference=prepared.reference)
        contrast_rows(block, prepared, table, block.quantity)
        estimate_rows(block, fit.table, "rmst", variable, unit=unit)
    if full:
        for row in fit.n_groups.to_dict("records"):
            block.rows.add("events", "count", row["events"], group=str(row["group"]), unit="")


def _milestones(block: Block, prepared: Prepared, fit: Any, times: list[float]) -> None:
    for row in fit.at(times).to_dict("records"):
        place = {"group": str(row[prepared.variable]), "visit": f"D{row['time']:g}"}
        for name in ("estimate", "se", "lower", "upper"):
            text = None if math.isfinite(row[name]) else "beyond the last observation"
            block.rows.add("survival", name, row[name], unit="", text=text, **place)
        block.rows.add("survival", "n", row["at_risk"], unit="", **place)


def _curves(block: Block, prepared: Prepared, fit: Any) -> None:
    last = float(fit.curves["time"].max())
    for arm in prepared.arms:
        own = fit.curves[fit.curves["group"] == arm]
        for row in own.to_dict("records"):
            block.points.append(
                {
                    "analysis": prepared.analysis.id,
                    "series": "survival",
                    "group": arm,
                    "x": row["time"],
                    "y": row["survival"],
                    "lower": row["lower"],
                    "upper": row["upper"],
                    "n": float(row["at_risk"]),
                }
            )
        time, risk = own["time"].to_numpy(), own["at_risk"].to_numpy()
        for tick in ticks(last):
            i = int(np.searchsorted(time, tick, side="left"))
            number = float(risk[i]) if i < len(risk) else 0.0
            block.points.append(
                {
                    "analysis": prepared.analysis.id,
                    "series": "at_risk",
                    "group": arm,
                    "x": tick,
                    "n": number,
                }
            )


def ticks(last: float) -> list[float]:
    """Return five to nine round times from 0 to `last` at which numbers at risk are shown."""
    if last <= 0:
        return [0.0]
    scale = 10.0 ** math.floor(math.log10(last / 5.0))
    choices = [scale * k for k in (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)]
    step = next((s for s in choices if last / s <= 8.0), choices[-1])
    return [round(step * i, 9) for i in range(int(last / step + 1e-9) + 1)]
