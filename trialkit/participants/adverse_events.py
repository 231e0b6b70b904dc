"""Adverse events and device deficiencies in the terms of ISO 14155, with reporting clocks.

What an event is (AE, SAE, ADE, SADE, USADE, device deficiency) is never entered: `classify`
derives it from seriousness, relatedness and anticipation, which are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pydantic import ValidationError

from trialkit._clock import utc_text
from trialkit.errors import OutOfOrder, OutOfRange, UnknownName, UsageError
from trialkit.participants.lateness import days_since, is_late
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AdverseEventNotified,
    AdverseEventReported,
    AdverseEventUpdated,
    classify,
    main_class,
)
from trialkit.record.kinds.safety import Criterion, Relation, Severity
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.record.state import AdverseEventState, ParticipantState, next_ae
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_text

#: What a person who may not see allocations may read and change: nothing that tells an arm.
OPEN_FIELDS = frozenset(
    {"ae", "term", "category", "day", "severity", "serious", "criterion", "expected", "end_day",
     "outcome", "aware_at"}
)  # fmt: skip


@command("report_ae")
def report_ae(
    study: Study,
    usubjid: str,
    *,
    term: str,
    category: str,
    day: int,
    severity: Severity,
    serious: bool = False,
    criterion: Criterion | None = None,
    related_device: Relation | bool = "not_related",
    related_training: Relation | bool = "not_related",
    device_deficiency: bool = False,
    sade_potential: bool = False,
    harm: bool = True,
    expected: bool = True,
    end_day: int | None = None,
    outcome: str = "unknown",
    session: str | None = None,
    window_s: tuple[float, float] | None = None,
    aware_at: str | None = None,
    reason: str | None = None,
) -> Event:
    """Report an adverse event or a device deficiency; also after a withdrawal.

    Parameters
    ----------
    day, end_day : int
        Study days of onset and, once known, of resolution.
    serious, criterion : bool, str or None
        Serious is what meets a criterion: death, life_threatening, hospitalisation,
        permanent_impairment, intervention or congenital.
    related_device, related_training : str or bool
        To the device and to the procedure: not_related, possible, probable or causal. A bool is
        for sources that know no degree.
    device_deficiency, sade_potential, harm : bool
        A deficiency; whether it could have led to a serious adverse device effect; without
        `harm` it is a deficiency only, and no adverse event.
    expected : bool
        Anticipated, by the risk analysis.
    session, window_s : str, pair of float, or None
        The session in which it happened, and from when to when in seconds from its first sealed
        row; the window must lie within what was sealed.
    aware_at : str or None
        When the site became aware, ISO 8601; a date alone is its first instant in UTC. None is
        now. The reporting clock runs from it.
    reason : str or None
        Needed when the site became aware longer ago than the trial allows for an entry.

    Raises
    ------
    OutOfOrder
        Before consent, or if the session has no sealed telemetry.
    NotPermitted
        If a session or a window is given by a role that may not see allocations: which sessions
        there are, and that one is open, tells an arm.
    OutOfWindow
        If the entry is late and no reason was given.
    OutOfRange
        If the window, the resolution or the awareness cannot be.
    UsageError
        If severity, criterion, relation or session cannot be.
    """
    who = study.participant(usubjid)
    if who.consent is None and study.state.source != "import":
        raise OutOfOrder(
            f"{usubjid} has not given consent.",
            remedy="Adverse events are collected from consent on; record consent first.",
        )
    if session is not None or window_s is not None:
        study.require("see_allocation", command="report_ae", subject=usubjid)
    facts = _facts(
        {
            "ae": next_ae(who, harm=harm),
            "term": require_text(term, "the term"),
            "category": require_text(category, "the category"),
            "day": day,
            "severity": severity,
            "serious": serious or criterion is not None,
            "criterion": criterion,
            **_relations(related_device, related_training),
            "device_deficiency": device_deficiency,
            "sade_potential": sade_potential,
            "harm": harm,
            "expected": expected,
            "end_day": end_day,
            "outcome": outcome,
            "session": session,
            "t_from_s": window_s[0] if window_s else None,
            "t_to_s": window_s[1] if window_s else None,
            "aware_at": None if aware_at is None else _moment(study, aware_at),
        }
    )
    _check(study, who, facts)
    delay = None if study.state.source == "import" else 0
    if delay is not None and facts.aware_at is not None:
        delay = days_since(study, facts.aware_at[:10])
    allowed = study.design.late_entry_days
    late = is_late(f"an adverse event of {usubjid}", delay, allowed, reason, others=True)
    flagged = facts.model_copy(update={"delay_days": delay, "late": late})
    return study.append(flagged, subject=usubjid, reason=reason)


@command("report_ae")
def update_ae(
    study: Study,
    usubjid: str,
    ae: str,
    *,
    changes: Mapping[str, Any],
    reason: str,
    aware_at: str | None = None,
) -> Event:
    """Follow up or correct an adverse event by a new event with the old values.

    Parameters
    ----------
    changes : mapping
        Parameters of `report_ae` and their new values.
    reason : str
        Why, such as ``follow-up``; never blank.
    aware_at : str or None
        When the site learnt of it; None is now. A change of class starts the clock again.

    Raises
    ------
    UnknownName
        If there is no such event.
    NotPermitted
        If a role that may not see allocations changes another person's report, or more than it
        may read of it.
    UsageError
        If nothing changes, or a value cannot be.
    """
    reason = require_text(reason, "the reason of the change")
    who = study.participant(usubjid)
    known = _known(study, who, ae)
    given = _changes(study, changes)
    if not study.may("see_allocation") and (
        known.reported_by != study.actor or not given.keys() <= OPEN_FIELDS
    ):
        study.require("see_allocation", command="update_ae", subject=usubjid)
    before = known.facts.model_dump()
    facts = _facts(before | given)
    _check(study, who, facts, window=bool(given.keys() & {"session", "t_from_s", "t_to_s"}))
    after = facts.model_dump()
    changed = {name: value for name, value in after.items() if value != before[name]}
    if not changed:
        raise UsageError("the update changes nothing.", remedy="Give the new values.")
    if "harm" in changed:
        raise UsageError(
            f"{ae} cannot become a report of the other kind.",
            remedy="Report the adverse event, or the deficiency, anew.",
        )
    return study.append(
        AdverseEventUpdated(
            ae=ae,
            changes=changed,
            old={name: before[name] for name in changed},
            aware_at=None if aware_at is None else _moment(study, aware_at),
        ),
        subject=usubjid,
        reason=reason,
    )


@command("report_ae")
def notify_ae(study: Study, usubjid: str, ae: str, *, to: str) -> Event:
    """Record that the report that is due was sent, `to` whom; ends the clock of its class.

    Raises
    ------
    UnknownName
        If there is no such event.
    NotPermitted
        If the role may not see allocations: the classes tell of the device.
    """
    study.require("see_allocation", command="notify_ae", subject=usubjid)
    known = _known(study, study.participant(usubjid), ae)
    return study.append(
        AdverseEventNotified(
            ae=known.ae, to=require_text(to, "the receiver"), classes=list(classify(known.facts))
        ),
        subject=usubjid,
    )


@dataclass(frozen=True)
class AdverseEventRow:
    """An adverse event as one person may see it.

    ``facts`` has only `OPEN_FIELDS` for a role that may not see allocations, ``classes`` are
    derived from what is shown, and a term that another person wrote is then hidden. ``due_at`` is
    None where nothing is due; ``hours_left`` is negative when overdue. ``verified`` says whether
    the hours in the protocol were confirmed.
    """

    ae: str
    usubjid: str
    site: str
    main: str
    classes: tuple[str, ...]
    facts: dict[str, Any]
    aware_at: str
    updates: int
    due_at: str | None
    hours_left: float | None
    verified: bool | None

    @property
    def overdue(self) -> bool:
        """True where the report should have been sent."""
        return self.hours_left is not None and self.hours_left < 0


def list_aes(study: Study, *, due: bool = False) -> list[AdverseEventRow]:
    """Return adverse events and deficiencies, those whose report is due first where `due` is set.

    A role that may not see allocations sees no deficiency without harm, no relation to the
    device, no session, and only the terms that it wrote itself: how an event is named may tell
    the arm. A person of a site sees that site.

    Parameters
    ----------
    due : bool
        Only events whose report was not sent and is due or overdue, the most urgent first.
    """
    open_ = study.may("see_allocation")
    if not open_ and not study.may("query"):
        study.require("report_ae", command="list_aes")
    user = study.state.users.get(study.actor)
    rows = [
        _row(study, who, report, open_=open_)
        for who in study.state.participants.values()
        if user is None or not user.sites or who.site in user.sites
        for report in who.reports.values()
        if open_ or report.facts.harm
    ]
    if due:
        rows = [row for row in rows if row.due_at is not None]
        rows.sort(key=lambda row: (row.due_at or "", row.ae))
    return rows


def _row(
    study: Study, who: ParticipantState, report: AdverseEventState, *, open_: bool
) -> AdverseEventRow:
    facts, since = report.facts, report.since
    shown = facts.model_dump(exclude={"ae"})
    if not open_:
        shown = {name: value for name, value in shown.items() if name in OPEN_FIELDS}
        if report.reported_by != study.actor:
            hidden = dict.fromkeys(("term", "category", "outcome"), "hidden while blinded")
            shown |= hidden
        facts, since = AdverseEventReported(**shown), report.aware_at
    classes = classify(facts)
    due, rules = None, study.design.ae_reporting
    sent = report.notified is not None if not open_ else report.notified == classes
    hours = [rules.hours[c] for c in classes if c in rules.hours] if rules is not None else []
    if hours and not sent:
        due = datetime.fromisoformat(since) + timedelta(hours=min(hours))
    left = None if due is None else (due - study.clock.now()).total_seconds() / 3600
    return AdverseEventRow(
        report.ae,
        who.usubjid,
        who.site,
        main_class(classes),
        classes,
        shown,
        report.aware_at,
        len(report.updates) if open_ else 0,
        None if due is None else utc_text(due),
        None if left is None else round(left, 2),
        None if rules is None else rules.verified,
    )


def _known(study: Study, who: ParticipantState, ae: str) -> AdverseEventState:
    shown = {
        name: report
        for name, report in who.reports.items()
        if report.facts.harm or study.may("see_allocation")
    }
    if ae not in shown:
        raise UnknownName(
            f"{who.usubjid} has no adverse event {ae}.",
            remedy=f"Use one of {', '.join(shown)}." if shown else "There is none yet.",
        )
    return shown[ae]


def _relations(device: Relation | bool, procedure: Relation | bool) -> dict[str, Any]:
    return {
        "related_device": device not in (False, "not_related"),
        "device_relation": None if isinstance(device, bool) else device,
        "related_training": procedure not in (False, "not_related"),
        "procedure_relation": None if isinstance(procedure, bool) else procedure,
    }


def _changes(study: Study, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of `report_ae` as fields of the payload."""
    given = dict(changes)
    relations = _relations(given.get("related_device", False), given.get("related_training", False))
    for name, degree in (
        ("related_device", "device_relation"),
        ("related_training", "procedure_relation"),
    ):
        if name in given:
            given |= {name: relations[name], degree: relations[degree]}
    if "window_s" in given:
        window = given.pop("window_s") or (None, None)
        given |= {"t_from_s": window[0], "t_to_s": window[1]}
    if "criterion" in given and "serious" not in given:
        given["serious"] = given["criterion"] is not None
    if given.get("aware_at") is not None:
        given["aware_at"] = _moment(study, given["aware_at"])
    if given.keys() & {"ae", "delay_days", "late"}:
        raise UsageError(
            "the id of an event and the delay of its entry stay.",
            remedy="Leave `ae`, `delay_days` and `late` out of the changes.",
        )
    return given


