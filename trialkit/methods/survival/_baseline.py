"""Baseline cumulative hazards of a fit by partial likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design
from trialkit.methods._marginal import objects
from trialkit.methods.survival._hazard_fit import HazardFit
from trialkit.methods.survival._outcome import z_of

Floats = npt.NDArray[np.float64]

_COLUMNS = (
    "time",
    "at_risk",
    "events",
    "cumulative_hazard",
    "se",
    "survival",
    "lower",
    "upper",
)


def baseline_table(
    fit: HazardFit,
    strata: Sequence[str],
    layers: Sequence[tuple[Any, ...]],
    at: Mapping[str, object] | None,
    level: float,
) -> pd.DataFrame:
    """Return the cumulative hazards of one covariate pattern in every stratum.

    With ``h`` the increments of the pattern and ``xbar`` the mean covariates at risk, the
    variance up to a time is ``sum h^2 / weight + q' V q`` with ``q = sum h (xbar - x)`` and V
    the covariance of the coefficients.
    """
    pattern = row_of(fit.design, at or {})
    if fit.failed or fit.engine is None:
        return pd.DataFrame({n: pd.Series(dtype=object) for n in (*strata, *_COLUMNS)})
    problem, best = fit.engine.problem, fit.engine.best
    assert problem is not None
    assert best is not None
    if problem.ties == "exact":
        problem = replace(problem, ties="breslow")
        best = problem.evaluate(best.beta)
    keep = fit.estimated
    x = (pattern[keep] - problem.centre) / problem.scale
    top = tops(problem.x @ best.beta + problem.offset, best.eta, problem.strata)
    sets = problem.sets
    relative = np.exp(x @ best.beta - top[sets.stratum[problem.term]])
    hazard = problem.term_weight / best.total * relative
    pull = hazard[:, None] * (best.mean - x)
    parts = np.column_stack([hazard, hazard**2 / problem.term_weight, pull])
    each = np.add.reduceat(parts, sets.first, axis=0)
    covariance = fit.covariance[np.ix_(keep, keep)] * np.outer(problem.scale, problem.scale)
    risk = sets.at_risk(np.ones((problem.x.shape[0], 1)))[:, 0]
    z = z_of(level)
    frames = []
    for code in sorted(range(len(layers)), key=lambda i: sort_key(layers[i])):
        own = np.flatnonzero(sets.stratum == code)
        total = np.cumsum(each[own], axis=0)
        q = total[:, 2:]
        se = np.sqrt(total[:, 1] + np.einsum("ij,jk,ik->i", q, covariance, q))
        frame = pd.DataFrame(
            {name: objects([v] * len(own)) for name, v in zip(strata, layers[code], strict=True)}
        )
        numbers = (
            sets.time[own],
            np.rint(risk[own]).astype(np.int64),
            sets.count[own],
            total[:, 0],
            se,
            np.exp(-total[:, 0]),
            np.exp(-(total[:, 0] + z * se)),
            np.minimum(np.exp(-(total[:, 0] - z * se)), 1.0),
        )
        frames.append(frame.assign(**dict(zip(_COLUMNS, numbers, strict=True))))
    return pd.concat(frames, ignore_index=True)


def tops(raw: Floats, eta: Floats, strata: npt.NDArray[np.intp]) -> Floats:
    """Return what was taken off the linear predictor in each stratum."""
    out = np.zeros(int(strata.max()) + 1)
    out[strata] = raw - eta
    return out


def sort_key(values: tuple[Any, ...]) -> tuple[tuple[str, float, str], ...]:
    """Order levels by type, then number or text."""
    return tuple(
        (("0", float(v), "") if isinstance(v, (int, float)) else (type(v).__name__, 0.0, str(v)))
        for v in values
    )


def row_of(design: Design, at: Mapping[str, object]) -> Floats:
    """Return the kept columns of the design at one pattern of the variables.

    Raises
    ------
    UsageError
        For a name that the formula does not read, an unknown level, or text for a number.
    """
    levels = {f.variables[0]: f.levels for f in design.factors.values() if f.categorical}
    known = {v for f in design.factors.values() for v in f.variables}
    for name in at:
        if name not in known:
            raise UsageError(
                f"{name!r} is not read by the formula {design.formula!r}.",
                remedy=f"Use one of: {', '.join(sorted(known))}.",
            )
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in sorted(known):
        if name in levels:
            value = at.get(name, levels[name][0])
            if value not in levels[name]:
                raise UsageError(
                    f"{value!r} is not a level of {name}.",
                    remedy=f"Levels are: {', '.join(map(repr, levels[name]))}.",
                )
            columns[name] = objects([value])
        else:
            value = at.get(name, design.columns[name].mean())
            if not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
                raise UsageError(f"{name} needs a number, not {value!r}.", remedy="Give one.")
            columns[name] = np.array([float(value)])
    if not columns:
        return np.ones(len(design.kept))
    return np.asarray(design.matrix(columns)[0, design.kept])
