"""The rows that each model of recurrent events puts into its partial likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design
from trialkit.methods.survival._hazard_fit import codes
from trialkit.methods.survival._intervals import Intervals
from trialkit.methods.survival._outcome import outcome

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Model = Literal["lwyy", "andersen_gill", "pwp_total", "pwp_gap", "wlw"]


@dataclass(frozen=True)
class Rows:
    """The rows of a model's partial likelihood.

    Parameters
    ----------
    frame : DataFrame
        The rows' covariates.
    order : ndarray of int, shape (n,), or None
        The stratum: which event the row is at risk of.
    time : ndarray, shape (n,)
        Time under observation that the row adds to the person-time.
    """

    frame: pd.DataFrame
    start: Floats
    stop: Floats
    event: npt.NDArray[np.bool_]
    subject: Ints
    order: Ints | None
    time: Floats

    def take(self, keep: Ints) -> Rows:
        """Return some of the rows."""
        return Rows(
            self.frame.iloc[keep],
            self.start[keep],
            self.stop[keep],
            self.event[keep],
            self.subject[keep],
            None if self.order is None else self.order[keep],
            self.time[keep],
        )


def order_table(rows: Rows) -> pd.DataFrame:
    """Return order, subjects and events of the strata."""
    if rows.order is None:
        return pd.DataFrame({"order": [], "subjects": [], "events": []}, dtype=np.int64)
    frame = pd.DataFrame({"order": rows.order, "subjects": rows.subject, "events": rows.event})
    table = frame.groupby("order").agg({"subjects": "nunique", "events": "sum"})
    return table.astype(np.int64).reset_index()


def conditional_rows(
    frame: pd.DataFrame, spans: Intervals, model: Model, order: str | None, max_order: int | None
) -> Rows:
    """Return the intervals, with strata and reset clocks for PWP."""
    start, stop = spans.start, spans.stop
    stratum: Ints | None = None
    if model in ("pwp_total", "pwp_gap"):
        stratum = spans.earlier + 1
        if order is not None:
            stratum = orders_of(frame[order].to_numpy(), order)
        if model == "pwp_gap":
            new = np.ones(len(start), dtype=bool)
            new[1:] = (stratum[1:] != stratum[:-1]) | (spans.subject[1:] != spans.subject[:-1])
            begins = np.flatnonzero(new)
            origin = np.repeat(start[begins], np.diff(np.append(begins, len(start))))
            start, stop = start - origin, stop - origin
        if max_order is not None:
            stratum = np.minimum(stratum, max_order)
    length = spans.stop - spans.start
    return Rows(frame, start, stop, spans.event, spans.subject, stratum, length)


def marginal_rows(frame: pd.DataFrame, spans: Intervals, max_order: int | None) -> Rows:
    """Return a row for each participant and each event that anybody had."""
    people = len(spans.first)
    last = np.append(spans.first[1:], len(spans.stop)) - 1
    events = np.flatnonzero(spans.event)
    most = int(spans.earlier[events].max(initial=0)) + 1
    most = most if max_order is None else min(most, max_order)
    stop = np.repeat(spans.stop[last][:, None], most, axis=1)
    event = np.zeros((people, most), dtype=bool)
    used = events[spans.earlier[events] < most]
    stop[spans.subject[used], spans.earlier[used]] = spans.stop[used]
    event[spans.subject[used], spans.earlier[used]] = True
    time = np.zeros((people, most))
    time[:, 0] = spans.stop[last] - spans.start[spans.first]
    pick = np.repeat(spans.first, most)
    return Rows(
        frame.iloc[pick],
        spans.start[pick],
        stop.ravel(),
        event.ravel(),
        spans.subject[pick],
        np.tile(np.arange(1, most + 1), people),
        time.ravel(),
    )


def given_rows(
    data: pd.DataFrame,
    start: str | None,
    stop: str,
    event: str,
    subject: str,
    order: str,
    max_order: int | None,
) -> tuple[Rows, int]:
    """Return rows that are already one a participant and event, and how many had holes."""
    named = [stop, event, subject, order, *([] if start is None else [start])]
    unknown = [name for name in named if name not in data.columns]
    if unknown:
        raise UsageError(
            f"The data have no column {', '.join(map(repr, unknown))}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    frame = data.dropna(subset=named)
    end, happened = outcome(frame[stop].to_numpy(), frame[event].to_numpy(), stop, event)
    begin = np.zeros(len(end)) if start is None else frame[start].to_numpy(dtype=np.float64)
    if (begin >= end).any():
        named_rows = frame.loc[begin >= end, subject].tolist()
        raise UsageError(f"No time at risk: {named_rows[:3]}.", remedy="Leave these rows out.")
    stratum = orders_of(frame[order].to_numpy(), order)
    twice = frame.duplicated([subject, order], keep=False)
    if twice.any():
        raise UsageError(
            f"{subject} and {order} name several rows: {frame.loc[twice, subject].tolist()[:3]}.",
            remedy="wlw takes one row a participant and event; without order= it builds them.",
        )
    who = codes(frame[subject].to_numpy())
    rows = Rows(frame, begin, end, happened == 1.0, who, stratum, end - begin)
    if max_order is not None:
        rows = rows.take(np.flatnonzero(stratum <= max_order))
    return last_time(rows, rows.order), len(data) - len(frame)


def last_time(rows: Rows, order: Ints | None) -> Rows:
    """Let only each participant's last row add to the person-time: it holds all follow-up."""
    assert order is not None
    highest = np.zeros(int(rows.subject.max(initial=0)) + 1, dtype=np.intp)
    np.maximum.at(highest, rows.subject, order)
    return replace(rows, time=rows.time * (order == highest[rows.subject]))


def orders_of(values: npt.NDArray[np.generic], order: str) -> Ints:
    """Return which event a row is at risk of, or refuse anything but 1, 2, ..."""
    if values.dtype.kind not in "iuf" or not ((values >= 1) & (values % 1 == 0)).all():  # type: ignore[operator]
        raise UsageError(f"{order} is not 1, 2, ... everywhere.", remedy="Correct the column.")
    return values.astype(np.intp)


def constant(
    design: Design, data: pd.DataFrame, frame: pd.DataFrame, spans: Intervals, subject: str
) -> None:
    """Refuse covariates that change within a participant.

    Raises
    ------
    UsageError
        With the participant's name and the column.
    """
    for name in dict.fromkeys(v for f in design.factors.values() for v in f.variables):
        found = frame[name].groupby(spans.subject).nunique()
        if (found > 1).any():
            who = data[subject].iloc[spans.rows[spans.first[int(found.to_numpy().argmax())]]]
            raise UsageError(
                f"{name} changes within {who}.",
                remedy="wlw takes covariates at entry: use a column that is constant.",
            )
