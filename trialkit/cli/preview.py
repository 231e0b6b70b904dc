"""The verb ``preview``: walk a protocol before anyone does."""

from __future__ import annotations

from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, emit, note


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("preview")(preview_verb)


def preview_verb(
    protocol: Annotated[str, typer.Argument(help="A file, or the name of a shipped protocol.")],
    device: Annotated[str, typer.Option(help="Driver, by name.")] = "simulated",
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the driver; may be repeated.")
    ] = None,
    sign: Annotated[
        list[str] | None,
        typer.Option(help="NAME=NUMBER: a sign's value wherever it is asked; may be repeated."),
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(help="Sessions to walk; default the whole course.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Walk a protocol against a device and a simulated patient; exit 3 if any step is refused.

    Nothing is recorded, and no hardware is moved.
    """
    from trialkit.cli._pairs import numbers, pairs
    from trialkit.errors import FindingsError
    from trialkit.session import preview

    result = preview(
        protocol,
        device,
        pairs("--option", option or []),
        answers=numbers("--sign", sign or []),
        sessions=sessions,
    )
    emit(result.to_dict(), result.to_text(), as_json=as_json)
    if not result.ok:
        note(f"{len(result.findings)} finding(s): mend them before anyone walks.")
        raise typer.Exit(FindingsError.exit_status)
