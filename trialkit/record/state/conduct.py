"""What a fold knows of diaries, adverse events, queries and deviations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialkit.record.chain import Event
from trialkit.record.kinds import AdverseEventReported, Place, classify

if TYPE_CHECKING:
    from trialkit.record.state.people import ParticipantState
    from trialkit.record.state.study import StudyState


@dataclass
class DiaryState:
    """A returned diary as it stands after corrections; `seq` is the last event."""

    returned: int
    seq: int
    diary: str
    from_day: int
    to_day: int
    entries: list[dict[str, Any]]
    corrections: int = 0


@dataclass
class AdverseEventState:
    """An adverse event as it stands after updates; `since` is when its classes became known.

    `notified` holds the classes under which its report was sent, None before.
    """

    ae: str
    usubjid: str
    seq: int
    reported_at: str
    reported_by: str
    facts: AdverseEventReported
    since: str
    updates: list[int] = field(default_factory=list)
    notified: tuple[str, ...] | None = None

    @property
    def aware_at(self) -> str:
        """When the site became aware, UTC."""
        return self.facts.aware_at or self.reported_at


@dataclass
class QueryState:
    """A query; `status` is open, answered or closed. `corrections` are events that it led to."""

    query: str
    seq: int
    usubjid: str | None
    rule: str | None
    key: str | None
    place: Place
    text: str
    value: str
    restricted: bool
    raised_by: str
    raised_at: str
    status: str = "open"
    changed_at: str = ""
    answers: list[dict[str, str]] = field(default_factory=list)
    closed_by: str | None = None
    reason: str | None = None
    reopened: int = 0
    corrections: list[int] = field(default_factory=list)


@dataclass
class DeviationState:
    """A deviation; `status` is raised, acknowledged or resolved."""

    deviation: str
    seq: int
    usubjid: str | None
    category: str
    detail: str
    day: int | None
    session: str | None
    raised_by: str
    raised_at: str
    classification: str | None = None
    reason: str | None = None
    status: str = "raised"
    decided_by: str | None = None
    decision: str | None = None


def next_ae(who: ParticipantState, *, harm: bool) -> str:
    """Return the next id: adverse events and deficiencies without harm are counted apart.

    A person who may not see deficiencies then sees no gap in the numbers.
    """
    kind = "AE" if harm else "DD"
    n = sum(a.facts.harm == harm for a in who.reports.values()) + 1
    while f"{who.usubjid}-{kind}{n:02d}" in who.reports:
        n += 1
    return f"{who.usubjid}-{kind}{n:02d}"


def next_query(state: StudyState, *, restricted: bool) -> str:
    """Return the next id; restricted queries are counted apart, and leave no gap."""
    own = [q for name, q in state.queries.items() if _own(state, name)]
    n = sum(q.restricted == restricted for q in own) + 1
    return f"{state.prefix}{'R' if restricted else 'Q'}{n:04d}"


def _own(state: StudyState, name: str) -> bool:
    """Return True for a name that this chain gave, and no site's."""
    return name.rpartition("-")[0] == (state.site or "")


