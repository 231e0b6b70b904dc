"""The gait trainer with a physical body in it: a controller around a `BipedPlant`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from device_interface.contract import Block, Capability, DeviceState, Fault, Parameter
from device_interface.controller import Controller, Planned, joined
from device_interface.errors import StateRefused
from device_interface.mujoco.body import body_of
from device_interface.mujoco.plant import BipedPlant
from device_interface.simulated.channels import (
    MAX_PATIENT_KG,
    MAX_SPEED_M_S,
    MAX_SUPPORT_KG,
    full_stream,
    stride_stream,
)
from device_interface.simulated.faults import FAULTS as SIMULATED_FAULTS
from device_interface.simulated.patient import VirtualPatient
from trialkit.errors import MissingTool

_S = DeviceState
_SLICE_NS = 20_000_000
"""The controller looks at the body this often; the torque law runs every millisecond."""
_BUDGET_NS = 50_000_000
"""In real time a call computes no longer than this; the host asks again for the rest."""
_STANDS_M = 0.05
_NOT_OURS = frozenset({"velocity_reversal", "tracking_error"})

FAULTS: tuple[Fault, ...] = (
    *(fault for fault in SIMULATED_FAULTS if fault.kind not in _NOT_OURS),
    Fault("divergence", 220, "the model of the body has left its range"),
    Fault("fall", 404, "the hip is far below standing; the rope holds the person"),
)


def capability(*, weight_kg: float, serial: str, calibrated_on: str | None) -> Capability:
    """Return the descriptor for a patient of `weight_kg` (support is limited in kg)."""
    support = min(1.0, int(1000.0 * MAX_SUPPORT_KG / weight_kg) / 1000.0)
    return Capability(
        vendor="trialkit",
        model="simulated gait trainer with a physical body",
        serial=serial,
        firmware="1",
        family="treadmill_orthosis",
        parameters=(
            Parameter("speed_m_s", "m/s", 0.0, MAX_SPEED_M_S, 0.25),
            Parameter("support_fraction", "1", 0.0, support, 0.05),
            Parameter("guidance", "1", 0.0, 1.0, 0.2),
        ),
        streams=(full_stream(support), stride_stream(support)),
        calibrated_on=calibrated_on,
        simulated=True,
        stop_within_s={0: 1.25, 1: 1.5, 2: 2.5},
        faults=FAULTS,
    )


class BipedGaitTrainer(Controller):
    """A driven treadmill orthosis with a body of masses, joints and contacts in it.

    Parameters
    ----------
    seed : int
        Of the Philox stream; the same seed and calls give the same rows, bit by bit, on one
        machine and version of the physics engine.
    strength : float
        Share of a healthy person's joint torque, 0 to 1.
    weight_kg, height_m : float
        Of the body; segments follow from them (`body_of`).
    ability, fatigue, asymmetry, age_years, resting_heart_rate, pain : float
        See `VirtualPatient`. The left leg has `asymmetry` times the strength of the right.
    systolic_mmhg, diastolic_mmhg : float
        At rest.
    latency_s : float
        From a command to its effect.
    faults : iterable of mapping
        ``{"at_s": device time, "kind": one of FAULTS}``.
    serial : str
    calibrated_on : str or None
        Without a date the device refuses to arm.
    first_seq : int
        Sequence number of the first row of each stream.

    Raises
    ------
    MissingTool
        If the package ``mujoco`` is not installed.
    ValueError
        If an option is out of its range.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        strength: float = 1.0,
        weight_kg: float = 75.0,
        height_m: float = 1.75,
        ability: float = 0.6,
        fatigue: float = 0.3,
        asymmetry: float = 0.8,
        age_years: float = 60.0,
        resting_heart_rate: float = 72.0,
        pain: float = 0.0,
        systolic_mmhg: float = 128.0,
        diastolic_mmhg: float = 78.0,
        latency_s: float = 0.03,
        faults: Iterable[Mapping[str, Any]] = (),
        serial: str = "BIPED-1",
        calibrated_on: str | None = "2026-01-01",
        first_seq: int = 0,
    ) -> None:
        if not 0 <= strength <= 1:
            raise ValueError("strength must lie in 0..1")
        body = body_of(weight_kg, height_m)
        own = capability(weight_kg=weight_kg, serial=serial, calibrated_on=calibrated_on)
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
        )
        self._weight_kg = weight_kg
        self._chance = np.random.Generator(np.random.Philox(key=[seed, 1]))
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        rates = {p.name: p.rate_per_s for p in own.parameters}
        try:
            self._walking = BipedPlant(
                body, own.streams[:2], self._patient, strength, rates, rng, MAX_SPEED_M_S
            )
        except ImportError as error:
            raise MissingTool(
                "the package mujoco is not installed.", remedy="Install trialkit[sim]."
            ) from error
        super().__init__(
            own, self._walking, latency_s=latency_s, faults=faults, first_seq=first_seq
        )

    # --- what a controller of a body does beside -----------------------------------------------

    @property
    def belt_speed_m_s(self) -> float:
        """Speed of the belt now."""
        return self._walking.speed.actual

    def obstacles(self) -> Sequence[str]:
        """Return what of the patient the device cannot take."""
        problems = []
        if self._weight_kg > MAX_PATIENT_KG:
            problems.append(f"the patient is heavier than {MAX_PATIENT_KG:g} kg")
        if self._hangs:
            problems.append("the patient hangs in the rope")
        return problems

    @property
    def _hangs(self) -> bool:
        return self._walking.engine.sunk_m > _STANDS_M

    def acknowledge(self) -> None:
        """Clear a latched fault whose cause is gone: a person who fell must stand again."""
        if self._state is _S.FAULT and self._hangs:
            raise StateRefused(
                "the patient hangs in the rope.", remedy="Wait until it has lifted the person."
            )
        super().acknowledge()

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Let the virtual patient answer."""
        return self._patient.answer(prompt, float(self._chance.random()))

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let time pass; in real time return what could be computed, so that nothing hangs."""
        if self._lockstep:
            return super().advance(duration_ns)
        begin = time.monotonic_ns()
        passed = 0
        parts: dict[str, list[Block]] = {}
        while passed < duration_ns and time.monotonic_ns() - begin < _BUDGET_NS:
            step = min(_SLICE_NS, duration_ns - passed)
            done, blocks = super().advance(step)
            passed += done
            for block in blocks:
                parts.setdefault(block.stream, []).append(block)
            if done < step:
                break
        return passed, [joined(blocks) for blocks in parts.values()]

    def _next_step(self, end: int) -> int:
        return min(super()._next_step(end), _SLICE_NS)

    def _make(self, planned: Planned) -> None:
        if planned.kind == "spasm":  # it holds because it notices, not because it is told
            if self._state is _S.RUNNING:
                self._walking.disturb("spasm")
            return
        if planned.kind == "fall":
            self._walking.disturb("fall")
        super()._make(planned)

    def _settle(self) -> None:
        trouble = self._walking.take_trouble()
        if trouble == "spasm":
            if self._state is _S.RUNNING:
                self._codes.append(trouble)
                self._enter_hold()
        elif trouble is not None:
            self._fail(trouble, _S.FAULT)
        if self._state is _S.RAMP_DOWN and not self._walking.moving:
            self._walking.cut()
        super()._settle()
