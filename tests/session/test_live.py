"""One session at the keyboard: real keys and a real display on a pseudo-terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import USUBJID, asking_session
from tests.session.terminal import Terminal
from trialkit.study import Study

ONE = ("--as", "owner", "-p", USUBJID, "-n", "1", "--day", "1")


@pytest.fixture
def terminal(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Path, Terminal]]]:
    opened: list[Terminal] = []

    def start(*arguments: str, **changes: Any) -> tuple[Path, Terminal]:
        study = make_study(**changes)
        study.close()
        monkeypatch.setenv("TRIALKIT_KEYS", str(study.folder.parent / "keys"))
        opened.append(Terminal(study.folder, "run", *ONE, *arguments))
        return study.folder, opened[-1]

    yield start
    for one in opened:
        one.process.kill()
        one.process.communicate()


def prompts(folder: Path) -> dict[str, dict[str, float]]:
    with Study.open(folder, write=False) as study:
        events = list(study.record.read(kinds=["session.prompt"]))
    return {event.payload["prompt"]: event.payload["values"] for event in events}


def test_hold_resume_and_stop_from_the_keyboard(terminal: Callable[..., Any]) -> None:
    folder, keys = terminal("--speed", "3")
    keys.wait_for("running in warm-up")
    keys.press("h")
    keys.wait_for("held in")
    keys.press("1")  # a digit alone resumes nothing
    keys.press("r")
    keys.wait_for("reason: 1 rest taken")
    keys.press("1")
    keys.wait_for("running in")
    keys.press("s")
    assert json.loads(keys.end())["status"] == "stopped_operator"
    assert keys.process.returncode == 6
    with Study.open(folder, write=False) as study:
        events = list(study.record.read(kinds=["session.transition"]))
    news = [event.payload["new"] for event in events]
    assert news == ["ready", "running", "pausing", "held", "running", "stopped_operator"]
    assert [event.reason for event in events if event.reason] == ["rest taken"]


def test_what_the_patient_does_not_know_is_asked_and_no_key_is_lost(
    terminal: Callable[..., Any],
) -> None:
    folder, keys = terminal("--speed", "6", session=asking_session())
    keys.wait_for("screening: dizziness")
    keys.press("7\r")
    keys.wait_for("is not possible for dizziness")
    keys.press("y5\x7f0\r1\r")  # two answers, one corrected, in one read; letters are no number
    keys.wait_for("running in")
    keys.wait_for("warm-up: dizziness")
    keys.press("\r")  # not known
    keys.wait_for("warm-up: chest_pain")
    keys.press("0\r1\r\r")  # what is typed beyond the last question answers nothing
    assert json.loads(keys.end())["status"] == "completed"
    entered = prompts(folder)
    assert entered["screening"]["pain_0_10"] >= 0  # the patient's own answer
    assert (entered["screening"]["dizziness"], entered["screening"]["chest_pain"]) == (0, 1)
    assert entered["warm-up"]["chest_pain"] == 0
    assert "dizziness" not in entered["warm-up"]
    assert "rpe" in entered["warm-up"]


@pytest.mark.parametrize("key", ["s", "\x03"])
def test_stop_is_at_hand_while_a_sign_is_asked_before_the_start(
    terminal: Callable[..., Any], key: str
) -> None:
    folder, keys = terminal("--speed", "6", session=asking_session())
    keys.wait_for("screening: dizziness")
    if key == "s":
        keys.press("1s")
    else:  # the pseudo-terminal is not the controlling one
        keys.process.send_signal(2)
    assert json.loads(keys.end())["status"] == "stopped_operator"
    with Study.open(folder, write=False) as study:
        events = list(study.record.read(kinds=["session.transition"]))
    assert [event.payload["new"] for event in events] == ["ready", "stopped_operator"]
