"""Payloads of chains: a site that keeps its own record, and what the centre received of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trialkit.record.kinds._payload import Payload


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


class ChainReceived(Payload):
    """Events `first` to `last` of a site's chain, with their texts as the site wrote them.

    `hash` is that of event `last`, `root` the Merkle root over the site's events 1 to `last`.
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
    """The sealed telemetry of a site's session is here, every file with its hash."""

    kind = "session.received"
    site: str
    session: str
    manifest_sha256: str
    files: int


class ChainRefused(Payload):
    """Event `seq` of a site's chain was refused, and nothing after it was taken.

    ``fork``: the centre holds another event of that number. ``held``: the data are locked or
    frozen. ``invalid``: it is no event that a site may write.
    """

    kind = "chain.refused"
    site: str
    seq: int
    hash: str
    why: Literal["fork", "held", "invalid"]
    detail: str
