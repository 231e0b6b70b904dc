"""Bouts of walking in sealed telemetry, and what they tell of ability and fatigue.

A bout is a stretch in which the belt moves. All numbers are rounded, so that they do not depend
on how a processor adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from device_interface.contract import MOVING_M_S
from trialkit.adaptation import daily
from trialkit.session.telemetry import SealedRows

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 6
LEAST_S = 10.0
"""A shorter bout is left out."""
BRIDGED_S = 3.0
"""Rows that far apart, or a shorter stop, do not end a bout."""
DAY_S = 86400.0
_NEEDED = ("belt_speed_m_s", "tracking_error_rad")


class Bout(NamedTuple):
    """A stretch of walking; times in s from the first row of its session."""

    begin_s: float
    end_s: float
    moving_s: float
    tracking_error_rad: float


def bouts_of(groups: Iterable[SealedRows]) -> list[Bout]:
    """Return the bouts in the first rate group with belt speed and tracking error.

    Raises
    ------
    TelemetryDamaged
        If the file is not what was sealed.
    """
    group = next((g for g in groups if set(_NEEDED) <= set(g.units)), None)
    if group is None:
        return []
    strides = ["duration_s"] if "duration_s" in group.units else []
    return find_bouts(group.frame([*_NEEDED, *strides]))


def find_bouts(frame: pd.DataFrame) -> list[Bout]:
    """Return the bouts of telemetry.

    Parameters
    ----------
    frame : DataFrame
        ``t_device_ns, belt_speed_m_s, tracking_error_rad``, and ``duration_s`` where rows end a
        stride; else a row stands for the time to the row before it, at most `BRIDGED_S`.
    """
    time = (frame["t_device_ns"].to_numpy() - frame["t_device_ns"].iloc[:1].sum()) / 1e9
    if "duration_s" in frame:
        seconds = frame["duration_s"].to_numpy(dtype=np.float64)
    else:
        seconds = np.minimum(np.diff(time, prepend=time[:1]), BRIDGED_S)
    error = frame["tracking_error_rad"].to_numpy(dtype=np.float64)
    moving = (frame["belt_speed_m_s"].to_numpy() > MOVING_M_S) & np.isfinite(error)
    rows = np.flatnonzero(moving)
    if not len(rows):
        return []
    begins, ends = time[rows] - seconds[rows], time[rows]
    cuts = np.flatnonzero(begins[1:] - ends[:-1] > BRIDGED_S) + 1
    found = []
    for part in np.split(np.arange(len(rows)), cuts):
        weight = seconds[rows[part]]
        total = float(weight.sum())
        if total >= LEAST_S:
            mean = float((error[rows[part]] * weight).sum()) / total
            numbers = (float(begins[part[0]]), float(ends[part[-1]]), total, mean)
            found.append(Bout(*(round(n, DIGITS) for n in numbers)))
    return found


def mean_error(bouts: Sequence[Bout]) -> float | None:
    """Return the mean tracking error over bouts, weighted by their moving time, in rad."""
    total = sum(b.moving_s for b in bouts)
    if total <= 0:
        return None
    return round(sum(b.tracking_error_rad * b.moving_s for b in bouts) / total, DIGITS)


def daily_state(
    sessions: Iterable[tuple[int, Sequence[Bout]]], options: Mapping[str, float]
) -> tuple[daily.DailyState | None, int]:
    """Return strength and fatigue after the last bout, and the number of bouts.

    Ability is minus the tracking error of a bout (`trialkit.adaptation.daily`). Between sessions
    the rest is the number of days, and an hour where both are on one day.

    Parameters
    ----------
    sessions : iterable of (study day, bouts)
        In their order.
    options : mapping of str to float
        All options of the scheme ``daily_state``.
    """
    noise = {k: options[k] for k in ("process_level", "process_slope", "process_fatigue")}
    state: daily.DailyState | None = None
    count, last_day, last_end = 0, 0, 0.0
    for day, bouts in sessions:
        for at, bout in enumerate(bouts):
            if state is None:
                state = daily.begin(options["process_fatigue"])
            else:
                apart = max(DAY_S * (day - last_day), 3600.0)
                rest = apart if at == 0 else bout.begin_s - last_end
                kept = daily.kept_fatigue(rest, options["recovery_s"])
                state = daily.predict(state, kept=kept, **noise)
            state, _ = daily.update(state, -bout.tracking_error_rad, options["measurement"])
            count, last_day, last_end = count + 1, day, bout.end_s
    return state, count
