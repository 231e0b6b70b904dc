"""What the kit repeats, what it does not, and several devices at once."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from device_interface.conformance import run_kit, work
from device_interface.conformance.bench import Bench
from device_interface.conformance.links import waits_ns, with_children
from device_interface.conformance.model import Deviates, Group
from device_interface.conformance.work import OPENS, TRIES, Work
from device_interface.contract import Capability
from device_interface.simulated import SimulatedGaitTrainer
from trialkit.errors import UsageError


def judged(folder: Path, *, timed: bool, fails: int, monkeypatch: pytest.MonkeyPatch) -> Work:
    """A check that fails so often before it passes, on a device that is never opened."""
    monkeypatch.setattr(work, "_PAUSE_S", 0.0)
    group, done = Group("late", "Late"), []

    @group.check()
    def now_and_then(bench: Bench) -> str:
        """It comes in time."""
        bench.timed = timed
        done.append(1)
        if len(done) <= fails:
            raise Deviates("too late")
        return "in time"

    (check,) = group.checks
    whole = Work([replace(check, id=OPENS)], quick=False)
    whole.judge(Bench("simulated", {}, folder), replace(check, id=OPENS))
    return whole


@pytest.mark.parametrize(
    ("late_s", "timed", "fails", "verdict", "tries"),
    [
        (-1.0, True, 2, "passed", 3),
        (-1.0, True, TRIES, "failed", TRIES),
        (-1.0, True, 0, "passed", 1),
        (-1.0, False, 1, "failed", 1),  # in lockstep nothing is too late
        (math.inf, True, 1, "failed", 1),  # this machine was in time, so the device was not
    ],
)
def test_what_failed_on_a_late_machine_is_done_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    late_s: float,
    timed: bool,
    fails: int,
    verdict: str,
    tries: int,
) -> None:
    monkeypatch.setattr(work, "LATE_S", late_s)
    (outcome,) = judged(tmp_path, timed=timed, fails=fails, monkeypatch=monkeypatch).outcomes()
    assert (outcome.verdict, outcome.tries) == (verdict, tries)
    assert ("this machine was late" in outcome.observed) is (tries > 1)


def test_how_long_a_process_waited_for_a_processor() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not tell")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for process in busy:  # two on one processor wait for each other
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        assert {p.pid for p in busy} <= set(with_children(os.getpid()))
        end = time.monotonic() + 60
        while not sum(sum(waits_ns(p.pid).values()) for p in busy) > 100_000_000:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert waits_ns(busy[0].pid) == {}


def test_several_at_once_find_what_one_finds() -> None:
    one, many = (
        run_kit("simulated", groups=["identity", "ordering", "resume"], at_once=n) for n in (1, 3)
    )
    assert [o.check.id for o in many.outcomes] == [o.check.id for o in one.outcomes]
    assert {o.verdict for o in many.outcomes} == {"passed"}
    assert (one.at_once, many.at_once) == (1, 3)


class Real(SimulatedGaitTrainer):
    def describe(self) -> Capability:
        return replace(super().describe(), simulated=False)


def test_of_a_device_that_is_not_simulated_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(UsageError, match="is there once"):
        run_kit("test_kit_work:Real", groups=["ordering"], at_once=2)
