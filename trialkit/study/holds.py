"""What holds an event back: a freeze or a lock of the data, or that it belongs in another chain."""

from __future__ import annotations

from typing import Literal, NamedTuple

from trialkit.errors import DataLocked, OutOfOrder, TrialkitError
from trialkit.record.kinds import (
    AdverseEventNotified,
    AdverseEventReported,
    AdverseEventUpdated,
    ParticipantEnrolled,
    Payload,
)
from trialkit.record.roles import enters_data
from trialkit.record.state import StudyState, device_of

#: Reports of adverse events, follow-up, and that they were passed on. While the data are locked
#: they stay out of the tables.
SAFETY = frozenset({AdverseEventReported.kind, AdverseEventUpdated.kind, AdverseEventNotified.kind})

#: What a site's chain never holds: it is done for the whole study, at the centre.
CENTRAL = frozenset(
    {
        "allocation.revealed",
        "analysis.run",
        "chain.received",
        "chain.refused",
        "data.locked",
        "data.unlock_requested",
        "data.unlocked",
        "device.handed",
        "device.returned",
        "evidence.built",
        "plan.locked",
        "session.received",
        "site.opened",
        "snapshot.built",
    }
)

#: What a session consists of: while a home device is out, its chain holds these and no other.
OF_SESSIONS = frozenset(
    {
        "session.opened",
        "session.transition",
        "session.command",
        "session.adapted",
        "session.prompt",
        "session.telemetry_sealed",
        "session.closed",
        "session.conventional",
        "session.missed",
        "settings.decided",
    }
)
_BESIDE = frozenset(
    {
        "clock.source",
        "clock.stepped",
        "command.refused",
        "device.checked",
        "head.signed",
        "record.exported",
        "session.exported",
        "user.locked",
        "user.logged_in",
        "user.logged_out",
        "user.login_failed",
        "user.password_set",
        "user.unlocked",
    }
)


class Held(NamedTuple):
    """Why an event may not be written now, and the error that says what to do."""

    why: Literal["locked", "elsewhere"]
    error: TrialkitError


def held_back(state: StudyState, payload: Payload, subject: str | None) -> Held | None:
    """Return why an event may not be written now, or None where it may."""
    elsewhere = kept_elsewhere(state, payload, subject)
    if elsewhere is not None:
        return Held("elsewhere", OutOfOrder(elsewhere[0], remedy=elsewhere[1]))
    locked = locked_for(state, payload, subject)
    return Held("locked", DataLocked(locked[0], remedy=locked[1])) if locked else None


def kept_elsewhere(
    state: StudyState, payload: Payload, subject: str | None
) -> tuple[str, str] | None:
    """Return why an event belongs in another chain and what to do, or None.

    A site that works offline keeps everything about its participants in its own chain, and
    nothing else; a home device keeps the sessions of one participant. So no two chains ever say
    something of the same thing.
    """
    who = state.participants.get(subject or "")
    site = payload.site if isinstance(payload, ParticipantEnrolled) else who.site if who else None
    if site in state.chains:
        return _at_site(site)
    if state.home is not None:
        return not_on_device(state.home, payload, subject, ended=state.ended)
    if payload.kind in ("participant.handed", "chain.ended"):
        return (
            f"this is not the chain of a home device: it holds no {payload.kind}.",
            "A home device is handed over with `trialkit sync device`.",
        )
    if payload.kind in OF_SESSIONS and (there := trains_elsewhere(state, subject)) is not None:
        return there
    if state.site is None:
        return None
    if payload.kind in CENTRAL:
        return (
            f"this is the chain of site {state.site}; {payload.kind} is of the whole study.",
            "Do it at the centre.",
        )
    if site not in (None, state.site):
        return (
            f"this is the chain of site {state.site}, not of site {site}.",
            f"Act at site {site}, or at the centre.",
        )
    return None


def _at_site(site: str | None) -> tuple[str, str]:
    return f"site {site} keeps its own chain.", "Act there; the centre sees it after a push."


