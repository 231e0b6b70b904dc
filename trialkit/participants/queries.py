"""Queries: questions about data, raised by people or rules, answered, closed, reopened.

A query about a session, or one that only a person who may see allocations can find, is
*restricted*: blinded roles neither see nor count it, because sessions on a device, and how they
went, tell an arm. Nobody closes a query whose last answer is their own. A corrected value closes
no query: the correction is named at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from trialkit.errors import NotPermitted, OutOfOrder, UnknownName, UsageError
from trialkit.participants.query_rules import Found, found_by_rules
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    Place,
    QueryAnswered,
    QueryClosed,
    QueryRaised,
    QueryReopened,
)
from trialkit.record.state import QueryState, next_query
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_text, sees_site

#: Checks that a rule makes too, which names the item.
_RULED = frozenset({"item_plausible"})
_DEVICE = re.compile(r"\b(robot|exoskelet|device)", re.IGNORECASE)
_RESTRICTED_NOTE = "Blinded people read this query: leave the arm out, or raise one of a session."


@dataclass(frozen=True)
class QueryRow:
    """A query as it stands; ``age_days`` runs from the raising to now, or to its closing.

    ``corrected`` counts the corrections that it led to; ``corrections`` are their events, which a
    role that may not see allocations is not told.
    """

    query: str
    status: str
    usubjid: str | None
    place: dict[str, str]
    rule: str | None
    text: str
    value: str
    restricted: bool
    raised_by: str
    raised_at: str
    age_days: float
    answers: tuple[dict[str, str], ...]
    closed_by: str | None
    reason: str | None
    reopened: int
    corrected: int
    corrections: tuple[int, ...]


@command("query")
def raise_query(
    study: Study,
    usubjid: str,
    *,
    text: str,
    visit: str | None = None,
    instrument: str | None = None,
    item: str | None = None,
    session: str | None = None,
    diary: str | None = None,
    ae: str | None = None,
) -> Event:
    """Raise a query about a participant, or about one thing that was entered.

    Parameters
    ----------
    text : str
        The question. Where it names an arm, the query is restricted.
    visit, instrument, item : str or None
        Each needs the one before it.
    session : str or None
        Needs ``see_allocation``, and makes the query restricted.
    diary, ae : str or None
        PARAMCD of a diary; id of an adverse event.

    Raises
    ------
    UnknownName
        If the study has no such thing.
    NotPermitted
        About a session or a deficiency, if the role may not see allocations; or if it names an
        arm then.
    UsageError
        If the text is missing, or an item is given without its form.
    """
    text = require_text(text, "the question")
    who = study.participant(usubjid)
    if (item and not instrument) or (instrument and not visit):
        raise UsageError("an item needs its form, and a form its visit.", remedy="Give them too.")
    if visit:
        study.design.visit(visit)
    if instrument:
        form = study.design.instrument(instrument)
        if item and item not in {i.id for i in form.items}:
            raise UnknownName(
                f"{instrument} has no item {item}.",
                remedy=f"Use one of {', '.join(i.id for i in form.items[:20])}.",
            )
    if diary:
        study.design.diary(diary)
    hidden = session is not None or names_arm(study, text)
    if ae is not None:
        report = who.reports.get(ae)
        if report is None or (not report.facts.harm and not study.may("see_allocation")):
            raise UnknownName(
                f"{usubjid} has no adverse event {ae}.", remedy="`trialkit ae list` lists them."
            )
        hidden = hidden or not report.facts.harm
    if hidden:
        study.require("see_allocation", command="raise_query", subject=usubjid)
    if session is not None and session not in {s.session for s in who.sessions.values()}:
        raise UnknownName(f"{usubjid} has no session {session}.", remedy="Name a session.")
    return study.append(
        QueryRaised(
            query=next_query(study.state, restricted=hidden),
            text=text,
            place=Place(
                visit=visit, instrument=instrument, item=item, session=session, diary=diary, ae=ae
            ),
            restricted=hidden,
        ),
        subject=usubjid,
    )


@command("query")
def run_queries(study: Study, findings: Iterable[Mapping[str, Any]] = ()) -> list[QueryRow]:
    """Raise a query for whatever the rules find now.

    The rules: a value outside its usual range, a late entry, two entries that differ, a fall that
    is an adverse event and in no diary, one with medical attention that is in a diary and no
    adverse event, a diary that is overdue, and every failed check of the data in `findings`.
    What has a query that is open or answered is not raised again; what was closed is raised again
    only when the value is another.

    Parameters
    ----------
    findings : iterable of mapping
        Failed checks, as `trialkit.data.query_findings` returns them.

    Returns
    -------
    list of QueryRow
        The new queries that the person who acts may see.
    """
    made = []
    checks = [_of_check(row) for row in findings if row["check"] not in _RULED]
    for found in [*found_by_rules(study), *checks]:
        if not sees_site(study, found.usubjid) or _known_already(study, found):
            continue
        if _acts_elsewhere(study, found.usubjid):
            continue
        name = next_query(study.state, restricted=found.restricted)
        study.append(
            QueryRaised(
                query=name,
                text=found.text,
                place=found.place,
                rule=found.rule,
                key=found.key,
                value=found.value,
                restricted=found.restricted,
            ),
            subject=found.usubjid,
        )
        made.append(name)
    visible = _visible(study)
    return [_row(study, visible[name]) for name in made if name in visible]


@command("answer_query")
def answer_query(study: Study, query: str, *, text: str) -> Event:
    """Answer an open query, or add to the answer.

    Raises
    ------
    UnknownName
        If there is no such query, or none that the role may see.
    OutOfOrder
        If it is closed.
    UsageError
        If the answer is missing, or names an arm where blinded people read it.
    """
    known = _open(study, query)
    return study.append(
        QueryAnswered(query=query, text=_said(study, known, text, "the answer")),
        subject=known.usubjid,
    )


@command("query")
def close_query(study: Study, query: str, *, reason: str) -> Event:
    """Close a query; `reason` says what settled it.

    Whoever gave the last answer cannot close it. A query of a rule needs an answer or a
    correction before.

    Raises
    ------
    UnknownName, UsageError
        As for `answer_query`.
    NotPermitted
        If the last answer is one's own.
    OutOfOrder
        If it is closed, or a rule's query has neither answer nor correction.
    """
    known = _open(study, query)
    if known.answers and known.answers[-1]["by"] == study.actor:
        raise NotPermitted(
            f"{study.actor} gave the last answer to {query}.",
            remedy="Another person judges the answer, and closes the query.",
            permission="query",
        )
    if known.rule is not None and not known.answers and not known.corrections:
        raise OutOfOrder(
            f"{query} was raised by the rule {known.rule} and has neither answer nor correction.",
            remedy="Have it answered, or the value corrected.",
        )
    why = _said(study, known, reason, "what settled it")
    return study.append(QueryClosed(query=query), subject=known.usubjid, reason=why)


@command("query")
def reopen_query(study: Study, query: str, *, reason: str) -> Event:
    """Open a closed query again.

    Raises
    ------
    UnknownName, UsageError
        As for `answer_query`.
    OutOfOrder
        If it is not closed.
    """
    known = _known(study, query)
    if known.status != "closed":
        raise OutOfOrder(f"{query} is {known.status}.", remedy="Answer it, or close it.")
    why = _said(study, known, reason, "why it is reopened")
    return study.append(QueryReopened(query=query), subject=known.usubjid, reason=why)


def list_queries(
    study: Study, *, status: Iterable[str] = ("open", "answered"), usubjid: str | None = None
) -> list[QueryRow]:
    """Return the queries that the person who acts may see, the oldest first.

    Parameters
    ----------
    status : iterable of str
        Of open, answered, closed.
    usubjid : str or None
        Only of one participant.
    """
    wanted = set(status)
    if wrong := wanted - {"open", "answered", "closed"}:
        raise UsageError(f"status {sorted(wrong)}.", remedy="Use open, answered or closed.")
    if not study.may("query") and not study.may("answer_query"):
        study.require("query", command="list_queries")
    return [
        _row(study, known)
        for known in _visible(study).values()
        if known.status in wanted and usubjid in (None, known.usubjid)
    ]


def names_arm(study: Study, text: str) -> bool:
    """Return True where `text` holds the code or label of an arm, or a word for the device."""
    arms = study.design.arms
    names = {name for arm in arms for name in (arm.code, arm.label)}
    return len(arms) > 1 and (
        any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in names)
        or (any(arm.delivery == "device" for arm in arms) and bool(_DEVICE.search(text)))
    )


def _acts_elsewhere(study: Study, usubjid: str | None) -> bool:
    """Return True where the site of a participant keeps its own chain: its queries are there."""
    who = study.state.participants.get(usubjid or "")
    return who is not None and who.site in study.state.chains


def _visible(study: Study) -> dict[str, QueryState]:
    open_ = study.may("see_allocation")
    return {
        name: known
        for name, known in study.state.queries.items()
        if (open_ or not known.restricted) and sees_site(study, known.usubjid)
    }


def _known(study: Study, query: str) -> QueryState:
    found = _visible(study).get(query)
    if found is None:
        raise UnknownName(f"no query {query}.", remedy="`trialkit query list` lists them.")
    return found


def _open(study: Study, query: str) -> QueryState:
    known = _known(study, query)
    if known.status == "closed":
        raise OutOfOrder(f"{query} is closed.", remedy="Reopen it with a reason.")
    return known


def _said(study: Study, known: QueryState, text: str, what: str) -> str:
    said = require_text(text, what)
    if not known.restricted and names_arm(study, said):
        raise UsageError("the text names an arm.", remedy=_RESTRICTED_NOTE)
    return said


def _known_already(study: Study, found: Found) -> bool:
    last = study.state.query_keys.get(found.key)
    if last is None:
        return False
    known = study.state.queries[last]
    return known.status != "closed" or known.value == found.value


def _of_check(row: Mapping[str, Any]) -> Found:
    """Return a failed check of a table as a finding."""
    domain, key, column = str(row["domain"]), str(row["row"]), str(row["column"])
    visit = re.search(r"\bA?VISIT=([^,]+)", key)
    return Found(
        rule=f"check.{row['check']}",
        usubjid=str(row["usubjid"]) or None,
        place=Place(
            domain=domain, row=f"{key} {column}".strip(), visit=visit[1] if visit else None
        ),
        text=f"{domain} {key}: {column} {row['check']}. {row['remedy']}",
        value=str(row["value"]),
        restricted=bool(row.get("restricted", False)),
    )


def _row(study: Study, known: QueryState) -> QueryRow:
    until = (
        datetime.fromisoformat(known.changed_at) if known.status == "closed" else study.clock.now()
    )
    age = (until - datetime.fromisoformat(known.raised_at)).total_seconds() / 86400
    given = {
        name: getattr(known, name)
        for name in ("query", "status", "usubjid", "rule", "text", "value", "restricted",
                     "raised_by", "raised_at", "closed_by", "reason", "reopened")
    }  # fmt: skip
    return QueryRow(
        **given,
        place={name: value for name, value in known.place.model_dump().items() if value},
        age_days=round(age, 2),
        answers=tuple(dict(answer) for answer in known.answers),
        corrected=len(known.corrections),
        corrections=tuple(known.corrections) if study.may("see_allocation") else (),
    )


def as_dict(row: QueryRow) -> dict[str, Any]:
    """Return a query as plain data."""
    return asdict(row)
