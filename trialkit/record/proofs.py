"""Proofs that leave the study: one event is in a head, or one head continues another.

A proof is one JSON file; it is checked without the record (`check_proof`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from trialkit._canonical import canonical_json
from trialkit.errors import OutOfRange
from trialkit.record.events import Record
from trialkit.record.heads import head_fault, newest_head, parting, validated
from trialkit.record.kinds import HeadSigned
from trialkit.record.merkle import (
    check_consistency,
    check_inclusion,
    consistency_path,
    inclusion_path,
    leaf_hash,
)
from trialkit.record.verification import fork_text

Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Proof(BaseModel):
    """An inclusion proof (`seq`, `body`) or a consistency proof (`first`) towards `head`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    schema_: Literal["trialkit.proof/1"] = "trialkit.proof/1"
    proves: Literal["inclusion", "consistency"]
    seq: int | None = None
    body: str | None = None
    first: HeadSigned | None = None
    head: HeadSigned
    path: list[Hash]

    def text(self) -> str:
        """Return the text of the proof's file."""
        data = {k: v for k, v in self.model_dump(mode="json").items() if v is not None}
        return canonical_json({"schema": data.pop("schema_"), **data}) + "\n"


@dataclass(frozen=True)
class ProofReport:
    """What checking a proof found: what it proves in `says`, why it does not in `faults`."""

    proves: str
    size: int
    root: str
    signer: str | None
    fingerprint: str | None
    says: str
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True where the proof holds."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"ok": self.ok, **asdict(self)}


def _leaves(record: Record, size: int) -> list[tuple[bytes, bytes]]:
    """Return text and leaf of the first `size` events as they are stored."""
    found = [(row.body, leaf_hash(row.body)) for row in record.rows() if row.seq <= size]
    if len(found) < size:
        raise OutOfRange(
            f"the record ends at event {len(found)}, and the head counts {size}.",
            remedy="Check it: `trialkit record verify`.",
        )
    return found


def prove_event(record: Record, seq: int) -> Proof:
    """Return the proof that event `seq` is in the newest head of the record.

    Raises
    ------
    OutOfRange
        If there is no such event.
    OutOfOrder
        If no head covers it yet.
    """
    if not 1 <= seq <= record.head[0]:
        raise OutOfRange(f"no event {seq}.", remedy=f"The last is {record.head[0]}.")
    head = newest_head(record, seq)
    found = _leaves(record, head.size)
    path = inclusion_path([leaf for _, leaf in found], seq - 1)
    text = found[seq - 1][0].decode()
    hexed = [node.hex() for node in path]
    return Proof(proves="inclusion", seq=seq, body=text, head=head, path=hexed)


def prove_continuation(record: Record, first: HeadSigned) -> Proof:
    """Return the proof that the newest head of the record continues the head `first`.

    Raises
    ------
    OutOfOrder
        If the record has no head of at least that size.
    OutOfRange
        If the record does not continue `first`: there is no such proof.
    """
    head = newest_head(record, first.size)
    leaves = [leaf for _, leaf in _leaves(record, head.size)]
    if between := parting([first], leaves):
        raise OutOfRange(fork_text(between), remedy="See `trialkit record verify --against`.")
    path = [node.hex() for node in consistency_path(leaves, first.size)]
    return Proof(proves="consistency", first=first, head=head, path=path)


def read_proof(data: Any, where: str) -> Proof:
    """Return a proof from the data of its file, or raise `UsageError`."""
    if isinstance(data, dict):
        data = {("schema_" if key == "schema" else key): value for key, value in data.items()}
    return validated(Proof, data, where)


def check_proof(
    proof: Proof, key: str | None = None, known: Sequence[HeadSigned] = ()
) -> ProofReport:
    """Check a proof by itself, without the record.

    Parameters
    ----------
    key : str or None
        Fingerprint or public key that must have signed the head, told on another way.
    known : sequence of HeadSigned
        Heads kept elsewhere, which the head of the proof must be.
    """
    head, path = proof.head, [bytes.fromhex(node) for node in proof.path]
    root = bytes.fromhex(head.root)
    faults = _signature_faults(proof, key)
    if any((one.size, one.root) != (head.size, head.root) for one in known):
        faults.append("the head is not the one that was kept elsewhere")
    if proof.proves == "inclusion":
        seq, body = proof.seq or 0, (proof.body or "").encode()
        says = f"event {seq} is among the {head.size} events of the head"
        if not check_inclusion(leaf_hash(body), seq - 1, head.size, path, root):
            faults.append(f"the path does not lead from event {seq} to the root")
        elif _number(body) != seq:
            faults.append(f"the text is not that of event {seq}")
    else:
        size = proof.first.size if proof.first else 0
        old = bytes.fromhex(proof.first.root) if proof.first else b""
        says = f"the head of {head.size} events continues that of {size}"
        if not check_consistency(size, head.size, path, old, root):
            faults.append(f"the path does not lead from the head of {size} events to this one")
    signed = head.signature
    return ProofReport(
        proof.proves,
        head.size,
        head.root,
        signed.signer if signed else None,
        signed.fingerprint if signed else None,
        says,
        faults,
    )


def _number(body: bytes) -> Any:
    try:
        return json.loads(body)["seq"]
    except (ValueError, KeyError, TypeError):
        return None


def _signature_faults(proof: Proof, key: str | None) -> list[str]:
    faults = []
    for name, head in (("first head", proof.first), ("head", proof.head)):
        if head is not None and (fault := head_fault(head)):
            faults.append(f"{name}: {fault}")
    signed = proof.head.signature
    if key is not None:
        wanted = key.replace(":", "").strip().lower()
        held = (signed.public_key, signed.fingerprint.replace(":", "")) if signed else ()
        if wanted not in held:
            faults.append(f"the head is not signed by the key {key}")
    return faults
