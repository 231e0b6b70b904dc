"""Walks one session through the machine against a simulated device, without a study.

Everything that decides is the machine's, the device's and the virtual patient's own; only
what would be written is kept in a list instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from device_interface.contract import FAILED, MOVING_M_S, Block, DeviceState, Setpoints
from device_interface.errors import DeviceRefused
from device_interface.link import Link
from trialkit.errors import DeviceError
from trialkit.record.kinds import Dose, Payload
from trialkit.session import words as w
from trialkit.session.dose import NOTHING, dose_of, dose_stream
from trialkit.session.machine import State, start, step
from trialkit.session.operator import AttendingOperator, View
from trialkit.session.program import Program
from trialkit.session.summary import Summariser

_STRIDE_S = 120.0
_TICK_S = 1.0
_FIRST_S = 0.1
"""The guards see the device for so long before it is armed."""
_REST_S = 8.0
_STANDING_S = 2.0
_OFF = frozenset({DeviceState.DISCONNECTED, DeviceState.DISARMED}) | FAILED


@dataclass(frozen=True)
class Entered:
    """A block that was entered, when, and with which setpoints."""

    block: str
    t_s: float
    setpoints: Mapping[str, float]


@dataclass
class Walked:
    """What a walk found.

    `refused` are (block, what the device said); `unanswered` are (block, sign).
    """

    state: State
    events: list[Payload] = field(default_factory=list)
    entered: list[Entered] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    unanswered: list[tuple[str, str]] = field(default_factory=list)
    dose: Dose = NOTHING


def walk(
    program: Program,
    link: Link,
    answers: Mapping[str, float],
    *,
    also: Callable[[Mapping[str, float], Mapping[str, float]], str | None] | None = None,
) -> Walked:
    """Walk a session to its end.

    Parameters
    ----------
    program : Program
    link : Link
        A simulated device in lock-step.
    answers : mapping of str to float
        Signs that a person enters; what is missing the virtual patient is asked.
    also : callable, optional
        Called with values and rates of each command; says why another device refuses it.
    """
    return _Walk(program, link, answers, also).go()


class _Walk:
    """One session while it is walked."""

    def __init__(
        self,
        program: Program,
        link: Link,
        answers: Mapping[str, float],
        also: Callable[[Mapping[str, float], Mapping[str, float]], str | None] | None,
    ) -> None:
        self._link = link
        self._also = also
        self._person = AttendingOperator("preview", answers)
        streams = link.capability.streams
        self._summariser = Summariser(streams, {rule.sign for rule in program.course.during})
        self._stream = dose_stream(streams)
        self._quantum_s = _TICK_S if any(s.rate_hz for s in streams) else _STRIDE_S
        self._rows: list[Block] = []
        self._inputs: deque[w.Input] = deque()
        self._asked: list[w.Ask] = []
        self._to_log: list[w.LogBlock] = []
        self._speed = 0.0
        self._logged = 0.0
        self._token = 0
        self._walked = Walked(start(program))

    def go(self) -> Walked:
        """Walk from the screening to the end."""
        walked = self._walked
        self._feed(w.Ready())
        asked = walked.state.program.course.protocol.session.screening
        values = self._person.screen(asked, self._view())
        self._missing("screening", tuple(asked), values)
        self._pass_time(_FIRST_S)
        self._feed(w.Begin(values))
        while not walked.state.final:
            self._hear()
            if walked.state.phase in ("pausing", "held"):
                self._feed(w.Stop("operator"))
            elif not walked.state.final:
                self._pass_time(self._quantum())
        self._come_to_rest()
        if self._stream is not None and self._rows:
            rows = np.concatenate([block.values for block in self._rows])
            names = [channel.name for channel in self._stream.channels]
            table = pa.table({name: rows[:, at] for at, name in enumerate(names)})
            row_s = 1.0 / self._stream.rate_hz if self._stream.rate_hz else 0.0
            walked.dose = dose_of(table, logged_minutes=self._logged, row_s=row_s)
        return walked

    # --- people --------------------------------------------------------------------------

    def _view(self) -> View:
        state = self._walked.state
        return View(state.t_s, state.phase, state.block_id, self._link.ask)

    def _missing(self, block: str, signs: tuple[str, ...], values: Mapping[str, float]) -> None:
        self._walked.unanswered += [(block, sign) for sign in signs if sign not in values]

    def _hear(self) -> None:
        while self._asked:
            ask = self._asked.pop(0)
            values = self._person.answer(ask.block, ask.prompts, self._view()) or {}
            self._missing(ask.block, ask.prompts, values)
            self._feed(w.Answered(ask.block, values))
        while self._to_log:
            task = self._to_log.pop(0)
            self._come_to_rest()
            self._feed(w.Tick(task.minutes * 60.0, w.Summary(0)))
            self._logged += task.minutes
            self._feed(w.BlockLogged(task.block, round(task.minutes, 3)))

    # --- time ----------------------------------------------------------------------------

    def _quantum(self) -> float:
        state = self._walked.state
        limit = self._quantum_s if state.phase == "running" and not state.finishing else _TICK_S
        return max(0.01, min(limit, state.due_s))

    def _pass_time(self, seconds: float) -> None:
        passed, blocks = self._link.wait(seconds)
        if self._stream is not None:
            self._rows += [block for block in blocks if block.stream == self._stream.name]
        seen = self._summariser.summary(blocks, passed)
        self._speed = seen.speed_m_s
        self._feed(w.Tick(passed, seen))

    def _come_to_rest(self) -> None:
        left = _REST_S
        while left > 0 and (self._link.state not in _OFF or self._speed > MOVING_M_S):
            self._pass_time(_STANDING_S)
            left -= _STANDING_S

    # --- effects -------------------------------------------------------------------------

    def _feed(self, given: w.Input) -> None:
        walked = self._walked
        self._inputs.append(given)
        while self._inputs:
            before = walked.state.block
            walked.state, effects = step(walked.state, self._inputs.popleft())
            state = walked.state
            for index in range(before + 1, state.block + 1):
                block = state.program.course.blocks[index]
                setpoints = dict(state.targets) if block.on_device else {}
                walked.entered.append(Entered(block.id, round(state.t_s, 1), setpoints))
            for effect in effects:
                self._do(effect)

    def _do(self, effect: w.Effect) -> None:
        match effect:
            case w.Append(payload):
                self._walked.events.append(payload)
            case w.Send():
                self._send(effect)
            case w.Arm():
                self._token = self._try(self._link.arm) or 0
            case w.ResumeDevice():
                self._token = self._try(self._link.resume) or 0
            case w.RampDown():
                self._try(self._link.ramp_down)
            case w.HoldDevice():
                self._try(self._link.hold)
            case w.StopDevice(category):
                self._link.stop(category)
            case w.Ask():
                self._asked.append(effect)
            case w.LogBlock():
                self._to_log.append(effect)
            case w.Propose(number):
                self._inputs.append(w.Decide(number, True, self._person.name))
            case _:  # a remark to a person
                pass

    def _try(self, verb: Callable[[], int | None]) -> int | None:
        try:
            return verb()
        except DeviceError as error:
            self._walked.refused.append((self._walked.state.block_id, error.message))
            self._inputs.append(w.DeviceFailed("device_refused", error.message))
            return None

    def _send(self, send: w.Send) -> None:
        block, said = self._walked.state.block_id, None
        if self._also is not None and (said := self._also(send.values, send.rates)):
            self._walked.refused.append((block, said))
        try:
            self._link.apply(Setpoints(dict(send.values), dict(send.rates), self._token))
        except DeviceRefused as refused:
            self._walked.refused.append((block, refused.message))
            self._inputs.append(w.Acknowledged(send.number, False, send.values, refused.message))
        else:
            self._inputs.append(w.Acknowledged(send.number, True, send.values))
