"""Guards that several rooms share: who takes part, who has begun, which session may come."""

from __future__ import annotations

from trialkit.errors import Duplicate, OutOfOrder, OutOfRange, UsageError
from trialkit.record.state import ParticipantState
from trialkit.study.holds import trains_elsewhere
from trialkit.study.study import Study


def require_active(study: Study, usubjid: str) -> ParticipantState:
    """Return a participant who consented and is neither excluded nor withdrawn.

    In an imported study consent was a matter of the original trial and is not asked for.

    Raises
    ------
    UnknownName
        If there is no such participant.
    OutOfOrder
        If consent is missing, or the participant was excluded or withdrew.
    """
    who = study.participant(usubjid)
    if who.excluded is not None:
        raise OutOfOrder(f"{usubjid} was excluded ({who.excluded}).", remedy="Check the USUBJID.")
    if who.withdrawn is not None:
        raise OutOfOrder(
            f"{usubjid} withdrew on day {who.withdrawn_day} ({who.withdrawn}).",
            remedy="Nothing follows a withdrawal but reports of adverse events and corrections.",
        )
    if who.consent is None and study.state.source != "import":
        raise OutOfOrder(
            f"{usubjid} has not given consent.",
            remedy="Record it first: `trialkit consent USUBJID --version V`.",
        )
    return who


def sees_site(study: Study, usubjid: str | None) -> bool:
    """Return True where the person who acts may act for the site of a participant."""
    user = study.state.users.get(study.actor)
    if user is None or not user.sites:
        return True
    who = study.state.participants.get(usubjid or "")
    return who is not None and who.site in user.sites


def require_reader(study: Study, name: str) -> None:
    """Refuse whoever has not logged in, where the study requires a login.

    Elsewhere what tells no arm may be read by whoever has the folder.

    Raises
    ------
    NotAuthenticated
        The refusal is an event; `name` is what was tried.
    """
    if study.state.accounts is not None and study.role == "none":
        study.require("read", command=name)


def require_started(study: Study, usubjid: str) -> ParticipantState:
    """Return an active participant for whom study day 0 is known.

    That is randomisation, or consent where nobody is randomised.

    Raises
    ------
    OutOfOrder
        If it has not come yet.
    """
    who = require_active(study, usubjid)
    if study.design.randomisation is not None and not who.randomised:
        raise OutOfOrder(
            f"{usubjid} is not randomised.", remedy="Randomise first: `trialkit randomise USUBJID`."
        )
    return who


def require_session(study: Study, usubjid: str, number: int) -> ParticipantState:
    """Return a participant in training whose session `number` may still take place.

    Raises
    ------
    OutOfOrder
        If the participant is not randomised, withdrew, discontinued the training, or trains at
        a site or on a home device that keeps its own chain.
    Duplicate
        If the session took place or was missed.
    OutOfRange
        If no protocol of the trial plans as many sessions.
    """
    if (elsewhere := trains_elsewhere(study.state, usubjid)) is not None:
        raise OutOfOrder(elsewhere[0], remedy=elsewhere[1])
    who = require_started(study, usubjid)
    if who.discontinued is not None:
        raise OutOfOrder(
            f"{usubjid} discontinued the training on day {who.discontinued_day}.",
            remedy="Visits go on; sessions do not.",
        )
    if number in who.sessions:
        raise Duplicate(
            f"session {number} of {usubjid} is recorded ({who.sessions[number].status}).",
            remedy=f"The next number is {max(who.sessions) + 1}.",
        )
    planned = max((p.planned_sessions for p in study.protocols.values()), default=None)
    if number < 1 or (planned is not None and number > planned):
        raise OutOfRange(
            f"session {number}: the protocol plans sessions 1 to {planned}.",
            remedy="Check the number of the session.",
        )
    return who


def require_text(value: str | None, what: str) -> str:
    """Return `value` unless it is missing or blank.

    Raises
    ------
    UsageError
        If it is.
    """
    if value is None or not value.strip():
        raise UsageError(f"{what} is missing.", remedy=f"Give {what}.")
    return value.strip()
