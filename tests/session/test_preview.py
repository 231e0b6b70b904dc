"""Walking a protocol before anyone does: what is refused, fired, unanswered, not reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from device_interface import registry
from device_interface.link import open_link
from tests.session.conftest import USUBJID, short_protocol
from trialkit._clock import SimulatedClock
from trialkit.cli.whole import app
from trialkit.errors import ProtocolFindings, UnknownName, UsageError
from trialkit.session import preview, run_session
from trialkit.session.adapt import levels_after
from trialkit.session.program import Program, make_course
from trialkit.session.walk import walk

SHIPPED = ("stroke-robotic", "sci-robotic-30x5", "stroke-conventional")


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_of_the_shipped_protocols_is_refused(name: str) -> None:
    result = preview(name, sessions=None if name == "stroke-conventional" else 3)
    assert result.ok, result.to_text()
    told = [n.where for n in result.notices]
    of_trial = ["trial.eligibility", "trial.ae_reporting"]
    assert told == ["stop_rules", *([] if name == "sci-robotic-30x5" else of_trial)]
    blocks = result.protocol.session.blocks
    assert list(result.table[result.table["session"] == 1]["block"]) == [b.id for b in blocks]


def test_the_whole_course_is_walked_and_the_levels_carry_over() -> None:
    result = preview("stroke-robotic")
    assert len(result.sessions) == result.protocol.planned_sessions == 36
    speeds = [row.levels["speed_m_s"] for row in result.sessions]
    assert speeds == sorted(speeds)
    assert speeds[-1] == 0.833
    firsts = result.table[result.table["block"] == "walk-1"].set_index("session")["speed_m_s"]
    assert firsts[1] == 0.417
    assert firsts[5] == pytest.approx(speeds[3], rel=1e-12)
    moved = result.sessions[0]
    assert moved.moving_minutes == pytest.approx(30, abs=0.3)
    assert moved.distance_m == pytest.approx(moved.planned_distance_m, rel=0.1)


def test_an_arm_without_a_device_says_so() -> None:
    result = preview("stroke-conventional")
    assert result.device.startswith("no device")
    assert result.dose.steps is None
    assert [row.t_min for row in result.blocks][:3] == [0, 4, 12]
    assert result.sessions == []


def test_the_walk_is_the_session_that_runs(make_study: Callable[..., Any]) -> None:
    """The same device, seed and person give the same events, in the same order."""
    study = make_study()
    run_session(
        study, USUBJID, number=1, day=1, rate="stride", device_options={"seed": 7, "fatigue": 0.5}
    )
    kinds = ["session.command", "session.adapted", "session.prompt", "session.transition"]
    recorded = [(e.kind, e.payload) for e in study.record.read(kinds=kinds)]
    course = make_course(study.protocols["ROBOTIC"])
    clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
    link = open_link(
        "simulated", {"rate": "stride", "seed": 7, "fatigue": 0.5}, clock, in_process=True
    )
    walked = walk(Program(course, f"{USUBJID}-S01", levels_after(course.start, {})), link, {})
    link.close()
    own = [(p.kind, p.model_dump(mode="json")) for p in walked.events if p.kind in kinds]

    def plain(events: list[Any]) -> list[Any]:
        return [(kind, {k: v for k, v in payload.items() if k != "by"}) for kind, payload in events]

    assert plain(own) == plain(recorded)
    closed = study.state.participants[USUBJID].sessions[1].dose
    assert walked.dose.model_dump() == closed


def refused(result: Any) -> list[str]:
    return [f"{f.where}: {f.message}" for f in result.findings]


def test_a_rate_that_the_device_does_not_make_is_refused(tmp_path: Path) -> None:
    path = short_protocol(tmp_path)
    path.write_text(path.read_text().replace("rate_per_s: 0.1", "rate_per_s: 9.0", 1))
    found = refused(preview(path, sessions=1))
    assert any("at 9.0 per s is beyond its" in text for text in found)
    assert any(text.startswith("session.blocks[0]: warm-up: ") for text in found)
    assert any("walk-1 is not reached" in text for text in found)


def test_a_stop_rule_that_fires_is_named_with_what_is_not_reached() -> None:
    found = refused(preview("stroke-robotic", sessions=2, answers={"rpe": 18}))
    assert (
        found[0] == "stop_rules: rpe: the session goes to stopped_safety (2 sessions, first in 1)."
    )
    assert sum("is not reached" in text for text in found) == 5  # after warm-up and walk-1 began
    assert len(found) == 6


def test_a_rule_at_screening_leaves_every_block_out() -> None:
    result = preview("stroke-robotic", options={"pain": 8.0}, sessions=1)
    found = refused(result)
    assert "pain-rest" in found[0]
    assert sum("is not reached" in text for text in found) == 7
    assert set(result.table["t_min"].isna()) == {True}


def test_a_prompt_that_nobody_answers_is_named_unless_a_person_does(tmp_path: Path) -> None:
    path = short_protocol(tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace("    prompts:\n    - rpe\n", "    prompts:\n    - dizziness\n    - rpe\n", 1)
    )
    found = refused(preview(path, sessions=1))
    assert found == ["session.blocks[0]: warm-up: nobody answered dizziness (session 1)."]
    assert preview(path, sessions=1, answers={"dizziness": 0}).ok


def test_a_patient_whom_the_device_cannot_take_is_not_walked() -> None:
    result = preview("stroke-robotic", options={"weight_kg": 150.0})
    assert any("heavier than 135 kg" in text for text in refused(result))
    assert result.sessions == []


DRIVER = """
import dataclasses
from device_interface.simulated import SimulatedGaitTrainer

