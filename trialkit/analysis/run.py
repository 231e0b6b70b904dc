"""Runs a plan on frames: every registered analysis, multiplicity, descriptive tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from trialkit.analysis.block import Block, counts, fail, start
from trialkit.analysis.continuous import run_ancova, run_mmrm
from trialkit.analysis.describe import describe
from trialkit.analysis.events import run_binary, run_counts, run_cox, run_kaplan_meier
from trialkit.analysis.prepare import population_of, prepare
from trialkit.errors import UnknownName, UsageError
from trialkit.methods import fixed_sequence, holm
from trialkit.plan.model import Analysis, Plan
from trialkit.results import Results, results_table, series_table

RUNNERS: dict[str, Callable[..., None]] = {
    "mmrm": run_mmrm,
    "ancova": run_ancova,
    "negative_binomial": run_counts,
    "cox": run_cox,
    "kaplan_meier": run_kaplan_meier,
    "binary": run_binary,
}


def run_plan(
    plan: Plan,
    frames: Mapping[str, pd.DataFrame],
    *,
    meta: Mapping[str, Any] | None = None,
    descriptives: bool = True,
) -> Results:
    """Run every analysis of a plan on ADaM-like frames.

    A pure function: the same plan and frames give the same bytes.

    Parameters
    ----------
    plan : Plan
    frames : mapping of str to DataFrame
        ADSL, and every dataset that the plan names; columns by :mod:`data_schemas.adam`.
    meta : mapping or None
        What made the results (plan hash, lock, snapshot, versions); kept with them.
    descriptives : bool
        False leaves out the plan's tables, observed means, curves and effect sizes: a
        simulation needs the comparisons only.

    Returns
    -------
    Results
        A method that fails gives rows with the state ``failed`` and the reason.

    Raises
    ------
    UsageError
        If plan and frames do not fit together: a frame or column is missing, the arms are
        hidden or one is empty, an option does not exist.
    """
    blocks = [run_analysis(plan, analysis, frames, full=descriptives) for analysis in plan.analyses]
    decide(plan, dict(zip((a.id for a in plan.analyses), blocks, strict=True)))
    rows = [row for block in blocks for row in block.rows.rows]
    points = [point for block in blocks for point in block.points]
    if descriptives:
        rows += [row for made in describe(plan, frames, _analysed(blocks)) for row in made.rows]
    return Results(results_table(rows), series_table(points), _meta(plan, blocks, dict(meta or {})))


def run_analysis(
    plan: Plan, analysis: Analysis, frames: Mapping[str, pd.DataFrame], *, full: bool = True
) -> Block:
    """Run one analysis; what the method refuses becomes a failed comparison with its reason."""
    block = start(plan, analysis, population_of(plan, analysis))
    prepared = prepare(plan, analysis, frames)
    counts(block, prepared)
    try:
        if len(prepared.analysed) == 0:
            fail(block, f"no complete row of {analysis.dataset} in the population")
        else:
            RUNNERS[analysis.method](block, prepared, full=full)
    except UnknownName:
        raise
    except UsageError as error:  # what was written before the refusal goes
        block.rows.rows = [row for row in block.rows.rows if row["quantity"] == "n"]
        block.points = []
        fail(block, error.message)
    for row in block.rows.rows:
        row["variant"] = block.rows.fixed["variant"]
    return block


def _analysed(blocks: list[Block]) -> set[str] | None:
    """Return the participants of the primary analysis; None where the plan has none."""
    first = next((b for b in blocks if b.rows.fixed["role"] == "primary"), None)
    return first.analysed if first else None


def decide(plan: Plan, blocks: Mapping[str, Block]) -> None:
    """Add adjusted p-values and decisions to the registered comparisons that are tested."""
    rule = plan.multiplicity
    tested = [code for code in rule.order if code in blocks]
    if rule.procedure == "none" or not tested:
        return
    procedure = holm if rule.procedure == "holm" else fixed_sequence
    table = procedure({code: blocks[code].p for code in tested}, alpha=rule.alpha)
    for row in table.to_dict("records"):
        block = blocks[str(row["test"])]
        add = block.rows.add
        if block.p is None:
            reason = block.reason or "the analysis failed"
            add(block.quantity, "p_adjusted", None, reason=reason, unit="", **block.place)
            note = "not rejected: the analysis failed"
        else:
            add(block.quantity, "p_adjusted", row["p_adjusted"], unit="", **block.place)
            note = "rejected" if row["rejected"] else "not rejected"
        text = f"{note} ({rule.procedure.replace('_', ' ')} at {rule.alpha:g})"
        value = 1.0 if row["rejected"] else 0.0
        add(block.quantity, "rejected", value, unit="", text=text, **block.place)
        for made in block.rows.rows[-2:]:
            made["variant"] = block.rows.fixed["variant"]


def _meta(plan: Plan, blocks: list[Block], given: dict[str, Any]) -> dict[str, Any]:
    identity = {"id": plan.id, "version": plan.version, "title": plan.title}
    analyses = {
        analysis.id: {
            "label": analysis.label,
            "role": analysis.role,
            "method": analysis.method,
            "estimand": analysis.estimand,
            "population": block.rows.fixed["population"],
            "visit": analysis.visit,
            "unit": analysis.unit,
            "better": analysis.better,
            "null": analysis.null,
            "quantity": block.quantity,
            "registered": block.registered,
        }
        for analysis, block in zip(plan.analyses, blocks, strict=True)
    }
    tables = {t.id: {"kind": t.kind, "label": t.label} for t in plan.tables}
    treatment = plan.treatment.model_dump()
    return {
        **given,
        "plan": {**identity, **given.get("plan", {})},
        "treatment": treatment,
        "analyses": analyses,
        "tables": tables,
    }
