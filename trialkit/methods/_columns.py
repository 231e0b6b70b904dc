"""Columns of a frame as NumPy arrays on their complete rows, and what kind of values they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Kind:
    """What a column holds.

    Parameters
    ----------
    number : bool
        Whether it enters a model as a number.
    categories : tuple, optional
        The order of a Categorical's values.
    """

    number: bool
    categories: tuple[Any, ...] | None = None


def kind_of(series: pd.Series[Any]) -> Kind:
    """Tell what a column holds."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return Kind(False, tuple(dtype.categories.tolist()))
    return Kind(is_number(series))


def complete_columns(
    data: pd.DataFrame, needed: Sequence[str]
) -> tuple[dict[str, npt.NDArray[Any]], Ints]:
    """Return the needed columns on the rows where none of them is missing, and the rows."""
    unknown = [name for name in needed if name not in data.columns]
    if unknown:
        raise UsageError(
            f"The data have no column {', '.join(map(repr, unknown))}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    present = np.ones(len(data), dtype=bool)
    for name in needed:
        present &= data[name].notna().to_numpy()
    rows = np.flatnonzero(present)
    if not len(rows):
        raise UsageError(
            f"No row of the data is complete in {', '.join(needed)}.",
            remedy="Check the population and the column names.",
        )
    return {name: plain(data[name], rows) for name in needed}, rows


def plain(series: pd.Series[Any], rows: Ints) -> npt.NDArray[Any]:
    """Return the complete values of a column as a NumPy array (object, bool or float)."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return np.asarray(series.cat.categories.to_numpy(), dtype=object)[
            series.cat.codes.to_numpy()[rows]
        ]
    if pd.api.types.is_bool_dtype(series.dtype):
        return series.to_numpy()[rows].astype(bool)
    if pd.api.types.is_numeric_dtype(series.dtype):
        values: npt.NDArray[Any] = series.to_numpy()[rows]
        return values if values.dtype.kind in "iu" else values.astype(np.float64)
    return series.to_numpy(dtype=object)[rows]


def is_number(series: pd.Series[Any]) -> bool:
    """Tell whether a column enters a model as a number."""
    dtype = series.dtype
    return bool(pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype))


def levels_of(series: pd.Series[Any], values: npt.NDArray[Any]) -> tuple[Any, ...]:
    """Return the levels that occur: category order for a Categorical, else sorted."""
    return levels_in(kind_of(series), values, str(series.name))


def levels_in(kind: Kind, values: npt.NDArray[Any], name: str) -> tuple[Any, ...]:
    """Return the levels that occur among values of a kind of column."""
    found = pd.unique(values).tolist()
    if kind.categories is not None:
        present = set(found)
        return tuple(level for level in kind.categories if level in present)
    try:
        return tuple(sorted(found))
    except TypeError as error:
        raise UsageError(
            f"The column {name} mixes types: {sorted({type(v).__name__ for v in found})}.",
            remedy="Make all of its values text, or all numbers.",
        ) from error


def place_of(reference: Any, levels: Sequence[Any], name: str) -> int:
    """Return the index of the reference among the levels of a column.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if reference not in levels:
        raise UsageError(
            f"{reference!r} is not a level of {name}.",
            remedy=f"Levels are: {', '.join(map(repr, levels))}.",
        )
    return list(levels).index(reference)
