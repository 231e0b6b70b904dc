"""What ``trialkit record verify`` reports: chain, Merkle heads, and what is kept elsewhere.

The chain finds and locates a flipped bit, a removed and a reordered event by itself. A cut at the
end that hides its traces, and a history that was written anew (a fork), are consistent in
themselves: the heads that others signed, and copies kept elsewhere, show them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from trialkit.errors import UsageError
from trialkit.record.chain import ChainFinding, ChainReport, Row, check_chain
from trialkit.record.events import Record
from trialkit.record.heads import SCHEMA, head_fault, parting, read_head
from trialkit.record.kinds import HeadSigned, UserAdded
from trialkit.record.merkle import CompactRange, leaf_hash
from trialkit.record.received import KIND as RECEIVED
from trialkit.record.received import ChainsReceived

_HEAD, _USER, _SITE = b'"kind":"head.signed"', b'"kind":"user.added"', b'"kind":"chain.received"'


@dataclass(frozen=True)
class Kept:
    """What was kept elsewhere: heads of one history, or the texts of an export by number."""

    name: str
    heads: list[HeadSigned] = field(default_factory=list)
    texts: list[bytes] | None = None


@dataclass(frozen=True)
class RecordReport:
    """What checking a record found.

    Attributes
    ----------
    n, head, root : int, str, str
        Number of events, hash of the last one, Merkle root over all.
    heads, signed : int
        Heads that the record holds, and how many of them are signed.
    newest : dict or None
        Size, root, time, signer and key fingerprint of the newest head.
    compared : list of str
        What was kept elsewhere and agrees, in words.
    findings : list of ChainFinding
        Every fault, by event.
    """

    n: int
    head: str
    root: str
    heads: int
    signed: int
    newest: dict[str, Any] | None
    compared: list[str]
    findings: list[ChainFinding]

    @property
    def ok(self) -> bool:
        """True where nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        found = [{"seq": f.seq, "what": f.what, "detail": f.detail} for f in self.findings]
        return {"ok": self.ok, **vars(self), "findings": found}

    def __str__(self) -> str:
        """Return the report as lines of text."""
        state = "intact" if self.ok else f"NOT INTACT ({len(self.findings)} findings)"
        lines = [*map(str, self.findings), *self.compared]
        lines.append(f"{self.n} events, {state}, head {self.head}")
        lines.append(f"Merkle root {self.root}")
        if self.newest is None:
            lines.append("no head is signed yet: a cut at the end or a fork could not be shown")
        else:
            who = self.newest["fingerprint"] or "unsigned"
            lines.append(
                f"{self.heads} heads, {self.signed} of them signed; the newest over "
                f"{self.newest['size']} events at {self.newest['at']}, {who}"
            )
        return "\n".join(lines)


class _Inner(NamedTuple):
    """A head in the record, with root and chain hash as they are there."""

    seq: int
    head: HeadSigned
    root: str
    chain: str


