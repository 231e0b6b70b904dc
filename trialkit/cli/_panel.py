"""The display of a supervisor: one line a session, and the keys of the therapist."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from trialkit.cli._live import STOP_NOTE, Keyboard
from trialkit.session.supervisor import Supervised
from trialkit.session.words import Hold, Input, Resume, Stop

KEYS = "1-3 choose · h hold · r resume (rested) · s stop · p participant stops · Ctrl-C stop all"


class Panel:
    """A table on standard error that follows several sessions, and reads their keys.

    Parameters
    ----------
    keyboard : Keyboard
    """

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard = keyboard
        self._chosen = 0
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
        table = Table(caption=f"{KEYS}\n{STOP_NOTE}")
        for name in ("", "session", "state", "block", "left", "delivered", "belt", "waiting for"):
            table.add_column(name)
        for index, session in enumerate(sessions):
            mark = f"{index + 1}{' *' if index == self._chosen else ''}"
            table.add_row(mark, *_cells(session))
        self._live.update(table)

    def _press(self, key: str, sessions: Sequence[Supervised]) -> None:
        if key.isdigit() and 1 <= int(key) <= len(sessions):
            self._chosen = int(key) - 1
        wanted: dict[str, Input] = {
            "h": Hold(),
            "r": Resume("rest taken", "rest_taken"),
            "s": Stop("operator"),
            "p": Stop("participant", "asked"),
        }
        if key in wanted:
            sessions[self._chosen].command(wanted[key])


def _cells(session: Supervised) -> list[str]:
    name = f"{session.job.usubjid} S{session.job.number:02d}"
    progress = session.progress
    if progress is None:
        return [name, session.status, "", "", "", "", ""]
    left = f"{progress.left_s / 60:.1f} min" if session.running and progress.left_s < 1e6 else ""
    share = progress.delivered_s / progress.planned_s if progress.planned_s else 0.0
    return [
        name,
        session.status,
        progress.block,
        left,
        f"{progress.delivered_s / 60:.1f} min ({share:.0%})",
        f"{progress.speed_m_s * 3.6:.2f} km/h",
        " ".join(progress.waiting),
    ]
