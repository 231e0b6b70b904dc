"""Runs one session: the machine's effects on device, record and journal, until it has ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from device_interface.contract import FAILED, MOVING_M_S, DeviceState, Setpoints
from device_interface.errors import DeviceFaulted, DeviceRefused, LinkLost
from device_interface.link import Link, open_link
from trialkit._clock import RealClock
from trialkit.errors import DeviceError
from trialkit.record.kinds import (
    DeviationRaised,
    Dose,
    Payload,
    SessionClosed,
    SessionOpened,
    TelemetrySealed,
    Timing,
)
from trialkit.session import words as w
from trialkit.session.checked import newest_check, require_checked
from trialkit.session.deviations import find_deviations, reached
from trialkit.session.dose import delivered
from trialkit.session.lateness import Lateness
from trialkit.session.machine import State, start, step
from trialkit.session.operator import AttendingOperator, Operator, View
from trialkit.session.prepare import Prepared, prepare, require_capable, require_still
from trialkit.session.recording import Recorder, head_of, make_folder
from trialkit.session.summary import Summariser
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.heads import sign_head
from trialkit.study.timesource import time_source

Rate = Literal["full", "stride"]
TICK_S = 0.1
_LOCKSTEP_S = 1.0
_STRIDE_S = 120.0
_REST_S = 8.0
_YIELD_S = 0.005
_URGENT = (w.StopDevice, w.HoldDevice)
_OFF = frozenset({DeviceState.DISCONNECTED, DeviceState.DISARMED}) | FAILED


@dataclass(frozen=True)
class SessionOutcome:
    """How a session ended; `timing` is the lateness of its loop, in real time.

    `interrupted` says that Ctrl-C or SIGTERM ended it: whoever runs many should end too.
    """

    session: str
    status: str
    dose: Dose
    n_events: int
    code: str | None = None
    interrupted: bool = False
    timing: Timing | None = None

    @property
    def completed(self) -> bool:
        """True where everything was delivered."""
        return self.status == "completed"


@dataclass(frozen=True)
class StreamShown:
    """What a display may show of one stream; `rate_hz` is measured over two seconds."""

    name: str
    rows: int
    gaps: int
    rate_hz: float
    required: bool
    silent: bool


@dataclass(frozen=True)
class Progress:
    """What a display may show of a running session."""

    session: str
    t_s: float
    phase: str
    block: str
    left_s: float
    delivered_s: float
    planned_s: float
    speed_m_s: float
    measures: Mapping[str, float]
    rows: int
    gaps: int
    waiting: tuple[str, ...]
    streams: tuple[StreamShown, ...] = ()


@command("session", atomic=False)
def run_session(
    study: Study,
    usubjid: str,
    *,
    number: int,
    day: int,
    device: str = "simulated",
    device_options: Mapping[str, Any] | None = None,
    rate: Rate = "full",
    operator: Operator | None = None,
    progress: Callable[[Progress], None] | None = None,
    reason: str | None = None,
) -> SessionOutcome:
    """Run a session of a participant from screening to sealed telemetry.

    Parameters
    ----------
    study : Study
        Its clock decides: real time, or lock-step with a simulated device.
    number, day : int
        Session number from 1, and study day.
    device : str
        Driver, by entry point of ``trialkit.devices``.
    device_options : mapping, optional
        For the driver; the simulated one takes the patient's ability, fatigue, seed ...
    rate : {"full", "stride"}
        ``full``: the driver's own rate, in a process of its own. ``stride``: one row a
        stride, in this process and on a simulated clock only; the session's events are
        committed together.
    operator : Operator, optional
        Default: an attending one, named after the study's actor.
    progress : callable, optional
        Called with a `Progress` after each tick.
    reason : str, optional
        Why the session lies outside its window; recorded as a deviation.

    Returns
    -------
    SessionOutcome

    Raises
    ------
    RefusedError
        A guard refused (see `trialkit.session.prepare`); nothing happened.
    DeviceError
        The device does not start or is not ready; nothing happened.
    StorageRefused
        The disk refused while the session ran: the device was stopped, and `recover` closes
        the session with what was synced.
    """
    prepared = prepare(study, usubjid, number=number, day=day, reason=reason)
    options = {**({"rate": "stride"} if rate == "stride" else {}), **(device_options or {})}
    link = open_link(device, options, study.clock, in_process=rate == "stride")
    try:
        require_capable(prepared.protocol, link.capability)
        require_checked(study, link.capability)
        if problems := link.preflight():
            raise DeviceFaulted(
                f"the device is not ready: {'; '.join(problems)}.", remedy="Clear these first."
            )
        with study.batch() if rate == "stride" else contextlib.nullcontext():
            run = _Run(study, usubjid, prepared, link, rate, operator, progress)
            return run.go(number, day, reason)
    finally:
        link.close()


class _Run:
    """One session while it runs."""

    def __init__(
        self,
        study: Study,
        usubjid: str,
        prepared: Prepared,
        link: Link,
        rate: Rate,
        operator: Operator | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._study = study
        self._usubjid = usubjid
        self._prepared = prepared
        self._link = link
        self._stride = rate == "stride"
        self._real = isinstance(study.clock, RealClock)
        self._time_source = time_source(study.clock)
        self._operator: Operator = operator or AttendingOperator(study.actor)
        self._progress = progress
        self._state: State = start(prepared.program)
        self._session = prepared.program.session
        signs = {rule.sign for rule in prepared.program.course.during}
        streams = link.capability.streams
        self._summariser = Summariser(streams, signs)
        self._token = 0
        self._n_events = 0
        self._told: list[Payload] = []
        self._inputs: deque[w.Input] = deque()
        self._asked: dict[str, tuple[str, ...]] = {}
        self._proposed: dict[int, w.Propose] = {}
        self._to_log: list[w.LogBlock] = []
        self._logged_minutes = 0.0
        self._last = w.Summary(0)
        self._interrupted = False
        self._seen_ns = study.clock.monotonic_ns()
        self._due_ns = self._seen_ns
        self._lateness = Lateness()
        self._recorder: Recorder | None = None

    # --- the whole -----------------------------------------------------------------------

    def go(self, number: int, day: int, reason: str | None) -> SessionOutcome:
        """Run to the end and close the session."""
        with self._study.running(self._session):
            return self._run(number, day, reason)

    def _run(self, number: int, day: int, reason: str | None) -> SessionOutcome:
        folder = self._study.folder / "telemetry" / self._session
        make_folder(folder)
        conformance = newest_check(self._study, self._link.capability)
        with self._study.batch():
            require_still(self._study, self._usubjid, number, self._prepared.protocol)
            self._open(number, day, reason, conformance)
        try:
            hashed = self._study.state.protocol_hashes[self._prepared.protocol.arm]
            self._recorder = Recorder(
                folder,
                self._session,
                self._link.capability.streams,
                head_of(self._state, hashed, number=number, conformance=conformance),
                self._study.clock,
                real=self._real,
                stride=self._stride,
            )
            with self._signals():
                self._loop()
            self._come_to_rest()
        except BaseException:
            self._link.stop(1)
            if self._recorder is not None:
                self._recorder.discard()
            with contextlib.suppress(DeviceError):
                self._await_rest()
            raise
        return self._close(self._recorder, number, day)

    def _open(self, number: int, day: int, reason: str | None, conformance: str | None) -> None:
        self._append(
            SessionOpened(
                session=self._session,
                number=number,
                day=day,
                protocol=self._prepared.protocol.id,
                device=self._link.capability.identity(),
                planned_minutes=round(self._prepared.protocol.planned_minutes, 3),
                therapist=self._study.actor,
                conformance=conformance,
                clock=self._time_source,
            )
        )
        if self._prepared.deviation:
            detail = self._prepared.deviation
            self._append(
                DeviationRaised(
                    category="session_window", detail=detail, day=day, session=self._session
                ),
                reason,
            )

    def _close(self, recorder: Recorder, number: int, day: int) -> SessionOutcome:
        status = self._state.phase
        sealed = recorder.finish(status)
        self._append(
            TelemetrySealed(
                session=self._session,
                folder=sealed.folder.relative_to(self._study.folder).as_posix(),
                manifest_sha256=sealed.manifest_sha256,
                files=sealed.files,
            )
        )
        dose = delivered(sealed.folder, logged_minutes=self._logged_minutes)
        course, done = self._prepared.program.course, reached(self._state)
        for deviation in find_deviations(
            course, self._told, dose, done, session=self._session, day=day
        ):
            self._append(deviation)
        timing = self._lateness.timing() if self._real else None
        self._append(
            SessionClosed(
                session=self._session,
                number=number,
                day=day,
                status=status,  # type: ignore[arg-type]
                dose=dose,
                dose_source="telemetry",
                code=self._state.code,
                timing=timing,
            )
        )
        sign_head(self._study)
        return SessionOutcome(
            self._session,
            status,
            dose,
            self._n_events,
            self._state.code,
            self._interrupted,
            timing,
        )

    def _loop(self) -> None:
        self._feed(w.Ready())
        for text in self._prepared.notices:
            self._operator.tell(text)
        prompts = self._prepared.protocol.session.screening
        values = self._operator.screen(prompts, self._view())
        self._seen_ns = self._due_ns = self._study.clock.monotonic_ns()
        self._pass_time(TICK_S)  # the guards see the device before it is armed
        said = self._operator.commands(self._view())
        for stop in [one for one in said if isinstance(one, w.Stop)]:
            self._feed(stop)  # it came during the screening: nothing is begun
        self._feed(w.Begin(values))
        for given in [one for one in said if not isinstance(one, w.Stop)]:
            self._feed(given)
        while not self._state.final:
            self._hear_people()
            if not self._state.final:
                self._pass_time(self._quantum())

    def _come_to_rest(self) -> None:
        """Record until the device stands and is off; it does so by itself."""
        left = _REST_S
        while left > 0 and (self._link.state not in _OFF or self._last.speed_m_s > MOVING_M_S):
            quantum = 2.0 if self._stride else TICK_S
            if not self._pass_time(quantum):
                return
            left -= quantum

    def _await_rest(self) -> None:
        """Let a device that was stopped come to rest before it is closed; record nothing."""
        for _ in range(round(_REST_S / TICK_S)):
            passed, blocks = self._link.wait(TICK_S)
            told = self._summariser.summary(blocks, passed, 0.0)
            if blocks and self._link.state in _OFF and told.speed_m_s <= MOVING_M_S:
                return

    # --- people --------------------------------------------------------------------------

    def _view(self) -> View:
        state = self._state
        return View(
            state.t_s, state.phase, state.block_id, self._ask_patient, lambda: self._interrupted
        )

    def _ask_patient(self, prompt: str) -> Mapping[str, float] | None:
        if not self._link.capability.simulated:
            return None
        try:
            return self._link.ask(prompt)
        except LinkLost:
            return None

    def _hear_people(self) -> None:
        operator = self._operator
        for given in operator.commands(self._view()):
            self._feed(given)
        if not (self._asked or self._proposed or self._to_log):
            return
        for block, prompts in list(self._asked.items()):
            values = operator.answer(block, prompts, self._view())
            if values is not None:
                del self._asked[block]
                self._feed(w.Answered(block, values))
        for number, proposal in list(self._proposed.items()):
            word = operator.decide(proposal, self._view())
            if word is not None:
                del self._proposed[number]
                self._feed(word)
        for task in list(self._to_log):
            minutes = operator.log_block(task, self._view())
            if minutes is not None:
                self._to_log.remove(task)
                self._log(task, minutes)

    def _log(self, block: w.LogBlock, minutes: float) -> None:
        if not self._real:  # the therapist's minutes pass on the simulated clock
            self._come_to_rest()
            self._study.clock.sleep(minutes * 60.0)
            self._feed(w.Tick(minutes * 60.0, w.Summary(0)))
        self._logged_minutes += minutes
        self._feed(w.BlockLogged(block.block, round(minutes, 3)))

    # --- time ----------------------------------------------------------------------------

    def _quantum(self) -> float:
        state = self._state
        if self._real:
            return TICK_S
        moving = state.phase == "running" and not state.finishing
        usual = _STRIDE_S if self._stride else _LOCKSTEP_S
        limit = usual if moving else min(usual, _LOCKSTEP_S)
        return max(0.01, min(limit, state.due_s, self._operator.due_s(state.t_s)))

    def _pass_time(self, seconds: float) -> bool:
        """Let time pass; return False where the device is gone.

        In real time ticks are due on a grid of `TICK_S`, and all time counts.
        """
        late = 0.0
        try:
            if not self._real:
                passed, blocks = self._link.wait(seconds)
            else:
                clock = self._study.clock
                self._due_ns += round(TICK_S * 1e9)
                _, blocks = self._link.wait(
                    max(_YIELD_S, (self._due_ns - clock.monotonic_ns()) / 1e9)
                )
                now = clock.monotonic_ns()
                late, self._due_ns = (now - self._due_ns) / 1e9, max(self._due_ns, now)
                passed, self._seen_ns = (now - self._seen_ns) / 1e9, now
                self._lateness.add(late)
        except LinkLost as lost:
            self._feed(w.DeviceFailed("link_lost", lost.message))
            return False
        if self._recorder is not None:
            self._recorder.keep(blocks)
        self._last = self._summariser.summary(blocks, passed, max(0.0, late))
        if self._interrupted:  # the device was stopped by the signal: that is why it is not running
            self._feed(w.Stop("operator", "interrupt"))
        self._feed(w.Tick(passed, self._last))
        if self._progress is not None:
            self._progress(self._shown())
        return True

    def _shown(self) -> Progress:
        state = self._state
        course = self._prepared.program.course
        return Progress(
            self._session,
            state.t_s,
            state.phase,
            state.block_id,
            state.left_s,
            state.delivered_s,
            sum(block.seconds for block in course.blocks if block.on_device),
            self._last.speed_m_s,
            state.signs,
            self._summariser.rows,
            self._summariser.gaps,
            tuple(prompt for prompts in self._asked.values() for prompt in prompts),
            tuple(
                StreamShown(name, s.rows, s.gaps, s.rate_hz, s.required, s.silent)
                for name, s in self._summariser.watches.items()
            ),
        )

    # --- effects -------------------------------------------------------------------------

    def _feed(self, given: w.Input) -> None:
        """Give the machine an input, and do what it says, in order, until nothing is left.

        The input is written to the log before anything that follows from it, except for a
        hold or a stop, which come before anything is written.
        """
        self._inputs.append(given)
        while self._inputs:
            one = self._inputs.popleft()
            self._state, effects = step(self._state, one)
            urgent = effects[:1] if effects and isinstance(effects[0], _URGENT) else ()
            for effect in urgent:
                self._do(effect)
            if self._recorder is not None:
                self._recorder.inputs.given(one)
            for effect in effects[len(urgent) :]:
                self._do(effect)

    def _do(self, effect: w.Effect) -> None:
        link = self._link
        match effect:
            case w.Append(payload, reason):
                self._append(payload, reason)
            case w.StopDevice(category):
                link.stop(category)
            case w.HoldDevice():
                self._try(link.hold)
            case w.RampDown():
                self._try(link.ramp_down)
            case w.Arm():
                self._try(self._arm)
            case w.ResumeDevice():
                self._try(self._resume)
            case w.Send():
                self._send(effect)
            case w.Ask(block, prompts):
                self._asked[block] = prompts
            case w.Propose():
                self._proposed[effect.number] = effect
            case w.LogBlock():
                self._to_log.append(effect)
            case w.Notice(text):
                self._operator.tell(text)

    def _arm(self) -> None:
        begin = self._study.clock.monotonic_ns()
        self._token = self._link.arm()
        self._excuse(begin)

    def _resume(self) -> None:
        begin = self._study.clock.monotonic_ns()
        self._token = self._link.resume()
        self._excuse(begin)

    def _excuse(self, since_ns: int) -> None:
        """Move the grid: the time that a device takes to arm is not our own lateness."""
        if self._real:
            self._due_ns += self._study.clock.monotonic_ns() - since_ns

    def _try(self, verb: Callable[[], None]) -> None:
        """Call the device; what it refuses here it can only refuse because it has failed."""
        try:
            verb()
        except LinkLost as lost:
            self._inputs.append(w.DeviceFailed("link_lost", lost.message))
        except DeviceError as error:
            self._inputs.append(w.DeviceFailed("device_refused", error.message))

    def _send(self, send: w.Send) -> None:
        setpoints = Setpoints(dict(send.values), dict(send.rates), self._token)
        if self._recorder is not None:
            self._recorder.inputs.sent(send)
        try:
            self._link.apply(setpoints)
        except DeviceRefused as refused:
            self._inputs.append(w.Acknowledged(send.number, False, send.values, refused.message))
        except LinkLost as lost:
            self._inputs.append(w.DeviceFailed("link_lost", lost.message))
        else:
            self._inputs.append(w.Acknowledged(send.number, True, send.values))

    def _append(self, payload: Payload, reason: str | None = None) -> None:
        self._study.append(payload, subject=self._usubjid, reason=reason)
        self._n_events += 1
        self._told.append(payload)

    # --- signals -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM stop the device at once, and the session after it."""
        if self._stride or threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def halt(_number: int, _frame: FrameType | None) -> None:
            self._link.stop(1)
            self._interrupted = True

        for number in numbers:
            signal.signal(number, halt)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
