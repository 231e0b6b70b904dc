"""What can be made to go wrong in the simulated device."""

from __future__ import annotations

from device_interface.contract import Fault

FAULTS: tuple[Fault, ...] = (
    Fault("motor_overtemperature", 201, "a joint motor is too hot"),
    Fault("overload", 202, "the force limit of a joint was passed"),
    Fault("encoder", 203, "a joint encoder disagrees with its twin"),
    Fault("watchdog", 210, "no keepalive within the watchdog time"),
    Fault("estop", 301, "the physical emergency stop is pressed", "estop"),
    Fault("estop_unplugged", 302, "the emergency stop is not plugged in", "estop"),
    Fault("spasm", 401, "sudden interaction torque; the device holds", "hold"),
    Fault("velocity_reversal", 402, "a joint is driven against its path; it holds", "hold"),
    Fault("tracking_error", 403, "the leg does not follow its path; the device holds", "hold"),
    Fault("freeze", 0, "telemetry stops while the device goes on", "telemetry"),
    Fault("gap", 0, "rows of telemetry are lost", "telemetry"),
    Fault("duplicate", 0, "a row of telemetry comes twice", "telemetry"),
    Fault("reorder", 0, "two rows of telemetry change places", "telemetry"),
    Fault("clock_step", 0, "the device's clock steps forward by 1 s", "telemetry"),
)

PARTICIPANT_STOP = Fault(
    "participant_stop", 405, "the participant pressed the hand switch; the device holds", "hold"
)
STUMBLE = "stumble"
"""A toe that catches in swing: no fault of the device, which goes on."""
