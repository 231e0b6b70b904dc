"""The simulated gait trainer: states, limits, watchdog and faults around a plant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import (
    FAILED,
    KEEPALIVE_S,
    TRANSITIONS,
    WATCHDOG_S,
    Block,
    Capability,
    DeviceState,
    Setpoints,
    StopCategory,
)
from device_interface.errors import LimitRefused, StateRefused, TokenRefused
from device_interface.simulated.channels import MAX_PATIENT_KG, capability
from device_interface.simulated.faults import FAULTS, Planned, plan_faults
from device_interface.simulated.motion import MotionPlant
from device_interface.simulated.patient import VirtualPatient
from device_interface.simulated.plant import HOLD_RATE, STOP_RATE, Plant
from device_interface.simulated.stride import StridePlant

_S = DeviceState
_POWERED = frozenset({_S.ARMED, _S.RUNNING, _S.HOLD, _S.RAMP_DOWN})
_WATCHDOG_NS = round(WATCHDOG_S * 1e9)
_QUANTUM_NS = 100_000_000


class SimulatedGaitTrainer:
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
    ) -> None:
        if rate not in ("full", "stride"):
            raise ValueError("rate must be 'full' or 'stride'")
        self._capability = capability(
            rate=rate, weight_kg=weight_kg, serial=serial, calibrated_on=calibrated_on
        )
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
        rates = {p.name: p.rate_per_s for p in self._capability.parameters}
        stream = self._capability.streams[0]
        plant = MotionPlant if rate == "full" else StridePlant
        self._plant: Plant = plant(stream, patient, rates, rng)
        self._stream = stream
        self._latency_ns = round(latency_s * 1e9) if rate == "full" else 0
        self._planned: list[Planned] = plan_faults(faults)
        self._state = _S.DISCONNECTED
        self._lockstep = False
        self._token = 0
        self._seq = 0
        self._now_ns = 0
        self._alive_ns = 0
        self._waiting: list[tuple[int, Setpoints]] = []
        self._codes: list[str] = []
        self._frozen = False
        self._lose_rows = 0

    # --- who and what ------------------------------------------------------------------

    def describe(self) -> Capability:
        """Return the descriptor."""
        return self._capability

    @property
    def state(self) -> DeviceState:
        """The state now."""
        return self._state

    @property
    def belt_speed_m_s(self) -> float:
        """Speed of the belt now."""
        return self._plant.speed.actual

    def faults(self) -> Sequence[tuple[int, str]]:
        """Return the latched faults."""
        return [FAULTS[kind] for kind in self._codes]

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Let the virtual patient answer."""
        return self._patient.answer(prompt, float(self._chance.random()))

    # --- connection ----------------------------------------------------------------------

    def connect(self, *, lockstep: bool) -> None:
        """Open the connection."""
        if self._state is not _S.DISCONNECTED:
            raise StateRefused("the device is connected already.", remedy="Close it first.")
        self._lockstep = lockstep
        self._alive_ns = self._now_ns
        self._go(_S.DISARMED)

    def preflight(self) -> Sequence[str]:
        """Return what keeps the device from being armed."""
        problems = [text for _, text in self.faults()]
        if self._capability.calibrated_on is None:
            problems.append("the device is not calibrated")
        if self._weight_kg > MAX_PATIENT_KG:
            problems.append(f"the patient is heavier than {MAX_PATIENT_KG:g} kg")
        return problems

    def close(self) -> None:
        """Stop and close."""
        self.stop(0)
        self._state = _S.DISCONNECTED

    def keepalive(self) -> None:
        """Say that the host lives."""
        self._alive_ns = self._now_ns

    # --- commands ------------------------------------------------------------------------

    def arm(self) -> int:
        """Arm: needs DISARMED and a clean preflight."""
        self._need("arm", _S.DISARMED)
        if problems := self.preflight():
            raise StateRefused(
                f"the device cannot be armed: {'; '.join(problems)}.", remedy="Clear these first."
            )
        self._token += 1
        self._go(_S.ARMED)
        return self._token

    def disarm(self) -> None:
        """Take the power away at rest."""
        if self._state is _S.ARMED:
            self._go(_S.DISARMED)
        self._need("disarm", _S.DISARMED)

    def apply(self, setpoints: Setpoints) -> int:
        """Take targets; everything is checked before anything changes."""
        self._need("apply", _S.ARMED, _S.RUNNING)
        if setpoints.token != self._token:
            raise TokenRefused(
                "the setpoints belong to an arming that has ended.", remedy="Arm again."
            )
        for name, value in setpoints.values.items():
            self._check(name, value, setpoints.rates.get(name))
        due = self._now_ns + self._latency_ns
        self._waiting.append((due, setpoints))
        if self._state is _S.ARMED:
            self._go(_S.RUNNING)
        return due

    def _check(self, name: str, value: float, rate: float | None) -> None:
        parameter = self._capability.parameter(name)
        if parameter is None:
            raise LimitRefused(f"the device has no parameter {name!r}.", remedy="Leave it out.")
        if not math.isfinite(value) or not parameter.minimum <= value <= parameter.maximum:
            raise LimitRefused(
                f"{name} = {value!r} is outside {parameter.minimum}..{parameter.maximum}.",
                remedy="Stay within the hard limits of the device.",
            )
        if rate is not None and (not math.isfinite(rate) or not 0 < rate <= parameter.rate_per_s):
            raise LimitRefused(
                f"{name} at {rate!r} per s; the device allows up to {parameter.rate_per_s}.",
                remedy="Go slower.",
            )

    def hold(self) -> None:
        """Come to rest with power kept."""
        if self._state is _S.HOLD:
            return
        self._need("hold", _S.RUNNING)
        self._enter_hold()

    def _enter_hold(self) -> None:
        self._waiting.clear()
        self._token += 1  # setpoints from before the hold are stale
        self._plant.slow_to_rest(HOLD_RATE)
        self._go(_S.HOLD)

    def resume(self) -> int:
        """Go on from rest: every target starts where the device stands."""
        self._need("resume", _S.HOLD)
        if self._plant.moving:
            raise StateRefused("the belt still moves.", remedy="Resume when it stands.")
        self._plant.to_rest_targets()
        self._token += 1
        self._go(_S.RUNNING)
        return self._token

    def ramp_down(self) -> None:
        """Come to rest, let the harness down, take the power away."""
        if self._state in (_S.RAMP_DOWN, _S.DISARMED):
            return
        if self._state is _S.ARMED:
            self._go(_S.DISARMED)
            return
        self._need("ramp_down", _S.RUNNING, _S.HOLD)
        self._waiting.clear()
        self._plant.slow_to_rest(HOLD_RATE)
        self._go(_S.RAMP_DOWN)

    def stop(self, category: StopCategory) -> None:
        """Stop; legal in every state, idempotent, never raises."""
        self._waiting.clear()
        if self._state not in _POWERED:
            return
        if category == 2 and self._state is _S.RUNNING:
            self._enter_hold()
        elif category != 2 or self._state is _S.RAMP_DOWN:
            if self._state is _S.ARMED:
                self._go(_S.DISARMED)
            elif self._state is not _S.RAMP_DOWN:
                self._go(_S.RAMP_DOWN)
            if category == 0:
                self._plant.remove_torque()
        if category != 0:
            self._plant.slow_to_rest(STOP_RATE)

    def acknowledge(self) -> None:
        """Clear a latched fault whose cause is gone."""
        if self._state is _S.ESTOP_PHYSICAL:
            raise StateRefused("the emergency stop is pressed.", remedy="Release it first.")
        if self._state not in FAILED:
            return
        if self._plant.moving:
            raise StateRefused("the belt still moves.", remedy="Wait until it stands.")
        self._codes.clear()
        self._go(_S.DISARMED)

    # --- time ----------------------------------------------------------------------------

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let time pass; return early where the device fails or stops being what it was."""
        end = self._now_ns + duration_ns
        begin = self._now_ns
        blocks: list[Block] = []
        abnormal = self._state in FAILED
        while self._now_ns < end:
            self._due()
            if not abnormal and self._state in FAILED:
                break
            step = self._next_step(end)
            _, rows = self._plant.run(self._now_ns, step)
            self._now_ns += step
            block = self._block(rows.t_ns, rows.values)
            if block is not None:
                blocks.append(block)
            self._settle()
        return self._now_ns - begin, _joined(blocks)

    def _next_step(self, end: int) -> int:
        step = end - self._now_ns
        quick = self._stream.rate_hz is not None
        if self._state in (_S.HOLD, _S.RAMP_DOWN) and not self._plant.settled:
            step = min(step, _QUANTUM_NS if quick else 5 * _QUANTUM_NS)
        for due, _ in self._waiting:
            if due > self._now_ns:
                step = min(step, due - self._now_ns)
        if self._planned:
            ahead = round(self._planned[0].at_s * 1e9) - self._now_ns
            if ahead > 0:
                step = min(step, ahead)
        return step

    def _due(self) -> None:
        while self._planned and round(self._planned[0].at_s * 1e9) <= self._now_ns:
            self._make(self._planned.pop(0))
        while self._waiting and self._waiting[0][0] <= self._now_ns:
            _, setpoints = self._waiting.pop(0)
            for name, value in setpoints.values.items():
                self._plant.ramps[name].go(value, setpoints.rates.get(name))
        served = self._lockstep or self._now_ns - self._alive_ns <= _WATCHDOG_NS
        if not served and self._state in _POWERED:
            self._fail("watchdog", _S.LINK_LOST)

    def _make(self, fault: Planned) -> None:
        if fault.kind == "freeze":
            self._frozen = True
        elif fault.kind == "gap":
            self._lose_rows += fault.rows
        elif fault.kind == "estop_release":
            if self._state is _S.ESTOP_PHYSICAL:
                self._go(_S.ESTOP_LATCHED)
        elif fault.kind == "spasm":
            if self._state is _S.RUNNING:
                self._codes.append("spasm")
                self._plant.spasm_nm = 60.0
                self._enter_hold()
        else:
            self._fail(fault.kind, _S.ESTOP_PHYSICAL if fault.kind == "estop" else _S.FAULT)

    def _fail(self, kind: str, state: DeviceState) -> None:
        if state not in TRANSITIONS[self._state]:
            return
        self._codes.append(kind)
        self._waiting.clear()
        self._plant.remove_torque()
        self._go(state)

    def _settle(self) -> None:
        plant = self._plant
        if self._state is _S.RAMP_DOWN and not plant.moving and plant.speed.settled:
            plant.release()
            self._go(_S.DISARMED)
        elif self._state is _S.HOLD and not plant.moving:
            plant.spasm_nm = 0.0
            self._codes = [kind for kind in self._codes if kind != "spasm"]

    def _block(self, t_ns: NDArray[np.int64], values: NDArray[np.float64]) -> Block | None:
        n = len(t_ns)
        if not n or self._frozen:
            return None
        values[:, -3] = int(self._state)
        values[:, -2] = FAULTS[self._codes[-1]][0] if self._codes else 0
        if self._lockstep:
            values[:, -1] = KEEPALIVE_S
        else:
            values[:, -1] = np.round(np.maximum(0, t_ns - self._alive_ns) / 1e9, 4)
        seq = np.arange(self._seq, self._seq + n, dtype=np.uint32)
        self._seq += n
        lost = min(self._lose_rows, n)
        self._lose_rows -= lost
        if lost == n:
            return None
        kept = values[lost:].astype(np.float32)
        t = t_ns[lost:]
        return Block(self._stream.name, seq[lost:], t, t, kept)

    # --- states --------------------------------------------------------------------------

    def _need(self, verb: str, *states: DeviceState) -> None:
        if self._state not in states:
            allowed = " or ".join(state.name for state in states)
            raise StateRefused(
                f"{verb} is not legal in {self._state.name}.", remedy=f"It needs {allowed}."
            )

    def _go(self, state: DeviceState) -> None:
        if state not in TRANSITIONS[self._state]:
            raise StateRefused(
                f"no way leads from {self._state.name} to {state.name}.",
                remedy="See device_interface.contract.TRANSITIONS.",
            )
        self._state = state


def _joined(blocks: list[Block]) -> list[Block]:
    """Return consecutive blocks of one stream as one."""
    if len(blocks) < 2:
        return blocks
    return [
        Block(
            blocks[0].stream,
            np.concatenate([b.seq for b in blocks]),
            np.concatenate([b.t_device_ns for b in blocks]),
            np.concatenate([b.t_host_ns for b in blocks]),
            np.concatenate([b.values for b in blocks]),
        )
    ]
