"""Reference grids: a model matrix on crossed levels, or on participants set to each level."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods._design import Design
from trialkit.methods._tables import objects

Floats = npt.NDArray[np.float64]


def frequencies(design: Design, levels: Mapping[str, tuple[Any, ...]]) -> Floats:
    """Return the share of the rows in each combination of levels; the last varies fastest."""
    size = math.prod(len(each) for each in levels.values())
    place = np.zeros(len(design.rows), dtype=np.intp)
    for name, values in levels.items():
        codes = pd.Index(values).get_indexer(pd.Index(design.columns[name]))
        place = place * len(values) + codes
    return np.bincount(place, minlength=size) / len(design.rows)


def counterfactual(
    design: Design, order: Sequence[str], unit: str | None, occasion: str | None
) -> tuple[Floats, Floats]:
    """Average the model matrix over participants set to each combination of levels.

    A covariate that varies within a participant is averaged over the participant's rows.

    Returns
    -------
    rows : ndarray, shape (k, number of full columns)
    units : ndarray, shape (k, participants, number of full columns)
    """
    factors = grid_factors(design)
    held = [*order]
    if occasion is not None and occasion in factors and occasion not in held:
        held.append(occasion)
    n = len(design.rows)
    people = np.arange(n) if unit is None else pd.factorize(design.columns[unit], sort=True)[0]
    used = {name for factor in design.factors.values() for name in factor.variables}
    covariates = pd.DataFrame({n: design.columns[n] for n in sorted(used - set(held))})
    kinds = covariates.groupby(list(covariates), sort=True).ngroup() if used - set(held) else 0
    seen = pd.DataFrame({"person": people, "kind": kinds})
    count = seen.groupby(["person", "kind"], sort=True).size().to_numpy(dtype=np.float64)
    first = np.flatnonzero(~seen.duplicated().to_numpy())
    first = first[np.lexsort((seen["kind"].to_numpy()[first], people[first]))]
    owner = people[first]
    share = count / np.bincount(people)[owner]
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    columns = {name: design.columns[name][first] for name in used - set(held)}
    units = []
    for combo in itertools.product(*(factors[name] for name in held)):
        for name, level in zip(held, combo, strict=True):
            columns[name] = objects([level])[np.zeros(len(first), dtype=np.intp)]
        predicted = design.matrix(columns) * share[:, None]
        units.append(np.add.reduceat(predicted, starts, axis=0))
    cells = math.prod(len(factors[name]) for name in order)
    stack = np.array(units).reshape(cells, -1, len(starts), len(design.full_names)).mean(axis=1)
    return np.asarray(stack.mean(axis=1)), stack


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
