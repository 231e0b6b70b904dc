"""Times and events of time-to-event data, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import complete_columns, levels_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """Times to an event of participants in groups.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Times, not negative.
    event : ndarray, shape (n,)
        1 for an event, 0 for censoring.
    code : ndarray of int, shape (n,)
        Index of the participant's group in ``levels``.
    layer : ndarray of int, shape (n,)
        Index of the participant's stratum; all 0 without strata.
    levels : tuple
        The groups: category order for a Categorical, else sorted.
    layers : tuple of tuple
        The strata that occur, as values of the strata columns.
    n_missing : int
        Rows left out because a column was missing.
    columns : dict
        The complete columns.
    """

    time: Floats
    event: Floats
    code: Ints
    layer: Ints
    levels: tuple[Any, ...]
    layers: tuple[tuple[Any, ...], ...]
    n_missing: int
    columns: dict[str, npt.NDArray[Any]]


def read_groups(
    data: pd.DataFrame, time: str, event: str, group: str, strata: Sequence[str] = ()
) -> Groups:
    """Return the checked columns of time-to-event data in groups.

    Raises
    ------
    UsageError
        For unknown columns, negative or infinite times, an event column that is not 0 or 1,
        or one group only.
    """
    columns, rows = complete_columns(data, list(dict.fromkeys([time, event, group, *strata])))
    times, events = outcome(columns[time], columns[event], time, event)
    levels = levels_of(data[group], columns[group])
    if len(levels) < 2:
        raise UsageError(
            f"{group} has only the level {levels[0]!r}.", remedy="Check the population."
        )
    layer, layers = layers_of(columns, strata)
    return Groups(
        time=times,
        event=events,
        code=codes_of(columns[group], levels),
        layer=layer,
        levels=levels,
        layers=layers,
        n_missing=len(data) - len(rows),
        columns=columns,
    )


def codes_of(values: npt.NDArray[Any], levels: Sequence[Any]) -> Ints:
    """Return the index of each value among the levels."""
    if values.dtype.kind in "biuf":
        return np.asarray(np.searchsorted(np.asarray(levels), values), dtype=np.intp)
    place = {level: i for i, level in enumerate(levels)}
    return np.fromiter((place[value] for value in values.tolist()), np.intp, len(values))


def layers_of(
    columns: dict[str, npt.NDArray[Any]], strata: Sequence[str]
) -> tuple[Ints, tuple[tuple[Any, ...], ...]]:
    """Return the stratum of each row, and the strata in order of appearance."""
    if not strata:
        return np.zeros(len(next(iter(columns.values()))), dtype=np.intp), ((),)
    seen: dict[tuple[Any, ...], int] = {}
    rows = zip(*(columns[name].tolist() for name in strata), strict=True)
    code = [seen.setdefault(row, len(seen)) for row in rows]
    return np.asarray(code, dtype=np.intp), tuple(seen)


def outcome(
    times: npt.NDArray[Any], events: npt.NDArray[Any], time: str, event: str
) -> tuple[Floats, Floats]:
    """Return times and events as floats, or refuse them."""
    t = times_of(times, time)
    if events.dtype.kind not in "biuf":
        raise UsageError(f"{event} is not numeric.", remedy=f"Convert {event} to numbers.")
    e = events.astype(np.float64)
    if not ((e == 0.0) | (e == 1.0)).all():
        raise UsageError(
            f"{event} holds values other than 0 and 1.", remedy="Give 1 for an event, else 0."
        )
    return t, e


def times_of(times: npt.NDArray[Any], time: str) -> Floats:
    """Return times as floats, or refuse them."""
    if times.dtype.kind not in "biuf":
        raise UsageError(f"{time} is not numeric.", remedy=f"Convert {time} to numbers.")
    t = times.astype(np.float64)
    if not np.isfinite(t).all() or (t < 0).any():
        raise UsageError(f"{time} holds negative or infinite times.", remedy="Correct them.")
    return t


def moments_of(at: float | Sequence[float]) -> Floats:
    """Return the times asked for, or refuse negative and infinite ones."""
    moments = np.atleast_1d(np.asarray(at, dtype=np.float64))
    if not np.isfinite(moments).all() or (moments < 0).any():
        raise UsageError(f"{at!r} is not a time.", remedy="Give times of 0 or more.")
    return moments


def one_of(value: str, known: Sequence[str], what: str) -> None:
    """Refuse an option that does not exist."""
    if value not in known:
        raise UsageError(
            f"The {what} {value!r} is not available.", remedy=f"Use one of: {', '.join(known)}."
        )


def z_of(level: float) -> float:
    """Return the two-sided normal quantile of a coverage."""
    from scipy.special import ndtri

    value = float(ndtri(0.5 + level / 2.0))
    return value if math.isfinite(value) else math.inf
