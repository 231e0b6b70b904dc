"""The current state of a study: a fold over its events, without I/O.

It holds no fact of its own: it can be thrown away and rebuilt from the record at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from trialkit.record.chain import GENESIS, Event
from trialkit.record.kinds import AccountsRequired, PlanLocked, TimeSource
from trialkit.record.received import STEP
from trialkit.record.signed import SignedState, things_of
from trialkit.record.state import chains, conduct
from trialkit.record.state.accounts import HANDLERS, DataLock
from trialkit.record.state.chains import ChainState
from trialkit.record.state.conduct import DeviationState, QueryState
from trialkit.record.state.people import (
    AssessmentState,
    ParticipantState,
    SessionState,
    Unblinding,
    UserState,
    VisitState,
)

#: What a login or a refusal leaves, which nobody looks at the clock for.
_OF_LOGIN = {"command.refused", "user.logged_in", "user.logged_out", "user.login_failed",
             "user.locked", "user.unlocked", "user.password_set"}  # fmt: skip


class StudyState:
    """The fold; `apply` takes the events in order."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.clear()
        for event in events:
            self.apply(event)

    def clear(self) -> None:
        """Return to the state before the first event."""
        self.seq = 0
        self.hash = GENESIS
        self.study_id = ""
        self.title = ""
        self.source = "trial"
        self.created_at = ""
        self.protocol_hashes: dict[str, str] = {}
        self.site: str | None = None  # or home device whose chain it is
        self.home: str | None = None  # USUBJID, in the chain of a home device
        self.ended = False  # the chain of a home device
        self.chains: dict[str, ChainState] = {}  # of sites and home devices, at the centre
        self.design_hash: str | None = None
        self.plan_hash: str | None = None
        self.users: dict[str, UserState] = {}
        self.participants: dict[str, ParticipantState] = {}
        self.visits_held: Counter[str] = Counter()
        self.sessions: dict[str, SessionState] = {}
        self.places_taken: Counter[str] = Counter()
        self.scheme: dict[str, Any] | None = None
        self.lists_committed: dict[str, list[str]] = {}
        self.unblindings: dict[str, Unblinding] = {}
        self.lock: PlanLocked | None = None
        self.lock_seq: int | None = None
        self.revealed = False
        self.last_snapshot: dict[str, Any] | None = None
        self.last_results: dict[str, Any] | None = None
        self.last_head: dict[str, Any] | None = None
        self.accounts: AccountsRequired | None = None
        self.frozen: set[tuple[str | None, str | None]] = set()  # USUBJID, visit; None is all
        self.data_lock: DataLock | None = None
        self.signed: dict[str, list[SignedState]] = {}
        self.queries: dict[str, QueryState] = {}
        self.queries_of: dict[str, list[str]] = {}
        self.query_keys: dict[str, str] = {}
        self.deviations: dict[str, DeviationState] = {}
        self.counts: Counter[str] = Counter()
        self.time_sources: dict[str, TimeSource] = {}  # by machine
        self.watched_at = ""  # time of the last event before which the clock was looked at

    def __eq__(self, other: object) -> bool:
        """Return True for a state that knows the same, chains within it too."""
        return isinstance(other, StudyState) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def rebuild(self, events: Iterable[Event]) -> None:
        """Start again from these events."""
        self.clear()
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take the next event into account."""
        self.seq, self.hash = event.seq, event.hash
        self.counts[event.kind] += 1
        if event.kind not in _OF_LOGIN:
            self.watched_at = event.at
        handler = self._HANDLERS.get(event.kind)
        if handler is not None:
            handler(self, event, event.payload)
        self.break_signatures(event)

    def break_signatures(self, event: Event) -> None:
        """Break the signatures of what an event changes."""
        for what in things_of(event) if self.signed else ():
            for signature in self.signed.get(what, ()):
                signature.broken_by = signature.broken_by or event.seq

    @property
    def open_sessions(self) -> list[SessionState]:
        """Sessions that were opened in this chain, and not closed."""
        opened = (s for s in self.sessions.values() if s.status == "open")
        return [s for s in opened if (s.opened_seq or 0) < STEP]

    @property
    def prefix(self) -> str:
        """What the names that this chain gives begin with, so that none is given twice."""
        return f"{self.site}-" if self.site else ""

    def _of(self, event: Event) -> ParticipantState:
        return self.participants[str(event.subject)]

    # --- handlers: one for each kind that changes what may happen next -------------------

    def _created(self, event: Event, p: dict[str, Any]) -> None:
        self.study_id, self.title, self.source = p["study_id"], p["title"], p["source"]
        self.protocol_hashes, self.plan_hash = p["protocols"], p["plan"]
        self.design_hash = p.get("design")
        origin = p.get("origin")
        self.site = origin["site"] if origin else None
        self.created_at = event.at
        if p.get("clock") is not None:
            self._clock_source(event, {"source": p["clock"]})

    def _clock_source(self, _: Event, p: dict[str, Any]) -> None:
        source = TimeSource.model_validate(p["source"])
        self.time_sources[source.machine] = source

    def _user(self, _: Event, p: dict[str, Any]) -> None:
        sites = tuple(p.get("sites", ()))
        user = UserState(p["user"], p["name"], p["user_role"], p["key_fingerprint"], sites)
        self.users[user.user] = user

    def _enrolled(self, event: Event, p: dict[str, Any]) -> None:
        usubjid = str(event.subject)
        self.participants[usubjid] = ParticipantState(usubjid, p["site"], p["attributes"])

    def _consented(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).consent = p["version"]

    def _excluded(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).excluded = p["code"]

    def _eligible(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).eligible = p["version"]

    def _scheme_committed(self, _: Event, p: dict[str, Any]) -> None:
        self.scheme = p

    def _list_committed(self, _: Event, p: dict[str, Any]) -> None:
        self.lists_committed.setdefault(p["stratum"], []).append(p["commitment"])

    def _randomised(self, event: Event, p: dict[str, Any]) -> None:
        who = self._of(event)
        who.stratum, who.strata, who.place = p["stratum"], p["strata"], p["place"]
        who.commitment, who.randomised_at = p["commitment"], event.at
        self.places_taken[p["stratum"]] = max(self.places_taken[p["stratum"]], p["place"])

    def _revealed(self, _: Event, __: dict[str, Any]) -> None:
        self.revealed = True

    def _unblinding_requested(self, event: Event, p: dict[str, Any]) -> None:
        self.unblindings[p["request"]] = Unblinding(
            p["request"], str(event.subject), event.actor, event.role
        )

    def _unblinded_one(self, event: Event, p: dict[str, Any]) -> None:
        self.unblindings[p["request"]].approved_by = event.actor

    def _visit_held(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).visits[p["visit"]] = VisitState(p["visit"], p["day"], p["in_window"])
        self.visits_held[p["visit"]] += 1

    def _visit_missed(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).visits[p["visit"]] = VisitState(p["visit"], None, code=p["code"])

    def _assessed(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).assessments[p["visit"], p["instrument"]] = AssessmentState(
            event.seq,
            p["visit"],
            p["day"],
            p["instrument"],
            p["status"],
            p["items"],
            p["scores"],
            p["code"],
            entry=p.get("entry", "single"),
            entered_by=event.actor,
            flags=p.get("flags", []),
            done_on=p.get("done_on"),
            delay_days=p.get("delay_days"),
            late=p.get("late", False),
        )

    def _entered_again(self, event: Event, p: dict[str, Any]) -> None:
        old = self._of(event).assessments[p["visit"], p["instrument"]]
        old.seq, old.second = event.seq, p
        old.entry = "differs" if p["differences"] else "agreed"

    def _adjudicated(self, event: Event, p: dict[str, Any]) -> None:
        old = self._of(event).assessments[p["visit"], p["instrument"]]
        conduct.link_assessment(self, event, old.items, p["items"])
        old.seq, old.status, old.code = event.seq, p["status"], p["code"]
        old.items, old.scores, old.flags = p["items"], p["scores"], p["flags"]
        old.entry, old.second = "adjudicated", None

    def _corrected(self, event: Event, p: dict[str, Any]) -> None:
        old = self._of(event).assessments[p["visit"], p["instrument"]]
        conduct.link_assessment(self, event, old.items, p["items"])
        old.seq, old.status = event.seq, p["status"]
        old.items, old.scores, old.flags = p["items"], p["scores"], p.get("flags", [])
        old.entry, old.second, old.entered_by = p.get("entry", "single"), None, event.actor
        old.corrections += 1

    def _adapted(self, event: Event, p: dict[str, Any]) -> None:
        if p["accepted"]:
            self._of(event).levels[p["parameter"]] = float(p["proposed"])

    def _settings(self, event: Event, p: dict[str, Any]) -> None:
        self._of(event).levels.update(p["settings"])

    def _discontinued(self, event: Event, p: dict[str, Any]) -> None:
        who = self._of(event)
        who.discontinued_day, who.discontinued = p["day"], p["code"]

    def _withdrawn(self, event: Event, p: dict[str, Any]) -> None:
        who = self._of(event)
        who.withdrawn_day, who.withdrawn = p["day"], p["code"]

    def _session(self, event: Event, session: SessionState) -> None:
        self.sessions[session.session] = session
        self._of(event).sessions[session.number] = session

    def _session_opened(self, event: Event, p: dict[str, Any]) -> None:
        opened = SessionState(
            p["session"],
            str(event.subject),
            p["number"],
            p["day"],
            "open",
            protocol=p["protocol"],
            therapist=p["therapist"],
            opened_seq=event.seq,
            opened_at=event.at,
            device=p["device"],
            conformance=p.get("conformance"),
        )
        self._session(event, opened)

    def _sealed(self, _: Event, p: dict[str, Any]) -> None:
        self.sessions[p["session"]].sealed = True

    def _session_closed(self, event: Event, p: dict[str, Any]) -> None:
        session = self.sessions[p["session"]]
        session.status, session.closed_seq = p["status"], event.seq
        session.dose, session.code = p["dose"], p["code"]

    def _conventional(self, event: Event, p: dict[str, Any]) -> None:
        done = SessionState(
            p["session"],
            str(event.subject),
            p["number"],
            p["day"],
            "conventional",
            protocol=p["protocol"],
            closed_seq=event.seq,
            dose=p["dose"],
        )
        self._session(event, done)

    def _session_missed(self, event: Event, p: dict[str, Any]) -> None:
        name = f"{event.subject}-S{p['number']:02d}"
        missed = SessionState(
            name, str(event.subject), p["number"], p["day"], "missed", code=p["code"]
        )
        self._session(event, missed)

    def _locked(self, event: Event, _: dict[str, Any]) -> None:
        lock = event.model()
        if isinstance(lock, PlanLocked):
            self.lock, self.lock_seq = lock, event.seq

    def _snapshot(self, _: Event, p: dict[str, Any]) -> None:
        self.last_snapshot = p

    def _analysed(self, _: Event, p: dict[str, Any]) -> None:
        self.last_results = p

    def _head(self, _: Event, p: dict[str, Any]) -> None:
        self.last_head = p

    _HANDLERS: ClassVar[dict[str, Callable[[StudyState, Event, dict[str, Any]], None]]] = {
        "study.created": _created,
        "clock.source": _clock_source,
        "user.added": _user,
        "participant.enrolled": _enrolled,
        "participant.consented": _consented,
        "participant.excluded": _excluded,
        "participant.eligible": _eligible,
        "allocation.scheme_committed": _scheme_committed,
        "allocation.list_committed": _list_committed,
        "participant.randomised": _randomised,
        "allocation.revealed": _revealed,
        "unblinding.requested": _unblinding_requested,
        "allocation.unblinded_one": _unblinded_one,
        "visit.held": _visit_held,
        "visit.missed": _visit_missed,
        "assessment.recorded": _assessed,
        "assessment.entered_again": _entered_again,
        "assessment.adjudicated": _adjudicated,
        "assessment.corrected": _corrected,
        "participant.training_discontinued": _discontinued,
        "participant.withdrawn": _withdrawn,
        "session.opened": _session_opened,
        "session.adapted": _adapted,
        "settings.decided": _settings,
        "session.telemetry_sealed": _sealed,
        "session.closed": _session_closed,
        "session.conventional": _conventional,
        "session.missed": _session_missed,
        "plan.locked": _locked,
        "snapshot.built": _snapshot,
        "analysis.run": _analysed,
        "head.signed": _head,
        **HANDLERS,
        **conduct.HANDLERS,
        **chains.HANDLERS,
    }
