"""A wall clock that is set back between two processes is an event; small differences are none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from small_study import new_study, people

from trialkit._clock import RealClock
from trialkit.errors import NotPermitted
from trialkit.participants import enrol
from trialkit.record import KeyStore
from trialkit.record.chain import Event
from trialkit.study import Study

KINDS = ["clock.stepped", "participant.enrolled"]


class Shifted(RealClock):
    """The machine's clock, and how far its wall time is off."""

    def __init__(self, by_s: float) -> None:
        self.by_s = by_s

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.by_s)


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A study that was made with the machine's own clock."""
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").database()
    with new_study(tmp_path, database=database, clock=RealClock()) as study:
        people(study)
        yield study.folder


def opened(folder: Path, by_s: float, *, write: bool = True) -> Study:
    """Open the study as a process whose clock is so far off."""
    keys = KeyStore(folder.parent / "keys")
    return Study.open(folder, actor="olga", clock=Shifted(by_s), keys=keys, write=write)


def enrolled(folder: Path, by_s: float, n: int = 1) -> None:
    """Let such a process enrol people."""
    with opened(folder, by_s) as study:
        for _ in range(n):
            enrol(study, site="01")


def noted(folder: Path) -> list[Event]:
    """Return steps of the clock and enrolments, in order."""
    with opened(folder, 0.0, write=False) as study:
        return list(study.record.read(kinds=KINDS))


def steps(folder: Path) -> list[tuple[int, float, str]]:
    """Return each step: after how many enrolments, by how much in s, and since when."""
    found, enrolments = [], 0
    for event in noted(folder):
        if event.kind == "clock.stepped":
            found.append((enrolments, event.payload["by_s"], event.payload["since"]))
        enrolments += event.kind == "participant.enrolled"
    return found


def said(folder: Path, *expected: tuple[int, float]) -> None:
    """Compare the steps; what passed meanwhile makes a clock that was set back less behind."""
    found = steps(folder)
    assert [(n, since) for n, _, since in found] == [(n, "record") for n, _ in expected]
    for (_, by_s, _), (_, set_s) in zip(found, expected, strict=True):
        assert set_s <= by_s <= set_s + 900


@pytest.mark.requirement("R06")
def test_a_clock_set_back_since_the_last_process(folder: Path) -> None:
    """Said once, before the first event, and not again by whoever comes after it."""
    enrolled(folder, 0.0)
    with opened(folder, -7200.0) as study:
        assert study.status().chain_ok  # looking says nothing
    enrolled(folder, -7200.0, n=2)
    enrolled(folder, -7200.0)
    said(folder, (1, -7200.0))
    enrolled(folder, 0.0)  # forward: nothing tells it from time that passed
    enrolled(folder, -1.5)  # within the tolerance
    said(folder, (1, -7200.0))
    with opened(folder, -5000.0) as study:
        assert study.status().chain_ok


def fail(study: Study) -> None:
    """Enrol somebody in a batch that is taken back."""
    with study.batch():
        enrol(study, site="01")
        raise ZeroDivisionError


@pytest.mark.requirement("R06")
def test_neither_a_refusal_nor_a_failure_hides_it(folder: Path) -> None:
    enrolled(folder, 0.0)
    with opened(folder, -7200.0) as study, pytest.raises(NotPermitted):
        enrol(study.as_user("asta"), site="01")
    with opened(folder, -7200.0) as study:
        with pytest.raises(ZeroDivisionError):
            fail(study)
        enrol(study, site="01")
    said(folder, (1, -7200.0))


#: Enrols people until it has done so many, with a clock that is off.
WRITER = """
import sys
from datetime import timedelta
from trialkit import _clock
own, by = _clock.RealClock.now, timedelta(seconds=float(sys.argv[2]))
_clock.RealClock.now = lambda self: own(self) + by
from trialkit.participants import enrol
from trialkit.study import Study
with Study.open(sys.argv[1], actor="olga") as study:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[3])):
        enrol(study, site="01")
"""


def start(folder: Path, by_s: float, n: int) -> subprocess.Popen[str]:
    """Start a process, and return when it has opened the study."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(by_s), str(n)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def finish(*children: subprocess.Popen[str]) -> None:
    """Let them write at once, and wait for their ends."""
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
        assert child.returncode == 0


@pytest.mark.slow(seconds=15)
@pytest.mark.requirement("R06")
def test_real_processes(folder: Path) -> None:
    """One after the other, with an hour between their clocks, and at once with 0.7 s between."""
    finish(start(folder, 0.0, 1))
    finish(start(folder, -3600.0, 2))
    finish(start(folder, -3600.0, 1))
    said(folder, (1, -3600.0))
    finish(start(folder, 0.0, 1))
    finish(start(folder, 0.0, 20), start(folder, -0.7, 20))
    said(folder, (1, -3600.0))
    assert len([e for e in noted(folder) if e.kind == "participant.enrolled"]) == 45
