"""The gait measures of a whole recording: what its channels allow, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.gait._runs import Floats
from trialkit.gait.clearance import Segments, toe_heights
from trialkit.gait.emg import emg_envelope
from trialkit.gait.strides import DEFINITIONS, Side, strides_from_telemetry

FORCES = ("grf_vertical_l", "grf_vertical_r")
LEAST_EMG_HZ = 100.0
"""Below this an envelope says nothing."""
_ANGLES = tuple(f"{joint}_angle_{side}" for side in "lr" for joint in ("hip", "knee", "ankle"))
_NO_SIDE = "the paretic side is not known: name it"
_NO_STEPS = "no vertical ground reaction of both feet, and no values of each stride"
_REPORTED = "as the device reports it"
_ASYMMETRY = "|left - right| / (left + right) of the step lengths; 0 is symmetric"
_OPTIONAL: Mapping[str, tuple[str, str]] = {
    "step_length_l_m": ("step length", "no belt speed, and no step length of the device"),
    "stance_l_fraction": ("stance share", _NO_STEPS),
    "paretic_load_share": ("loading share", _NO_STEPS),
    "step_time_symmetry": ("step time symmetry", _NO_STEPS),
    "step_length_symmetry": ("step length symmetry", "no step lengths"),
    "stance_symmetry": ("stance symmetry", _NO_STEPS),
}


@dataclass(frozen=True)
class Signals:
    """One rate group of a recording.

    Attributes
    ----------
    name : str
    frame : DataFrame
        ``seq, t_device_ns, t_host_ns`` and one column a channel.
    units : mapping of channel to unit
    """

    name: str
    frame: pd.DataFrame
    units: Mapping[str, str]


@dataclass(frozen=True)
class GaitReport:
    """Strides and measures of a recording.

    Attributes
    ----------
    table : DataFrame
        One row a stride: ``start_s, end_s`` from the first row of `source`, then the measures.
    summary : DataFrame
        One row a measure: ``measure, n, mean, sd, min, max, definition``.
    steps : int or None
        Foot strikes; two a stride where the device reports strides. None without either.
    gaps, irregular : int
        Breaks in the recording, and pairs of strikes that are no stride.
    source : str
        The rate group that the strides come from; empty without strides.
    computed : bool
        True where strides were found in forces, False where the device reported them.
    paretic : str or None
    missing : mapping of str to str
        Measures that cannot be had, and why.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    steps: int | None
    gaps: int
    irregular: int
    source: str
    computed: bool
    paretic: Side | None
    missing: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the table as plain data; what is not a number is None."""
        return {
            "steps": self.steps,
            "strides": len(self.table),
            "gaps": self.gaps,
            "irregular": self.irregular,
            "source": self.source,
            "computed": self.computed,
            "paretic": self.paretic,
            "measures": [
                {k: None if v != v else v for k, v in row.items()}
                for row in self.summary.to_dict("records")
            ],
            "missing": dict(self.missing),
        }


@dataclass
class _Found:
    table: pd.DataFrame
    definitions: dict[str, str]
    steps: int | None = None
    gaps: int = 0
    irregular: int = 0
    source: str = ""
    computed: bool = False
    begin_ns: int = 0


def gait_report(
    groups: Sequence[Signals], *, paretic: Side | None = None, segments: Segments | None = None
) -> GaitReport:
    """Return what the channels of a recording tell of gait.

    Strides come from the first group with vertical ground reaction of both feet
    (`strides_from_telemetry`), else from the first one with ``stride_time_s``, where the device
    made them by definitions of its own. The clearance of the toe comes from heights of the toes,
    else from joint angles where `segments` are given, else from the device.

    Parameters
    ----------
    groups : sequence of Signals
    paretic : {"left", "right"}, optional
        Without it there is no symmetry of paretic to non-paretic and no loading share.
    segments : Segments, optional
        Lengths of the participant's leg.

    Raises
    ------
    UsageError
        If `paretic` is no side.
    """
    if paretic not in ("left", "right", None):
        raise UsageError(f"{paretic!r} is no side.", remedy="Use left or right.")
    missing = {g.name: "it has no two rows" for g in groups if len(g.frame) < 2}
    groups = [g for g in groups if g.name not in missing]
    forces = next((g for g in groups if set(FORCES) <= set(g.frame)), None)
    reported = next((g for g in groups if "stride_time_s" in g.frame), None)
    if forces is not None:
        found = _computed(forces, paretic, segments)
    elif reported is not None:
        found = _as_reported(reported, paretic)
    else:
        found = _Found(pd.DataFrame(), {})
        missing["steps and cadence"] = _NO_STEPS
    for column, (what, why) in _OPTIONAL.items():
        if column not in found.table:
            paired = column.startswith("paretic") or column.endswith("symmetry")
            missing[what] = _NO_SIDE if paired and paretic is None and found.source else why
    if "paretic_load_share" not in found.table and found.source and not found.computed:
        missing["loading share"] = "no vertical ground reaction of both feet"
    summary = _clearance(found, reported, missing)
    _emg(found, groups, summary, missing)
    measures = [str(c) for c in found.table if c not in ("start_s", "end_s")]
    rows = [_row(c, found.table[c], found.definitions[c]) for c in measures] + summary
    columns = ["measure", "n", "mean", "sd", "min", "max", "definition"]
    return GaitReport(
        table=found.table,
        summary=pd.DataFrame(rows, columns=columns),
        steps=found.steps,
        gaps=found.gaps,
        irregular=found.irregular,
        source=found.source,
        computed=found.computed,
        paretic=paretic,
        missing=missing,
    )


def _row(name: str, values: pd.Series, definition: str) -> dict[str, Any]:
    known = values.dropna()
    return {
        "measure": name,
        "n": len(known),
        "mean": float(known.mean()) if len(known) else float("nan"),
        "sd": float(known.std()) if len(known) > 1 else float("nan"),
        "min": float(known.min()) if len(known) else float("nan"),
        "max": float(known.max()) if len(known) else float("nan"),
        "definition": definition,
    }


def _with_asymmetry(table: pd.DataFrame, definitions: dict[str, str]) -> None:
    """Add the asymmetry that needs no paretic side."""
    if "step_length_l_m" in table:
        left, right = table["step_length_l_m"], table["step_length_r_m"]
        total = left + right
        table["step_asymmetry"] = ((left - right).abs() / total).where(total > 0)
        definitions["step_asymmetry"] = _ASYMMETRY


def _computed(group: Signals, paretic: Side | None, segments: Segments | None) -> _Found:
    frame = group.frame
    if segments is not None and "toe_height_l_m" not in frame and set(_ANGLES) <= set(frame):
        left, right = (
            {joint: frame[f"{joint}_angle_{side}"] for joint in ("hip", "knee", "ankle")}
            for side in "lr"
        )
        heights = toe_heights(left, right, segments)
        frame = frame.assign(toe_height_l_m=heights[0], toe_height_r_m=heights[1])
    made = strides_from_telemetry(frame, paretic=paretic)
    table, definitions = made.table.copy(), dict(made.definitions)
    _with_asymmetry(table, definitions)
    begin = int(frame["t_device_ns"].iloc[0])
    return _Found(
        *(table, definitions, made.steps, made.gaps, made.irregular, group.name, True, begin)
    )


def _as_reported(group: Signals, paretic: Side | None) -> _Found:
    """Return the strides that the device itself reports: one row each, at its end."""
    frame = group.frame
    begin = int(frame["t_device_ns"].iloc[0])
    rows = frame[frame["stride_time_s"] > 0].reset_index(drop=True)
    time = rows["stride_time_s"].astype("float64")
    table = pd.DataFrame({"end_s": (rows["t_device_ns"] - begin) / 1e9})
    table.insert(0, "start_s", table["end_s"] - time)
    table["stride_time_s"], table["cadence_steps_min"] = time, 120.0 / time
    for name in ("step_length_{}_m", "stance_{}_fraction"):
        both = [name.format(side) for side in "lr"]
        if set(both) <= set(rows):
            table[both] = rows[both].astype("float64")
    if "step_length_l_m" in table:
        table["stride_length_m"] = table["step_length_l_m"] + table["step_length_r_m"]
    if "belt_speed_m_s" in rows:
        table["belt_speed_m_s"] = rows["belt_speed_m_s"].astype("float64")
    definitions = {str(c): _REPORTED for c in table}
    definitions["cadence_steps_min"] = DEFINITIONS["cadence_steps_min"]
    definitions["stride_length_m"] = DEFINITIONS["stride_length_m"]
    if paretic is not None:
        p, q = ("l", "r") if paretic == "left" else ("r", "l")
        for name, column in (
            ("stance_symmetry", "stance_{}_fraction"),
            ("step_length_symmetry", "step_length_{}_m"),
        ):
            if column.format(p) in table:
                below = table[column.format(q)]
                table[name] = (table[column.format(p)] / below).where(below > 0)
                definitions[name] = DEFINITIONS["symmetry"]
    _with_asymmetry(table, definitions)
    gaps = int(np.count_nonzero(np.diff(frame["seq"].astype("int64")) != 1))
    return _Found(table, definitions, 2 * len(rows), gaps, 0, group.name, False, begin)


def _clearance(
    found: _Found, reported: Signals | None, missing: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the summary of the device's own toe clearance where there is no better one."""
    if "toe_clearance_l_m" in found.table:
        return []
    if reported is not None and "toe_clearance_m" in reported.frame:
        whole = reported.frame.loc[reported.frame["stride_time_s"] > 0, "toe_clearance_m"]
        where = f"least of both feet a stride, {_REPORTED} in {reported.name}"
        if not found.computed:
            found.table["toe_clearance_m"] = whole.astype("float64").to_numpy()
            found.definitions["toe_clearance_m"] = where
            return []
        return [_row("toe_clearance_m", whole.astype("float64"), where)]
    why = "no heights of the toes; joint angles need the lengths of the leg"
    missing["minimum toe clearance"] = why if found.computed else "no heights of the toes"
    return []


