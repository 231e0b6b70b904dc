"""Telemetry of a session, as sealed: one table a rate group. Version ``VERSIONS["telemetry"]``.

``MOTION`` has the rows of a driven treadmill orthosis at 100 Hz, ``STRIDE`` one row a stride
or stretch of standing. Angles are rad, flexion positive; torques N.m toward flexion,
interaction torque robot on human; forces N, upward on the patient. A device of another
family has its own channels; the three times and the system columns are the same for all.
"""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa
from pandera.typing.pandas import Series


class _Rows(pa.DataFrameModel):
    """What every stream has: sequence, clocks, and the device's own state."""

    seq: Series[pa.UInt32] = pa.Field(unique=True, description="Sequence number; a gap shows")
    t_device_ns: Series[pa.Int64] = pa.Field(ge=0, description="Device clock, ns")
    t_host_ns: Series[pa.Int64] = pa.Field(ge=0, description="Host clock, monotonic, ns")
    device_state: Series[pa.Int16] = pa.Field(
        isin=list(range(10)), description="State of the device, by number"
    )
    fault_code: Series[pa.Int16] = pa.Field(ge=0, description="0, or the code of the fault")
    watchdog_age_s: Series[pa.Float32] = pa.Field(ge=0, description="Age of the last keepalive, s")
    belt_speed_set_m_s: Series[pa.Float32] = pa.Field(
        ge=0, le=3, description="Belt speed, set, m/s"
    )
    belt_speed_m_s: Series[pa.Float32] = pa.Field(
        ge=-0.2, le=3, description="Belt speed, read, m/s"
    )
    support_set_fraction: Series[pa.Float32] = pa.Field(
        ge=0, le=1, description="Body-weight support, set, fraction of weight"
    )
    support_fraction: Series[pa.Float32] = pa.Field(
        ge=-0.1, le=1.1, description="Body-weight support, read, fraction of weight"
    )
    guidance: Series[pa.Float32] = pa.Field(ge=0, le=1, description="Guidance, 0 to 1")
    tracking_error_rad: Series[pa.Float32] = pa.Field(
        ge=0, le=2, description="Mean distance from the reference path, rad"
    )
    heart_rate_bpm: Series[pa.Float32] = pa.Field(ge=20, le=250, description="Heart rate, 1/min")

    @pa.dataframe_check
    @classmethod
    def clocks_never_go_back(cls, frame: pd.DataFrame) -> bool:
        """Device and host time, and the sequence, only grow."""
        times = frame[["seq", "t_device_ns", "t_host_ns"]].astype("int64")
        return bool((times.diff().iloc[1:] >= 0).all(axis=None))

    class Config:
        """Unknown columns are faults."""

        strict = True
        coerce = False


class _Motion(_Rows):
    hip_angle_l: Series[pa.Float32] = pa.Field(ge=-0.7, le=2.1, description="Hip angle, left, rad")
    knee_angle_l: Series[pa.Float32] = pa.Field(
        ge=-0.2, le=2.1, description="Knee angle, left, rad"
    )
    ankle_angle_l: Series[pa.Float32] = pa.Field(
        ge=-0.9, le=0.7, description="Ankle angle, left, rad"
    )
    hip_angle_r: Series[pa.Float32] = pa.Field(ge=-0.7, le=2.1, description="Hip angle, right, rad")
    knee_angle_r: Series[pa.Float32] = pa.Field(
        ge=-0.2, le=2.1, description="Knee angle, right, rad"
    )
    ankle_angle_r: Series[pa.Float32] = pa.Field(
        ge=-0.9, le=0.7, description="Ankle angle, right, rad"
    )
    hip_velocity_l: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Hip velocity, left, rad/s"
    )
    knee_velocity_l: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Knee velocity, left, rad/s"
    )
    ankle_velocity_l: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Ankle velocity, left, rad/s"
    )
    hip_velocity_r: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Hip velocity, right, rad/s"
    )
    knee_velocity_r: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Knee velocity, right, rad/s"
    )
    ankle_velocity_r: Series[pa.Float32] = pa.Field(
        ge=-20, le=20, description="Ankle velocity, right, rad/s"
    )
    hip_motor_torque_l: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Hip motor torque, left, N.m"
    )
    knee_motor_torque_l: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Knee motor torque, left, N.m"
    )
    hip_motor_torque_r: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Hip motor torque, right, N.m"
    )
    knee_motor_torque_r: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Knee motor torque, right, N.m"
    )
    hip_interaction_torque_l: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Hip interaction torque, left, N.m"
    )
    knee_interaction_torque_l: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Knee interaction torque, left, N.m"
    )
    hip_interaction_torque_r: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Hip interaction torque, right, N.m"
    )
    knee_interaction_torque_r: Series[pa.Float32] = pa.Field(
        ge=-200, le=200, description="Knee interaction torque, right, N.m"
    )
    grf_vertical_l: Series[pa.Float32] = pa.Field(
        ge=-50, le=3000, description="Vertical ground reaction, left, N"
    )
    grf_vertical_r: Series[pa.Float32] = pa.Field(
        ge=-50, le=3000, description="Vertical ground reaction, right, N"
    )
    support_load_set_n: Series[pa.Float32] = pa.Field(
        ge=0, le=1500, description="Support load, set, N"
    )
    support_load_n: Series[pa.Float32] = pa.Field(
        ge=-50, le=1500, description="Support load, read, N"
    )
    gait_phase: Series[pa.Float32] = pa.Field(ge=0, le=1, description="Gait phase, 0 to 1")


class _Stride(_Rows):
    duration_s: Series[pa.Float32] = pa.Field(ge=0, description="Duration of the row, s")
    stride_time_s: Series[pa.Float32] = pa.Field(ge=0, le=20, description="Stride time, s")
    step_length_l_m: Series[pa.Float32] = pa.Field(ge=0, le=2, description="Step length, left, m")
    step_length_r_m: Series[pa.Float32] = pa.Field(ge=0, le=2, description="Step length, right, m")
    stance_l_fraction: Series[pa.Float32] = pa.Field(
        ge=0, le=1, description="Stance, left, fraction of the stride"
    )
    stance_r_fraction: Series[pa.Float32] = pa.Field(
        ge=0, le=1, description="Stance, right, fraction of the stride"
    )
    toe_clearance_m: Series[pa.Float32] = pa.Field(
        ge=-0.1, le=0.5, description="Least toe clearance, m"
    )


MOTION = _Motion.to_schema()
STRIDE = _Stride.to_schema()

TABLES: dict[str, pa.DataFrameSchema] = {"motion": MOTION, "stride": STRIDE}

__all__ = ["MOTION", "STRIDE", "TABLES"]
