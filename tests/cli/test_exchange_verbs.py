"""The verbs of ``redcap`` and ``odm``: export, draft and import; output and exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import WALK, make_study, randomised

from trialkit.cli import main
from trialkit.participants import correct
from trialkit.record import KeyStore
from trialkit.study import Study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    with make_study(tmp_path) as study:
        study.add_user("dana", role="data_manager")
        randomised(study)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))

    def call(*arguments: str, user: str = "dana") -> tuple[int, str, str]:
        line = ["trialkit", *arguments, "--study", "study", "--as", user]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as leave:
            main()
        printed = capsys.readouterr()
        code = leave.value.code
        return code if isinstance(code, int) else int(bool(code)), printed.out, printed.err

    return call


def told(run: Run, *arguments: str) -> Any:
    status, out, err = run(*arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_out_and_in_by_verbs(run: Run, tmp_path: Path) -> None:
    given = told(run, "redcap", "export", "--out", "out")
    assert given["participants"] == 1
    assert set(given["files"]) == {p.name for p in (tmp_path / "out").iterdir()}
    draft = told(run, "redcap", "draft", "out/dictionary.csv", "--out", "m.yaml")
    assert (draft["undecided"], draft["forms"]) == ([], ["10MWT", "ABC", "BBS"])
    status, _, err = run("redcap", "draft", "out/dictionary.csv", "--out", "m.yaml")
    assert (status, "nothing is overwritten" in err) == (5, True)
    line = ("redcap", "import", "out/records.csv", "--map", "m.yaml")
    status, out, _ = run(*line, "--dictionary", "out/dictionary.csv")
    assert (status, out.strip()) == (
        0,
        "records.csv: 0 entered, 2 unchanged, 0 recorded otherwise",
    )


def test_odm_out_and_in_by_verbs(run: Run, tmp_path: Path) -> None:
    given = told(run, "odm", "export", "--out", "out.xml")
    assert list(given["files"]) == ["out.xml"]
    draft = told(run, "odm", "draft", "out.xml", "--out", "m.yaml")
    assert (draft["undecided"], draft["forms"]) == ([], ["10MWT", "ABC", "BBS"])
    done = told(run, "odm", "import", "out.xml", "--map", "m.yaml")
    assert (done["unchanged"], done["changes"], done["event"]) == (2, [], None)
    (tmp_path / "out.xml").write_text("<!DOCTYPE ODM><ODM/>")
    status, _, err = run("odm", "import", "out.xml", "--map", "m.yaml")
    assert (status, "it has a document type" in err) == (3, True)


def test_findings_leave_with_3_and_a_role_with_5(run: Run, tmp_path: Path) -> None:
    told(run, "redcap", "export", "--out", "out")
    told(run, "redcap", "draft", "out/dictionary.csv", "--out", "m.yaml")
    with Study.open(tmp_path / "study", actor="asta", keys=KeyStore(tmp_path / "keys")) as opened:
        usubjid = next(iter(opened.state.participants))
        correct(
            opened, usubjid, visit="BL", instrument="10MWT", items=WALK | {"C1_S": 30},
            reason="again",
        )  # fmt: skip
    line = ("redcap", "import", "out/records.csv", "--map", "m.yaml")
    status, out, err = run(*line, "--check", "--json")
    assert status == 3
    assert "C1_S is recorded as 30" in err
    assert len(json.loads(out)["error"]["findings"]) == 1
    status, _, err = run(*line, user="theo")
    assert (status, "may not import forms" in err) == (5, True)
    (tmp_path / "m.yaml").write_text(
        (tmp_path / "m.yaml").read_text().replace("conflicts: refuse", "conflicts: query")
    )
    status, out, _ = run(*line)
    assert "queries: Q0001" in out
