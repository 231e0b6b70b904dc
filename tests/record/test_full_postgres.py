"""A trial in PostgreSQL on a disk that fills: the one of its tables, or the one of its log."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import conduct_steps
import psycopg
import pytest
from kill_points import Place
from pgserver import Server, find_programs, give
from test_kill_disk import fill, small_disk, taken

from trialkit.errors import StorageRefused
from trialkit.participants import enrol
from trialkit.record import Event
from trialkit.study import Study

Small = tuple[Server, Path]


@contextmanager
def server_on(size: str, *, log: bool) -> Iterator[Small]:
    """Run a server whose tables or log are on a small file system."""
    programs = find_programs()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        folder = Path(made) / "server"
        folder.mkdir()
        with small_disk(Path(made) / "disk", size) as disk:
            give(disk)
            options = ["--wal-segsize=1", "-X", str(disk / "log")] if log else []
            server = Server(programs, folder, initdb=options)
            try:
                yield server, disk
            finally:
                server.stop("immediate")


@pytest.fixture
def small_tables(postgres: Server) -> Iterator[Small]:
    """A server whose new databases lie on a file system of 28 MiB."""
    with server_on("28m", log=False) as (server, disk):
        server.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        server.execute("ALTER DATABASE template1 SET TABLESPACE small")
        yield server, disk


@pytest.fixture
def small_log(postgres: Server) -> Iterator[Small]:
    """A server whose write-ahead log lies on a file system of 12 MiB, and only grows."""
    with server_on("12m", log=True) as (server, disk):
        for setting in ("max_wal_size = '1GB'", "checkpoint_timeout = '1h'"):
            server.execute(f"ALTER SYSTEM SET {setting}")
        server.execute("SELECT pg_reload_conf()")
        yield server, disk


def trialkit(*words: str, study: Path) -> subprocess.CompletedProcess[str]:
    """Run a verb in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from trialkit.cli import main; main()", *words, "--as", "olga"],
        env={**os.environ, "TRIALKIT_STUDY": str(study)},
        capture_output=True,
        text=True,
    )


def enrol_until_refused(study: Study) -> tuple[StorageRefused, Event]:
    """Enrol people until the store refuses; return how it did, and the last event before."""
    event = enrol(study, site="01")
    for _ in range(5000):
        try:
            event = enrol(study, site="01")
        except StorageRefused as error:
            return error, event
    pytest.fail("the disk never filled")


@pytest.mark.slow(seconds=5)
def test_a_command_on_a_full_disk(tmp_path: Path, small_tables: Small) -> None:
    """The verb says what to do and leaves nothing; with space again the same verb passes."""
    server, disk = small_tables
    folder = conduct_steps.make(tmp_path / "trial", database=server.database())
    ballast = fill(disk, 0)
    with conduct_steps.opened(folder) as study:
        refused, last = enrol_until_refused(study)
        assert "No space left" in refused.message
        assert "Free space on the disk of the database server" in refused.remedy
        assert study.record.head == (last.seq, last.hash)
        before, people = study.state.seq, len(study.state.participants)
    words = ("enrol", "--site", "01", "--study", str(folder))
    done = trialkit(*words, study=folder)
    assert done.returncode == StorageRefused.exit_status, done.stdout + done.stderr
    assert "TK-STORAGE" in done.stderr
    assert "Free space on the disk of the database server" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    with conduct_steps.opened(folder) as study:
        assert (study.state.seq, len(study.state.participants)) == (before, people)
        assert study.status().chain_ok
    ballast.unlink()
    done = trialkit(*words, study=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with conduct_steps.opened(folder) as study:
        assert len(study.state.participants) == people + 1
        assert study.state.seq > before  # a note of another clock may be with it
        assert study.status().chain_ok


@pytest.mark.slow(seconds=30)
def test_tables_that_fill_at_some_pages(tmp_path: Path, small_tables: Small) -> None:
    """As `test_kill_disk`: the trial stops whole, and the same open study goes on with space."""
    server, disk = small_tables
    place = Place(tmp_path, server.url("{}"), minimised=False)
    case = place.copy()
    plain = conduct_steps.undisturbed(case)
    place.remove(case)
    places = set()
    for free in range(0, 200_000, 12_288):
        case, told = place.copy(), list[str]()
        with conduct_steps.opened(case) as study:
            ballast = fill(disk, free)
            stopped = taken(study, told)
            assert (study.state.seq, study.state.hash) == study.record.head
            assert study.record.verify().ok
            ballast.unlink()
            if stopped % 2 and study.state.seq in plain.ends:
                assert taken(study, told, stopped) == len(plain.ends)
        assert conduct_steps.wrong_after(case, plain, "".join(told)) == []
        place.remove(case)
        places.add(stopped)
    print("stopped at steps", sorted(places))
    assert len(places) > 3


@pytest.mark.slow(seconds=10)
def test_a_full_log(tmp_path: Path, small_log: Small) -> None:
    """The server itself ends where it cannot write its log; nothing acknowledged is lost."""
    server, disk = small_log
    folder = conduct_steps.make(tmp_path / "trial", database=server.database())
    ballast = fill(disk, 0)
    with conduct_steps.opened(folder) as study:
        refused, last = enrol_until_refused(study)
        assert "No space left" in refused.message
        assert "Free space on the disk of the database server" in refused.remedy
        ballast.unlink()
        up_again(server)
        study.refresh()
        there, people = study.record.head[0], len(study.state.participants)
        assert there in ((last.seq, last.seq + 1) if refused.details.get("unsure") else (last.seq,))
        assert next(study.record.read(after=last.seq - 1)).hash == last.hash
        done = trialkit("enrol", "--site", "01", "--study", str(folder), study=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        enrol(study, site="01")
        assert len(study.state.participants) == people + 2
        assert study.status().chain_ok


def up_again(server: Server) -> None:
    """Wait until the server has recovered, or start it where it has ended for good."""
    end = time.monotonic() + 120
    while True:
        try:
            server.wait(1)
        except psycopg.OperationalError:
            assert time.monotonic() < end
            if not (server.folder / "data" / "postmaster.pid").exists():
                server.start()
        else:
            return
