"""Categories: yes/no outcomes, ordered categories, and comparisons by wins."""

from __future__ import annotations

import math
from typing import Any

from trialkit.analysis.block import Block, contrast_rows, estimate_rows, fail
from trialkit.analysis.prepare import Prepared
from trialkit.methods import binary, ordinal, win_odds
from trialkit.results import slug


def run_binary(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the logistic model; compare standardised risks by the registered measure."""
    analysis, variable = prepared.analysis, prepared.variable
    measure = prepared.options.get("measure", "difference")
    variance = prepared.options.get("variance", "ye")
    fitted = {k: v for k, v in prepared.options.items() if k in {"estimator", "separation"}}
    fit = binary(analysis.formula, prepared.frame, **fitted)
    block.variant = f"{fit.variant}; standardised risks, {variance} variance"
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.standardised(
            variable,
            reference=prepared.reference,
            measure=measure,
            variance=variance,
            level=prepared.level,
        )
        contrast_rows(block, prepared, table, block.quantity, analysis.visit)
        risks = fit.risks(variable, variance=variance, level=prepared.level)
        estimate_rows(block, risks, "risk", variable, unit="", visit=analysis.visit)
        if full:
            odds = fit.odds_ratio(variable, reference=prepared.reference, level=prepared.level)
            contrast_rows(block, prepared, odds, "conditional_odds_ratio", analysis.visit)
    block.notes = list(fit.notes)
    if full:
        rows = prepared.frame[prepared.used]
        outcome = fit.design.response or ""
        for arm in prepared.arms:
            own = rows[rows[variable] == arm]
            if outcome not in own.columns or not len(own):
                continue
            place = {"group": arm, "visit": analysis.visit}
            yes = float(own[outcome].sum())
            block.rows.add("responders", "count", yes, unit="", **place)
            block.rows.add("responders", "percent", 100.0 * yes / len(own), unit="%", **place)
            block.rows.add("responders", "n", float(len(own)), unit="", **place)


def run_ordinal(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Fit the proportional-odds model; odds are those of a higher category."""
    analysis, variable = prepared.analysis, prepared.variable
    fit = ordinal(analysis.formula, prepared.frame)
    block.variant = fit.variant
    if fit.failed is not None:
        fail(block, fit.failed)
    else:
        table = fit.odds_ratio(variable, reference=prepared.reference, level=prepared.level)
        contrast_rows(block, prepared, table, block.quantity, analysis.visit)
        if full:
            _categories(block, prepared, fit)
            _proportionality(block, fit)
    block.notes = list(fit.notes)


def _categories(block: Block, prepared: Prepared, fit: Any) -> None:
    """Write the standardised probability of each category, and how many are in it."""
    variable, visit = prepared.variable, prepared.analysis.visit
    table = fit.probabilities(variable, level=prepared.level)
    for category, part in table.groupby("category", sort=False):
        name = f"category-{_plain(category)}"
        estimate_rows(block, part, name, variable, unit="", visit=visit)
        rows = prepared.frame[prepared.used]
        for arm in prepared.arms:
            own = rows[rows[variable] == arm][fit.response]
            place = {"group": arm, "visit": visit}
            block.rows.add(name, "count", float((own == category).sum()), unit="", **place)


def _plain(category: Any) -> str:
    """Return a category as a part of an id: 3.0 is 3, -1.5 is minus-1-5."""
    text = f"{category:g}" if isinstance(category, float) else str(category)
    return slug(text.replace("-", "minus-") if text.startswith("-") else text)


def _proportionality(block: Block, fit: Any) -> None:
    """Write the tests that the odds ratio is the same at every threshold."""
    table = fit.proportional_odds_test()
    for row in table[table["term"] == "all"].to_dict("records"):
        if math.isfinite(row["p"]):
            for name in ("statistic", "df", "p"):
                test = f"proportional_odds_{row['test']}"
                block.rows.add(test, name, float(row[name]), unit="")


def run_win_odds(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Compare every participant of an arm with every one of the reference."""
    analysis, variable = prepared.analysis, prepared.variable
    fit = win_odds(
        prepared.frame,
        value=analysis.formula.partition("~")[0].strip(),
        group=variable,
        reference=prepared.reference,
        level=prepared.level,
        **prepared.options,
    )
    block.variant, block.notes = fit.variant, list(fit.notes)
    if fit.failed is not None:
        fail(block, fit.failed)
    for measure, part in fit.table.groupby("measure", sort=False):
        if full or measure == block.quantity:
            contrast_rows(block, prepared, part, str(measure), analysis.visit)
    if not full:
        return
    for row in fit.counts.to_dict("records"):
        place = {"group": str(row[variable]), "reference": str(row["reference"])}
        for name in ("pairs", "wins", "losses", "ties"):
            number = float(row[name])
            block.rows.add(name, "count", number, unit="", visit=analysis.visit, **place)
    for row in fit.tests.to_dict("records"):
        place = {"group": str(row[variable]), "reference": str(row["reference"])}
        for name in ("statistic", "p"):
            block.rows.add(
                "rank_test", name, row[name], unit="", visit=analysis.visit, text=row["test"],
                **place,
            )  # fmt: skip
