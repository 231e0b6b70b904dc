"""What the centre takes up of another chain: events and sealed sessions, each checked.

Everything may be sent twice, in any parts, and be broken off anywhere: what the centre holds is
compared, what continues it is added in one transaction, and nothing is acknowledged before it
is on disk. What does not continue the chain is refused, and the refusal is an event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from trialkit.errors import (
    ChainBroken,
    DataLocked,
    IntegrityError,
    TrialkitError,
    UnknownName,
    UsageError,
)
from trialkit.record.chain import Event
from trialkit.record.draws import seed_commitment, site_seed
from trialkit.record.heads import body_of
from trialkit.record.kinds import (
    KINDS,
    ChainEnded,
    ChainReceived,
    ChainRefused,
    CommandRefused,
    ParticipantRandomised,
    SessionOpened,
)
from trialkit.record.merkle import CompactRange, leaf_hash
from trialkit.record.received import called, parse
from trialkit.record.roles import enters_data
from trialkit.record.state import ChainState
from trialkit.study.commands import command
from trialkit.study.holds import CENTRAL, locked_for, not_on_device
from trialkit.study.study import Study
from trialkit.study.sync.device import flag_late_sessions

MOST_EVENTS = 256
MOST_BYTES = 1 << 20
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class Head:
    """How far the centre has a site's chain, and how far its own is.

    `missing` are the sessions whose telemetry is to come.
    """

    last: int
    hash: str
    centre: int
    centre_hash: str
    missing: tuple[str, ...] = ()


def chain_of(study: Study, site: str) -> ChainState:
    """Return what the centre knows of the chain of a site.

    Raises
    ------
    UnknownName
        If it opened none for that site.
    """
    found = study.state.chains.get(site)
    if found is None:
        raise UnknownName(
            f"{called(site)} has no chain here.",
            remedy="The centre opens one: `trialkit sync site`, or `sync device`.",
        )
    return found


def head_of(study: Study, site: str) -> Head:
    """Return how far a site's chain was received."""
    chain = chain_of(study, site)
    centre, digest = study.state.seq, study.state.hash
    return Head(chain.last, chain.hash, centre, digest, tuple(chain.sealed))


def body_at(study: Study, site: str, seq: int) -> str:
    """Return the text of event `seq` of a site's chain as the centre holds it.

    Raises
    ------
    UsageError
        If it does not hold as many.
    """
    chain = chain_of(study, site)
    if not 1 <= seq <= chain.last:
        raise UsageError(f"no event {seq} of {chain.called}.", remedy=f"There are {chain.last}.")
    anchor = next(iter(study.record.read(after=chain.holder(seq) - 1)))
    return str(anchor.payload["bodies"][seq - anchor.payload["first"]])


class _Refusal(Exception):
    """An event of a site that is not taken, before the refusal is recorded."""

    def __init__(self, refused: ChainRefused, error: TrialkitError) -> None:
        super().__init__(error.message)
        self.refused = refused
        self.error = error


def receive(study: Study, site: str, first: int, bodies: Sequence[str]) -> Head:
    """Take up events `first` and following of a site's chain.

    Those that the centre holds are compared with what is sent, the others are added: all of
    them or none.

    Raises
    ------
    ChainBroken
        If the chain parts from the one that the centre holds (a fork), or an event is none that
        a site may write. The refusal, with the place, is an event of the centre.
    DataLocked
        If an event enters data, and the data are locked or frozen at the centre.
    UsageError
        If there are too many at once, or there is a gap before them.
    """
    if len(bodies) > MOST_EVENTS or sum(map(len, bodies)) > 4 * MOST_BYTES:
        raise UsageError("too many events at once.", remedy=f"Send at most {MOST_EVENTS}.")
    try:
        return _receive(study, site, first, bodies)
    except _Refusal as refusal:
        known = study.state.chains[site].refused
        if (refusal.refused.seq, refusal.refused.hash) not in known:
            _note_refusal(study, site, refusal.refused)
        raise refusal.error from None


