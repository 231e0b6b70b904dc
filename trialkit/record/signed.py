"""What can be signed, and which events it consists of.

A thing that is signed has a name, such as ``form:GAIT-01-001/BL/10MWT``. It is the events that
belong to it; a later event that belongs to it too is a change, and breaks the signature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trialkit._canonical import sha256_json
from trialkit.record.chain import Event
from trialkit.record.roles import enters_data

SCHEMA = "trialkit.signed/1"


@dataclass
class SignedState:
    """A signature that was applied; `broken_by` is the event that first changed what it covers."""

    seq: int
    what: str
    subject: str | None
    signer: str
    broken_by: int | None = None


def things_of(event: Event) -> list[str]:
    """Return the names of the things to which `event` belongs."""
    p, subject = event.payload, event.subject
    if event.kind == "plan.locked":
        return ["plan"]
    if event.kind == "snapshot.built":
        return [f"snapshot:{p['snapshot']}"]
    if event.kind == "report.rendered":
        return [f"report:{event.seq}"]
    if subject is None or not enters_data(event.kind):
        return []
    things = [f"casebook:{subject}"]
    if event.kind.startswith("assessment."):
        things.append(f"form:{subject}/{p['visit']}/{p['instrument']}")
    elif event.kind.startswith("session."):
        things.append(f"session:{_session(subject, p)}")
    return things


def _session(subject: str, p: dict[str, Any]) -> str:
    return p["session"] if "session" in p else f"{subject}-S{p['number']:02d}"


def digest_of(study: str, what: str, events: Iterable[Event]) -> str:
    """Return the SHA-256 that a signature of `what` covers: of the hashes of its events."""
    hashes = [event.hash for event in events]
    return sha256_json({"schema": SCHEMA, "study": study, "what": what, "events": hashes})
