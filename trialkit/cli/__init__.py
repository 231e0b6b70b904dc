"""The command line: ``trialkit VERB``. Heavy imports happen inside the verbs."""

from __future__ import annotations

import sys
from copy import copy
from importlib import import_module
from typing import Annotated

import typer

from trialkit.cli._common import fail
from trialkit.errors import TrialkitError

app = typer.Typer(
    name="trialkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Gait-training trials from a written protocol to a signed evidence package.",
)

# One module a verb group; each has ``register(app)``.
GROUPS: tuple[str, ...] = (
    "study",
    "record",
    "participants",
    "diary",
    "ae",
    "query",
    "deviation",
    "forms",
    "randomise",
    "protocol",
    "plan",
    "data",
    "exchange",
    "analyse",
    "report",
    "evidence",
    "session",
    "device",
    "preview",
    "gait",
    "progress",
    "supervise",
    "users",
    "sign",
    "lock",
    "sync",
    "demo",
)

for _group in GROUPS:
    import_module(f"trialkit.cli.{_group}").register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from trialkit import __version__

        sys.stdout.write(f"trialkit {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Gait-training trials from a written protocol to a signed evidence package."""


def narrowed(verb: str) -> typer.Typer:
    """Return the command line with the one verb that is called; all of it for an unknown one.

    Building the commands of all verbs takes longer than most verbs do.
    """
    commands = [one for one in app.registered_commands if one.name == verb]
    groups = [one for one in app.registered_groups if one.name == verb]
    if not commands and not groups:
        return app
    small = copy(app)
    small.registered_commands, small.registered_groups = commands, groups
    return small


def main() -> None:
    """Run the command line and leave with the exit status of what happened."""
    try:
        narrowed(sys.argv[1] if len(sys.argv) > 1 else "")()
    except TrialkitError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
