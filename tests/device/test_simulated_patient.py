from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_schemas.telemetry import TABLES
from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.registry import load_driver
from device_interface.simulated import SimulatedGaitTrainer
from device_interface.simulated.channels import FURTHER
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.errors import UsageError
from trialkit.participants import consent, enrol
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.record.sign import KeyStore
from trialkit.session import SessionOutcome, run_session
from trialkit.session.replay import replay
from trialkit.study import Study

S = DeviceState
WALK = {"speed_m_s": 0.5, "support_fraction": 0.4, "guidance": 0.8}
START = {"strength": 0.3, "learning": 0.1}
SOMEBODY = "SCI-RAGT-01-001"


def walking(seconds: float = 10.0, **options: Any) -> SimulatedGaitTrainer:
    device = SimulatedGaitTrainer(**options)
    device.connect(lockstep=True)
    device.apply(Setpoints(WALK, {}, device.arm()))
    pass_time(device, seconds)
    return device


def pass_time(device: SimulatedGaitTrainer, seconds: float, step_s: float = 0.5) -> list[Block]:
    blocks: list[Block] = []
    left = round(seconds * 1e9)
    while left > 0:
        passed, more = device.advance(min(left, round(step_s * 1e9)))
        left -= max(passed, 1)
        blocks += more
    return blocks


def column(device: SimulatedGaitTrainer, blocks: list[Block], name: str) -> np.ndarray[Any, Any]:
    stream = next(s for s in device.describe().streams if s.name == blocks[0].stream)
    parts = [b.values[:, stream.index(name)] for b in blocks if b.stream == stream.name]
    return np.concatenate(parts).astype(np.float64)


def state_of(device: SimulatedGaitTrainer) -> dict[str, float]:
    told = device.ask("patient_state")
    assert told is not None
    return dict(told)


def session(patient: Mapping[str, float], *, minutes: float = 30.0, guidance: float = 0.5) -> Any:
    """Return a device at the end of a session of so many minutes at stride level."""
    device = SimulatedGaitTrainer(rate="stride", patient=patient)
    device.connect(lockstep=True)
    device.apply(Setpoints(WALK | {"guidance": guidance}, {}, device.arm()))
    blocks = pass_time(device, 60.0 * minutes, 60.0)
    return device, float(column(device, blocks, "tracking_error_rad")[-20:].mean())


# --- strength, fatigue, learning --------------------------------------------------------------


def test_within_a_session_the_patient_learns_and_tires() -> None:
    device, _ = session(START, minutes=1)
    early = state_of(device)
    pass_time(device, 1200.0, 60.0)
    late = state_of(device)
    assert late["learning"] > early["learning"] > START["learning"]
    assert late["tired"] > early["tired"] > 0
    assert late["load"] > early["load"] > 0
    assert late["strength"] == START["strength"]  # strength comes with the rest after it


def test_who_is_guided_less_learns_more() -> None:
    little, much = (state_of(session(START, guidance=g)[0])["learning"] for g in (0.2, 1.0))
    assert little > much > START["learning"]


def test_learning_and_strength_are_carried_from_session_to_session() -> None:
    state: dict[str, float] = dict(START)
    errors, states = [], []
    for _ in range(8):
        device, error = session({**state, "rest_days": 2} if states else state)
        state = state_of(device)
        errors.append(error)
        states.append(state)
    learning = [s["learning"] for s in states]
    strength = [s["strength"] for s in states]
    assert learning == sorted(learning)
    assert strength == sorted(strength)
    assert strength[-1] > strength[0] + 0.02
    assert errors[-1] < 0.97 * errors[0]


def test_a_night_rests_and_weeks_forget() -> None:
    device, _ = session(START)
    end = state_of(device)
    fresh = state_of(SimulatedGaitTrainer(patient={**end, "rest_days": 1}))
    assert fresh["tired"] < 0.3 * end["tired"]
    assert fresh["load"] == 0
    assert fresh["strength"] > end["strength"]
    away = state_of(SimulatedGaitTrainer(patient={**end, "rest_days": 60}))
    assert away["strength"] < fresh["strength"]
    assert away["learning"] < fresh["learning"]


def test_a_session_by_its_number_is_the_same_for_the_same_person() -> None:
    def at(number: int, person: int) -> dict[str, float]:
        return state_of(
            SimulatedGaitTrainer(patient={**START, "session": number, "person": person})
        )

    assert at(12, 1) == at(12, 1)
    assert at(12, 1) != at(12, 2)
    assert at(1, 1) == at(1, 2)
    learning = [at(number, 1)["learning"] for number in (1, 4, 12, 36)]
    assert learning == sorted(learning)
    assert learning[-1] > learning[0] + 0.3


