"""A centre with two sites that keep their own chains, and what stands between them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from small_study import START, make_study, people, randomised, write_protocols

from trialkit._clock import SimulatedClock
from trialkit.record import KeyStore, Record
from trialkit.record.kinds import Dose, SessionClosed, SessionOpened, TelemetrySealed
from trialkit.record.sealing import seal
from trialkit.record.state import StudyState
from trialkit.study import Study
from trialkit.study.sync.site import open_site

MAIN = "import sys; from trialkit.cli import main; main()"
DEADLINE_S = 60.0
NO_DOSE = Dose(minutes=0.0, moving_minutes=0.0, steps=0)


def keys_of(folder: Path) -> KeyStore:
    """The keys of the people, as they are beside the centre and the sites."""
    return KeyStore(folder / "keys")


def make_centre(folder: Path, database: str | None = None, sites: tuple[str, ...] = ("02", "03")):
    """Make ``folder/study`` and a folder for each site beside it; return the open centre."""
    if database is None:
        study = make_study(folder)
    else:
        study = Study.create(
            folder / "study",
            protocols=write_protocols(folder),
            actor="olga",
            clock=SimulatedClock(START),
            keys=keys_of(folder),
            seed=1,
            database=database,
        )
        people(study)
    for site in sites:
        open_site(study, site, folder / f"site-{site}")
    return study


def open_at(folder: Path, site: str, actor: str = "olga") -> Study:
    """Open the study of a site."""
    return Study.open(
        folder / f"site-{site}", actor=actor, clock=SimulatedClock(START), keys=keys_of(folder)
    )


def open_centre(folder: Path, *, write: bool = True) -> Study:
    """Open the centre."""
    return Study.open(
        folder / "study",
        actor="olga",
        clock=SimulatedClock(START),
        keys=keys_of(folder),
        write=write,
    )


def work(study: Study, n: int = 1) -> list[str]:
    """Take `n` persons of a site as far as randomisation."""
    site = study.state.site or "01"
    return [randomised(study, site=site, seconds=10.0 + 7 * i) for i in range(n)]


def sealed_session(study: Study, usubjid: str, *, size: int = 700_000, number: int = 1) -> str:
    """Record a session with sealed files of `size` bytes and a few."""
    name = f"{usubjid}-S{number:02d}"
    folder = study.folder / "telemetry" / name
    folder.mkdir()
    noise = random.Random(name)
    (folder / "large.bin").write_bytes(noise.randbytes(size))
    (folder / "small.jsonl").write_text(f'{{"of":"{name}"}}\n')
    (folder / "empty.jsonl").write_text("")
    study.append(
        SessionOpened(
            session=name,
            number=number,
            day=1,
            protocol="0" * 64,
            device={"family": "none"},
            planned_minutes=10.0,
            therapist="theo",
        ),
        subject=usubjid,
    )
    sealed = seal(
        folder,
        session=name,
        status="completed",
        beside={"large.bin": 1, "small.jsonl": 1, "empty.jsonl": 0},
    )
    study.append(
        TelemetrySealed(
            session=name,
            folder=f"telemetry/{name}",
            manifest_sha256=sealed.manifest_sha256,
            files=sealed.files,
        ),
        subject=usubjid,
    )
    study.append(
        SessionClosed(
            session=name,
            number=number,
            day=1,
            status="completed",
            dose=NO_DOSE,
            dose_source="telemetry",
        ),
        subject=usubjid,
    )
    return name


def busy_site(folder: Path, site: str, people_n: int = 2, size: int = 700_000) -> None:
    """Let a site enrol people and hold a session with each of them."""
    with open_at(folder, site) as study:
        for usubjid in work(study, people_n):
            sealed_session(study, usubjid, size=size)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def texts(record: Record) -> list[str]:
    """The texts of the events of a chain."""
    return [row.body.decode() for row in record.rows()]


def require_same(folder: Path, *sites: str) -> None:
    """Check that the centre holds each site's chain and sessions whole, once, and nothing else."""
    with open_centre(folder) as centre:
        parts: dict[str, list[str]] = {}
        for event in centre.record.read(kinds=["chain.received"]):
            if event.kind == "chain.received":
                held = parts.setdefault(event.payload["site"], [])
                assert event.payload["first"] == len(held) + 1
                held += event.payload["bodies"]
        received = [e.payload["session"] for e in centre.record.read(kinds=["session.received"])]
        assert len(received) == len(set(received))
        wanted = []
        for site in sites:
            with open_at(folder, site) as study:
                assert parts[site] == texts(study.record)
                chain = centre.state.chains[site]
                assert chain.sealed == {}
                for session in study.state.sessions:
                    wanted.append(session)
                    there = files_below(study.folder / "telemetry" / session)
                    assert files_below(centre.folder / "telemetry" / session) == there
                require_seen(centre.state, study.state)
        assert sorted(received) == sorted(wanted)
        assert not [p for p in (centre.folder / "incoming").rglob("*") if p.is_file()]
        assert StudyState(centre.record.read()).participants == centre.state.participants
        assert centre.record.verify().ok


