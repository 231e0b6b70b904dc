# ruff: noqa: PT012  (a batch that fails is a block of statements by nature)
"""A trial in PostgreSQL whose client, backend or whole server is killed.

The client is killed after every message that it sends or receives. The server is killed with all
its processes, or one of them. Then the study goes on, as in `test_kill_sqlite`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import conduct_steps
import psycopg
import pytest
import tracing
from pgserver import Server, find_programs
from test_kill_sqlite import BESIDE, killed

from trialkit.errors import StorageRefused
from trialkit.participants import consent, enrol
from trialkit.study import Study

traced = pytest.mark.skipif(not tracing.works(), reason="no process may be traced here")


@traced
@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize(
    ("first", "end", "minimised"),
    [(0, 7, False), (7, 25, False), (25, 35, False), (35, 41, False), (5, 6, True)],
)
def test_killed_after_every_message(
    tmp_path: Path, postgres: Server, first: int, end: int, minimised: bool
) -> None:
    """Each one that is sent, and each that is received: before one is after the one before it.

    The messages with which the study is opened are killed once, at the first step.
    """
    assert len(conduct_steps.steps()) == 41
    found = killed(
        tmp_path,
        plan="in turn",
        calls=["MESSAGES"],
        server=postgres.url("{}"),
        steps=[first, end],
        minimised=minimised,
    )
    assert set(found["kills"]) == {"after sendto", "after recvfrom"}
    assert sum(found["kills"].values()) >= 9 * (end - first)


@traced
@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=30)
def test_killed_while_the_study_is_made(tmp_path: Path, postgres: Server) -> None:
    calls = ["MESSAGES", "WRITES"]
    found = killed(tmp_path, plan="creation", calls=calls, database=postgres.database())
    assert sum(found["kills"].values()) >= 60


WRITER = """
import sys, time
from trialkit.participants import enrol
from trialkit.study import Study
with Study.open(sys.argv[1], actor="olga") as study:
    print("ready", flush=True)
    for _ in range(10**6):
        event = enrol(study, site=sys.argv[2])
        print(event.seq, event.hash, flush=True)
        time.sleep(0.01)
"""


def writer(folder: Path, site: str) -> subprocess.Popen[str]:
    """Start a process that enrols people until it is killed, and tells each event."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), site],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{BESIDE.parent}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=10)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_processes_write_and_one_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    database = None
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database()
    folder = conduct_steps.make(tmp_path, database=database)
    told: list[tuple[int, str]] = []
    stays = writer(folder, "01")
    for kill_after in (3, 6, 4):
        killed_one = writer(folder, "02")
        assert killed_one.stdout is not None
        assert stays.stdout is not None
        lines = [killed_one.stdout.readline() for _ in range(kill_after)]
        killed_one.kill()
        lines += killed_one.stdout.read().splitlines()
        killed_one.wait()
        lines += [stays.stdout.readline() for _ in range(3)]  # it goes on meanwhile
        told += [(int(n), digest) for n, digest in (line.split() for line in lines if line)]
        killed_one.stdout.close()
    stays.kill()
    assert stays.stdout is not None
    rest = [line.split() for line in stays.stdout.read().splitlines()]
    stays.wait()
    told += [(int(words[0]), words[1]) for words in rest if len(words) == 2]
    assert len({n for n, _ in told}) == len(told)
    with conduct_steps.opened(folder) as study:
        with study.batch():
            pass
        stored = {event.seq: event.hash for event in study.record.read()}
        assert dict(told).items() <= stored.items()
        assert len(study.state.participants) <= len(told) + 4 + 1
        assert study.status().chain_ok
        enrol(study, site="03")


def kill_server(server: Server) -> None:
    """Kill the server and every process of it at once, as a power cut would."""
    lines = (server.folder / "data" / "postmaster.pid").read_text().splitlines()
    main = int(lines[0])
    pids = [main, *children(main)]
    os.kill(main, signal.SIGSTOP)  # so that it starts no other one
    pids = sorted({*pids, *children(main)})
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < end, "a process of the server lives on"
        time.sleep(0.01)
    for path in (server.folder / "data" / "postmaster.pid", *server.folder.glob(".s.PGSQL.*")):
        path.unlink()  # as a start of the machine does: a number of a process may be another's


def lives(pid: int) -> bool:
    """Return True where a process runs, and False where only its exit status is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def own_server(postgres: Server) -> Iterator[Server]:
    """A server that only one test uses, because it is killed."""
    programs = find_programs()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as made:
        server = Server(programs, Path(made))
        yield server
        if (server.folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")


@pytest.mark.requirement("R18")
def test_the_same_open_study_goes_on_after_its_server_was_killed(
    tmp_path: Path, own_server: Server
) -> None:
    folder = conduct_steps.make(tmp_path, database=own_server.database())
    with conduct_steps.opened(folder) as study, conduct_steps.opened(folder) as other:
        usubjid = str(enrol(study, site="01").subject)
        other.refresh()
        kill_server(own_server)
        for _ in range(2):
            with pytest.raises(StorageRefused) as caught:
                consent(study, usubjid, version="1")
            assert "server" in caught.value.remedy
            with pytest.raises(StorageRefused):
                other.refresh()
        own_server.start()
        consent(study, usubjid, version="1")
        other.refresh()
        assert other.state.participants[usubjid].consent == "1"
        kill_in_a_batch(study, usubjid, own_server)
        own_server.start()
        with pytest.raises(StorageRefused):
            enrol(other, site="02")  # which learns only now that its connection is gone
        enrol(other, site="02")
        consent(study, usubjid, version="4")
        assert study.status().chain_ok
        assert study.state.counts["participant.consented"] == 2


def kill_in_a_batch(study: Study, usubjid: str, server: Server) -> None:
    """Kill the server between the commands of a batch; nothing of it is kept."""
    with pytest.raises(StorageRefused), study.batch():
        consent(study, usubjid, version="2")
        kill_server(server)
        with pytest.raises(StorageRefused):
            study.record._store.head()
        consent(study, usubjid, version="3")


@pytest.mark.requirement("R18")
def test_a_backend_that_is_killed(tmp_path: Path, own_server: Server) -> None:
    """SIGKILL of one process of the server: it takes all connections back, and recovers."""
    folder = conduct_steps.make(tmp_path, database=own_server.database())
    with conduct_steps.opened(folder) as study:
        enrol(study, site="01")
        raw = study.record._store.connection.connection.dbapi_connection
        assert isinstance(raw, psycopg.Connection)
        os.kill(raw.info.backend_pid, signal.SIGKILL)
        with pytest.raises(StorageRefused):
            enrol(study, site="01")
        own_server.wait()
        enrol(study, site="01")
        assert len(study.state.participants) == 2
        assert study.status().chain_ok


@pytest.mark.requirement("R18")
def test_an_allocation_whose_server_was_killed(tmp_path: Path, own_server: Server) -> None:
    """It has a connection of its own, so that the record's learns only then that it is gone."""
    folder = conduct_steps.make(tmp_path, database=own_server.database())
    with conduct_steps.opened(folder) as study:
        seed = study.allocation.seed()
        with pytest.raises(StorageRefused, match="the allocation in") as caught, study.batch():
            kill_server(own_server)
            study.allocation.seed()
        assert "server" in caught.value.remedy
        own_server.start()
        enrol(study, site="01")
        assert study.allocation.seed() == seed
        assert study.status().chain_ok
