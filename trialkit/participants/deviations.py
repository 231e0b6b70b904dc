"""Deviations from the protocol: raised by the software or a person, settled by an investigator."""

from __future__ import annotations

from trialkit.errors import OutOfOrder, UnknownName, UsageError
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.participants.queries import names_arm
from trialkit.record.chain import Event
from trialkit.record.kinds import DeviationAcknowledged, DeviationRaised, DeviationResolved
from trialkit.record.kinds.deviations import Classification
from trialkit.record.state import DeviationState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_text, sees_site

#: What people raise; the software has categories of its own.
CATEGORIES: dict[str, str] = {
    "consent": "Consent was missing, late, or to an old version.",
    "eligibility": "A person took part who did not meet the criteria.",
    "randomisation": "Randomisation was not done as planned.",
    "blinding": "A person who is blinded learnt an arm.",
    "allocation": "A participant got the training of another arm.",
    "visit": "A visit or an assessment was not done as planned.",
    "training": "A session was not done as planned, beside what the software finds.",
    "device_use": "The device was used against its instructions.",
    "safety": "A safety report was late, or a safety measure was not taken.",
    "data": "Data were not recorded as planned.",
    "other": "Something else.",
}

_OF_SESSIONS = frozenset({"device_use"})


@command("deviation")
def raise_deviation(
    study: Study,
    usubjid: str,
    *,
    category: str,
    detail: str,
    day: int | None = None,
    session: str | None = None,
    classification: Classification | None = None,
    reason: str | None = None,
) -> Event:
    """Record a deviation that a person found.

    Parameters
    ----------
    category : str
        One of `CATEGORIES`.
    detail : str
        What happened. Without a session, blinded people read it: it names no arm.
    session : str or None
        The session it is about; then only roles that may see allocations see it.
    classification : {"minor", "major"} or None
        None leaves it to the investigator.
    reason : str or None
        Why it is entered late; needed when its day is longer ago than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    UsageError
        If the category is none, the detail is missing or names an arm or the device, or a
        deviation of device use names no session.
    NotPermitted
        If a session is given by a role that may not see allocations.
    """
    who = study.participant(usubjid)
    if category not in CATEGORIES:
        raise UsageError(f"category {category!r}.", remedy=f"Use one of {', '.join(CATEGORIES)}.")
    detail = require_text(detail, "the detail")
    if session is None and category in _OF_SESSIONS:
        raise UsageError(
            f"a deviation of {category} is about a session.",
            remedy="Name the session: blinded people read deviations of no session.",
        )
    if session is not None:
        study.require("see_allocation", command="raise_deviation", subject=usubjid)
        if session not in {s.session for s in who.sessions.values()}:
            raise UnknownName(f"{usubjid} has no session {session}.", remedy="Name a session.")
    elif names_arm(study, detail):
        raise UsageError(
            "the detail names an arm.", remedy="Leave it out: blinded people read deviations."
        )
    delay = entry_delay(study, usubjid, day)
    late = is_late(f"a deviation of {usubjid}", delay, study.design.late_entry_days, reason)
    return study.append(
        DeviationRaised(
            category=category,
            detail=detail,
            day=day,
            session=session,
            classification=None if classification is None else _class(classification),
            delay_days=delay,
            late=late,
        ),
        subject=usubjid,
        reason=reason,
    )


@command("resolve_deviation")
def acknowledge_deviation(
    study: Study, deviation: str, *, classification: Classification, reason: str
) -> Event:
    """Take note of a deviation, and classify it, minor or major, with the reason.

    A second call changes the classification; both stay readable.

    Raises
    ------
    UnknownName
        If there is no such deviation.
    """
    known = _known(study, deviation)
    old = known.classification
    return study.append(
        DeviationAcknowledged(
            deviation=deviation,
            classification=_class(classification),
            old_classification=None if old is None else _class(old),
        ),
        subject=known.usubjid,
        reason=require_text(reason, "the reason of the classification"),
    )


@command("resolve_deviation")
def resolve_deviation(study: Study, deviation: str, *, reason: str) -> Event:
    """Settle a deviation that was classified; `reason` says what was done about it.

    Raises
    ------
    UnknownName
        If there is no such deviation.
    OutOfOrder
        If it is settled, or was not acknowledged.
    """
    known = _known(study, deviation)
    if known.status == "resolved":
        raise OutOfOrder(f"{deviation} is resolved.", remedy="It is settled once.")
    if known.status == "raised":
        raise OutOfOrder(
            f"{deviation} was not acknowledged.",
            remedy="Classify it first: `trialkit deviation acknowledge`.",
        )
    return study.append(
        DeviationResolved(deviation=deviation),
        subject=known.usubjid,
        reason=require_text(reason, "what was done about it"),
    )


def list_deviations(study: Study, *, unresolved: bool = False) -> list[DeviationState]:
    """Return the deviations that the person who acts may see.

    Those of sessions only with ``see_allocation``: which sessions there are, and how they went,
    tells an arm. A person of a site sees that site.

    Parameters
    ----------
    unresolved : bool
        Leave out what is resolved.
    """
    return [
        d for d in _visible(study).values() if not (unresolved and d.status == "resolved")
    ]  # fmt: skip


def _visible(study: Study) -> dict[str, DeviationState]:
    open_ = study.may("see_allocation")
    return {
        name: known
        for name, known in study.state.deviations.items()
        if (open_ or known.session is None) and sees_site(study, known.usubjid)
    }


def _known(study: Study, deviation: str) -> DeviationState:
    found = _visible(study)
    if deviation not in found:
        raise UnknownName(
            f"no deviation {deviation}.", remedy="`trialkit deviation list` lists them."
        )
    return found[deviation]


def _class(value: str) -> Classification:
    if value == "minor":
        return "minor"
    if value == "major":
        return "major"
    raise UsageError(f"classification {value!r}.", remedy="Use minor or major.")
