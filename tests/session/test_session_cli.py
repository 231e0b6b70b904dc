from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trialkit.cli.whole import app
from trialkit.errors import OutOfWindow, UsageError
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"


@pytest.fixture
def folder(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Path:
    study = make_study()
    study.close()
    monkeypatch.setenv("TRIALKIT_KEYS", str(study.folder.parent / "keys"))
    return study.folder


def call(folder: Path, *arguments: str) -> Any:
    base = ["run", "--study", str(folder), "--as", "owner", "-p", USUBJID, "--headless"]
    return CliRunner().invoke(app, [*base, *arguments])


def test_run_prints_the_outcome(folder: Path) -> None:
    done = call(folder, "--visit", "S01", "--day", "1", "--speed", "0", "--json")
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "completed"
    assert outcome["session"] == f"{USUBJID}-S01"
    assert outcome["dose"]["steps"] > 10


def test_a_session_that_is_stopped_exits_6_and_says_why(folder: Path) -> None:
    sign = ("--sign", "systolic_mmhg=200")
    done = call(folder, "-n", "1", "--day", "1", "--speed", "0", *sign)
    assert done.exit_code == 6
    assert "stopped_safety" in done.stdout
    assert "bp-high-rest" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--day", "1"), UsageError),
        (("-n", "1", "--visit", "S01", "--day", "1"), UsageError),
        (("--visit", "first", "--day", "1"), UsageError),
        (("-n", "1", "--day", "1", "--speed", "-1"), UsageError),
        (("-n", "1", "--day", "1", "--device-option", "seed"), UsageError),
        (("-n", "1", "--day", "1", "--sign", "rpe=much"), UsageError),
        (("-n", "1", "--day", "1", "--speed", "0", "--device-option", "ability=99"), UsageError),
        (("-n", "1", "--day", "70", "--speed", "0"), OutOfWindow),
    ],
)
def test_wrong_calls_are_refused(
    folder: Path, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    done = call(folder, *arguments)
    assert isinstance(done.exception, error)
    assert not list((folder / "telemetry").iterdir())


def test_recover_says_when_there_is_nothing_to_do(folder: Path) -> None:
    done = CliRunner().invoke(app, ["recover", "--study", str(folder), "--as", "owner"])
    assert done.exit_code == 0
    assert "No session is open" in done.stdout
