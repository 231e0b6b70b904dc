"""Participant flow after CONSORT 2025: from assessed to analysed, with reasons, and its balance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from trialkit.analysis.rows import SUBJECT
from trialkit.errors import Finding
from trialkit.plan.model import Plan
from trialkit.results import ResultRows, Results, slug

REASONED = ("excluded", "not_received", "discontinued", "lost", "not_analysed")
UNKNOWN = "no reason recorded"


def flow(plan: Plan, rows: ResultRows, adsl: pd.DataFrame, analysed: set[str] | None) -> None:
    """Write the flow: every participant is counted once at every step.

    Parameters
    ----------
    adsl : DataFrame
        Everybody who was assessed; ``RANDFL`` and ``SAFFL`` tell randomised and received.
    analysed : set of str or None
        USUBJID of those in the primary analysis; None leaves that step out.
    """
    randomised = adsl["RANDFL"] == "Y"
    rows.add("assessed", "count", float(len(adsl)), text="Assessed for eligibility")
    excluded = adsl[~randomised]
    _reasoned(rows, "excluded", "Excluded", _text(excluded, "DCSREAS", "not randomised"))
    rows.add("randomised", "count", float(randomised.sum()), text="Randomised")
    people = adsl[randomised]
    arms = people[plan.treatment.variable]
    order = [plan.treatment.reference, plan.treatment.treatment]
    order += sorted(set(arms.dropna()) - set(order))
    for arm in order:
        _arm(plan, rows, people[arms == arm], arm, analysed)


def _arm(
    plan: Plan, rows: ResultRows, own: pd.DataFrame, arm: str, analysed: set[str] | None
) -> None:
    rows.add("allocated", "count", float(len(own)), group=arm, text=f"Allocated to {arm}")
    got = own["SAFFL"] == "Y"
    rows.add(
        "received", "count", float(got.sum()), group=arm, text="Received the allocated intervention"
    )
    never = own[~got]
    why = _text(never, "TRTDISRS", None).fillna(_text(never, "DCSREAS", UNKNOWN))
    _reasoned(rows, "not_received", "Did not receive the allocated intervention", why, arm)
    stopped = own[own["TRTDISDY"].notna()] if "TRTDISDY" in own.columns else own.iloc[:0]
    _reasoned(
        rows,
        "discontinued",
        "Discontinued the intervention",
        _text(stopped, "TRTDISRS", UNKNOWN),
        arm,
    )
    left = own[own["EOSSTT"] == "DISCONTINUED"] if "EOSSTT" in own.columns else own.iloc[:0]
    _reasoned(rows, "lost", "Lost to follow-up", _text(left, "DCSREAS", UNKNOWN), arm)
    if analysed is None:
        return
    inside = own[SUBJECT].isin(analysed)
    text = "Included in the primary analysis"
    rows.add("analysed", "count", float(inside.sum()), group=arm, text=text)
    _reasoned(rows, "not_analysed", "Excluded from the analysis", _why_not(plan, own[~inside]), arm)


def _why_not(plan: Plan, rest: pd.DataFrame) -> pd.Series[Any]:
    """Say why participants are not in the primary analysis."""
    primary = next(a for a in plan.analyses if a.role == "primary")
    estimand = plan.estimand(primary.estimand)
    population = next(p for p in plan.populations if estimand and p.code == estimand.population)
    why = pd.Series("no outcome value", index=rest.index, dtype=object)
    if "EOSSTT" in rest.columns:
        why = why.mask(rest["EOSSTT"] == "DISCONTINUED", "no outcome value before leaving")
    return why.mask(rest[population.flag] != "Y", f"not in population {population.code}")


def _text(rows: pd.DataFrame, column: str, otherwise: str | None) -> pd.Series[Any]:
    """Return a reason column as text; `otherwise` where there is none."""
    if column not in rows.columns:
        return pd.Series(otherwise, index=rows.index, dtype=object)
    values = [otherwise if v is None or v != v else v for v in rows[column]]
    return pd.Series(values, index=rows.index, dtype=object)


def _reasoned(
    rows: ResultRows, quantity: str, label: str, why: pd.Series[Any], arm: str | None = None
) -> None:
    """Write a count and, below it, the count of each reason in the order of their names."""
    rows.add(quantity, "count", float(len(why)), group=arm, text=label)
    for code, number in sorted(why.value_counts().items()):
        name = f"{quantity}_{slug(str(code)).replace('-', '_')}"
        text = str(code).replace("_", " ")
        rows.add(name, "count", float(number), group=arm, text=text)


def check_flow(results: Results) -> list[Finding]:
    """Return every sum of the participant flow that does not hold; empty where all do.

    Assessed = excluded + randomised; randomised = the arms' allocated; allocated = received +
    not received = analysed + not analysed; a count with reasons = the sum of its reasons.
    """
    findings: list[Finding] = []
    for code, about in results.meta.get("tables", {}).items():
        if about["kind"] == "flow":
            rows = results.table[results.table["analysis"] == code]
            findings += _imbalances(code, rows[rows["statistic"] == "count"])
    return findings


def _imbalances(code: str, rows: pd.DataFrame) -> Iterator[Finding]:
    count: dict[tuple[str | None, str], float] = {
        (row["group"], row["quantity"]): row["value"] for row in rows.to_dict("records")
    }
    arms = list(dict.fromkeys(g for g, _ in count if g is not None))

    def unequal(where: str, total: float, parts: list[float]) -> Iterator[Finding]:
        if total != sum(parts):
            yield Finding(
                f"{code}: {where}",
                f"{total:g} is not the sum of {' + '.join(f'{p:g}' for p in parts) or 'nothing'}.",
                "Find the participants who are counted twice or not at all.",
            )

    everybody = [count.get((None, k), 0.0) for k in ("excluded", "randomised")]
    yield from unequal("assessed", count.get((None, "assessed"), 0.0), everybody)
    allocated = [count.get((arm, "allocated"), 0.0) for arm in arms]
    yield from unequal("randomised", everybody[1], allocated)
    for arm, total in zip(arms, allocated, strict=True):
        for name in ("received", "analysed"):
            if (arm, name) in count:
                halves = [count[arm, name], count.get((arm, f"not_{name}"), 0.0)]
                yield from unequal(f"{arm}, {name}", total, halves)
    for (group, quantity), total in count.items():
        if quantity in REASONED:
            parts = [
                v for (g, q), v in count.items() if g == group and q.startswith(f"{quantity}_")
            ]
            if parts or total:
                yield from unequal(f"{group or 'all'}, {quantity}", total, parts)
