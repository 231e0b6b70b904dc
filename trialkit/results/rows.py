"""Rows of the results: ids, columns, how a number is shown, and how rows become tables."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from trialkit.errors import UsageError

COLUMNS: tuple[str, ...] = (
    "id",
    "analysis",
    "label",
    "role",
    "estimand",
    "dataset",
    "population",
    "method",
    "variant",
    "quantity",
    "group",
    "reference",
    "visit",
    "statistic",
    "value",
    "text",
    "unit",
    "state",
    "reason",
)
SERIES_COLUMNS: tuple[str, ...] = (
    "analysis",
    "series",
    "group",
    "label",
    "x",
    "y",
    "lower",
    "upper",
    "n",
)
RATIOS = frozenset(
    {
        *("rate_ratio", "hazard_ratio", "odds_ratio", "risk_ratio", "conditional_odds_ratio"),
        *("win_odds", "win_ratio"),
    }
)
CONTRASTS: tuple[str, ...] = (
    "difference",
    "rmst_difference",
    "rate_ratio",
    "hazard_ratio",
    "odds_ratio",
    "conditional_odds_ratio",
    "risk_difference",
    "risk_ratio",
    "win_odds",
    "win_ratio",
    "net_benefit",
    "win_probability",
    "logrank",
)


def slug(text: str) -> str:
    """Return `text` in lower case with a hyphen for every run of other characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "none"


def result_id(
    analysis: str,
    quantity: str,
    statistic: str,
    *,
    group: str | None = None,
    reference: str | None = None,
    visit: str | None = None,
) -> str:
    """Return an id such as ``speed.difference.robotic.vs-conventional.W12.estimate``."""
    parts = [analysis, quantity]
    if group is not None:
        parts.append(slug(group))
    if reference is not None:
        parts.append(f"vs-{slug(reference)}")
    if visit is not None:
        parts.append(re.sub(r"[^A-Za-z0-9_-]+", "-", visit))
    return ".".join([*parts, statistic])


def format_value(statistic: str, value: float, digits: int | None = None) -> str:
    """Return a number as readers expect it.

    Parameters
    ----------
    statistic : str
        Name from the results table; p-values and counts have a form of their own.
    value : float
    digits : int or None
        Decimals; default three significant digits.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if statistic in {"p", "p_adjusted"}:
        return "<0.001" if value < 0.001 else f"{value:.3f}"
    if statistic in {"n", "n_subjects", "n_missing", "count"}:
        return f"{value:.0f}"
    if statistic == "rejected":
        return "yes" if value else "no"
    if digits is not None:
        return f"{value:.{digits}f}"
    if statistic in {"percent", "df"}:
        return f"{value:.1f}"
    if value == 0:
        return "0"
    whole = math.floor(math.log10(abs(value)))
    return f"{value:.{min(6, max(0, 2 - whole))}f}"


class ResultRows:
    """Collects the rows of one analysis; all keep its label, estimand, method and so on.

    Parameters
    ----------
    analysis, label, role : str
    **fixed : str or None
        Any of estimand, dataset, population, method, variant, unit.
    """

    def __init__(self, analysis: str, label: str, role: str, **fixed: str | None) -> None:
        self.fixed: dict[str, str | None] = {
            "analysis": analysis,
            "label": label,
            "role": role,
            **fixed,
        }
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        quantity: str,
        statistic: str,
        value: float | None,
        *,
        group: str | None = None,
        reference: str | None = None,
        visit: str | None = None,
        unit: str | None = None,
        text: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Add a statistic. Not finite and without a text of its own, it is a failed row.

        `unit` None takes that of the analysis; empty text is no unit.
        """
        number = None if value is None else float(value)
        if number is not None and not math.isfinite(number):
            number = None
        failed = reason is not None or (number is None and text is None)
        row = {
            **self.fixed,
            "id": result_id(
                str(self.fixed["analysis"]),
                quantity,
                statistic,
                group=group,
                reference=reference,
                visit=visit,
            ),
            "quantity": quantity,
            "statistic": statistic,
            "group": group,
            "reference": reference,
            "visit": visit,
            "value": None if failed else number,
            "text": text,
            "state": "failed" if failed else "ok",
            "reason": (reason or "not estimable from these data") if failed else None,
        }
        if unit is not None:
            row["unit"] = unit or None
        self.rows.append(row)


def results_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as the results table: text or None, and ``value`` as float64 with NaN.

    Raises
    ------
    UsageError
        If two rows have one id (two group labels that differ only in punctuation or case).
    """
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in COLUMNS}
    columns["value"] = np.array(
        [np.nan if v is None else v for v in columns["value"]], dtype=np.float64
    )
    table = pd.DataFrame(
        {n: v if n == "value" else pd.Series(v, dtype=object) for n, v in columns.items()}
    )
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise UsageError(
            f"two results would have the id {twice.iloc[0]!r}.",
            remedy="Give the arms and analyses names that differ in letters or digits.",
        )
    return table


def series_table(points: list[dict[str, Any]]) -> pd.DataFrame:
    """Return curve points as the series table: numbers as float64, text or None elsewhere."""
    numbers = {"x", "y", "lower", "upper", "n"}
    return pd.DataFrame(
        {
            name: pd.Series(
                [p.get(name) for p in points], dtype=np.float64 if name in numbers else object
            )
            for name in SERIES_COLUMNS
        }
    )
