"""The simulated gait trainer: a controller around a kinematic plant with a virtual patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from device_interface.contract import Block, Capability, DeviceState
from device_interface.controller import Controller, Planned
from device_interface.simulated.beside import beside_streams
from device_interface.simulated.channels import MAX_PATIENT_KG, capability
from device_interface.simulated.condition import read_patient
from device_interface.simulated.faults import PARTICIPANT_STOP, STUMBLE
from device_interface.simulated.motion import MotionPlant
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.stride import StridePlant

_SILENT = ("_minutes", "asks_to_stop", "patient_state")
"""Ends of prompts that are no matter of chance: what follows them is drawn the same."""
_SEEN_NS = 2_000_000_000


def _draws(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, number]))


def _plant(own: Capability, patient: VirtualPatient, seed: int) -> MotionPlant | StridePlant:
    first, rates = own.streams[0], {p.name: p.rate_per_s for p in own.parameters}
    if first.rate_hz is None:
        return StridePlant(first, patient, rates, _draws(seed, 0))
    beside = beside_streams(own.streams[1:], patient, seed)
    return MotionPlant(first, patient, rates, _draws(seed, 0), beside)


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
    patient : mapping, optional
        Strength, learning and tiredness that change within and between sessions, and rates
        of stumbles, spasms and stops; see `condition.read_patient`.
    streams : iterable of str
        Streams beside ``motion``: some of ``physiology``, ``stride``, ``emg``.
    latency_s : float
        From a command to its effect; 0 at stride level.
    systolic_mmhg, diastolic_mmhg : float
        At rest.
    faults : iterable of mapping
        ``{"at_s": device time, "kind": ...}``: a declared fault, or ``stumble``.
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
        patient: Mapping[str, Any] | None = None,
        streams: Iterable[str] = (),
        latency_s: float = 0.03,
        faults: Iterable[Mapping[str, Any]] = (),
        serial: str = "SIM-1",
        calibrated_on: str | None = "2026-01-01",
        first_seq: int = 0,
    ) -> None:
        plan = read_patient(patient) if patient is not None else None
        own = capability(
            rate=rate,
            weight_kg=weight_kg,
            serial=serial,
            calibrated_on=calibrated_on,
            streams=streams,
        )
        self._patient = VirtualPatient(
            ability=ability,
            fatigue=fatigue,
            asymmetry=asymmetry,
            weight_kg=weight_kg,
            age_years=age_years,
            resting_heart_rate=resting_heart_rate,
            pain=pain,
            systolic_mmhg=systolic_mmhg,
            diastolic_mmhg=diastolic_mmhg,
            condition=plan.condition if plan is not None else None,
        )
        self._weight_kg = weight_kg
        self._chance = _draws(seed, 1)
        self._walking = _plant(own, self._patient, seed)
        planned = list(faults)
        super().__init__(
            own,
            self._walking,
            latency_s=latency_s if rate == "full" else 0.0,
            faults=[entry for entry in planned if entry["kind"] != STUMBLE],
            first_seq=first_seq,
        )
        self._plan(*(Planned(float(e["at_s"]), STUMBLE) for e in planned if e["kind"] == STUMBLE))
        self._mishaps = plan.rates_per_min if plan is not None else {}
        self._when = _draws(seed, 3)
        self._drawn: dict[str, Planned] = {}
        for kind in self._mishaps:
            self._draw(kind)

    # --- mishaps -------------------------------------------------------------------------------

    def _plan(self, *more: Planned) -> None:
        self._planned = sorted([*self._planned, *more], key=lambda planned: planned.at_s)

    def _draw(self, kind: str) -> None:
        """Draw when the next mishap of a kind comes; one that comes while nobody walks does not."""
        wait_s = 60.0 / self._mishaps[kind] * float(self._when.exponential())
        self._drawn[kind] = Planned(self._now_ns / 1e9 + wait_s, kind)
        self._plan(self._drawn[kind])

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let time pass; at stride level return soon after a mishap, so that the host sees it."""
        if not self._quick and self._planned:
            ahead_ns = round(self._planned[0].at_s * 1e9) - self._now_ns
            duration_ns = min(duration_ns, max(0, ahead_ns) + _SEEN_NS)
        return super().advance(duration_ns)

    def _make(self, planned: Planned) -> None:
        by_chance = self._drawn.get(planned.kind) is planned
        walks = self._state is DeviceState.RUNNING and self._walking.moving
        if walks or not (by_chance or planned.kind == STUMBLE):
            self._befall(planned)
        if by_chance:
            self._draw(planned.kind)

    def _befall(self, planned: Planned) -> None:
        if planned.kind == STUMBLE:
            self._walking.stumble()
            self._patient.stumbles += 1
            return
        if planned.kind == PARTICIPANT_STOP.kind:
            self._patient.asks_to_stop = self._state is DeviceState.RUNNING
        super()._make(planned)

    def inject(self, kind: str) -> None:
        """Make a declared fault, a bench event or a ``stumble`` happen now."""
        if kind == STUMBLE:
            self._make(Planned(self._now_ns / 1e9, kind))
        else:
            super().inject(kind)

    def resume(self) -> int:
        """Go on from rest; whoever asked to stop agrees to go on."""
        token = super().resume()
        self._patient.asks_to_stop = False
        return token

    # --- the patient ---------------------------------------------------------------------------

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
        drawn = 0.0 if prompt.endswith(_SILENT) else float(self._chance.random())
        return self._patient.answer(prompt, drawn)
