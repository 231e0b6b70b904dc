"""Dose: what a protocol plans, and what sealed telemetry shows was delivered.

Of the delivered dose ``minutes`` is the time in which the device ran the session (rests
included, holds not); ``moving_minutes`` the time in which the belt moved; means are over
moving time. Steps at 100 Hz are rises of a vertical ground reaction above 50 N after it was
below 20 N; at stride level every row with a stride time is two steps. Minutes of donning and
doffing are counted apart and are in neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from device_interface.contract import MOVING_M_S, DeviceState, Stream
from trialkit.protocol.model import WALKING_KINDS, Parameter, Protocol
from trialkit.record.kinds import Dose
from trialkit.record.sealing import open_sealed, read_manifest

Vector = NDArray[np.float64]

ON_N, OFF_N = 50.0, 20.0
NOTHING = Dose(minutes=0.0, moving_minutes=0.0, steps=0)
WALK_RATIO_M_MIN = 0.0065
"""Step length over cadence, m per (steps/min): about constant in one person over speeds,
near this in healthy adults (Sekiya and Nagasaki 1998, from memory), less after stroke."""
_SHARED = ["belt_speed_m_s", "support_fraction", "guidance", "device_state"]
_COLUMNS = {
    "motion": [*_SHARED, "grf_vertical_l", "grf_vertical_r"],
    "stride": [*_SHARED, "duration_s", "stride_time_s"],
}


@dataclass(frozen=True)
class PlannedDose:
    """What a protocol plans for one session, by the measures in which dose is delivered.

    `steps` and `distance_m` come from the set speed of the blocks on the device; they are
    None where no block has one. `steps` is an estimate from `walk_ratio_m_min`.
    """

    minutes: float
    moving_minutes: float
    steps: int | None
    distance_m: float | None
    walk_ratio_m_min: float
    donning_minutes: tuple[float, float] | None = None
    doffing_minutes: tuple[float, float] | None = None


def planned_dose(
    protocol: Protocol,
    levels: Mapping[Parameter, float] | None = None,
    *,
    walk_ratio_m_min: float = WALK_RATIO_M_MIN,
) -> PlannedDose:
    """Return the dose of one session as planned; ramps between speeds are left out.

    Parameters
    ----------
    levels : mapping, optional
        Where the progression stands; default its start.
    walk_ratio_m_min : float
        W in step length = W * cadence, so that cadence = sqrt(60 * speed / W) steps a minute.
    """
    steps = distance = moving = 0.0
    known = False
    for block, setpoints in zip(protocol.session.blocks, protocol.setpoints(levels), strict=True):
        if block.kind not in WALKING_KINDS:
            continue
        speed = setpoints.get("speed_m_s")
        if speed is None:
            moving += block.minutes
        elif speed > MOVING_M_S:
            known = True
            moving += block.minutes
            distance += 60.0 * block.minutes * speed
            steps += block.minutes * sqrt(60.0 * speed / walk_ratio_m_min)
    return PlannedDose(
        minutes=round(protocol.planned_minutes, 3),
        moving_minutes=round(moving, 3),
        steps=round(steps) if known else None,
        distance_m=round(distance, 1) if known else None,
        walk_ratio_m_min=walk_ratio_m_min,
        donning_minutes=protocol.session.donning_minutes,
        doffing_minutes=protocol.session.doffing_minutes,
    )


def delivered(folder: Path, *, logged_minutes: float = 0.0, row_s: float = 0.01) -> Dose:
    """Return the dose that the sealed telemetry in `folder` shows.

    Parameters
    ----------
    logged_minutes : float
        Minutes of blocks without the device, as the therapist logged them: they count as
        minutes of the session, and never as moving time.
    row_s : float
        Time that one row of the ``motion`` stream stands for.

    Raises
    ------
    TelemetryDamaged
        If the files are not what was sealed.
    """
    names = {entry["name"] for entry in read_manifest(folder).manifest["files"]}
    for stream, columns in _COLUMNS.items():
        if f"{stream}.parquet" in names:
            table = open_sealed(folder, stream, columns=columns)
            return dose_of(table, logged_minutes=logged_minutes, row_s=row_s)
    return NOTHING.model_copy(update={"minutes": round(logged_minutes, 3)})


def dose_stream(streams: Sequence[Stream]) -> Stream | None:
    """Return the stream that shows the dose, or None where no stream has the columns."""
    for name, columns in _COLUMNS.items():
        for stream in streams:
            if stream.name == name and {c.name for c in stream.channels}.issuperset(columns):
                return stream
    return None


def dose_of(table: pa.Table, *, logged_minutes: float = 0.0, row_s: float = 0.01) -> Dose:
    """Return the dose that rows of the ``motion`` or the ``stride`` stream show.

    Parameters
    ----------
    table : Table
        With the columns of `_COLUMNS`; rows with a column ``duration_s`` are strides.
    logged_minutes, row_s : float
        As in `delivered`.
    """
    if "duration_s" in table.column_names:
        steps = 2 * int(np.count_nonzero(_vector(table, "stride_time_s") > 0))
        return _dose(table, _vector(table, "duration_s"), steps, logged_minutes)
    sides = ("grf_vertical_l", "grf_vertical_r")
    steps = sum(_contacts(_vector(table, side)) for side in sides)
    return _dose(table, np.full(table.num_rows, row_s), steps, logged_minutes)


def _vector(table: pa.Table, name: str) -> Vector:
    column: Vector = table.column(name).to_numpy().astype(np.float64)
    return column


def _contacts(force_n: Vector) -> int:
    """Count foot contacts: rises above `ON_N` after the force was below `OFF_N`."""
    if not len(force_n):
        return 0
    known = (force_n > ON_N) | (force_n < OFF_N)
    loaded = force_n[known] > ON_N
    return int(np.count_nonzero(loaded[1:] & ~loaded[:-1]))


def _dose(table: pa.Table, duration: Vector, steps: int, logged_minutes: float) -> Dose:
    speed = _vector(table, "belt_speed_m_s")
    moving = speed > MOVING_M_S
    running = table.column("device_state").to_numpy() == int(DeviceState.RUNNING)
    seconds = float(duration[running | moving].sum())
    moved = float(duration[moving].sum())
    distance = float((speed * duration)[moving].sum())

    def mean(name: str) -> float | None:
        if moved <= 0:
            return None
        return round(float((_vector(table, name) * duration)[moving].sum()) / moved, 4)

    return Dose(
        minutes=round(seconds / 60.0 + logged_minutes, 3),
        moving_minutes=round(moved / 60.0, 3),
        steps=steps,
        distance_m=round(distance, 1),
        mean_speed_m_s=round(distance / moved, 4) if moved > 0 else None,
        mean_support_fraction=mean("support_fraction"),
        mean_guidance=mean("guidance"),
    )