class _Watch:
    """Looks at the rows as they pass: leaves, heads and keys."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.leaves: list[bytes] = []
        self.tree = CompactRange()
        self.heads: list[_Inner] = []
        self.keys: dict[str, str | None] = {}
        self.gaps = False
        self.within: list[ChainFinding] = []  # in the chains of sites that are held
        self._received = ChainsReceived()
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        before, leaves, sha256 = "", self.leaves, hashlib.sha256
        for n, row in enumerate(self._rows, start=1):
            body = row[1]
            if _HEAD in body or _USER in body or _SITE in body:
                self._grow()
                self._note(row, before)
            if row[0] != n:
                self.gaps = True
            leaves.append(sha256(b"\x00" + body).digest())  # leaf_hash, without the call
            before = row[2]
            yield row
        self._grow()

    def _grow(self) -> None:
        """Bring the tree up to the leaves."""
        self.tree.extend(self.leaves[self.tree.size :])

    def _note(self, row: Row, before: str) -> None:
        try:
            fields = json.loads(row.body)
            if fields["kind"] == UserAdded.kind:
                user = UserAdded.model_validate(fields["payload"])
                self.keys.setdefault(user.user, user.key_fingerprint)
            elif fields["kind"] == HeadSigned.kind:
                head = HeadSigned.model_validate(fields["payload"])
                self.heads.append(_Inner(row.seq, head, self.tree.root().hex(), before))
            elif fields["kind"] == RECEIVED:
                for fault in self._received.faults(fields["payload"]):
                    self.within.append(ChainFinding(row.seq, "altered", fault))
        except (ValueError, KeyError, TypeError, ValidationError):
            return  # the chain names an altered event


def verify_record(
    record: Record,
    *,
    anchors: Mapping[int, str] | None = None,
    against: Sequence[Kept] = (),
) -> RecordReport:
    """Check every event, every head in the record, and the record against what is kept elsewhere.

    Parameters
    ----------
    anchors : mapping of int to str or None
        Chain hashes of events known from elsewhere, by number.
    against : sequence of Kept
        See `read_kept`.
    """
    return verify_rows(record.rows(), last_seq=record.last_given, anchors=anchors, against=against)


def verify_rows(
    rows: Iterator[Row],
    *,
    last_seq: int | None = None,
    anchors: Mapping[int, str] | None = None,
    against: Sequence[Kept] = (),
) -> RecordReport:
    """Check stored rows, of a record or of an export; see `verify_record`.

    Parameters
    ----------
    last_seq : int or None
        The highest number that was ever stored, where it is known.
    """
    watch = _Watch(rows)
    chain = check_chain(watch, last_seq=last_seq, anchors=anchors)
    findings = list(chain.findings)
    broken = [f.seq for f in findings if f.what != "projection"]
    findings += watch.within
    findings += _inner_heads(watch, min(broken, default=len(watch.leaves) + 1))
    compared: list[str] = []
    for kept in against:
        found = _against(kept, watch, chain)
        findings += [f for f in found if (f.seq, f.what) not in {(g.seq, g.what) for g in findings}]
        if not found:
            compared.append(f"{kept.name}: agrees with the record")
    newest = watch.heads[-1].head if watch.heads else None
    return RecordReport(
        chain.n,
        chain.head,
        watch.tree.root().hex(),
        len(watch.heads),
        sum(inner.head.signature is not None for inner in watch.heads),
        head_facts(newest) if newest else None,
        compared,
        findings,
    )


def head_facts(head: HeadSigned) -> dict[str, Any]:
    """Return what is shown of a head."""
    signed = head.signature
    return {
        "size": head.size,
        "root": head.root,
        "chain": head.chain,
        "at": head.at,
        "signer": signed.name if signed else None,
        "fingerprint": signed.fingerprint if signed else None,
    }


def fork_text(between: tuple[int, int]) -> str:
    """Return where two histories part, in words."""
    first, last = between
    if first == last:
        return f"the two histories are the same up to event {first - 1} and part after it."
    return (
        f"the two histories are the same up to event {first - 1} at least, and differ at event "
        f"{last} at the latest."
    )


def _inner_heads(watch: _Watch, broken: int) -> Iterator[ChainFinding]:
    """Check the heads in the record; those after the first broken event cannot be compared."""
    for seq, head, root, chain in watch.heads:
        if fault := head_fault(head, watch.keys if head.size < broken else None):
            yield ChainFinding(seq, "head", f"{fault}.")
        elif head.size != seq - 1:
            yield ChainFinding(seq, "head", f"it counts {head.size} events before it.")
        elif head.size < broken and root != head.root:
            between = parting([head], watch.leaves) or (1, head.size)
            text = f"{fork_text(between)} The head of event {seq} was signed over the other one."
            yield ChainFinding(between[0], "fork", text)
        elif head.size < broken and chain != head.chain:
            yield ChainFinding(seq, "head", f"event {head.size} has another hash than it says.")


def _against(kept: Kept, watch: _Watch, chain: ChainReport) -> list[ChainFinding]:
    if kept.texts is not None:
        return _against_texts(kept, watch, chain)
    findings, there = [], []
    for head in kept.heads:
        if fault := head_fault(head, watch.keys or None):
            findings.append(ChainFinding(head.size, "head", f"{kept.name}: {fault}."))
        elif head.size > len(watch.leaves):
            text = f"{kept.name} counts {head.size} events, and the record ends here."
            findings.append(ChainFinding(len(watch.leaves) + 1, "removed", text))
        else:
            there.append(head)
    if not watch.gaps and (between := parting(there, watch.leaves)):
        text = f"{kept.name}: {fork_text(between)}"
        findings.append(ChainFinding(between[0], "fork", text))
    elif watch.gaps and there:
        text = f"{kept.name} cannot be compared: events are missing."
        findings.append(ChainFinding(chain.findings[0].seq, "head", text))
    return findings


def _against_texts(kept: Kept, watch: _Watch, chain: ChainReport) -> list[ChainFinding]:
    texts = kept.texts or []
    if watch.gaps:
        text = f"{kept.name} cannot be compared: events are missing."
        return [ChainFinding(chain.findings[0].seq, "head", text)]
    n = min(len(texts), len(watch.leaves))
    differ = [i + 1 for i in range(n) if leaf_hash(texts[i]) != watch.leaves[i]]
    findings = []
    if differ and chain.ok:  # each hash covers the one before: all that follows differs as well
        text = f"{kept.name}: {fork_text((differ[0], differ[0]))}"
        findings.append(ChainFinding(differ[0], "fork", text))
    elif differ:
        detail = f"{kept.name} has another text."
        findings += [ChainFinding(seq, "altered", detail) for seq in differ]
    if len(texts) > len(watch.leaves) and not (differ and chain.ok):
        text = f"{kept.name} holds {len(texts)} events, and the record ends here."
        findings.append(ChainFinding(len(watch.leaves) + 1, "removed", text))
    return findings


# --- what is kept elsewhere ----------------------------------------------------------------------


def read_kept(text: str) -> Kept:
    """Return what ``--against`` names: a head's file, an export, or ``SIZE=ROOT`` from paper.

    Raises
    ------
    UsageError
        If it is none of them, or an export whose own chain does not hold.
    """
    size, _, root = text.partition("=")
    if size.isdecimal() and len(root) == 64:
        head = HeadSigned(study="", size=int(size), root=root.lower(), chain="", at="")
        return Kept(f"the root over {size} events", [head])
    path = Path(text)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(
            f"{text}: {error.strerror}.", remedy="Give a file, or SIZE=ROOT with 64 hex digits."
        ) from error
    found = [_parsed(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line]
    if found and all(isinstance(one, dict) and one.get("schema") == SCHEMA for one in found):
        return Kept(path.name, [read_head(one, str(path)) for one in found])
    return Kept(path.name, texts=_texts(found, path))


def export_rows(path: Path) -> Iterator[Row]:
    """Yield the events of an export as stored rows; what is no event is one that was altered.

    Raises
    ------
    UsageError
        If there is no such file.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    one = json.loads(line)
                    yield Row(number, one["body"].encode(errors="surrogateescape"), one["hash"])
                except (ValueError, LookupError, TypeError, AttributeError):
                    yield Row(number, line, "")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.", remedy="Give a file.") from error


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: no JSON.", remedy="Give a head or an export.") from error


def _texts(found: list[Any], path: Path) -> list[bytes]:
    """Return the texts of an export whose own chain holds."""
    try:
        texts = [str(one["body"]).encode(errors="surrogateescape") for one in found]
        pairs = enumerate(zip(texts, found, strict=True), start=1)
        rows = [Row(number, text, one["hash"]) for number, (text, one) in pairs]
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a head and no export.", remedy="Give one.") from error
    own = check_chain(rows)
    if not own.ok or not texts:
        fault = own.findings[0] if own.findings else "it is empty"
        raise UsageError(
            f"{path} does not hold by itself: {fault}", remedy="Compare with another copy."
        )
    return texts
