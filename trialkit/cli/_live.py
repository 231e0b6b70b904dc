"""The terminal beside a running session: keys for the operator, and a live display."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from trialkit.session.operator import View
from trialkit.session.runner import Progress
from trialkit.session.typed import Question, TypingOperator
from trialkit.session.words import Hold, Input, Resume, Stop

REASONS = {"1": "rest taken", "2": "fit corrected", "3": "sign checked", "4": "other"}
KEYS = "h hold · r resume · s stop · p participant stops · y/n proposal · Ctrl-C stop"
_LOOK_S = 0.05
STOP_NOTE = "The physical emergency stop is the safety means; this screen is not."


class Keyboard:
    """Single keys from a terminal, without waiting and without echo."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)

    def __enter__(self) -> Keyboard:
        """Take single keys."""
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back as it was."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def read(self) -> str:
        """Return the keys pressed since the last call."""
        keys = ""
        while select.select([self._fd], [], [], 0)[0]:
            data = os.read(self._fd, 64)
            if not data:
                break
            keys += data.decode(errors="ignore")
        return keys


def pressed(question: Question, typed: str, key: str) -> tuple[str, str | None]:
    """Return what is typed after a key, and the answer where the key completes one.

    A value is digits and Enter, with the backspace; a yes or no is one key.
    """
    if question.kind == "yes_no":
        return "", key if key in "yn" else None
    if key in "\r\n":
        return "", typed
    if key in "\b\x7f":
        return typed[:-1], None
    return typed + key if key in "0123456789.-" else typed, None


class TerminalOperator(TypingOperator):
    """A person at the keyboard; with a simulated device the patient answers the prompts.

    Letters act at once. A resume takes a digit after it, the coded reason. Values for
    prompts are digits and Enter; Enter alone declines the sign.
    """

    def __init__(
        self, name: str, keyboard: Keyboard, answers: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(name, answers)
        self._keyboard = keyboard
        self._resuming = False
        self._wanted: list[Input] = []
        self.typed = ""
        self.draw: Callable[[], None] = lambda: None

    def attend(self) -> bool:
        """Read the keys and draw the question; False once a key has stopped the session."""
        self._read()
        self.draw()
        time.sleep(_LOOK_S)
        return not any(isinstance(command, Stop) for command in self._wanted)

    def commands(self, view: View) -> Sequence[Input]:  # noqa: ARG002
        """Turn the keys since the last tick into commands."""
        self._read()
        wanted, self._wanted = self._wanted, []
        return wanted

    def _read(self) -> None:
        for key in self._keyboard.read():
            self._key(key)
        if self.question is None:
            self.typed = ""

    def _key(self, key: str) -> None:
        if key == "h":
            self._wanted.append(Hold())
        elif key in "sp":
            self._wanted.append(Stop("operator") if key == "s" else Stop("participant", "asked"))
        elif key == "r":
            self._resuming = True
            self.message = "reason: " + ", ".join(f"{k} {v}" for k, v in REASONS.items())
        elif self._resuming and key in REASONS:
            self._resuming, self.message = False, ""
            self._wanted.append(Resume(REASONS[key], REASONS[key].replace(" ", "_")))
        elif self.question is not None:
            self.typed, line = pressed(self.question, self.typed, key)
            if line is not None:
                self.enter(line)


class Display:
    """A table on standard error that follows a session."""

    def __init__(self, operator: TerminalOperator | None) -> None:
        self._operator = operator
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        if operator is not None:
            operator.draw = lambda: self._draw("Before the start", [])

    def __enter__(self) -> Display:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End drawing."""
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the state of the session."""
        share = progress.delivered_s / progress.planned_s if progress.planned_s else 0.0
        left = f"{progress.left_s / 60:.1f} min left" if progress.left_s < 1e6 else ""
        rows = [
            ("state", f"{progress.phase} in {progress.block} {left}"),
            ("delivered", f"{progress.delivered_s / 60:.1f} min ({share:.0%})"),
            ("belt", f"{progress.speed_m_s * 3.6:.2f} km/h"),
            ("signs", ", ".join(f"{k} {v:g}" for k, v in progress.measures.items())),
            ("telemetry", f"{progress.rows} rows, {progress.gaps} gaps"),
        ]
        if len(progress.streams) > 1:
            rows += [(s.name, f"{s.rows} rows, {s.rate_hz:.0f} Hz") for s in progress.streams]
        self._draw(f"Session {progress.session}", rows)

    def _draw(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        table = Table(title=title, show_header=False)
        for label, text in rows:
            table.add_row(label, text)
        person = self._operator
        if person is not None:
            asked = "" if person.question is None else f"{person.question.text}: {person.typed}"
            for label, text in (("", person.message), ("asked", asked), ("keys", KEYS)):
                table.add_row(label, text)
            table.add_row("", STOP_NOTE)
        self._live.update(table)
