from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from device_interface.link import DeviceLink
from trialkit.cli.whole import app
from trialkit.errors import TelemetryDamaged, UnknownName
from trialkit.record.kinds import SessionOpened
from trialkit.session import (
    Hold,
    Planned,
    Progress,
    Resume,
    ScriptedOperator,
    Stop,
    recover,
    replay,
    run_session,
)
from trialkit.session.inputs import read_inputs
from trialkit.session.program import make_course
from trialkit.session.replay import Replayed, _recorded, device_sessions, replay_inputs
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
S01 = f"{USUBJID}-S01"


def run(study: Study, **options: Any) -> Any:
    return run_session(study, USUBJID, **{"number": 1, "day": 1, "rate": "stride", **options})


def same(study: Study, session: str = S01) -> Replayed:
    done = replay(study, session)
    assert done.difference is None, str(done.difference)
    assert done.complete
    assert done.same_model
    assert done.inputs >= 3
    assert done.events >= 3
    return done


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_a_session_replays_identically(study: Study, rate: Any) -> None:
    answers = {"rpe": 10.0, "trips": 0.0}
    assert run(study, rate=rate, operator=ScriptedOperator(answers=answers)).completed
    done = same(study)
    kinds = ["session.transition", "session.command", "session.adapted", "session.prompt"]
    assert done.events == sum(1 for _ in study.record.read(kinds=kinds))
    assert any(study.record.read(kinds=["session.adapted"]))
    assert done.setpoints >= 6


def test_holds_resumes_and_stops_replay_identically(study: Study) -> None:
    script = [
        Planned(15.0, Hold("pain", "left knee")),
        Planned(30.0, Resume("", "rest_taken")),
        Planned(45.0, Stop("participant", "tired")),
    ]
    outcome = run(study, operator=ScriptedOperator(script))
    assert (outcome.status, outcome.code) == ("stopped_participant", "tired")
    same(study)


@pytest.mark.parametrize(
    ("fault", "rate"), [("overload", "stride"), ("freeze", "full"), ("gap", "full")]
)
def test_faults_replay_identically(study: Study, fault: str, rate: Any) -> None:
    faults = [{"at_s": 25.0, "kind": fault, "rows": 40}]
    run(study, rate=rate, device_options={"faults": faults})
    same(study)


def test_a_session_that_screening_stopped_and_a_refused_number_replay(study: Study) -> None:
    answers = {"systolic_mmhg": float("nan")}
    outcome = run(study, operator=ScriptedOperator(answers=answers))
    assert outcome.status == "stopped_safety"
    assert outcome.code == "bp-high-rest.not_entered"
    same(study)


