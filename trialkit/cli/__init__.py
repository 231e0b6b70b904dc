"""The command line: ``trialkit VERB``. Heavy imports happen inside the verbs."""

from __future__ import annotations

import sys
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


def main() -> None:
    """Run the command line and leave with the exit status of what happened."""
    try:
        app()
    except TrialkitError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
