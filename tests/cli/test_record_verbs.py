"""The verbs of the record: heads kept elsewhere, proofs checked without the study, the trail."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from small_study import enrolled, make_study

from trialkit.cli import main
from trialkit.record import StudyState, read_export
from trialkit.study import Study
from trialkit.study.cached import keep

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``trialkit record ...`` as olga on a small study; exit status, output and messages."""
    with make_study(tmp_path) as study:
        enrolled(study)
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "study"))
    monkeypatch.setenv("TRIALKIT_USER", "olga")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trialkit", "record", *map(str, words)])
        try:
            main()
        except SystemExit as leave:
            code = leave.code
        else:
            code = 0
        out, err = capsys.readouterr()
        return int(code or 0), out, err

    return call


def told(run: Run, *words: object) -> dict[str, Any]:
    status, out, err = run(*words, "--json")
    assert status == 0, err
    data: dict[str, Any] = json.loads(out)
    return data


def more(tmp_path: Path) -> None:
    with Study.open(tmp_path / "study", actor="olga") as study:
        enrolled(study)


def test_a_head_is_signed_kept_and_compared(run: Run, tmp_path: Path) -> None:
    status, _, err = run("head")
    assert (status, "record head --sign" in err) == (5, True)
    kept = tmp_path / "head.json"
    signed = told(run, "head", "--sign", "--out", kept)
    assert told(run, "head") | {"file": str(kept)} == signed
    more(tmp_path)
    shutil.copytree(tmp_path / "study", tmp_path / "fork")
    paper = f"{signed['size']}={signed['root']}"
    report = told(run, "verify", "--against", kept, "--against", paper)
    assert len(report["compared"]) == 2
    assert report["newest"]["root"] == signed["root"]
    status, out, _ = run("verify", "--against", f"{signed['size']}={'0' * 64}")
    assert (status, "fork" in out) == (4, True)
    more(tmp_path / "fork" / "..")  # the study goes on
    told(run, "head", "--sign", "--out", kept)
    status, out, _ = run("verify", "--study", tmp_path / "fork", "--against", kept)
    assert (status, "and the record ends here" in out) == (4, True)
    text = run("head", "--study", tmp_path / "study")[1]
    assert "signed by Olga Owner, key " in text


def test_whoever_has_no_key_signs_nothing(run: Run) -> None:
    (Path(os.environ["TRIALKIT_KEYS"]) / "ivan.pem").unlink()
    status, out, _ = run("head", "--sign", "--as", "ivan")
    assert (status, "unsigned" in out) == (0, True)
    assert told(run, "verify", "--counts")["signed"] == 0


def test_proofs_are_checked_without_the_study(run: Run, tmp_path: Path) -> None:
    first = tmp_path / "head.json"
    signed = told(run, "head", "--sign", "--out", first)
    more(tmp_path)
    told(run, "head", "--sign")
    event, since = tmp_path / "event.json", tmp_path / "since.json"
    assert told(run, "proof", 9, "--out", event)["proves"] == "inclusion"
    assert told(run, "proof", "--since", first, "--out", since)["proves"] == "consistency"
    newest = told(run, "head")
    shutil.rmtree(tmp_path / "study")
    key, root = newest["fingerprint"], f"{newest['size']}={newest['root']}"
    for path in (event, since):
        report = told(run, "check-proof", path, "--key", key, "--against", root)
        assert (report["ok"], report["fingerprint"]) == (True, key)
        assert "compare key or root" in run("check-proof", path)[1]
        assert run("check-proof", path, "--key", "0" * 32)[0] == 4
        assert run("check-proof", path, "--against", f"{signed['size']}={signed['root']}")[0] == 4
    changed = json.loads(event.read_text())
    event.write_text(json.dumps(changed | {"body": changed["body"].replace("olga", "vera")}))
    status, out, _ = run("check-proof", event)
    assert (status, "DOES NOT HOLD" in out) == (4, True)


