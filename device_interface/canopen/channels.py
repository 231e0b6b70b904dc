"""The descriptor: parameters, channels and limits of the device on the bus."""

from __future__ import annotations

import math

from device_interface.canopen.faults import FAULTS
from device_interface.canopen.moving import JOINT_LIMITS
from device_interface.canopen.objects import JOINTS
from device_interface.canopen.site import Site
from device_interface.contract import Capability, Channel, Limits, Parameter, Stream

MAX_SPEED_M_S = 0.8889
"""3.2 km/h, as the simulated gait trainer."""
MAX_SUPPORT_KG = 85.0
MAX_PATIENT_KG = 135.0
WATCHDOG_S = 0.25
_RANGES = {"hip": (-40, 120), "knee": (-10, 120), "ankle": (-50, 40)}


def _legs() -> list[Channel]:
    channels = []
    for name in JOINTS:
        joint, side = name.split("_")
        low, high = (round(math.radians(value), 6) for value in _RANGES[joint])
        sense = "dorsiflexion" if joint == "ankle" else "flexion"
        felt = f"robot on human, toward {sense}"
        reach = Limits(control=(JOINT_LIMITS[joint].low, JOINT_LIMITS[joint].high))
        channels += [
            Channel(f"{joint}_angle_{side}", "rad", sense, low, high, limits=reach),
            Channel(f"{joint}_velocity_{side}", "rad/s", sense, -25, 25),
            Channel(f"{joint}_motor_torque_{side}", "N.m", f"toward {sense}", -200, 200),
            Channel(f"{joint}_interaction_torque_{side}", "N.m", felt, -320, 320),
        ]
    return channels


def motion_stream(site: Site, max_support: float) -> Stream:
    """Return the stream of one row a SYNC.

    A value whose signal is too old is not a number.
    """
    shared = [
        Channel("grf_vertical_l", "N", "upward on patient", -50, 3000),
        Channel("grf_vertical_r", "N", "upward on patient", -50, 3000),
        Channel("belt_speed_set_m_s", "m/s", "walking forward", 0, MAX_SPEED_M_S),
        Channel(
            "belt_speed_m_s", "m/s", "walking forward", -0.2, 1.3,
            follows="belt_speed_set_m_s", allowed_gap=0.1, gap_after_s=1.0,
        ),
        Channel("support_set_fraction", "1", "of body weight", 0, max_support),
        Channel("support_fraction", "1", "of body weight", -0.1, 1.1),
        Channel("guidance", "1", "0 none, 1 stiff", 0, 1),
        Channel("tracking_error_rad", "rad", "RMS over joints, from the path", 0, 3),
        Channel("support_load_set_n", "N", "upward on patient", 0, 1500),
        Channel(
            "support_load_n", "N", "upward on patient", -50, 1500,
            follows="support_load_set_n", allowed_gap=80.0, gap_after_s=2.0,
        ),
        Channel("gait_phase", "1", "left foot contact is 0", 0, 1),
        Channel("signal_age_s", "s", "of the oldest signal of any node", 0, 3600),
        Channel("cycle_late_s", "s", "of the exchange that made the row", -0.1, 3600),
        Channel("bus_load", "1", "share of the bitrate, worst-case frames", 0, 10),
        Channel("device_state", "1", "enumeration DeviceState", 0, 9, kind="int16"),
        Channel("fault_code", "1", "0 is none", 0, 32767, kind="int16"),
        Channel("watchdog_age_s", "s", "since the last keepalive", 0, 10),
    ]  # fmt: skip
    return Stream("motion", float(site.sync_hz), tuple([*_legs(), *shared]))


def capability(site: Site, *, weight_kg: float, firmware: str) -> Capability:
    """Return the descriptor for a patient of `weight_kg` (support is limited in kg)."""
    max_support = min(1.0, int(1000.0 * MAX_SUPPORT_KG / weight_kg) / 1000.0)
    return Capability(
        vendor=site.vendor,
        model=site.model,
        serial=site.serial,
        firmware=firmware,
        family="treadmill_orthosis",
        parameters=(
            Parameter("speed_m_s", "m/s", 0.0, MAX_SPEED_M_S, 0.25),
            Parameter("support_fraction", "1", 0.0, max_support, 0.05),
            Parameter("guidance", "1", 0.0, 1.0, 0.2),
        ),
        streams=(motion_stream(site, max_support),),
        calibrated_on=site.calibrated_on,
        simulated=site.simulated,
        watchdog_s=WATCHDOG_S,
        stop_within_s={0: 1.2, 1: 1.5, 2: 3.0},
        faults=FAULTS,
        lockstep=False,
    )