class Bench(SimulatedGaitTrainer):
    def describe(self):
        own = super().describe()
        speed = dataclasses.replace(own.parameters[0], maximum=0.4)
        return dataclasses.replace(
            own, model="bench", simulated=False, parameters=(speed, *own.parameters[1:])
        )

    def connect(self, *, lockstep):
        raise RuntimeError("hardware must not be touched")
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A driver of real hardware, found by its entry point."""
    (tmp_path / "bench_driver.py").write_text(DRIVER)
    info = tmp_path / "bench_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nbench = bench_driver:Bench\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "bench"


def test_hardware_is_held_against_every_command_and_never_moved(bench: str) -> None:
    result = preview("stroke-robotic", bench, sessions=1)
    found = refused(result)
    assert "walked on the simulated trainer" in result.device
    assert any("speed_m_s 0.0..0.833 is beyond its 0.0..0.4" in text for text in found)
    walk_1 = next(text for text in found if text.startswith("session.blocks[1]"))
    assert "speed_m_s 0.417 is beyond the device's 0 to 0.4" in walk_1
    assert result.sessions[0].status == "completed"
    assert not any(text.startswith("session.blocks[0]") for text in found)  # 0.333 is within


def test_faults_and_wrong_calls_are_told_before_anything_is_walked(tmp_path: Path) -> None:
    path = short_protocol(tmp_path)
    path.write_text(path.read_text().replace("kind: walk", "kind: run", 1))
    with pytest.raises(ProtocolFindings):
        preview(path)
    with pytest.raises(UnknownName):
        preview("stroke-robotic", "no-such-device")
    with pytest.raises(UsageError):
        preview("stroke-robotic", options={"abilty": 1})
    with pytest.raises(UsageError):
        preview("stroke-robotic", sessions=37)


def test_html_is_escaped_and_shows_the_verdict() -> None:
    good = preview("stroke-robotic", sessions=1)._repr_html_()
    assert "<td>walk-1</td>" in good
    assert "Nothing would be refused" in good
    bad = preview("stroke-robotic", sessions=1, answers={"rpe": 18})._repr_html_()
    assert "<li>stop_rules: rpe" in bad


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["preview", *arguments])


def test_the_verb_exits_3_where_something_is_refused() -> None:
    good = call("stroke-robotic", "--sessions", "1", "--json")
    assert good.exit_code == 0, good.output
    data = json.loads(good.stdout)
    assert data["ok"]
    assert data["planned_dose"]["minutes"] == 34
    assert len(data["blocks"]) == 7
    bad = call("stroke-robotic", "--sessions", "1", "--option", "pain=8")
    assert bad.exit_code == 3
    assert "refused: stop_rules: pain-rest" in bad.stdout
    assert call("stroke-conventional").exit_code == 0


@pytest.mark.parametrize("sign", ["rpe", "rpe=much", "rpe=3", "systolic_mmhg=17"])
def test_signs_that_cannot_be_are_refused(sign: str) -> None:
    assert isinstance(call("stroke-robotic", "--sign", sign).exception, UsageError)
