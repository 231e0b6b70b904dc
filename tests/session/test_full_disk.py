"""A disk that fills while a session runs in real time, with the device in its own process.

The disk is a small file system in a mount namespace of its own where one can be had; and
everywhere a limit on the size of files, under which the write itself fails as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from device_interface import DeviceState
from device_interface.conformance.bench import read_box
from trialkit.record.journal import read_journal
from trialkit.record.sealing import open_sealed
from trialkit.record.sign import KeyStore
from trialkit.session import recover, replay
from trialkit.session.inputs import read_inputs
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
SESSION = f"{USUBJID}-S01"
RUN = ("run", "--participant", USUBJID, "--visit", "S01", "--day", "1", "--headless", "--json")
DEADLINE_S = 120.0
AT_REST = ("DISARMED", "LINK_LOST")
REMEDIES = ("Free", "Look for a full disk")  # SQLite does not say why a file may not grow

# The command line, which tells on a pipe what is safe, and keeps the device's black box.
TELLING = """
import functools, json, os, sys
box, pipe, beside = sys.argv[1], int(sys.argv[2]), sys.argv[3]
del sys.argv[1:4]
sys.path.insert(0, beside)
import killing
from trialkit.session import runner
killing.tell_what_is_safe(lambda *m: os.write(pipe, (json.dumps(m) + "\\n").encode()))
runner.open_link = functools.partial(runner.open_link, black_box=box)
from trialkit.cli import main
main()
"""


# A session at stride level on a disk that ends: argument 1 is the limit in bytes.
STRIDES = f"""
import resource, sys
from datetime import UTC, datetime
from trialkit._clock import SimulatedClock
from trialkit.errors import StorageRefused
from trialkit.session import run_session
from trialkit.study import Study
limit = int(sys.argv[1])
clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
with Study.open(sys.argv[2], actor="owner", clock=clock) as s:
    head = s.record.head
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        run_session(s, "{USUBJID}", number=1, day=1, rate="stride")
    except StorageRefused as error:
        assert s.record.head == head, "half a session is in the record"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        outcome = run_session(s, "{USUBJID}", number=1, day=1, rate="stride")
        print(outcome.status, error.remedy)