def test_without_the_option_nothing_is_carried() -> None:
    assert walking().ask("patient_state") is None


@pytest.mark.parametrize(
    "patient",
    [
        {"strength": 1.2},
        {"learning": -0.1},
        {"session": 0},
        {"session": 1.5},
        {"rest_days": True},
        {"stumbles_per_min": -1},
        {"courage": 1},
        {"tired": float("nan")},
    ],
)
def test_a_patient_that_cannot_be_is_refused(patient: Any) -> None:
    with pytest.raises(UsageError):
        load_driver("simulated", {"patient": patient})


# --- stumbles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["injected", "planned"])
def test_a_stumble_shows_in_joints_and_torques_and_the_device_goes_on(how: str) -> None:
    """The same seed without the stumble is the measure."""
    planned = [{"at_s": 20.0, "kind": "stumble"}] if how == "planned" else []
    stumbling, plain = walking(20.0, faults=planned), walking(20.0)
    if how == "injected":
        stumbling.inject("stumble")
    differs = {}
    told, expected = pass_time(stumbling, 4.0), pass_time(plain, 4.0)
    for name in ("knee_angle_l", "knee_interaction_torque_l", "tracking_error_rad", "hip_angle_r"):
        differs[name] = column(stumbling, told, name) - column(plain, expected, name)
    assert differs["knee_angle_l"].min() == pytest.approx(-0.2, abs=0.01)
    assert 25 < differs["knee_interaction_torque_l"].max() < 50
    assert differs["tracking_error_rad"].max() > 0.1
    assert not differs["hip_angle_r"].any()
    for name, values in differs.items():
        assert not values[-50:].any(), name  # it is over
    began = int(np.flatnonzero(differs["knee_angle_l"])[0])
    assert 0.6 < column(plain, expected, "gait_phase")[began] < 0.82  # in swing of that leg
    assert stumbling.state is S.RUNNING
    assert not stumbling.faults()


def test_velocity_is_still_the_slope_of_the_angle_in_a_stumble() -> None:
    device = walking(20.0)
    device.inject("stumble")
    blocks = pass_time(device, 4.0)
    angle = column(device, blocks, "knee_angle_l")
    velocity = column(device, blocks, "knee_velocity_l")
    slope = (angle[2:] - angle[:-2]) / 0.02
    assert np.corrcoef(velocity[1:-1], slope)[0, 1] > 0.9


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_the_stride_of_a_stumble_has_no_clearance_and_a_short_step(rate: str) -> None:
    options: dict[str, Any] = {"streams": ["stride"]} if rate == "full" else {}
    device = walking(30.0, rate=rate, **options)
    device.inject("stumble")
    strides = [b for b in pass_time(device, 10.0) if b.stream == "stride"]
    clearance = column(device, strides, "toe_clearance_m")
    assert (clearance < 0).sum() == 1
    short = column(device, strides, "step_length_l_m")
    at = int(np.argmin(clearance))
    assert short[at] < 0.85 * np.median(short)
    told = [device.ask("trips") for _ in range(30)]
    first = told[0]
    assert first is not None
    assert first["trips"] >= 1
    assert any(answer == {"trips": 0.0} for answer in told[1:])  # it is told once


def test_a_stumble_needs_somebody_who_walks() -> None:
    device = walking(20.0)
    device.hold()
    pass_time(device, 5.0)
    device.inject("stumble")
    device.apply(Setpoints(WALK, {}, device.resume()))
    assert column(device, pass_time(device, 15.0), "tracking_error_rad").max() < 0.1


# --- by chance ------------------------------------------------------------------------------------


def trips(device: SimulatedGaitTrainer) -> int:
    return sum(
        int((b.values[:, 6] < 0).sum()) for b in pass_time(device, 3600.0, 60.0) if len(b.values)
    )


def test_mishaps_come_at_their_rate_and_again_with_the_same_seed() -> None:
    def count(seed: int, rate: float) -> int:
        return trips(walking(1.0, rate="stride", seed=seed, patient={"stumbles_per_min": rate}))

    counts = [count(seed, 0.5) for seed in range(8)]  # 240 expected, sd 15
    assert counts[0] == count(0, 0.5)
    assert len(set(counts)) > 1
    assert 180 < sum(counts) < 300
    assert count(0, 0.0) == 0


def test_nothing_befalls_who_stands() -> None:
    patient = {"stumbles_per_min": 30.0, "spasms_per_min": 30.0, "stops_per_min": 30.0}
    device = SimulatedGaitTrainer(patient=patient)
    device.connect(lockstep=True)
    device.arm()
    pass_time(device, 60.0)
    assert device.state is S.ARMED
    assert device.ask("asks_to_stop") == {"asks_to_stop": 0.0}


