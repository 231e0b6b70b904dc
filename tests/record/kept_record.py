"""A small record with signed heads, and what somebody who has its file could do to it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from trialkit._canonical import canonical_json, sha256_text
from trialkit._clock import SimulatedClock
from trialkit.record import KeyStore, Record
from trialkit.record.heads import MEANING, digest_of, make_head
from trialkit.record.kinds import HeadSigned, StudyCreated, UserAdded, VisitHeld

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
Line = tuple[str, str]  # body, hash


def write_record(folder: Path, visits: int = 4, *, rounds: int = 3, sign: bool = True) -> Path:
    """Write a record: study, owner, then `rounds` of visits with a head after each."""
    keys = KeyStore(folder / "keys")
    clock = SimulatedClock(START)
    with Record.create(folder / "study.db", clock) as record, record.batch():
        first = StudyCreated(study_id="S", title="T", protocols={}, software="0")
        record.append(first, actor="olga", role="owner")
        added = UserAdded(
            user="olga", name="Olga", user_role="owner", key_fingerprint=keys.create("olga")
        )
        record.append(added, actor="olga", role="owner")
        known = None
        for part in range(rounds):
            for day in range(visits):
                clock.advance(60)
                held = VisitHeld(visit="BL", day=10 * part + day, in_window=True)
                record.append(held, actor="olga", role="owner", subject="S-01", reason=None)
            head = make_head(record, study="S", at="2026-01-05T09:00:00.000000Z", known=known)
            if sign:
                signature = keys.sign("olga", "Olga", MEANING, digest_of(head))
                head = head.model_copy(update={"signature": signature})
            record.append(head, actor="olga", role="owner")
            known = head.model_dump(mode="json")
    return folder / "study.db"


def opened(path: Path) -> Record:
    """Open the record for reading."""
    return Record.open(path, write=False, clock=SimulatedClock(START))


def lines_of(path: Path) -> list[Line]:
    """Return body and hash of every event."""
    with closing(sqlite3.connect(path)) as raw:
        return [(b, h) for b, h in raw.execute("SELECT body, hash FROM events ORDER BY seq")]


def replace(path: Path, lines: list[Line], *, hide: bool = True, gaps: bool = False) -> None:
    """Put other events in place of those stored; `hide` also takes away the trace of a cut."""
    with closing(sqlite3.connect(path)) as raw, raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("DELETE FROM events")
        for number, (body, digest) in enumerate(lines, start=1):
            try:
                f = json.loads(body)
                row = (f["seq"] if gaps else number, f["kind"], f["at"], f["subject"], body, digest)
            except (ValueError, KeyError):
                row = (number, "?", "?", None, body, digest)
            raw.execute(
                "INSERT INTO events (seq, kind, at, subject, body, hash) VALUES (?,?,?,?,?,?)", row
            )
        if hide:
            raw.execute("UPDATE sqlite_sequence SET seq = ?", (len(lines),))


def rewritten(lines: list[Line], at: int, *, heads: str = "kept") -> list[Line]:
    """Return a history that parts after event `at - 1`, with a chain that holds.

    `heads`: ``kept`` leaves the heads as they were; ``forged`` gives them the new roots, without
    a signature, because the forger has no key.
    """
    from trialkit.record.merkle import CompactRange, leaf_hash

    made: list[Line] = []
    prev, tree = "0" * 64, CompactRange()
    for number, (body, _) in enumerate(lines, start=1):
        fields = json.loads(body)
        fields["prev"] = prev
        if number == at:
            fields["reason"] = "written anew"
        if number > at and fields["kind"] == HeadSigned.kind and heads == "forged":
            fields["payload"] |= {
                "root": tree.root().hex(),
                "chain": prev,
                "peaks": [peak.hex() for peak in tree.peaks],
                "signature": None,
            }
        text = canonical_json(fields)
        tree.append(leaf_hash(text.encode()))
        prev = sha256_text(text)
        made.append((text, prev))
    return made
