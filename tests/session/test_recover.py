from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from device_interface import DeviceState
from trialkit.record.journal import read_journal
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.session import recover, replay
from trialkit.session.inputs import read_inputs
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"


def trialkit(study: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    program = "from trialkit.cli import main; main()"
    keys = str(study.parent / "keys")
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--study", str(study), "--as", "owner"],
        env={**os.environ, "TRIALKIT_KEYS": keys},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


RUN = ("run", "--participant", USUBJID, "--visit", "S01", "--day", "1", "--headless")


@pytest.fixture
def folder(make_study: Callable[..., Study]) -> Path:
    study = make_study(real=True)
    study.close()
    return study.folder


def running_rows(table: pa.Table) -> int:
    return int((table["device_state"].to_numpy() == DeviceState.RUNNING).sum())


def wait_for_motion(process: subprocess.Popen[str], folder: Path, rows: int) -> None:
    """Wait until the journal holds `rows` in which the device runs, on however slow a machine."""
    journal = folder / "telemetry" / f"{USUBJID}-S01" / "motion.tkj"
    begin = time.monotonic()
    while True:
        content = read_journal(journal) if journal.exists() else None
        if content is not None and content.batches and running_rows(content.table()) >= rows:
            return
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begin < 60, "no telemetry came"
        time.sleep(0.05)


def test_a_killed_run_is_recovered_and_nothing_that_was_synced_is_lost(folder: Path) -> None:
    process = trialkit(folder, *RUN)
    wait_for_motion(process, folder, 120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    journal = folder / "telemetry" / f"{USUBJID}-S01" / "motion.tkj"
    synced = read_journal(journal).rows
    before = [event for event in Study.open(folder, write=False).record.read()]
    with journal.open("ab") as stream:  # and half a frame, as after a power cut
        stream.write(journal.read_bytes()[:100])
    log = journal.with_name("inputs.jsonl")
    good = read_inputs(log)
    with log.open("ab") as stream:
        stream.write(b'{"chain":"')

    again = trialkit(folder, "run", "-p", USUBJID, "-n", "2", "--day", "2", "--headless")
    _, told = again.communicate()
    assert again.returncode == 5
    assert "trialkit recover" in told

    process = trialkit(folder, "recover", "--json")
    out, told = process.communicate()
    assert process.returncode == 0, told
    (recovered,) = json.loads(out)["recovered"]
    assert recovered["status"] == "recovered"

    with Study.open(folder, actor="owner", write=False) as study:
        after = list(study.record.read())
        assert after[: len(before)] == before  # nothing acknowledged is lost
        assert study.record.verify().ok
        assert study.state.open_sessions == []
        (sealed,) = [e.payload for e in after if e.kind == "session.telemetry_sealed"]
        assert sealed["files"][0]["rows"] == synced
        table = open_sealed(study.folder / sealed["folder"], "motion")
        assert table.num_rows == synced
        raised = {e.payload["category"]: e.payload for e in after if e.kind == "deviation.raised"}
        assert set(raised) == {"telemetry_loss", "block_shortened", "block_omitted"} | {
            "moving_minutes_low",
            "prompt_unanswered",
        } & set(raised)
        kept = next(f for f in sealed["files"] if f["name"] == "inputs.jsonl")
        assert kept["rows"] == good.lines
        manifest = read_manifest(study.folder / sealed["folder"]).manifest
        assert manifest["lost_bytes"] == 100 + 10
        assert next(r["stream"] for r in manifest["clock"] if "stream" in r) == "motion"
        again_ = replay(study, f"{USUBJID}-S01")
        assert again_.same
        assert not again_.complete
        assert again_.events >= 3
        closed = next(e.payload for e in reversed(after) if e.kind == "session.closed")
        assert closed["status"] == "recovered"
        running = running_rows(table)
        assert running >= 120
        assert closed["dose"]["minutes"] == pytest.approx(running / 6000, abs=0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_the_device_closes_and_exits_6(
    folder: Path, number: signal.Signals
) -> None:
    process = trialkit(folder, *RUN, "--json", start_new_session=True)
    wait_for_motion(process, folder, 50)
    os.killpg(process.pid, number)  # as a terminal does: the whole group
    out, told = process.communicate(timeout=30)
    assert process.returncode == 6, told
    assert json.loads(out)["status"] == "stopped_operator"
    with Study.open(folder, write=False) as study:
        assert study.state.sessions[f"{USUBJID}-S01"].status == "stopped_operator"
        table = open_sealed(study.folder / "telemetry" / f"{USUBJID}-S01", "motion")
        assert table["belt_speed_m_s"].to_numpy()[-1] < 0.05


def test_a_crash_between_sealing_and_closing_is_recovered(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trialkit.session import run_session

    append = Study.append

    def crash(self: Study, payload: Any, **options: Any) -> Any:
        if payload.kind == "session.closed":
            raise KeyboardInterrupt
        return append(self, payload, **options)

    monkeypatch.setattr(Study, "append", crash)
    with pytest.raises(KeyboardInterrupt):
        run_session(study, USUBJID, number=1, day=1)
    monkeypatch.undo()
    (outcome,) = recover(study)
    assert outcome.status == "recovered"
    assert outcome.dose.minutes > 1
    sealed = [e for e in study.record.read(kinds=["session.telemetry_sealed"])]
    assert len(sealed) == 1
    assert recover(study) == []


def test_a_session_that_never_got_to_its_telemetry_is_closed_without_dose(study: Study) -> None:
    from trialkit.record.kinds import SessionOpened

    study.append(
        SessionOpened(
            session=f"{USUBJID}-S01",
            number=1,
            day=1,
            protocol="x",
            device={},
            planned_minutes=1,
            therapist="owner",
        ),
        subject=USUBJID,
    )
    (outcome,) = recover(study)
    assert outcome.dose.minutes == 0
    assert study.state.open_sessions == []
