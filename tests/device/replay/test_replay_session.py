from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from device_interface.replay import read_recording
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.errors import TelemetryDamaged
from trialkit.participants import consent, enrol
from trialkit.record.sealing import open_sealed
from trialkit.record.sign import KeyStore
from trialkit.session import (
    Hold,
    Planned,
    Resume,
    ScriptedOperator,
    SessionOutcome,
    Stop,
    run_session,
)
from trialkit.session.operator import View
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
REPLAY = "device_interface.replay:ReplayDevice"
ANSWERS = {
    "systolic_mmhg": 125.0,
    "diastolic_mmhg": 78.0,
    "heart_rate_bpm": 72.0,
    "spo2_percent": 97.0,
    "donning_minutes": 10.0,
    "donning_staff": 2.0,
    "doffing_minutes": 5.0,
    "rpe": 12.0,
    "gait_acceptable": 1.0,
}
Make = Callable[..., Study]


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[Make]:
    """Studies with the shipped single-arm protocol, its blocks a sixtieth as long."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    for block in data["session"]["blocks"]:
        block["minutes"] = round(block["minutes"] / 60, 4)
    data["fidelity"]["min_moving_minutes"] = 0.2
    made: list[Study] = []

    def make(**changes: Any) -> Study:
        path = tmp_path / f"protocol-{len(made)}.yaml"
        path.write_text(yaml.safe_dump({**data, **changes}, sort_keys=False))
        study = Study.create(
            tmp_path / f"study-{len(made)}",
            protocols=[path],
            actor="owner",
            clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
            keys=KeyStore(tmp_path / "keys"),
        )
        enrol(study, USUBJID, site="01")
        consent(study, USUBJID, version="1")
        made.append(study)
        return study

    yield make
    for study in made:
        study.close()


class Steady(ScriptedOperator):
    """Gives the same answers whatever the device knows of its patient."""

    def _ask(self, prompts: Sequence[str], view: View) -> dict[str, float]:
        return {prompt: ANSWERS.get(prompt, 0.0) for prompt in prompts}


def sealed(study: Study) -> Path:
    return study.folder / "telemetry" / f"{USUBJID}-S01"


def run(study: Study, *script: Planned, **options: Any) -> SessionOutcome:
    return run_session(study, USUBJID, number=1, day=1, operator=Steady(script), **options)


def opened(study: Study) -> dict[str, Any]:
    (event,) = study.record.read(kinds=["session.opened"])
    device: dict[str, Any] = event.payload["device"]
    return device


@pytest.mark.parametrize("held", [False, True])
def test_a_sealed_session_played_through_a_session_gives_the_same_rows(
    make_study: Make, held: bool
) -> None:
    plan = [Planned(25, Hold("tired")), Planned(32, Resume("rested"))] if held else []
    first, again = make_study(), make_study()
    one = run(first, *plan)
    options = {"recording": str(sealed(first))}
    two = run(again, *plan, device=REPLAY, device_options=options)
    assert one.completed
    assert two.completed
    assert two.dose == one.dose
    old, new = open_sealed(sealed(first), "motion"), open_sealed(sealed(again), "motion")
    assert new.equals(old)
    who = opened(again)
    assert (who["vendor"], who["model"], who["simulated"]) == (
        "replay",
        "trialkit gait trainer",
        True,
    )
    assert who["recorded_rows"] == old.num_rows


@pytest.mark.parametrize(("kind", "state"), [("motor_overtemperature", 6), ("estop", 7)])
def test_a_recorded_fault_comes_when_it_came(make_study: Make, kind: str, state: int) -> None:
    first, again = make_study(), make_study()
    one = run(first, device_options={"faults": [{"at_s": 20.0, "kind": kind}]})
    two = run(again, device=REPLAY, device_options={"recording": str(sealed(first))})
    assert not one.completed
    assert (two.status, two.code) == (one.status, one.code)
    player = open_sealed(sealed(again), "player")
    states = player.column("device_state").to_numpy()
    t_s = player.column("t_device_ns").to_numpy() / 1e9
    assert t_s[states == state].min() == pytest.approx(20.0, abs=0.06)
    old, new = open_sealed(sealed(first), "motion"), open_sealed(sealed(again), "motion")
    assert new.slice(0, old.num_rows).equals(old.slice(0, new.num_rows))
    assert new.num_rows >= 2000


def test_another_protocol_is_not_what_was_recorded(make_study: Make) -> None:
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    blocks = data["session"]["blocks"]
    for block in blocks:
        block["minutes"] = round(block["minutes"] / 60, 4)
        if "speed_m_s" in block:
            block["speed_m_s"] -= 0.1
    first, again = make_study(), make_study(session={**data["session"], "blocks": blocks})
    run(first)
    two = run(again, device=REPLAY, device_options={"recording": str(sealed(first))})
    assert two.status == "device_fault"
    free = make_study(session={**data["session"], "blocks": blocks})
    options = {"recording": str(sealed(first)), "setpoints": "ignore"}
    three = run(free, device=REPLAY, device_options=options)
    assert three.completed
    assert three.dose.mean_speed_m_s is not None


def test_a_stride_session_is_played_at_stride_level(make_study: Make) -> None:
    first, again = make_study(), make_study()
    run(first, rate="stride")
    options = {"recording": str(sealed(first)), "setpoints": "ignore"}
    two = run(again, rate="stride", device=REPLAY, device_options=options)
    old, new = open_sealed(sealed(first), "stride"), open_sealed(sealed(again), "stride")
    assert new.num_rows >= old.num_rows - 1
    assert new.select(["seq", "belt_speed_m_s"]).equals(
        old.select(["seq", "belt_speed_m_s"]).slice(0, new.num_rows)
    )
    assert two.dose.steps


def test_one_flipped_bit_is_found_before_anything_is_played(make_study: Make) -> None:
    study = make_study()
    run(study)
    path = sealed(study) / "motion.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(TelemetryDamaged):
        read_recording(sealed(study))


def test_what_a_sealed_session_lost_is_counted(make_study: Make) -> None:
    study = make_study()
    options = {
        "faults": [
            {"at_s": 8.0, "kind": "gap", "rows": 7},
            {"at_s": 12.0, "kind": "duplicate"},
            {"at_s": 15.0, "kind": "clock_step"},
        ]
    }
    run(study, Planned(16.5, Stop()), device_options=options)
    recording = read_recording(sealed(study))
    (motion,) = recording.streams
    assert motion.counts.gaps >= 1
    assert motion.counts.missing == 7
    assert motion.counts.duplicates == 1
    assert motion.counts.clock_steps == 1
    assert recording.identity()["counted_missing"] == 7
    assert np.array_equal(motion.t_raw_ns, motion.t_device_ns)


def test_a_foreign_recording_runs_through_a_session(
    make_study: Make, shared: Path, tmp_path: Path
) -> None:
    text = (files("device_interface.replay") / "mappings" / "openexo.yaml").read_text()
    names = ("speed_m_s", "support_fraction", "guidance")
    free = [{"name": n, "unit": "1", "minimum": 0, "maximum": 1, "rate_per_s": 1} for n in names]
    mapping = {**yaml.safe_load(text), "parameters": free}
    (tmp_path / "brace.yaml").write_text(yaml.safe_dump(mapping))
    path = shared / "data" / "exo_openexo_ankle_84s.csv"
    device = {"family": "wearable_brace", "parameters": list(names)}
    study = make_study(device=device)
    options = {
        "recording": str(path),
        "mapping": str(tmp_path / "brace.yaml"),
        "setpoints": "ignore",
    }
    outcome = run(study, device=REPLAY, device_options=options)
    assert outcome.completed
    table = open_sealed(sealed(study), "exo")
    recorded = read_recording(path).streams[0]
    n = table.num_rows
    assert n > 2000
    assert np.array_equal(
        table.column("ankle_torque_r").to_numpy(),
        recorded.values[:n, recorded.stream.index("ankle_torque_r")].astype(np.float32),
    )
    who = opened(study)
    assert who["counted_repeated_host_times"] == 2154
    assert who["counted_repeated_names"] == 1
    assert who["family"] == "wearable_brace"
