"""One row a stride: times, lengths, stance, double support, load and symmetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats, samples
from trialkit.gait.clearance import minimum_toe_clearance_m
from trialkit.gait.contacts import OFF_N, STRIKE_N, Contacts, foot_contacts

Side = Literal["left", "right"]
MIN_STRIDE_S = 0.4
MAX_STRIDE_S = 4.0
"""Strides outside are counted as irregular."""

DEFINITIONS: Mapping[str, str] = {
    "stride_time_s": "strike to the next strike of the starting foot",
    "cadence_steps_min": "120 / stride_time_s",
    "step_time_l_s": "strike of the other foot to the strike of the left foot; _r likewise",
    "step_length_l_m": "integral of the belt speed over the step time: the participant keeps "
    "the place on the belt; _r likewise",
    "stride_length_m": "sum of both step lengths",
    "belt_speed_m_s": "mean over the stride",
    "stance_l_fraction": "time of the left foot on the ground within the stride, over its time; "
    "_r likewise",
    "double_support_fraction": "time with both feet on the ground, over the stride time",
    "paretic_load_share": "mean vertical force under the paretic foot over the sum of both feet",
    "symmetry": "paretic / non-paretic; 1 is symmetric",
    "toe_clearance_l_m": "lowest height of the toe in mid swing, after its first maximum; "
    "_r likewise",
}


@dataclass(frozen=True)
class Strides:
    """Strides of one recording.

    Attributes
    ----------
    table : DataFrame
        One row a stride; the columns are those of `DEFINITIONS`, with ``start_s`` and ``end_s``.
    definitions : mapping of str to str
        Of each column that the table has.
    start, paretic : str or None
        The foot whose strike begins a stride, and the paretic side.
    gaps : int
        Breaks in the recording; no stride crosses one.
    irregular : int
        Pairs of strikes that are no stride: without exactly one strike of the other foot and one
        foot-off of its own in between, or too short or too long.
    contacts : mapping of side to Contacts
    """

    table: pd.DataFrame
    definitions: Mapping[str, str]
    start: Side
    paretic: Side | None
    gaps: int
    irregular: int
    contacts: Mapping[Side, Contacts]

    @property
    def steps(self) -> int:
        """Foot strikes of both feet, those outside whole strides included."""
        return sum(len(c.strikes_s) for c in self.contacts.values())

    def summary(self) -> pd.DataFrame:
        """Return mean, SD, least and greatest value of each measure over the strides."""
        measures = self.table.drop(columns=["start_s", "end_s"])
        return measures.agg(["count", "mean", "std", "min", "max"]).T


def strides(
    time_s: ArrayLike,
    force_l_n: ArrayLike,
    force_r_n: ArrayLike,
    *,
    seq: ArrayLike | None = None,
    belt_speed_m_s: ArrayLike | None = None,
    toe_l_m: ArrayLike | None = None,
    toe_r_m: ArrayLike | None = None,
    paretic: Side | None = None,
    start: Side = "left",
    strike_n: float = STRIKE_N,
    off_n: float = OFF_N,
    min_contact_s: float = 0.1,
    min_swing_s: float = 0.1,
    max_gap_s: float | None = None,
) -> Strides:
    """Return the strides of a recording; nothing is made up where samples are missing.

    Parameters
    ----------
    time_s : (n,) array
        Seconds, growing.
    force_l_n, force_r_n : (n,) arrays
        Vertical ground reaction in N; NaN in either is a gap.
    seq : (n,) array of int, optional
        Sequence numbers; a step other than 1 is a gap.
    belt_speed_m_s : (n,) array, optional
        Belt speed; without it there are no lengths.
    toe_l_m, toe_r_m : (n,) arrays, optional
        Heights of the toes over the belt (`toe_heights` makes them from joint angles).
    paretic : {"left", "right"}, optional
        Without it there are no symmetry ratios and no paretic load share.
    start : {"left", "right"}
        The foot whose strike begins a stride.
    strike_n, off_n, min_contact_s, min_swing_s, max_gap_s
        As in `foot_contacts`.

    Returns
    -------
    Strides

    Raises
    ------
    UsageError
        If lengths differ, time does not grow, or a side is unknown.
    """
    for side in (start, paretic):
        if side not in ("left", "right", None):
            raise UsageError(f"{side!r} is no side.", remedy="Use 'left' or 'right'.")
    time = samples("time_s", time_s)
    n = len(time)
    left, right = samples("force_l_n", force_l_n, n), samples("force_r_n", force_r_n, n)
    both = np.isfinite(left) & np.isfinite(right)
    force: dict[Side, Floats] = {
        "left": np.where(both, left, np.nan),
        "right": np.where(both, right, np.nan),
    }
    contacts = {
        side: foot_contacts(
            time,
            values,
            seq=seq,
            strike_n=strike_n,
            off_n=off_n,
            min_contact_s=min_contact_s,
            min_swing_s=min_swing_s,
            max_gap_s=max_gap_s,
        )
        for side, values in force.items()
    }
    belt = None if belt_speed_m_s is None else samples("belt_speed_m_s", belt_speed_m_s, n)
    toes: dict[Side, Floats] = {}
    if toe_l_m is not None:
        toes["left"] = samples("toe_l_m", toe_l_m, n)
    if toe_r_m is not None:
        toes["right"] = samples("toe_r_m", toe_r_m, n)
    signals = _Signals(time, force, belt, toes)
    rows, irregular = [], 0
    own, other = contacts[start], contacts["right" if start == "left" else "left"]
    for i in np.flatnonzero(np.diff(own.strike_runs) == 0):
        events = _events(own, other, int(i))
        if events is None:
            irregular += 1
        else:
            rows.append(_row(events, signals, start, paretic))
    columns = _columns(belt is not None, paretic is not None, sorted(toes))
    table = pd.DataFrame(rows, columns=columns, dtype="float64")
    return Strides(
        table=table,
        definitions={c: _definition(c) for c in columns if _key(c) in DEFINITIONS},
        start=start,
        paretic=paretic,
        gaps=own.gaps,
        irregular=irregular,
        contacts=contacts,
    )


def strides_from_telemetry(
    frame: pd.DataFrame, *, paretic: Side | None = None, start: Side = "left", **options: float
) -> Strides:
    """Return the strides of a sealed ``motion`` stream.

    Parameters
    ----------
    frame : DataFrame
        With ``t_device_ns, grf_vertical_l, grf_vertical_r``; used where there: ``seq,
        belt_speed_m_s, toe_height_l_m, toe_height_r_m``.
    paretic, start
        As in `strides`.
    **options
        ``strike_n, off_n, min_contact_s, min_swing_s, max_gap_s`` of `strides`.

    Raises
    ------
    UsageError
        If a needed column is missing.
    """
    missing = [c for c in ("t_device_ns", "grf_vertical_l", "grf_vertical_r") if c not in frame]
    if missing:
        raise UsageError(
            f"the telemetry lacks {', '.join(missing)}.",
            remedy="Use a stream with vertical ground reaction of both feet.",
        )

    def channel(name: str) -> Floats | None:
        return frame[name].to_numpy(dtype=np.float64) if name in frame else None

    return strides(
        (frame["t_device_ns"] - frame["t_device_ns"].iloc[:1].sum()).to_numpy() / 1e9,
        frame["grf_vertical_l"].to_numpy(dtype=np.float64),
        frame["grf_vertical_r"].to_numpy(dtype=np.float64),
        seq=channel("seq"),
        belt_speed_m_s=channel("belt_speed_m_s"),
        toe_l_m=channel("toe_height_l_m"),
        toe_r_m=channel("toe_height_r_m"),
        paretic=paretic,
        start=start,
        **options,
    )


@dataclass(frozen=True)
class _Signals:
    time: Floats
    force: Mapping[Side, Floats]
    belt: Floats | None
    toes: Mapping[Side, Floats]


@dataclass(frozen=True)
class _Events:
    """The events of one stride, in s; `other_off` ends the swing that `other_strike` ends.

    `other_leaves` is where the other foot leaves again within the stride, else its end.
    """

    begin: float
    other_off: float
    other_strike: float
    other_leaves: float
    own_off: float
    end: float

    @property
    def own_swing(self) -> tuple[float, float]:
        return self.own_off, self.end

    @property
    def other_swing(self) -> tuple[float, float]:
        return self.other_off, self.other_strike


def _events(own: Contacts, other: Contacts, i: int) -> _Events | None:
    begin, end = float(own.strikes_s[i]), float(own.strikes_s[i + 1])
    if not MIN_STRIDE_S <= end - begin <= MAX_STRIDE_S:
        return None
    own_offs = own.offs_s[(own.offs_s >= begin) & (own.offs_s < end)]
    hits = other.strikes_s[(other.strikes_s >= begin) & (other.strikes_s < end)]
    if len(own_offs) != 1 or len(hits) != 1:
        return None
    hit = float(hits[0])
    offs = other.offs_s[other.off_runs == own.strike_runs[i]]
    before = offs[offs <= hit]
    after = offs[(offs > hit) & (offs < end)]
    if not len(before) or hit - before[-1] > MAX_STRIDE_S:
        return None
    leaves = float(after[0]) if len(after) else end
    return _Events(begin, float(before[-1]), hit, leaves, float(own_offs[0]), end)


def _row(events: _Events, signals: _Signals, start: Side, paretic: Side | None) -> dict[str, float]:
    row = _timing(events, start)
    time = signals.time
    if signals.belt is not None:
        row |= _lengths(time, signals.belt, events, start)
    if paretic is not None:
        row |= _paretic(row, time, signals.force, events, paretic)
    for side, height in signals.toes.items():
        swing = events.own_swing if side == start else events.other_swing
        first, last = (
            np.searchsorted(time, swing[0], "left"),
            np.searchsorted(time, swing[1], "right"),
        )
        row[f"toe_clearance_{side[0]}_m"] = minimum_toe_clearance_m(height[first:last])
    return row


def _timing(events: _Events, start: Side) -> dict[str, float]:
    stride = events.end - events.begin
    other_step = events.other_strike - events.begin
    own_stance = events.own_off - events.begin
    first = max(0.0, events.other_off - events.begin)
    other_stance = first + events.other_leaves - events.other_strike
    double = min(first, own_stance)
    double += max(0.0, min(events.own_off, events.other_leaves) - events.other_strike)
    a, b = ("l", "r") if start == "left" else ("r", "l")
    return {
        "start_s": events.begin,
        "end_s": events.end,
        "stride_time_s": stride,
        "cadence_steps_min": 120.0 / stride,
        f"step_time_{a}_s": stride - other_step,
        f"step_time_{b}_s": other_step,
        f"stance_{a}_fraction": own_stance / stride,
        f"stance_{b}_fraction": other_stance / stride,
        "double_support_fraction": double / stride,
    }


def _lengths(time: Floats, belt: Floats, events: _Events, start: Side) -> dict[str, float]:
    other = _integral(time, belt, events.begin, events.other_strike)
    own = _integral(time, belt, events.other_strike, events.end)
    a, b = ("l", "r") if start == "left" else ("r", "l")
    return {
        f"step_length_{a}_m": own,
        f"step_length_{b}_m": other,
        "stride_length_m": own + other,
        "belt_speed_m_s": (own + other) / (events.end - events.begin),
    }


def _integral(time: Floats, values: Floats, begin: float, end: float) -> float:
    """Return the integral by trapezia, the ends between samples by interpolation."""
    first, last = np.searchsorted(time, begin, "right"), np.searchsorted(time, end, "left")
    near = slice(max(0, int(first) - 1), int(last) + 1)
    at = np.concatenate([[begin], time[first:last], [end]])
    return float(np.trapezoid(np.interp(at, time[near], values[near]), at))


def _paretic(
    row: Mapping[str, float],
    time: Floats,
    force: Mapping[Side, Floats],
    events: _Events,
    paretic: Side,
) -> dict[str, float]:
    p, q = ("l", "r") if paretic == "left" else ("r", "l")
    load = {s[0]: _integral(time, f, events.begin, events.end) for s, f in force.items()}
    total = load["l"] + load["r"]
    ratios = {"step_time_symmetry": "step_time_{}_s", "stance_symmetry": "stance_{}_fraction"}
    if f"step_length_{p}_m" in row:
        ratios["step_length_symmetry"] = "step_length_{}_m"
    nan = float("nan")
    found = {"paretic_load_share": load[p] / total if total > 0 else nan}
    for name, column in ratios.items():
        below = row[column.format(q)]
        found[name] = row[column.format(p)] / below if below > 0 else nan
    return found


def _columns(belt: bool, paretic: bool, toes: list[Side]) -> list[str]:
    columns = ["start_s", "end_s", "stride_time_s", "cadence_steps_min"]
    columns += ["step_time_l_s", "step_time_r_s", "stance_l_fraction", "stance_r_fraction"]
    columns += ["double_support_fraction"]
    if belt:
        columns += ["step_length_l_m", "step_length_r_m", "stride_length_m", "belt_speed_m_s"]
    if paretic:
        columns += ["paretic_load_share", "step_time_symmetry", "stance_symmetry"]
        columns += ["step_length_symmetry"] if belt else []
    return columns + [f"toe_clearance_{side[0]}_m" for side in toes]


def _definition(column: str) -> str:
    text = DEFINITIONS[_key(column)].removesuffix("; _r likewise")
    return text.replace("left foot", "right foot") if "_r_" in column else text


def _key(column: str) -> str:
    """Return the entry of `DEFINITIONS` that tells about `column`."""
    if column.endswith("_symmetry"):
        return "symmetry"
    return column.replace("_r_", "_l_")