def trains_elsewhere(state: StudyState, usubjid: str | None) -> tuple[str, str] | None:
    """Return why no session of a participant may be run here and what to do, or None.

    Parameters
    ----------
    usubjid : str or None
    """
    who = state.participants.get(usubjid or "")
    if who is not None and who.site in state.chains:
        return _at_site(who.site)
    device = device_of(state, usubjid)
    if device is not None:
        return (
            f"{usubjid} trains on home device {device.site}, whose chain holds the sessions.",
            "Run the session there, or take the device back: `trialkit sync return`.",
        )
    if state.home is not None and (state.ended or usubjid != state.home):
        ended = f"the chain of this home device of {state.home} has ended"
        return (
            f"{ended}." if state.ended else f"this is the home device of {state.home}.",
            "Run the session at the centre.",
        )
    return None


def not_on_device(
    home: str, payload: Payload, subject: str | None, *, ended: bool
) -> tuple[str, str] | None:
    """Return why an event is none for the chain of a home device and what to do, or None.

    Parameters
    ----------
    home : str
        The USUBJID of its participant.
    ended : bool
        Whether the chain has ended.
    """
    kind = payload.kind
    of_session = kind in OF_SESSIONS or (
        kind == "deviation.raised" and getattr(payload, "session", None) is not None
    )
    if not of_session and kind not in _BESIDE and kind != "chain.ended":
        return (
            f"this is the home device of {home}, which holds sessions; {kind} is none of them.",
            "Do it at the centre.",
        )
    if (ended and kind not in _BESIDE) or (of_session and subject != home):
        why = "its chain has ended" if ended else f"{kind} is about {subject}"
        return f"this is the home device of {home}: {why}.", "Do it at the centre."
    return None


def locked_for(state: StudyState, payload: Payload, subject: str | None) -> tuple[str, str] | None:
    """Return why data may not be entered now and what to do, or None where they may.

    Reports of adverse events are never held back: their clock runs on after the lock. A session
    that is open when data are frozen runs to its end: were the freeze refused, whoever freezes
    would learn who trains on the device.
    """
    if not enters_data(payload.kind) or payload.kind in SAFETY:
        return None
    if state.data_lock is not None:
        lock = state.data_lock
        return (
            f"the data are locked since {lock.at[:10]} by {lock.by} ({lock.reason}).",
            "Unlocking takes two people: `trialkit unlock-data --request`, then `--approve`.",
        )
    session = state.sessions.get(getattr(payload, "session", None) or "")
    if session is not None and session.status == "open":
        return None
    visit = getattr(payload, "visit", None)
    for scope in ((None, None), (subject, None), (None, visit), (subject, visit)):
        if scope in state.frozen:
            return (
                f"{scope_text(*scope)}: frozen.",
                "Have the freeze lifted: `trialkit freeze --release`, with a reason.",
            )
    return None


def scope_text(usubjid: str | None, visit: str | None) -> str:
    """Return in words what a freeze covers."""
    who = usubjid or "all participants"
    return f"{who}, visit {visit}" if visit else who


def lock_text(state: StudyState) -> str:
    """Return in words whether the data are locked, since when and how often they were unlocked."""
    undone = state.counts["data.unlocked"]
    before = f"; unlocked {undone} time{'s' if undone > 1 else ''}" if undone else ""
    if (lock := state.data_lock) is not None:
        asked = f"; {lock.asked_by} asks to unlock them" if lock.request else ""
        late = f"; {lock.late} safety reports since, not in the tables" if lock.late else ""
        since = f"locked at event {lock.seq}, {lock.at}, by {lock.by}: {lock.reason}"
        return f"{since}{before}{asked}{late}"
    if state.frozen:
        what = "; ".join(sorted(scope_text(*scope) for scope in state.frozen))
        return f"not locked, frozen: {what}{before}"
    return f"not locked{before}"
