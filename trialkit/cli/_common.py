"""What every verb shares: options, output, and the way from an error to an exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.errors import TrialkitError

if TYPE_CHECKING:
    from trialkit.record import Event

StudyOption = Annotated[
    Path, typer.Option("--study", "-s", envvar="TRIALKIT_STUDY", help="The study folder.")
]
UserOption = Annotated[
    str | None,
    typer.Option("--as", envvar="TRIALKIT_USER", help="Who acts; default: the login name."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]

HERE = Path()


def emit(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a verb: `data` as one JSON object, or `text` for people."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, sort_keys=True, default=str) + "\n")
    elif text:
        sys.stdout.write(text.rstrip("\n") + "\n")


#: Fields of payloads that are numbers of events.
_NUMBERS = frozenset({"seq", "upto", "returned", "upto_seq"})


def show_event(event: Event, text: str, as_json: bool, **more: Any) -> None:
    """Print an event that a verb appended: `text` for people, with the event's number.

    A role that may not see allocations is told no numbers of events: a session on a device takes
    more of them than one without.
    """
    data = {
        "kind": event.kind,
        "subject": event.subject,
        "at": event.at,
        "hash": event.hash,
        "payload": event.payload,
        **more,
    }
    if counts_events(event.role):
        emit(data | {"seq": event.seq}, f"{text} (event {event.seq})", as_json=as_json)
        return
    data["payload"] = {k: v for k, v in event.payload.items() if k not in _NUMBERS}
    emit(data, text, as_json=as_json)


def counts_events(role: str) -> bool:
    """Return True where people in `role` may be told numbers of events."""
    from trialkit.record.roles import permissions_of

    return "see_allocation" in permissions_of(role)


def fail(error: TrialkitError, *, as_json: bool) -> int:
    """Print `error` and return its exit status: text to standard error, JSON to standard output."""
    if as_json:
        sys.stdout.write(json.dumps({"error": error.to_dict()}, indent=2, default=str) + "\n")
    sys.stderr.write(f"{error}\n")
    return error.exit_status


def note(text: str) -> None:
    """Print progress or a remark to standard error."""
    sys.stderr.write(text.rstrip("\n") + "\n")
