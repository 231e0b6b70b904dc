"""Runs a plan on frames: every registered analysis, multiplicity, descriptive tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from trialkit.analysis.block import Block, counts, fail, finish, start
from trialkit.analysis.categories import run_binary, run_ordinal, run_win_odds
from trialkit.analysis.continuous import run_ancova, run_mmrm
from trialkit.analysis.counts import run_negative_binomial, run_poisson, run_recurrent
from trialkit.analysis.describe import describe
from trialkit.analysis.events import run_cox, run_kaplan_meier, run_rmst
from trialkit.analysis.imputation import run_imputation
from trialkit.analysis.multiplicity import decide
from trialkit.analysis.prepare import population_of, prepare
from trialkit.errors import UnknownName, UsageError
from trialkit.plan.model import Analysis, Plan
from trialkit.results import Results, results_table, series_table

RUNNERS: dict[str, Callable[..., None]] = {
    "mmrm": run_mmrm,
    "ancova": run_ancova,
    "imputation": run_imputation,
    "binary": run_binary,
    "ordinal": run_ordinal,
    "win_odds": run_win_odds,
    "negative_binomial": run_negative_binomial,
    "poisson": run_poisson,
    "recurrent": run_recurrent,
    "cox": run_cox,
    "kaplan_meier": run_kaplan_meier,
    "rmst": run_rmst,
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
        False leaves out the plan's tables, observed means, curves, effect sizes and tipping
        deltas: a simulation needs the comparisons only.

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
    procedure = decide(plan, dict(zip((a.id for a in plan.analyses), blocks, strict=True)))
    rows = [row for block in blocks for row in block.rows.rows]
    points = [point for block in blocks for point in block.points]
    if descriptives:
        rows += [row for made in describe(plan, frames, _analysed(blocks)) for row in made.rows]
    told = {**_meta(plan, blocks, dict(meta or {})), "multiplicity": procedure}
    return Results(results_table(rows), series_table(points), told)


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
        block.points, block.notes = [], []
        fail(block, error.message)
    finish(block)
    return block


def _analysed(blocks: list[Block]) -> set[str] | None:
    """Return the participants of the primary analysis; None where the plan has none."""
    first = next((b for b in blocks if b.rows.fixed["role"] == "primary"), None)
    return first.analysed if first else None


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
