"""Queries: every failed check of every table, as rows that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from data_schemas import adam
from data_schemas import sdtm as sdtm_schemas
from data_schemas.terminology import REMEDIES
from trialkit.data.collect import collect
from trialkit.data.derive import derive
from trialkit.data.terms import Frames, basic_frames, diary_frames, study_terms
from trialkit.errors import OutOfOrder
from trialkit.study import Design, Study
from trialkit.study.guards import require_reader, sees_site

COLUMNS = ["domain", "row", "usubjid", "column", "check", "value", "remedy"]
_KEYS = ("VISIT", "AVISIT", "PARAMCD", "QNAM", "EVSEQ")


def queries(study: Study) -> pd.DataFrame:
    """Return the open queries of a study.

    Parameters
    ----------
    study : Study
        Whoever may see allocations also sees queries about sessions; a person with sites of
        their own sees those of their participants.

    Returns
    -------
    DataFrame
        One row a failed check: ``domain, row`` (its key), ``usubjid, column, check, value,
        remedy``; all text.

    Raises
    ------
    NotAuthenticated
        If the study requires a login and the person who acts has none.
    OutOfOrder
        If this is the study of a home device, which holds no tables of its own.
    """
    require_reader(study, "queries")
    _require_whole(study)
    sdtm = collect(study, mask=not study.may("see_allocation"))
    found = check_frames(sdtm, derive(sdtm, study.design, study.protocols), study.design)
    mine = found["usubjid"].map(lambda usubjid: sees_site(study, usubjid)).astype(bool)
    return found[mine].reset_index(drop=True)


def query_findings(study: Study) -> list[dict[str, Any]]:
    """Return the failed checks as findings that become queries.

    Returns
    -------
    list of dict
        As `queries`, with ``restricted``: True where only a person who may see allocations finds
        it, as the masked tables do not show it.

    Raises
    ------
    OutOfOrder
        If this is the study of a home device.
    """
    _require_whole(study)
    masked = _rows(study, mask=True)
    open_ = {tuple(row.values()) for row in masked}
    rows = _rows(study, mask=False) if study.may("see_allocation") else masked
    return [{**row, "restricted": tuple(row.values()) not in open_} for row in rows]


def _require_whole(study: Study) -> None:
    if study.state.home is not None:
        raise OutOfOrder(
            f"this is the home device of {study.state.home}, which holds sessions alone.",
            remedy="Look at the data at the centre.",
        )


def _rows(study: Study, *, mask: bool) -> list[dict[str, Any]]:
    sdtm = collect(study, mask=mask)
    found = check_frames(sdtm, derive(sdtm, study.design, study.protocols), study.design)
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def check_frames(sdtm: Frames, derived: Frames, design: Design) -> pd.DataFrame:
    """Return the failed checks of SDTM-like and ADaM-like tables; empty where all hold."""
    schemas = schemas_of(sdtm, design)
    rows: list[dict[str, Any]] = []
    for name, frame in (*sdtm.items(), *derived.items()):
        if len(frame):
            rows += failures(name, schemas[name], frame)
    return pd.DataFrame(rows, columns=COLUMNS)


def schemas_of(sdtm: Frames, design: Design) -> dict[str, pa.DataFrameSchema]:
    """Return the schema of every table of a study, with the study's own terms."""
    terms = study_terms(sdtm, design)
    derived = adam.schemas(terms, diary_frames(design), basic_frames(design))
    return {**derived, **sdtm_schemas.schemas(terms)}


def failures(name: str, schema: pa.DataFrameSchema, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Validate lazily and return the failed checks, one row a row and check."""
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return []
    wide = {check.name: check.title for check in schema.checks}
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for case in cases.to_dict("records"):
        check = _check_name(str(case["check"]))
        index = case["index"]
        at = None if index is None or pd.isna(index) else int(index)
        column = wide.get(check) or _column(case)
        key = (at, column, check)
        if key in found:
            continue
        row = None if at is None else frame.iloc[at]
        found[key] = {
            "domain": name,
            "row": "" if row is None else _row_key(name, row),
            "usubjid": "" if row is None else str(row.get("USUBJID", "")),
            "column": column,
            "check": check,
            "value": _shown(case, row, column),
            "remedy": REMEDIES.get(check, "Check the source and correct the value."),
        }
    return sorted(found.values(), key=lambda r: (r["usubjid"], r["row"], r["column"]))


def _check_name(text: str) -> str:
    for name in ("multiple_fields_uniqueness", "field_uniqueness", "not_nullable", "dtype"):
        if text.startswith(name):
            return name
    return text


def _column(case: Mapping[str, Any]) -> str:
    column = case.get("column")
    return "" if column is None or column != column else str(column)


def _shown(case: Mapping[str, Any], row: pd.Series[Any] | None, column: str) -> str:
    value = row.get(column) if row is not None and column in row else case.get("failure_case")
    return "" if value is None or value != value else str(value)


def _row_key(name: str, row: pd.Series[Any]) -> str:
    """Return what names a row within its participant, such as ``FTSEQ=12, VISIT=W4``."""
    names: Iterable[str] = (f"{name}SEQ", f"{name.removeprefix('AD')}SEQ", *_KEYS)
    parts = [f"{n}={row[n]}" for n in dict.fromkeys(names) if n in row and row[n] == row[n]]
    return ", ".join(parts)
