"""How results are stored: one text file with a hash.

``results.json`` holds the rows in the order of the plan, one a line, floats in Python's shortest
round-trip form, so that the same input gives the same bytes. Its SHA-256 is the hash of the
results. The columns are those of :mod:`data_schemas.results`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from trialkit._canonical import canonical_json, sha256_bytes, write_durably
from trialkit.errors import DataFindings, Finding, IntegrityError, UnknownName, UsageError
from trialkit.results.rows import COLUMNS, SERIES_COLUMNS, results_table, series_table

SCHEMA = "trialkit.results/1"
FILE = "results.json"
MANIFEST = "manifest.json"


def _lines(table: pd.DataFrame) -> str:
    """Return a frame's rows as canonical JSON, one row a line; NaN is null."""
    columns = [[None if v != v else v for v in table[name]] for name in table.columns]
    return ",\n".join(canonical_json(row) for row in zip(*columns, strict=True))


def to_bytes(table: pd.DataFrame, series: pd.DataFrame, meta: dict[str, Any]) -> bytes:
    """Return the text of ``results.json``."""
    parts = (
        ("schema", canonical_json(SCHEMA)),
        ("meta", canonical_json(meta)),
        ("columns", canonical_json(list(COLUMNS))),
        ("table", f"[\n{_lines(table)}\n]"),
        ("series_columns", canonical_json(list(SERIES_COLUMNS))),
        ("series", f"[\n{_lines(series)}\n]"),
    )
    return ("{" + ",\n".join(f'"{name}":{text}' for name, text in parts) + "}\n").encode()


def from_bytes(data: bytes) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return table, series and meta of what `to_bytes` wrote."""
    stored = json.loads(data)
    if stored.get("schema") != SCHEMA:
        raise UsageError(
            f"results of schema {stored.get('schema')!r} cannot be read.",
            remedy=f"This version reads {SCHEMA}.",
        )
    rows = [dict(zip(stored["columns"], row, strict=True)) for row in stored["table"]]
    points = [dict(zip(stored["series_columns"], p, strict=True)) for p in stored["series"]]
    table, meta = results_table(rows), stored["meta"]
    for part in ("analyses", "tables"):  # JSON keeps keys sorted; the rows keep the plan's order
        if part in meta:
            meta[part] = {k: meta[part][k] for k in table["analysis"].unique() if k in meta[part]}
    return table, series_table(points), meta


def write(folder: Path, data: bytes, *, rows: int) -> Path:
    """Write the file and its manifest durably; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = sha256_bytes(data)
    files = {FILE: {"sha256": digest, "rows": rows}}
    manifest = {"schema": SCHEMA, "files": files, "hash": digest}
    write_durably(folder / FILE, data)
    write_durably(folder / MANIFEST, (canonical_json(manifest) + "\n").encode())
    return folder


def read(folder: Path, expected: str | None = None) -> bytes:
    """Return the bytes of ``results.json`` after checking their hash."""
    try:
        data = (folder / FILE).read_bytes()
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        stated = manifest["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownName(
            f"{folder} holds no readable results: {error}.", remedy="Run `trialkit analyse`."
        ) from error
    found = sha256_bytes(data)
    for wanted in (stated, expected):
        if wanted is not None and wanted != found:
            raise IntegrityError(
                f"{folder / FILE} was altered: its SHA-256 is {found}, expected {wanted}.",
                remedy="Restore the file, or run the analysis again from the snapshot.",
            )
    return data


def validate(table: pd.DataFrame, series: pd.DataFrame) -> None:
    """Check both tables against their schemas; DataFindings lists every fault."""
    import pandera.errors

    from data_schemas.results import ResultsTable, SeriesTable

    findings = []
    for schema, frame in ((ResultsTable, table), (SeriesTable, series)):
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
