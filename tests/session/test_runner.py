from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eligible import find_eligible

from data_schemas.telemetry import MOTION, STRIDE
from device_interface.link import DeviceLink
from trialkit.errors import (
    DeviceError,
    Duplicate,
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    OutOfWindow,
    RefusedError,
    StorageRefused,
    UnknownName,
    WrongArm,
)
from trialkit.participants import discontinue_training, withdraw
from trialkit.record.journal import JournalWriter
from trialkit.record.kinds import SessionOpened
from trialkit.record.sealing import open_sealed
from trialkit.session import (
    Hold,
    Planned,
    Progress,
    Resume,
    ScriptedOperator,
    SessionOutcome,
    Stop,
    planned_day,
    recover,
    run_session,
)
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
PLANNED_MIN = 34 / 30.0


def run(study: Study, number: int = 1, **options: Any) -> SessionOutcome:
    given = {"day": 1, "rate": "full", **options}
    return run_session(study, USUBJID, number=number, **given)


def kinds(study: Study, kind: str) -> list[dict[str, Any]]:
    return [event.payload for event in study.record.read(kinds=[kind])]


def phases(study: Study) -> list[str]:
    return [payload["new"] for payload in kinds(study, "session.transition")]


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(("rate", "schema"), [("full", MOTION), ("stride", STRIDE)])
def test_a_session_from_screening_to_sealed_telemetry(study: Study, rate: Any, schema: Any) -> None:
    outcome = run(study, rate=rate)
    assert outcome.completed
    assert outcome.session == f"{USUBJID}-S01"
    assert phases(study) == ["ready", "running", "completed"]
    dose = outcome.dose
    assert dose.minutes == pytest.approx(PLANNED_MIN, abs=0.06)
    assert 0.6 * PLANNED_MIN < dose.moving_minutes <= dose.minutes
    assert dose.distance_m is not None
    assert dose.mean_speed_m_s is not None
    assert dose.mean_speed_m_s == pytest.approx(
        dose.distance_m / (dose.moving_minutes * 60), rel=0.01
    )
    (sealed,) = kinds(study, "session.telemetry_sealed")
    folder = study.folder / sealed["folder"]
    stream = sealed["files"][0]["name"].removesuffix(".parquet")
    table = open_sealed(folder, stream, sha256=sealed["manifest_sha256"])
    assert table.num_rows == sealed["files"][0]["rows"]
    assert sealed["files"][0]["gaps"] == 0
    schema.validate(table.to_pandas(), lazy=True)
    (closed,) = kinds(study, "session.closed")
    assert closed["dose"] == dose.model_dump(mode="json")
    assert closed["dose_source"] == "telemetry"
    assert study.state.participants[USUBJID].sessions[1].status == "completed"
    assert study.record.verify().ok
    if rate == "full":  # 100 Hz, at least 24 channels
        assert table.num_columns - 3 >= 24
        assert set(np.diff(table["t_device_ns"].to_numpy())) == {10_000_000}
        assert table.num_rows >= PLANNED_MIN * 60 * 100


