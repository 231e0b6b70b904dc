"""Signed heads: the Merkle root over the record at a moment, and what two heads say together.

A head kept elsewhere (a file, a printed report) binds the record: a record that was cut, or that
parts from the history of the head, cannot give its root again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from trialkit._canonical import canonical_json, sha256_json
from trialkit.errors import OutOfOrder, UsageError
from trialkit.record.chain import GENESIS, Event, encode
from trialkit.record.events import Record
from trialkit.record.kinds import HeadSigned
from trialkit.record.merkle import CompactRange, leaf_hash, peak_ranges, tree_root
from trialkit.record.sign import verify

SCHEMA = "trialkit.head/1"
MEANING = "head of the record"
M = TypeVar("M", bound=BaseModel)


def body_of(event: Event) -> bytes:
    """Return the canonical text of an event, as it is stored: the entry of its leaf."""
    fields = {name: getattr(event, name) for name in Event.__slots__ if name != "hash"}
    return encode(fields)[0].encode()


def make_head(
    record: Record, *, study: str, at: str, known: Mapping[str, Any] | None = None
) -> HeadSigned:
    """Return the head of all events, those of an open batch included, without a signature.

    Parameters
    ----------
    study : str
        STUDYID.
    at : str
        ISO 8601 UTC.
    known : mapping or None
        Payload of an earlier head of this record: its peaks are continued, which costs the events
        since then and log2(n) hashes. None reads the whole record.
    """
    chain, tree = GENESIS, CompactRange()
    if known is not None and known["peaks"]:
        chain = str(known["chain"])
        tree = CompactRange(known["size"], [bytes.fromhex(peak) for peak in known["peaks"]])
    for event in record.read(after=tree.size):
        tree.append(leaf_hash(body_of(event)))
        chain = event.hash
    return HeadSigned(
        study=study,
        size=tree.size,
        root=tree.root().hex(),
        chain=chain,
        at=at,
        peaks=[peak.hex() for peak in tree.peaks],
    )


def digest_of(head: HeadSigned) -> str:
    """Return what the signature of a head covers; the peaks are covered by the root."""
    named = {"study": head.study, "size": head.size, "root": head.root}
    return sha256_json({"schema": SCHEMA, "chain": head.chain, "at": head.at, **named})


def head_fault(head: HeadSigned, keys: Mapping[str, str | None] | None = None) -> str | None:
    """Return what is wrong with a head by itself, or None.

    Parameters
    ----------
    keys : mapping of str to str or None
        Fingerprint of each user's key as the record knows it; None does not look at who signed.
    """
    if head.peaks:
        try:
            tree = CompactRange(head.size, [bytes.fromhex(peak) for peak in head.peaks])
        except (UsageError, ValueError):
            return "its peaks are not those of its size"
        if tree.root().hex() != head.root:
            return "its peaks do not give its root"
    signed = head.signature
    if signed is None:
        return None
    if signed.meaning != MEANING or not verify(signed, digest_of(head)):
        return "its signature is not by its key over this head"
    if keys is not None and keys.get(signed.signer) != signed.fingerprint:
        return f"the key {signed.fingerprint} is not that of {signed.signer} in the record"
    return None


# --- against the leaves of a record --------------------------------------------------------------


def parting(heads: Sequence[HeadSigned], leaves: Sequence[bytes]) -> tuple[int, int] | None:
    """Return where a record parts from the history of `heads`, or None where it does not.

    Parameters
    ----------
    heads : sequence of HeadSigned
        Of one history, none of them longer than the record.
    leaves : sequence of bytes
        The leaves of the record.

    Returns
    -------
    tuple of int
        The first and the last event that may be the first one that differs. Peaks narrow it.
    """
    agreed, differs = 0, len(leaves) + 1
    for head in heads:
        if tree_root(leaves[: head.size]).hex() == head.root:
            agreed = max(agreed, head.size)
            continue
        differs = min(differs, head.size)
        for (first, last), peak in zip(peak_ranges(head.size), head.peaks, strict=False):
            if tree_root(leaves[first - 1 : last]).hex() != peak:
                differs = min(differs, last)
                break
            agreed = max(agreed, last)
    return None if differs > len(leaves) else (agreed + 1, max(differs, agreed + 1))


# --- files ---------------------------------------------------------------------------------------


def head_text(head: HeadSigned) -> str:
    """Return the text of a head's file."""
    return canonical_json({"schema": SCHEMA, **head.model_dump(mode="json")}) + "\n"


def read_head(data: Any, where: str) -> HeadSigned:
    """Return a head from the data of its file, or raise `UsageError`."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"{where}: not a head.", remedy="Give a file of `record head --out`.")
    return validated(HeadSigned, {k: v for k, v in data.items() if k != "schema"}, where)


def validated(model: type[M], data: Any, where: str) -> M:
    """Return `data` as a model, or raise `UsageError` naming the file."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise UsageError(
            f"{where}: {place}: {fault['msg']}.", remedy="Ask for it again."
        ) from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or raise `UsageError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}.", remedy="Give a JSON file.") from error


# --- heads in the record -------------------------------------------------------------------------


def heads_of(record: Record) -> Iterator[tuple[int, HeadSigned]]:
    """Yield number and payload of every head that the record holds."""
    for event in record.read(kinds=[HeadSigned.kind]):
        yield event.seq, HeadSigned.model_validate(event.payload)


def newest_head(record: Record, covers: int = 0) -> HeadSigned:
    """Return the newest head of the record, which must cover event `covers`.

    Raises
    ------
    OutOfOrder
        If there is none.
    """
    last: HeadSigned | None = None
    for _, head in heads_of(record):
        last = head
    if last is None or last.size < covers:
        raise OutOfOrder(
            f"no head covers event {covers} yet." if last else "the record has no head yet.",
            remedy="Sign one: `trialkit record head --sign`.",
        )
    return last
