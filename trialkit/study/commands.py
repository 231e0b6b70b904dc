"""Commands: the one way in which anything gets into the record.

A command is a function whose first argument is a `Study`. `command` makes it one: it asks for
the permission and the site, holds the writers' lock while the guards look and the events are
appended, and records a refusal. Everything that people do, by Python or by a verb, is a
command; `COMMANDS` lists them with the permission that each needs.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from trialkit.study.study import Study

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Command:
    """A command: its name, the permission it needs, its function.

    ``atomic`` commands are one transaction; a session or an analysis, which last, are not.
    """

    name: str
    permission: str
    function: Callable[..., object]
    atomic: bool

    def ask(self, study: Study, *, usubjid: str | None = None, site: str | None = None) -> None:
        """Refuse unless whoever acts may, for that participant or site.

        Raises
        ------
        NotPermitted
            The refusal is an event.
        """
        study.require(self.permission, command=self.name, subject=usubjid, site=site)


COMMANDS: dict[str, Command] = {}


def command(
    permission: str, *, atomic: bool = True, name: str | None = None
) -> Callable[[Callable[Concatenate[Study, P], R]], Callable[Concatenate[Study, P], R]]:
    """Make a function of a study a command.

    Parameters
    ----------
    permission : str
        What the person who acts must hold; asked before anything else.
    atomic : bool
        True holds the writers' lock and makes its events one transaction.
    name : str or None
        Default: the function's name.

    Raises
    ------
    NotPermitted
        When the command is called by a person without the permission, or for a participant of
        another site; the refusal is an event.
    """

    def make(
        function: Callable[Concatenate[Study, P], R],
    ) -> Callable[Concatenate[Study, P], R]:
        called = name or function.__name__
        names = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def run(study: Study, /, *args: P.args, **kwargs: P.kwargs) -> R:
            given = dict(zip(names[1:], args, strict=False)) | kwargs
            with study.batch() if atomic else nullcontext():
                made.ask(study, usubjid=_text(given.get("usubjid")), site=_text(given.get("site")))
                return function(study, *args, **kwargs)

        made = COMMANDS[called] = Command(called, permission, run, atomic)
        return run

    return make


def every_command() -> dict[str, Command]:
    """Return all commands by name, after importing each module of trialkit that may declare one.

    `COMMANDS` alone holds those whose modules have been imported so far.
    """
    import trialkit

    for module in pkgutil.walk_packages(trialkit.__path__, "trialkit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return dict(sorted(COMMANDS.items()))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
