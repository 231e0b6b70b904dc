"""The device's own side of the contract: states, limits, tokens, watchdog and latched faults.

A `Controller` stands between the host and a `Plant`, the moving parts. It is what a device
must have by itself, whoever asks: it refuses what is out of range, stops when nobody serves
it, takes the torque away on a fault and stays so until somebody acknowledges it. The
simulated devices are controllers around different plants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import (
    BENCH_EVENTS,
    FAILED,
    KEEPALIVE_S,
    TRANSITIONS,
    UNKNOWN_FAULT_CODE,
    Block,
    Capability,
    DeviceState,
    Setpoints,
    StopCategory,
    Stream,
)
from device_interface.errors import LimitRefused, StateRefused, TokenRefused
from device_interface.telemetry_faults import TELEMETRY_FAULTS, TelemetryFaults
from trialkit.errors import UsageError

_S = DeviceState
_POWERED = frozenset({_S.ARMED, _S.RUNNING, _S.HOLD, _S.RAMP_DOWN})
_QUANTUM_NS = 100_000_000
ESTOP_RELEASE = "estop_release"
"""Not a fault of its own: it ends a fault of reaction ``estop``, which stays latched."""


@dataclass
class Rows:
    """What a plant produced for a stream.

    Attributes
    ----------
    t_ns : ndarray of int64, shape (n,)
        Device times at the rows' ends.
    values : ndarray of float64, shape (n, channels)
        The controller fills ``device_state``, ``fault_code`` and ``watchdog_age_s``.
    """

    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]


class Plant(Protocol):
    """Belt, support and guidance, and whoever walks in them."""

    @property
    def moving(self) -> bool:
        """True while the belt, or the person, moves."""
        ...

    @property
    def settled(self) -> bool:
        """True where no setting moves."""
        ...

    @property
    def standing(self) -> bool:
        """True where the belt stands and its drive does not ask for more."""
        ...

    def go(self, name: str, value: float, rate_per_s: float | None) -> None:
        """Move the setting `name` to `value`, at a rate or the fastest own one."""
        ...

    def slow_to_rest(self, *, urgent: bool) -> None:
        """Bring the belt to rest, as for a hold, or as fast as a stop."""
        ...

    def remove_torque(self) -> None:
        """Take guidance away at once and brake the belt; the harness keeps its load."""
        ...

    def release(self) -> None:
        """Let the harness down slowly, as after a session."""
        ...

    def to_rest_targets(self) -> None:
        """Take every setting as it is for its target, belt at zero."""
        ...

    def disturb(self, kind: str) -> None:
        """Let the mechanical side of a fault happen, such as a spasm."""
        ...

    def calm(self) -> None:
        """End what `disturb` began."""
        ...

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let `duration_ns` pass from `t_ns`; return the rows of each stream that has any."""
        ...


@dataclass(frozen=True)
class Planned:
    """A fault at `at_s` seconds of device time; `rows` is the size of a gap."""

    at_s: float
    kind: str
    rows: int = 25


def plan_faults(entries: Iterable[Mapping[str, Any]], capability: Capability) -> list[Planned]:
    """Return the faults ``{"at_s": ..., "kind": ...}`` in the order of their times.

    Raises
    ------
    ValueError
        If the device does not declare a kind.
    """
    planned = [Planned(float(e["at_s"]), str(e["kind"]), int(e.get("rows", 25))) for e in entries]
    known = [*(fault.kind for fault in capability.faults), *BENCH_EVENTS]
    for fault in planned:
        if fault.kind not in known:
            raise ValueError(f"unknown fault {fault.kind!r}; use one of {', '.join(known)}")
    return sorted(planned, key=lambda fault: fault.at_s)


