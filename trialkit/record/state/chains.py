"""The part of the fold about sites and home devices that keep a chain of their own.

What the centre received of a site is folded by itself, exactly as at the site, and what it says
of participants is then seen in the state of the centre too. People, accounts, lists and locks of
a site stay the site's. A home device has the sessions of one participant, who stays the centre's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialkit.record.chain import GENESIS, Event
from trialkit.record.kinds import ParticipantHanded
from trialkit.record.merkle import CompactRange, leaf_hash
from trialkit.record.received import called, parse, shown
from trialkit.record.state.people import ParticipantState, SessionState

if TYPE_CHECKING:
    from trialkit.record.state.study import StudyState

_SIGNED_THERE = ("casebook:", "form:", "session:")


@dataclass
class ChainState:
    """A site's or a home device's chain as far as it was received; `state` is the fold over it.

    `site` is its name. `usubjid` is the participant of a home device; `founded` number and hash
    of the last event that was written when it was handed over; `returned` that it was taken back.
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
    usubjid: str | None = None
    founded: tuple[int, str] = (0, GENESIS)
    returned: bool = False

    @property
    def called(self) -> str:
        """Whose chain it is, in words."""
        return called(self.site)

    @property
    def unfinished(self) -> list[str]:
        """Sessions whose end was not received."""
        return [s.session for s in self.state.sessions.values() if s.status == "open"]

    def holder(self, seq: int) -> int:
        """Return the number of the centre's event that holds event `seq` of the site."""
        return self.anchors[bisect_left(self.anchors, (seq, 0))][1]


def _opened(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    inner = type(state)()
    state.chains[p["site"]] = ChainState(
        p["site"], p["number"], p["genesis"], p["public_key"], inner
    )


def _handed(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    inner = type(state)()
    state.chains[p["chain"]] = ChainState(
        p["chain"],
        p["number"],
        p["genesis"],
        p["public_key"],
        inner,
        usubjid=str(event.subject),
        founded=(p["founded"], p["hash"]),
    )


def _returned(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    state.chains[p["chain"]].returned = True


def _participant(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    """Begin the chain of a home device with what it knows of its participant."""
    usubjid, known = str(event.subject), ParticipantHanded.model_validate(p)
    who = ParticipantState(usubjid, known.site, known.attributes)
    who.consent, who.eligible = known.consent, known.eligible
    who.randomised_at, who.levels = known.randomised_at, dict(known.levels)
    for s in known.sessions:
        who.sessions[s.number] = state.sessions[s.session] = SessionState(
            s.session, usubjid, s.number, s.day, s.status, protocol=s.protocol, code=s.code
        )
    state.home, state.participants[usubjid] = usubjid, who


def _ended(state: StudyState, _: Event, __: dict[str, Any]) -> None:
    state.ended = True


def device_of(state: StudyState, usubjid: str | None) -> ChainState | None:
    """Return the chain of the home device on which a participant trains now, or None."""
    for chain in state.chains.values():
        if usubjid is not None and chain.usubjid == usubjid and not chain.returned:
            return chain
    return None


def _received(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    chain = state.chains[p["site"]]
    held = chain.state.visits_held.copy()
    tree = CompactRange(chain.last, chain.peaks)
    for body in p["bodies"]:
        inner = parse(body)
        tree.append(leaf_hash(body.encode()))
        chain.last, chain.hash = inner.seq, inner.hash
        at_centre = shown(inner, chain.number)
        chain.state.apply(at_centre)
        if chain.usubjid is not None:
            _share(state, chain, at_centre)
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


def _share(state: StudyState, chain: ChainState, event: Event) -> None:
    """Let the chain of a home device act on the centre's participant, whose sessions it has."""
    if event.kind == ParticipantHanded.kind:
        chain.state.participants[str(event.subject)] = state.participants[str(event.subject)]
        chain.state.sessions.clear()  # those before are known here
    else:
        state.break_signatures(event)


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
    "device.handed": _handed,
    "device.returned": _returned,
    "participant.handed": _participant,
    "chain.ended": _ended,
    "chain.received": _received,
    "session.received": _telemetry,
    "chain.refused": _refused,
}
