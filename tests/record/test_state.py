"""The state: a fold, so that the exported record alone gives it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import WALK, enrolled, make_study, randomised

from trialkit.participants import (
    assess,
    discontinue_training,
    exclude,
    hold_visit,
    miss_session,
    miss_visit,
    report_ae,
    return_diary,
    withdraw,
)
from trialkit.record import StudyState, read_export
from trialkit.record.kinds import (
    AnalysisRun,
    Dose,
    PlanLocked,
    SealedFile,
    SessionClosed,
    SessionOpened,
    SnapshotBuilt,
    TelemetrySealed,
)
from trialkit.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def lived(study: Study) -> list[str]:
    """Let four people go their ways."""
    people = [randomised(study), randomised(study), enrolled(study), enrolled(study, site="02")]
    first, second, third, _ = people
    hold_visit(study, first, "W4", day=40, reason="strike")
    assess(study.as_user("asta"), first, visit="W4", instrument="10MWT", items=WALK)
    miss_visit(study, second, "W4", code="ILL")
    return_diary(study, first, diary="FALL", from_day=0, to_day=27, entries=[{"day": 4}])
    report_ae(
        study,
        first,
        term="fall",
        category="fall",
        day=4,
        severity="severe",
        criterion="hospitalisation",
    )
    miss_session(study, first, number=1, day=1, code="ILL")
    discontinue_training(study, second, day=3, code="PAIN")
    withdraw(study, second, day=9, code="MOVED")
    exclude(study, third, code="SPEED")
    return people


@pytest.mark.requirement("R07")
def test_exported_record_gives_the_state_back(study: Study, tmp_path: Path) -> None:
    lived(study)
    study.record.export(tmp_path / "record.jsonl")
    rebuilt = StudyState(read_export(tmp_path / "record.jsonl"))
    assert vars(rebuilt) == vars(study.state)
    assert (rebuilt.seq, rebuilt.hash) == study.record.head


def test_what_the_state_says(study: Study) -> None:
    first, second, third, fourth = lived(study)
    state = study.state
    assert [state.participants[p].status for p in (first, second, third, fourth)] == [
        "randomised",
        "withdrawn",
        "excluded",
        "consented",
    ]
    assert state.visits_held == {"BL": 2, "W4": 1}
    who = state.participants[first]
    assert not who.visits["W4"].in_window
    assert who.assessments["W4", "10MWT"].scores["WS10C"] == 0.5
    assert (who.diaries, who.diary_entries) == ({"FALL": [(0, 27)]}, 1)
    assert (who.adverse_events, who.serious_events) == (1, 1)
    assert state.participants[second].visits["W4"].held is False
    assert state.sessions[f"{first}-S01"].status == "missed"
    assert state.counts["participant.randomised"] == 2
    assert state.users["stan"].role == "statistician"


def test_session_from_open_to_closed(study: Study) -> None:
    usubjid = randomised(study)
    session = f"{usubjid}-S01"
    opened = SessionOpened(
        session=session,
        number=1,
        day=1,
        protocol="small-robotic",
        device={"serial": "SIM-1"},
        planned_minutes=10,
        therapist="theo",
    )
    theo = study.as_user("theo")
    theo.append(opened, subject=usubjid)
    assert [s.session for s in study.state.open_sessions] == [session]
    sealed = SealedFile(name="a.parquet", sha256="0" * 64, rows=1, first_seq=1, last_seq=1, gaps=0)
    theo.append(
        TelemetrySealed(
            session=session, folder="telemetry/x", manifest_sha256="0" * 64, files=[sealed]
        ),
        subject=usubjid,
    )
    dose = Dose(minutes=9.5, moving_minutes=9.0, steps=500)
    theo.append(
        SessionClosed(
            session=session, number=1, day=1, status="completed", dose=dose, dose_source="telemetry"
        ),
        subject=usubjid,
    )
    assert study.state.open_sessions == []
    done = study.participant(usubjid).sessions[1]
    assert done is study.state.sessions[session]
    assert (done.status, done.sealed, done.dose) == ("completed", True, dose.model_dump())


def test_lock_snapshot_and_results(study: Study) -> None:
    stan = study.as_user("stan")
    lock = PlanLocked(
        plan_id="p",
        plan="0" * 64,
        file="plans/p.sap.yaml",
        methods={},
        schemas={},
        lock="1" * 64,
        signatures=[],
    )
    event = stan.append(lock)
    stan.append(SnapshotBuilt(snapshot="2" * 64, folder="snapshots/2", upto_seq=9, unblinded=False))
    stan.append(
        AnalysisRun(results="3" * 64, folder="results/3", plan_lock="1" * 64, snapshot="2" * 64)
    )
    assert (study.state.lock, study.state.lock_seq) == (lock, event.seq)
    assert study.state.last_snapshot is not None
    assert study.state.last_snapshot["folder"] == "snapshots/2"
    assert study.state.last_results is not None
    assert study.state.last_results["results"] == "3" * 64
    assert study.status().lock == "1" * 64
