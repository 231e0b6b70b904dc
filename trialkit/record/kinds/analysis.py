"""Payloads of plan, analysis, evidence and signed heads."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from trialkit.record.kinds._payload import Payload


class Signature(BaseModel):
    """An Ed25519 signature with its signer, meaning and key."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    signer: str
    name: str
    meaning: str
    public_key: str
    fingerprint: str
    signature: str


class PlanLocked(Payload):
    """The plan was locked: its hash, the versions it pins, and the signatures over ``lock``.

    ``lock`` is the SHA-256 of the canonical JSON of plan, methods and schemas.
    """

    kind = "plan.locked"
    plan_id: str
    plan: str
    file: str
    methods: dict[str, str]
    schemas: dict[str, str]
    lock: str
    signatures: list[Signature]


class SnapshotBuilt(Payload):
    """Tables were derived from the record up to `upto_seq`."""

    kind = "snapshot.built"
    snapshot: str
    folder: str
    upto_seq: int
    unblinded: bool


class AnalysisRun(Payload):
    """A plan was run on a snapshot."""

    kind = "analysis.run"
    results: str
    folder: str
    plan_lock: str
    snapshot: str


class ReportRendered(Payload):
    """A report was rendered from results."""

    kind = "report.rendered"
    template: str
    template_sha256: str
    results: str
    renderer: str
    files: dict[str, str]


class EvidenceBuilt(Payload):
    """An evidence package was written."""

    kind = "evidence.built"
    manifest: str
    fingerprint: str


class HeadSigned(Payload):
    """A Merkle head of the record (RFC 6962) over its first `size` events.

    `chain` is the hash of the last of them and `at` the time of the head; `peaks` are the roots of
    the whole subtrees, the largest first. `signature` is over the SHA-256 of the canonical JSON of
    ``{schema, study, size, root, chain, at}``; None where whoever acted has no key at hand.
    """

    kind = "head.signed"
    study: str
    size: int
    root: str
    chain: str
    at: str
    peaks: list[str] = Field(default_factory=list)
    signature: Signature | None = None
