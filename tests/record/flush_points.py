"""A program that kills PostgreSQL at each call by which a trial is flushed: ``FOLDER JSON``.

The server and all its processes are traced. The process of the server that serves the trial stops
as its n-th call begins to write or to sync, and is killed there, so that the server takes all
connections back and recovers; or the server is stopped at once (``pg_ctl stop -m immediate``)
while the call is under way. Then the study is opened again, and looked at as in `kill_points`.
Prints one JSON object. The settings: ``plan`` (``conduct``, or ``creation`` of a study), ``how``
(``backend`` or ``immediate``) and ``steps`` (the first that is interrupted, and the first that no
longer is).
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import conduct_steps
import tracing
from kill_points import Place, empty, made, made_again, seq_of, take
from pgserver import Server, find_programs

from trialkit.errors import StorageRefused

FLUSHES = ("pwrite64", "pwritev", "fsync", "fdatasync")
READY = "database system is ready to accept connections"
_FAST = ("shared_buffers=2MB", "max_connections=20", "autovacuum=off", "fsync=on")
_ALL, _NO_OTHER_THREAD = 0x40000000, 0x20000000


class TracedServer(Server):
    """A server whose processes stop at `FLUSHES`; one thread of ours traces them all."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._names = tracing.numbers(FLUSHES)
        self._armed: tuple[int, bool, str] | None = None
        self._count, self._call = 0, ""
        self._held: int | None = None  # stopped in a call, until the server is told to stop
        self._stopper: subprocess.Popen[bytes] | None = None
        self.struck: str | None = None
        super().__init__(programs, folder)

    def start(self) -> None:
        """Start the server under the eyes of a thread, and wait until it answers."""
        before = self.times_ready()
        self._thread = threading.Thread(target=self._trace, daemon=True)
        self._thread.start()
        self.ready_again(before)

    def times_ready(self) -> int:
        """Return how often the server said that it takes connections."""
        log = self.folder / "log"
        return log.read_text(errors="replace").count(READY) if log.exists() else 0

    def ready_again(self, before: int) -> None:
        """Wait until it says so once more."""
        end = time.monotonic() + 120
        while self.times_ready() <= before:
            if time.monotonic() > end or not self._thread.is_alive():
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.005)

    def arm(self, n: int, how: str, *, after: bool) -> None:
        """Strike at the n-th call from now on of a process that serves a trial."""
        self.struck, self._count, self._armed = None, 0, (n, after, how)

    def recovered(self, before: int) -> str | None:
        """Strike no more; wait for the server if it was struck, and return at which call."""
        self._armed = None
        if self.struck is not None:
            if self._stopper is not None:
                assert self._stopper.wait(120) == 0, "pg_ctl stop -m immediate"
                self._stopper = None
                self._thread.join(120)
                self.start()
            else:
                self.ready_again(before)
        return self.struck

    # --- the thread ----------------------------------------------------------------------

    def _trace(self) -> None:
        main = self._fork()
        os.waitpid(main, _ALL)
        options = (
            tracing._O_CHILDREN | tracing._O_SYSGOOD | tracing._O_SECCOMP | tracing._O_EXITKILL
        )
        tracing._ptrace(tracing._SETOPTIONS, main, 0, options)
        tracing._ptrace(tracing._CONT, main)
        begun = {main}
        while True:
            poll = os.WNOHANG if self._held else 0
            pid, status = os.waitpid(-1, _ALL | _NO_OTHER_THREAD | poll)
            if pid == 0:
                self._let_go()
            elif not os.WIFSTOPPED(status):
                begun.discard(pid)
                if pid == main:
                    return
            elif status >> 8 == signal.SIGTRAP | 7 << 8:
                self._at_call(pid)
            elif os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:  # the call was made
                self._strike(pid)
            else:
                sent = os.WSTOPSIG(status)
                ours = status >> 16 or sent == signal.SIGTRAP
                ours = ours or (sent == signal.SIGSTOP and pid not in begun)
                begun.add(pid)
                self._resume(tracing._CONT, pid, 0 if ours else sent)

    def _fork(self) -> int:
        """Start the server's first process, which stops before it begins."""
        program = str(self._programs / "postgres")
        settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", *_FAST]
        words = [program, "-D", str(self._data)] + [w for s in settings for w in ("-c", s)]
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        user = pwd.getpwnam(self._user) if self._user else None
        pid = os.fork()
        if pid:
            os.close(log)
            return pid
        try:
            os.setsid()
            os.dup2(log, 1)
            os.dup2(log, 2)
            if user is not None:
                os.setgroups([])
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
            tracing._ptrace(tracing._TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            tracing._filter(list(self._names))
            os.execve(program, words, {**os.environ, "LC_ALL": "C"})
        finally:
            os._exit(127)

    def _resume(self, request: int, pid: int, sent: int = 0) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was killed by another meanwhile
            tracing._ptrace(request, pid, 0, sent)

    def _at_call(self, pid: int) -> None:
        armed = self._armed
        if armed is not None and self.struck is None and _serves_a_trial(pid):
            self._count += 1
            if self._count == armed[0]:
                self._call = tracing.call_at(pid, self._names)
                if armed[1]:
                    self._resume(tracing._SYSCALL, pid)
                else:
                    self._strike(pid)
                return
        self._resume(tracing._CONT, pid)

    def _strike(self, pid: int) -> None:
        armed = self._armed
        assert armed is not None
        if armed[2] == "backend":
            os.kill(pid, signal.SIGKILL)
        else:
            words = [str(self._programs / "pg_ctl"), "-D", str(self._data), "-w", "-t", "120"]
            self._stopper = subprocess.Popen(
                [*words, "-m", "immediate", "stop"],
                user=self._user, cwd="/", stdout=subprocess.DEVNULL,
            )  # fmt: skip
            self._held = pid
        self.struck = self._call

    def _let_go(self) -> None:
        """Let the process go that was held, once the signal to end is there."""
        assert self._held is not None
        status = Path(f"/proc/{self._held}/status").read_text()
        lines = [x.split() for x in status.splitlines() if x.startswith(("SigPnd", "ShdPnd"))]
        if any(int(mask, 16) >> (signal.SIGQUIT - 1) & 1 for _, mask in lines):
            self._resume(tracing._CONT, self._held)
            self._held = None
        else:
            time.sleep(0.002)


def _serves_a_trial(pid: int) -> bool:
    return b" admin kill_" in Path(f"/proc/{pid}/cmdline").read_bytes()


class Trial:
    """One trial that is interrupted at each flush of each of its steps.

    A kill after which the step is there ends the step; where there are more flushes, the next
    pass with a new copy of the study goes on with the flush after it.
    """

    def __init__(self, server: TracedServer, folder: Path, how: str) -> None:
        self.server, self.how = server, how
        self.place = Place(folder, server.url("{}"), minimised=False)
        self.plain = conduct_steps.undisturbed(self.place.copy())
        self.wrong: list[str] = []
        self.kills: Counter[str] = Counter()
        self.seq = 0

    def interrupt(self, first: int, end: int) -> None:
        """Interrupt the steps from `first` on, before `end`; those before are taken once."""
        take(self.place.template / "study", 0, first)
        following, case = dict.fromkeys(range(first, end), 0), self.place.copy()
        while following and len(self.wrong) < 5:
            take(case, first, min(following))
            for at in range(min(following), end):
                if at not in following:
                    take(case, at, at + 1)
                    continue
                following[at] = self._step(case, at, following[at])
                if following[at] < 0:
                    del following[at]
            if following:
                case = self.place.copy()
        take(case, end, None)
        self.wrong += conduct_steps.wrong_at_end(case, self.plain)

    def _step(self, case: Path, at: int, tried: int) -> int:
        """Interrupt one step until it is there; return the tries, or -1 after the last flush."""
        self.seq, kept = seq_of(case), self.plain.kept_by(at)
        while len(self.wrong) < 5:
            n, after = (tried + 1, True) if self.how == "immediate" else divmod(tried, 2)
            n += self.how == "backend"
            tried += 1
            before = self.seq
            struck = self._strike(case, at, n, after=bool(after))
            if self.seq - before == max(kept):
                return tried if struck else -1
            if self.seq - before not in kept or not struck:
                self.wrong.append(f"step {at}: {self.seq - before} events, struck: {struck}")
        return -1

    def _strike(self, case: Path, at: int, n: int, *, after: bool) -> bool:
        """Take a step that is interrupted at its n-th flush, and look at what is there."""
        told, ready = list[str](), self.server.times_ready()
        where = f"{'after' if after else 'before'} flush {n}"
        try:
            with conduct_steps.opened(case, at) as study:
                self.server.arm(n, self.how, after=after)
                conduct_steps.run(study, told.append, at, at + 1)
        except StorageRefused as error:
            if not error.remedy:
                self.wrong.append(f"no remedy: {error}")
        call = self.server.recovered(ready)
        found, self.seq = conduct_steps.wrong_now(case, "".join(told))
        self.wrong += [f"step {at}, {where}: {what}" for what in found]
        if call is not None:
            self.kills[f"{'after' if after else 'before'} {call}"] += 1
        return call is not None


def interrupt_creation(server: TracedServer, folder: Path, how: str) -> dict[str, Any]:
    """Interrupt a study at each flush while it is made: it is whole, or made by the same call."""
    server.execute("CREATE DATABASE kill_made")
    url, wrong, kills = server.url("kill_made"), list[str](), 0
    for tried in range(1000):
        at, ready = folder / f"case-{tried}", server.times_ready()
        empty(url)
        server.arm(1 + tried // 2, how, after=bool(tried % 2))
        try:
            conduct_steps.create(at, database=url).close()
        except StorageRefused as error:
            if not error.remedy:
                wrong.append(f"{tried}: no remedy: {error}")
        call, found = server.recovered(ready), made(at, url)
        if found == "interrupted":
            found = made_again(at, url)
        if found != "whole":
            wrong.append(f"{tried}: {call}: {found}")
        if call is None or len(wrong) > 5:
            break
        kills += 1
    return {"kills": {how: kills}, "wrong": wrong}


def main(folder: Path, wanted: dict[str, Any]) -> None:
    """Run and print what came of it."""
    programs = find_programs()
    assert programs is not None
    begin, at = time.monotonic(), folder / "server"
    at.mkdir()
    folder.chmod(0o711)  # the server may run as another user
    server = TracedServer(programs, at)
    if wanted["plan"] == "creation":
        found = interrupt_creation(server, folder, wanted["how"])
    else:
        trial = Trial(server, folder, wanted["how"])
        trial.interrupt(*wanted["steps"])
        found = {"kills": trial.kills, "wrong": trial.wrong}
    print(json.dumps({**found, "seconds": round(time.monotonic() - begin, 1)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
