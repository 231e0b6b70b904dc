"""Events as links of a chain: their text, their hash, and how a chain is checked.

The body of an event is the canonical JSON of ``{seq, kind, at, mono_ns, actor, role, subject,
reason, payload, prev}``; its hash is the SHA-256 of that text; ``prev`` is the hash of the
event before it, so each hash covers all events up to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

from trialkit._canonical import canonical_json, sha256_text
from trialkit.errors import ChainBroken
from trialkit.record.kinds import KINDS, Payload

GENESIS = "0" * 64
Fault = Literal["altered", "removed", "reordered", "projection", "head", "fork"]
_FIELDS = frozenset(
    ("at", "kind", "mono_ns", "actor", "role", "subject", "reason", "payload", "prev", "seq")
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the record.

    ``at`` is ISO 8601 UTC; ``mono_ns`` a monotonic clock in nanoseconds; ``subject`` the USUBJID
    where the event is about a participant; ``payload`` plain data of the kind's model.
    """

    seq: int
    kind: str
    at: str
    mono_ns: int
    actor: str
    role: str
    subject: str | None
    reason: str | None
    payload: dict[str, Any]
    prev: str
    hash: str

    def model(self) -> Payload:
        """Return the payload as its model in `trialkit.record.kinds`."""
        return KINDS[self.kind].model_validate(self.payload)


@dataclass(frozen=True)
class ChainFinding:
    """One fault of the chain: at which event, what, and in words."""

    seq: int
    what: Fault
    detail: str

    def __str__(self) -> str:
        """Return the finding on one line."""
        return f"event {self.seq}: {self.what}: {self.detail}"


@dataclass(frozen=True)
class ChainReport:
    """What checking a chain found; ``n`` events are there, ``head`` is the last hash."""

    n: int
    head: str
    findings: list[ChainFinding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True where nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"ok": self.ok, **asdict(self)}


def encode(fields: dict[str, Any]) -> tuple[str, str]:
    """Return the body text and the hash of an event's fields (all but ``hash``)."""
    body = canonical_json(fields)
    return body, sha256_text(body)


def parsed(body: str | bytes) -> Any:
    """Return what `json.loads` returns for `body`, in a third of the time.

    pydantic's parser takes JSON as RFC 8259 has it; what it refuses (lone surrogates, another
    encoding, deep nesting), the standard library judges.

    Raises
    ------
    ValueError
        If it is no JSON, or nested too deeply to be read.
    """
    try:
        return from_json(body)
    except (ValueError, TypeError):
        pass
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def decode(body: str, digest: str) -> Event:
    """Return the event of a stored body.

    Raises
    ------
    ChainBroken
        If the hash is not that of the body, or the body is no event.
    """
    try:
        fields = parsed(body)
        if sha256_text(body) == digest and fields.keys() == _FIELDS:
            return Event(**fields, hash=digest)
    except (ValueError, TypeError, AttributeError):
        pass
    raise ChainBroken(
        f"an event was altered: {body[:80]}...",
        remedy="Run `trialkit record verify`, and restore the study from a copy.",
    )


def event_of(fields: dict[str, Any], digest: str) -> Event:
    """Return the event of fields that were just encoded."""
    return Event(**fields, hash=digest)


class Row(NamedTuple):
    """One stored row; ``body`` as bytes, because a damaged text may not be UTF-8."""

    seq: int
    body: bytes
    hash: str
    projection: tuple[str, str, str | None] | None = None


def check_chain(
    rows: Iterable[Row],
    *,
    last_seq: int | None = None,
    anchors: Mapping[int, str] | None = None,
    after: tuple[int, str] = (0, GENESIS),
) -> ChainReport:
    """Check stored rows and locate every alteration, removal and reordering.

    Parameters
    ----------
    rows : iterable of Row
        In the order of their numbers.
    last_seq : int or None
        The number that the last event must have, where it is known from elsewhere.
    anchors : mapping of int to str or None
        Hashes known from elsewhere (a report, an evidence package), by event number.
    after : tuple of int and str
        Number and hash of the event that the first row continues; it counts as there.

    Returns
    -------
    ChainReport
        One finding an event; an event that follows a faulty one is judged by itself.
    """
    findings: list[ChainFinding] = []
    n, before, known, clean = after[0], after[0], (after[1], after[1]), True
    anchored, sha256 = anchors or {}, hashlib.sha256
    for row in rows:
        seq, body, stored, projection = row
        n += 1
        digest = sha256(body).hexdigest()
        if clean and digest == stored and seq == before + 1 and seq not in anchored:
            try:  # what is plainly as it should be; everything else is judged below
                fields = from_json(body)
                if (
                    fields["seq"] == seq
                    and fields["prev"] in known
                    and (fields["kind"], fields["at"], fields["subject"]) == projection
                ):
                    before, known = seq, (digest, stored)
                    continue
            except (ValueError, TypeError, KeyError):
                pass
        for missing in range(before + 1, seq):
            findings.append(ChainFinding(missing, "removed", "the event is not there."))
            clean = False
        fault, prev = _judge(row, digest, anchored)
        if fault is None and clean and prev not in known:
            fault = ChainFinding(
                seq - 1 or 1,
                "altered",
                f"its hash is not the one that event {seq} was chained to.",
            )
        if fault is not None:
            findings.append(fault)
        clean = fault is None or fault.what == "projection"
        before, known = seq, (digest, stored)
    for missing in range(before + 1, (last_seq or 0) + 1):
        findings.append(ChainFinding(missing, "removed", "the event is not there."))
    return ChainReport(n, known[1], findings)


def _judge(row: Row, digest: str, anchors: Mapping[int, str]) -> tuple[ChainFinding | None, str]:
    """Return the fault of a row by itself, and the hash to which it says it is chained."""
    seq, body, stored, projection = row
    if digest != stored:
        what = "the text does not have the hash stored with it."
        return ChainFinding(seq, "altered", what), ""
    try:
        fields = parsed(body)
        number, prev = fields["seq"], str(fields.get("prev"))
        shown = (fields["kind"], fields["at"], fields["subject"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ChainFinding(seq, "altered", "the text is not an event."), ""
    if number != seq:
        what = f"event {number} stands in its place."
        return ChainFinding(seq, "reordered", what), prev
    if seq in anchors and anchors[seq] != digest:
        return ChainFinding(seq, "altered", "its hash is not the one noted elsewhere."), prev
    if projection is not None and projection != shown:
        return ChainFinding(seq, "projection", "kind, time or subject column was altered."), prev
    return None, prev