@command("sync", name="note_refused_events")
def _note_refusal(study: Study, site: str, refused: ChainRefused) -> Event:
    """Record that an event of the chain of a site was refused."""
    chain_of(study, site)
    return study.append(refused)


@command("sync", name="receive_events")
def _receive(study: Study, site: str, first: int, bodies: Sequence[str]) -> Head:
    """Add the events that are new, in one transaction with their anchor."""
    chain = chain_of(study, site)
    if not 1 <= first <= chain.last + 1:
        raise UsageError(
            f"event {first} of {chain.called} does not follow event {chain.last}.",
            remedy=f"Send event {chain.last + 1} and those after it.",
        )
    new: list[Event] = []
    tree = CompactRange(chain.last, chain.peaks)
    digest = chain.hash
    for seq, body in enumerate(bodies, first):
        event = _event(chain, seq, body)
        if seq <= chain.last:
            held = parse(body_at(study, site, seq))
            if held.hash != event.hash:
                text = f"the centre holds another event {seq}: the two chains part there"
                raise _refused(chain, event, "fork", text)
            continue
        if event.prev != digest or (seq == 1 and event.hash != chain.genesis):
            text = f"event {seq} does not follow event {seq - 1} of the centre"
            raise _refused(chain, event, "fork", text)
        if chain.usubjid is None:
            _require_allowed(study, chain, event)
        else:
            _require_of_device(chain, event, ended=any(one.kind == ChainEnded.kind for one in new))
        _require_unlocked(study, chain, event)
        digest = event.hash
        tree.append(leaf_hash(body.encode()))
        new.append(event)
    if new:
        sent = list(bodies[-len(new) :])
        _add(study, chain, sent, digest, tree.root().hex())
        _draw(study, study.state.chains[site], new)
        if chain.usubjid is not None:
            opened = [str(one.payload["session"]) for one in new if one.kind == SessionOpened.kind]
            flag_late_sessions(study, study.state.chains[site], opened)
    return head_of(study, site)


def _add(study: Study, chain: ChainState, new: list[str], digest: str, root: str) -> None:
    last = chain.last + len(new)
    try:
        study.append(
            ChainReceived(
                site=chain.site,
                number=chain.number,
                first=chain.last + 1,
                last=last,
                hash=digest,
                root=root,
                bodies=new,
            )
        )
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        event = parse(new[-1])
        text = (
            f"one of events {last - len(new) + 1} to {last} does not fit those before ({error!r})"
        )
        raise _refused(chain, event, "invalid", text) from error


def _draw(study: Study, chain: ChainState, events: Sequence[Event]) -> None:
    """Draw the lists that the site used, from its seed, and compare their commitments.

    So the centre knows the arms, and no arm is ever sent.
    """
    inner, plan = chain.state, study.design.randomisation
    if plan is None or inner.scheme is None:
        return
    arms = [arm.code for arm in study.design.arms]
    seed = site_seed(study.state.study_id, chain.site, study.allocation.seed())
    same = inner.scheme["commitment"] == seed_commitment(study.state.study_id, arms, seed)
    for stratum, committed in inner.lists_committed.items():
        parts = study.allocation.parts(stratum)
        while same and len(parts) < len(committed):
            after = sum(part.length for part in parts) + 1
            parts = study.allocation.ensure(
                stratum, after, arms=arms, ratio=plan.ratio, block_sizes=plan.block_sizes, seed=seed
            )
        same = same and [part.commitment for part in parts][: len(committed)] == committed
    event = events[-1]
    try:
        for event in events if same else ():
            if event.kind == ParticipantRandomised.kind:
                p = event.payload
                study.allocation.arm_of(
                    str(event.subject), p["stratum"], p["place"], p["commitment"]
                )
    except IntegrityError:
        same = False
    if not same:
        text = "the lists or arms of the site are not those of the seed that it was given"
        raise _refused(chain, event, "invalid", text)