"""


class Disk:
    """Where the study is, as the programs see it and as it is seen from here."""

    def __init__(self, path: Path, seen: Path, prefix: Sequence[str] = ()) -> None:
        self.study = path / "study"
        self.seen = seen / "study"
        self.ballast = seen / "ballast"
        self.prefix = list(prefix)

    def start(self, *program: str, **options: Any) -> subprocess.Popen[str]:
        """Start a Python program that sees the disk."""
        return subprocess.Popen(
            [*self.prefix, sys.executable, *program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def trialkit(self, *arguments: str, limit: int | None = None) -> tuple[int, str, str]:
        """Run a verb to its end, under a limit where one is given; return status and output."""
        program = "from trialkit.cli import main; main()"
        if limit is not None:
            text = f"r.setrlimit(r.RLIMIT_FSIZE, ({limit}, {limit}))"
            program = f"import resource as r; {text}; {program}"
        process = self.start("-c", program, *arguments, "--study", str(self.study), "--as", "owner")
        out, told = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out, told

    def fill(self, _: int) -> None:
        """Write until nothing more goes on the disk."""
        with self.ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(4096)):
                pass
        assert shutil.disk_usage(self.ballast).free < 4096

    def free(self) -> None:
        """Give the room back."""
        self.ballast.unlink()


class Limited(Disk):
    """A disk on which no file of a program may grow beyond where the journal is."""

    def fill(self, pid: int) -> None:
        size = (self.seen / "telemetry" / SESSION / "motion.tkj").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))

    def free(self) -> None:
        pass


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))


@pytest.fixture
def limited(make_study: Callable[..., Study], tmp_path: Path, keys: None) -> Disk:
    study = make_study(real=True)
    study.close()
    study.folder.rename(tmp_path / "study")
    return Limited(tmp_path, tmp_path)


@pytest.fixture
def small(limited: Disk, tmp_path: Path) -> Iterator[Disk]:
    """A file system of 6 MB in a mount namespace that a process of ours holds open."""
    folder = tmp_path / "disk"
    folder.mkdir()
    tools = [shutil.which(name) for name in ("unshare", "nsenter", "mount")]
    if None in tools or not Path("/proc/self/ns/mnt").exists():
        pytest.skip("no mount namespaces here; the limit on the size of files remains")
    unshare, nsenter, mount = (str(tool) for tool in tools)
    script = f"{mount} -t tmpfs -o size=6m tmpfs {folder} && echo mounted && exec cat"
    holder = subprocess.Popen(
        [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "mounted\n":
            pytest.skip("a file system cannot be mounted here; the limit on file sizes remains")
        enter = [nsenter, "--preserve-credentials", "--user", "--mount", "--target"]
        disk = Disk(folder, Path(f"/proc/{holder.pid}/root{folder}"), [*enter, str(holder.pid)])
        shutil.copytree(limited.study, disk.seen)
        yield disk
    finally:
        holder.stdin.close()
        holder.wait(10)


def test_a_file_that_may_not_grow_brings_the_device_to_rest(limited: Disk, tmp_path: Path) -> None:
    fill_and_recover(limited, tmp_path)


def test_a_full_file_system_brings_the_device_to_rest(small: Disk, tmp_path: Path) -> None:
    fill_and_recover(small, tmp_path)


@pytest.mark.parametrize("limit", [2_000, 30_000])
def test_at_stride_level_nothing_of_the_session_is_kept(limited: Disk, limit: int) -> None:
    process = limited.start("-c", STRIDES, str(limit), str(limited.study))
    out, told = process.communicate(timeout=DEADLINE_S)
    assert out.startswith(tuple(f"completed {remedy}" for remedy in REMEDIES)), out + told


def fill_and_recover(disk: Disk, tmp_path: Path) -> None:
    """Fill the disk while the belt moves; everything that must hold from there on."""
    box = tmp_path / "box.jsonl"
    ours, theirs = os.pipe()
    order = (str(box), str(theirs), str(Path(__file__).parent), *RUN)
    process = disk.start(
        "-c", TELLING, *order, "--study", str(disk.study), "--as", "owner", pass_fds=(theirs,)
    )
    os.close(theirs)
    wait_for_motion(process, disk, box)
    disk.fill(process.pid)
    out, told = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 5, told
    error = json.loads(out)["error"]
    assert error["code"] == "TK-STORAGE"
    assert error["remedy"].startswith(REMEDIES)
    states = [line["state"] for line in read_box(box)]
    last = read_box(box)[-1]
    assert not last["moving"]
    assert last["state"] in AT_REST
    moved = max(at for at, line in enumerate(read_box(box)) if line["moving"])
    assert states[moved] == "RAMP_DOWN", "it stood without a ramp"

    told_safe = [json.loads(line) for line in read_all(ours).splitlines()]
    status, out, told = disk.trialkit("recover", "--json", limit=33_000)  # there is no room yet
    assert status == 5, told
    assert json.loads(out)["error"]["remedy"].startswith(REMEDIES)
    disk.free()
    nothing_is_lost(copied(disk, tmp_path / "copy"), told_safe)

    status, out, told = disk.trialkit("recover", "--json")
    assert status == 0, told
    (recovered,) = json.loads(out)["recovered"]
    assert (recovered["session"], recovered["status"]) == (SESSION, "recovered")
    assert recovered["dose"]["moving_minutes"] > 0
    assert sorted(p.suffix for p in (disk.seen / "telemetry" / SESSION).iterdir()) == [
        ".json",
        ".jsonl",
        ".parquet",
    ]


def wait_for_motion(process: subprocess.Popen[str], disk: Disk, box: Path) -> None:
    """Wait until the belt moves and four seconds of the run are in the journal."""
    journal = disk.seen / "telemetry" / SESSION / "motion.tkj"
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        if journal.exists() and any(line["moving"] for line in read_box(box)):
            table = read_journal(journal).table()
            if (table["device_state"].to_numpy() == DeviceState.RUNNING).sum() >= 400:
                return
        time.sleep(0.05)
    raise AssertionError("no telemetry came")


def read_all(pipe: int) -> str:
    """Read what is in a pipe whose writers have ended."""
    with os.fdopen(pipe, encoding="utf-8") as stream:
        return stream.read()


def copied(disk: Disk, to: Path) -> Path:
    shutil.copytree(disk.seen, to)
    return to


def nothing_is_lost(folder: Path, told: list[list[Any]]) -> None:
    """Recover a copy and hold everything that was acknowledged against it."""
    events = {seq: digest for what, seq, digest in (m for m in told if m[0] == "event")}
    rows = max(n for what, _, n in (m for m in told if m[0] == "rows"))
    lines = max(n for what, n in (m for m in told if m[0] == "lines"))
    assert len(events) > 3
    assert rows > 100
    assert lines > 5
    where = folder / "telemetry" / SESSION
    on_disk = read_journal(where / "motion.tkj").rows
    good = read_inputs(where / "inputs.jsonl").lines
    assert on_disk >= rows
    assert good >= lines
    with Study.open(folder, actor="owner", keys=KeyStore()) as study:
        assert study.record.verify().ok
        assert events.items() <= {e.seq: e.hash for e in study.record.read()}.items()
        (outcome,) = recover(study)
        assert outcome.session == SESSION
        table = open_sealed(where, "motion")
        assert table.num_rows == on_disk
        assert replay(study, SESSION).same
        assert recover(study) == []
        assert study.state.open_sessions == []
