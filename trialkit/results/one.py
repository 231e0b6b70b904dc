"""One analysis, or one descriptive table, of the results."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from trialkit.errors import UsageError
from trialkit.results.rows import RATIOS, format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class AnalysisResult:
    """One analysis (or descriptive table) of a `Results`."""

    def __init__(
        self, analysis: str, table: pd.DataFrame, series: pd.DataFrame, meta: dict[str, Any]
    ) -> None:
        self.id = analysis
        self.table: pd.DataFrame = table[table["analysis"] == analysis].reset_index(drop=True)
        self.series: pd.DataFrame = series[series["analysis"] == analysis].reset_index(drop=True)
        self.meta: dict[str, Any] = meta.get("analyses", {}).get(analysis, {})

    @property
    def label(self) -> str:
        """The label that the plan gives."""
        return str(self.table["label"].iloc[0])

    @property
    def failed(self) -> str | None:
        """Why the registered comparison failed, or None."""
        rows = self.registered
        bad = rows[rows["state"] == "failed"]
        return str(bad["reason"].iloc[0]) if len(bad) else None

    @property
    def registered(self) -> pd.DataFrame:
        """Rows of the registered comparison; empty for a descriptive table."""
        prefix = self.meta.get("registered")
        if prefix is None:
            return self.table.iloc[:0]
        return self.table[self.table["id"].str.startswith(f"{prefix}.")]

    def statistics(self) -> dict[str, float]:
        """Return the registered comparison as statistic -> number (NaN where failed)."""
        rows = self.registered
        return dict(zip(rows["statistic"], rows["value"], strict=True))

    def comparison(self) -> dict[str, Any]:
        """Return the registered comparison as one row of `Results.forest`."""
        found = self.statistics()
        rows = self.registered
        first = rows.iloc[0] if len(rows) else self.table.iloc[0]
        measure = str(first["quantity"])
        ratio = measure in RATIOS
        null = float(self.meta.get("null", 0.0))
        return {
            "analysis": self.id,
            "label": self.label,
            "role": first["role"],
            "measure": measure,
            "group": first["group"],
            "reference": first["reference"],
            "visit": first["visit"],
            "unit": None if ratio else first["unit"],
            "scale": "ratio" if ratio else "difference",
            "null": math.exp(null) if ratio else null,
            "better": self.meta.get("better"),
            **{k: found.get(k, math.nan) for k in ("estimate", "lower", "upper", "p")},
            "n": self._number("n_subjects"),
            "state": "failed" if self.failed else "ok",
            "reason": self.failed,
        }

    def _number(self, statistic: str) -> float:
        rows = self.table
        hit = rows[
            (rows["quantity"] == "n") & (rows["statistic"] == statistic) & rows["group"].isna()
        ]
        return float(hit["value"].iloc[0]) if len(hit) else math.nan

    def line(self) -> str:
        """Return the registered comparison on one line."""
        row = self.comparison()
        mark = f" ({row['role']})" if row["role"] else ""
        if row["state"] == "failed":
            return f"{self.label}{mark}: failed: {row['reason']}"
        found = self.statistics()
        unit = f" {row['unit']}" if row["unit"] else ""
        text = f"{self.label}{mark}: {row['measure'].replace('_', ' ')}"
        if not math.isnan(row["estimate"]):
            text += f" {format_value('estimate', row['estimate'])}{unit}"
            level = found.get("level", math.nan)
            interval = f"{100 * level:.3g} % CI " if not math.isnan(level) else ""
            low, high = (format_value("estimate", row[k]) for k in ("lower", "upper"))
            text += f" ({interval}{low} to {high})"
        text += f", p {format_value('p', row['p'])}"
        if not math.isnan(adjusted := found.get("p_adjusted", math.nan)):
            text += f", adjusted p {format_value('p', adjusted)}"
        if not math.isnan(rejected := found.get("rejected", math.nan)):
            text += ", null hypothesis " + ("rejected" if rejected else "not rejected")
        return text

    def summary(self) -> str:
        """Return estimand, population, method, counts and the registered comparison as text."""
        first = self.table.iloc[0]
        if not self.meta:
            return f"{self.label}: {len(self.table)} statistics"
        counts = ", ".join(
            f"{k.replace('_', ' ')} {format_value(k, self._number(k))}"
            for k in ("n", "n_subjects", "n_missing")
        )
        return "\n".join(
            [
                self.line(),
                f"  estimand {first['estimand']}, population {first['population']}",
                f"  {first['method']}: {first['variant']}",
                f"  {counts}",
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the analysis: profile of means, survival curves, or the comparison alone."""
        from trialkit import _figures

        kinds = set(self.series["series"])
        unit = self.meta.get("unit")
        if "survival" in kinds:
            return _figures.survival(self.series, ax=ax, title=self.label)
        if "profile" in kinds:
            return _figures.profile(
                self.series, ax=ax, title=self.label, unit=unit, better=self.meta.get("better")
            )
        if not self.meta:
            raise UsageError(
                f"{self.id} is a descriptive table and has no figure.", remedy="Use `.table`."
            )
        return _figures.forest(pd.DataFrame([self.comparison()]), ax=ax)

    def _repr_html_(self) -> str:
        shown = self.table[["id", "value", "text", "unit", "state"]]
        return f"<pre>{html.escape(self.summary())}</pre>" + str(shown.to_html(index=False))
