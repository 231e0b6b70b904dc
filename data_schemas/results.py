"""Schema of the results: one row a statistic, and the points of curves."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

VERSION = "1"

STATISTICS: tuple[str, ...] = (
    "estimate",
    "se",
    "df",
    "statistic",
    "p",
    "lower",
    "upper",
    "level",
    "n",
    "n_subjects",
    "n_missing",
    "p_adjusted",
    "rejected",
    "mean",
    "sd",
    "median",
    "q1",
    "q3",
    "min",
    "max",
    "count",
    "percent",
)
ROLES: tuple[str, ...] = ("primary", "secondary", "exploratory", "sensitivity", "descriptive")
STATES: tuple[str, ...] = ("ok", "failed")

#: Columns of the results table that hold text or nothing; ``value`` is the one number.
TEXT_COLUMNS: tuple[str, ...] = (
    "estimand",
    "dataset",
    "population",
    "method",
    "variant",
    "group",
    "reference",
    "visit",
    "text",
    "unit",
    "reason",
)


def _failed_rows_are_empty(frame: pd.DataFrame) -> pd.Series[bool]:
    """A failed statistic is never a number, and says why."""
    failed = frame["state"] == "failed"
    return ~failed | (frame["value"].isna() & frame["reason"].notna())


ResultsTable = pa.DataFrameSchema(
    {
        "id": pa.Column(str, pa.Check.str_matches(r"^[^\s.]+(\.[^\s.]+)+$"), unique=True),
        "analysis": pa.Column(str),
        "label": pa.Column(str),
        "role": pa.Column(str, pa.Check.isin(ROLES)),
        "quantity": pa.Column(str, pa.Check.str_matches(r"^[a-z][A-Za-z0-9_-]*$")),
        "statistic": pa.Column(str, pa.Check.isin(STATISTICS)),
        "value": pa.Column(float, nullable=True),
        "state": pa.Column(str, pa.Check.isin(STATES)),
        **{name: pa.Column(object, nullable=True) for name in TEXT_COLUMNS},
    },
    checks=[
        pa.Check(_failed_rows_are_empty, error="a failed row holds a number or gives no reason")
    ],
    strict=True,
    name="results",
)

SeriesTable = pa.DataFrameSchema(
    {
        "analysis": pa.Column(str),
        "series": pa.Column(str),
        "group": pa.Column(str),
        "label": pa.Column(object, nullable=True),
        **{name: pa.Column(float, nullable=True) for name in ("x", "y", "lower", "upper", "n")},
    },
    strict=True,
    name="results_series",
)
