"""The events of sites' chains inside the centre's: ``chain.received`` holds their very texts.

The centre's chain is one chain. Where it received a part of a site's chain, the events of that
part happened, as far as the centre knows, at that point. So whoever reads the centre's record
by kind or by participant finds them there, and a fold over it takes them there. They keep
their texts and hashes; the number under which they are shown is that of the chain (from 1)
times `STEP` plus their own, so that no two events of a study have the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import merge
from typing import Any

from trialkit._canonical import sha256_text
from trialkit.record.chain import GENESIS, Event, decode
from trialkit.record.merkle import CompactRange, leaf_hash

STEP = 1_000_000_000
KIND = "chain.received"
_REFERS = ("seq", "returned", "upto")  # fields of payloads that name another event by number
_REFERRING = frozenset(
    {
        "assessment.entered_again",
        "assessment.adjudicated",
        "assessment.corrected",
        "diary.corrected",
        "signature.applied",
    }
)


def called(chain: str) -> str:
    """Return in words whose chain it is; only the names of home devices hold a hyphen."""
    return f"home device {chain}" if "-" in chain else f"site {chain}"


def parse(body: str) -> Event:
    """Return the event of a text, under its own number; its hash is that of the text.

    Raises
    ------
    ChainBroken
        If the text is no event.
    """
    return decode(body, sha256_text(body))


def shown(event: Event, number: int) -> Event:
    """Return an event of chain `number` under the number that it has at the centre."""
    payload = event.payload
    if event.kind in _REFERRING:
        moved = {k: number * STEP + payload[k] for k in _REFERS if k in payload}
        payload = payload | moved
    return replace(event, seq=number * STEP + event.seq, payload=payload)


def inner_events(payload: Mapping[str, Any], having: Collection[str] = ()) -> Iterator[Event]:
    """Yield the events that a ``chain.received`` holds, under their numbers at the centre.

    Parameters
    ----------
    having : collection of str
        Only texts that hold one of these; empty for all.
    """
    for body in payload["bodies"]:
        if not having or any(text in body for text in having):
            yield shown(parse(body), payload["number"])


def expanded(events: Iterable[Event]) -> Iterator[Event]:
    """Yield every event, and after a ``chain.received`` those that it holds."""
    for event in events:
        yield event
        if event.kind == KIND:
            yield from inner_events(event.payload)


def matching(
    own: Iterable[Event],
    received: Iterable[Event],
    kinds: Collection[str] | None,
    subject: str | None,
    after: int,
) -> Iterator[Event]:
    """Yield the events of `own` and, where they were received, those of sites that match.

    Parameters
    ----------
    own : iterable of Event
        Events of the centre's chain that match already.
    received : iterable of Event
        Every ``chain.received`` of the centre.
    kinds, subject, after
        As in `trialkit.record.events.Record.read`.
    """
    having = [f'"kind":"{kind}"' for kind in kinds or ()] or [f'"subject":"{subject}"']
    pairs = merge(
        ((event.seq, 0, event) for event in own),
        ((event.seq, 1, event) for event in received),
        key=lambda pair: pair[:2],
    )
    for _, inside, event in pairs:
        if not inside:
            yield event
            continue
        for inner in inner_events(event.payload, having):
            if (
                (kinds is None or inner.kind in kinds)
                and (subject is None or inner.subject == subject)
                and inner.seq > after
            ):
                yield inner


class ChainsReceived:
    """Follows the chains of sites through a record and finds what does not continue."""

    def __init__(self) -> None:
        self._chains: dict[str, tuple[int, str, CompactRange]] = {}

    def faults(self, payload: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the next ``chain.received``, in words."""
        site = str(payload["site"])
        whose = "a home device" if "-" in site else called(site)  # which one tells an arm
        last, before, tree = self._chains.get(site, (0, GENESIS, CompactRange()))
        found: list[str] = []
        for body in payload["bodies"]:
            last += 1
            digest = hashlib.sha256(body.encode(errors="surrogateescape")).hexdigest()
            tree.append(leaf_hash(body.encode(errors="surrogateescape")))
            try:
                fields = json.loads(body)
                follows = (fields["seq"], fields["prev"]) == (last, before)
            except (ValueError, KeyError, TypeError):
                follows = False
            if not follows and not found:
                found.append(f"chain of {whose}: event {last} does not follow the one before.")
            before = digest
        said = (payload["last"], payload["hash"], payload["root"])
        if not found and said != (last, before, tree.root().hex()):
            found.append(f"chain of {whose}: event {last} is not the one that was anchored.")
        self._chains[site] = last, before, tree
        return found