def test_every_command_is_requested_and_then_accepted(study: Study) -> None:
    run(study, rate="stride")
    commands = kinds(study, "session.command")
    assert [c["phase"] for c in commands] == ["requested", "accepted"] * (len(commands) // 2)
    for asked, taken in zip(commands[::2], commands[1::2], strict=True):
        assert asked["number"] == taken["number"]
        assert asked["setpoints"] == taken["setpoints"]


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_the_same_seed_gives_the_same_record_and_bytes(
    make_study: Callable[..., Study], rate: Any
) -> None:
    def events(seed: int) -> list[Any]:
        study = make_study()
        run(study, rate=rate, device_options={"seed": seed})
        return [
            (e.kind, e.at, e.payload) for e in study.record.read() if e.kind.startswith("session")
        ]

    first = events(3)
    assert first == events(3)
    assert rate == "full" or first != events(4)


def test_hold_and_resume_deliver_the_same_dose_as_without(
    make_study: Callable[..., Study],
) -> None:
    plain = run(make_study(), rate="stride")
    script = [Planned(20.0, Hold("operator")), Planned(40.0, Resume("rest taken"))]
    study = make_study()
    paused = run(study, rate="stride", operator=ScriptedOperator(script))
    assert paused.completed
    assert phases(study) == ["ready", "running", "pausing", "held", "running", "completed"]
    resumed = [e for e in study.record.read(kinds=["session.transition"]) if e.reason]
    assert [e.reason for e in resumed] == ["rest taken"]
    # two more ramps are in it, and nothing of the 20 s of standing
    assert paused.dose.minutes == pytest.approx(plain.dose.minutes, abs=0.08)
    assert paused.dose.moving_minutes <= plain.dose.moving_minutes + 0.08


@pytest.mark.parametrize(
    ("who", "rate"), [("operator", "full"), ("operator", "stride"), ("participant", "stride")]
)
def test_stop_ends_the_session(study: Study, who: Any, rate: Any) -> None:
    operator = ScriptedOperator([Planned(30.0, Stop(who, "asked"))])
    outcome = run(study, operator=operator, rate=rate)
    assert (outcome.status, outcome.code) == (f"stopped_{who}", "asked")
    assert outcome.dose.minutes < 0.65
    assert phases(study)[-1] == f"stopped_{who}"
    table = open_sealed(study.folder / "telemetry" / f"{USUBJID}-S01", outcome_stream(rate))
    assert table["belt_speed_m_s"].to_numpy()[-1] < 0.05  # recorded until the belt stood


def outcome_stream(rate: str) -> str:
    return "motion" if rate == "full" else "stride"


@pytest.mark.parametrize(
    ("fault", "rate", "status", "code"),
    [
        ("overload", "stride", "device_fault", "fault-202"),
        ("estop", "stride", "device_fault", "estop_physical-301"),
        ("freeze", "full", "stopped_safety", "telemetry-gap"),
    ],
)
def test_faults_of_the_device_end_the_session(
    study: Study, fault: str, rate: Any, status: str, code: str
) -> None:
    outcome = run(study, rate=rate, device_options={"faults": [{"at_s": 25.0, "kind": fault}]})
    assert (outcome.status, outcome.code) == (status, code)
    assert study.state.open_sessions == []


def test_a_short_gap_is_counted_and_a_spasm_holds(study: Study) -> None:
    faults = [{"at_s": 12.0, "kind": "gap", "rows": 40}, {"at_s": 25.0, "kind": "spasm"}]
    script = [Planned(35.0, Resume("sign checked"))]
    outcome = run(study, device_options={"faults": faults}, operator=ScriptedOperator(script))
    assert outcome.completed
    (sealed,) = kinds(study, "session.telemetry_sealed")
    assert sealed["files"][0]["gaps"] == 1
    pausing = next(p for p in kinds(study, "session.transition") if p["new"] == "pausing")
    assert (pausing["cause"], pausing["code"]) == ("device", "device_held-401")


def test_killing_the_device_process_ends_as_a_device_fault_and_loses_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[DeviceLink] = []
    begin = DeviceLink.__init__

    def remember(self: DeviceLink, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        links.append(self)

    monkeypatch.setattr(DeviceLink, "__init__", remember)
    seen: list[int] = []

    def kill(progress: Progress) -> None:
        seen.append(progress.rows)
        if progress.t_s > 20 and links:
            os.kill(links.pop().pid, signal.SIGKILL)

    outcome = run(study, progress=kill)
    assert (outcome.status, outcome.code) == ("device_fault", "link_lost")
    table = open_sealed(study.folder / "telemetry" / f"{USUBJID}-S01", "motion")
    assert table.num_rows == max(seen)
    assert outcome.dose.minutes == pytest.approx(20.5 / 60, abs=0.02)
    assert not list((study.folder / "telemetry").rglob("*.tkj"))


def test_progress_and_prompts_reach_the_next_session(study: Study) -> None:
    first = run(study, rate="stride", operator=ScriptedOperator(answers={"rpe": 10.0, "trips": 0}))
    assert first.completed
    adapted = kinds(study, "session.adapted")
    assert {a["parameter"] for a in adapted if a["accepted"]} == {"speed_m_s"}
    last = [a["proposed"] for a in adapted][-1]
    run(study, 2, day=2, rate="stride")
    second = [c for c in kinds(study, "session.command") if c["session"].endswith("S02")]
    walk = next(c for c in second if c["block"] == "walk-1")
    assert walk["setpoints"]["speed_m_s"] == last


def test_screening_stops_a_session_before_the_device_is_armed(study: Study) -> None:
    operator = ScriptedOperator(answers={"systolic_mmhg": 190.0})
    outcome = run(study, operator=operator, rate="stride")
    assert (outcome.status, outcome.code) == ("stopped_safety", "bp-high-rest")
    assert outcome.dose.minutes == 0
    assert kinds(study, "session.command") == []


# --- guards ----------------------------------------------------------------------------------


def test_guards(make_study: Callable[..., Study]) -> None:
    study = make_study()
    before = study.record.head
    with pytest.raises(UnknownName):
        run_session(study, "SCI-RAGT-01-999", number=1, day=1)
    with pytest.raises(OutOfRange):
        run(study, 99)
    with pytest.raises(OutOfWindow, match="due on day 1"):
        run(study, day=60)
    with pytest.raises(UnknownName, match="nosuch"):
        run(study, device="nosuch")
    with pytest.raises(DeviceError, match="not calibrated"):
        run(study, rate="stride", device_options={"calibrated_on": None})
    assert study.record.head == before
    assert not list((study.folder / "telemetry").iterdir())
    run(study, rate="stride")
    with pytest.raises(Duplicate):
        run(study)
    discontinue_training(study, USUBJID, day=5, code="burden")
    with pytest.raises(OutOfOrder):
        run(study, 2, day=2)
    withdraw(study, USUBJID, day=6, code="burden")
    with pytest.raises(OutOfOrder):
        run(study, 2, day=2)


def test_a_reason_lets_a_session_run_outside_its_window_as_a_deviation(study: Study) -> None:
    assert run(study, day=60, rate="stride", reason="holiday").completed
    (event,) = study.record.read(kinds=["deviation.raised"])
    assert event.payload["category"] == "session_window"
    assert event.reason == "holiday"


def test_a_device_with_narrower_limits_is_refused(make_study: Callable[..., Study]) -> None:
    limits = [
        {"parameter": "speed_m_s", "minimum": 0.0, "maximum": 0.694, "rate_per_s": 0.1},
        {"parameter": "support_fraction", "minimum": 0.0, "maximum": 0.6, "rate_per_s": 0.05},
        {"parameter": "guidance", "minimum": 0.4, "maximum": 1.0, "rate_per_s": 0.1},
    ]
    study = make_study(limits=limits)
    with pytest.raises(OutOfRange, match="support_fraction"):
        run(study, rate="stride", device_options={"weight_kg": 200.0})
    assert kinds(study, "session.opened") == []


def test_a_second_active_session_is_refused(study: Study) -> None:
    opened = SessionOpened(
        session=f"{USUBJID}-S01",
        number=1,
        day=1,
        protocol="x",
        device={},
        planned_minutes=1,
        therapist="owner",
    )
    study.append(opened, subject=USUBJID)
    with pytest.raises(OutOfOrder, match="still open"):
        run(study, 2, day=2)
    recover(study)
    assert run(study, 2, day=2, rate="stride").completed


def test_only_roles_that_may_run_sessions_do(study: Study) -> None:
    study.add_user("blind", role="assessor")
    with pytest.raises(NotPermitted):
        run(study.as_user("blind"))


def test_the_conventional_arm_is_not_for_the_device(tmp_path: Path) -> None:
    from trialkit._content import find_content
    from trialkit.participants import assess, consent, enrol, hold_visit, randomise
    from trialkit.record.sign import KeyStore

    study = Study.create(
        tmp_path / "trial",
        protocols=[find_content("protocols", f"stroke-{a}") for a in ("robotic", "conventional")],
        actor="owner",
        keys=KeyStore(tmp_path / "keys"),
        seed=1,
    )
    study.add_user("rater", role="assessor")
    refused = 0
    for n in range(1, 5):
        usubjid = f"STROKE-RAGT-01-{n:03d}"
        enrol(study, usubjid, site="01")
        consent(study, usubjid, version="1")
        with pytest.raises(OutOfOrder, match="randomised"):
            run_session(study, usubjid, number=1, day=1)
        hold_visit(study, usubjid, "BL", day=0)
        items = {"TIMED_M": 6.0, "C1_S": 12.0, "C2_S": 12.0, "F1_S": 9.0, "F2_S": 9.0}
        assess(study.as_user("rater"), usubjid, visit="BL", instrument="10MWT", items=items)
        find_eligible(study, usubjid)
        randomise(study, usubjid)
        if study.arm_of(usubjid) == "CONVENTIONAL":
            refused += 1
            with pytest.raises(WrongArm):
                run_session(study, usubjid, number=1, day=1)
    assert 1 <= refused <= 3  # blocks of four and six
    study.close()


def test_planned_days() -> None:
    from trialkit._content import find_content
    from trialkit.protocol import load_protocol

    three = load_protocol(find_content("protocols", "stroke-robotic")).schedule
    five = load_protocol(find_content("protocols", "sci-robotic-30x5")).schedule
    assert [planned_day(three, n) for n in (1, 2, 3, 4, 36)] == [1, 3, 5, 8, 82]
    assert [planned_day(five, n) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 3, 5, 6, 8]


# --- disks, crashes, signals -------------------------------------------------------------------


def test_a_full_disk_stops_the_device_and_the_session_is_recovered(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[int] = []
    halt = DeviceLink.stop
    monkeypatch.setattr(
        DeviceLink, "stop", lambda self, category: (stops.append(category), halt(self, category))[1]
    )
    append = JournalWriter.append

    def full(self: JournalWriter, *columns: Any) -> None:
        append(self, *columns)
        if self.rows >= 2000:
            self.sync()
            raise StorageRefused("the disk is full.", remedy="Free it.")

    monkeypatch.setattr(JournalWriter, "append", full)
    with pytest.raises(StorageRefused):
        run(study)
    assert stops[0] == 1
    monkeypatch.undo()
    with pytest.raises(RefusedError):
        run(study, 2, day=2)
    (outcome,) = recover(study)
    assert outcome.status == "recovered"
    (sealed,) = kinds(study, "session.telemetry_sealed")
    assert sealed["files"][0]["rows"] >= 2000
    assert recover(study) == []


def test_a_failed_batch_at_stride_level_leaves_nothing_and_can_run_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study.record.head
    monkeypatch.setattr(
        "trialkit.session.runner.delivered", lambda *a, **k: (_ for _ in ()).throw(KeyError("x"))
    )
    with pytest.raises(KeyError):
        run(study, rate="stride")
    assert study.record.head == before
    monkeypatch.undo()
    assert run(study, rate="stride").completed
    names = sorted(p.name for p in (study.folder / "telemetry").iterdir())
    assert names == [f"{USUBJID}-S01", f"{USUBJID}-S01.orphan-1"]


def test_ctrl_c_stops_the_device_first(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    halt, append = DeviceLink.stop, Study.append
    monkeypatch.setattr(
        DeviceLink, "stop", lambda self, category: (order.append("stop"), halt(self, category))[1]
    )

    def noted(self: Study, payload: Any, **options: Any) -> Any:
        order.append(payload.kind)
        return append(self, payload, **options)

    monkeypatch.setattr(Study, "append", noted)
    study = make_study(real=True)
    running = threading.Event()

    def interrupt() -> None:
        running.wait(30)
        time.sleep(0.7)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    outcome = run(study, progress=lambda p: running.set() if p.speed_m_s > 0.02 else None)
    assert (outcome.status, outcome.code) == ("stopped_operator", "interrupt")
    assert outcome.interrupted
    last = [at for at, what in enumerate(order) if what == "session.transition"][-1]
    assert "stop" in order[last - 2 : last]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_a_session_that_nobody_resumes_is_stopped_in_the_end(study: Study, rate: Any) -> None:
    outcome = run_session(
        study,
        USUBJID,
        number=1,
        day=1,
        rate=rate,
        device_options={"faults": [{"at_s": 20, "kind": "spasm"}]},
    )
    assert (outcome.status, outcome.code) == ("stopped_operator", "held_long")
    assert 0 < outcome.dose.minutes < 1
