"""Stretches of samples without a gap: the only stretches inside which an event can be seen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialkit.errors import UsageError

Floats = NDArray[np.float64]


def samples(what: str, values: ArrayLike, length: int | None = None) -> Floats:
    """Return `values` as a vector of floats, of `length` where it is given.

    Raises
    ------
    UsageError
        If they are no vector, or have another length.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "one value a sample" if length is None else f"{length} values"
        raise UsageError(
            f"{what} has the shape {array.shape}.", remedy=f"Give a vector with {wanted}."
        )
    return array


def sample_period_s(time_s: Floats) -> float:
    """Return the median time between samples, in s.

    Raises
    ------
    UsageError
        With fewer than two samples, or where time does not grow.
    """
    if len(time_s) < 2 or not np.all(np.isfinite(time_s)):
        raise UsageError("there are not two samples with a time.", remedy="Give time_s in s.")
    period = float(np.median(np.diff(time_s)))
    if period <= 0:
        raise UsageError("time_s does not grow.", remedy="Sort the samples by device time.")
    return period


def unbroken_runs(
    time_s: Floats,
    present: NDArray[np.bool_],
    seq: ArrayLike | None = None,
    max_gap_s: float | None = None,
) -> list[slice]:
    """Return the runs of samples that are present and follow each other.

    Parameters
    ----------
    time_s : (n,) array
        Seconds.
    present : (n,) array of bool
        False where a sample is missing (NaN in any needed channel).
    seq : (n,) array of int, optional
        Sequence numbers; a step other than 1 ends a run (also a rollover, which costs a stride).
    max_gap_s : float, optional
        A longer step in time ends a run, and so does one backwards; default 2.5 sample periods.
    """
    limit = 2.5 * sample_period_s(time_s) if max_gap_s is None else max_gap_s
    step = np.diff(time_s)
    broken = (step > limit) | (step <= 0) | ~present[1:] | ~present[:-1]
    if seq is not None:
        numbers = samples("seq", seq, len(time_s))
        broken |= np.diff(numbers) != 1
    edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(time_s)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a and present[a]]
