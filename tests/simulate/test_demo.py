"""The demonstration, small: one run of the whole line, and what must be true of it.

The run is made once for this file. Its snapshot is then made again from the same seed in
another process, with numpy's vector instructions switched off.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from trialkit.cli._line import WRITTEN
from trialkit.cli.whole import app
from trialkit.data import Snapshot, collect, derive, snapshots
from trialkit.errors import RefusedError, UnknownName, UsageError
from trialkit.evidence import verify_package
from trialkit.record.sealing import open_sealed
from trialkit.session import recover
from trialkit.simulate.frames import Setting, frames, people, subjects
from trialkit.simulate.trial import OWNER
from trialkit.simulate.worlds import WORLDS
from trialkit.study import Study

SEED, PEOPLE, FULL_RATE = 5, 8, 1
WORLD = "harm"
OPTIONS = ["--world", WORLD, "--seed", str(SEED), "--participants", str(PEOPLE)]


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder of the demonstration, and what ``--json`` printed."""
    out = tmp_path_factory.mktemp("line") / "demo"
    result = demo(*OPTIONS, "--full-rate", str(FULL_RATE), "--out", str(out), "--json")
    assert result.exception is None, result.output
    return out, json.loads(result.stdout)


@pytest.fixture(scope="module")
def study(done: tuple[Path, dict[str, Any]]) -> Study:
    return Study.open(done[0] / "study", write=False, actor="trial-office")


