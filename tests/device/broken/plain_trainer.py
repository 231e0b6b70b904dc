"""Drivers with less than the simulated trainer: one takes no faults, one breaks down."""

from __future__ import annotations

from typing import Any

from device_interface.contract import Capability, Setpoints
from device_interface.simulated import SimulatedGaitTrainer


class NoInjection:
    """A device such as most are: nothing can be made to go wrong in it by software."""

    def __init__(self) -> None:
        self._own = SimulatedGaitTrainer()
        for verb in (
            "connect", "preflight", "close", "keepalive", "arm", "disarm", "apply", "hold",
            "resume", "ramp_down", "stop", "faults", "acknowledge", "advance",
        ):  # fmt: skip
            setattr(self, verb, getattr(self._own, verb))

    def describe(self) -> Capability:
        return self._own.describe()

    @property
    def state(self) -> Any:
        return self._own.state


class FallsOver(SimulatedGaitTrainer):
    """It trusts what it is sent."""

    def apply(self, setpoints: Setpoints) -> int:
        for value in setpoints.values.values():
            if not isinstance(value, float):
                raise TypeError(f"no float: {value!r}")
        return super().apply(setpoints)
