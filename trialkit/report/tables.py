"""Tables of the plan and of its analyses; every number by id, nothing computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from trialkit.plan.model import Estimand, Plan
from trialkit.report.cells import Grid, Numbers, escape
from trialkit.report.descriptive import readable
from trialkit.report.flow import Flow
from trialkit.results import CONTRASTS, AnalysisResult, Results

MEASURES = {
    "difference": "Adjusted difference",
    "rate_ratio": "Rate ratio",
    "hazard_ratio": "Hazard ratio",
    "odds_ratio": "Odds ratio",
    "risk_difference": "Difference in proportions",
    "risk_ratio": "Ratio of proportions",
    "rmst_difference": "Difference in restricted mean time",
    "win_odds": "Win odds",
    "win_ratio": "Win ratio",
    "net_benefit": "Net benefit",
    "win_probability": "Win probability",
    "logrank": "Log-rank test",
}
QUANTITIES = {
    "lsmean": "Adjusted mean",
    "observed_mean": "Observed mean",
    "rate": "Rate",
    "risk": "Standardised proportion",
    "survival": "Proportion without an event",
    "median_time": "Median time",
    "rmst": "Restricted mean time",
    "imputed": "Imputed values",
    "person_years": "Time at risk",
}
STRATEGIES = {
    "treatment_policy": "treatment policy",
    "hypothetical": "hypothetical",
    "composite": "composite",
    "while_on_treatment": "while on treatment",
    "principal_stratum": "principal stratum",
}


def about(rows: list[tuple[str, str, bool]]) -> Grid:
    """Return the table of what this report rests on: name, text, whether it is a hash or an id."""
    cells = [[n, f"`{t}`" if code else escape(t)] for n, t, code in rows if t]
    return Grid("What this report rests on", "tbl-about", ["", ""], list(cells), widths=[24, 96])


def unblinded(told: list[dict[str, str]]) -> Grid:
    """Return whose arm was told in an emergency: when, who asked, who agreed, and why."""
    cells: list[Sequence[str]] = [
        [escape(t["usubjid"]), t["at"][:10], *(escape(t[k]) for k in ("asked", "agreed", "reason"))]
        for t in told
    ]
    heads = ["Participant", "Date", "Asked", "Agreed", "Reason"]
    return Grid("Emergency unblinding", "tbl-unblinded", heads, cells, widths=[24, 14, 16, 16, 50])


def estimands(plan: Plan) -> Grid:
    """Return the estimands with their five attributes (ICH E9(R1))."""
    grid = Grid("Estimands (ICH E9(R1))", "tbl-estimands", ["Attribute", "Content"])
    grid.widths = [26, 94]
    for estimand in plan.estimands:
        used = [a.label for a in plan.analyses if a.estimand == estimand.id]
        grid.rows.append([f"{escape(estimand.id)}: {escape(', '.join(used)) or 'not analysed'}"])
        grid.rows += _attributes(plan, estimand)
    return grid


def _attributes(plan: Plan, estimand: Estimand) -> list[list[str]]:
    population = next((p for p in plan.populations if p.code == estimand.population), None)
    label = population.label if population is not None else estimand.population
    rows = [
        ["Treatment", escape(estimand.treatment)],
        ["Population", escape(label)],
        ["Variable", escape(estimand.variable)],
    ]
    for event in estimand.intercurrent_events:
        text = f"{event.event}: {STRATEGIES[event.strategy]} strategy. {event.handling}"
        rows.append(["Intercurrent event", escape(text)])
    return [*rows, ["Summary", escape(estimand.summary)]]


def registered(results: Results, analysis: str) -> str:
    """Return the id prefix of an analysis' registered comparison."""
    return str(results.meta.get("analyses", {}).get(analysis, {}).get("registered", ""))


def comparison(one: AnalysisResult, numbers: Numbers, plan: Plan, *, label: str) -> Grid:
    """Return the registered comparison of an analysis: estimate, interval, p, numbers, method."""
    row = one.comparison()
    prefix = registered(one.results, one.id)
    against = f"{row['group']} against {row['reference']}"
    grid = Grid(f"{escape(one.label)}: registered comparison", label, ["", ""], widths=[40, 80])
    first = one.table.iloc[0]
    unit = f" ({row['unit']})" if isinstance(row["unit"], str) else ""
    visit = f", {row['visit']}" if isinstance(row["visit"], str) else ""
    head = MEASURES.get(str(row["measure"]), readable(str(row["measure"])))
    level = f"{100 * (1 - plan.alpha):g} % confidence interval"
    grid.rows += [
        ["Estimand", escape(str(first["estimand"]))],
        ["Population", escape(str(first["population"]))],
    ]
    if isinstance(row["group"], str) and isinstance(row["reference"], str):
        grid.rows.append(["Comparison", escape(against + visit)])
    if f"{prefix}.estimate" in one.results:
        grid.rows.append([head + escape(unit), numbers.show(f"{prefix}.estimate")])
        grid.rows.append([level, numbers.interval(prefix)])
    for statistic, name in (
        ("se", "Standard error"),
        ("df", "Degrees of freedom"),
        ("statistic", "Test statistic"),
        ("p", "p (two-sided)"),
        ("p_adjusted", "p, adjusted for multiplicity"),
    ):
        if f"{prefix}.{statistic}" in one.results:
            grid.rows.append([name, numbers.show(f"{prefix}.{statistic}")])
    for statistic, name in (
        ("n_subjects", "Participants analysed"),
        ("n", "Observations analysed"),
        ("n_missing", "Missing"),
    ):
        grid.rows += _counts(one, numbers, statistic, name)
    method = f"{first['method']}: {first['variant']}" if first["variant"] else str(first["method"])
    grid.rows.append(["Method", escape(method)])
    notes = one.table[one.table["statistic"] == "note"]
    grid.rows += [["Note", numbers.show(str(code))] for code in notes["id"]]
    return grid


