"""The verbs of accounts, signatures, freezes and locks, as people type them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import make_study, randomised

from trialkit.cli import main

Run = Callable[..., tuple[int, str, str]]
WORD, OTHER = "four dry wooden spoons", "seven green lamps hum"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``trialkit WORDS`` on a study with one randomised participant; `said` is typed in."""
    with make_study(tmp_path) as study:
        randomised(study)
        study.add_user("dora", role="data_manager")
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "study"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIALKIT_USER", raising=False)
    monkeypatch.delenv("TRIALKIT_PASSWORD", raising=False)

    def call(*words: str, said: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trialkit", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        try:
            main()
        except SystemExit as leave:
            code = leave.code
        else:
            code = 0
        out, err = capsys.readouterr()
        return int(code or 0), out, err

    return call


def passwd(run: Run, user: str, *words: str) -> int:
    said = "\n".join(words) + "\n"
    return run("users", "passwd", "--as", user, "--password-stdin", said=said)[0]


@pytest.fixture
def closed(run: Run) -> Run:
    """The same study after it began to require a login; all have the password `WORD`."""
    for user in ("olga", "ivan", "dora"):
        assert passwd(run, user, WORD) == 0
    said = run("users", "require-login", "--as", "olga", "--password-stdin", said=WORD)
    assert said[0] == 0, said
    return run


def login(run: Run, user: str, word: str = WORD) -> tuple[int, str, str]:
    return run("login", "--as", user, "--password-stdin", said=word)


def test_as_never_bypasses_the_login(closed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    enrol = ("enrol", "--site", "01", "--as", "ivan")
    status, _, err = closed(*enrol)
    assert (status, "TK-LOGIN" in err) == (5, True)
    assert closed("enrol", "--site", "01")[0] == 5
    assert closed("users", "list", "--as", "olga")[0] == 5
    assert login(closed, "ivan", OTHER)[0] == 5
    assert login(closed, "ivan")[0] == 0
    assert closed(*enrol)[0] == 0
    who = json.loads(closed("whoami", "--as", "ivan", "--json")[1])
    assert (who["role"], who["logged_in"], who["login_required"]) == ("investigator", True, True)
    assert closed("enrol", "--site", "01", "--as", "olga")[0] == 5
    assert closed("logout", "--as", "ivan")[0] == 0
    assert closed(*enrol)[0] == 5
    who = json.loads(closed("whoami", "--as", "ivan", "--json")[1])
    assert (who["role"], who["logged_in"]) == ("none", False)
    monkeypatch.setenv("TRIALKIT_PASSWORD", WORD)
    assert closed(*enrol)[0] == 0
    assert closed("status")[0] == 0


def test_data_and_results_are_read_after_a_login_only(closed: Run) -> None:
    """What tells how the study stands is shown to everybody; what tells of people is not."""
    for words in (("queries",), ("results",)):
        status, out, err = closed(*words)
        assert (status, out, "TK-LOGIN" in err or "is not a user" in err) == (5, "", True)
        assert closed(*words, "--as", "dora")[0] == 5
    assert login(closed, "dora")[0] == 0
    assert closed("queries", "--as", "dora")[0] in (0, 3)
    assert "has no results" in closed("results", "--as", "dora")[2]
    assert closed("status")[0] == 0


def test_accounts_from_the_first_day_to_the_last(closed: Run) -> None:
    assert login(closed, "olga")[0] == 0
    by = ("--as", "olga")
    added = closed("users", "add", "nina", "--role", "therapist", "--site", "01", *by, "--json")
    assert json.loads(added[1])["key_fingerprint"]
    word = "a word for the first day"
    status, out, _ = closed("users", "passwd", "nina", *by, "--password-stdin", said=word)
    assert (status, "must change it" in out) == (0, True)
    assert "must be changed" in login(closed, "nina", word)[2]
    assert passwd(closed, "nina", word, OTHER) == 0
    for _ in range(5):
        assert login(closed, "nina", "guess")[0] == 5
    assert "locked" in login(closed, "nina", OTHER)[2]
    listed = closed("users", "list", *by)[1]
    assert "locked out" in listed
    assert "login required" in listed
    assert closed("users", "unlock", "nina", *by)[0] == 0
    assert login(closed, "nina", OTHER)[0] == 0
    assert closed("users", "set-role", "nina", "--role", "monitor", *by)[0] == 0
    assert closed("users", "retire", "nina", "--reason", "left", *by)[0] == 0
    assert closed("users", "add", "nina", "--role", "therapist", *by)[0] == 5
    people = json.loads(closed("users", "list", *by, "--json")[1])["users"]
    nina = next(p for p in people if p["user"] == "nina")
    assert (nina["role"], nina["retired"], nina["sites"]) == ("monitor", True, ["01"])


@pytest.mark.requirement("R11", "R13")
def test_signing_takes_name_and_word_then_the_word(closed: Run) -> None:
    assert login(closed, "ivan")[0] == 0
    what = "form:SMALL-01-001/BL/10MWT"
    words = ("sign", what, "--meaning", "reviewed", "--as", "ivan", "--password-stdin")
    status, _, err = closed(*words, said=WORD)
    assert (status, "user name and password" in err) == (5, True)
    status, out, _ = closed(*words, "--signer", "ivan", said=WORD)
    assert (status, "reviewed" in out) == (0, True)
    assert closed(*words, said=WORD)[0] == 0
    assert closed(*words, said=OTHER)[0] == 5
    shown = json.loads(closed("sign", "--list", "--as", "ivan", "--json")[1])["signatures"]
    assert [s["broken"] for s in shown] == [None, None]
    assert closed("sign", "--as", "ivan")[0] == 2
    assert "2, broken 0" in closed("status")[1]


def test_freeze_lock_and_unlock(closed: Run) -> None:
    for user in ("ivan", "dora"):
        assert login(closed, user)[0] == 0
    dora, ivan = ("--as", "dora"), ("--as", "ivan")
    visit = ("visit", "SMALL-01-001", "W4", "--missed", "ILLNESS", *ivan)
    assert closed("freeze", *dora)[0] == 2
    assert closed("freeze", "SMALL-01-001", *dora)[0] == 0
    status, _, err = closed(*visit)
    assert (status, "TK-DATA-LOCK" in err) == (5, True)
    assert closed("freeze", "SMALL-01-001", "--release", *dora)[0] == 2
    assert closed("freeze", "SMALL-01-001", "--release", "--reason", "late", *dora)[0] == 0
    locked = json.loads(closed("lock-data", "--reason", "complete", *dora, "--json")[1])
    assert len(locked["merkle_root"]) == 64
    assert closed(*visit)[0] == 5
    assert "complete" in closed("status")[1]
    asked = closed("unlock-data", "--request", "--reason", "late", *dora, "--json")
    number = json.loads(asked[1])["payload"]["request"]
    assert closed("unlock-data", "--approve", number, *dora)[0] == 5
    assert closed("unlock-data", "--approve", number, *ivan)[0] == 0
    assert closed("unlock-data", *ivan)[0] == 2
    assert closed(*visit)[0] == 0


def test_a_password_is_never_an_argument_and_asks_for_a_terminal(run: Run) -> None:
    status, _, err = run("login", "--as", "olga")
    assert (status, "--password-stdin" in err) == (2, True)
    assert run("login", "--as", "olga", "--password-stdin", said="")[0] == 2
    assert run("login", "--as", "nobody", "--password-stdin", said=WORD)[0] == 2
    assert run("login", "--as", "olga", "--password-stdin", said=WORD)[0] == 5