def require_seen(centre: StudyState, site: StudyState) -> None:
    """Check that the centre sees of participants what the site does, but for event numbers."""
    for usubjid, who in site.participants.items():
        seen = centre.participants[usubjid]
        assert (seen.status, seen.site, seen.place) == (who.status, who.site, who.place)
        assert seen.visits == who.visits
        assert set(seen.assessments) == set(who.assessments)
        assert {k: v.status for k, v in seen.sessions.items()} == {
            k: v.status for k, v in who.sessions.items()
        }


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command at the centre or a site."""
    return os.environ | {"TRIALKIT_KEYS": str(folder / "keys"), "PYTHONUNBUFFERED": "1"} | more


def push_command(folder: Path, site: str, url: str, tries: int = 5) -> list[str]:
    """The command with which a site pushes."""
    return [
        sys.executable, "-c", MAIN, "sync", "push", str(folder / f"site-{site}"),
        "--to", url, "--tries", str(tries), "--json", "--counts", "--as", "olga",
    ]  # fmt: skip


def pushed(folder: Path, site: str, url: str, tries: int = 5) -> subprocess.CompletedProcess[str]:
    """Push in a process of its own and wait for its end."""
    return subprocess.run(
        push_command(folder, site, url, tries),
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S * 4,
        check=False,
    )


class Served:
    """A server process of the centre; `kill` is SIGKILL."""

    def __init__(
        self,
        folder: Path,
        *more: str,
        port: int = 0,
        code: str = MAIN,
        most_file: int | None = None,
        **env: str,
    ) -> None:
        self._log = folder / f"serve-{time.monotonic_ns()}.log"
        limit: Callable[[], Any] | None = None
        if most_file is not None:
            size = most_file
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    code,
                    "sync",
                    "serve",
                    "--study",
                    str(folder / "study"),
                    "--listen",
                    f"127.0.0.1:{port}",
                    "--as",
                    "olga",
                    *more,
                ],
                env=environment(folder, **env),
                stderr=log,
                preexec_fn=limit,
            )
        self.url = self._address()
        self.port = int(self.url.rpartition(":")[2])

    def _address(self) -> str:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            if found := re.search(r"at (https?://\S+)\n", self._log.read_text()):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def said(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def kill(self) -> None:
        """Kill it, and wait."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()


class Cable:
    """A TCP proxy that can be cut: after so many bytes, or at once for as long as it is `down`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.down = False
        self.left: int | None = None  # bytes until it is cut, both ways together
        self.cuts = 0
        self.passed = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.down:
                self.refused += 1
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._ends |= {near, far}
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                with self._lock:
                    take = len(data) if self.left is None else min(len(data), self.left)
                    if self.left is not None:
                        self.left -= take
                    cut = self.left == 0
                    self.passed += take
                if take:
                    sink.sendall(data[:take])
                if cut or self.down:
                    self.cut()
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._ends.discard(end)

    def cut(self) -> None:
        """Break every connection off; new ones work unless it is down."""
        with self._lock:
            self.left = None
            self.cuts += 1
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        self.down = True
        self._listening.close()
        self.cut()


@contextlib.contextmanager
def cable(port: int) -> Iterator[Cable]:
    """Give a cable to a port of this machine."""
    made = Cable(port)
    try:
        yield made
    finally:
        made.close()


def copied(template: Path, folder: Path) -> Path:
    """Copy a centre with its sites."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return folder
