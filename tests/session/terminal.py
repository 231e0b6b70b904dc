"""The command line on a pseudo-terminal: keys go in, what is drawn is collected."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

DEADLINE_S = 120.0
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A verb of the command line whose keys and display are a pseudo-terminal."""

    def __init__(self, folder: Path, verb: str, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        program = "from trialkit.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, verb, "--study", str(folder), *arguments, "--json"],
            stdin=slave,
            stderr=slave,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "190", "LINES": "50"},
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
        """Wait until `text` is drawn, from what was waited for last."""
        end = time.monotonic() + DEADLINE_S
        while True:
            shown = " ".join(_STYLE.sub("", self.drawn).split())
            if text in shown:
                break
            assert self.process.poll() is None, shown[-2000:]
            assert time.monotonic() < end, shown[-2000:]
            time.sleep(0.05)
        self.drawn = ""

    def press(self, keys: str) -> None:
        """Press keys, all at once."""
        os.write(self._master, keys.encode())

    def end(self) -> str:
        """Wait for the end, and return what was printed."""
        return self.process.communicate(timeout=DEADLINE_S)[0]
