"""Queries, adverse events, corrected diaries and deviations, as people type them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import make_study, randomised

from trialkit.cli import main

Run = Callable[..., tuple[int, str, str]]
WHO = "SMALL-01-001"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "s"))
    monkeypatch.setenv("TRIALKIT_USER", "cora")
    with make_study(tmp_path / "made") as study:
        assert randomised(study) == WHO
    shutil.copytree(tmp_path / "made" / "study", tmp_path / "s")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trialkit", *map(str, words)])
        try:
            main()
        except SystemExit as leave:
            code = leave.code
        else:
            code = 0
        out, err = capsys.readouterr()
        return int(code or 0), out, err

    return call


def done(run: Run, *words: object) -> str:
    status, out, err = run(*words)
    assert status == 0, err
    return out


def test_queries(run: Run) -> None:
    at = ("--visit", "BL", "--form", "10MWT", "--item", "C1_S", "--as", "mona")
    assert "Q0001 raised" in done(run, "query", "raise", WHO, "--text", "Right?", *at)
    assert "answered" in done(run, "query", "answer", "Q0001", "--text", "Yes.", "--as", "asta")
    (row,) = json.loads(done(run, "query", "list", "--as", "asta", "--json"))["queries"]
    assert (row["status"], row["place"]["item"]) == ("answered", "C1_S")
    done(run, "query", "close", "Q0001", "--reason", "fine")
    assert "0 queries" in done(run, "query", "list")
    assert "Q0001  closed" in done(run, "query", "list", "--closed", "--participant", WHO)
    done(run, "query", "reopen", "Q0001", "--reason", "no")
    done(run, "diary", WHO, "FALL", "--from", 5, "--to", 9)
    made = json.loads(done(run, "query", "run", "--json"))["queries"]
    assert "check.no_gap_before" in {row["rule"] for row in made}
    assert "0 queries" in done(run, "query", "run")
    assert f"open {1 + len(made)}" in done(run, "status")
    status, _, err = run("query", "answer", "Q0099", "--text", "x")
    assert (status, "TK-USE-NAME" in err) == (2, True)
    assert run("query", "run", "--as", "asta")[0] == 5


def test_adverse_events(run: Run) -> None:
    what = ("--term", "skin open", "--category", "skin", "--severity", "severe", "--day", 3)
    out = done(run, "ae", "report", WHO, *what, "--criterion", "hospitalisation",
               "--related-device", "probable", "--unexpected")  # fmt: skip
    assert "AE/SAE/ADE/SADE/USADE" in out
    done(run, "ae", "report", WHO, *what, "--no-harm", "--device-deficiency", "--sade-potential")
    name = f"{WHO}-AE01"
    out = done(run, "ae", "update", WHO, name, "--outcome", "recovered", "--end", 9,
               "--reason", "follow-up")  # fmt: skip
    assert "changed end_day, outcome" in out
    out = done(run, "ae", "update", WHO, name, "--not-serious", "--expected", "--reason", "typo")
    assert "AE/ADE, changed" in out
    assert "report sent" in done(run, "ae", "notify", WHO, name, "--to", "sponsor")
    data = json.loads(done(run, "ae", "list", "--json"))
    assert [row["main"] for row in data["events"]] == ["ADE", "DD_SADE"]
    assert json.loads(done(run, "ae", "list", "--due", "--json"))["count"] == 0
    (row,) = json.loads(done(run, "ae", "list", "--as", "asta", "--json"))["events"]
    assert (row["main"], row["facts"]["term"]) == ("AE", "hidden while blinded")
    for words in (
        ("update", WHO, name, "--criterion", "death", "--not-serious", "--reason", "x"),
        ("report", WHO, *what, "--window", "1-2"),
        ("report", WHO, *what, "--aware", "soon"),
    ):
        status, _, err = run("ae", *words)
        assert (status, "TK-USE" in err) == (2, True)


def test_a_diary_is_corrected(run: Run) -> None:
    given = ("diary", WHO, "FALL", "--from", 0, "--to", 9, "--entry", "3:2", "--json")
    event = json.loads(done(run, *given))
    assert event["summary"]["rate_per_year"] == 36.525
    out = done(run, "diary", WHO, "FALL", "--correct", event["seq"], "--no-entries",
               "--reason", "another person", "--json")  # fmt: skip
    assert json.loads(out)["payload"]["old_entries"] == [{"day": 3, "grade": 2}]
    for words in (
        ("--correct", event["seq"], "--no-entries", "--entry", 1, "--reason", "x"),
        ("--from", 20),
        ("--correct", event["seq"], "--to", 8),
    ):
        status, _, err = run("diary", WHO, "FALL", *words)
        assert (status, "TK-USE" in err) == (2, True)


def test_deviations(run: Run) -> None:
    out = done(run, "deviation", "raise", WHO, "--category", "consent", "--detail", "Late.")
    assert "D0001 raised" in out
    ivan = ("--as", "ivan")
    done(run, "deviation", "acknowledge", "D0001", "--class", "minor", "--reason", "a day", *ivan)
    assert "D0001  acknowledged  minor" in done(run, "deviation", "list", "--as", "mona")
    done(run, "deviation", "resolve", "D0001", "--reason", "trained", *ivan)
    assert json.loads(done(run, "deviation", "list", "--unresolved", "--json"))["count"] == 0
    assert run("deviation", "resolve", "D0001", "--reason", "x")[0] == 5
