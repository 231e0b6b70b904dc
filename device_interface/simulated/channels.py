"""The descriptor of the simulated gait trainer: parameters, channels, limits."""

from __future__ import annotations

import math
from collections.abc import Iterable

from device_interface.contract import Capability, Channel, Parameter, Stream
from device_interface.simulated.faults import FAULTS, PARTICIPANT_STOP

MAX_SPEED_M_S = 0.8889
"""3.2 km/h, from the data sheet of a driven treadmill orthosis."""
MAX_SUPPORT_KG = 85.0
MAX_PATIENT_KG = 135.0
ROW_S = 0.01
EMG_HZ = 1000
MUSCLES = ("rectus_femoris", "biceps_femoris", "tibialis_anterior", "gastrocnemius")
FURTHER = ("physiology", "stride", "emg")
"""Streams that the trainer has beside ``motion`` where it is asked to."""

_HIP = (math.radians(-40), math.radians(120))
_KNEE = (math.radians(-10), math.radians(120))
_ANKLE = (math.radians(-50), math.radians(40))


def _channel(name: str, unit: str, positive: str, low: float, high: float) -> Channel:
    return Channel(name, unit, positive, round(low, 6), round(high, 6))


def _legs() -> list[Channel]:
    channels = []
    for side in ("l", "r"):
        for joint, (low, high) in (("hip", _HIP), ("knee", _KNEE), ("ankle", _ANKLE)):
            sense = "dorsiflexion" if joint == "ankle" else "flexion"
            channels.append(_channel(f"{joint}_angle_{side}", "rad", sense, low, high))
        for joint in ("hip", "knee", "ankle"):
            sense = "dorsiflexion" if joint == "ankle" else "flexion"
            channels.append(_channel(f"{joint}_velocity_{side}", "rad/s", sense, -20, 20))
        for joint in ("hip", "knee"):
            channels.append(
                _channel(f"{joint}_motor_torque_{side}", "N.m", "toward flexion", -200, 200)
            )
        for joint in ("hip", "knee"):
            channels.append(
                _channel(
                    f"{joint}_interaction_torque_{side}",
                    "N.m",
                    "robot on human, toward flexion",
                    -200,
                    200,
                )
            )
        channels.append(_channel(f"grf_vertical_{side}", "N", "upward on patient", -50, 3000))
    return channels


def _system() -> list[Channel]:
    return [
        Channel("device_state", "1", "enumeration DeviceState", 0, 9, kind="int16"),
        Channel("fault_code", "1", "0 is none", 0, 32767, kind="int16"),
        _channel("watchdog_age_s", "s", "since the last keepalive", 0, 10),
    ]


def _shared(max_support: float) -> list[Channel]:
    return [
        _channel("belt_speed_set_m_s", "m/s", "walking forward", 0, MAX_SPEED_M_S),
        Channel(
            "belt_speed_m_s",
            "m/s",
            "walking forward",
            -0.2,
            1.2,
            follows="belt_speed_set_m_s",
            allowed_gap=0.1,
            gap_after_s=1.0,
        ),
        _channel("support_set_fraction", "1", "of body weight", 0, max_support),
        _channel("support_fraction", "1", "of body weight", -0.1, 1.1),
        _channel("guidance", "1", "0 none, 1 stiff", 0, 1),
        _channel("tracking_error_rad", "rad", "RMS over joints, from the path", 0, 2),
        _channel("heart_rate_bpm", "1/min", "beats", 20, 250),
    ]


def full_stream(max_support: float) -> Stream:
    """Return the 100 Hz stream."""
    rest = [
        _channel("support_load_set_n", "N", "upward on patient", 0, 1500),
        _channel("support_load_n", "N", "upward on patient", -50, 1500),
        _channel("gait_phase", "1", "left foot contact is 0", 0, 1),
    ]
    return Stream(
        "motion", 1.0 / ROW_S, tuple([*_legs(), *_shared(max_support), *rest, *_system()])
    )