@pytest.mark.parametrize(
    ("key", "code"), [("spasms_per_min", 401), ("stops_per_min", 405)], ids=["spasm", "stop"]
)
def test_a_spasm_and_a_wish_to_stop_make_the_device_hold(key: str, code: int) -> None:
    device = walking(0.5, patient={key: 2.0})
    codes: set[float] = set()
    for _ in range(600):
        blocks = pass_time(device, 1.0)
        codes |= set(column(device, blocks, "fault_code").tolist())
        if device.state is S.HOLD:
            break
    assert device.state is S.HOLD
    assert codes == {0.0, float(code)}
    pass_time(device, 30.0)
    assert device.state is S.HOLD
    asked = device.ask("asks_to_stop")
    assert asked == {"asks_to_stop": float(code == 405)}
    device.resume()
    assert device.ask("asks_to_stop") == {"asks_to_stop": 0.0}


def test_asking_does_not_change_what_is_drawn_after_it() -> None:
    one, other = walking(), walking()
    for prompt in ("asks_to_stop", "patient_state", "donning_minutes"):
        other.ask(prompt)
    for prompt in ("skin_redness_min", "trips", "knee_collapses"):
        assert one.ask(prompt) == other.ask(prompt)


# --- in a session ---------------------------------------------------------------------------------


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[Callable[[], Study]]:
    """Make studies with a session of 102 s."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    for block in data["session"]["blocks"]:
        block["minutes"] = round(block["minutes"] / 20.0, 4)
    data["fidelity"]["min_moving_minutes"] = 0.5
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    made: list[Study] = []

    def make() -> Study:
        study = Study.create(
            tmp_path / f"study-{len(made)}",
            protocols=[path],
            actor="owner",
            clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
            keys=KeyStore(tmp_path / "keys"),
        )
        made.append(study)
        enrol(study, SOMEBODY, site="01")
        consent(study, SOMEBODY, version="1")
        return study

    yield make
    for study in made:
        study.close()


@pytest.fixture
def study(make_study: Callable[[], Study]) -> Study:
    return make_study()


def run(study: Study, **options: Any) -> tuple[SessionOutcome, Path]:
    outcome = run_session(study, SOMEBODY, number=1, day=1, device_options=options)
    return outcome, study.folder / "telemetry" / outcome.session


def test_every_stream_is_sealed_in_a_table_of_its_own(study: Study) -> None:
    patient = {"strength": 0.4, "session": 3, "stumbles_per_min": 4.0}
    outcome, folder = run(study, seed=2, streams=list(FURTHER), patient=patient)
    assert outcome.completed  # stumbles do not hold a session
    files = {f["name"]: f for f in read_manifest(folder).manifest["files"]}
    rows = {}
    for name in ("motion", *FURTHER):
        entry = files[f"{name}.parquet"]
        table = open_sealed(folder, name)
        assert (entry["gaps"], entry["rows"]) == (0, table.num_rows)
        frame = table.to_pandas()
        TABLES[name].validate(frame, lazy=True)
        shift = frame["t_host_ns"] - frame["t_device_ns"]
        assert shift.nunique() == 1
        rows[name] = frame
    assert len(rows["emg"]) == 10 * len(rows["motion"])
    assert abs(len(rows["physiology"]) - len(rows["motion"]) / 100) <= 1
    assert abs(2 * len(rows["stride"]) - outcome.dose.steps) <= 14  # of six ramps, parts of strides
    assert (rows["stride"]["toe_clearance_m"] < 0).any()
    assert replay(study, outcome.session).same


def test_the_streams_beside_do_not_change_what_the_device_did(
    make_study: Callable[[], Study],
) -> None:
    with_them, folder = run(make_study(), seed=2, streams=["physiology", "emg"])
    without, plain = run(make_study(), seed=2)
    assert with_them.completed
    assert with_them.dose == without.dose
    one, other = (open_sealed(f, "motion").drop(["t_host_ns"]) for f in (folder, plain))
    assert one.equals(other)


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_a_participant_who_asks_to_stop_ends_the_session(study: Study, rate: Any) -> None:
    outcome = run_session(
        study,
        SOMEBODY,
        number=1,
        day=1,
        rate=rate,
        device_options={"faults": [{"at_s": 30.0, "kind": "participant_stop"}]},
    )
    assert (outcome.status, outcome.code) == ("stopped_participant", "asked")
    moves = [e.payload for e in study.record.read(kinds=["session.transition"])]
    assert [m["new"] for m in moves[-3:]] == ["pausing", "held", "stopped_participant"]
    assert moves[-3]["code"] == "device_held-405"
    assert 29 < float(moves[-3]["t_s"]) < 33
    assert outcome.dose.moving_minutes < 35 / 60
    assert replay(study, outcome.session).same
