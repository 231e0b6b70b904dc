"""The command line: ``trialkit VERB``. Heavy imports happen inside the verbs.

`main` builds the one verb that is called; the whole command line is `trialkit.cli.whole.app`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from trialkit.cli._common import fail
from trialkit.errors import TrialkitError

# One module a group of verbs, each with ``register(app)``; the verbs of each.
VERBS: dict[str, tuple[str, ...]] = {
    "study": ("init", "status"),
    "record": ("record",),
    "participants": (
        "enrol",
        "consent",
        "exclude",
        "randomise",
        "visit",
        "discontinue",
        "withdraw",
        "miss-session",
        "log-session",
    ),
    "diary": ("diary",),
    "ae": ("ae",),
    "query": ("query",),
    "deviation": ("deviation",),
    "forms": ("assess", "form"),
    "randomise": ("eligible", "randomise-verify", "randomise-simulate", "unblind"),
    "protocol": ("check",),
    "plan": ("plan",),
    "data": ("snapshot", "queries", "import", "export-session"),
    "exchange": ("redcap", "odm"),
    "analyse": ("analyse", "results"),
    "report": ("report",),
    "evidence": ("trace", "evidence"),
    "session": ("run", "recover", "replay"),
    "device": ("device",),
    "preview": ("preview",),
    "gait": ("gait",),
    "progress": ("progress", "next-settings"),
    "supervise": ("supervise",),
    "users": ("login", "logout", "whoami", "users"),
    "sign": ("sign",),
    "lock": ("freeze", "lock-data", "unlock-data"),
    "sync": ("sync",),
    "demo": ("demo",),
}


def _show_version(wanted: bool) -> None:
    if wanted:
        from trialkit import __version__

        sys.stdout.write(f"trialkit {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Gait-training trials from a written protocol to a signed evidence package."""


def command_line(modules: Iterable[str] = VERBS) -> typer.Typer:
    """Return the command line with the verbs of these modules of ``trialkit.cli``."""
    app = typer.Typer(
        name="trialkit",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Gait-training trials from a written protocol to a signed evidence package.",
    )
    app.callback()(_root)
    for name in modules:
        import_module(f"trialkit.cli.{name}").register(app)
    return app


def narrowed(verb: str) -> typer.Typer:
    """Return the command line with the one verb that is called; all of it for an unknown one.

    Importing the modules of all verbs and building their commands takes longer than most verbs do.
    """
    home = next((module for module, verbs in VERBS.items() if verb in verbs), None)
    if home is None:
        return command_line()
    app = command_line([home])
    app.registered_commands = [one for one in app.registered_commands if one.name == verb]
    app.registered_groups = [one for one in app.registered_groups if one.name == verb]
    return app


def main() -> None:
    """Run the command line and leave with the exit status of what happened."""
    try:
        narrowed(sys.argv[1] if len(sys.argv) > 1 else "")()
    except TrialkitError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
