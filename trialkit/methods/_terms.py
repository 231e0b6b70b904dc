"""Factors and terms of a formula, and the columns that they make."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError
from trialkit.methods import _expression
from trialkit.methods._columns import Kind, levels_in

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """One factor of a formula as it was coded.

    Parameters
    ----------
    expression : str
        As written, such as ``AVISIT``, ``C(SITE)`` or ``log(BASE)``.
    variables : tuple of str
        The data columns that it reads.
    levels : tuple
        Its levels in order; empty for a numeric factor.
    """

    expression: str
    variables: tuple[str, ...]
    levels: tuple[Any, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether the factor has levels."""
        return bool(self.levels)

    def values(self, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """Return the factor's columns, shape (n, number of levels) or (n, 1)."""
        if not self.categorical:
            return _expression.evaluate(self.expression, columns).reshape(-1, 1)
        raw = columns[self.variables[0]]
        return np.column_stack([raw == level for level in self.levels]).astype(np.float64)


@dataclass(frozen=True)
class Term:
    """A product of factors; ``full[i]`` tells that factor ``i`` keeps all of its levels."""

    factors: tuple[str, ...]
    full: tuple[bool, ...]

    @property
    def name(self) -> str:
        """The term as written, ``1`` for the intercept."""
        return ":".join(self.factors) or "1"


def make_factor(
    name: str,
    variables: tuple[str, ...],
    columns: Mapping[str, npt.NDArray[Any]],
    kinds: Mapping[str, Kind],
) -> Factor:
    """Decide whether an expression is categorical, and its levels."""
    if not _expression.is_categorical(name) and (variables != (name,) or kinds[name].number):
        return Factor(name, variables)
    levels = levels_in(kinds[variables[0]], columns[variables[0]], variables[0])
    if len(levels) < 2:
        raise UsageError(
            f"The factor {name} has only the level {levels[0]!r} among the complete rows.",
            remedy="Leave it out of the formula, or check the population.",
        )
    return Factor(name, variables, levels)


def code_terms(raw: Sequence[tuple[str, ...]], factors: Mapping[str, Factor]) -> tuple[Term, ...]:
    """Apply R's rule for contrasts: full coding where the margin is not in the model."""
    present = {frozenset(names) for names in raw}
    return tuple(
        Term(
            names,
            tuple(
                factors[name].categorical and frozenset(names) - {name} not in present
                for name in names
            ),
        )
        for names in raw
    )


def term_columns(term: Term, coded: Mapping[str, Floats], n: int) -> Floats:
    """Return the columns of a term; the first factor varies fastest."""
    out = np.ones((n, 1))
    for name, full in zip(term.factors, term.full, strict=True):
        values = coded[name]
        values = values if full or values.shape[1] == 1 else values[:, 1:]
        out = (values[:, :, None] * out[:, None, :]).reshape(n, -1)
    return out


def term_names(term: Term, factors: Mapping[str, Factor]) -> list[str]:
    """Name the columns of a term as formulaic does."""
    if not term.factors:
        return ["Intercept"]
    parts = []
    for name, full in zip(term.factors, term.full, strict=True):
        levels = factors[name].levels
        if not levels:
            parts.append([name])
        elif full:
            parts.append([f"{name}[{level}]" for level in levels])
        else:
            parts.append([f"{name}[T.{level}]" for level in levels[1:]])
    return [":".join(reversed(combo)) for combo in itertools.product(*reversed(parts))]
