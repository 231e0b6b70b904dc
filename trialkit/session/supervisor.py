"""One therapist, several sessions: each in a process of its own, with its own device.

Each session writes to the study itself and asks for the staffing rule once more when it opens;
the supervisor passes commands on and shows what comes back. A session that fails, or whose
process is killed, concerns no other: its device stops by itself, and `recover` closes it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from types import FrameType
from typing import Any

from trialkit.errors import RefusedError, SessionEnded, TrialkitError, UsageError
from trialkit.session.prepare import prepare, require_staff
from trialkit.session.runner import Progress, SessionOutcome
from trialkit.session.typed import Entered, Question
from trialkit.session.words import Input
from trialkit.session.worker import Failed, Job
from trialkit.study import Study

_POLL_S = 0.1
_END_S = 10.0
_PROGRAM = "from trialkit.session.worker import main; main()"


@dataclass
class Process:
    """The process of a session, and the pipes to it."""

    rpc: Connection
    commands: Connection
    lifeline: int
    popen: subprocess.Popen[bytes]

    @classmethod
    def start(cls, job: Job) -> Process:
        """Start the process of a job.

        Raises
        ------
        OSError
            If it does not start.
        """
        rpc, their_rpc = Pipe()
        commands, their_commands = Pipe()
        their_lifeline, lifeline = os.pipe()
        passed = (their_rpc.fileno(), their_commands.fileno(), their_lifeline)
        try:
            popen = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *map(str, passed)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches it through us, and its device first
            )
        except OSError:
            rpc.close()
            commands.close()
            os.close(lifeline)
            raise
        finally:
            their_rpc.close()
            their_commands.close()
            os.close(their_lifeline)
        with contextlib.suppress(OSError):  # gone already: the next read says so
            rpc.send(job)
        return cls(rpc, commands, lifeline, popen)

    def interrupt(self) -> None:
        """Let the session stop its device and end; safe inside a signal handler."""
        with contextlib.suppress(ProcessLookupError):
            if self.popen.returncode is None:
                os.kill(self.popen.pid, signal.SIGINT)

    def close(self) -> None:
        """Close the pipes, which ends a session that still runs, and wait for the process."""
        self.rpc.close()
        self.commands.close()
        os.close(self.lifeline)
        try:
            self.popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass
class Supervised:
    """One session under supervision.

    `outcome` is there once it has ended, `failed` where an error ended it. Where neither is,
    and `running` is False, its process was killed: the session may be open in the record.
    `question` is what an attended session asks the therapist now, `remark` its last remark.
    """

    job: Job
    process: Process | None = field(default=None, repr=False)
    progress: Progress | None = None
    outcome: SessionOutcome | None = None
    failed: Failed | None = None
    running: bool = False
    question: Question | None = None
    remark: str = ""

    @property
    def status(self) -> str:
        """The session's status, ``killed``, or the code of the error."""
        if self.outcome is not None:
            return self.outcome.status
        if self.failed is not None:
            return self.failed.code
        if self.running:
            return self.progress.phase if self.progress is not None else "starting"
        return "killed" if self.process is not None else "waiting"

    @property
    def exit_status(self) -> int:
        """The exit status that this session alone would have had."""
        if self.failed is not None:
            return self.failed.exit_status
        done = self.outcome is not None and self.outcome.completed
        return 0 if done else SessionEnded.exit_status

    def command(self, given: Input | Entered) -> None:
        """Pass a hold, resume, stop or answer on to the session; nothing where it has ended."""
        with contextlib.suppress(OSError):
            if self.running and self.process is not None:
                self.process.commands.send(given)


def supervise(
    study: Study,
    jobs: Sequence[Job],
    *,
    show: Callable[[Sequence[Supervised]], None] | None = None,
) -> list[Supervised]:
    """Run sessions side by side until the last one has ended.

    Parameters
    ----------
    study : Study
        Open for writing, by the therapist who acts.
    jobs : sequence of Job
        At most as many as the staffing rules of all protocols involved allow.
    show : callable, optional
        Called about ten times a second with all sessions, and whenever one changes.

    Returns
    -------
    list of Supervised
        In the order of `jobs`.

    Raises
    ------
    UsageError
        If there is no job, or a participant is given twice.
    RefusedError
        If a guard refuses one of them, or they are more than one therapist may run; nothing
        was started.
    """
    _require_jobs(study, jobs)
    sessions = [Supervised(job) for job in jobs]
    with _signals(sessions):
        try:
            for session in sessions:
                _start(session)
            _serve(sessions, show)
        finally:
            for session in sessions:
                session.running = False
                if session.process is not None:
                    session.process.close()
            study.refresh()
    return sessions


def worst(sessions: Sequence[Supervised]) -> int:
    """Return the exit status of the session that ended worst."""
    return max((session.exit_status for session in sessions), default=0)


def _require_jobs(study: Study, jobs: Sequence[Job]) -> None:
    """Refuse before anything starts."""
    people = [job.usubjid for job in jobs]
    if not jobs or len(set(people)) < len(people):
        raise UsageError(
            "no participant was given." if not jobs else "a participant is given twice.",
            remedy="Give each participant once.",
        )
    protocols = [
        prepare(study, job.usubjid, number=job.number, day=job.day, reason=job.reason).protocol
        for job in jobs
    ]
    allowed = min(p.staffing.max_participants_per_therapist for p in protocols)
    if len(jobs) > allowed:
        raise RefusedError(
            f"{len(jobs)} participants are given and the protocol allows {allowed} a therapist.",
            remedy="Run them one after the other, or let another therapist run them.",
        )
    require_staff(study, *protocols)


def _start(session: Supervised) -> None:
    try:
        session.process, session.running = Process.start(session.job), True
    except OSError as error:
        text = f"the session's process does not start: {error}."
        session.failed = Failed(
            TrialkitError.code, 1, text, "Look at the system, and run it again."
        )


@contextlib.contextmanager
def _signals(sessions: list[Supervised]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop every device at once, and the sessions after them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def halt(_number: int, _frame: FrameType | None) -> None:
        for session in sessions:
            if session.running and session.process is not None:
                session.process.interrupt()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, halt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(sessions: list[Supervised], show: Callable[[Sequence[Supervised]], None] | None) -> None:
    """Hear the sessions until none is left."""
    while True:
        running = {s.process.rpc: s for s in sessions if s.running and s.process is not None}
        if show is not None:
            show(sessions)
        if not running:
            return
        for ready in wait(list(running), _POLL_S):
            if not isinstance(ready, Connection):
                continue
            session = running[ready]
            try:
                _hear(session, ready.recv())
            except (EOFError, OSError):  # its process is gone
                session.running, session.question = False, None


def _hear(session: Supervised, message: tuple[Any, ...]) -> None:
    match message:
        case ("progress", progress):
            session.progress = progress
        case ("asked", question, remark):
            session.question, session.remark = question, remark
        case ("done", outcome):
            session.outcome, session.running, session.question = outcome, False, None
        case ("failed", failed):
            session.failed, session.running, session.question = failed, False, None
