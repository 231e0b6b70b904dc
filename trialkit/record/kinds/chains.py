"""Payloads of chains: sites and home devices that keep their own, and what is received of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trialkit.record.kinds._payload import Payload, Scalar


class SiteOpened(Payload):
    """A site keeps a chain of its own from here on; nothing about its participants happens here.

    `genesis` is the hash of the chain's first event, `public_key` (64 hex digits) signs what the
    site sends. `number` counts the chains of the study from 1: event n of chain k is shown as
    number k * 1,000,000,000 + n.
    """

    kind = "site.opened"
    site: str
    number: int = Field(ge=1)
    genesis: str
    public_key: str
    fingerprint: str


class DeviceHanded(Payload):
    """A home device keeps a chain of its own, with the sessions of one participant, from here on.

    `chain` is its name. The first `founded` events of it were written with this one; the last of
    them has the hash `hash`, the first `genesis`. `number` is one of 1001 and above; for it and
    the keys see ``site.opened``.
    """

    kind = "device.handed"
    chain: str
    number: int = Field(ge=1001)
    genesis: str
    founded: int
    hash: str
    public_key: str
    fingerprint: str


class DeviceReturned(Payload):
    """A home device was taken back, or given up as lost: nothing of its chain follows.

    `last` and `hash` are those of its last event here. Of a lost device `missing` are the
    sessions whose telemetry, and `unfinished` those whose end was not received.
    """

    kind = "device.returned"
    chain: str
    last: int
    hash: str
    lost: bool = False
    missing: list[str] = Field(default_factory=list)
    unfinished: list[str] = Field(default_factory=list)


class SessionBefore(BaseModel):
    """A session that was over when a home device was handed over."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    session: str
    number: int
    day: int
    status: str
    protocol: str | None = None
    code: str | None = None


class ParticipantHanded(Payload):
    """What a home device knows of its participant: what the guards of a session ask for.

    `levels` are the settings that were last accepted, by parameter.
    """

    kind = "participant.handed"
    site: str
    attributes: dict[str, Scalar]
    consent: str | None
    eligible: str | None
    randomised_at: str | None
    sessions: list[SessionBefore]
    levels: dict[str, float]


class ChainEnded(Payload):
    """The chain of a home device ends with so many sessions run on it; none follows."""

    kind = "chain.ended"
    sessions: int


class ChainReceived(Payload):
    """Events `first` to `last` of another chain, with their texts as they were written there.

    `site` names the chain: a site, or a home device. `hash` is that of event `last`, `root` the
    Merkle root over its events 1 to `last`.
    """

    kind = "chain.received"
    site: str
    number: int
    first: int
    last: int
    hash: str
    root: str
    bodies: list[str]


class SessionReceived(Payload):
    """The sealed telemetry of a session of another chain is here, every file with its hash."""

    kind = "session.received"
    site: str
    session: str
    manifest_sha256: str
    files: int


class ChainRefused(Payload):
    """Event `seq` of another chain was refused, and nothing after it was taken.

    ``fork``: the centre holds another event of that number. ``held``: the data are locked or
    frozen. ``invalid``: it is no event that a site or a home device may write. ``returned``: the
    home device was taken back before.
    """

    kind = "chain.refused"
    site: str
    seq: int
    hash: str
    why: Literal["fork", "held", "invalid", "returned"]
    detail: str
