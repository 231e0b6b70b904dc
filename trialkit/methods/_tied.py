"""Factors whose levels share one mean at a visit, as the arms of a trial do at baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError
from trialkit.methods._terms import Factor, Term


@dataclass(frozen=True)
class Tied:
    """A factor whose levels share one mean at one visit.

    Parameters
    ----------
    factor, visit : str
        Columns of the data.
    at : object
        The visit; there, the factor counts as its first level.
    level : object
        That first level.
    """

    factor: str
    visit: str
    at: Any
    level: Any


def make_ties(
    equal_at: Mapping[str, Any] | None, visit: str | None, factors: Mapping[str, Factor]
) -> tuple[Tied, ...]:
    """Check which factors share one mean at which visit."""
    if not equal_at:
        return ()
    levels = {f.variables[0]: f.levels for f in factors.values() if f.categorical}
    for name in (visit, *equal_at):
        if name not in levels or (name == visit and name in equal_at):
            raise UsageError(
                f"equal_at needs {name!r} as a factor of the formula, beside the visit.",
                remedy="Write equal_at={'TREATMENT': 'Baseline'} for a formula with "
                "TREATMENT*VISIT.",
            )
    assert visit is not None
    for at in equal_at.values():
        if at not in levels[visit]:
            raise UsageError(
                f"equal_at: {at!r} is not a visit of {visit}.",
                remedy=f"Visits are: {', '.join(map(repr, levels[visit]))}.",
            )
    return tuple(Tied(name, visit, at, levels[name][0]) for name, at in equal_at.items())


def tie(
    columns: Mapping[str, npt.NDArray[Any]], tied: Sequence[Tied]
) -> Mapping[str, npt.NDArray[Any]]:
    """Set tied factors to their first level at their visit."""
    out = dict(columns) if tied else columns
    for each in tied:
        values = columns[each.factor].copy()
        values[np.asarray(columns[each.visit] == each.at, dtype=bool)] = each.level
        out = {**out, each.factor: values}
    return out


def timeless(
    terms: Sequence[Term], factors: Mapping[str, Factor], tied: Sequence[Tied]
) -> npt.NDArray[np.bool_]:
    """Tell which terms hold a tied factor without the visit, so that terms by visit are kept."""
    out = []
    for term in terms:
        read = {name for factor in term.factors for name in factors[factor].variables}
        out.append(any(each.factor in read and each.visit not in read for each in tied))
    return np.array(out, dtype=bool)
