"""The process of one supervised session: it opens the study and writes what happens itself.

It reports its progress and its end to the supervisor. Where the supervisor is gone, the worker
stops its device, closes the session and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trialkit._clock import Clock, RealClock, SimulatedClock
from trialkit.errors import SessionEnded, TrialkitError
from trialkit.session.operator import AttendingOperator, Operator, View
from trialkit.session.runner import Progress, SessionOutcome, run_session
from trialkit.session.typed import Entered, Question, TypingOperator
from trialkit.session.words import Input, Stop
from trialkit.study import Study

_SHOW_S = 0.25
_LOOK_S = 0.05


@dataclass(frozen=True)
class Job:
    """One session to run, with all that its process needs to know.

    `speed` is in simulated seconds a second, 0 as fast as possible, None in real time.
    Where it is `attended`, the supervisor has somebody who answers; else nobody is asked.
    """

    folder: Path
    actor: str
    usubjid: str
    number: int
    day: int
    device: str = "simulated"
    options: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, float] = field(default_factory=dict)
    speed: float | None = None
    reason: str | None = None
    attended: bool = False


@dataclass(frozen=True)
class Failed:
    """An error of the tree, as it crosses from one process to another."""

    code: str
    exit_status: int
    message: str
    remedy: str

    @classmethod
    def of(cls, error: TrialkitError) -> Failed:
        """Return what crosses of an error."""
        return cls(error.code, error.exit_status, error.message, error.remedy)


class SupervisedOperator(AttendingOperator):
    """Attends as `AttendingOperator` does, and passes on what the therapist commands."""

    def __init__(self, name: str, commands: Connection, answers: Mapping[str, float]) -> None:
        super().__init__(name, answers)
        self._commands = commands

    def commands(self, view: View) -> Sequence[Input]:  # noqa: ARG002
        """Return the commands that have come."""
        wanted: list[Input] = []
        with contextlib.suppress(EOFError, OSError):
            while self._commands.poll(0):
                wanted.append(self._commands.recv())
        return wanted


class AttendedOperator(TypingOperator):
    """Asks the therapist, who sits at the supervisor, and passes on what was commanded."""

    def __init__(
        self, name: str, rpc: Connection, commands: Connection, answers: Mapping[str, float]
    ) -> None:
        super().__init__(name, answers)
        self._rpc = rpc
        self._commands = commands
        self._wanted: list[Input] = []
        self._told: tuple[Question | None, str] = (None, "")

    def commands(self, view: View) -> Sequence[Input]:  # noqa: ARG002
        """Return the commands that have come."""
        self._hear()
        wanted, self._wanted = self._wanted, []
        return wanted

    def attend(self) -> bool:
        """Listen for a moment; False once a stop has come."""
        self._hear()
        time.sleep(_LOOK_S)
        return not any(isinstance(command, Stop) for command in self._wanted)

    def _hear(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while self._commands.poll(0):
                given: Input | Entered = self._commands.recv()
                if not isinstance(given, Entered):
                    self._wanted.append(given)
                elif self.question is not None and given.number == self.question.number:
                    self.enter(given.line)
        if self._told != (self.question, self.message):
            self._told = (self.question, self.message)
            with contextlib.suppress(OSError):
                self._rpc.send(("asked", *self._told))


def work(rpc: Connection, commands: Connection, lifeline: int) -> None:
    """Run one session; its outcome or its error is the last message to the supervisor.

    Parameters
    ----------
    rpc : Connection
        The job comes first, then progress goes out.
    commands : Connection
        Hold, resume, stop and answers of the therapist.
    lifeline : int
        A pipe that ends when the supervisor does.
    """
    job: Job = rpc.recv()
    ended = threading.Event()
    threading.Thread(target=_follow, args=(lifeline, ended), daemon=True).start()
    try:
        outcome = _run(job, rpc, commands)
        ended.set()
        rpc.send(("done", outcome))
    except (TrialkitError, KeyboardInterrupt) as error:
        ended.set()
        if not isinstance(error, TrialkitError):
            error = SessionEnded("interrupted before the session began.", remedy="Run it again.")
        with contextlib.suppress(OSError):
            rpc.send(("failed", Failed.of(error)))


def _run(job: Job, rpc: Connection, commands: Connection) -> SessionOutcome:
    clock: Clock = RealClock()
    if job.speed is not None:
        clock = SimulatedClock(datetime.now(UTC), job.speed or None)
    shown = 0.0

    def show(progress: Progress) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _SHOW_S:
            shown = time.monotonic()
            with contextlib.suppress(OSError):
                rpc.send(("progress", progress))

    with Study.open(job.folder, actor=job.actor, clock=clock) as study:
        operator: Operator = SupervisedOperator(job.actor, commands, job.answers)
        if job.attended:
            operator = AttendedOperator(job.actor, rpc, commands, job.answers)
        return run_session(
            study,
            job.usubjid,
            number=job.number,
            day=job.day,
            device=job.device,
            device_options=job.options,
            operator=operator,
            progress=show,
            reason=job.reason,
        )


def _follow(lifeline: int, ended: threading.Event) -> None:
    """Interrupt the session, which stops its device first, as soon as the supervisor is gone."""
    with contextlib.suppress(OSError):
        while os.read(lifeline, 1):
            pass
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Run with the numbers of the pipes as arguments."""
    rpc, commands, lifeline = map(int, sys.argv[1:4])
    work(Connection(rpc), Connection(commands), lifeline)
