"""Schema of the results: one row a statistic, and the points of curves."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

VERSION = "2"

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
    "delta",
    "note",
)
ROLES: tuple[str, ...] = ("primary", "secondary", "exploratory", "sensitivity", "descriptive")
STATES: tuple[str, ...] = ("ok", "failed")

#: Columns of the results table that hold text or nothing; ``value`` is the one number.
TEXT_COLUMNS: dict[str, str] = {
    "estimand": "Id of the estimand",
    "dataset": "Frame of the snapshot",
    "population": "Analysis population",
    "method": "Method",
    "variant": "Variant: covariance, degrees of freedom, variance ...",
    "group": "Arm, or the compared arm",
    "reference": "Arm that it is compared with",
    "visit": "AVISIT",
    "text": "Label for people",
    "unit": "Unit of the value",
    "reason": "Why it failed",
}


def _failed_rows_are_empty(frame: pd.DataFrame) -> pd.Series[bool]:
    """A failed statistic is never a number, and says why."""
    failed = frame["state"] == "failed"
    return ~failed | (frame["value"].isna() & frame["reason"].notna())


ResultsTable = pa.DataFrameSchema(
    {
        "id": pa.Column(
            str,
            pa.Check.str_matches(r"^[^\s.]+(\.[^\s.]+)+$"),
            unique=True,
            description="Stable id: analysis, quantity, group, reference, visit, statistic",
        ),
        "analysis": pa.Column(str, description="Id of the analysis or table in the plan"),
        "label": pa.Column(str, description="Its label"),
        "role": pa.Column(str, pa.Check.isin(ROLES), description="Its role in the plan"),
        "quantity": pa.Column(
            str,
            pa.Check.str_matches(r"^[a-z][A-Za-z0-9_-]*$"),
            description="What is estimated, such as difference or rate_ratio",
        ),
        "statistic": pa.Column(
            str,
            pa.Check.isin(STATISTICS),
            description="Which statistic of it: estimate, se, df, p, lower, upper, n ...; delta is "
            "an amount added to imputed values, note a text for readers",
        ),
        "value": pa.Column(
            float, nullable=True, description="The number; empty where it failed or is text"
        ),
        "state": pa.Column(str, pa.Check.isin(STATES), description="ok or failed"),
        **{
            name: pa.Column(object, nullable=True, description=about)
            for name, about in TEXT_COLUMNS.items()
        },
    },
    checks=[
        pa.Check(_failed_rows_are_empty, error="a failed row holds a number or gives no reason")
    ],
    strict=True,
    name="results",
)

SERIES_NUMBERS: dict[str, str] = {
    "x": "Time, or planned day",
    "y": "Estimate",
    "lower": "Lower bound of its interval",
    "upper": "Upper bound of its interval",
    "n": "People at risk, or observed",
}

SeriesTable = pa.DataFrameSchema(
    {
        "analysis": pa.Column(str, description="Id of the analysis in the plan"),
        "series": pa.Column(
            str, description="Kind of curve: survival, at_risk, profile, profile_observed"
        ),
        "group": pa.Column(str, description="Arm"),
        "label": pa.Column(
            object, nullable=True, description="Label of the point, such as a visit"
        ),
        **{
            name: pa.Column(float, nullable=True, description=about)
            for name, about in SERIES_NUMBERS.items()
        },
    },
    strict=True,
    name="results_series",
)

TABLES: dict[str, pa.DataFrameSchema] = {"results": ResultsTable, "series": SeriesTable}
