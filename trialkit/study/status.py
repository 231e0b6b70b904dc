"""A study at a glance: counts, lock state, chain state; as data, text and HTML."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from trialkit.record.chain import ChainReport
from trialkit.study.holds import lock_text

if TYPE_CHECKING:
    from trialkit.record.state import StudyState

#: How the name of what is signed begins where only roles that may see allocations see it.
OF_SESSIONS = ("session:", "casebook:")


@dataclass(frozen=True)
class StudyStatus:
    """What `Study.status` returns.

    ``participants`` counts by how far they came, each in one row; ``sessions`` by how they ended;
    ``lock`` is the hash of the plan lock, or None; ``revealed`` says whether arms are unblinded,
    ``unblinded`` of how many participants the arm was told in an emergency; ``data`` says
    whether they are locked or frozen; ``signatures_broken`` counts those over what was changed.
    ``queries`` and ``deviations`` count by status. ``events`` is None for a role that may not see
    allocations: a session on a device takes more events than one without. Without ``chain_whole``
    the chain was checked from the event on up to which the state was kept of an earlier open.
    """

    study_id: str
    title: str
    folder: str
    source: str
    created_at: str
    participants: dict[str, int]
    sites: dict[str, int]
    visits: dict[str, int]
    sessions: dict[str, int]
    adverse_events: int
    serious_events: int
    users: dict[str, str]
    plan: str | None
    lock: str | None
    revealed: bool
    events: int | None
    head: str
    chain_ok: bool
    findings: list[str]
    unblinded: int = 0
    queries: dict[str, int] = field(default_factory=dict)
    oldest_query_days: float | None = None
    deviations: dict[str, int] = field(default_factory=dict)
    data: str = "not locked"
    signatures: int = 0
    signatures_broken: int = 0
    chain_whole: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain data."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text of each line."""
        whole = "whole" if self.chain_whole else "whole since the state that was kept (--whole)"
        chain = whole if self.chain_ok else f"BROKEN: {'; '.join(self.findings[:3])}"
        lock = f"locked, {self.lock[:12]}" if self.lock else "not locked"
        return [
            ("Study", f"{self.study_id}: {self.title}"),
            ("Folder", self.folder),
            ("Participants", _counted(self.participants)),
            ("Sites", _counted(self.sites)),
            ("Visits held", _counted(self.visits)),
            ("Sessions", _counted(self.sessions)),
            ("Adverse events", f"{self.adverse_events}, serious {self.serious_events}"),
            ("Queries", self._queries()),
            ("Deviations", _counted(self.deviations)),
            ("Users", ", ".join(f"{u} ({role})" for u, role in self.users.items())),
            ("Plan", f"{self.plan or 'none'}, {lock}"),
            ("Allocation", self._allocation()),
            ("Data", self.data),
            ("Signatures", f"{self.signatures}, broken {self.signatures_broken}"),
            ("Record", f"{self._events()}chain {chain}, head {self.head[:16]}"),
        ]

    def _events(self) -> str:
        return "" if self.events is None else f"{self.events} events, "

    def _queries(self) -> str:
        oldest = self.oldest_query_days
        text = _counted(self.queries)
        return text if oldest is None else f"{text}; the oldest for {oldest:.0f} days"

    def _allocation(self) -> str:
        text = "revealed" if self.revealed else "concealed"
        return f"{text}, {self.unblinded} unblinded in an emergency" if self.unblinded else text

    def __str__(self) -> str:
        """Return the status as lines of text."""
        return "\n".join(f"{label:<15}{text}" for label, text in self.rows())

    def _repr_html_(self) -> str:
        """Return the status as an HTML table."""
        body = "".join(
            f'<tr><th style="text-align:left">{escape(label)}</th>'
            f'<td style="text-align:left">{escape(text)}</td></tr>'
            for label, text in self.rows()
        )
        return f"<table>{body}</table>"


def _counted(counts: dict[str, int]) -> str:
    if not counts:
        return "none"
    parts = ", ".join(f"{name} {n}" for name, n in counts.items())
    return f"{sum(counts.values())}: {parts}"


def _sessions(state: StudyState, *, blinded: bool) -> dict[str, int]:
    """Count sessions by how they ended; while blinded, as missed or held, when they are over."""
    ended = [s.status for s in state.sessions.values() if not (blinded and s.status == "open")]
    if blinded:
        ended = ["missed" if status == "missed" else "held" for status in ended]
    return dict(Counter(sorted(ended)))


def _days(now: datetime, then: datetime) -> float:
    return round((now - then).total_seconds() / 86400, 2)


def status_of(
    state: StudyState,
    chain: ChainReport,
    *,
    folder: str,
    plan: str | None,
    now: datetime,
    blinded: bool = True,
    chain_whole: bool = True,
) -> StudyStatus:
    """Return the status of a state and a checked chain.

    A `blinded` status does not count what only roles that may see allocations see: queries,
    deviations and signatures of sessions, sessions by how they ended, and events.
    """
    people = state.participants.values()
    queries = [q for q in state.queries.values() if not (blinded and q.restricted)]
    waiting = [datetime.fromisoformat(q.raised_at) for q in queries if q.status != "closed"]
    deviations = [d for d in state.deviations.values() if not (blinded and d.session)]
    signed = [
        signature
        for what, group in state.signed.items()
        for signature in group
        if not (blinded and what.startswith(OF_SESSIONS))
    ]
    return StudyStatus(
        study_id=state.study_id,
        title=state.title,
        folder=folder,
        source=state.source,
        created_at=state.created_at,
        participants=dict(Counter(p.status for p in people)),
        sites=dict(sorted(Counter(p.site for p in people).items())),
        visits=dict(state.visits_held),
        sessions=_sessions(state, blinded=blinded),
        adverse_events=sum(p.adverse_events for p in people),
        serious_events=sum(p.serious_events for p in people),
        users={u.user: u.role for u in state.users.values()},
        plan=plan,
        lock=state.lock.lock if state.lock else None,
        revealed=state.revealed,
        events=None if blinded else chain.n,
        head=chain.head,
        chain_ok=chain.ok,
        findings=[str(finding) for finding in chain.findings],
        unblinded=sum(u.approved_by is not None for u in state.unblindings.values()),
        queries=dict(Counter(q.status for q in queries)),
        oldest_query_days=_days(now, min(waiting)) if waiting else None,
        deviations=dict(Counter(d.status for d in deviations)),
        data=lock_text(state),
        signatures=len(signed),
        signatures_broken=sum(signature.broken_by is not None for signature in signed),
        chain_whole=chain_whole,
    )
