"""One therapist and several sessions, each in processes of its own: real ones, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import USUBJID
from trialkit.errors import OutOfWindow, RefusedError, UsageError
from trialkit.participants import consent, enrol
from trialkit.session import recover
from trialkit.session.supervisor import Supervised, supervise, worst
from trialkit.session.words import Stop
from trialkit.session.worker import Job
from trialkit.study import Study

OTHERS = ["SCI-RAGT-01-002", "SCI-RAGT-01-003"]
DEADLINE_S = 120.0
SLOW = 12.0  # simulated seconds a second: a session takes about 6 s


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def trio(make_study: Callable[..., Study]) -> Callable[[int], Study]:
    def make(allowed: int) -> Study:
        study = make_study(staffing={"max_participants_per_therapist": allowed})
        for usubjid in OTHERS:
            enrol(study, usubjid, site="01")
            consent(study, usubjid, version="1")
        return study

    return make


def jobs_of(study: Study, people: Sequence[str], **changes: Any) -> list[Job]:
    given = {"speed": 0.0, **changes}
    return [
        Job(study.folder, study.actor, who, 1, 1, options={"seed": i}, **given)
        for i, who in enumerate(people)
    ]


def statuses(study: Study) -> dict[str, str]:
    return {s.usubjid: s.status for s in study.state.sessions.values()}


def test_three_sessions_side_by_side_in_their_own_processes(trio: Callable[[int], Study]) -> None:
    study = trio(3)
    seen: set[int] = set()

    def show(sessions: Sequence[Supervised]) -> None:
        seen.update(s.process.popen.pid for s in sessions if s.process is not None)

    sessions = supervise(study, jobs_of(study, [USUBJID, *OTHERS]), show=show)
    assert [s.status for s in sessions] == ["completed"] * 3
    assert worst(sessions) == 0
    assert len(seen | {os.getpid()}) == 4
    assert statuses(study) == dict.fromkeys([USUBJID, *OTHERS], "completed")
    assert study.record.verify().ok
    opened = list(study.record.read(kinds=["session.opened"]))
    closed = list(study.record.read(kinds=["session.closed"]))
    assert opened[-1].seq < closed[0].seq  # side by side
    assert {e.payload["therapist"] for e in opened} == {"owner"}
    assert all(s.outcome is not None and s.outcome.dose.steps > 10 for s in sessions)


def test_one_more_than_the_rule_allows_is_refused_before_anything_starts(
    trio: Callable[[int], Study],
) -> None:
    study = trio(2)
    before = study.state.seq
    with pytest.raises(RefusedError, match="3 participants are given and the protocol allows 2"):
        supervise(study, jobs_of(study, [USUBJID, *OTHERS]))
    with pytest.raises(UsageError, match="given twice"):
        supervise(study, jobs_of(study, [USUBJID, USUBJID]))
    with pytest.raises(OutOfWindow):
        supervise(study, [*jobs_of(study, [USUBJID]), Job(study.folder, "owner", OTHERS[0], 1, 90)])
    assert study.state.seq == before
    assert not list((study.folder / "telemetry").iterdir())


def test_a_killed_session_leaves_the_other_running_and_can_be_recovered(
    trio: Callable[[int], Study],
) -> None:
    study = trio(2)
    killed: list[int] = []

    def show(sessions: Sequence[Supervised]) -> None:
        first, progress = sessions[0], sessions[0].progress
        walked = progress is not None and progress.delivered_s > 1
        if not killed and walked and first.process is not None:
            pid = first.process.popen.pid
            killed.extend(children(pid))  # its device
            os.kill(pid, signal.SIGKILL)

    sessions = supervise(study, jobs_of(study, [USUBJID, OTHERS[0]], speed=SLOW), show=show)
    assert len(killed) == 1
    until(lambda: not alive(killed[0]))
    assert [s.status for s in sessions] == ["killed", "completed"]
    assert worst(sessions) == 6
    assert statuses(study) == {USUBJID: "open", OTHERS[0]: "completed"}
    recovered = recover(study)
    assert [o.session for o in recovered] == [f"{USUBJID}-S01"]
    assert recovered[0].status == "recovered"
    assert study.record.verify().ok


def test_a_faulting_session_concerns_no_other(trio: Callable[[int], Study]) -> None:
    study = trio(3)
    jobs = jobs_of(study, [USUBJID, *OTHERS])
    fault = {"faults": [{"at_s": 12.0, "kind": "motor_overtemperature"}]}
    jobs[0] = Job(study.folder, "owner", USUBJID, 1, 1, options=fault, speed=0.0)
    jobs[1] = Job(study.folder, "owner", OTHERS[0], 1, 1, options={"ability": 99}, speed=0.0)
    sessions = supervise(study, jobs)
    assert [s.status for s in sessions] == ["device_fault", "TK-USE", "completed"]
    assert [s.exit_status for s in sessions] == [6, 2, 0]
    assert worst(sessions) == 6
    assert OTHERS[0] not in statuses(study)


def test_a_command_reaches_one_session_only(trio: Callable[[int], Study]) -> None:
    study = trio(2)
    told: list[int] = []

    def show(sessions: Sequence[Supervised]) -> None:
        progress = sessions[0].progress
        if not told and progress is not None and progress.delivered_s > 1:
            told.append(1)
            sessions[0].command(Stop("participant", "tired"))

    sessions = supervise(study, jobs_of(study, [USUBJID, OTHERS[0]], speed=SLOW), show=show)
    assert [s.status for s in sessions] == ["stopped_participant", "completed"]


# --- whole programs ------------------------------------------------------------------------


def program(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from trialkit.cli import main; main()", *arguments,
         "--study", str(folder), "--as", "owner", "--headless"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRIALKIT_KEYS": str(folder.parent / "keys")},
    )  # fmt: skip


def run_one(folder: Path, usubjid: str, *more: str) -> subprocess.Popen[str]:
    return program(folder, "run", "-p", usubjid, "-n", "1", "--day", "1", *more)


def walking(folder: Path) -> list[str]:
    """Sessions that are open in the record and whose device has taken a command."""
    with Study.open(folder, write=False) as study:
        moved = {e.payload["session"] for e in study.record.read(kinds=["session.command"])}
        return sorted(s.session for s in study.state.open_sessions if s.session in moved)


def test_a_second_run_is_refused_while_one_is_active_and_after_it_was_killed(
    trio: Callable[[int], Study],
) -> None:
    study = trio(1)
    study.close()
    first = run_one(study.folder, USUBJID)
    try:
        until(lambda: walking(study.folder))
        second = run_one(study.folder, OTHERS[0], "--speed", "0")
        assert "owner has 1 active session(s)" in second.communicate(timeout=DEADLINE_S)[1]
        assert second.returncode == 5
        with Study.open(study.folder, actor="owner") as beside:
            assert recover(beside) == []  # it runs: nobody closes it
            assert len(beside.state.open_sessions) == 1
    finally:
        first.kill()
        first.communicate()
    again = run_one(study.folder, OTHERS[0], "--speed", "0")
    said = again.communicate(timeout=DEADLINE_S)[1]
    assert again.returncode == 5
    assert "owner has 1 active session(s)" in said
    assert "allows 1 a therapist" in said
    with Study.open(study.folder, actor="owner") as later:
        assert [o.status for o in recover(later)] == ["recovered"]
    last = run_one(study.folder, OTHERS[0], "--speed", "0")
    assert last.wait(DEADLINE_S) == 0
    last.communicate()


def test_another_therapist_is_not_kept_by_an_open_session(trio: Callable[[int], Study]) -> None:
    study = trio(1)
    study.add_user("theo", role="therapist")
    study.close()
    first = run_one(study.folder, USUBJID)
    until(lambda: walking(study.folder))
    first.kill()
    first.communicate()
    with Study.open(study.folder, actor="theo") as opened:
        sessions = supervise(opened, jobs_of(opened, [OTHERS[0]]))
        assert sessions[0].status == "completed"
        assert statuses(opened) == {USUBJID: "open", OTHERS[0]: "completed"}


def test_ctrl_c_stops_every_device_and_closes_every_session(trio: Callable[[int], Study]) -> None:
    study = trio(2)
    study.close()
    people = [f"{who}:1:1" for who in (USUBJID, OTHERS[0])]
    run = program(study.folder, "supervise", "-p", people[0], "-p", people[1], "--json")
    until(lambda: len(walking(study.folder)) == 2)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 6
    said = json.loads(out)["sessions"]
    assert [(s["status"], s["code"]) for s in said] == [("stopped_operator", "interrupt")] * 2
    with Study.open(study.folder, write=False) as later:
        assert later.state.open_sessions == []
        assert later.record.verify().ok


def test_without_its_supervisor_a_session_stops_its_device_and_closes(
    trio: Callable[[int], Study],
) -> None:
    study = trio(2)
    study.close()
    run = program(study.folder, "supervise", "-p", f"{USUBJID}:1", "-p", f"{OTHERS[0]}:1")
    until(lambda: len(walking(study.folder)) == 2)
    workers = children(run.pid)
    assert len(workers) == 2
    run.kill()
    run.wait()  # its pipes are the workers' standard error too
    until(lambda: not any(alive(pid) for pid in workers))
    with Study.open(study.folder, actor="owner") as later:
        assert later.state.open_sessions == []
        assert {s.status for s in later.state.sessions.values()} == {"stopped_operator"}
        assert later.record.verify().ok
    run.communicate()


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_verb_takes_the_due_day_and_refuses_what_it_cannot_read(
    trio: Callable[[int], Study],
) -> None:
    study = trio(1)
    study.close()
    done = program(study.folder, "supervise", "-p", f"{USUBJID}:S01", "--speed", "0", "--json")
    out, _ = done.communicate(timeout=DEADLINE_S)
    assert done.returncode == 0
    assert json.loads(out)["sessions"][0]["dose"]["steps"] > 10
    wrong = program(study.folder, "supervise", "-p", USUBJID)
    assert "not USUBJID:NUMBER" in wrong.communicate(timeout=DEADLINE_S)[1]
    assert wrong.returncode == 2
    more = program(study.folder, "supervise", "-p", f"{USUBJID}:2", "-p", f"{OTHERS[0]}:1")
    assert "allows 1 a therapist" in more.communicate(timeout=DEADLINE_S)[1]
    assert more.returncode == 5