def _facts(given: dict[str, Any]) -> AdverseEventReported:
    try:
        return AdverseEventReported.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"])
        raise UsageError(
            f"{name} {wrong.get('input')!r}: {wrong['msg']}.",
            remedy="Give a value that the field can have; see `trialkit ae report --help`.",
        ) from error


def _check(
    study: Study, who: ParticipantState, facts: AdverseEventReported, *, window: bool = True
) -> None:
    """Raise where the facts contradict each other, or name what there is not."""
    if facts.serious and facts.criterion is None:
        raise UsageError(
            "a serious event has no criterion.",
            remedy="Name what makes it serious: death, life_threatening, hospitalisation, "
            "permanent_impairment, intervention or congenital.",
        )
    if facts.criterion is not None and not facts.serious:
        raise UsageError(
            f"{facts.criterion} makes an event serious.", remedy="Leave the criterion out."
        )
    if facts.sade_potential and not facts.device_deficiency:
        raise UsageError(
            "only a device deficiency has SADE potential.", remedy="Report the deficiency too."
        )
    if not facts.harm and not facts.device_deficiency:
        raise UsageError(
            "nobody was harmed and no device was deficient.", remedy="Report what happened."
        )
    if not facts.harm and facts.serious:
        raise UsageError(
            "what did no harm is not serious.", remedy="Use the SADE potential of the deficiency."
        )
    if facts.end_day is not None and facts.end_day < facts.day:
        raise OutOfRange(
            f"resolved on day {facts.end_day}, before its onset on day {facts.day}.",
            remedy="Check the days.",
        )
    sessions = {s.session for s in who.sessions.values()}
    if facts.session is not None and facts.session not in sessions:
        raise UsageError(
            f"{who.usubjid} has no session {facts.session}.",
            remedy="Leave it out, or name a session.",
        )
    if window and (facts.t_from_s is not None or facts.t_to_s is not None):
        _check_window(study, facts)


