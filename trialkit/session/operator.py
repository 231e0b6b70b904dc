"""The people beside the device: who answers prompts, holds, resumes, stops and confirms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trialkit.session.words import Decide, Hold, Input, LogBlock, Propose, Resume, Stop

Asker = Callable[[str], Mapping[str, float] | None]


@dataclass(frozen=True)
class View:
    """What an operator sees of a running session.

    `ask` asks the virtual patient of a simulated device; on a real one it knows nothing.
    `ended` says, at any time, whether a signal has stopped the device: then nobody waits.
    """

    t_s: float
    phase: str
    block: str
    ask: Asker
    ended: Callable[[], bool] = lambda: False


class Operator(Protocol):
    """Supplies people's inputs; every method returns at once."""

    @property
    def name(self) -> str:
        """Who is recorded as having decided."""
        ...

    def screen(self, prompts: Sequence[str], view: View) -> Mapping[str, float]:
        """Return the signs entered before the start."""
        ...

    def commands(self, view: View) -> Sequence[Input]:
        """Return what people want now: Hold, Resume, Stop."""
        ...

    def due_s(self, t_s: float) -> float:
        """Return the seconds until this operator will want something, where that is known."""
        ...

    def answer(self, block: str, prompts: Sequence[str], view: View) -> Mapping[str, float] | None:
        """Return the values for a block's prompts; None: not yet; empty: declined."""
        ...

    def decide(self, proposal: Propose, view: View) -> Decide | None:
        """Return the word on a proposal, or None: not yet."""
        ...

    def log_block(self, block: LogBlock, view: View) -> float | None:
        """Return the minutes of a finished block without the device, or None: not yet."""
        ...

    def tell(self, text: str) -> None:
        """Show a remark."""
        ...


HELD_AT_MOST_S = 600.0
"""An attending operator ends a session that has been held for so long."""


class AttendingOperator:
    """Stays beside the device: asks the patient, agrees with proposals, resumes nothing.

    A session that a guard or a rule has held is not resumed and is stopped in the end.

    With a simulated device the answers are the virtual patient's. With a real one this
    operator knows no answer and declines every prompt.

    Parameters
    ----------
    name : str
    answers : mapping, optional
        Fixed values that come before the patient's, by sign.
    """

    def __init__(self, name: str = "operator", answers: Mapping[str, float] | None = None) -> None:
        self._name = name
        self._answers = dict(answers or {})
        self._held_since: float | None = None

    @property
    def name(self) -> str:
        """Who is recorded as having decided."""
        return self._name

    def screen(self, prompts: Sequence[str], view: View) -> Mapping[str, float]:
        """Answer with fixed values, else ask the patient."""
        return self._ask(prompts, view)

    def commands(self, view: View) -> Sequence[Input]:
        """Stop for a participant who asks for it, and a session held for `HELD_AT_MOST_S`."""
        if view.phase != "held":
            self._held_since = None
            return ()
        if self._held_since is None:
            self._held_since = view.t_s
            if (view.ask("asks_to_stop") or {}).get("asks_to_stop"):
                return (Stop("participant", "asked"),)
        long = view.t_s - self._held_since >= HELD_AT_MOST_S
        return (Stop("operator", "held_long"),) if long else ()

    def due_s(self, t_s: float) -> float:  # noqa: ARG002
        """Never."""
        return float("inf")

    def answer(
        self,
        block: str,  # noqa: ARG002
        prompts: Sequence[str],
        view: View,
    ) -> Mapping[str, float] | None:
        """Answer with fixed values, else ask the patient."""
        return self._ask(prompts, view)

    def decide(self, proposal: Propose, view: View) -> Decide | None:  # noqa: ARG002
        """Agree."""
        return Decide(proposal.number, True, self._name)

    def log_block(self, block: LogBlock, view: View) -> float | None:  # noqa: ARG002
        """Log the planned minutes."""
        return block.minutes

    def tell(self, text: str) -> None:
        """Do nothing with a remark."""

    def _ask(self, prompts: Sequence[str], view: View) -> dict[str, float]:
        values: dict[str, float] = {}
        for prompt in prompts:
            if prompt in self._answers:
                values[prompt] = self._answers[prompt]
            else:
                values.update(view.ask(prompt) or {})
        return values


@dataclass(frozen=True)
class Planned:
    """A command at `at_s` seconds of session time."""

    at_s: float
    command: Hold | Resume | Stop


class ScriptedOperator(AttendingOperator):
    """An attending operator who also gives commands at planned times.

    Parameters
    ----------
    script : iterable of Planned
    name, answers
        See `AttendingOperator`.
    """

    def __init__(
        self,
        script: Iterable[Planned] = (),
        name: str = "operator",
        answers: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(name, answers)
        self._script = sorted(script, key=lambda planned: planned.at_s)

    def commands(self, view: View) -> Sequence[Input]:
        """Return the commands whose time has come."""
        due = [p.command for p in self._script if p.at_s <= view.t_s + 1e-6]
        self._script = self._script[len(due) :]
        return due if due or self._script else super().commands(view)

    def due_s(self, t_s: float) -> float:
        """Return the time to the next planned command."""
        return max(0.0, self._script[0].at_s - t_s) if self._script else float("inf")
