"""Intervals of follow-up of participants who may have several events, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import complete_columns
from trialkit.methods.survival._outcome import outcome, times_of
from trialkit.methods.survival._risk_sets import snap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Gaps = Literal["refuse", "allow"]


@dataclass(frozen=True)
class Intervals:
    """Intervals ``(start, stop]``, sorted by participant and time.

    Parameters
    ----------
    start, stop : ndarray, shape (n,)
    event, death : ndarray of bool, shape (n,)
        Whether an event, or death, ends the interval.
    subject : ndarray of int, shape (n,)
        Codes from 0, in ascending order.
    earlier : ndarray of int, shape (n,)
        The participant's events before the interval.
    rows : ndarray of int, shape (n,)
        Positions in the data given.
    first : ndarray of int
        Where each participant's intervals begin.
    n_missing : int
        Rows left out because a column was missing.
    """

    start: Floats
    stop: Floats
    event: npt.NDArray[np.bool_]
    death: npt.NDArray[np.bool_]
    subject: Ints
    earlier: Ints
    rows: Ints
    first: Ints
    n_missing: int


def read_intervals(
    data: pd.DataFrame,
    *,
    start: str,
    stop: str,
    event: str,
    subject: str,
    death: str | None = None,
    also: Sequence[str] = (),
    gaps: Gaps = "refuse",
) -> Intervals:
    """Return the checked intervals.

    Raises
    ------
    UsageError
        Where an interval has no length, two intervals of a participant overlap or are the
        same, time is left out between them (unless ``gaps="allow"``), or follow-up goes on
        after death; the message names the first participants and their rows' positions.
    """
    named = [start, stop, event, subject, *([] if death is None else [death]), *also]
    columns, rows = complete_columns(data, list(dict.fromkeys(named)))
    begin = times_of(columns[start], start)
    end, happened = outcome(columns[stop], columns[event], stop, event)
    died = np.zeros(len(end)) if death is None else outcome(end, columns[death], stop, death)[1]
    begin, end = snap(begin, end)
    code = np.asarray(pd.factorize(pd.Series(columns[subject], dtype=object))[0], dtype=np.intp)
    order = np.lexsort((end, begin, code))
    begin, end, code, rows = begin[order], end[order], code[order], rows[order]
    names = columns[subject][order]
    same = code[1:] == code[:-1]
    refuse(
        begin >= end, names, rows, f"{start} is not before {stop}",
        "An interval must have a length: correct it, or leave the row out.",
    )  # fmt: skip
    twice = same & (begin[1:] == begin[:-1]) & (end[1:] == end[:-1])
    refuse_pairs(twice, names, rows, "the same interval is there twice", "Keep one of the rows.")
    refuse_pairs(
        same & (begin[1:] < end[:-1]), names, rows, "intervals overlap",
        f"Let each {start} be the {stop} before it.",
    )  # fmt: skip
    dead = died[order] == 1.0
    refuse_pairs(
        same & dead[:-1], names, rows, "follow-up goes on after death",
        f"Let {death} be 1 in the last interval only.",
    )  # fmt: skip
    if gaps == "refuse":
        refuse_pairs(
            same & (begin[1:] > end[:-1]), names, rows, "time is left out between intervals",
            "Add the interval (rows with missing values are left out), or give gaps='allow' "
            "where nobody was at risk in that time.",
        )  # fmt: skip
    first = np.flatnonzero(np.concatenate([[True], ~same]))
    hits = (happened[order] == 1.0).astype(np.intp)
    total = np.cumsum(hits) - hits
    return Intervals(
        start=begin,
        stop=end,
        event=hits.astype(bool),
        death=dead,
        subject=code,
        earlier=total - np.repeat(total[first], np.diff(np.append(first, len(end)))),
        rows=rows,
        first=first,
        n_missing=len(data) - len(rows),
    )


def refuse(
    wrong: npt.NDArray[np.bool_], names: npt.NDArray[Any], rows: Ints, what: str, remedy: str
) -> None:
    """Refuse rows, naming the first participants and positions."""
    found = np.flatnonzero(wrong)
    if len(found):
        where = "; ".join(f"{names[i]} (row {rows[i]})" for i in found[:3])
        raise UsageError(f"{what}: {where}; {len(found)} in all.", remedy=remedy)


def refuse_pairs(
    wrong: npt.NDArray[np.bool_], names: npt.NDArray[Any], rows: Ints, what: str, remedy: str
) -> None:
    """Refuse pairs of neighbouring rows, naming the first participants and positions."""
    found = np.flatnonzero(wrong)
    if len(found):
        where = "; ".join(f"{names[i]} (rows {rows[i]} and {rows[i + 1]})" for i in found[:3])
        raise UsageError(f"{what}: {where}; {len(found)} in all.", remedy=remedy)
