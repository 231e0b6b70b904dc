"""Missing values imputed under a stated assumption, an ANCOVA of what is complete, and deltas."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from trialkit.analysis.block import Block, contrast_rows, estimate_rows, fail
from trialkit.analysis.prepare import Prepared
from trialkit.analysis.rows import SUBJECT, VISIT
from trialkit.methods import ancova, impute
from trialkit.methods._marginal import STATISTICS

#: Options of the pooling; the others are those of the imputation.
_POOLING = ("inference", "resamples")
_RENAMED = {"imputing": "method"}


def run_imputation(block: Block, prepared: Prepared, *, full: bool) -> None:
    """Impute, analyse the registered visit by ANCOVA, and repeat it under each delta."""
    analysis, variable = prepared.analysis, prepared.variable
    options = dict(prepared.options)
    deltas = options.pop("tipping", None)
    pooling = {name: options.pop(name) for name in _POOLING if name in options}
    frame = prepared.frame[prepared.frame[SUBJECT].isin(prepared.analysed)]
    found = impute(
        frame.reset_index(drop=True),
        outcome=analysis.formula.partition("~")[0].strip(),
        subject=SUBJECT,
        visit=VISIT,
        group=variable,
        covariates=prepared.terms,
        reference=prepared.reference,
        **{_RENAMED.get(name, name): value for name, value in options.items()},
    )
    formula, visit = analysis.formula, analysis.visit
    fit = found.pool(ancova, formula, at=visit, level=prepared.level, **pooling)
    block.variant, block.notes = _variant(fit.variant, prepared.options), list(fit.notes)
    for row in fit.n_imputed.to_dict("records"):
        place = {"group": str(row[variable]), "visit": str(row[VISIT])}
        for name, statistic in (("imputed", "count"), ("n", "n")):
            block.rows.add("imputed", statistic, float(row[name]), unit="", **place)
    if fit.failed is not None:
        fail(block, fit.failed)
        return
    contrast_rows(block, prepared, fit.table, block.quantity, visit)
    estimate_rows(block, fit.lsmeans, "lsmean", variable, unit=analysis.unit, visit=visit)
    _precision(block, prepared, fit.precision)
    if full and deltas:
        tip = found.tipping(
            ancova, formula, at=visit, deltas=deltas, alpha=1.0 - prepared.level,
            keep=prepared.treatment, **pooling,
        )  # fmt: skip
        _tipping(block, prepared, tip)


def _variant(words: str, options: dict[str, Any]) -> str:
    """Name imputation and analysis, and what the plan adds to imputed values."""
    added = [f"{arm} {amount:+g}" for arm, amount in options.get("delta", {}).items()]
    parts = [words, "ANCOVA of the completed values"]
    return "; ".join([*parts, f"imputed values moved by {', '.join(added)}"] if added else parts)


def _precision(block: Block, prepared: Prepared, table: pd.DataFrame) -> None:
    """Write the fraction of missing information, and the error of the random numbers."""
    names = {"fmi": "fraction_missing_information", "mc_se": "monte_carlo_error"}
    for row in table.to_dict("records"):
        place = {"group": str(row[prepared.variable]), "reference": str(row["reference"])}
        for name, quantity in names.items():
            if name in row and math.isfinite(row[name]):
                block.rows.add(
                    quantity, "estimate", row[name], unit="", visit=prepared.analysis.visit,
                    **place,
                )  # fmt: skip


def _tipping(block: Block, prepared: Prepared, tip: Any) -> None:
    """Write the result under each delta, and where it is lost."""
    unit, visit = prepared.analysis.unit or "", prepared.analysis.visit
    block.notes += [note for note in tip.notes if note not in block.notes]
    if tip.failed is not None:
        block.notes.append(f"no tipping point: {tip.failed}")
        return
    arms = [str(arm) for arm in tip.arms]
    for number, row in enumerate(tip.table.to_dict("records"), start=1):
        quantity = f"tipping-{number}"
        for arm in arms:
            block.rows.add(quantity, "delta", row[f"delta_{arm}"], group=arm, unit=unit)
        place = {"group": str(row[prepared.variable]), "reference": str(row["reference"])}
        for name in STATISTICS:
            if math.isfinite(row[name]):
                shown = unit if name in {"estimate", "se", "lower", "upper"} else ""
                block.rows.add(quantity, name, row[name], unit=shown, visit=visit, **place)
    if len(arms) == 1:
        none = f"p does not cross {tip.alpha:g} in the range of deltas"
        text = None if tip.delta is not None else none
        block.rows.add("tipping_delta", "delta", tip.delta, group=arms[0], unit=unit, text=text)
        return
    for number, row in enumerate(tip.boundary.to_dict("records"), start=1):
        for arm in arms:
            name = f"tipping_boundary-{number}"
            block.rows.add(name, "delta", row[f"delta_{arm}"], group=arm, unit=unit)
