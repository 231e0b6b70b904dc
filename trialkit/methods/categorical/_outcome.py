"""Ranks of one outcome or of several in order of priority, and numbers of strata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]
STRATUM = "stratum"


def stratum_numbers(
    columns: dict[str, npt.NDArray[Any]], names: Sequence[str]
) -> npt.NDArray[np.intp]:
    """Number the combinations of the values of some columns from 0; without names all are 0."""
    if not names:
        return np.zeros(len(next(iter(columns.values()))), dtype=np.intp)
    frame = pd.DataFrame({name: columns[name] for name in names})
    found = frame.groupby(list(names), sort=True).ngroup().to_numpy()
    return found.astype(np.intp)


def better_ranks(
    data: pd.DataFrame, names: Sequence[str], higher: str | Sequence[str]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Rank rows by the columns in order of priority; a higher rank is better.

    Parameters
    ----------
    data : DataFrame
    names : sequence of str
        Columns, most important first.
    higher : {"better", "worse"} or a sequence of them

    Returns
    -------
    ranks : ndarray
        Of the complete rows.
    complete : ndarray of bool
        Which rows are complete: no value is missing, but for columns that all who tie on the
        columns before them miss.
    """
    if not names:
        raise UsageError("No outcome is named.", remedy="Give value= a column.")
    unknown = [name for name in names if name not in data.columns]
    if unknown:
        raise UsageError(
            f"The data have no column {', '.join(map(repr, unknown))}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    ways = [higher] * len(names) if isinstance(higher, str) else list(higher)
    if len(ways) != len(names) or not set(ways) <= {"better", "worse"}:
        raise UsageError(
            f"higher={higher!r} does not fit {list(names)}.",
            remedy="Give 'better' or 'worse', once or for each column.",
        )
    rank = np.zeros(len(data), dtype=np.int64)
    complete = np.ones(len(data), dtype=bool)
    for name, way in zip(names, ways, strict=True):
        codes = _codes(data[name], name)
        codes = np.where(codes < 0, codes, codes if way == "better" else codes.max() - codes)
        known = codes >= 0
        # a missing value is no gap where nobody who ties so far has one
        tied = pd.Series(known & complete).groupby(rank).transform("any").to_numpy()
        complete &= known | ~tied
        pair = rank * (int(codes.max(initial=0)) + 2) + codes + 1
        rank = np.unique(pair, return_inverse=True)[1].astype(np.int64)
    first = data[names[0]].notna().to_numpy()
    complete &= first
    if not complete.any():
        raise UsageError(
            f"No row of the data is complete in {', '.join(names)}.",
            remedy="Check the population and the column names.",
        )
    return rank[complete].astype(np.float64), complete


def _codes(column: pd.Series[Any], name: str) -> npt.NDArray[np.int64]:
    """Return the order of the values as whole numbers, -1 for missing."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if not column.cat.ordered:
            raise UsageError(
                f"The categories of {name} have no order.", remedy="Make it an ordered Categorical."
            )
        return column.cat.codes.to_numpy().astype(np.int64)
    plain = column.dtype
    if not (pd.api.types.is_numeric_dtype(plain) or pd.api.types.is_bool_dtype(plain)):
        raise UsageError(
            f"The outcome {name} is neither numeric nor an ordered Categorical.",
            remedy="Convert it to one of them; text has no order.",
        )
    known = column.notna().to_numpy()
    values = column[known].to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError(
            f"The outcome {name} holds infinite values.", remedy="Set them to missing."
        )
    out = np.full(len(column), -1, dtype=np.int64)
    out[known] = np.unique(values, return_inverse=True)[1]
    return out
