"""The rows, curve points and registered p-value of one analysis while it is being made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from trialkit.analysis.prepare import Prepared
from trialkit.plan.model import Analysis, Plan, Population
from trialkit.results import RATIOS, ResultRows, result_id

REGISTERED = {
    "mmrm": "difference",
    "ancova": "difference",
    "imputation": "difference",
    "binary": "risk_difference",
    "ordinal": "odds_ratio",
    "win_odds": "win_odds",
    "negative_binomial": "rate_ratio",
    "poisson": "rate_ratio",
    "recurrent": "rate_ratio",
    "cox": "hazard_ratio",
    "kaplan_meier": "logrank",
    "rmst": "rmst_difference",
}
MEASURES = {"difference": "risk_difference", "ratio": "risk_ratio", "odds_ratio": "odds_ratio"}
#: Units of what a method estimates, where the plan names none.
UNITS = {"rmst": "days"}
_STATISTICS = ("estimate", "se", "df", "statistic", "p", "lower", "upper")
NOT_COMPARED = "these data do not give the registered comparison"
INESTIMABLE = "not estimable from these data"
_WHOLE = ("estimate", "se", "p", "lower", "upper")
SE_OF_LOG = "standard error of the log"


@dataclass
class Block:
    """One analysis' part of the results; `notes` are what a reader must know of the fit."""

    rows: ResultRows
    registered: str
    analysed: set[str] = field(default_factory=set)
    points: list[dict[str, Any]] = field(default_factory=list)
    p: float | None = None
    estimate: float = math.nan
    reason: str | None = None
    place: dict[str, str | None] = field(default_factory=dict)
    quantity: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def variant(self) -> str | None:
        """What was computed, in words."""
        return self.rows.fixed["variant"]

    @variant.setter
    def variant(self, words: str) -> None:
        self.rows.fixed["variant"] = words


def quantity_of(analysis: Analysis) -> str:
    """Return what the registered comparison of an analysis is."""
    options = analysis.options
    if analysis.method == "binary":
        return MEASURES.get(str(options.get("measure", "difference")), "risk_difference")
    if analysis.method == "recurrent" and options.get("model", "lwyy") != "lwyy":
        return "hazard_ratio"  # of intensities or of hazards, not of mean rates
    return REGISTERED[analysis.method]


def start(plan: Plan, analysis: Analysis, population: Population) -> Block:
    """Begin the block of an analysis: its fixed columns and the place of its comparison."""
    quantity = quantity_of(analysis)
    place: dict[str, str | None] = {}
    if quantity != "logrank":
        place = {"group": plan.treatment.treatment, "reference": plan.treatment.reference}
        place["visit"] = analysis.visit
    rows = ResultRows(
        analysis.id,
        analysis.label,
        analysis.role,
        estimand=analysis.estimand,
        dataset=analysis.dataset,
        population=population.code,
        method=analysis.method,
        variant=None,
        unit=None if quantity in RATIOS else analysis.unit or UNITS.get(analysis.method),
    )
    block = Block(rows, "", place=place, quantity=quantity)
    block.registered = result_id(analysis.id, quantity, "", **place).rstrip(".")
    return block


def fail(block: Block, reason: str) -> None:
    """Write the registered comparison as failed; it never becomes a number."""
    test = block.quantity == "logrank"
    names: tuple[str, ...] = (
        ("statistic", "p") if test else ("estimate", "se", "p", "lower", "upper")
    )
    for statistic in names:
        block.rows.add(block.quantity, statistic, None, reason=reason, **block.place)
    block.reason, block.p, block.estimate = reason, None, math.nan


def counts(block: Block, prepared: Prepared) -> None:
    """Write rows used, participants used and participants without a value, in all and by arm."""
    analysed = prepared.analysed
    block.analysed = analysed
    rows, people = block.rows, prepared.people
    inside = people.index.isin(list(analysed))
    rows.add("n", "n", float(prepared.used.sum()), unit="")
    rows.add("n", "n_subjects", float(inside.sum()), unit="")
    rows.add("n", "n_missing", float((~inside).sum()), unit="")
    for arm in prepared.arms:
        own = (people == arm).to_numpy()
        rows.add("n", "n_subjects", float((inside & own).sum()), group=arm, unit="")
        rows.add("n", "n_missing", float((~inside & own).sum()), group=arm, unit="")


