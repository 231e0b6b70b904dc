"""Gait measures of a session, from its sealed telemetry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from trialkit._canonical import sha256_file
from trialkit.cli.whole import app
from trialkit.errors import (
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    TelemetryDamaged,
    UnknownName,
    UsageError,
)
from trialkit.gait import strides_from_telemetry
from trialkit.participants import consent, enrol
from trialkit.record.sealing import open_sealed
from trialkit.session import run_session
from trialkit.session.gait import export_gait, paretic_side, session_gait
from trialkit.session.operator import AttendingOperator
from trialkit.study import Study
from trialkit.study.accounts import require_login, set_password

WORD = "four dry wooden spoons"
USUBJID = "SCI-RAGT-01-001"
WALKED = f"{USUBJID}-S01"


def train(study: Study, *, number: int = 1, **options: Any) -> str:
    done = run_session(
        study, USUBJID, number=number, day=number, operator=AttendingOperator("owner"), **options
    )
    assert done.completed
    return done.session


@pytest.fixture
def trained(study: Study) -> Study:
    study.add_user("asta", role="assessor")
    study.add_user("stan", role="statistician")
    train(study, rate="stride", device_options={"seed": 5, "ability": 0.5})
    return study


def test_full_rate_session_by_its_forces(study: Study) -> None:
    session = train(study, device_options={"seed": 5})
    found = session_gait(study, session, paretic="right")
    table = open_sealed(study.folder / "telemetry" / session, "motion").to_pandas()
    made = strides_from_telemetry(table, paretic="right")
    assert found.computed
    assert found.steps == made.steps
    pd.testing.assert_frame_equal(found.table[list(made.table)], made.table)
    dose = study.state.sessions[session].dose
    assert dose is not None
    assert abs(found.steps - (dose["steps"] or 0)) <= 2
    covered = found.table["stride_time_s"].sum() / 60.0
    assert covered == pytest.approx(dose["moving_minutes"], rel=0.15)
    assert set(found.missing) == {"minimum toe clearance", "EMG envelope"}


def test_stride_session_as_the_device_reports(trained: Study) -> None:
    found = session_gait(trained, WALKED)
    table = open_sealed(trained.folder / "telemetry" / WALKED, "stride").to_pandas()
    whole = table[table["stride_time_s"] > 0]
    assert (found.steps, found.computed) == (2 * len(whole), False)
    assert found.table["toe_clearance_m"].to_numpy() == pytest.approx(
        whole["toe_clearance_m"].to_numpy()
    )
    assert "the paretic side is not known" in found.missing["stance symmetry"]


def test_the_paretic_side_comes_from_the_participant(trained: Study) -> None:
    assert paretic_side({}) is None
    assert paretic_side({"paretic_side": " Left"}) == "left"
    assert paretic_side({"paretic_side": "R"}) == "right"
    with pytest.raises(OutOfRange, match="both"):
        paretic_side({"paretic_side": "both"})


def test_refusals(trained: Study) -> None:
    for blinded in ("asta", "stan"):
        with pytest.raises(NotPermitted):
            session_gait(trained.as_user(blinded), WALKED)
    with pytest.raises(UnknownName):
        session_gait(trained, f"{USUBJID}-S09")
    other = str(enrol(trained, site="01").subject)
    consent(trained, other, version="1")
    from trialkit.participants import miss_session

    miss_session(trained, other, number=1, day=1, code="ILL")
    with pytest.raises(OutOfOrder, match="no sealed telemetry"):
        session_gait(trained, f"{other}-S01")


def test_telemetry_that_was_altered_is_refused(trained: Study) -> None:
    path = trained.folder / "telemetry" / WALKED / "stride.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    with pytest.raises(TelemetryDamaged):
        session_gait(trained, WALKED)


def test_verb_writes_strides_and_says_what_is_missing(trained: Study, tmp_path: Path) -> None:
    trained.close()
    common = ["gait", WALKED, "--study", str(trained.folder), "--as", "owner", "--paretic", "left"]
    out = tmp_path / "strides.csv"
    shown = CliRunner().invoke(app, [*common, "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    for word in ("as the device reports", "not to be had", "loading share", "definitions"):
        assert word in shown.output
    data = json.loads(CliRunner().invoke(app, [*common, "--json"]).output)
    written = pd.read_csv(out)
    assert len(written) == data["strides"] > 10
    means = {row["measure"]: row["mean"] for row in data["measures"]}
    for name in ("cadence_steps_min", "step_length_symmetry", "toe_clearance_m"):
        assert written[name].mean() == pytest.approx(means[name], rel=1e-4)
    assert "EMG envelope" in data["missing"]
    wrong = CliRunner().invoke(app, [*common, "--segment", "thigh_m=0.4"])
    assert isinstance(wrong.exception, UsageError)
    half = CliRunner().invoke(app, [*common[:-1], "both"])
    assert isinstance(half.exception, UsageError)


@pytest.mark.requirement("R05")
def test_strides_that_leave_the_record_are_an_event(trained: Study, tmp_path: Path) -> None:
    out = tmp_path / "strides.csv"
    found = export_gait(trained, WALKED, out, paretic="left")
    event = list(trained.record.read())[-1]
    assert (event.kind, event.subject) == ("session.exported", USUBJID)
    assert event.payload["files"] == {"strides.csv": sha256_file(out)}
    assert len(pd.read_csv(out)) == len(found.table)
    session_gait(trained, WALKED)  # what is only shown is none
    assert list(trained.record.read())[-1] == event


def test_where_logins_are_required_strides_leave_with_the_permission(
    trained: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    out = tmp_path / "strides.csv"
    trained.add_user("thea", role="therapist")
    set_password(trained, WORD)
    set_password(trained.as_user("thea"), WORD)
    require_login(trained, password=WORD)
    with pytest.raises(NotPermitted, match="export"):
        export_gait(trained.as_user("thea", password=WORD), WALKED, out)
    assert not out.exists()
    session_gait(trained.as_user("thea", password=WORD), WALKED)
    export_gait(trained.as_user("owner", password=WORD), WALKED, out)
    assert out.exists()


@pytest.mark.slow
def test_a_device_with_forces_and_strides_of_its_own(study: Study) -> None:
    pytest.importorskip("mujoco")
    session = train(study, device="mujoco", device_options={"seed": 5})
    found = session_gait(study, session)
    assert found.computed
    assert found.steps is not None
    assert found.steps > 30
    told = found.summary.set_index("measure")
    assert told.loc["toe_clearance_m", "definition"].endswith("in stride")
    reported = open_sealed(study.folder / "telemetry" / session, "stride").to_pandas()
    own = reported.loc[reported["stride_time_s"] > 0, "stride_time_s"].median()
    assert found.table["stride_time_s"].median() == pytest.approx(own, rel=0.05)
