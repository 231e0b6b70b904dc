"""What can go wrong on the bus and in the drives, and the codes that telemetry carries for it.

Codes below 500 are those of the simulated gait trainer where they mean the same.
"""

from __future__ import annotations

from device_interface.canopen import objects as o
from device_interface.canopen.objects import Bench
from device_interface.contract import Fault

FAULTS: tuple[Fault, ...] = (
    Fault("motor_overtemperature", 201, "a joint motor is too hot"),
    Fault("overload", 202, "the torque limit of a joint was passed"),
    Fault("encoder", 203, "a joint encoder disagrees with its twin"),
    Fault("watchdog", 210, "no keepalive within the watchdog time"),
    Fault("estop", 301, "the physical emergency stop is pressed, or its plug is out", "estop"),
    Fault("spasm", 401, "sudden interaction torque; the device holds", "hold"),
    Fault("tracking_error", 403, "a leg is far from its path; the device holds", "hold"),
    Fault("node_silent", 501, "a node does not answer, or has started anew"),
    Fault("node_lies", 502, "a node repeats old values, or does not do what it is told"),
    Fault("self_restart", 503, "a drive came out of a fault that nobody reset"),
    Fault("bus_off", 504, "the bus does not take our frames"),
    Fault("drive_fault", 505, "a drive reports a fault that has no name here"),
    Fault("cycle_dead", 506, "our own cyclic exchange has ended"),
    Fault("freeze", 0, "telemetry stops while the device goes on", "telemetry"),
    Fault("gap", 0, "rows of telemetry are lost", "telemetry"),
    Fault("duplicate", 0, "a row of telemetry comes twice", "telemetry"),
    Fault("reorder", 0, "two rows of telemetry change places", "telemetry"),
    Fault("clock_step", 0, "the device's clock steps forward by 1 s", "telemetry"),
)

#: Names of the emergency codes that have one; every other is a ``drive_fault``.
EMERGENCIES: dict[int, str] = {
    o.OVER_TEMPERATURE: "motor_overtemperature",
    o.EXCESS_TORQUE: "overload",
    o.OVER_SPEED: "overload",
    o.SENSOR: "encoder",
    o.HEARTBEAT_LOST: "watchdog",
    o.TORQUE_OFF: "estop",
    o.NO_ERROR: "self_restart",
}

#: On a bench: which node is asked for which fault, and for how many milliseconds. A pressed
#: emergency stop and one that is not plugged in are the same open contact.
ON_REQUEST: dict[str, tuple[str, int, int]] = {
    "motor_overtemperature": ("knee_l", Bench.OVER_TEMPERATURE, 500),
    "overload": ("hip_r", Bench.OVERLOAD, 500),
    "encoder": ("knee_r", Bench.ENCODER, 500),
    "estop": ("belt", Bench.ESTOP_OPEN, 0),
    "estop_unplugged": ("belt", Bench.ESTOP_OPEN, 0),
    "estop_release": ("belt", Bench.ESTOP_CLOSE, 0),
    "spasm": ("knee_l", Bench.SPASM, 500),
    "tracking_error": ("knee_l", Bench.SLIP, 6000),
    "position_limit": ("knee_l", Bench.PUSH, 4000),
    "node_silent": ("ankle_l", Bench.SILENT, 500),
    "node_lies": ("ankle_r", Bench.STUCK, 500),
    "self_restart": ("hip_l", Bench.SECRET_RESTART, 500),
    "drive_fault": ("support", Bench.UNKNOWN_CODE, 500),
    "undeclared": ("support", Bench.UNKNOWN_CODE, 500),
}
