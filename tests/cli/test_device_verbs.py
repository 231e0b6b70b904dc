from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import make_study

from trialkit.cli import main
from trialkit.study import Study

BROKEN = Path(__file__).resolve().parent.parent / "device" / "broken"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("PYTHONPATH", str(BROKEN))
    monkeypatch.delenv("TRIALKIT_STUDY", raising=False)
    monkeypatch.delenv("TRIALKIT_USER", raising=False)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trialkit", *map(str, words)])
        status: Any = 0
        try:
            main()
        except SystemExit as leave:
            status = leave.code or 0
        out, err = capsys.readouterr()
        return int(status), out, err

    return call


def test_drivers_are_listed_with_their_packages(run: Run) -> None:
    status, out, _ = run("device", "list", "--json")
    assert status == 0
    names = {d["name"]: d["package"] for d in json.loads(out)["drivers"]}
    assert names["simulated"] == "trialkit"


def test_a_device_is_described(run: Run) -> None:
    status, out, _ = run("device", "describe", "simulated", "--option", "serial=SIM-7", "--json")
    assert status == 0
    shown = json.loads(out)
    assert shown["serial"] == "SIM-7"
    assert {p["name"] for p in shown["parameters"]} == {
        "speed_m_s",
        "support_fraction",
        "guidance",
    }
    _, text, _ = run("device", "describe", "simulated")
    assert "knee_angle_l: -0.174533 to 2.0944 rad; positive: flexion" in text
    assert "301 estop (estop)" in text


def test_names_that_do_not_exist_are_a_wrong_call(run: Run) -> None:
    for words in (
        ("check", "nosuch"),
        ("check", "simulated", "--group", "colour"),
        ("describe", "simulated", "--option", "colour=red"),
        ("describe", "nosuch"),
    ):
        assert run("device", *words)[0] == 2, words


def test_an_unsigned_record_is_intact_until_it_is_altered(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    status, out, _ = run("device", "check", "simulated", "-g", "ordering", "--quick", "--out", file)
    assert status == 0
    assert "stale-token" in out
    assert "Unsigned" in out
    status, out, _ = run("device", "verify", file, "--json")
    assert status == 0
    assert json.loads(out)["signed"] is False
    assert run("device", "verify", file, "--key", "0000")[0] == 4
    whole = file.read_text()
    for old, new in (('"passed"', '"failed"'), ("SIM-1", "SIM-2"), ("; DISARMED", "; ARMED")):
        assert old in whole
        file.write_text(whole.replace(old, new, 1))
        assert run("device", "verify", file)[0] == 4, new
    file.write_text("{}")
    assert run("device", "verify", file)[0] == 4
    assert run("device", "verify", tmp_path / "nothing.json")[0] == 4


def test_a_failure_is_status_3_with_requirement_and_observation(run: Run) -> None:
    words = ("device", "check", "broken_trainers:ArmsTwice", "-g", "ordering", "--quick")
    status, out, _ = run(*words)
    assert status == 3
    assert "FAILED" in out
    assert "accepted" in out
    status, out, _ = run(*words, "--json")
    assert status == 3
    record = json.loads(out)["record"]
    failed = [c for c in record["checks"] if c["verdict"] == "failed"]
    assert [c["id"] for c in failed] == ["ordering.double-arm"]
    assert failed[0]["requirement"] == "Arming an armed or running device is refused."
    assert record["summary"]["failed"] == 1
    assert record["driver"]["name"] == "broken_trainers:ArmsTwice"


def test_in_a_study_the_record_is_signed_and_is_an_event(run: Run, tmp_path: Path) -> None:
    folder, owner = tmp_path / "study", "olga"
    make_study(tmp_path).close()
    check = ("device", "check", "simulated", "-g", "limits", "--quick", "--json")
    status, out, _ = run(*check, "--study", folder, "--as", owner)
    assert status == 0, out
    (file,) = (Path(f) for f in json.loads(out)["files"])
    assert file.parent == folder / "devices"
    with Study.open(folder, actor=owner, write=False) as study:
        (event,) = study.record.read(kinds=["device.checked"])
        payload, fingerprint = event.payload, study.keys.fingerprint(owner)
    assert payload["digest"] == json.loads(file.read_text())["digest"]
    assert payload["device"]["serial"] == "SIM-1"
    assert payload["groups"] == ["identity", "limits"]
    assert payload["failures"] == []
    assert payload["fingerprint"] == fingerprint
    status, out, _ = run("device", "verify", file, "--key", fingerprint)
    assert status == 0
    assert f"Signed by {owner}" in out

    whole = json.loads(file.read_text())
    whole["signature"]["signer"] = "somebody"
    file.write_text(json.dumps(whole))
    assert run("device", "verify", file)[0] == 4
    whole["signature"] = None  # a signature that was taken away is missed by whoever asks for it
    file.write_text(json.dumps(whole))
    assert run("device", "verify", file)[0] == 0
    assert run("device", "verify", file, "--key", fingerprint)[0] == 4


def test_whoever_may_not_run_sessions_may_not_check_in_a_study(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    make_study(tmp_path).close()
    words = ("device", "check", "simulated", "-g", "limits", "--quick")
    assert run(*words, "--study", folder, "--as", "asta")[0] == 5
    assert not (folder / "devices").exists()
