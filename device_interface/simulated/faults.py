"""What can be made to go wrong in the simulated device, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: kind: stable fault code; 0 where the device itself reports none.
FAULTS: dict[str, tuple[int, str]] = {
    "motor_overtemperature": (201, "a joint motor is too hot"),
    "overload": (202, "the force limit of a joint was passed"),
    "encoder": (203, "a joint encoder disagrees with its twin"),
    "watchdog": (210, "no keepalive within the watchdog time"),
    "estop": (301, "the physical emergency stop is pressed"),
    "estop_release": (301, "the physical emergency stop was released and is latched"),
    "spasm": (401, "sudden interaction torque; the device holds"),
    "freeze": (0, "telemetry stops while the device goes on"),
    "gap": (0, "rows of telemetry are lost"),
}


@dataclass(frozen=True)
class Planned:
    """A fault at `at_s` seconds of device time; `rows` is the size of a gap."""

    at_s: float
    kind: str
    rows: int = 25


def plan_faults(entries: Iterable[Mapping[str, Any]]) -> list[Planned]:
    """Return the faults in the order of their times.

    Raises
    ------
    ValueError
        If a kind is not one of `FAULTS`.
    """
    planned = [Planned(float(e["at_s"]), str(e["kind"]), int(e.get("rows", 25))) for e in entries]
    for fault in planned:
        if fault.kind not in FAULTS:
            raise ValueError(f"unknown fault {fault.kind!r}; use one of {', '.join(FAULTS)}")
    return sorted(planned, key=lambda fault: fault.at_s)
