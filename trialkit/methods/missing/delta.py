"""Amounts added to imputed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing.trial import Trial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def read_delta(given: Any, trial: Trial, where: Ints) -> Floats:
    """Return the amount of each imputed value, shape (number of missing values,).

    Parameters
    ----------
    given : None, number, mapping or DataFrame
        A number for all; a mapping from arm or from visit to a number, or from arm to a
        mapping from visit to a number; or a table of subject, visit and ``delta``, in which
        rows of observed values do nothing.

    Raises
    ------
    UsageError
        For an unknown arm, visit or subject, a row twice, or an amount that is no finite number.
    """
    m = len(trial.visits)
    grid = np.zeros(trial.y.shape)
    if given is None:
        pass
    elif isinstance(given, pd.DataFrame):
        grid = from_table(given, trial)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            if key in trial.arms:
                mine = trial.arm == trial.arms.index(key)
                if isinstance(value, Mapping):
                    for visit, amount in value.items():
                        grid[mine, visit_at(visit, trial)] += number(amount)
                else:
                    grid[mine] += number(value)
            else:
                grid[:, visit_at(key, trial)] += number(value)
    else:
        grid[:] = number(given)
    return np.asarray(grid[where // m, where % m], dtype=np.float64)


def number(value: Any) -> float:
    """Return a finite number."""
    try:
        out = float(value)
    except (TypeError, ValueError):
        out = float("nan")
    if not np.isfinite(out):
        raise UsageError(f"The delta {value!r} is no finite number.", remedy="Give a number.")
    return out


def visit_at(visit: Any, trial: Trial) -> int:
    """Return the position of a visit."""
    if visit not in trial.visits:
        raise UsageError(
            f"{visit!r} is neither an arm nor a visit of the data.",
            remedy=f"Arms are: {', '.join(map(repr, trial.arms))}; visits are: "
            f"{', '.join(map(repr, trial.visits))}.",
        )
    return trial.visits.index(visit)


def from_table(table: pd.DataFrame, trial: Trial) -> Floats:
    """Return the amounts of a table as a grid."""
    names = trial.names
    for name in (names.subject, names.visit, "delta"):
        if name not in table.columns:
            raise UsageError(
                f"The table of deltas has no column {name!r}.",
                remedy=f"Give {names.subject}, {names.visit} and delta.",
            )
    i = pd.Index(trial.subjects).get_indexer(pd.Index(table[names.subject]))
    j = pd.Index(trial.visits).get_indexer(pd.Index(table[names.visit]))
    for code, name in ((i, names.subject), (j, names.visit)):
        if (code < 0).any():
            raise UsageError(
                f"The table of deltas names the {name} "
                f"{table[name].tolist()[int(np.argmin(code))]!r}, which is not in the data.",
                remedy="Check the identifiers and their type (text or number).",
            )
    if pd.Series(i * len(trial.visits) + j).duplicated().any():
        raise UsageError(
            "The table of deltas repeats a visit of a subject.",
            remedy="Keep one row a subject and visit.",
        )
    grid = np.zeros(trial.y.shape)
    grid[i, j] = [number(value) for value in table["delta"]]
    return grid


def template(
    trial: Trial, delta: Sequence[float] | None, lag: Sequence[float] | None
) -> pd.DataFrame:
    """Return one row a participant and visit with a delta that grows from the event on.

    The amount at the k-th visit affected is the sum over the affected visits up to it of
    ``delta`` of the visit times ``lag`` of its distance from the first (Roger's "five macros";
    documented for ``delta_template`` of rbmi). With ``lag=[1, 0, 0, ...]`` and equal deltas it
    is one constant from the event on.

    Parameters
    ----------
    delta, lag : sequence of float, one a visit
        Both or none; none gives zeros.

    Returns
    -------
    DataFrame
        Subject, visit, arm, ``missing``, ``after_event``, ``strategy``, ``delta``; observed
        values have no delta.
    """
    m = len(trial.visits)
    grid = np.zeros(trial.y.shape)
    if delta is not None:
        step = np.array([number(v) for v in delta])
        scale = np.array([number(v) for v in (lag if lag is not None else [1.0] + [0.0] * (m - 1))])
        if len(step) != m or len(scale) != m:
            raise UsageError(
                f"delta and lag have {len(step)} and {len(scale)} values for {m} visits.",
                remedy="Give one value a visit.",
            )
        for i, first in enumerate(trial.first):
            grid[i, first:] = np.cumsum(step[first:] * scale[: m - first])
    grid[~trial.missing] = 0.0
    names = trial.names
    out = trial.frame[[names.subject, names.visit, names.group]].copy()
    out["missing"] = trial.missing.ravel()
    out["after_event"] = trial.after.ravel()
    out["strategy"] = np.repeat(
        np.array([s if isinstance(s, str) else "custom" for s in trial.strategy], dtype=object), m
    )
    out["delta"] = grid.ravel()
    return out
