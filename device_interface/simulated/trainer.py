"""The simulated gait trainer: a controller around a kinematic plant with a virtual patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from device_interface.controller import Controller
from device_interface.simulated.channels import MAX_PATIENT_KG, capability
from device_interface.simulated.motion import MotionPlant
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.stride import StridePlant


class SimulatedGaitTrainer(Controller):
    """A driven treadmill orthosis with a virtual patient.

    Parameters
    ----------
    rate : {"full", "stride"}
        100 Hz, or one row a stride.
    seed : int
        Of the Philox stream; the same seed and calls give the same rows.
    ability, fatigue, asymmetry, weight_kg, age_years, resting_heart_rate, pain : float
        The patient, see `VirtualPatient`; ability in m/s.
    latency_s : float
        From a command to its effect; 0 at stride level.
    systolic_mmhg, diastolic_mmhg : float
        At rest.
    faults : iterable of mapping
        ``{"at_s": device time, "kind": one of FAULTS}``.
    serial : str
    calibrated_on : str or None
        Without a date the device refuses to arm.
    first_seq : int
        Sequence number of the first row, modulo 2**32.
    """

    def __init__(
        self,
        *,
        rate: Literal["full", "stride"] = "full",
        seed: int = 0,
        ability: float = 0.6,
        fatigue: float = 0.3,
        asymmetry: float = 0.8,
        weight_kg: float = 75.0,
        age_years: float = 60.0,
        resting_heart_rate: float = 72.0,
        pain: float = 0.0,
        systolic_mmhg: float = 128.0,
        diastolic_mmhg: float = 78.0,
        latency_s: float = 0.03,
        faults: Iterable[Mapping[str, Any]] = (),
        serial: str = "SIM-1",
        calibrated_on: str | None = "2026-01-01",
        first_seq: int = 0,
    ) -> None:
        if rate not in ("full", "stride"):
            raise ValueError("rate must be 'full' or 'stride'")
        own = capability(rate=rate, weight_kg=weight_kg, serial=serial, calibrated_on=calibrated_on)
        patient = VirtualPatient(
            ability=ability,
            fatigue=fatigue,
            asymmetry=asymmetry,
            weight_kg=weight_kg,
            age_years=age_years,
            resting_heart_rate=resting_heart_rate,
            pain=pain,
            systolic_mmhg=systolic_mmhg,
            diastolic_mmhg=diastolic_mmhg,
        )
        self._patient = patient
        self._weight_kg = weight_kg
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        self._chance = np.random.Generator(np.random.Philox(key=[seed, 1]))
        rates = {p.name: p.rate_per_s for p in own.parameters}
        kind = MotionPlant if rate == "full" else StridePlant
        self._walking = kind(own.streams[0], patient, rates, rng)
        latency = latency_s if rate == "full" else 0.0
        super().__init__(own, self._walking, latency_s=latency, faults=faults, first_seq=first_seq)

    @property
    def belt_speed_m_s(self) -> float:
        """Speed of the belt now."""
        return self._walking.speed.actual

    def obstacles(self) -> Sequence[str]:
        """Return what of the patient the device cannot take."""
        if self._weight_kg > MAX_PATIENT_KG:
            return [f"the patient is heavier than {MAX_PATIENT_KG:g} kg"]
        return ()

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Let the virtual patient answer."""
        if prompt.endswith("_minutes"):  # no matter of chance: what follows is drawn the same
            return self._patient.answer(prompt, 0.0)
        return self._patient.answer(prompt, float(self._chance.random()))
