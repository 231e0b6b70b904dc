"""The part of the fold about sites that keep a chain of their own.

What the centre received of a site is folded by itself, exactly as at the site, and what it says
of participants is then seen in the state of the centre too. People, accounts, lists and locks of
a site stay the site's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialkit.record.chain import GENESIS, Event
from trialkit.record.merkle import CompactRange, leaf_hash
from trialkit.record.received import parse, shown

if TYPE_CHECKING:
    from trialkit.record.state.study import StudyState

_SIGNED_THERE = ("casebook:", "form:", "session:")


@dataclass
class ChainState:
    """A site's chain as far as it was received; `state` is the fold over it.

    `peaks` are those of the Merkle tree over it; `anchors` are pairs of the last event of a part
    and the event of the centre that holds it;
    `sealed` are the sessions whose telemetry is still to come, with folder and manifest hash;
    `refused` holds number and hash of events that were refused.
    """

    site: str
    number: int
    genesis: str
    public_key: str
    state: StudyState
    last: int = 0
    hash: str = GENESIS
    received_at: str = ""
    peaks: list[bytes] = field(default_factory=list)
    anchors: list[tuple[int, int]] = field(default_factory=list)
    sealed: dict[str, tuple[str, str]] = field(default_factory=dict)
    received: dict[str, str] = field(default_factory=dict)
    refused: set[tuple[int, str]] = field(default_factory=set)

    def holder(self, seq: int) -> int:
        """Return the number of the centre's event that holds event `seq` of the site."""
        return self.anchors[bisect_left(self.anchors, (seq, 0))][1]


def _opened(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    inner = type(state)()
    state.chains[p["site"]] = ChainState(
        p["site"], p["number"], p["genesis"], p["public_key"], inner
    )


def _received(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    chain = state.chains[p["site"]]
    held = chain.state.visits_held.copy()
    tree = CompactRange(chain.last, chain.peaks)
    for body in p["bodies"]:
        inner = parse(body)
        tree.append(leaf_hash(body.encode()))
        chain.last, chain.hash = inner.seq, inner.hash
        chain.state.apply(shown(inner, chain.number))
        if inner.kind == "session.telemetry_sealed":
            sealed = inner.payload
            chain.sealed[sealed["session"]] = sealed["folder"], sealed["manifest_sha256"]
        elif state.data_lock is not None and inner.kind in ("ae.reported", "ae.updated"):
            state.data_lock.late += 1
    chain.peaks = tree.peaks
    chain.anchors.append((chain.last, event.seq))
    chain.received_at = event.at
    _show(state, chain.state)
    state.visits_held.update(chain.state.visits_held - held)


def _show(state: StudyState, site: StudyState) -> None:
    """Let the centre see what the site's state holds of participants: the same objects."""
    state.participants.update(site.participants)
    state.sessions.update(site.sessions)
    state.unblindings.update(site.unblindings)
    state.deviations.update(site.deviations)
    state.queries.update(site.queries)
    state.queries_of.update(
        {who: names for who, names in site.queries_of.items() if who in site.participants}
    )
    state.query_keys.update(site.query_keys)
    state.signed.update(
        {what: group for what, group in site.signed.items() if what.startswith(_SIGNED_THERE)}
    )


def _telemetry(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    chain = state.chains[p["site"]]
    chain.sealed.pop(p["session"], None)
    chain.received[p["session"]] = p["manifest_sha256"]


def _refused(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    state.chains[p["site"]].refused.add((p["seq"], p["hash"]))


HANDLERS: dict[str, Callable[[StudyState, Event, dict[str, Any]], None]] = {
    "site.opened": _opened,
    "chain.received": _received,
    "session.received": _telemetry,
    "chain.refused": _refused,
}