def _event(chain: ChainState, seq: int, body: str) -> Event:
    """Return the event of a text that is what our own software would have written."""
    try:
        event = parse(body)
        exact = body_of(event).decode() == body and event.seq == seq
        KINDS[event.kind].model_validate(event.payload)
        datetime.fromisoformat(event.at)
        exact = exact and all(isinstance(one, str) for one in (event.actor, event.role))
    except (ChainBroken, KeyError, TypeError, ValueError, AttributeError, ValidationError):
        exact = False
    if not exact:
        empty = Event(seq, "", "", 0, "", "", None, None, {}, "", "")
        raise _refused(chain, empty, "invalid", f"event {seq} is no event that can be read here")
    return event


def _require_allowed(study: Study, chain: ChainState, event: Event) -> None:
    stem = f"{study.state.study_id}-{chain.site}-"
    origin = event.payload.get("origin") or {}
    wrong = None
    if event.kind in CENTRAL:
        wrong = f"{event.kind} is of the whole study"
    elif (event.kind == "study.created") != (event.seq == 1):
        wrong = "a chain begins with the study, once"
    elif event.seq == 1 and (origin.get("site"), origin.get("number")) != (
        chain.site,
        chain.number,
    ):
        wrong = "it is the chain of another site"
    elif not (event.subject or stem).startswith(stem) and event.kind != CommandRefused.kind:
        wrong = f"{event.subject} is no participant of site {chain.site}"
    elif event.payload.get("site", chain.site) != chain.site:
        wrong = f"it is about site {event.payload['site']}"
    elif event.kind.startswith("session."):
        wrong = _session_fault(event)
    if wrong is not None:
        raise _refused(chain, event, "invalid", f"event {event.seq} ({event.kind}): {wrong}")


def _require_of_device(chain: ChainState, event: Event, *, ended: bool) -> None:
    """Refuse what a home device cannot write; `ended` by an event just before."""
    text = f"event {event.seq} ({event.kind})"
    if chain.returned:
        raise _refused(chain, event, "returned", f"{text}: the device was taken back")
    last, digest = chain.founded
    if event.seq <= last:
        if event.seq == last and event.hash != digest:
            raise _refused(chain, event, "fork", f"{text} is not the one that was handed over")
        return
    wrong = not_on_device(
        str(chain.usubjid), event.model(), event.subject, ended=ended or chain.state.ended
    )
    fault = wrong[0] if wrong else None
    if fault is None and event.kind.startswith("session."):
        fault = _session_fault(event)
    if fault is not None:
        raise _refused(chain, event, "invalid", f"{text}: {fault}")


def _require_unlocked(study: Study, chain: ChainState, event: Event) -> None:
    if enters_data(event.kind) and (held := locked_for(study.state, event.model(), event.subject)):
        text = f"event {event.seq} enters data, and {held[0]}"
        raise _refused(chain, event, "held", text, DataLocked(text, remedy=held[1]))


def _session_fault(event: Event) -> str | None:
    """Return what is wrong with the name or the folder of a session, which become paths."""
    session = str(event.payload.get("session", event.subject))
    if not _SESSION.fullmatch(session) or not session.startswith(str(event.subject)):
        return f"{session!r} names no session of {event.subject}"
    if event.payload.get("folder", f"telemetry/{session}") != f"telemetry/{session}":
        return f"telemetry of {session} in {event.payload['folder']!r}"
    return None


def _refused(
    chain: ChainState, event: Event, why: Any, text: str, error: TrialkitError | None = None
) -> _Refusal:
    refused = ChainRefused(site=chain.site, seq=event.seq, hash=event.hash, why=why, detail=text)
    text = f"{chain.called}: {text}."
    remedies = {
        "fork": "Keep both folders as evidence; go on from a copy of the newest folder there.",
        "invalid": "Verify the record there, and compare the versions of trialkit.",
        "returned": "Keep the folder as evidence; sessions are run at the centre.",
    }
    return _Refusal(
        refused, error or ChainBroken(text, remedy=remedies[why], site=chain.site, seq=event.seq)
    )
