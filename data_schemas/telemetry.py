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

    seq: Series[pa.UInt32] = pa.Field(unique=True)
    t_device_ns: Series[pa.Int64] = pa.Field(ge=0)
    t_host_ns: Series[pa.Int64] = pa.Field(ge=0)
    device_state: Series[pa.Int16] = pa.Field(isin=list(range(10)))
    fault_code: Series[pa.Int16] = pa.Field(ge=0)
    watchdog_age_s: Series[pa.Float32] = pa.Field(ge=0)
    belt_speed_set_m_s: Series[pa.Float32] = pa.Field(ge=0, le=3)
    belt_speed_m_s: Series[pa.Float32] = pa.Field(ge=-0.2, le=3)
    support_set_fraction: Series[pa.Float32] = pa.Field(ge=0, le=1)
    support_fraction: Series[pa.Float32] = pa.Field(ge=-0.1, le=1.1)
    guidance: Series[pa.Float32] = pa.Field(ge=0, le=1)
    tracking_error_rad: Series[pa.Float32] = pa.Field(ge=0, le=2)
    heart_rate_bpm: Series[pa.Float32] = pa.Field(ge=20, le=250)

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
    hip_angle_l: Series[pa.Float32] = pa.Field(ge=-0.7, le=2.1)
    knee_angle_l: Series[pa.Float32] = pa.Field(ge=-0.2, le=2.1)
    ankle_angle_l: Series[pa.Float32] = pa.Field(ge=-0.9, le=0.7)
    hip_angle_r: Series[pa.Float32] = pa.Field(ge=-0.7, le=2.1)
    knee_angle_r: Series[pa.Float32] = pa.Field(ge=-0.2, le=2.1)
    ankle_angle_r: Series[pa.Float32] = pa.Field(ge=-0.9, le=0.7)
    hip_velocity_l: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    knee_velocity_l: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    ankle_velocity_l: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    hip_velocity_r: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    knee_velocity_r: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    ankle_velocity_r: Series[pa.Float32] = pa.Field(ge=-20, le=20)
    hip_motor_torque_l: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    knee_motor_torque_l: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    hip_motor_torque_r: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    knee_motor_torque_r: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    hip_interaction_torque_l: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    knee_interaction_torque_l: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    hip_interaction_torque_r: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    knee_interaction_torque_r: Series[pa.Float32] = pa.Field(ge=-200, le=200)
    grf_vertical_l: Series[pa.Float32] = pa.Field(ge=-50, le=3000)
    grf_vertical_r: Series[pa.Float32] = pa.Field(ge=-50, le=3000)
    support_load_set_n: Series[pa.Float32] = pa.Field(ge=0, le=1500)
    support_load_n: Series[pa.Float32] = pa.Field(ge=-50, le=1500)
    gait_phase: Series[pa.Float32] = pa.Field(ge=0, le=1)


class _Stride(_Rows):
    duration_s: Series[pa.Float32] = pa.Field(ge=0)
    stride_time_s: Series[pa.Float32] = pa.Field(ge=0, le=20)
    step_length_l_m: Series[pa.Float32] = pa.Field(ge=0, le=2)
    step_length_r_m: Series[pa.Float32] = pa.Field(ge=0, le=2)
    stance_l_fraction: Series[pa.Float32] = pa.Field(ge=0, le=1)
    stance_r_fraction: Series[pa.Float32] = pa.Field(ge=0, le=1)
    toe_clearance_m: Series[pa.Float32] = pa.Field(ge=-0.1, le=0.5)


MOTION = _Motion.to_schema()
STRIDE = _Stride.to_schema()

__all__ = ["MOTION", "STRIDE"]
