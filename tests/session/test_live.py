from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"


class Terminal:
    """The command line on a pseudo-terminal: keys go in, what is drawn is collected."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        program = "from trialkit.cli import main; main()"
        run = ["run", "--study", str(folder), "--as", "owner", "-p", USUBJID, *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *run],
            stdin=slave,
            stderr=slave,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
            start_new_session=True,
        )
        os.close(slave)
        self.drawn = ""
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            if not data:
                return
            self.drawn += data.decode(errors="ignore")

    def wait_for(self, text: str) -> None:
        begin, seen = time.monotonic(), len(self.drawn)
        while text not in self.drawn[max(0, seen - 2000) :]:
            assert self.process.poll() is None, self.drawn[-2000:]
            assert time.monotonic() - begin < 40, self.drawn[-2000:]
            time.sleep(0.05)
        self.drawn = ""

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())


@pytest.fixture
def folder(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Path:
    study = make_study()
    study.close()
    monkeypatch.setenv("TRIALKIT_KEYS", str(study.folder.parent / "keys"))
    return study.folder


def test_hold_resume_and_stop_from_the_keyboard(folder: Path) -> None:
    terminal = Terminal(folder, "-n", "1", "--day", "1", "--speed", "3", "--json")
    try:
        terminal.wait_for("running in warm-up")
        terminal.press("h")
        terminal.wait_for("held in")
        terminal.press("1")  # a digit alone resumes nothing
        terminal.press("r")
        terminal.wait_for("reason: 1 rest taken")
        terminal.press("1")
        terminal.wait_for("running in")
        terminal.press("s")
        out, _ = terminal.process.communicate(timeout=40)
    finally:
        terminal.process.kill()
    assert terminal.process.returncode == 6
    assert json.loads(out)["status"] == "stopped_operator"
    with Study.open(folder, write=False) as study:
        events = list(study.record.read(kinds=["session.transition"]))
    news = [event.payload["new"] for event in events]
    assert news == ["ready", "running", "pausing", "held", "running", "stopped_operator"]
    assert [event.reason for event in events if event.reason] == ["rest taken"]
