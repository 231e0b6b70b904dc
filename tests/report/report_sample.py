"""A results object in the shape that `analyse` gives, from a plan and fixed numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trialkit.plan.model import Analysis, Plan
from trialkit.results import ResultRows, Results, results_table, series_table

QUANTITY = {
    "mmrm": "difference",
    "ancova": "difference",
    "negative_binomial": "rate_ratio",
    "cox": "hazard_ratio",
    "binary": "risk_difference",
    "kaplan_meier": "logrank",
    "imputation": "difference",
    "recurrent": "rate_ratio",
}
DAYS = {"BL": 0, "W4": 28, "W8": 56, "W12": 84}


def sample(plan: Plan, *, failed: str | None = None, flow: dict[str, int] | None = None) -> Results:
    """Return results for every analysis and table of a plan; `failed` names one that failed."""
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    meta: dict[str, Any] = {
        "plan": {"id": plan.id, "title": plan.title, "version": plan.version},
        "plan_id": plan.id,
        "lock": "1" * 64,
        "snapshot": "2" * 64,
        "software": {"trialkit": "0.1.0", "python": "3.11"},
        "analyses": {},
    }
    for i, analysis in enumerate(plan.analyses):
        made, curve, registered = _analysis(plan, analysis, i, failed=analysis.id == failed)
        rows += made
        points += curve
        meta["analyses"][analysis.id] = {
            "label": analysis.label,
            "role": analysis.role,
            "better": analysis.better,
            "null": analysis.null,
            "unit": analysis.unit,
            "registered": registered,
        }
    for table in plan.tables:
        rows += _table(plan, table.id, table.kind, table.label, table.variables, flow)
    return Results(results_table(rows), series_table(points), meta)


def _analysis(
    plan: Plan, a: Analysis, i: int, *, failed: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    t, r = plan.treatment.treatment, plan.treatment.reference
    out = ResultRows(
        a.id, a.label, a.role, estimand=a.estimand, dataset=a.dataset, population="FAS",
        method=a.method, variant="unstructured, REML, Satterthwaite", unit=a.unit,
    )  # fmt: skip
    visit = a.visit if a.method in {"mmrm", "ancova", "binary", "imputation"} else None
    quantity = QUANTITY[a.method]
    ratio = quantity.endswith("ratio")
    side: dict[str, Any] = {"group": t, "reference": r, "visit": visit}
    unit = "" if ratio else None
    middle = 0.71 + 0.1 * i if ratio else 0.042 + 0.01 * i
    reason = "The unstructured covariance could not be fitted." if failed else None
    numbers: dict[str, float] = {"p": 0.0123 * (i + 1)}
    if quantity != "logrank":
        numbers |= {
            "estimate": middle, "se": 0.02, "df": 171.25, "statistic": 2.1,
            "lower": middle * 0.7 if ratio else middle - 0.06,
            "upper": middle * 1.4 if ratio else middle + 0.05,
        }  # fmt: skip
    if a.id in plan.multiplicity.order:
        numbers |= {"p_adjusted": 0.0123 * (i + 1), "rejected": float(i < 3)}
    for name, value in numbers.items():
        out.add(quantity, name, value, unit=unit, reason=reason, **side)
    if not failed:
        for visit_code in [v for v in DAYS if v != "BL"] if a.method == "mmrm" else []:
            for j, group in enumerate((t, r)):
                for name, value in (("estimate", 0.7 + 0.02 * j), ("lower", 0.65), ("upper", 0.75)):
                    out.add("lsmean", name, value, group=group, visit=visit_code)
    for name, value in (("n", 540.0), ("n_subjects", 196.0), ("n_missing", 48.0)):
        out.add("n", name, value, unit="")
    prefix = ".".join(out.rows[0]["id"].split(".")[:-1])
    if a.method == "imputation" and not failed:
        _deltas(out, t, r, visit)
    return out.rows, [] if failed else _curves(a, (t, r)), prefix


def _deltas(out: ResultRows, arm: str, reference: str, visit: str | None) -> None:
    """Add imputed values, results under two amounts, a tipping point and a note."""
    for code in ("W4", "W12"):
        out.add("imputed", "count", 7.0, group=arm, visit=code, unit="")
        out.add("imputed", "n", 100.0, group=arm, visit=code, unit="")
    for number, amount in enumerate((-0.1, 0.0), start=1):
        out.add(f"tipping-{number}", "delta", amount, group=arm)
        side: dict[str, Any] = {"group": arm, "reference": reference, "visit": visit}
        for name, value in (("estimate", 0.031), ("lower", -0.01), ("upper", 0.07), ("p", 0.14)):
            out.add(f"tipping-{number}", name, value, unit="", **side)
    out.add("tipping_delta", "delta", -0.0625, group=arm)
    out.add("note-1", "note", None, unit="", text="4 participants have no outcome at any visit")


def _curves(a: Analysis, groups: tuple[str, str]) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for j, group in enumerate(groups):
        base = {"analysis": a.id, "group": group}
        if a.method == "mmrm":
            for k, (visit, day) in enumerate(DAYS.items()):
                y = 0.6 + 0.05 * k + 0.02 * (1 - j) * k
                points.append({**base, "series": "profile", "label": visit, "x": day, "y": y,
                               "lower": y - 0.04, "upper": y + 0.04, "n": 100 - 3 * k})  # fmt: skip
        if a.method in {"cox", "kaplan_meier"}:
            for day in range(0, 183, 7):
                y = math.exp(-day / (300 - 80 * j))
                points.append({**base, "series": "survival", "x": day, "y": y,
                               "lower": y * 0.93, "upper": min(1, y * 1.06)})  # fmt: skip
            for day in (0, 30, 60, 90, 120, 150, 180):
                points.append({**base, "series": "at_risk", "x": day, "n": 100 - day // 3})
    return points


FLOW = {
    "assessed": 260, "excluded": 60, "excluded_criteria": 40, "excluded_declined": 20,
    "randomised": 200, "allocated": 100, "received": 98, "not_received": 2,
    "not_received_withdrew": 2, "discontinued": 7, "discontinued_adverse_event": 4,
    "discontinued_transport": 3, "lost": 5, "lost_moved_away": 5, "analysed": 97,
    "not_analysed": 3, "not_analysed_no_visit": 3,
}  # fmt: skip
WHOLE = ("assessed", "excluded", "randomised")


def _table(
    plan: Plan, code: str, kind: str, label: str, variables: list[str], flow: dict[str, int] | None
) -> list[dict[str, Any]]:
    out = ResultRows(code, label, "descriptive", dataset="ADSL", population="FAS")
    arms = (plan.treatment.treatment, plan.treatment.reference)
    if kind == "flow":
        for name, value in {**FLOW, **(flow or {})}.items():
            for arm in (None,) if name.startswith(WHOLE) else arms:
                out.add(name, "count", value, group=arm)
    elif kind == "baseline":
        for variable in variables:
            for arm in arms:
                if variable in {"SEX", "SPEED_BAND"}:
                    for level in ("F", "M"):
                        out.add(f"{variable.lower()}_{level.lower()}", "count", 48, group=arm,
                                text=f"{variable}: {level}")  # fmt: skip
                        out.add(f"{variable.lower()}_{level.lower()}", "percent", 48.0, group=arm,
                                text=f"{variable}: {level}")  # fmt: skip
                    continue
                for name, value in (("mean", 63.2), ("sd", 10.4), ("median", 64.0), ("q1", 57.0),
                                    ("q3", 71.0), ("n", 100.0), ("n_missing", 0.0)):  # fmt: skip
                    out.add(variable.lower(), name, value, group=arm)
    else:
        for name in ("sessions", "minutes", "a_rather_long_name_of_a_category_of_events"):
            for arm in arms:
                out.add(name, "count", 31, group=arm)
                out.add(name, "percent", float(np.round(31.0, 1)), group=arm)
    return out.rows
