"""The results of a plan on a snapshot: access by id, views, storage with a hash.

They are stored as one text file, ``results.json``: rows in the order of the plan, floats in
Python's shortest round-trip form, so that the same input gives the same bytes. Its SHA-256 is
the hash of the results. The columns are those of :mod:`data_schemas.results`.
"""

from __future__ import annotations

import difflib
import html
import json
from pathlib import Path
from typing import Any

import pandas as pd

from trialkit._canonical import canonical_json, sha256_bytes, write_durably
from trialkit.errors import DataFindings, Finding, IntegrityError, UnknownName, UsageError
from trialkit.results.one import AnalysisResult
from trialkit.results.rows import COLUMNS, SERIES_COLUMNS, results_table, series_table

SCHEMA = "trialkit.results/1"
FILE = "results.json"
MANIFEST = "manifest.json"


def _lines(table: pd.DataFrame) -> str:
    """Return a frame's rows as canonical JSON, one row a line; NaN is null."""
    columns = [[None if v != v else v for v in table[name]] for name in table.columns]
    return ",\n".join(canonical_json(row) for row in zip(*columns, strict=True))


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
        return AnalysisResult(analysis, self.table, self.series, self.meta)

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
        return (
            '{"schema":' + canonical_json(SCHEMA) + ',\n"meta":' + canonical_json(self.meta) + ",\n"
            '"columns":'
            + canonical_json(list(COLUMNS))
            + ',\n"table":[\n'
            + _lines(self.table)
            + '\n],\n"series_columns":'
            + canonical_json(list(SERIES_COLUMNS))
            + ',\n"series":[\n'
            + _lines(self.series)
            + "\n]}\n"
        ).encode()

    @property
    def hash(self) -> str:
        """SHA-256 of `to_bytes`."""
        return sha256_bytes(self.to_bytes())

    def save(self, folder: Path | str) -> Path:
        """Write ``results.json`` and its manifest to `folder` (made if needed); return it.

        Raises
        ------
        DataFindings
            If the tables do not meet :mod:`data_schemas.results`.
        """
        validate(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = self.to_bytes()
        manifest = {
            "schema": SCHEMA,
            "files": {FILE: {"sha256": sha256_bytes(data), "rows": len(self.table)}},
            "hash": sha256_bytes(data),
        }
        write_durably(folder / FILE, data)
        write_durably(folder / MANIFEST, (canonical_json(manifest) + "\n").encode())
        return folder

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
        folder = Path(folder)
        try:
            data = (folder / FILE).read_bytes()
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UnknownName(
                f"{folder} holds no readable results: {error}.", remedy="Run `trialkit analyse`."
            ) from error
        found = sha256_bytes(data)
        for wanted in (manifest.get("hash"), expected):
            if wanted is not None and wanted != found:
                raise IntegrityError(
                    f"{folder / FILE} was altered: its SHA-256 is {found}, expected {wanted}.",
                    remedy="Restore the file, or run the analysis again from the snapshot.",
                )
        return cls.from_bytes(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Results:
        """Read what `to_bytes` wrote."""
        stored = json.loads(data)
        if stored.get("schema") != SCHEMA:
            raise UsageError(
                f"results of schema {stored.get('schema')!r} cannot be read.",
                remedy=f"This version reads {SCHEMA}.",
            )
        rows = [dict(zip(stored["columns"], row, strict=True)) for row in stored["table"]]
        points = [dict(zip(stored["series_columns"], p, strict=True)) for p in stored["series"]]
        return cls(results_table(rows), series_table(points), stored["meta"])


def validate(results: Results) -> None:
    """Check both tables against their schemas; DataFindings lists every fault."""
    import pandera.errors

    from data_schemas.results import ResultsTable, SeriesTable

    findings = []
    for schema, frame in ((ResultsTable, results.table), (SeriesTable, results.series)):
        try:
            schema.validate(frame, lazy=True)
        except pandera.errors.SchemaErrors as error:
            findings += [
                Finding(
                    f"{schema.name}.{case.column}[{case.index}]",
                    f"{case.check}: {case.failure_case}.",
                    "Report this defect.",
                )
                for case in error.failure_cases.itertuples()
            ]
    if findings:
        raise DataFindings("the results do not meet their schema.", findings)
