"""Telemetry of a session, as sealed: one table a rate group. Version ``VERSIONS["telemetry"]``.

``MOTION`` has the rows of a driven treadmill orthosis at 100 Hz, ``STRIDE`` one row a stride
or stretch of standing, ``PHYSIOLOGY`` one a second, ``EMG`` raw EMG at 1 kHz. Columns that say
*optional* are those that not every device has. Angles are rad, flexion positive; torques N.m
toward flexion, interaction torque robot on human; forces N, upward on the patient; across and
along the belt the frame is that of the ISB (forward, and to the right). Blood pressure is
entered by hand and is an event of the session. A device of another family has its own
channels; the three times are the same for all. ``GROUPS`` says which columns belong together.
"""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa
from pandera.typing.pandas import Series


class _Clocked(pa.DataFrameModel):
    """What every stream has: sequence and clocks."""

    seq: Series[pa.UInt32] = pa.Field(unique=True, description="Sequence number; a gap shows")
    t_device_ns: Series[pa.Int64] = pa.Field(ge=0, description="Device clock, ns")
    t_host_ns: Series[pa.Int64] = pa.Field(ge=0, description="Host clock, monotonic, ns")

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


class _Rows(_Clocked):
    """What the device's own streams have: its state, and its settings."""

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
    hip_setpoint_torque_l: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Hip torque asked of the drive, left, N.m; optional"
    )
    hip_setpoint_torque_r: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Hip torque asked of the drive, right, N.m; optional"
    )
    knee_setpoint_torque_l: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Knee torque asked of the drive, left, N.m; optional"
    )
    knee_setpoint_torque_r: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Knee torque asked of the drive, right, N.m; optional"
    )
    ankle_setpoint_torque_l: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle torque asked of the drive, left, N.m; optional"
    )
    ankle_setpoint_torque_r: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle torque asked of the drive, right, N.m; optional"
    )
    ankle_motor_torque_l: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle motor torque, left, N.m; optional"
    )
    ankle_motor_torque_r: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle motor torque, right, N.m; optional"
    )
    ankle_interaction_torque_l: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle interaction torque, left, N.m; optional"
    )
    ankle_interaction_torque_r: Series[pa.Float32] | None = pa.Field(
        ge=-200, le=200, description="Ankle interaction torque, right, N.m; optional"
    )
    stiffness_nm_rad: Series[pa.Float32] | None = pa.Field(
        ge=0, le=2000, description="Stiffness of the guidance, N.m/rad; optional"
    )
    damping_nms_rad: Series[pa.Float32] | None = pa.Field(
        ge=0, le=200, description="Damping of the guidance, N.m.s/rad; optional"
    )
    belt_incline_rad: Series[pa.Float32] | None = pa.Field(
        ge=-0.3, le=0.3, description="Incline of the belt, uphill positive, rad; optional"
    )
    belt_speed_l_m_s: Series[pa.Float32] | None = pa.Field(
        ge=-0.2, le=3, description="Speed of the left belt, m/s; optional"
    )
    belt_speed_r_m_s: Series[pa.Float32] | None = pa.Field(
        ge=-0.2, le=3, description="Speed of the right belt, m/s; optional"
    )
    grf_forward_l: Series[pa.Float32] | None = pa.Field(
        ge=-1500, le=1500, description="Ground reaction, forward, left, N; optional"
    )
    grf_right_l: Series[pa.Float32] | None = pa.Field(
        ge=-1000, le=1000, description="Ground reaction, to the right, left, N; optional"
    )
    cop_forward_l_m: Series[pa.Float32] | None = pa.Field(
        ge=-2, le=2, description="Centre of pressure, forward, left, m; optional"
    )
    cop_right_l_m: Series[pa.Float32] | None = pa.Field(
        ge=-2, le=2, description="Centre of pressure, to the right, left, m; optional"
    )
    grf_forward_r: Series[pa.Float32] | None = pa.Field(
        ge=-1500, le=1500, description="Ground reaction, forward, right, N; optional"
    )
    grf_right_r: Series[pa.Float32] | None = pa.Field(
        ge=-1000, le=1000, description="Ground reaction, to the right, right, N; optional"
    )
    cop_forward_r_m: Series[pa.Float32] | None = pa.Field(
        ge=-2, le=2, description="Centre of pressure, forward, right, m; optional"
    )
    cop_right_r_m: Series[pa.Float32] | None = pa.Field(
        ge=-2, le=2, description="Centre of pressure, to the right, right, m; optional"
    )
    estop: Series[pa.Int16] | None = pa.Field(
        isin=[0, 1], description="1 while the emergency stop is pressed; optional"
    )
    loop_late_s: Series[pa.Float32] | None = pa.Field(
        ge=0, le=10, description="Lateness of the device's own loop, s; optional"
    )


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
    step_symmetry: Series[pa.Float32] | None = pa.Field(
        ge=0, le=10, description="Left (paretic) step length over the right one; optional"
    )