def _counts(one: AnalysisResult, numbers: Numbers, statistic: str, name: str) -> list[list[str]]:
    rows = one.table
    part = rows[(rows["quantity"] == "n") & (rows["statistic"] == statistic)]
    return [
        [name + (f", {escape(g)}" if isinstance(g, str) else ""), numbers.show(i)]
        for i, g in zip(part["id"], part["group"], strict=True)
    ]


def by_group(one: AnalysisResult, numbers: Numbers, *, label: str) -> Grid:
    """Return what an analysis estimates in each group: means, rates, proportions by visit."""
    rows = one.table
    imputed = (rows["quantity"] == "imputed") & (rows["statistic"] == "count")
    part = rows[
        ~rows["quantity"].isin([*CONTRASTS, "n", "effect_size", "coefficient"])
        & ~rows["quantity"].str.startswith("tipping")
        & rows["group"].notna()
        & (rows["statistic"].isin(["estimate", "mean"]) | imputed)
    ]
    caption = f"{escape(one.label)}: estimates by group"
    head = ["Quantity", "Visit", "Group", "Estimate", "Interval", "n"]
    grid = Grid(caption, label, head, right=frozenset({3, 4, 5}))
    for row in part.to_dict("records"):
        prefix = str(row["id"]).rsplit(".", 1)[0]
        unit = f" ({row['unit']})" if isinstance(row["unit"], str) else ""
        grid.rows.append(
            [
                escape(QUANTITIES.get(row["quantity"], readable(str(row["quantity"]))) + unit),
                escape(row["visit"]) if isinstance(row["visit"], str) else "",
                escape(str(row["group"])),
                numbers.show(str(row["id"])),
                numbers.interval(prefix),
                numbers.maybe(f"{prefix}.n"),
            ]
        )
    return _without_empty(grid)


def tipping(one: AnalysisResult, numbers: Numbers, *, label: str) -> Grid:
    """Return the comparison under each amount added to imputed values, and where it is lost."""
    rows = one.table
    moved = rows[(rows["statistic"] == "delta") & rows["quantity"].str.startswith("tipping-")]
    arms = list(dict.fromkeys(moved["group"]))
    unit = next((f" ({u})" for u in moved["unit"] if isinstance(u, str)), "")
    head = [*(escape(f"Added, {arm}{unit}") for arm in arms), "Estimate", "Interval", "p"]
    caption = f"{escape(one.label)}: what becomes of it as imputed values move"
    grid = Grid(caption, label, head, right=frozenset(range(len(head))))
    for name, part in moved.groupby("quantity", sort=False):
        found = rows[(rows["quantity"] == name) & (rows["statistic"] == "estimate")]
        prefix = str(found["id"].iloc[0]).rsplit(".", 1)[0]
        added = dict(zip(part["group"], part["id"], strict=True))
        grid.rows.append(
            [
                *(numbers.show(added[arm]) for arm in arms),
                numbers.show(f"{prefix}.estimate"),
                numbers.interval(prefix),
                numbers.maybe(f"{prefix}.p"),
            ]
        )
    for code, arm in zip(*(rows[rows["quantity"] == "tipping_delta"][c] for c in ("id", "group")),
                         strict=True):  # fmt: skip
        grid.rows.append([f"Tipping point, added in {escape(arm)}: {numbers.show(str(code))}"])
    return grid


def contrasts(one: AnalysisResult, numbers: Numbers, *, label: str) -> Grid:
    """Return every comparison of an analysis, the registered one marked."""
    rows = one.table
    part = rows[rows["quantity"].isin(CONTRASTS) & rows["statistic"].isin(["estimate"])]
    chosen = registered(one.results, one.id)
    head = ["Comparison", "Visit", "Estimate", "Interval", "p"]
    grid = Grid(f"{escape(one.label)}: comparisons", label, head, right=frozenset({2, 3, 4}))
    for row in part.to_dict("records"):
        prefix = str(row["id"]).rsplit(".", 1)[0]
        measure = MEASURES.get(str(row["quantity"]), readable(str(row["quantity"])))
        text = f"{measure}, {row['group']} against {row['reference']}"
        text += " (registered)" if prefix == chosen else ""
        grid.rows.append(
            [
                escape(text),
                escape(row["visit"]) if isinstance(row["visit"], str) else "",
                numbers.show(str(row["id"])),
                numbers.interval(prefix),
                numbers.maybe(f"{prefix}.p"),
            ]
        )
    return _without_empty(grid)


