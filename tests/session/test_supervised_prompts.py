"""A therapist answers the prompts of several participants: real keys, real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import USUBJID, asking_session
from tests.session.terminal import Terminal
from trialkit.participants import consent, enrol
from trialkit.study import Study

PEOPLE = [USUBJID, "SCI-RAGT-01-002", "SCI-RAGT-01-003"]


@pytest.fixture
def panel(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], tuple[Path, Terminal]]]:
    opened: list[Terminal] = []

    def start(many: int) -> tuple[Path, Terminal]:
        study = make_study(
            session=asking_session(), staffing={"max_participants_per_therapist": many}
        )
        for usubjid in PEOPLE[1:many]:
            enrol(study, usubjid, site="01")
            consent(study, usubjid, version="1")
        study.close()
        monkeypatch.setenv("TRIALKIT_KEYS", str(study.folder.parent / "keys"))
        people = [text for who in PEOPLE[:many] for text in ("-p", f"{who}:1:1")]
        keys = Terminal(study.folder, "supervise", "--as", "owner", *people, "--speed", "10")
        opened.append(keys)
        keys.wait_for("a-c choose")  # keys that were pressed before are dropped by the terminal
        return study.folder, keys

    yield start
    for one in opened:
        one.process.kill()
        one.process.communicate()


def entered(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    with Study.open(folder, write=False) as study:
        for event in study.record.read(kinds=["session.prompt"]):
            values = event.payload["values"]
            found.setdefault(event.subject or "", {})[event.payload["prompt"]] = values
    return found


def test_each_answer_goes_to_the_participant_who_was_chosen(
    panel: Callable[[int], tuple[Path, Terminal]],
) -> None:
    folder, keys = panel(3)
    for name, who in zip("cab", [PEOPLE[2], PEOPLE[0], PEOPLE[1]], strict=True):
        keys.press(name)
        keys.wait_for(f"{name} {who} S01, screening: dizziness")
        keys.press(f"{int(name == 'c')}\r")
        keys.wait_for(f"{name} {who} S01, screening: chest_pain")
        keys.press(f"{int(name != 'c')}\r")
    for name, who in zip("abc", PEOPLE, strict=True):
        keys.press(name)
        keys.wait_for(f"{name} {who} S01, warm-up: dizziness")
        if name == "b":
            keys.press("s")  # one alone
        else:
            keys.press("0\r\r" if name == "a" else "1\r1\r")
    said = {s["usubjid"]: s["status"] for s in json.loads(keys.end())["sessions"]}
    assert said == dict(zip(PEOPLE, ["completed", "stopped_operator", "completed"], strict=True))
    found = entered(folder)
    for at, who in enumerate(PEOPLE):
        screening = found[who]["screening"]
        assert (screening["dizziness"], screening["chest_pain"]) == (int(at == 2), int(at != 2))
    one, other = found[PEOPLE[0]]["warm-up"], found[PEOPLE[2]]["warm-up"]
    assert one["dizziness"] == 0
    assert "chest_pain" not in one
    assert (other["dizziness"], other["chest_pain"]) == (1, 1)


def test_one_key_stops_all_and_a_number_begun_for_one_goes_to_no_other(
    panel: Callable[[int], tuple[Path, Terminal]],
) -> None:
    folder, keys = panel(2)
    keys.wait_for(f"a {PEOPLE[0]} S01, screening: dizziness")
    keys.press("1")
    keys.wait_for("(Enter alone: not known): 1")
    keys.press("b")
    keys.wait_for(f"b {PEOPLE[1]} S01, screening: dizziness")
    keys.press("0\r0\r")
    keys.wait_for(f"b {PEOPLE[1]} S01, warm-up: dizziness")
    keys.press("S")
    said: list[dict[str, Any]] = json.loads(keys.end())["sessions"]
    assert [s["status"] for s in said] == ["stopped_operator"] * 2
    assert keys.process.returncode == 6
    found = entered(folder)
    assert found[PEOPLE[1]]["screening"]["dizziness"] == 0
    assert "dizziness" not in found.get(PEOPLE[0], {}).get("screening", {})
    with Study.open(folder, write=False) as study:
        assert study.record.verify().ok