def _emg(
    found: _Found,
    groups: Sequence[Signals],
    summary: list[dict[str, Any]],
    missing: dict[str, str],
) -> None:
    """Add the mean envelope of each EMG channel in each stride, else over the recording."""
    seen = False
    home = next((g for g in groups if g.name == found.source), None)
    for group in groups:
        names = [c for c in group.units if _is_emg(group, c)]
        if not names:
            continue
        seen = True
        rate = _rate_hz(group.frame)
        if rate < LEAST_EMG_HZ:
            missing[f"EMG envelope of {group.name}"] = f"at {rate:.0f} Hz it is sampled too slowly"
            continue
        band = (20.0, min(450.0, 0.45 * rate))
        means = f"mean of the envelope ({band[0]:g} to {band[1]:.0f} Hz, rectified, 6 Hz)"
        for name in names:
            host, envelope = _envelope(group.frame, name, rate, band)
            unit = group.units[name]
            column = f"{name}_envelope" if name not in found.table else f"{group.name}_{name}"
            if home is not None and len(found.table):
                found.table[column] = _means(found, home, host, envelope)
                found.definitions[column] = f"{means} over the stride, {unit}"
            else:
                whole = pd.Series(envelope)
                summary.append(_row(column, whole, f"{means} over the recording, {unit}"))
    if not seen:
        missing["EMG envelope"] = "no channel of EMG"


