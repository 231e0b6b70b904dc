"""Deliberately broken drivers: the simulated trainer with one thing wrong each.

Loaded in the device's process as ``broken_trainers:Name``, with this folder on PYTHONPATH.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from device_interface.contract import Block, Capability, Channel, DeviceState, Setpoints
from device_interface.controller import Planned
from device_interface.simulated import SimulatedGaitTrainer

S = DeviceState
Blocks = Sequence[Block]


class Trainer(SimulatedGaitTrainer):
    """The sound trainer, with places at which a driver can be broken."""

    def described(self, own: Capability) -> Capability:
        return own

    def describe(self) -> Capability:
        return self.described(super().describe())

    def changed(self, block: Block) -> Block | None:
        return block

    def advance(self, duration_ns: int) -> tuple[int, Blocks]:
        passed, blocks = super().advance(duration_ns)
        kept = [self.changed(block) for block in blocks]
        return passed, [block for block in kept if block is not None]

    def at(self, name: str) -> int:
        return self._capability.streams[0].index(name)

    def channels(self, change: Mapping[str, dict[str, Any]]) -> Capability:
        (stream,) = self._capability.streams
        changed: list[Channel] = [
            replace(c, **next((v for k, v in change.items() if k in c.name), {}))
            for c in stream.channels
        ]
        return replace(self._capability, streams=(replace(stream, channels=tuple(changed)),))


# --- identity ----------------------------------------------------------------------------


class UnknownSchema(Trainer):
    def described(self, own: Capability) -> Capability:
        return replace(own, schema="trialkit.device/2")


class NoSerial(Trainer):
    def described(self, own: Capability) -> Capability:
        return replace(own, serial="")


class Degrees(Trainer):
    def described(self, own: Capability) -> Capability:
        return self.channels({"knee_angle": {"unit": "deg"}})


class KneeFlexionNegative(Trainer):
    """As an open exoskeleton has it: the knee from -120 to 0 degrees."""

    def described(self, own: Capability) -> Capability:
        low, high = math.radians(-120), math.radians(10)
        return self.channels({"knee_angle": {"minimum": low, "maximum": high}})

    def changed(self, block: Block) -> Block:
        for side in "lr":
            block.values[:, self.at(f"knee_angle_{side}")] *= -1
            block.values[:, self.at(f"knee_velocity_{side}")] *= -1
        return block


class RateOverstated(Trainer):
    def described(self, own: Capability) -> Capability:
        return replace(own, streams=(replace(own.streams[0], rate_hz=200.0),))


class WatchdogTooLong(Trainer):
    def described(self, own: Capability) -> Capability:
        return replace(own, watchdog_s=2.0)


# --- limits ------------------------------------------------------------------------------


class Clamps(Trainer):
    """What is out of range is silently brought into it."""

    def apply(self, setpoints: Setpoints) -> int:
        values = dict(setpoints.values)
        for name, value in values.items():
            own = self._capability.parameter(name)
            if own is not None and isinstance(value, float) and math.isfinite(value):
                values[name] = min(max(value, own.minimum), own.maximum)
        return super().apply(replace(setpoints, values=values))


class TakesNaN(Trainer):
    def _check(self, name: str, value: float, rate: float | None) -> None:
        if not (isinstance(value, float) and math.isnan(value)):
            super()._check(name, value, rate)


class HalfApplied(Trainer):
    """The good values of a command have gone out before the bad one is seen."""

    def apply(self, setpoints: Setpoints) -> int:
        for name, value in setpoints.values.items():
            super().apply(Setpoints({name: value}, {}, setpoints.token))
        return super().apply(setpoints)


class Jumps(Trainer):
    """The command goes straight to the drive, at any speed."""

    def apply(self, setpoints: Setpoints) -> int:
        due = super().apply(setpoints)
        for name, value in setpoints.values.items():
            ramp = self._walking.ramps[name]
            ramp.rate_limit = 100.0
            ramp.go(value, setpoints.rates.get(name))
        return due


class PushesOutward(Trainer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._walking._turn_inward = lambda out: None  # type: ignore[union-attr,method-assign]


class MovesUncalibrated(Trainer):
    def preflight(self) -> Sequence[str]:
        return [text for text in super().preflight() if "calibrated" not in text]


# --- ordering ----------------------------------------------------------------------------


class ArmsTwice(Trainer):
    def arm(self) -> int:
        return self._token if self._state in (S.ARMED, S.RUNNING) else super().arm()


class TakesAnyToken(Trainer):
    def apply(self, setpoints: Setpoints) -> int:
        return super().apply(replace(setpoints, token=self._token))


class ReenablesAfterFault(Trainer):
    """As a helper of a well-known CAN library does: arming resets the fault by itself."""

    def arm(self) -> int:
        if self._state is S.FAULT:
            self._codes.clear()
            self._state = S.DISARMED
        return super().arm()


class DisarmsWhileRunning(Trainer):
    def disarm(self) -> None:
        if self._state is S.RUNNING:
            self.ramp_down()
        else:
            super().disarm()


# --- stop --------------------------------------------------------------------------------


class SlowStop(Trainer):
    def stop(self, category: Any) -> None:
        super().stop(category)
        if category == 1:
            self._walking.speed.go(0.0, 0.2)


class DeafInHold(Trainer):
    def stop(self, category: Any) -> None:
        if self._state is not S.HOLD or category != 1:
            super().stop(category)


class QueueOutlivesStop(Trainer):
    def stop(self, category: Any) -> None:
        waiting = list(self._waiting)
        super().stop(category)
        self._waiting.extend((due + 2_000_000_000, command) for due, command in waiting)


class PowerOffKeepsTorque(Trainer):
    """Category 0 is done as category 1 with the guidance left on until the belt stands."""

    def stop(self, category: Any) -> None:
        super().stop(1 if category == 0 else category)
        if category == 0:
            self._walking.speed.go(0.0, 0.45)


# --- emergency stop ------------------------------------------------------------------------


class EstopReadAsZero(Trainer):
    """As OpenExo ships: the input of the emergency stop is never read."""

    def _make(self, planned: Planned) -> None:
        if planned.kind != "estop":
            super()._make(planned)


class EstopNotLatched(Trainer):
    def _make(self, planned: Planned) -> None:
        super()._make(planned)
        if planned.kind == "estop_release" and self._state is S.ESTOP_LATCHED:
            self._codes.clear()
            self._state = S.DISARMED


class UnpluggedIsFree(Trainer):
    def _make(self, planned: Planned) -> None:
        if planned.kind != "estop_unplugged":
            super()._make(planned)


class BlindAtPowerUp(Trainer):
    """The input is read for its edges only: pressed from the beginning, it is never seen."""

    def __init__(self, *, faults: Any = (), **options: Any) -> None:
        super().__init__(faults=[f for f in faults if f["at_s"] > 0], **options)


class AcknowledgedWhilePressed(Trainer):
    def acknowledge(self) -> None:
        if self._state is S.ESTOP_PHYSICAL:
            self._state = S.ESTOP_LATCHED
        super().acknowledge()


# --- watchdog ------------------------------------------------------------------------------


class NoWatchdog(Trainer):
    def connect(self, *, lockstep: bool) -> None:
        super().connect(lockstep=True)


class TakesOldKeepalives(Trainer):
    def keepalive(self, number: int) -> None:
        self._alive_ns = self._now_ns


class RevivedByKeepalive(Trainer):
    def keepalive(self, number: int) -> None:
        super().keepalive(number)
        if self._state is S.LINK_LOST and not self._walking.moving:
            self._codes.clear()
            self._state = S.RUNNING


# --- freshness -----------------------------------------------------------------------------


class HidesGaps(Trainer):
    """Rows are numbered where they are sent, not where they are made."""

    sent = 0

    def changed(self, block: Block) -> Block:
        seq = np.arange(self.sent, self.sent + len(block), dtype=np.uint32)
        self.sent += len(block)
        return replace(block, seq=seq)


class RepeatsLastRow(Trainer):
    """While the source is frozen the last row goes out again with new numbers and times."""

    last: Block | None = None

    def advance(self, duration_ns: int) -> tuple[int, Blocks]:
        passed, blocks = super().advance(duration_ns)
        if blocks:
            self.last = blocks[-1]
        elif self.last is not None and passed >= 10_000_000:
            t = np.array([self._now_ns], np.int64)
            seq = self.last.seq[-1:] + np.uint32(1)
            self.last = Block(self.last.stream, seq, t, t, self.last.values[-1:])
            blocks = [self.last]
        return passed, blocks


class RestartsNumbers(Trainer):
    def arm(self) -> int:
        token = super().arm()
        self._seq = dict.fromkeys(self._seq, 0)
        return token


class HoldsEveryFifthRow(Trainer):
    """Values are read from the drives five times a second and sent a hundred times."""

    def changed(self, block: Block) -> Block:
        first = np.arange(len(block)) // 5 * 5
        kept = block.values[first].copy()
        kept[:, self.at("device_state")] = block.values[:, self.at("device_state")]
        return replace(block, values=kept)


# --- faults --------------------------------------------------------------------------------


class LogsOnly(Trainer):
    """As four of five fault handlers of OpenExo: the fault is latched, the torque stays."""

    def _fail(self, kind: str, state: DeviceState) -> None:
        if state is S.FAULT and self._state is S.RUNNING and kind != "undeclared":
            self._codes.append(kind)
            self._state = S.FAULT
        else:
            super()._fail(kind, state)


class FaultClearsItself(Trainer):
    since_ns: int | None = None

    def advance(self, duration_ns: int) -> tuple[int, Blocks]:
        done = super().advance(duration_ns)
        if self._state is not S.FAULT:
            self.since_ns = None
        elif self.since_ns is None:
            self.since_ns = self._now_ns
        elif self._now_ns - self.since_ns > 3_000_000_000:
            self._codes.clear()
            self._state = S.DISARMED
        return done


class UnknownIsNone(Trainer):
    def _make(self, planned: Planned) -> None:
        if planned.kind != "undeclared":
            super()._make(planned)


class WrongCode(Trainer):
    def _code(self, kind: str) -> int:
        return 999 if kind == "encoder" else super()._code(kind)


# --- spasm -----------------------------------------------------------------------------------


class SpasmIgnored(Trainer):
    def _make(self, planned: Planned) -> None:
        if planned.kind != "spasm":
            super()._make(planned)


class ResumesByItself(Trainer):
    held_ns: int | None = None

    def _make(self, planned: Planned) -> None:
        super()._make(planned)
        if planned.kind == "spasm" and self._state is S.HOLD:
            self.held_ns = self._now_ns

    def advance(self, duration_ns: int) -> tuple[int, Blocks]:
        done = super().advance(duration_ns)
        if self.held_ns is not None and self._now_ns - self.held_ns > 8_000_000_000:
            self.held_ns = None
            if self._state is S.HOLD:
                self._walking.speed.go(0.4)
                self._state = S.RUNNING
        return done


# --- resume ----------------------------------------------------------------------------------


class RepeatsCommands(Trainer):
    """As a well-known run engine does: resume sends again what was sent before."""

    before: Mapping[str, float] = {}

    def apply(self, setpoints: Setpoints) -> int:
        due = super().apply(setpoints)
        self.before = setpoints.values
        return due

    def resume(self) -> int:
        token = super().resume()
        for name, value in self.before.items():
            self._walking.go(name, value, None)
        return token


class KeepsToken(Trainer):
    def _enter_hold(self) -> None:
        token = self._token
        super()._enter_hold()
        self._token = token

    def resume(self) -> int:
        super().resume()
        self._token -= 1
        return self._token


# --- record ----------------------------------------------------------------------------------


class TimesOfArrival(Trainer):
    """The answer has the time at which the command came, not when it takes effect."""

    def __init__(self, **options: Any) -> None:
        super().__init__(latency_s=0.3, **options)

    def apply(self, setpoints: Setpoints) -> int:
        return super().apply(setpoints) - 300_000_000


class RampsDownInRunningOnly(Trainer):
    def ramp_down(self) -> None:
        if self._state is not S.HOLD:
            super().ramp_down()


# --- soak ------------------------------------------------------------------------------------


class Leaks(Trainer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.kept: list[Any] = []

    def changed(self, block: Block) -> Block:
        self.kept.append(np.repeat(block.values, 3, axis=0))
        return block


class LosesRowsLater(Trainer):
    def changed(self, block: Block) -> Block | None:
        late = self._now_ns > 900_000_000_000
        return None if late and block.seq[0] % 77 == 0 else block
