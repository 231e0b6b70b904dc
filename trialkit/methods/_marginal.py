"""LS-means and contrasts on a reference grid, shared by every linear predictor.

The grid crosses all levels of the formula's factors, with numeric columns at their mean over
the rows of the fit, as SAS LSMEANS and R emmeans do by default. A marginal mean averages the
grid over the factors that are not asked for; ``weights="equal"`` gives every combination the
same weight. A combination that the data cannot estimate gives a row without numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._design import Design, Factor

Floats = npt.NDArray[np.float64]

#: Numeric columns of every table of estimates, in order.
STATISTICS = ("estimate", "se", "df", "statistic", "p", "lower", "upper")
GRID_LIMIT = 1_000_000


class Inference(Protocol):
    """What a fit gives for linear functions of its kept coefficients."""

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and degrees of freedom, each of shape (k,)."""
        ...


@dataclass(frozen=True)
class Margins:
    """Linear functions of the full coefficients, one a marginal mean.

    Parameters
    ----------
    keys : DataFrame
        One row a function: the levels of ``term`` and ``by``.
    rows : ndarray, shape (k, number of full columns)
        The functions.
    """

    keys: pd.DataFrame
    rows: Floats


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


def margins(
    design: Design,
    term: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    weights: str = "equal",
) -> Margins:
    """Build the marginal means of ``term`` at each level of ``by``.

    Raises
    ------
    UsageError
        For a name that is no factor of the formula, or weights other than ``equal``.
    """
    if weights != "equal":
        raise UsageError(
            f"LS-means with weights {weights!r} are not available.",
            remedy="Use weights='equal'.",
        )
    wanted = [*names_of(by), *names_of(term)]
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"A factor is named twice: {wanted}.", remedy="Name each factor once.")
    asked = [design.categorical(name) for name in wanted]
    factors = grid_factors(design)
    order = [factor.variables[0] for factor in asked]
    rest = [name for name in factors if name not in order]
    levels = [factors[name] for name in (*order, *rest)]
    size = math.prod(len(each) for each in levels)
    if size > GRID_LIMIT:
        raise UsageError(
            f"The reference grid has {size} combinations of factor levels.",
            remedy="Use fewer factors or levels in the formula.",
        )
    grid = grid_matrix(design, dict(zip((*order, *rest), levels, strict=True)), size)
    cells = math.prod(len(factors[name]) for name in order)
    rows = grid.reshape(cells, -1, grid.shape[1]).mean(axis=1)
    combos = list(itertools.product(*(factor.levels for factor in asked)))
    keys = pd.DataFrame({n: [c[i] for c in combos] for i, n in enumerate(wanted)}, dtype=object)
    return Margins(keys[[*names_of(term), *names_of(by)]], rows)


def grid_factors(design: Design) -> dict[str, tuple[Any, ...]]:
    """Return the levels of every categorical variable of the formula."""
    return {f.variables[0]: f.levels for f in design.factors.values() if f.categorical}


def grid_matrix(design: Design, levels: Mapping[str, tuple[Any, ...]], size: int) -> Floats:
    """Evaluate the full model matrix on the crossed levels; the last name varies fastest."""
    columns: dict[str, npt.NDArray[Any]] = {}
    inner, outer = size, 1
    for name, values in levels.items():
        inner //= len(values)
        codes = np.tile(np.repeat(np.arange(len(values)), inner), outer)
        columns[name] = objects(values)[codes]
        outer *= len(values)
    for factor in design.factors.values():
        if not factor.categorical:
            for name in factor.variables:
                columns.setdefault(name, np.full(size, design.columns[name].mean()))
    if not columns:
        columns["1"] = np.ones(size)
    return design.matrix(columns)


def objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values as an object array, one cell a value."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def differences(means: Margins, factor: Factor, term: str, reference: Any) -> Margins:
    """Subtract the reference level's row from the others within each level of the rest.

    Raises
    ------
    UsageError
        If ``reference`` is not a level of ``term``.
    """
    if reference not in factor.levels:
        raise UsageError(
            f"{reference!r} is not a level of {term}.",
            remedy=f"Levels are: {', '.join(map(repr, factor.levels))}.",
        )
    n = len(factor.levels)
    base = factor.levels.index(reference)
    blocks = means.rows.reshape(-1, n, means.rows.shape[1])  # term varies fastest
    others = [i for i in range(n) if i != base]
    rows = (blocks[:, others] - blocks[:, [base]]).reshape(-1, means.rows.shape[1])
    pick = [block * n + i for block in range(len(blocks)) for i in others]
    keys = means.keys.iloc[pick].reset_index(drop=True)
    keys.insert(1, "reference", objects([reference] * len(keys)))
    return Margins(keys, rows)


def tabulate(
    design: Design, functions: Margins, infer: Inference | None, level: float = 0.95
) -> pd.DataFrame:
    """Make the tidy table of linear functions.

    Parameters
    ----------
    design : Design
    functions : Margins
    infer : Inference or None
        The fit's inference; None gives an empty table (a failed fit).
    level : float
        Coverage of the intervals, in (0, 1).

    Returns
    -------
    DataFrame
        The keys, then ``estimate se df statistic p lower upper``; rows that the data cannot
        estimate hold NaN.
    """
    check_level(level)
    if infer is None:
        return empty_table(functions.keys.columns)
    numbers = np.full((len(functions.rows), len(STATISTICS)), np.nan)
    can = design.estimable(functions.rows)
    if can.any():
        kept = functions.rows[can][:, design.kept]
        numbers[can] = statistics(*infer(kept), level)
    return pd.concat(
        [functions.keys, pd.DataFrame(numbers, columns=list(STATISTICS))], axis=1, copy=False
    )


def check_level(level: float) -> None:
    """Refuse a coverage outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def empty_table(keys: Sequence[str] | pd.Index[str]) -> pd.DataFrame:
    """Return a table without rows: what a failed fit has to say."""
    out = pd.DataFrame({name: pd.Series(dtype=object) for name in keys})
    for name in STATISTICS:
        out[name] = pd.Series(dtype=np.float64)
    return out


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


def html(summary: str, table: pd.DataFrame) -> str:
    """Show the head of a summary, and a table, in a notebook."""
    head = summary.split("\n\n")[0]
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("\n", "<br>")):
        head = head.replace(sign, entity)
    body = "" if table.empty else table.to_html(index=False, float_format="{:.5g}".format)
    return f"<p>{head}</p>{body}"
