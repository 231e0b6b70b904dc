"""Tables of estimates: their columns, tests, intervals and look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

Floats = npt.NDArray[np.float64]

#: Numeric columns of every table of estimates, in order.
STATISTICS = ("estimate", "se", "df", "statistic", "p", "lower", "upper")


class Inference(Protocol):
    """What a fit gives for linear functions of its kept coefficients."""

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and degrees of freedom, each of shape (k,)."""
        ...


@dataclass(frozen=True)
class FTest:
    """An overall test of several contrasts."""

    num_df: int
    den_df: float
    f: float
    p: float


def names_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def framed(keys: Mapping[str, npt.NDArray[Any]], numbers: Floats) -> pd.DataFrame:
    """Put key columns and the columns of :data:`STATISTICS` into one table."""
    columns: dict[str, npt.NDArray[Any]] = {**keys}
    columns.update(zip(STATISTICS, numbers.T, strict=True))
    return pd.DataFrame(columns)


def check_level(level: float) -> None:
    """Refuse a coverage outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def empty_table(keys: Sequence[str] | pd.Index[str]) -> pd.DataFrame:
    """Return a table without rows: what a failed fit has to say."""
    return framed({name: np.empty(0, dtype=object) for name in keys}, np.empty((0, 7)))


def statistics(estimate: Floats, se: Floats, df: Floats, level: float) -> Floats:
    """Return statistic, two-sided p and interval beside estimate, se and df, shape (k, 7).

    Infinite df mean the normal distribution.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    quantile = t_quantile(0.5 + level / 2.0, df)
    p = 2.0 * t_tail(np.abs(statistic), df)
    lower, upper = estimate - quantile * se, estimate + quantile * se
    return np.column_stack([estimate, se, df, statistic, p, lower, upper])


def t_quantile(probability: float, df: Floats) -> Floats:
    """Return the quantile of Student's t, the normal quantile for infinite df."""
    finite = np.isfinite(df)
    value = special.stdtrit(np.where(finite, df, 1.0), probability)
    return np.asarray(np.where(finite, value, special.ndtri(probability)), dtype=np.float64)


def t_tail(statistic: Floats, df: Floats) -> Floats:
    """Return the upper tail of Student's t, of the normal for infinite df."""
    finite = np.isfinite(df)
    value = special.stdtr(np.where(finite, df, 1.0), -statistic)
    return np.asarray(np.where(finite, value, special.ndtr(-statistic)), dtype=np.float64)


def as_text(table: pd.DataFrame, digits: int = 5) -> str:
    """Return a table as text without its index, numbers to some significant digits."""
    return table.to_string(index=False, float_format=lambda v: f"{v:.{digits}g}")


def stacked(lines: Sequence[str], tables: Sequence[pd.DataFrame], digits: int = 5) -> str:
    """Return lines, then each table that has rows, with empty lines between."""
    shown = [as_text(table, digits) for table in tables if not table.empty]
    return "\n\n".join(["\n".join(lines), *shown])


def html(summary: str, table: pd.DataFrame) -> str:
    """Show the head of a summary, and a table, in a notebook."""
    head = summary.split("\n\n")[0]
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("\n", "<br>")):
        head = head.replace(sign, entity)
    body = "" if table.empty else table.to_html(index=False, float_format="{:.5g}".format)
    return f"<p>{head}</p>{body}"


def objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values as an array, one cell a value; numbers stay numbers."""
    if all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values):
        return np.asarray(values)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