class _Physiology(_Clocked):
    heart_rate_bpm: Series[pa.Float32] = pa.Field(ge=20, le=250, description="Heart rate, 1/min")
    spo2_fraction: Series[pa.Float32] = pa.Field(ge=0, le=1, description="Oxygen saturation")
    respiratory_rate_per_min: Series[pa.Float32] = pa.Field(
        ge=0, le=80, description="Respiratory rate, 1/min"
    )


class _Emg(_Clocked):
    emg_rectus_femoris_l: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Rectus femoris, left, V"
    )
    emg_biceps_femoris_l: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Biceps femoris, left, V"
    )
    emg_tibialis_anterior_l: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Tibialis anterior, left, V"
    )
    emg_gastrocnemius_l: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Gastrocnemius, left, V"
    )
    emg_rectus_femoris_r: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Rectus femoris, right, V"
    )
    emg_biceps_femoris_r: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Biceps femoris, right, V"
    )
    emg_tibialis_anterior_r: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Tibialis anterior, right, V"
    )
    emg_gastrocnemius_r: Series[pa.Float32] = pa.Field(
        ge=-0.005, le=0.005, description="Gastrocnemius, right, V"
    )


MOTION = _Motion.to_schema()
STRIDE = _Stride.to_schema()
PHYSIOLOGY = _Physiology.to_schema()
EMG = _Emg.to_schema()

TABLES: dict[str, pa.DataFrameSchema] = {
    "motion": MOTION,
    "stride": STRIDE,
    "physiology": PHYSIOLOGY,
    "emg": EMG,
}

_CLOCKS = ("seq", "t_device_ns", "t_host_ns")


def _named(table: pa.DataFrameSchema, *parts: str) -> tuple[str, ...]:
    """Return the columns of a table whose names have one of `parts`."""
    return tuple(str(name) for name in table.columns if any(part in str(name) for part in parts))


GROUPS: dict[str, tuple[str, ...]] = {
    "kinematics": _named(MOTION, "_angle_", "_velocity_"),
    "kinetics": _named(MOTION, "_torque_"),
    "guidance": (
        *_named(MOTION, "guidance", "stiffness", "damping"),
        "gait_phase",
        "tracking_error_rad",
    ),
    "treadmill": _named(MOTION, "belt_"),
    "body_weight_support": _named(MOTION, "support_"),
    "ground_reaction": _named(MOTION, "grf_", "cop_"),
    "emg": _named(EMG, "emg_"),
    "physiology": tuple(str(name) for name in PHYSIOLOGY.columns if name not in _CLOCKS),
    "stride": tuple(str(name) for name in STRIDE.columns if name not in MOTION.columns),
    "system": (*_CLOCKS, *_named(MOTION, "device_state", "fault_", "estop", "watchdog", "loop_")),
}
"""Group of measurements to its columns; every column of a table belongs to one or more."""

__all__ = ["EMG", "GROUPS", "MOTION", "PHYSIOLOGY", "STRIDE", "TABLES"]
