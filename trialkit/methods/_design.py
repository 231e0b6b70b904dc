"""Model matrices from a formula: factor coding, missing rows, aliased columns, reference grid.

The formula is parsed by formulaic; its factors are evaluated here, so that a formula read from
a plan cannot run code: a factor is a column, ``C(column)``, or arithmetic over numeric columns
with a few named functions.

Coding follows R's ``model.matrix`` with treatment contrasts: a categorical factor of a term is
coded without its first level when the term without that factor is in the model, else with all
levels. Columns that are linear combinations of columns before them are dropped and named, as
``lm`` does. String, boolean and Categorical columns are factors; levels are sorted unless the
column is Categorical, which keeps its own order; levels that do not occur are dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _expression
from trialkit.methods._columns import Kind, kind_of
from trialkit.methods._columns import complete_columns as complete_columns
from trialkit.methods._columns import is_number as is_number
from trialkit.methods._columns import levels_of as levels_of
from trialkit.methods._columns import plain as plain
from trialkit.methods._rank import independent as independent
from trialkit.methods._rank import tall_qr as tall_qr
from trialkit.methods._terms import Factor as Factor
from trialkit.methods._terms import Term as Term
from trialkit.methods._terms import code_terms as code_terms
from trialkit.methods._terms import make_factor
from trialkit.methods._terms import term_columns as term_columns
from trialkit.methods._terms import term_names as term_names
from trialkit.methods._tied import Tied, make_ties, tie, timeless

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
#: The outcome's expression, and for each term its factors' expressions.
Parsed = tuple[str | None, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True)
class Design:
    """A model matrix with all that is needed to evaluate it on other rows.

    Parameters
    ----------
    formula : str
        As given.
    response : str or None
        Expression of the outcome.
    terms : tuple of Term
        Terms in the order of the columns.
    factors : dict
        Factor by expression.
    x : ndarray, shape (n, p)
        Model matrix without aliased columns.
    y : ndarray, shape (n,)
        Outcome; empty without a response.
    rows : ndarray, shape (n,)
        Positions, in the data given, of the rows used.
    n_missing : int
        Rows dropped because a used column was missing.
    full_names : list of str
        Names of all columns, aliased ones included.
    kept : ndarray of int, shape (p,)
        Which of them are in ``x``.
    assign : ndarray of int
        For each full column the index of its term.
    alias : ndarray, shape (p, number of full columns)
        Every full column as a combination of the kept ones.
    columns : dict
        The data columns used, restricted to ``rows``.
    tied : tuple of Tied
        Factors whose levels share one mean at a visit.
    """

    formula: str
    response: str | None
    terms: tuple[Term, ...]
    factors: dict[str, Factor]
    x: Floats
    y: Floats
    rows: Ints
    n_missing: int
    full_names: list[str]
    kept: Ints
    assign: Ints
    alias: Floats
    columns: dict[str, npt.NDArray[Any]] = field(repr=False)
    tied: tuple[Tied, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the columns of ``x``."""
        return [self.full_names[i] for i in self.kept]

    @property
    def aliased(self) -> list[str]:
        """Names of the columns dropped as linear combinations of others."""
        kept = set(self.kept.tolist())
        return [name for i, name in enumerate(self.full_names) if i not in kept]

    def categorical(self, name: str) -> Factor:
        """Return the categorical factor read from column ``name``.

        Raises
        ------
        UsageError
            If the formula has no such factor.
        """
        for factor in self.factors.values():
            if factor.categorical and name in {factor.expression, factor.variables[0]}:
                return factor
        known = sorted({f.variables[0] for f in self.factors.values() if f.categorical})
        raise UsageError(
            f"{name!r} is not a factor of {self.formula!r}.",
            remedy=f"Use one of {known}, or make it one with C({name}) in the formula.",
        )

    def matrix(self, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """Evaluate all columns, aliased ones included, on other rows.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (k,)
            Values of every variable of the right-hand side.

        Returns
        -------
        ndarray, shape (k, number of full columns)
        """
        columns = tie(columns, self.tied)
        coded = {name: factor.values(columns) for name, factor in self.factors.items()}
        n = len(next(iter(columns.values()))) if columns else 1
        return np.hstack([term_columns(term, coded, n) for term in self.terms])

    def estimable(self, rows: Floats) -> npt.NDArray[np.bool_]:
        """Tell which linear functions of the full coefficients the data can estimate.

        A function is estimable when it lies in the row space of the model matrix, which is
        that of ``alias``.
        """
        if len(self.kept) == len(self.full_names):
            return np.ones(len(rows), dtype=bool)
        gap = np.abs(rows - rows[:, self.kept] @ self.alias).max(axis=1)
        return np.asarray(gap <= 1e-7 * np.maximum(1.0, np.abs(rows).max(axis=1)))


#: Formulas that another process has parsed.
_KNOWN: dict[str, Parsed] = {}


def know(formula: str, parsed: Parsed) -> None:
    """Take over what another process has parsed; formulaic takes long to import."""
    _KNOWN[formula] = parsed


@lru_cache(maxsize=256)
def parse(formula: str) -> Parsed:
    """Return the outcome's expression and the terms (tuples of factor expressions)."""
    if formula in _KNOWN:
        return _KNOWN[formula]
    from formulaic import Formula

    try:
        parsed = Formula(formula)
    except Exception as error:
        raise UsageError(
            f"The formula {formula!r} cannot be read: {str(error).splitlines()[0]}",
            remedy="Write it as OUTCOME ~ TERM + TERM*TERM.",
        ) from error
    left, right = getattr(parsed, "lhs", None), getattr(parsed, "rhs", parsed)
    response = None if left is None else " + ".join(str(term) for term in left)
    terms = []
    for term in right:
        names = tuple(f.expr for f in term.factors if f.eval_method.value != "literal")
        terms.append(names)
    return response, tuple(dict.fromkeys(terms))


def build_design(
    formula: str,
    data: pd.DataFrame,
    *,
    also: Sequence[str] = (),
    response: bool = True,
    equal_at: Mapping[str, Any] | None = None,
    visit: str | None = None,
) -> Design:
    """Build the model matrix of ``formula`` on the complete rows of ``data``.

    Parameters
    ----------
    formula : str
        Such as ``AVAL ~ BASE*AVISIT + TRT01P*AVISIT``.
    data : DataFrame
        One row an observation.
    also : sequence of str
        Further columns that must not be missing, such as subject and visit.
    response : bool
        Whether the formula must name an outcome.
    equal_at : mapping of str to object, optional
        Factor and visit at which its levels share one mean, such as
        ``{"TRT01P": "Baseline"}``: there the factor counts as its first level.
    visit : str, optional
        Column of the visits that `equal_at` names.

    Raises
    ------
    UsageError
        For a formula that cannot be read, an unknown column, a non-numeric outcome, an
        infinite value, a factor with one level, or no complete row.
    """
    read = reads(formula, data, response=response)
    needed = list(dict.fromkeys([*itertools.chain.from_iterable(read.values()), *also]))
    columns, rows = complete_columns(data, needed)
    kinds = {name: kind_of(data[name]) for name in needed}
    return assemble(
        formula,
        read,
        columns,
        kinds,
        rows=rows,
        n_missing=len(data) - len(rows),
        equal_at=equal_at,
        visit=visit,
    )


def reads(formula: str, data: pd.DataFrame, *, response: bool = True) -> dict[str, tuple[str, ...]]:
    """Return the columns that each factor, and last the outcome, of a formula reads."""
    outcome, raw_terms = parse(formula)
    if response and outcome is None:
        raise UsageError(f"{formula!r} names no outcome.", remedy="Write OUTCOME ~ TERMS.")
    names = [*itertools.chain.from_iterable(raw_terms), *([outcome] if outcome else [])]
    return {name: variables_of(name, data) for name in dict.fromkeys(names)}


def assemble(
    formula: str,
    read: Mapping[str, tuple[str, ...]],
    columns: dict[str, npt.NDArray[Any]],
    kinds: Mapping[str, Kind],
    *,
    rows: Ints,
    n_missing: int,
    equal_at: Mapping[str, Any] | None = None,
    visit: str | None = None,
) -> Design:
    """Build the design from complete columns; see :func:`build_design`.

    Parameters
    ----------
    read : mapping of str to tuple of str
        Columns that each factor and the outcome read.
    columns, kinds : mapping
        Their values on the complete rows, and what they hold.
    rows : ndarray of int
        Positions of these rows in the data.
    n_missing : int
        Rows left out.
    """
    outcome, raw_terms = parse(formula)
    factors = {
        name: make_factor(name, read[name], columns, kinds)
        for name in dict.fromkeys(itertools.chain.from_iterable(raw_terms))
    }
    terms = code_terms(raw_terms, factors)
    tied = make_ties(equal_at, visit, factors)
    evaluated = tie(columns, tied)
    coded = {name: factor.values(evaluated) for name, factor in factors.items()}
    for name, values in coded.items():
        finite_or_refuse(values, name)
    blocks = [term_columns(term, coded, len(rows)) for term in terms]
    full = np.hstack(blocks) if blocks else np.empty((len(rows), 0))
    assign = np.repeat(np.arange(len(terms)), [b.shape[1] for b in blocks]).astype(np.intp)
    kept, alias = independent(full, late=timeless(terms, factors, tied)[assign] if tied else None)
    return Design(
        formula=formula,
        response=outcome,
        terms=terms,
        factors=factors,
        x=np.ascontiguousarray(full[:, kept]),
        y=outcome_values(outcome, read[outcome], columns) if outcome else np.empty(0),
        rows=rows,
        n_missing=n_missing,
        full_names=[name for term in terms for name in term_names(term, factors)],
        kept=kept,
        assign=assign,
        alias=alias,
        columns=columns,
        tied=tied,
    )


def variables_of(expression: str, data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that an expression reads; a column's own name reads that column."""
    return (expression,) if expression in data.columns else _expression.variables(expression)


def outcome_values(
    outcome: str, read: Sequence[str], columns: Mapping[str, npt.NDArray[Any]]
) -> Floats:
    """Return the outcome as finite numbers."""
    for name in read:
        if columns[name].dtype.kind not in "biuf":
            raise UsageError(
                f"The outcome {name} is not numeric.",
                remedy=f"Convert {name} to numbers; text cannot be analysed.",
            )
    values = _expression.evaluate(outcome, columns)
    finite_or_refuse(values, outcome)
    return values


def finite_or_refuse(values: Floats, name: str) -> None:
    """Refuse infinite or undefined values of a factor or outcome."""
    if not np.isfinite(values).all():
        raise UsageError(
            f"{name!r} gives infinite or undefined values on complete rows.",
            remedy="Set them to missing, or correct the data.",
        )
