"""Column makers: text, whole numbers, numbers; and an empty frame of a schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pandera.pandas as pa


def text(*, nullable: bool = False, terms: Iterable[str] | None = None, about: str) -> pa.Column:
    """Return a text column, of controlled `terms` where they are given."""
    checks = [] if terms is None else [pa.Check.isin(sorted(terms), name="term", error="term")]
    return pa.Column(str, checks, nullable=nullable, description=about)


def whole(low: int | None = None, high: int | None = None, *, about: str) -> pa.Column:
    """Return a column of whole numbers without gaps (int64), bounds included."""
    return pa.Column("int64", _bounds(low, high), nullable=False, description=about)


def number(
    low: float | None = None, high: float | None = None, *, nullable: bool = True, about: str
) -> pa.Column:
    """Return a column of float64, bounds included."""
    return pa.Column("float64", _bounds(low, high), nullable=nullable, description=about)


def _bounds(low: float | None, high: float | None) -> list[pa.Check]:
    def inside(series: pd.Series[Any]) -> pd.Series[bool]:
        kept = pd.Series(True, index=series.index)
        if low is not None:
            kept &= series >= low
        if high is not None:
            kept &= series <= high
        return kept

    return [] if low is None and high is None else [pa.Check(inside, name="range")]


def schema(
    name: str,
    columns: dict[str, pa.Column],
    *,
    key: list[str] | None = None,
    checks: list[pa.Check] | None = None,
) -> pa.DataFrameSchema:
    """Return a strict schema: exactly these columns in this order, `key` unique."""
    return pa.DataFrameSchema(
        columns, checks=checks, unique=key, strict=True, ordered=True, name=name
    )


def columns_of(model: pa.DataFrameSchema) -> dict[str, str]:
    """Return column name to ``text``, ``whole`` or ``number``."""
    kinds = {"int64": "whole", "float64": "number"}
    return {name: kinds.get(str(column.dtype), "text") for name, column in model.columns.items()}


def typed(model: pa.DataFrameSchema, data: pd.DataFrame | list[dict[str, Any]]) -> pd.DataFrame:
    """Return `data` with exactly the schema's columns, order and types.

    Text columns are object with None for a missing value; a column that `data` lacks is
    missing throughout.
    """
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    made: dict[str, Any] = {}
    for name, kind in columns_of(model).items():
        values = frame[name] if name in frame else pd.Series([None] * len(frame), dtype=object)
        if kind == "text":
            made[name] = pd.Series(
                [value if isinstance(value, str) else None for value in values], dtype=object
            )
        else:
            numbers = pd.to_numeric(values).reset_index(drop=True)
            made[name] = numbers.astype("int64" if kind == "whole" else "float64")
    return pd.DataFrame(made, columns=list(made))
