"""Where the machine has its time from is in the record, and honestly so."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_study import START, make_study

from trialkit._clock import RealClock, SimulatedClock
from trialkit.participants import enrol
from trialkit.record.kinds import TimeSource
from trialkit.study import Study, timesource
from trialkit.study.timesource import differs, time_source

TRACKED = (
    "C0000201,time.example.org,3,1767600000.1,{off},0.1,0.1,1.0,0.0,0.1,0.01,0.001,64.0,{leap}"
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the only programs that can be found; empty at first."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, says: str, *, code: int = 0) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\nexit {code}\n")
    program.chmod(0o755)


def sources(study: Study) -> list[TimeSource]:
    """Return what the record says, in order."""
    events = study.record.read(kinds=["study.created", "clock.source"])
    return [
        TimeSource.model_validate(event.payload.get("clock") or event.payload.get("source"))
        for event in events
    ]


@pytest.mark.requirement("R06")
def test_a_process_that_writes_says_where_its_time_is_from(programs: Path, tmp_path: Path) -> None:
    """Said when the study begins, and again by whoever writes with time from elsewhere."""
    made = make_study(tmp_path)
    keys = made.keys
    made.close()
    put(programs, "chronyc", TRACKED.format(off="-0.00025", leap="Normal"))
    for off in ("-0.00025", "0.0031"):  # a little more is nothing new
        put(programs, "chronyc", TRACKED.format(off=off, leap="Normal"))
        with Study.open(made.folder, actor="olga", clock=RealClock(), keys=keys) as study:
            before = study.record.head
            assert study.status().chain_ok
            assert study.record.head == before  # reading writes nothing
            enrol(study, site="01")
            enrol(study, site="01")
    put(programs, "chronyc", TRACKED.format(off="0.0", leap="Not synchronised"))
    with Study.open(made.folder, actor="olga", clock=RealClock(), keys=keys) as study:
        enrol(study, site="01")
        first, good, bad = sources(study)
        last = list(study.record.read())[-2:]
    assert first == TimeSource(told_by="simulated")
    assert (good.told_by, good.server, good.synchronised, good.off_s) == (
        "chrony",
        "time.example.org",
        True,
        0.00025,
    )
    assert good.machine == os.uname().nodename
    assert (bad.server, bad.synchronised, bad.off_s, bad.bound_s) == (None, False, None, None)
    assert [event.kind for event in last] == ["clock.source", "participant.enrolled"]


@pytest.mark.requirement("R06")
def test_it_is_said_anew_after_the_clock_was_set(programs: Path, tmp_path: Path) -> None:
    class Machine(RealClock):
        ahead_s = 0.0

        def now(self) -> datetime:
            return datetime.fromtimestamp(super().now().timestamp() + self.ahead_s, UTC)

    clock = Machine()
    made = make_study(tmp_path)
    made.close()
    put(programs, "chronyc", TRACKED.format(off="0.0", leap="Normal"))
    with Study.open(made.folder, actor="olga", clock=clock, keys=made.keys) as study:
        enrol(study, site="01")
        put(programs, "chronyc", TRACKED.format(off="61.5", leap="Normal"))
        enrol(study, site="01")
        clock.ahead_s = 60.0
        enrol(study, site="01")
        kinds = [event.kind for event in study.record.read()][-3:]
        assert kinds == ["clock.stepped", "clock.source", "participant.enrolled"]
        assert sources(study)[-1].off_s == 61.5


def test_what_the_system_does_not_tell_is_unknown(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timesource.sys, "platform", "plan9")
    put(programs, "timedatectl", "ServerName=time.example.org")
    found = time_source(RealClock())
    assert found == TimeSource(told_by="unknown", machine=os.uname().nodename)


def test_programs_that_fail_or_babble_tell_nothing(programs: Path) -> None:
    put(programs, "chronyc", "506 Cannot talk to daemon", code=1)
    put(programs, "timedatectl", "ServerName=", code=0)
    alone = time_source(RealClock())
    assert alone.told_by in ("kernel", "unknown")
    assert alone.server is None
    put(programs, "chronyc", "a,b,c")
    assert time_source(RealClock()).told_by == alone.told_by


def test_the_kernel_says_whether_and_timesyncd_whom(programs: Path) -> None:
    put(programs, "timedatectl", "ServerName=ntp.example.org")
    found = time_source(RealClock())
    if found.told_by == "unknown":
        pytest.skip("this kernel has no adjtimex")
    assert (found.told_by, found.server) == ("timesyncd", "ntp.example.org")
    assert (found.bound_s is None) == (not found.synchronised)


def test_a_slow_program_is_not_waited_for(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = programs / "chronyc"
    program.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(timesource, "_WAIT_S", 0.1)
    assert time_source(RealClock()).told_by != "chrony"


def test_only_another_source_is_another() -> None:
    one = TimeSource(told_by="chrony", machine="m", server="a", synchronised=True, off_s=0.1)
    near, far = one.model_copy(update={"off_s": 0.2}), one.model_copy(update={"off_s": 9.0})
    assert not differs(near, one, tolerance_s=2.0)
    assert differs(far, one, tolerance_s=2.0)
    assert differs(one, None, tolerance_s=2.0)
    assert differs(one.model_copy(update={"server": "b"}), one, tolerance_s=2.0)


@pytest.mark.requirement("R06")
def test_a_simulated_clock_says_so(tmp_path: Path) -> None:
    with make_study(tmp_path) as study:
        enrol(study, site="01")
        assert sources(study) == [TimeSource(told_by="simulated")]
    assert time_source(SimulatedClock(START)) == TimeSource(told_by="simulated")