def contrast_rows(
    block: Block, prepared: Prepared, table: pd.DataFrame, quantity: str, visit: str | None = None
) -> None:
    """Write comparisons: one prefix a row of the table; the registered one is remembered."""
    ratio = quantity in RATIOS
    null = prepared.analysis.null if quantity == block.quantity else 1.0 if ratio else 0.0
    shown = shifted(table, null, ratio)
    for row in shown.to_dict("records"):
        at = str(row["AVISIT"]) if "AVISIT" in row else visit
        place = {
            "group": str(row[prepared.variable]),
            "reference": str(row["reference"]),
            "visit": at,
        }
        whole = all(math.isfinite(row[name]) for name in _WHOLE)
        reason = None if whole else INESTIMABLE
        for name in _STATISTICS:
            if name == "df" and (math.isinf(row["df"]) or not whole):
                continue  # infinite: the normal distribution
            if name == "statistic" and whole and math.isnan(row["statistic"]):
                continue  # percentile intervals have none
            in_units = quantity in _DIFFERENCES and name in _WITH_UNIT
            unit = (block.rows.fixed["unit"] if in_units else None) or ""
            note = SE_OF_LOG if whole and name == "se" and ratio else None
            block.rows.add(quantity, name, row[name], unit=unit, text=note, reason=reason, **place)
        block.rows.add(quantity, "level", prepared.level, unit="", **place)
        if quantity == block.quantity and place == block.place:
            block.p = float(row["p"]) if whole else None
            block.estimate = float(row["estimate"]) if whole else math.nan
            block.reason = reason


_DIFFERENCES = frozenset({"difference", "rmst_difference"})
_WITH_UNIT = frozenset({"estimate", "se", "lower", "upper", "mean", "sd"})


def shifted(table: pd.DataFrame, null: float, ratio: bool) -> pd.DataFrame:
    """Return the table with statistic and p against another null hypothesis.

    `null` is on the scale of the estimate; the usual one (1 for a ratio, else 0) changes nothing.
    """
    if null == (1.0 if ratio else 0.0) or table.empty:
        return table
    out = table.copy()
    gap = np.log(out["estimate"]) - math.log(null) if ratio else out["estimate"] - null
    statistic = gap / out["se"]
    df = out["df"].to_numpy(dtype=np.float64)
    tail = np.where(
        np.isfinite(df),
        stats.t.sf(np.abs(statistic), np.where(np.isfinite(df), df, 1.0)),
        stats.norm.sf(np.abs(statistic)),
    )
    out["statistic"], out["p"] = statistic, 2.0 * tail
    return out


def finish(block: Block) -> None:
    """Write the notes, and the variant into every row; a comparison without rows has failed."""
    if block.p is None and block.reason is None:
        fail(block, NOT_COMPARED)
    for number, text in enumerate(dict.fromkeys(block.notes), start=1):
        block.rows.add(f"note-{number}", "note", None, unit="", text=text)
    for row in block.rows.rows:
        row["variant"] = block.variant


def estimate_rows(
    block: Block,
    table: pd.DataFrame,
    quantity: str,
    variable: str,
    *,
    unit: str | None,
    visit: str | None = None,
    log: bool = False,
) -> None:
    """Write estimates of groups with intervals (means, rates, risks)."""
    for row in table.to_dict("records"):
        at = str(row["AVISIT"]) if "AVISIT" in row else visit
        for name in ("estimate", "se", "df", "lower", "upper"):
            if name not in row or (name == "df" and math.isinf(row["df"])):
                continue
            note = SE_OF_LOG if log and name == "se" and math.isfinite(row[name]) else None
            shown = None if (log and name == "se") or name == "df" else unit
            block.rows.add(
                quantity,
                name,
                row[name],
                group=str(row[variable]),
                visit=at,
                unit=shown or "",
                text=note,
            )
