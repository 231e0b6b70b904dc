"""The display of a supervisor: one line a session, and the keys of the therapist."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trialkit.cli._live import STOP_NOTE, Keyboard, pressed
from trialkit.session.supervisor import Supervised
from trialkit.session.typed import Entered
from trialkit.session.words import Hold, Input, Resume, Stop

NAMES = "abc"
KEYS = (
    "a-c choose · h hold · r resume (rested) · s stop the chosen one · p participant stops · "
    "S or Ctrl-C stop all · digits and Enter answer · y/n proposal"
)

COMMANDS: dict[str, Input] = {
    "h": Hold(),
    "r": Resume("rest taken", "rest_taken"),
    "s": Stop("operator"),
    "p": Stop("participant", "asked"),
}


class Panel:
    """A table on standard error that follows several sessions, and reads their keys.

    What is typed goes to the chosen session, and only while that one asks something. Where
    it asks nothing and another does, the panel says which; it never chooses by itself.

    Parameters
    ----------
    keyboard : Keyboard
    """

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard = keyboard
        self._chosen = 0
        self._typed = ""
        self._lines: defaultdict[int, deque[str]] = defaultdict(deque)
        self._answered: dict[int, int] = {}
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)

    def __enter__(self) -> Panel:
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

    def show(self, sessions: Sequence[Supervised]) -> None:
        """Take the keys that were pressed, and draw the state of every session."""
        for key in self._keyboard.read():
            self._press(key, sessions)
        for index, session in enumerate(sessions):
            self._answer(index, session)
        table = Table(caption=f"{KEYS}\n{STOP_NOTE}")
        for name in ("", "session", "state", "block", "left", "delivered", "belt", "asked"):
            table.add_column(name)
        for index, session in enumerate(sessions):
            mark = f"{NAMES[index]}{' *' if index == self._chosen else ''}"
            table.add_row(mark, *_cells(session))
        self._live.update(Group(table, Text(self._line(sessions), style="bold")))

    def _press(self, key: str, sessions: Sequence[Supervised]) -> None:
        chosen = sessions[self._chosen]
        if key in NAMES[: len(sessions)]:
            self._choose(NAMES.index(key))
        elif key == "S":
            for session in sessions:
                session.command(Stop("operator"))
        elif key in COMMANDS:
            chosen.command(COMMANDS[key])
        elif chosen.question is not None:
            self._typed, line = pressed(chosen.question, self._typed, key)
            if line is not None:
                self._lines[self._chosen].append(line)

    def _choose(self, index: int) -> None:
        """Choose a session; a number that was begun for another goes nowhere."""
        if index != self._chosen:
            self._chosen, self._typed = index, ""

    def _answer(self, index: int, session: Supervised) -> None:
        """Send one line for each question, in the order in which they were typed for it."""
        question, lines = session.question, self._lines[index]
        if question is None:
            lines.clear()
            if index == self._chosen:
                self._typed = ""
        elif lines and question.number > self._answered.get(index, 0):
            self._answered[index] = question.number
            session.command(Entered(question.number, lines.popleft()))

    def _line(self, sessions: Sequence[Supervised]) -> str:
        """Say who is asked what, above all of the chosen session."""
        asking = [NAMES[at] for at, s in enumerate(sessions) if s.question is not None]
        others = [name for name in asking if name != NAMES[self._chosen]]
        waiting = f"   ({', '.join(others)} asked too)" if others else ""
        chosen = sessions[self._chosen]
        who = f"{NAMES[self._chosen]} {_name(chosen)}"
        remark = f"{chosen.remark} " if chosen.remark else ""
        if chosen.question is None:
            return f"{remark}{who} is asked nothing{waiting}"
        return f"{remark}{who}, {chosen.question.text}: {self._typed}{waiting}"


def _name(session: Supervised) -> str:
    return f"{session.job.usubjid} S{session.job.number:02d}"


def _cells(session: Supervised) -> list[str]:
    name, progress = _name(session), session.progress
    asked = "" if session.question is None else session.question.text
    if progress is None:
        return [name, session.status, "", "", "", "", asked]
    left = f"{progress.left_s / 60:.1f} min" if session.running and progress.left_s < 1e6 else ""
    share = progress.delivered_s / progress.planned_s if progress.planned_s else 0.0
    return [
        name,
        session.status,
        progress.block,
        left,
        f"{progress.delivered_s / 60:.1f} min ({share:.0%})",
        f"{progress.speed_m_s * 3.6:.2f} km/h",
        asked,
    ]