def test_a_device_process_that_is_killed_replays(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[DeviceLink] = []
    begin = DeviceLink.__init__

    def remember(self: DeviceLink, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        links.append(self)

    monkeypatch.setattr(DeviceLink, "__init__", remember)

    def kill(progress: Progress) -> None:
        if progress.t_s > 20 and links:
            os.kill(links.pop().pid, signal.SIGKILL)

    assert run(study, rate="full", progress=kill).status == "device_fault"
    same(study)


def test_real_time_replays_and_tells_how_late_the_loop_was(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(real=True)
    operator = ScriptedOperator([Planned(2.5, Stop())])
    outcome = run(study, rate="full", operator=operator)
    done = same(study)
    assert done.inputs > 15
    timing = outcome.timing
    assert timing is not None
    assert timing.ticks == sum(timing.bins) > 15
    assert timing.p50_s <= timing.p99_s <= timing.max_s
    (closed,) = study.record.read(kinds=["session.closed"])
    assert closed.payload["timing"] == timing.model_dump(mode="json")


# --- what must be found ---------------------------------------------------------------------


def moved(study: Study, **changes: float) -> Replayed:
    """Replay with the first progression rule changed."""
    log = read_inputs(study.folder / "telemetry" / S01 / "inputs.jsonl")
    course = make_course(study.protocols["ROBOTIC"])
    rules = list(course.rules)
    rules[0] = dataclasses.replace(
        rules[0], **{name: getattr(rules[0], name) + by for name, by in changes.items()}
    )
    recorded = list(_recorded(study, study.state.sessions[S01]))
    return replay_inputs(log, recorded, dataclasses.replace(course, rules=tuple(rules)))


def test_a_gain_that_moved_by_a_billionth_is_found_at_the_first_decision_it_changes(
    study: Study,
) -> None:
    answers = {"rpe": 10.0, "trips": 0.0}
    assert run(study, operator=ScriptedOperator(answers=answers)).completed
    adapted = list(study.record.read(kinds=["session.adapted"]))
    assert len(adapted) >= 2
    assert moved(study).same
    upward = moved(study, step=1e-9)  # the envelope cuts it: every decision stays the same
    assert (upward.same, upward.same_model) == (True, False)
    found = moved(study, step=-1e-9).difference
    assert found is not None
    assert found.what == "session.adapted"
    assert found.recorded is not None
    assert found.obtained is not None
    recorded = json.loads(found.recorded)["payload"]
    assert recorded == adapted[0].payload
    obtained = json.loads(found.obtained)["payload"]
    assert obtained["proposed"] - recorded["proposed"] == pytest.approx(-1e-9, rel=1e-3)
    assert found.t_s == pytest.approx(adapted[0].payload["t_s"], abs=0.001)
    # a start level that moved shows at the first setpoint that it gives
    log = read_inputs(study.folder / "telemetry" / S01 / "inputs.jsonl")
    log.head["levels"]["speed_m_s"] += 1e-9
    course = make_course(study.protocols["ROBOTIC"])
    recorded_all = list(_recorded(study, study.state.sessions[S01]))
    first = replay_inputs(log, recorded_all, course).difference
    assert first is not None
    assert first.what == "session.command"
    # and setpoints are compared even where the events are not known
    only = replay_inputs(dataclasses.replace(log, ended=None), [], course).difference
    assert only is not None
    assert only.what == "setpoints"


def test_events_that_are_missing_or_too_many_are_found(study: Study) -> None:
    run(study)
    log = read_inputs(study.folder / "telemetry" / S01 / "inputs.jsonl")
    course = make_course(study.protocols["ROBOTIC"])
    recorded = list(_recorded(study, study.state.sessions[S01]))
    fewer = replay_inputs(log, recorded[:-1], course).difference
    assert fewer is not None
    assert (fewer.recorded, fewer.number) == (None, len(recorded))
    more = replay_inputs(log, [*recorded, recorded[-1]], course).difference
    assert more is not None
    assert (more.obtained, more.number) == (None, len(recorded) + 1)
    assert "obtained: nothing" in str(more)
    swapped = [recorded[1], recorded[0], *recorded[2:]]
    assert replay_inputs(log, swapped, course).difference is not None


def test_every_damage_of_the_log_is_told(study: Study) -> None:
    run(study)
    path = study.folder / "telemetry" / S01 / "inputs.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"input":"tick"', b'"input":"tack"', 1))
    with pytest.raises(TelemetryDamaged, match="altered"):
        replay(study, S01)
    path.write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    with pytest.raises(TelemetryDamaged, match="not the input log that was sealed"):
        replay(study, S01)
    path.unlink()
    with pytest.raises(TelemetryDamaged, match="no input log"):
        replay(study, S01)
    with pytest.raises(UnknownName):
        replay(study, "X-S01")


def test_a_session_without_any_input_has_nothing_to_replay(study: Study) -> None:
    opened = SessionOpened(
        session=S01, number=1, day=1, protocol="x", device={}, planned_minutes=1, therapist="owner"
    )
    study.append(opened, subject=USUBJID)
    assert device_sessions(study) == []
    recover(study)
    done = replay(study, S01)
    assert done.same
    assert done.inputs == 0


# --- the command line -------------------------------------------------------------------------


def test_the_verb(make_study: Callable[..., Study]) -> None:
    study = make_study()
    run(study)
    run(study, number=2, day=2)
    study.close()

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(
            app, ["replay", *arguments, "--as", "owner", "--study", str(study.folder)]
        )

    done = call(S01)
    assert done.exit_code == 0, done.output
    assert "replays identically" in done.stdout
    assert "2 of 2 sessions" in call("--all").stdout
    assert call().exit_code != 0
    assert call(S01, "--all").exit_code != 0
    path: Path = study.folder / "telemetry" / S01 / "inputs.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    done = call("--all", "--json")
    assert done.exit_code == 4
    first, second = json.loads(done.stdout)["replayed"]
    assert (first["same"], first["error"]["code"]) == (False, "TK-TELEMETRY")
    assert second["same"]
    assert "1 of 2 sessions" in call("--all").stdout
