"""The moving parts: settings with inertia, the patient, and what both rates share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import MOVING_M_S
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.ramp import Ramp

HOLD_RATE = 0.4
STOP_RATE = 1.2
"""Belt deceleration in m/s2 for a hold or the end, and for a stop or a fault."""


@dataclass
class Rows:
    """What a plant produced: `t_ns` are the device times at the rows' ends, shape (n,)."""

    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]


class Plant:
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

    @property
    def settled(self) -> bool:
        """True where no setting moves."""
        return self.speed.settled and self.support.settled and self.guidance.settled

    @property
    def moving(self) -> bool:
        """True while the belt moves."""
        return self.speed.actual > MOVING_M_S

    def slow_to_rest(self, rate_m_s2: float) -> None:
        """Bring the belt to rest."""
        self.speed.go(0.0, rate_m_s2)

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

    def run(self, t_ns: int, duration_ns: int) -> tuple[int, Rows]:
        """Let time pass from `t_ns`; return the time that passed and the rows."""
        raise NotImplementedError

    def pass_patient(self, dt_s: float) -> None:
        """Let `dt_s` pass for the patient at the settings now."""
        self.patient.let_pass(dt_s, self.speed.actual, self.support.actual, self.guidance.actual)