@pytest.mark.parametrize("words", [("proof",), ("proof", 3, "--since", "x"), ("check-proof", "x")])
def test_wrong_usage(run: Run, words: tuple[object, ...]) -> None:
    assert run(*words)[0] == 2


@pytest.mark.requirement("R07")
def test_the_export_is_whole_and_rebuilds_the_state(run: Run, tmp_path: Path) -> None:
    told(run, "head", "--sign")
    path = tmp_path / "trail.jsonl"
    data = told(run, "export", path)
    assert data["readable"] == str(tmp_path / "trail.html")
    with Study.open(tmp_path / "study", write=False) as study:
        then = StudyState(e for e in study.record.read() if e.seq <= data["events"])
        assert vars(StudyState(read_export(path))) == vars(then)
        (last,) = study.record.read(after=data["events"])
        assert (last.kind, last.payload["size"]) == ("record.exported", data["events"])
    page = (tmp_path / "trail.html").read_text(encoding="utf-8")
    assert page.count("<tr><td>") == data["events"]
    assert told(run, "verify", "--against", path)["compared"]
    table = tmp_path / "trail.csv"
    assert told(run, "export", path, "--readable", table)["readable"] == str(table)
    assert table.read_text().count("\n") == data["events"] + 2  # the first export, and the head
    status, _, err = run("export", path, "--readable", tmp_path / "trail.docx")
    assert (status, "not .html" in err) == (2, True)


def test_an_export_is_checked_without_the_study(run: Run, tmp_path: Path) -> None:
    kept, path = tmp_path / "head.json", tmp_path / "trail.jsonl"
    told(run, "head", "--sign", "--out", kept)
    told(run, "export", path)
    shutil.rmtree(tmp_path / "study")
    report = told(run, "verify", path, "--against", kept)
    assert (report["n"], len(report["compared"])) == (13, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        [*lines[:3], lines[3].replace(b"user.added", b"user.addeb"), *lines[4:]],
        [*lines[:3], b"no json\n", *lines[4:]],
        [*lines[:3], *lines[4:]],
    ):
        path.write_bytes(b"".join(damaged))
        status, out, _ = run("verify", path)
        assert (status, "event 4: " in out) == (4, True)
    assert run("verify", tmp_path / "none.jsonl")[0] == 2


def test_only_who_may_see_allocations_is_told_how_many_events_there_are(run: Run) -> None:
    told(run, "head", "--sign")
    assert set(told(run, "verify", "--as", "asta")) == {
        "ok",
        "head",
        "root",
        "findings",
        "has_head",
        "kept_state",
    }
    for words in (("--counts",), ("--against", f"500={'0' * 64}"), ("--anchor", f"5={'0' * 64}")):
        status, out, err = run("verify", *words, "--as", "asta")
        assert (status, out, "asta (assessor) may not see allocation" in err) == (5, "", True)
    assert told(run, "verify", "--counts", "--as", "theo")["n"] == 11 + 1 + 1 + 3


def test_verify_compares_the_state_that_was_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the file of the cache could show a state that the record does not give."""
    assert told(run, "verify")["kept_state"] == "none"
    monkeypatch.setattr("trialkit.study.shared.EVERY", 1)
    Study.open(tmp_path / "study", write=False).close()
    assert told(run, "verify")["kept_state"] == "agrees"
    with Study.open(tmp_path / "study", write=False) as study:
        study.state.participants.clear()
        keep(study.record, study.state)
    status, out, _ = run("verify")
    assert status == 4
    assert "IS ANOTHER THAN IT GIVES" in out
    assert told(run, "verify")["kept_state"] == "none"


def test_status_can_check_every_event(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*words: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["trialkit", "status", "--json", *words])
        with suppress(SystemExit):
            main()
        data: dict[str, Any] = json.loads(capsys.readouterr().out)
        return data

    monkeypatch.setattr("trialkit.study.shared.EVERY", 1)
    first = status()
    assert (first["chain_whole"], first["chain_ok"]) == (True, True)
    assert (status()["chain_whole"], status()["chain_ok"]) == (False, True)
    assert status("--whole") == first