def _diary(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    who = state.participants[str(event.subject)]
    who.returns[event.seq] = DiaryState(
        event.seq, event.seq, p["diary"], p["from_day"], p["to_day"], p["entries"]
    )
    who.diaries.setdefault(p["diary"], []).append((p["from_day"], p["to_day"]))


def _diary_corrected(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    who = state.participants[str(event.subject)]
    old = who.returns[p["returned"]]
    old.seq, old.from_day, old.to_day = event.seq, p["from_day"], p["to_day"]
    old.entries, old.corrections = p["entries"], old.corrections + 1
    who.diaries[old.diary] = [
        (r.from_day, r.to_day) for r in who.returns.values() if r.diary == old.diary
    ]
    _link(state, event, lambda place: place.diary == old.diary or place.domain == "CE")


def _adverse(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    who = state.participants[str(event.subject)]
    _count_late(state)
    facts = AdverseEventReported.model_validate(p)
    ae = facts.ae or next_ae(who, harm=facts.harm)
    who.reports[ae] = AdverseEventState(
        ae, who.usubjid, event.seq, event.at, event.actor, facts, facts.aware_at or event.at
    )


def _count_late(state: StudyState) -> None:
    if state.data_lock is not None:
        state.data_lock.late += 1


def _adverse_updated(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    _count_late(state)
    ae = state.participants[str(event.subject)].reports[p["ae"]]
    before, aware = classify(ae.facts), ae.aware_at
    ae.facts = AdverseEventReported.model_validate(ae.facts.model_dump() | p["changes"])
    ae.updates.append(event.seq)
    if classify(ae.facts) != before:
        ae.since = p["aware_at"] or event.at
    elif ae.since == aware:
        ae.since = ae.aware_at
    _link(state, event, lambda place: place.ae == ae.ae or place.domain == "AE")


def _adverse_notified(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    state.participants[str(event.subject)].reports[p["ae"]].notified = tuple(p["classes"])


def _link(state: StudyState, event: Event, about: Callable[[Place], bool]) -> None:
    """Name a correction at the queries that it may settle; it closes none."""
    for query in state.queries_of.get(str(event.subject), []):
        known = state.queries[query]
        if known.status != "closed" and about(known.place):
            known.corrections.append(event.seq)


def link_assessment(
    state: StudyState, event: Event, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Name a correction of a form at the queries about it, or about an item that changed."""
    visit, instrument = event.payload["visit"], event.payload["instrument"]
    changed = {item for item in {*old, *new} if old.get(item) != new.get(item)}
    _link(
        state,
        event,
        lambda place: (
            place.visit == visit
            and place.instrument in (None, instrument)
            and (place.item is None or place.item in changed)
        ),
    )


def _raised(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    query = QueryState(
        p["query"], event.seq, event.subject, p["rule"], p["key"], Place(**p["place"]),
        p["text"], p["value"], p["restricted"], event.actor, event.at, changed_at=event.at,
        reason=event.reason,
    )  # fmt: skip
    state.queries[query.query] = query
    state.queries_of.setdefault(str(event.subject), []).append(query.query)
    if query.key is not None:
        state.query_keys[query.key] = query.query


def _answered(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    query = state.queries[p["query"]]
    query.status, query.changed_at = "answered", event.at
    query.answers.append({"by": event.actor, "at": event.at, "text": p["text"]})


def _closed(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    query = state.queries[p["query"]]
    query.status, query.changed_at = "closed", event.at
    query.closed_by, query.reason = event.actor, event.reason


def _reopened(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    query = state.queries[p["query"]]
    query.status, query.changed_at, query.reason = "open", event.at, event.reason
    query.closed_by, query.reopened = None, query.reopened + 1


def _deviation(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    in_session = p["session"] is not None
    own = [d for name, d in state.deviations.items() if _own(state, name)]
    n = sum((d.session is not None) == in_session for d in own) + 1
    # counted apart: no gap tells of a session
    name = f"{state.prefix}{'S' if in_session else 'D'}{n:04d}"
    state.deviations[name] = DeviationState(
        name, event.seq, event.subject, p["category"], p["detail"], p["day"], p["session"],
        event.actor, event.at, p.get("classification"), event.reason,
    )  # fmt: skip


def _acknowledged(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    known = state.deviations[p["deviation"]]
    known.status = "acknowledged" if known.status == "raised" else known.status
    known.classification, known.decided_by = p["classification"], event.actor
    known.decision = event.reason


def _resolved(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    known = state.deviations[p["deviation"]]
    known.status, known.decided_by, known.decision = "resolved", event.actor, event.reason


Handler = Callable[["StudyState", Event, dict[str, Any]], None]
HANDLERS: dict[str, Handler] = {
    "diary.returned": _diary,
    "diary.corrected": _diary_corrected,
    "ae.reported": _adverse,
    "ae.updated": _adverse_updated,
    "ae.notified": _adverse_notified,
    "query.raised": _raised,
    "query.answered": _answered,
    "query.closed": _closed,
    "query.reopened": _reopened,
    "deviation.raised": _deviation,
    "deviation.acknowledged": _acknowledged,
    "deviation.resolved": _resolved,
}
