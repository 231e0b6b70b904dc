"""Adjusted p-values and decisions of the registered comparisons that are tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from trialkit.analysis.block import Block
from trialkit.methods import fallback, fixed_sequence, graph, hochberg, holm, hommel
from trialkit.plan.model import WEIGHTED, Multiplicity, Plan

FLAT = {"fixed_sequence": fixed_sequence, "holm": holm, "hochberg": hochberg, "hommel": hommel}


def decide(plan: Plan, blocks: Mapping[str, Block]) -> dict[str, Any]:
    """Add adjusted p-values and decisions to the tested comparisons; return the procedure.

    An analysis that failed is never rejected, and makes the others no easier to reject. So it
    is with one that was not run (a simulation of a part of the plan) where the plan divides
    alpha between its analyses.

    Returns
    -------
    dict
        procedure, alpha, order; for ``fallback`` and ``graph`` weights; for ``graph`` also
        transitions and steps: the graph at the start and after each rejection, each with
        rejected (ids in order), weights and transitions.
    """
    rule = plan.multiplicity
    told: dict[str, Any] = {
        "procedure": rule.procedure,
        "alpha": rule.alpha,
        "order": list(rule.order),
    }
    tested = [code for code in rule.order if code in blocks]
    if rule.procedure == "none" or not tested:
        return told
    asked = rule.order if rule.procedure in WEIGHTED else tested
    p = {code: blocks[code].p if code in blocks else None for code in asked}
    table, more = _test(rule, p)
    for row in table.to_dict("records"):
        if row["test"] in blocks:
            _write(blocks[str(row["test"])], row, rule)
    return {**told, **more}


def _test(rule: Multiplicity, p: dict[str, float | None]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table of decisions, and what the procedure keeps beside it."""
    if rule.procedure not in WEIGHTED:
        return FLAT[rule.procedure](p, alpha=rule.alpha), {}
    weights = {code: (rule.weights or {}).get(code, 0.0) for code in rule.order}
    if rule.procedure == "fallback":
        return fallback(p, weights, alpha=rule.alpha), {"weights": weights}
    given = rule.transitions or {}
    transitions = {a: {b: given.get(a, {}).get(b, 0.0) for b in rule.order} for a in rule.order}
    found = graph(weights, transitions, alpha=rule.alpha).test(p)
    steps = [
        {
            "rejected": list(state.rejected),
            "weights": {str(k): float(v) for k, v in state.weights.items()},
            "transitions": {
                str(a): {str(b): float(v) for b, v in row.items()}
                for a, row in state.transitions.iterrows()
            },
        }
        for state in found.steps
    ]
    return found.table, {"weights": weights, "transitions": transitions, "steps": steps}


def _write(block: Block, row: dict[Any, Any], rule: Multiplicity) -> None:
    """Add the decision on one analysis to its rows."""
    add, rejected = block.rows.add, bool(row["rejected"])
    if block.p is None:
        reason = block.reason or "the analysis failed"
        add(block.quantity, "p_adjusted", None, reason=reason, unit="", **block.place)
        note = "not rejected: the analysis failed"
    else:
        add(block.quantity, "p_adjusted", row["p_adjusted"], unit="", **block.place)
        note = "rejected" if rejected else "not rejected"
        if rejected and rule.procedure == "graph":
            note += f" at step {row['step']}"
    text = f"{note} ({rule.procedure.replace('_', ' ')} at {rule.alpha:g})"
    add(block.quantity, "rejected", float(rejected), unit="", text=text, **block.place)
    for made in block.rows.rows[-2:]:
        made["variant"] = block.variant
