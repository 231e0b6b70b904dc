"""The moving parts: settings with inertia, the patient, and what both rates share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from device_interface.contract import MOVING_M_S
from device_interface.controller import Rows
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.ramp import Ramp

HOLD_RATE = 0.4
STOP_RATE = 1.2
"""Belt deceleration in m/s2 for a hold or the end, and for a stop or a fault."""
SPASM_NM = 60.0


class WalkingPlant:
    """Belt, support and guidance with their ramps, and the patient.

    Parameters
    ----------
    patient : VirtualPatient
    rates : dict
        Fastest change of each parameter, per second.
    rng : numpy Generator
        Philox.
    lag_s : float
        Time constant of the actuators.
    """

    def __init__(
        self,
        patient: VirtualPatient,
        rates: dict[str, float],
        rng: np.random.Generator,
        lag_s: float,
    ) -> None:
        self.patient = patient
        self.rng = rng
        self.ramps = {
            "speed_m_s": Ramp(0.0, rates["speed_m_s"], lag_s),
            "support_fraction": Ramp(0.0, rates["support_fraction"], lag_s),
            "guidance": Ramp(0.0, rates["guidance"], lag_s),
        }
        self.speed = self.ramps["speed_m_s"]
        self.support = self.ramps["support_fraction"]
        self.guidance = self.ramps["guidance"]
        self.spasm_nm = 0.0
        self.disturbed = ""

    @property
    def settled(self) -> bool:
        """True where no setting moves."""
        return self.speed.settled and self.support.settled and self.guidance.settled

    @property
    def moving(self) -> bool:
        """True while the belt moves."""
        return self.speed.actual > MOVING_M_S

    @property
    def standing(self) -> bool:
        """True where the belt stands and its drive does not ask for more."""
        return not self.moving and self.speed.settled

    def go(self, name: str, value: float, rate_per_s: float | None) -> None:
        """Move a setting."""
        self.ramps[name].go(value, rate_per_s)

    def slow_to_rest(self, *, urgent: bool) -> None:
        """Bring the belt to rest."""
        self.speed.go(0.0, STOP_RATE if urgent else HOLD_RATE)

    def remove_torque(self) -> None:
        """Take guidance away at once and brake the belt; the harness keeps its load."""
        self.guidance.drop(0.0)
        self.speed.go(0.0, STOP_RATE)

    def release(self) -> None:
        """Let the harness down slowly, as after a session."""
        self.support.go(0.0)
        self.guidance.go(0.0)

    def to_rest_targets(self) -> None:
        """Take the state as it is as every target, belt at zero: setpoints start from rest."""
        self.speed.go(0.0)
        self.support.go(self.support.actual)
        self.guidance.go(self.guidance.actual)

    def disturb(self, kind: str) -> None:
        """Let a spasm begin, or another mechanical disturbance of the left leg."""
        self.disturbed = kind
        if kind == "spasm":
            self.spasm_nm = SPASM_NM

    def calm(self) -> None:
        """Let the disturbance end."""
        self.disturbed = ""
        self.spasm_nm = 0.0

    def stumble(self) -> None:
        """Let the patient stumble, where the plant knows how."""

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let time pass from `t_ns` and return the rows of each stream."""
        raise NotImplementedError

    def pass_patient(self, dt_s: float) -> None:
        """Let `dt_s` pass for the patient at the settings now."""
        self.patient.let_pass(dt_s, self.speed.actual, self.support.actual, self.guidance.actual)
