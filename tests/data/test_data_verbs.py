"""The verbs ``import``, ``queries`` and ``snapshot``: output and exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from trialkit.cli import main

MAPPING = """\
schema: trialkit.mapping/1
study: {id: TIMES, title: Intervals, date: 2020-05-04}
arms: [{code: A, label: Active, value: a}, {code: P, label: Placebo, value: p}]
columns: {subject: id, arm: arm}
recurrent:
  {start: t0, stop: t1, event: ev, time_unit: days, paramcd: FALL, label: Fall, dataset: ADFALL}
"""


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(place)
    monkeypatch.setenv("TRIALKIT_KEYS", str(place / "keys"))

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["trialkit", *arguments])
        with pytest.raises(SystemExit) as leave:
            main()
        printed = capsys.readouterr()
        code = leave.value.code
        return Done(code if isinstance(code, int) else int(bool(code)), printed.out, printed.err)

    return call


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MAPPING)
    (tmp_path / "t.csv").write_text("id,arm,t0,t1,ev\n1,a,0,5,1\n1,a,9,12,0\n2,p,0,7,0\n")
    return tmp_path


def test_import_then_queries_then_snapshot(place: Path, run: Run) -> None:
    made = run("import", "--map", "m.yaml", "t.csv", "--study", "S", "--as", "imp", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["participants"] == 2
    asked = run("queries", "--study", "S", "--json")
    assert asked.returncode == 3  # participant 1 has no diary for days 5 to 8
    found = json.loads(asked.stdout)
    assert found["count"] == 1
    assert found["queries"][0]["check"] == "no_gap_before"
    built = run("snapshot", "--study", "S", "--as", "imp", "--json")
    assert built.returncode == 0, built.stderr
    data = json.loads(built.stdout)
    assert (place / data["folder"] / "ADFALL.parquet").is_file()
    assert data["tables"]["ADFALL"] == 3
    assert not data["unblinded"]
    refused = run("snapshot", "--study", "S", "--as", "imp", "--unblind")
    assert refused.returncode == 5
    assert "TK-" in refused.stderr


def test_findings_of_an_import_leave_with_3_and_create_nothing(place: Path, run: Run) -> None:
    (place / "t.csv").write_text("id,arm,t0,t1,ev\n1,x,0,5,1\n")
    done = run("import", "--map", "m.yaml", "t.csv", "--study", "S", "--as", "imp", "--json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["findings"][0]["line"] == 2
    assert not (place / "S").exists()


def test_no_study_is_a_usage_error(run: Run) -> None:
    for verb in ("queries", "snapshot"):
        assert run(verb, "--study", "S").returncode == 2
