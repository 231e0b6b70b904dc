"""A person who answers by typing, wherever the keys are: one question at a time."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trialkit.protocol.signs import sign_fault
from trialkit.session.operator import AttendingOperator, View
from trialkit.session.words import Decide, LogBlock, Propose


@dataclass(frozen=True)
class Question:
    """What a person is asked now; `number` tells it from every other of the session."""

    number: int
    kind: Literal["value", "yes_no"]
    block: str
    what: str
    text: str


@dataclass(frozen=True)
class Entered:
    """A line that was typed in answer to the question of that number."""

    number: int
    line: str


def _value(sign: str, line: str) -> tuple[float | None, str]:
    """Return the value of a sign that was typed, or None and why it is none."""
    try:
        value = float(line)
    except ValueError:
        return None, f"{line!r} is no number."
    fault = sign_fault(sign, value)
    return (None, fault) if fault else (value, "")


class TypingOperator(AttendingOperator):
    """Asks a person for what neither fixed values nor the virtual patient answer.

    An empty line declines a sign. Answers are taken in the order in which they were typed,
    and only while a question is open: what is typed before a question never answers it.

    Attributes
    ----------
    question : Question or None
        What is asked now.
    message : str
        The last remark.
    """

    def __init__(self, name: str, answers: Mapping[str, float] | None = None) -> None:
        super().__init__(name, answers)
        self.question: Question | None = None
        self.message = ""
        self._asked = 0
        self._lines: deque[str] = deque()
        self._forms: dict[str, tuple[list[str], dict[str, float]]] = {}

    @abstractmethod
    def attend(self) -> bool:
        """Wait a moment for the person; return False where the session is to end."""

    def enter(self, line: str) -> None:
        """Take a line that was typed; nothing where nothing is asked."""
        if self.question is not None:
            self._lines.append(line)

    def screen(self, prompts: Sequence[str], view: View) -> Mapping[str, float]:
        """Take the signs before the start; this waits, for nothing moves yet."""
        while True:
            values = self.answer("screening", prompts, view)
            if values is not None:
                return values
            if view.ended() or not self.attend():
                self.question = None
                self._lines.clear()
                return self._forms.pop("screening")[1]

    def answer(self, block: str, prompts: Sequence[str], view: View) -> Mapping[str, float] | None:
        """Take what is known, and the rest from the person, sign by sign."""
        if block not in self._forms:
            known = self._ask(prompts, view)
            self._forms[block] = ([sign for sign in prompts if sign not in known], known)
        left, values = self._forms[block]
        while left:
            sign = left[0]
            line = self._reply("value", block, sign, f"{block}: {sign} (Enter alone: not known)")
            if line is None:
                return None
            value, fault = _value(sign, line) if line else (None, "")
            self.message = f"{fault} Enter {sign} again." if fault else ""
            if not fault:
                left.pop(0)
            if value is not None:
                values[sign] = value
        self._settle()
        return self._forms.pop(block)[1]

    def decide(self, proposal: Propose, view: View) -> Decide | None:  # noqa: ARG002
        """Take y or n."""
        text = f"{proposal.parameter} {proposal.old:g} -> {proposal.proposed:g}? y or n"
        word = self._reply("yes_no", f"proposal {proposal.number}", proposal.parameter, text)
        if word not in ("y", "n"):
            return None
        self._settle()
        return Decide(proposal.number, word == "y", self.name)

    def log_block(self, block: LogBlock, view: View) -> float | None:  # noqa: ARG002
        """Take the minutes of a block without the device."""
        text = f"{block.block}: the minutes that were done ({block.minutes:g} planned)"
        line = self._reply("value", block.block, "minutes", text)
        if line is None:
            return None
        try:
            minutes = float(line)
        except ValueError:
            minutes = math.nan
        if not (math.isfinite(minutes) and minutes >= 0):
            self.message = f"{line!r} is no number of minutes."
            return None
        self._settle()
        return minutes

    def tell(self, text: str) -> None:
        """Keep a remark to be shown."""
        self.message = text

    def _reply(
        self, kind: Literal["value", "yes_no"], block: str, what: str, text: str
    ) -> str | None:
        """Return the answer to a question; None where there is none yet, or another is open."""
        open_ = self.question
        if open_ is None:
            self._asked += 1
            open_ = self.question = Question(self._asked, kind, block, what, text)
        if (open_.kind, open_.block, open_.what) != (kind, block, what) or not self._lines:
            return None
        self.question = None
        return self._lines.popleft()

    def _settle(self) -> None:
        """Forget what was typed beyond the last answer, so that it answers nothing else."""
        if self.question is None:
            self._lines.clear()
