"""The terminal beside a running session: keys for the operator, and a live display."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from trialkit.protocol.signs import sign_fault
from trialkit.session.operator import AttendingOperator, View
from trialkit.session.runner import Progress
from trialkit.session.words import Decide, Hold, Input, LogBlock, Propose, Resume, Stop

REASONS = {"1": "rest taken", "2": "fit corrected", "3": "sign checked", "4": "other"}
KEYS = "h hold · r resume · s stop · p participant stops · y/n proposal · Ctrl-C stop"
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


def _number(sign: str, line: str) -> tuple[float | None, str]:
    """Return the value of a sign that was typed, or None and why it is none."""
    try:
        value = float(line)
    except ValueError:
        return None, f"{line!r} is no number."
    fault = sign_fault(sign, value)
    return (None, fault) if fault else (value, "")


class TerminalOperator(AttendingOperator):
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
        self._typed = ""
        self._lines: list[str] = []
        self._word: bool | None = None
        self._values: dict[str, float] = {}
        self._open: list[str] = []
        self.message = ""

    def screen(self, prompts: Sequence[str], view: View) -> Mapping[str, float]:
        """Take the signs before the start; this waits, for nothing moves yet."""
        values = dict(super().screen(prompts, view))
        for sign in prompts:
            while sign not in values:
                sys.stderr.write(f"{sign}: ")
                line = self._line()
                if not line:
                    break
                value, fault = _number(sign, line)
                if value is not None:
                    values[sign] = value
                else:
                    sys.stderr.write(f"{fault} Enter alone where it is not known.\n")
        return values

    def _line(self) -> str:
        line = ""
        while True:
            for key in self._keyboard.read():
                if key in "\r\n":
                    sys.stderr.write("\n")
                    return line
                line += key
                sys.stderr.write(key)
                sys.stderr.flush()
            time.sleep(0.05)

    def commands(self, view: View) -> Sequence[Input]:  # noqa: ARG002
        """Turn the keys since the last tick into commands."""
        wanted: list[Input] = []
        for key in self._keyboard.read():
            wanted += self._key(key)
        return wanted

    def _key(self, key: str) -> list[Input]:
        if key == "h":
            return [Hold()]
        if key in "sp":
            return [Stop("operator") if key == "s" else Stop("participant", "asked")]
        if key == "r":
            self._resuming = True
            self.message = "reason: " + ", ".join(f"{k} {v}" for k, v in REASONS.items())
        elif self._resuming and key in REASONS:
            self._resuming, self.message = False, ""
            return [Resume(REASONS[key], REASONS[key].replace(" ", "_"))]
        elif key in "yn":
            self._word = key == "y"
        elif key in "0123456789.-":
            self._typed += key
        elif key in "\r\n":
            self._lines.append(self._typed)
            self._typed = ""
        return []

    def answer(self, block: str, prompts: Sequence[str], view: View) -> Mapping[str, float] | None:
        """Take the values from the patient, or line by line from the keyboard."""
        values = super().answer(block, prompts, view)
        if values:
            return values
        if not self._open:
            self._open, self._values = list(prompts), {}
        while self._lines and self._open:
            line, sign = self._lines.pop(0), self._open[0]
            if line:
                value, fault = _number(sign, line)
                if value is None:
                    self.message = f"{fault} Enter {sign} again."
                    return None
                self._values[sign] = value
            self._open.pop(0)
        if self._open:
            self.message = f"{block}: enter {self._open[0]} (Enter alone: not known) {self._typed}"
            return None
        self.message = ""
        return self._values

    def decide(self, proposal: Propose, view: View) -> Decide | None:  # noqa: ARG002
        """Take y or n for the oldest proposal."""
        if self._word is None:
            self.message = f"{proposal.parameter} {proposal.old:g} -> {proposal.proposed:g}? y or n"
            return None
        word, self._word, self.message = self._word, None, ""
        return Decide(proposal.number, word, self.name)

    def log_block(self, block: LogBlock, view: View) -> float | None:  # noqa: ARG002
        """Take the minutes of a block without the device from the keyboard."""
        if self._lines and self._lines[0]:
            try:
                minutes = float(self._lines.pop(0))
            except ValueError:
                return None
            self.message = ""
            return max(0.0, minutes)
        self._lines.clear()
        self.message = f"{block.block}: enter the minutes that were done {self._typed}"
        return None

    def tell(self, text: str) -> None:
        """Show a remark in the display."""
        self.message = text


class Display:
    """A table on standard error that follows a session."""

    def __init__(self, operator: TerminalOperator | None) -> None:
        self._operator = operator
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)

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
        table = Table(title=f"Session {progress.session}", show_header=False)
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
        if self._operator is not None:
            rows += [("", self._operator.message), ("keys", KEYS), ("", STOP_NOTE)]
        for label, text in rows:
            table.add_row(label, text)
        self._live.update(table)