class Controller:
    """A device around a plant.

    Parameters
    ----------
    capability : Capability
    plant : Plant
    latency_s : float
        From a command to its effect.
    faults : iterable of mapping
        Faults to come, see `plan_faults`; one at 0 s is there when the power comes on.
    first_seq : int
        Sequence number of the first row of each stream, modulo 2**32.
    """

    def __init__(
        self,
        capability: Capability,
        plant: Plant,
        *,
        latency_s: float = 0.0,
        faults: Iterable[Mapping[str, Any]] = (),
        first_seq: int = 0,
    ) -> None:
        self._capability = capability
        self._plant = plant
        self._latency_ns = round(latency_s * 1e9)
        self._watchdog_ns = round(capability.watchdog_s * 1e9)
        self._planned = plan_faults(faults, capability)
        self._quick = capability.streams[0].rate_hz is not None
        self._columns = {s.name: _system_columns(s) for s in capability.streams}
        self._state = _S.DISCONNECTED
        self._lockstep = False
        self._token = 0
        self._seq = dict.fromkeys(self._columns, int(first_seq))
        self._now_ns = 0
        self._alive_ns = 0
        self._alive_number = -1
        self._waiting: list[tuple[int, Setpoints]] = []
        self._codes: list[str] = []
        self._hurt = TelemetryFaults()

    # --- who and what ------------------------------------------------------------------

    def describe(self) -> Capability:
        """Return the descriptor."""
        return self._capability

    @property
    def state(self) -> DeviceState:
        """The state now."""
        return self._state

    def faults(self) -> Sequence[tuple[int, str]]:
        """Return the latched faults."""
        return [(self._code(kind), self._text(kind)) for kind in self._codes]

    def _code(self, kind: str) -> int:
        fault = self._capability.fault(kind)
        return fault.code if fault is not None else UNKNOWN_FAULT_CODE

    def _text(self, kind: str) -> str:
        fault = self._capability.fault(kind)
        return fault.text if fault is not None else "a fault that the descriptor does not name"

    def obstacles(self) -> Sequence[str]:
        """Return what else keeps the device from being armed."""
        return ()

    # --- connection ----------------------------------------------------------------------

    def connect(self, *, lockstep: bool) -> None:
        """Open the connection."""
        if self._state is not _S.DISCONNECTED:
            raise StateRefused("the device is connected already.", remedy="Close it first.")
        self._lockstep = lockstep
        self._alive_ns = self._now_ns
        self._go(_S.DISARMED)
        self._happen()

    def preflight(self) -> Sequence[str]:
        """Return what keeps the device from being armed."""
        problems = [text for _, text in self.faults()]
        if self._capability.calibrated_on is None:
            problems.append("the device is not calibrated")
        return [*problems, *self.obstacles()]

    def close(self) -> None:
        """Stop and close."""
        self.stop(0)
        self._state = _S.DISCONNECTED

    def keepalive(self, number: int) -> None:
        """Say that the host lives; an old number does not count."""
        if number > self._alive_number:
            self._alive_number = number
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
        return due + self._hurt.clock_ns

    def _check(self, name: str, value: float, rate: float | None) -> None:
        parameter = self._capability.parameter(name)
        if parameter is None:
            raise LimitRefused(f"the device has no parameter {name!r}.", remedy="Leave it out.")
        if not _is_number(value) or not parameter.minimum <= value <= parameter.maximum:
            raise LimitRefused(
                f"{name} = {value!r} is outside {parameter.minimum}..{parameter.maximum}.",
                remedy="Stay within the hard limits of the device.",
            )
        if rate is not None and (not _is_number(rate) or not 0 < rate <= parameter.rate_per_s):
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
        self._plant.slow_to_rest(urgent=False)
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
        self._plant.slow_to_rest(urgent=False)
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
            self._plant.slow_to_rest(urgent=True)

    def acknowledge(self) -> None:
        """Clear a latched fault whose cause is gone."""
        if self._state is _S.ESTOP_PHYSICAL:
            raise StateRefused("the emergency stop is pressed.", remedy="Release it first.")
        if self._state not in FAILED:
            return
        if self._plant.moving:
            raise StateRefused("the belt still moves.", remedy="Wait until it stands.")
        self._codes.clear()
        self._plant.calm()
        self._go(_S.DISARMED)

    def inject(self, kind: str) -> None:
        """Make a declared fault, or one of the contract's ``BENCH_EVENTS``, happen now.

        Raises
        ------
        UsageError
            If the device does not know `kind`.
        """
        if kind not in BENCH_EVENTS and self._capability.fault(kind) is None:
            raise UsageError(
                f"the device does not declare a fault {kind!r}.",
                remedy=f"Use one of: {', '.join(f.kind for f in self._capability.faults)}.",
            )
        self._make(Planned(self._now_ns / 1e9, kind))

    # --- time ----------------------------------------------------------------------------

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let time pass; return early where the device fails or stops being what it was."""
        end = self._now_ns + duration_ns
        begin = self._now_ns
        blocks: dict[str, list[Block]] = {}
        abnormal = self._state in FAILED
        while self._now_ns < end:
            self._due()
            if not abnormal and self._state in FAILED:
                break
            step = self._next_step(end)
            made = self._plant.run(self._now_ns, step)
            self._now_ns += step
            for name, rows in made.items():
                block = self._block(name, rows)
                if block is not None:
                    blocks.setdefault(name, []).append(block)
            self._settle()
        return self._now_ns - begin, [joined(parts) for parts in blocks.values()]

    def _next_step(self, end: int) -> int:
        step = end - self._now_ns
        if self._state in (_S.HOLD, _S.RAMP_DOWN) and not self._plant.settled:
            step = min(step, _QUANTUM_NS if self._quick else 5 * _QUANTUM_NS)
        for due, _ in self._waiting:
            if due > self._now_ns:
                step = min(step, due - self._now_ns)
        if self._planned:
            ahead = round(self._planned[0].at_s * 1e9) - self._now_ns
            if ahead > 0:
                step = min(step, ahead)
        return step

    def _due(self) -> None:
        self._happen()
        while self._waiting and self._waiting[0][0] <= self._now_ns:
            _, setpoints = self._waiting.pop(0)
            for name, value in setpoints.values.items():
                self._plant.go(name, value, setpoints.rates.get(name))
        served = self._lockstep or self._now_ns - self._alive_ns <= self._watchdog_ns
        if not served and self._state in _POWERED:
            self._fail("watchdog", _S.LINK_LOST)

    def _happen(self) -> None:
        while self._planned and round(self._planned[0].at_s * 1e9) <= self._now_ns:
            self._make(self._planned.pop(0))

    def _make(self, planned: Planned) -> None:
        kind = planned.kind
        fault = self._capability.fault(kind)
        reaction = fault.reaction if fault is not None else "fault"
        if kind == ESTOP_RELEASE:
            if self._state is _S.ESTOP_PHYSICAL:
                self._go(_S.ESTOP_LATCHED)
        elif kind == "position_limit":
            self._plant.disturb(kind)
        elif kind in TELEMETRY_FAULTS:
            self._hurt.begin(kind, planned.rows)
        elif reaction == "hold":
            if self._state is _S.RUNNING:
                self._codes.append(kind)
                self._plant.disturb(kind)
                self._enter_hold()
        elif reaction != "telemetry":
            self._fail(kind, _S.ESTOP_PHYSICAL if reaction == "estop" else _S.FAULT)

    def _fail(self, kind: str, state: DeviceState) -> None:
        if state not in TRANSITIONS[self._state]:
            return
        self._codes.append(kind)
        self._waiting.clear()
        self._plant.remove_torque()
        self._go(state)

    def _settle(self) -> None:
        plant = self._plant
        if self._state is _S.RAMP_DOWN and plant.standing:
            self._calm()
            plant.release()
            self._go(_S.DISARMED)
        elif self._state is _S.HOLD and not plant.moving:
            self._calm()

    def _calm(self) -> None:
        """At rest what led to a hold is over; it does not latch."""
        self._plant.calm()
        self._codes = [kind for kind in self._codes if not self._holds(kind)]

    def _holds(self, kind: str) -> bool:
        fault = self._capability.fault(kind)
        return fault is not None and fault.reaction == "hold"

    def _block(self, name: str, rows: Rows) -> Block | None:
        n = len(rows.t_ns)
        if not n:
            return None
        t, values = rows.t_ns, rows.values
        at = self._columns[name]
        if at is not None:
            values[:, at[0]] = int(self._state)
            values[:, at[1]] = self._code(self._codes[-1]) if self._codes else 0
            if self._lockstep:
                values[:, at[2]] = KEEPALIVE_S
            else:
                values[:, at[2]] = np.round(np.maximum(0, t - self._alive_ns) / 1e9, 4)
        seq = np.arange(self._seq[name], self._seq[name] + n, dtype=np.int64).astype(np.uint32)
        self._seq[name] += n
        block = Block(name, seq, t, t, values.astype(np.float32))
        return self._hurt.passed(block, own=name == self._capability.streams[0].name)

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


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _system_columns(stream: Stream) -> tuple[int, int, int] | None:
    names = [channel.name for channel in stream.channels]
    if "device_state" not in names:
        return None
    state, code, age = (names.index(n) for n in ("device_state", "fault_code", "watchdog_age_s"))
    return state, code, age


def joined(blocks: Sequence[Block]) -> Block:
    """Return consecutive blocks of one stream as one."""
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        blocks[0].stream,
        np.concatenate([b.seq for b in blocks]),
        np.concatenate([b.t_device_ns for b in blocks]),
        np.concatenate([b.t_host_ns for b in blocks]),
        np.concatenate([b.values for b in blocks]),
    )
