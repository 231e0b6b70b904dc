"""The verb ``eligible`` on the shipped stroke trial, as people type it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trialkit.cli import main
from trialkit.protocol import load_protocol
from trialkit.study import Study

WHO = "STROKE-RAGT-01-001"


@pytest.fixture(autouse=True)
def _study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TRIALKIT_STUDY", str(tmp_path / "s"))
    monkeypatch.setenv("TRIALKIT_USER", "olga")


def test_listed_answered_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["trialkit", *words])
        with pytest.raises(SystemExit) as left:
            sys.exit(main())
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out + err

    arms = ("--protocol", "stroke-robotic", "--protocol", "stroke-conventional")
    for words in (
        ("init", str(tmp_path / "s"), *arms),
        ("enrol", "--site", "01", "--attribute", "weight_kg=136", "--attribute", "age_years=61"),
        ("consent", WHO, "--version", "1"),
        ("visit", WHO, "BL", "--day", "0"),
        ("users", "add", "ada", "--role", "assessor"),
        ("assess", WHO, "BL", "10MWT", "--item", "TIMED_M=10", "--item", "C1_S=20", "--as", "ada"),
    ):
        assert call(*words)[0] == 0
    status, said = call("randomise", WHO)
    assert (status, f"`trialkit eligible {WHO}" in said) == (5, True)
    listed = call("eligible", WHO)[1]
    assert "MASS      inclusion  Body mass of at most 135 kg  [136: no]\n" in listed
    assert "PREGNANT  exclusion  Pregnancy\n" in listed
    rows = {row["id"]: row for row in json.loads(call("eligible", WHO, "--json")[1])["criteria"]}
    assert (rows["WALKS"]["from"], rows["WALKS"]["value"], rows["WALKS"]["answer"]) == (
        "WS10C",
        0.5,
        True,
    )
    with Study.open(tmp_path / "s", write=False) as study:
        asked = study.design.eligibility
        assert (
            asked == load_protocol(study.folder / "protocols/stroke-robotic.yaml").trial.eligibility
        )
    assert asked is not None
    assert list(rows) == [criterion.id for criterion in asked.criteria]
    yes = {c.id: "yes" if c.kind == "inclusion" else "no" for c in asked.criteria}

    def answer(given: dict[str, str]) -> tuple[int, str]:
        return call("eligible", WHO, "--answer", ",".join(f"{k}={v}" for k, v in given.items()))

    status, said = answer(yes)
    assert (status, "MASS is answered yes, and weight_kg is 136" in said) == (5, True)
    status, said = answer(yes | {"MASS": "no"})
    assert (status, f"`trialkit exclude {WHO}" in said) == (5, True)
    status, said = answer({name: yes[name] for name in yes if name != "PAIN"})
    assert (status, "no answer to PAIN" in said) == (2, True)
    assert call("eligible", WHO, "--answer", "PAIN=no,PAIN=no")[0] == 2
    assert call("eligible", WHO, "--answer", "PAIN")[0] == 2
