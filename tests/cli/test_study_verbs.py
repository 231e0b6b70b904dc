"""The verbs of a study and its participants, as a coordinator types them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_study import enrolled, make_study, randomised, write_protocols

from trialkit._clock import RealClock
from trialkit.cli import main
from trialkit.record import Record
from trialkit.study import Study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``trialkit ...`` on ``tmp_path/s`` and return exit status, output and messages."""
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "s"))
    monkeypatch.setenv("TRIALKIT_USER", "cora")

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


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a person in each role and three participants, one of them conventional."""
    folder = tmp_path_factory.mktemp("template")
    with make_study(folder) as study:
        arms = {study.arm_of(randomised(study)) for _ in range(3)}
        assert arms == {"ROBOTIC", "CONVENTIONAL"}
    return folder


@pytest.fixture
def begun(run: Run, template: Path, tmp_path: Path) -> Run:
    shutil.copytree(template / "study", tmp_path / "s")
    return run


def head(folder: Path) -> tuple[int, str]:
    with Record.open(folder / "s/study.db", write=False, clock=RealClock()) as record:
        return record.head


def test_init_with_shipped_names(run: Run, tmp_path: Path) -> None:
    status, out, _ = run(
        "init", tmp_path / "s", "--protocol", "stroke-robotic", "--protocol",
        "stroke-conventional", "--name", "Olga O", "--as", "olga", "--json",
    )  # fmt: skip
    assert status == 0
    data = json.loads(out)
    assert data["arms"] == ["ROBOTIC", "CONVENTIONAL"]
    assert data["owner"] == "olga"
    again = ["--protocol", "stroke-robotic", "--protocol", "stroke-conventional"]
    status, _, err = run("init", tmp_path / "s", *again)
    assert (status, "TK-DUPLICATE" in err) == (5, True)
    status, _, err = run("init", tmp_path / "t", "--protocol", "stroke-robot")
    assert (status, "stroke-robotic.yaml" in err) == (2, True)
    assert not (tmp_path / "t").exists()


def test_a_participant_s_way(run: Run, tmp_path: Path) -> None:
    begun, who = run, "SMALL-01-001"
    robotic, conventional = write_protocols(tmp_path)
    made = ["--protocol", robotic, "--protocol", conventional, "--seed", 1]
    assert run("init", tmp_path / "s", *made, "--as", "olga")[0] == 0
    for name, role in (("cora", "coordinator"), ("asta", "assessor"), ("theo", "therapist")):
        assert run("users", "add", name, "--role", role, "--as", "olga")[0] == 0
    theo = ["--as", "theo"]
    items = tmp_path / "items.json"
    items.write_text(json.dumps({f"BBS{i:02d}": 3 for i in range(1, 15)}))
    steps: list[tuple[tuple[object, ...], str]] = [
        (("enrol", who, "--site", "01", "--attribute", "sex=F", "--attribute", "age_years=6"), who),
        (("consent", who, "--version", "1.0"), "version 1.0"),
        (("visit", who, "BL", "--day", "-2"), "held on day -2"),
        (
            ("assess", who, "BL", "10MWT", "--item", "TIMED_M=10", "--item", "C1_S=20", "--as",
             "asta"),
            "WS10C 0.5, WS10F no score",
        ),
        (("randomise", who), "place 1 of site=01|speed_band=medium, arm "),
        (("visit", who, "W4", "--day", 36, "--reason", "strike"), "held on day 36"),
        (("assess", who, "W4", "BBS", "--items", items, "--as", "asta"), "BBSTOT 42"),
        (
            ("assess", who, "W4", "BBS", "--item", "BBS01=4", "--correct", "--reason", "misread",
             "--as", "asta"),
            "BBSTOT 43",
        ),
        (("assess", who, "W4", "10MWT", "--unable", "--as", "asta"), "WS10C 0"),
        (("visit", who, "W8", "--missed", "ILLNESS"), "missed: ILLNESS"),
        (("diary", who, "FALL", "--from", 0, "--to", 27, "--entry", "3:2", "--entry", 9), "2 ent"),
        (
            ("ae", "report", who, "--term", "redness", "--category", "skin", "--severity", "mild",
             "--day", 3, "--related-device", "possible"),
            "AE/ADE, redness, mild",
        ),
        (("miss-session", who, "--number", 1, "--code", "ILL", "--day", 2, *theo), "missed: ILL"),
        (("discontinue", who, "--code", "PAIN", "--day", 9), "on day 9"),
        (("withdraw", who, "--code", "MOVED", "--day", 40), "on day 40"),
    ]  # fmt: skip
    for words, shown in steps:
        status, out, err = begun(*words)
        assert status == 0, err
        assert shown in out
    status, out, _ = begun("status", "--json")
    data = json.loads(out)
    assert data["participants"] == {"withdrawn": 1}
    assert data["chain_ok"]
    with Study.open(tmp_path / "s", write=False) as study:
        diary = next(study.record.read(kinds=["diary.returned"]))
        assert diary.payload["entries"] == [{"day": 3, "grade": 2}, {"day": 9, "grade": None}]
        assert diary.actor == "cora"


def refused_since(folder: Path, before: tuple[int, str]) -> list[str]:
    """Return the commands whose refusal is all that was written since."""
    with Study.open(folder / "s", write=False) as study:
        events = list(study.record.read(after=before[0]))
    assert {event.kind for event in events} <= {"command.refused"}
    return [event.payload["command"] for event in events]


def test_randomise_needs_the_role(begun: Run, tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", actor="cora") as study:
        usubjid = enrolled(study)
    before = head(tmp_path)
    status, out, err = begun("randomise", usubjid, "--as", "asta")
    assert (status, out, "TK-ROLE" in err) == (5, "", True)
    assert refused_since(tmp_path, before) == ["randomise"]


def test_conventional_session(begun: Run, tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", actor="theo") as study:
        by_arm = {study.arm_of(p): p for p in study.state.participants}
    dose = ["--minutes", 30, "--moving", 20, "--steps", 900, "--number", 1, "--day", 1]
    status, out, _ = begun("log-session", by_arm["CONVENTIONAL"], *dose, "--as", "theo", "--json")
    assert status == 0
    assert json.loads(out)["payload"]["dose"]["steps"] == 900
    status, _, err = begun("log-session", by_arm["ROBOTIC"], *dose, "--as", "theo")
    assert (status, "TK-ARM" in err, "trialkit run" in err) == (5, True, True)


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("visit", "SMALL-01-001", "W4", "--day", 99), 5, "TK-WINDOW"),
        (("visit", "SMALL-01-001", "W9", "--day", 99), 2, "TK-USE-NAME"),
        (("visit", "SMALL-01-001", "W4", "--day", 1, "--missed", "X"), 2, "TK-USE"),
        (("enrol", "SMALL-01-001", "--site", "01"), 5, "TK-DUPLICATE"),
        (("enrol", "--site", "01", "--attribute", "sex"), 2, "TK-USE"),
        (("enrol", "--site", "01", "--attribute", "a=1", "--attribute", "a=2"), 2, "TK-USE"),
        (("consent", "SMALL-01-009", "--version", "1"), 2, "TK-USE-NAME"),
        (("assess", "SMALL-01-001", "BL", "BBS", "--item", "BBS01=9", "--as", "asta"), 5,
         "TK-RANGE"),
        (("assess", "SMALL-01-001", "BL", "BBS", "--items", "no.json", "--as", "asta"), 2,
         "TK-USE"),
        (("assess", "SMALL-01-001", "BL", "BBS", "--item", "BBS01=1"), 5, "TK-ROLE"),
        (("assess", "SMALL-01-001", "BL", "BBS", "--unable", "--reason", "x", "--as", "asta"), 2,
         "TK-USE"),
        (("assess", "SMALL-01-001", "BL", "10MWT", "--item", "C1_S=9", "--correct", "--as",
          "asta"), 2, "TK-USE"),
        (("diary", "SMALL-01-001", "FALL", "--from", 0, "--to", 9, "--entry", "x"), 2, "TK-USE"),
        (("users", "add", "newt", "--role", "wizard", "--as", "olga"), 2, "TK-USE-NAME"),
        (("users", "add", "newt", "--role", "owner"), 5, "TK-ROLE"),
        (("randomise", "SMALL-01-001"), 5, "TK-DUPLICATE"),
        (("status", "--study", "/nowhere"), 2, "TK-USE-NAME"),
        (("visit", "SMALL-01-001", "W4", "--as", "nobody"), 2, "TK-USE-NAME"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do(
    begun: Run, tmp_path: Path, words: tuple[object, ...], status: int, code: str
) -> None:
    before = head(tmp_path)
    left, out, err = begun(*words, "--json")
    error = json.loads(out)["error"]
    assert (left, error["code"], error["exit_status"]) == (status, code, status)
    assert error["remedy"]
    assert error["message"] in err
    assert len(refused_since(tmp_path, before)) == (code == "TK-ROLE")


def test_record_verify_and_export(begun: Run, tmp_path: Path) -> None:
    status, out, _ = begun("record", "verify", "--counts", "--json")
    report: dict[str, Any] = json.loads(out)
    assert (status, report["ok"], report["findings"]) == (0, True, [])
    assert (report["n"], report["head"]) == head(tmp_path)
    anchor = f"{report['n']}={report['head']}"
    assert begun("record", "verify", "--anchor", anchor)[0] == 0
    assert begun("record", "verify", "--anchor", f"{report['n']}={'0' * 64}")[0] == 4
    assert begun("record", "verify", "--anchor", "last=x")[0] == 2
    status, out, _ = begun("record", "export", tmp_path / "record.jsonl", "--as", "olga")
    assert (status, f"{report['n']} events" in out, report["root"] in out) == (0, True, True)
    with closing(sqlite3.connect(tmp_path / "s/study.db")) as raw, raw:
        raw.execute("DROP TRIGGER events_no_update")
        raw.execute("UPDATE events SET body = replace(body, '1.0', '2.0') WHERE seq = 10")
    status, out, _ = begun("record", "verify")
    assert status == 4
    assert "event 10: altered" in out
    for words in (("status",), ("enrol", "--site", "01")):
        status, _, err = begun(*words)
        assert (status, "TK-CHAIN" in err, "event 10: altered" in err) == (4, True, True)


def test_study_open_elsewhere(begun: Run, tmp_path: Path) -> None:
    with Study.open(tmp_path / "s", actor="olga") as study:
        assert begun("enrol", "--site", "01")[0] == 0
        before = study.state.seq
        study.refresh()
        assert [e.kind for e in study.record.read(after=before)] == [
            "clock.source",  # a first time in real time
            "participant.enrolled",
        ]
        assert study.state.seq == before + 2