def test_leaves_what_it_says(done: tuple[Path, dict[str, Any]]) -> None:
    out, said = done
    assert sorted(path.name for path in out.iterdir()) == sorted(WRITTEN)
    assert (out / "report.html").read_bytes()[:15].lower().startswith(b"<!doctype html")
    assert (out / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert (out / "report.docx").read_bytes()[:2] == b"PK"
    assert verify_package(out / "evidence.zip", said["fingerprint"]) == []
    assert {row["analysis"] for row in said["comparisons"]} >= set(said["truth"])
    assert said["truth"]["speed"] < 0


def test_states_power_before_it_starts(done: tuple[Path, dict[str, Any]]) -> None:
    power = done[1]["power"]
    assert "Falls are underpowered" in power["remarks"][0]
    assert power["endpoints"][0]["analysis"] == "speed"


def test_everybody_came_through_the_record(study: Study) -> None:
    everybody = people(SEED, PEOPLE)
    counts = Counter(event.kind for event in study.record.read())
    assert counts["participant.enrolled"] == len(everybody)
    assert counts["participant.randomised"] == PEOPLE
    assert counts["participant.excluded"] == len(everybody) - PEOPLE
    assert counts["session.opened"] == counts["session.closed"] > 20
    assert counts["session.conventional"] > 20
    assert counts["session.missed"] > 0
    assert counts["plan.locked"] == counts["allocation.revealed"] == 1
    assert study.record.verify().ok
    assert not study.state.open_sessions


def test_full_rate_sessions_are_as_many_as_asked(study: Study) -> None:
    streams = Counter(
        file["name"].split(".")[0]
        for event in study.record.read(kinds=["session.telemetry_sealed"])
        for file in event.payload["files"]
    )
    assert streams["motion"] == FULL_RATE
    assert streams["stride"] > 20
    event = next(
        event
        for event in study.record.read(kinds=["session.telemetry_sealed"])
        if event.payload["files"][0]["name"].startswith("motion")
    )
    file = event.payload["files"][0]
    assert file["rows"] > 100 * 60 * 25  # 30 minutes of walking at 100 Hz
    assert file["gaps"] == 0
    table = open_sealed(study.folder / event.payload["folder"], "motion")
    assert table.num_columns >= 24


def test_every_session_replays_identically(done: tuple[Path, dict[str, Any]], study: Study) -> None:
    where = ["--study", str(done[0] / "study"), "--as", OWNER, "--json"]
    result = CliRunner().invoke(app, ["replay", "--all", *where])
    assert result.exit_code == 0, result.output
    replayed = json.loads(result.stdout)["replayed"]
    assert len(replayed) == study.state.counts["session.opened"]
    assert all(one["same"] and one["complete"] and one["same_model"] for one in replayed)
    assert all(one["events"] > 0 and one["setpoints"] > 0 for one in replayed)


def test_frames_made_directly_are_those_of_the_record(study: Study) -> None:
    """Cell by cell: so that operating characteristics are those of the real line."""
    derived = derive(collect(study, mask=False), study.design, study.protocols)
    arms = {
        usubjid: study.arm_of(usubjid)
        for usubjid, who in study.state.participants.items()
        if who.randomised
    }
    setting = Setting.of(sorted((study.folder / "protocols").glob("*.yaml")))
    made = frames(setting, subjects(setting, WORLDS[WORLD], SEED, PEOPLE, arms=arms))
    assert set(made) == {"ADSL", "ADFT", "ADQS", "ADFALL", "ADTTE"}
    for name, direct in made.items():
        entered = derived[name]
        if name == "ADSL":
            entered = entered[entered["RANDFL"] == "Y"]
        hidden = {"ARMCD", "TRT01P"}  # the arms of an unrevealed collection are hidden
        columns = [column for column in direct.columns if column not in hidden]
        assert set(columns) <= set(entered.columns)
        key = [c for c in ("USUBJID", "PARAMCD", "AVISITN", "EVSEQ") if c in columns]
        pd.testing.assert_frame_equal(
            entered.sort_values(key)[columns].reset_index(drop=True),
            direct.sort_values(key)[columns].reset_index(drop=True),
            check_dtype=False,
            check_exact=True,
        )
    assert len(made["ADFT"]) > 100
    assert made["ADFALL"]["EVENT"].sum() > 0


AGAIN = """
import sys
import time
from pathlib import Path
import numpy as np
from trialkit._content import find_content
from trialkit.cli._line import PLAN, PROTOCOLS
from trialkit.data import build_snapshot
from trialkit.plan import lock_plan
from trialkit.record.sign import KeyStore
from trialkit.simulate.trial import run_trial

if __name__ == "__main__":
    out, world, seed, participants, full_rate = sys.argv[1:]
    study = run_trial(
        Path(out) / "study",
        protocols=[find_content("protocols", name) for name in PROTOCOLS],
        plan=find_content("analyses", PLAN),
        world=world, seed=int(seed), participants=int(participants), full_rate=int(full_rate),
        keys=KeyStore(Path(out) / "keys"),
    )
    statistician = study.as_user("statistician")
    lock_plan(statistician, signer="statistician", second_signer="investigator")
    features = np._core._multiarray_umath.__cpu_features__
    print(build_snapshot(statistician, unblind=True).hash, sum(features.values()))
"""


def test_same_seed_gives_the_same_snapshot_on_another_processor(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    umath = np._core._multiarray_umath  # type: ignore[attr-defined]
    features = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
    program = tmp_path / "again.py"
    program.write_text(AGAIN)
    ran = subprocess.run(
        [sys.executable, program, tmp_path, WORLD, str(SEED), str(PEOPLE), str(FULL_RATE)],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(features)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    snapshot, enabled = ran.stdout.split()
    assert snapshot == done[1]["snapshot"]
    if features:
        assert int(enabled) < sum(umath.__cpu_features__.values())


def test_snapshot_is_the_one_in_the_record(done: tuple[Path, dict[str, Any]], study: Study) -> None:
    folder = snapshots(study)[-1]
    assert Snapshot.open(folder).hash == done[1]["snapshot"]


# --- refusals --------------------------------------------------------------------------------


def test_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for arguments in ([], ["--force"]):
        result = demo("--participants", "12", "--out", str(tmp_path), *arguments)
        assert isinstance(result.exception, RefusedError)
        assert "thesis.txt" in result.exception.message
        assert "--force" not in result.exception.remedy
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_refuses_an_earlier_demonstration_without_force(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.toml").write_text("")
    result = demo("--participants", "12", "--out", str(tmp_path))
    assert isinstance(result.exception, RefusedError)
    assert "--force" in result.exception.remedy
    assert (tmp_path / "study" / "study.toml").exists()


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    result = demo("--out", str(tmp_path / "demo"))
    assert isinstance(result.exception, RefusedError)
    assert "is a file" in result.exception.message


def test_force_removes_an_earlier_demonstration_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trialkit.cli import _line

    (tmp_path / "study").mkdir()
    (tmp_path / "report.html").write_text("old")
    _line.clear(tmp_path, force=True)
    assert list(tmp_path.iterdir()) == []


def test_refuses_what_cannot_be() -> None:
    assert isinstance(demo("--world", "heaven").exception, UnknownName)
    assert isinstance(demo("--participants", "3").exception, UsageError)


# --- Ctrl-C ----------------------------------------------------------------------------------


def test_interrupt_leaves_a_study_that_recovers(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    trialkit = Path(sys.executable).with_name("trialkit")
    program = [trialkit, "demo", *OPTIONS, "--full-rate", "0"]
    running = subprocess.Popen([*program, "--out", str(out)], stdout=subprocess.DEVNULL)
    telemetry = out / "study" / "telemetry"
    until = time.monotonic() + 600
    while time.monotonic() < until and running.poll() is None:
        if telemetry.is_dir() and any(telemetry.iterdir()):
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=600) == 6
    with Study.open(out / "study", actor="trial-office") as left:
        recover(left)
        assert left.record.verify().ok
        assert not left.state.open_sessions
        assert left.state.participants