def _check_window(study: Study, facts: AdverseEventReported) -> None:
    """Raise unless the window lies within the sealed rows of its session."""
    first, last = facts.t_from_s, facts.t_to_s
    if facts.session is None or first is None or last is None:
        raise UsageError(
            "a window of telemetry needs a session, a start and an end.", remedy="Give all three."
        )
    sealed = [
        event.payload
        for event in study.record.read(kinds=["session.telemetry_sealed"])
        if event.payload["session"] == facts.session
    ]
    if not sealed:
        raise OutOfOrder(
            f"{facts.session} has no sealed telemetry.",
            remedy="Leave the window out, and add it when the session is sealed.",
        )
    folder, digest = study.folder / sealed[-1]["folder"], sealed[-1]["manifest_sha256"]
    files = read_manifest(folder, sha256=digest).manifest["files"]
    times = [
        open_sealed(folder, name.removesuffix(".parquet"), columns=["t_host_ns"], sha256=digest)
        for name in (f["name"] for f in files if f["rows"])
        if name.endswith(".parquet")
    ]
    spans = [np.asarray(t.column("t_host_ns"), dtype=np.int64)[[0, -1]] for t in times]
    length = (max(s[1] for s in spans) - min(s[0] for s in spans)) / 1e9 if spans else 0.0
    if not 0 <= first <= last <= length:
        raise OutOfRange(
            f"{facts.session}: {first:g} to {last:g} s is not within its {length:.1f} s.",
            remedy="Give seconds from the first sealed row of the session.",
        )


def _moment(study: Study, text: str) -> str:
    """Return a time of awareness as UTC text."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{text!r} is no time.", remedy="Write 2026-01-31 or 2026-01-31T14:30+01:00."
        ) from error
    if moment.tzinfo is None:
        if len(text) > len("2026-01-31"):
            raise UsageError(
                f"{text} has no offset from UTC.", remedy="Write it, such as 14:30+01:00 or 14:30Z."
            )
        moment = moment.replace(tzinfo=UTC)
    if moment > study.clock.now():
        raise OutOfRange(f"{text} is in the future.", remedy="Give when the site became aware.")
    return utc_text(moment)
