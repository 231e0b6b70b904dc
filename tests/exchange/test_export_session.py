"""Telemetry in the formats of others, read back with their own readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.errors import Duplicate, NotPermitted, StorageRefused, TelemetryDamaged, UnknownName
from trialkit.exchange import export_session
from trialkit.exchange.telemetry import c3d
from trialkit.exchange.telemetry.bids import kind_of
from trialkit.participants import consent, enrol
from trialkit.record import KeyStore
from trialkit.record.sealing import open_sealed
from trialkit.session import run_session
from trialkit.session.operator import Planned, ScriptedOperator
from trialkit.session.words import Stop
from trialkit.study import Study


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, str, pd.DataFrame]]:
    """A study with one session on the device, and its rows."""
    folder = tmp_path_factory.mktemp("trained")
    protocol = find_content("protocols", "sci-robotic-30x5")
    study = Study.create(
        folder / "study",
        protocols=[protocol],
        actor="olga",
        clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
        keys=KeyStore(folder / "keys"),
    )
    for user, role in (("asta", "assessor"), ("stan", "statistician"), ("mona", "monitor")):
        study.add_user(user, role=role)
    usubjid = str(enrol(study, site="01").subject)
    consent(study, usubjid, version="1")
    outcome = run_session(
        study,
        usubjid,
        number=1,
        day=1,
        operator=ScriptedOperator([Planned(400.0, Stop())], "olga"),
        device_options={"seed": 3, "faults": [{"at_s": 20, "kind": "gap", "rows": 30}]},
    )
    table = open_sealed(study.folder / "telemetry" / outcome.session, "motion").to_pandas()
    assert len(table) > 33_000
    yield study, outcome.session, table
    study.close()


def test_bids_has_its_columns_and_the_same_values(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path
) -> None:
    study, session, table = trained
    done = export_session(study, session, format="bids", out=tmp_path / "bids")
    root = done.folder
    described = json.loads((root / "dataset_description.json").read_text())
    assert described["BIDSVersion"]
    assert described["Name"]
    (file,) = root.rglob("*tracksys-motion_motion.tsv")
    subject, visit, kind, name = file.relative_to(root).parts
    assert (subject[:4], visit[:4], kind) == ("sub-", "ses-", "motion")
    assert name.startswith(f"{subject}_{visit}_task-gaittraining_tracksys-motion")
    channels = pd.read_csv(
        file.with_name(name.replace("_motion.tsv", "_channels.tsv")),
        sep="\t",
        keep_default_na=False,
    )
    assert list(channels) == ["name", "component", "type", "tracked_point", "units"]
    assert set(channels["type"]) <= {"LATENCY", "JNTANG", "MISC"}
    rows = pd.read_csv(file, sep="\t", header=None, names=list(channels["name"]))
    assert len(rows) == len(table)
    shown = rows["knee_angle_l"].to_numpy()
    assert channels.set_index("name").loc["knee_angle_l", "units"] == "deg"
    assert np.allclose(np.deg2rad(shown), table["knee_angle_l"], rtol=0, atol=1e-8)
    others = [n for n in channels["name"] if n in table and "_angle_" not in n]
    assert len(others) > 20
    for column in others:
        assert np.array_equal(rows[column].to_numpy(np.float32), table[column].to_numpy(np.float32))
    latency = (table["t_device_ns"] - table["t_device_ns"].iloc[0]) / 1e9
    assert np.allclose(rows["latency"], latency, rtol=0, atol=1e-6)
    sidecar = json.loads(file.with_suffix(".json").read_text())
    assert sidecar["SamplingFrequency"] == 100.0
    assert sidecar["RecordingType"] == "discontinuous"  # rows were lost
    assert sidecar["TrackedPointsCount"] == 6
    for key in ("TaskName", "TrackingSystemName", "Manufacturer", "MotionChannelCount"):
        assert sidecar[key]


def test_c3d_opens_in_its_reader_with_the_same_values(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path
) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    study, session, table = trained
    done = export_session(study, session, format="c3d", out=tmp_path / "c3d")
    file = ezc3d.c3d(str(done.folder / f"{session}_motion.c3d"))
    labels = file["parameters"]["ANALOG"]["LABELS"]["value"]
    units = dict(zip(labels, file["parameters"]["ANALOG"]["UNITS"]["value"], strict=True))
    n = int(file["parameters"]["TRIALKIT"]["SAMPLES"]["value"][0])
    assert n == len(table)
    assert file["parameters"]["ANALOG"]["RATE"]["value"][0] == 100.0
    assert file["data"]["analogs"].shape[2] / file["data"]["points"].shape[2] == 2
    for at, name in enumerate(labels):
        got = file["data"]["analogs"][0, at, :n].astype(np.float32)
        assert np.array_equal(got, table[name].to_numpy(np.float32), equal_nan=True), name
    assert units["knee_angle_l"] == "rad"
    assert np.isnan(file["data"]["analogs"][0, 0, n:]).all()


def test_c3d_keeps_its_frames_below_its_limit(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    study, session, table = trained
    monkeypatch.setattr(c3d, "MAX_FRAMES", 7_000)
    done = export_session(study, session, format="c3d", out=tmp_path / "c3d")
    file = ezc3d.c3d(str(done.folder / f"{session}_motion.c3d"))
    assert file["data"]["points"].shape[2] <= 7_000
    at = list(file["parameters"]["ANALOG"]["LABELS"]["value"]).index("belt_speed_m_s")
    got = file["data"]["analogs"][0, at, : len(table)].astype(np.float32)
    assert np.array_equal(got, table["belt_speed_m_s"].to_numpy(np.float32))


def test_mcap_opens_in_its_reader_with_the_same_values(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path
) -> None:
    reader = pytest.importorskip("mcap.reader")
    study, session, table = trained
    done = export_session(study, session, format="mcap", out=tmp_path / "mcap")
    columns: dict[str, list[Any]] = {}
    with (done.folder / f"{session}.mcap").open("rb") as stream:
        opened = reader.make_reader(stream, validate_crcs=True)
        for schema, channel, message in opened.iter_messages(topics=["/motion"]):
            assert schema.encoding == "jsonschema"
            data = json.loads(message.data)
            assert message.log_time == data["t_host_ns"][-1]
            for name, values in data.items():
                columns.setdefault(name, []).extend(values)
            units = json.loads(channel.metadata["units"])
    assert units["grf_vertical_l"] == "N"
    assert set(columns) == set(table.columns)
    for name, values in columns.items():
        assert np.array_equal(np.array(values, table[name].dtype), table[name].to_numpy()), name


def test_joint_angles_are_named_as_bids_names_them() -> None:
    assert kind_of("hip_angle_r", "rad") == ("JNTANG", "right hip", "deg")
    assert kind_of("knee_motor_torque_l", "N.m") == ("MISC", "left knee", "N.m")
    assert kind_of("guidance", "1") == ("MISC", "n/a", "n/a")


def test_who_may_not_see_the_arm_may_not_export(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path
) -> None:
    study, session, _ = trained
    for user in ("asta", "stan", "mona"):
        with pytest.raises(NotPermitted):
            export_session(study.as_user(user), session, format="bids", out=tmp_path / user)
    with pytest.raises(NotPermitted):  # nor learn whether the session is there
        export_session(study.as_user("asta"), "none", format="bids", out=tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_leave_nothing(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, session, _ = trained
    with pytest.raises(UnknownName, match="session"):
        export_session(study, "X-S99", format="bids", out=tmp_path / "a")
    with pytest.raises(UnknownName, match="format"):
        export_session(study, session, format="xlsx", out=tmp_path / "a")
    (tmp_path / "there").mkdir()
    with pytest.raises(Duplicate):
        export_session(study, session, format="bids", out=tmp_path / "there")

    def full(self: Path, *args: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageRefused, match="No space"):
        export_session(study, session, format="bids", out=tmp_path / "a")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_altered_telemetry_is_not_exported(
    trained: tuple[Study, str, pd.DataFrame], tmp_path: Path
) -> None:
    study, session, _ = trained
    path = study.folder / "telemetry" / session / "motion.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    try:
        with pytest.raises(TelemetryDamaged):
            export_session(study, session, format="mcap", out=tmp_path / "a")
    finally:
        path.write_bytes(whole)
    assert list(tmp_path.iterdir()) == []


def test_the_verb(trained: tuple[Study, str, pd.DataFrame], tmp_path: Path) -> None:
    study, session, _ = trained
    program = "from trialkit.cli import main; main()"
    words = ["export-session", session, "--study", str(study.folder), "--as", "olga"]
    run = subprocess.run(
        [sys.executable, "-c", program, *words, "--format", "mcap", "--out", "out", "--json"],
        cwd=tmp_path,
        env={**os.environ, "TRIALKIT_KEYS": str(study.folder.parent / "keys")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert list(told["files"]) == [f"{session}.mcap"]