def _is_emg(group: Signals, channel: str) -> bool:
    """Return whether a channel is EMG: by its name in V, or by its group's name."""
    unit = group.units[channel]
    if "emg" in group.name.lower():
        return unit in {"V", "mV", "uV", "1"}
    return "emg" in channel.lower() and unit in {"V", "mV", "uV"}


def _rate_hz(frame: pd.DataFrame) -> float:
    steps = np.diff(frame["t_device_ns"].to_numpy())[np.diff(frame["seq"].astype("int64")) == 1]
    return 1e9 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 0.0


def _envelope(
    frame: pd.DataFrame, name: str, rate: float, band: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Return host times in ns and the envelope there, rows that were lost left out."""
    place = (frame["seq"].astype("int64") - int(frame["seq"].iloc[0])).to_numpy()
    host = frame["t_host_ns"].to_numpy(dtype=np.float64)
    values = frame[name].to_numpy(dtype=np.float64)
    if place[-1] + 1 > 2 * len(place) or (np.diff(place) <= 0).any():
        place = np.arange(len(place))
    even = np.full(int(place[-1]) + 1, np.nan)
    even[place] = values
    return host, emg_envelope(even, rate, band_hz=band)[place]


def _means(found: _Found, home: Signals, host: Floats, envelope: Floats) -> list[float]:
    """Return the mean of an envelope over each stride, by the clock of the host."""
    device = home.frame["t_device_ns"].to_numpy(dtype=np.float64)
    other = home.frame["t_host_ns"].to_numpy(dtype=np.float64)
    ends = found.table[["start_s", "end_s"]].to_numpy() * 1e9 + found.begin_ns
    at = np.searchsorted(host, np.interp(ends, device, other))
    parts = (envelope[begin:end] for begin, end in at)
    return [float(np.nanmean(p)) if np.isfinite(p).any() else float("nan") for p in parts]