def overview(results: Results, plan: Plan, numbers: Numbers, *, label: str) -> Grid:
    """Return one row an analysis: role, measure, estimate, interval, p."""
    head = ["Analysis", "Role", "Measure", "Estimate", "Interval", "p"]
    grid = Grid("Registered comparisons", label, head, right=frozenset({3, 4, 5}))
    for analysis in (a.id for a in plan.analyses if a.id in results):
        row, prefix = results[analysis].comparison(), registered(results, analysis)
        unit = f" ({row['unit']})" if isinstance(row["unit"], str) else ""
        measure = MEASURES.get(str(row["measure"]), readable(str(row["measure"])))
        there = f"{prefix}.estimate" in results
        grid.rows.append(
            [
                escape(str(row["label"])),
                escape(str(row["role"])),
                escape(measure + unit),
                numbers.show(f"{prefix}.estimate") if there else "–",
                numbers.interval(prefix),
                numbers.maybe(f"{prefix}.p"),
            ]
        )
    return grid


def multiplicity(results: Results, plan: Plan, numbers: Numbers, *, label: str) -> Grid:
    """Return the tested hypotheses in their registered order, with decisions."""
    shares = plan.multiplicity.weights
    head = ["Order", "Hypothesis", "Share of alpha", "p", "Adjusted p", "Null hypothesis"]
    name = plan.multiplicity.procedure.replace("_", " ")
    caption = f"Multiplicity: {name} procedure at {plan.multiplicity.alpha:g}"
    grid = Grid(caption, label, head, right=frozenset({0, 2, 3, 4}))
    for order, code in enumerate(plan.multiplicity.order, start=1):
        prefix = registered(results, code)
        analysis = plan.analysis(code)
        decision = "not decided"
        if f"{prefix}.rejected" in results:
            number = results.value(f"{prefix}.rejected")
            said = {1.0: "rejected", 0.0: "not rejected"}.get(number, "not decided")
            shown = numbers.show(f"{prefix}.rejected")
            decision = shown.replace(shown[1 : shown.index("]{")], said)
        grid.rows.append(
            [
                str(order),
                escape(analysis.label if analysis else code),
                f"{shares.get(code, 0.0):.3g}" if shares else "",
                numbers.maybe(f"{prefix}.p"),
                numbers.maybe(f"{prefix}.p_adjusted"),
                decision,
            ]
        )
    return _without_empty(grid)


def printed_ids(numbers: Numbers) -> Grid:
    """Return every printed number with its id: a stem a row, and its statistics as printed."""
    head = ["Result id without its last part", "Last part of the id, and what is printed"]
    grid = Grid("Numbers of this report and the ids of their results", "tbl-ids", head)
    grid.widths = [64, 56]
    stems: dict[str, dict[str, str]] = {}
    for one in numbers.printed:
        stem, statistic = one.id.rsplit(".", 1)
        stems.setdefault(stem, {})[statistic] = one.text
    for stem, said in stems.items():
        texts = [f"{name} {text}" for name, text in said.items()]
        grid.rows.append([f"`{stem}`", escape("; ".join(texts))])
    return grid


def _without_empty(grid: Grid) -> Grid:
    """Leave out columns in which no row says anything."""
    keep = [
        i
        for i in range(len(grid.head))
        if any(len(row) == 1 or row[i] not in {"", "–"} for row in grid.rows)
    ]
    right = frozenset(keep.index(i) for i in grid.right if i in keep)
    rows: list[Any] = [[r[i] for i in keep] if len(r) > 1 else r for r in grid.rows]
    return Grid(grid.caption, grid.label, [grid.head[i] for i in keep], rows, right)


def flow_counts(flow: Flow, numbers: Numbers, *, caption: str, label: str) -> Grid:
    """Return the counts of the flow diagram, reasons indented, with their ids."""
    arms = list(flow.arms)
    head = ["", "All", *(escape(a) for a in arms)]
    grid = Grid(caption, label, head, right=frozenset(range(1, len(head))))
    grid.widths = [44, 16, *[max(16, 60 // max(len(arms), 1))] * len(arms)]
    sides = [flow.whole, *flow.arms.values()]
    for name in dict.fromkeys(key for side in sides for key in side):
        counts = [side.get(name) for side in sides]
        grid.rows.append([readable(name), *(numbers.show(c.id) if c else "–" for c in counts)])
        for reason in dict.fromkeys(r.label for c in counts if c for r in c.reasons):
            cells = []
            for count in counts:
                hit = next((r for r in count.reasons if r.label == reason), None) if count else None
                cells.append(numbers.show(hit.id) if hit else "–")
            grid.rows.append([f"\u2003{escape(reason)}", *cells])
    return grid


def rows_of(results: Results, table: str) -> pd.DataFrame:
    """Return the result rows of a descriptive table."""
    return results.table[results.table["analysis"] == table]
