"""The results of a plan on a snapshot: access by id, and views.

``res.table``, ``res["speed"].plot()``, ``res.summary()``; storage is in `trialkit.results.store`.
"""

from __future__ import annotations

import difflib
import html
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trialkit._canonical import sha256_bytes
from trialkit.errors import UnknownName, UsageError
from trialkit.results import store
from trialkit.results.rows import RATIOS, format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Results:
    """What a plan gave on a snapshot.

    Parameters
    ----------
    table : DataFrame
        One row a statistic, columns `COLUMNS`.
    series : DataFrame
        Points of curves, columns `SERIES_COLUMNS`.
    meta : dict
        Plan, lock, snapshot, methods, schemas, software, and per analysis what the plan says
        (``meta["analyses"][id]``: label, role, better, null, unit, registered ...).
    """

    def __init__(self, table: pd.DataFrame, series: pd.DataFrame, meta: dict[str, Any]) -> None:
        self.table = table
        self.series = series
        self.meta = meta
        self._rows: dict[str, int] | None = None

    # --- access ------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """Ids of all results, in order."""
        return list(self.table["id"])

    @property
    def analyses(self) -> list[str]:
        """Ids of the analyses and descriptive tables, in the order of the plan."""
        return list(dict.fromkeys(self.table["analysis"]))

    def __contains__(self, identifier: object) -> bool:
        """Whether an analysis or a result of that id exists."""
        return identifier in self._index() or identifier in set(self.table["analysis"])

    def __getitem__(self, analysis: str) -> AnalysisResult:
        """Return one analysis or descriptive table."""
        if analysis not in self.analyses:
            raise self._unknown(analysis, self.analyses)
        return AnalysisResult(analysis, self)

    def get(self, identifier: str) -> pd.Series:
        """Return the row of a result.

        Raises
        ------
        UnknownName
            If there is no such id; the nearest ids are named.
        """
        where = self._index()
        if identifier not in where:
            raise self._unknown(identifier, list(where))
        return self.table.iloc[where[identifier]]

    def value(self, identifier: str) -> float:
        """Return the number of a result; NaN where it failed or is only a text."""
        return float(self.get(identifier)["value"])

    def select(self, **columns: str) -> pd.DataFrame:
        """Return the rows whose columns have the given values."""
        keep = pd.Series(True, index=self.table.index)
        for name, value in columns.items():
            keep &= self.table[name] == value
        return self.table[keep]

    def _index(self) -> dict[str, int]:
        if self._rows is None:
            self._rows = {name: i for i, name in enumerate(self.table["id"])}
        return self._rows

    @staticmethod
    def _unknown(given: str, known: list[str]) -> UnknownName:
        near = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
        return UnknownName(
            f"no result {given!r}.",
            remedy=f"Nearest: {', '.join(near)}." if near else "List the ids with `results`.",
        )

    # --- views -------------------------------------------------------------------------

    def forest(self) -> pd.DataFrame:
        """Return the registered comparison of every analysis, as `trialkit._figures.forest` reads.

        Returns
        -------
        DataFrame
            analysis, label, role, measure, group, reference, visit, unit, scale (``difference``
            or ``ratio``), null, better, estimate, lower, upper, p, n, state, reason.
        """
        return pd.DataFrame([self[a].comparison() for a in self.meta.get("analyses", {})])

    def summary(self) -> str:
        """Return one line an analysis, as text."""
        title = self.meta.get("plan", {}).get("title", "")
        lines = [title] if title else []
        lines += [self[a].line() for a in self.meta.get("analyses", {})]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        body = "".join(f"<li>{html.escape(t)}</li>" for t in self.summary().splitlines()[1:])
        head = f"<b>Results</b> {self.hash[:12]}: {len(self.table)} statistics"
        return f"<div>{head}<ul>{body}</ul></div>"

    # --- storage -----------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the text that is stored and hashed."""
        return store.to_bytes(self.table, self.series, self.meta)

    @property
    def hash(self) -> str:
        """SHA-256 of `to_bytes`."""
        return sha256_bytes(self.to_bytes())

    def validate(self) -> None:
        """Check both tables against their schemas; DataFindings lists every fault."""
        store.validate(self.table, self.series)

    def save(self, folder: Path | str) -> Path:
        """Write ``results.json`` and its manifest to `folder` (made if needed); return it.

        Raises
        ------
        DataFindings
            If the tables do not meet :mod:`data_schemas.results`.
        """
        self.validate()
        return store.write(Path(folder), self.to_bytes(), rows=len(self.table))

    @classmethod
    def load(cls, folder: Path | str, *, expected: str | None = None) -> Results:
        """Read results and check their hash.

        Parameters
        ----------
        folder : path
        expected : str or None
            Hash from the record (``analysis.run``); the manifest's own hash is checked always.

        Raises
        ------
        UnknownName
            If the folder holds no results.
        IntegrityError
            If the file does not have its hash.
        """
        return cls.from_bytes(store.read(Path(folder), expected))

    @classmethod
    def from_bytes(cls, data: bytes) -> Results:
        """Read what `to_bytes` wrote."""
        return cls(*store.from_bytes(data))


class AnalysisResult:
    """One analysis (or descriptive table) of a `Results`."""

    def __init__(self, analysis: str, results: Results) -> None:
        self.id = analysis
        self.results = results
        table, series = results.table, results.series
        self.table: pd.DataFrame = table[table["analysis"] == analysis].reset_index(drop=True)
        self.series: pd.DataFrame = series[series["analysis"] == analysis].reset_index(drop=True)
        self.meta: dict[str, Any] = results.meta.get("analyses", {}).get(analysis, {})

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

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the fit: a fallback, rows left out, aliased columns."""
        return [str(text) for text in self.table["text"][self.table["statistic"] == "note"]]

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
            "null": float(self.meta.get("null", 1.0 if ratio else 0.0)),
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
                *(f"  note: {text}" for text in self.notes),
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