def stride_stream(max_support: float) -> Stream:
    """Return the stream of one row a stride, or a stretch of standing."""
    rows = [
        _channel("duration_s", "s", "of the stride or of the standing", 0, 3600),
        _channel("stride_time_s", "s", "0 while standing", 0, 20),
        _channel("step_length_l_m", "m", "forward", 0, 2),
        _channel("step_length_r_m", "m", "forward", 0, 2),
        _channel("stance_l_fraction", "1", "of the stride", 0, 1),
        _channel("stance_r_fraction", "1", "of the stride", 0, 1),
        _channel("toe_clearance_m", "m", "over the belt", -0.1, 0.5),
    ]
    return Stream("stride", None, tuple([*rows, *_shared(max_support), *_system()]))


def _physiology_stream() -> Stream:
    return Stream(
        "physiology",
        1.0,
        (
            _channel("heart_rate_bpm", "1/min", "beats", 20, 250),
            _channel("spo2_fraction", "1", "saturation of oxygen", 0, 1),
            _channel("respiratory_rate_per_min", "1/min", "breaths", 0, 80),
        ),
    )


def _strides_beside(max_support: float) -> Stream:
    own = stride_stream(max_support)
    symmetry = _channel("step_symmetry", "1", "left (paretic) step over right step", 0, 10)
    return Stream(own.name, None, (*own.channels, symmetry))


def _emg_stream() -> Stream:
    return Stream(
        "emg",
        float(EMG_HZ),
        tuple(
            _channel(f"emg_{muscle}_{side}", "V", "as amplified, no sense", -0.005, 0.005)
            for side in "lr"
            for muscle in MUSCLES
        ),
    )


def further_streams(names: Iterable[str], max_support: float) -> tuple[Stream, ...]:
    """Return the streams beside ``motion``, in the order of `FURTHER`.

    Raises
    ------
    ValueError
        If a name is not one of `FURTHER`, or comes twice.
    """
    wanted = list(names)
    if not set(wanted) <= set(FURTHER) or len(set(wanted)) < len(wanted):
        raise ValueError(f"streams must be some of {', '.join(FURTHER)}, each once")
    made = {
        "physiology": _physiology_stream(),
        "stride": _strides_beside(max_support),
        "emg": _emg_stream(),
    }
    return tuple(made[name] for name in FURTHER if name in wanted)


def capability(
    *,
    rate: str,
    weight_kg: float,
    serial: str,
    calibrated_on: str | None,
    streams: Iterable[str] = (),
) -> Capability:
    """Return the descriptor for a patient of `weight_kg` (support is limited in kg).

    Raises
    ------
    ValueError
        If `rate` is not ``full`` or ``stride``, or `streams` is not a list of `FURTHER` at
        ``full``.
    """
    if rate not in ("full", "stride"):
        raise ValueError("rate must be 'full' or 'stride'")
    if isinstance(streams, str) or (streams and rate != "full"):
        raise ValueError("streams is a list, and needs the rate 'full'")
    max_support = min(1.0, int(1000.0 * MAX_SUPPORT_KG / weight_kg) / 1000.0)
    stream = full_stream(max_support) if rate == "full" else stride_stream(max_support)
    further = further_streams(streams, max_support) if streams else ()
    return Capability(
        vendor="trialkit",
        model="simulated gait trainer",
        serial=serial,
        firmware="1",
        family="treadmill_orthosis",
        parameters=(
            Parameter("speed_m_s", "m/s", 0.0, MAX_SPEED_M_S, 0.25),
            Parameter("support_fraction", "1", 0.0, max_support, 0.05),
            Parameter("guidance", "1", 0.0, 1.0, 0.2),
        ),
        streams=(stream, *further),
        calibrated_on=calibrated_on,
        simulated=True,
        stop_within_s={0: 1.25, 1: 1.5, 2: 2.5},
        faults=(*FAULTS, PARTICIPANT_STOP),
    )
