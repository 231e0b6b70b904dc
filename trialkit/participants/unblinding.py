"""Emergency unblinding of one participant: asked by one person, agreed to by another.

The arm is told to these two and to nobody else. The record says that it was told, to whom and
why, and not which arm it is, so that whoever reads the record stays as blinded as before.
"""

from __future__ import annotations

from dataclasses import dataclass

from trialkit.errors import Duplicate, NotPermitted, OutOfOrder
from trialkit.record.chain import Event
from trialkit.record.kinds import UnblindedOne, UnblindingRequested
from trialkit.record.state import Unblinding
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.design import unknown_name
from trialkit.study.guards import require_text


@dataclass(frozen=True)
class Told:
    """The arm of one participant, for one of the two persons only; `event` is None if retold."""

    request: str
    usubjid: str
    arm: str
    event: Event | None = None


@command("emergency_unblind")
def request_unblinding(study: Study, usubjid: str, *, reason: str) -> Event:
    """Ask for the arm of a participant; the number of the request is in the event's payload.

    Raises
    ------
    NotPermitted
        Unless the person may unblind in an emergency.
    OutOfOrder
        If the participant is not randomised.
    Duplicate
        If it was asked for, or the whole allocation is revealed.
    UsageError
        If the reason is missing.
    """
    reason = require_text(reason, "the reason")
    who = study.participant(usubjid)
    if not who.randomised:
        raise OutOfOrder(f"{usubjid} is not randomised.", remedy="Check the USUBJID.")
    if study.state.revealed:
        raise Duplicate("the allocation is revealed already.", remedy="Read it in the data.")
    for earlier in study.state.unblindings.values():
        if earlier.usubjid == usubjid:
            done = "answered" if earlier.approved_by else "waiting"
            raise Duplicate(
                f"request {earlier.request} for {usubjid} is {done}.",
                remedy="Approve it, or have it shown to one of the two persons.",
            )
    request = f"{study.state.prefix}U{study.state.counts[UnblindingRequested.kind] + 1:03d}"
    return study.append(UnblindingRequested(request=request), subject=usubjid, reason=reason)


@command("emergency_unblind")
def approve_unblinding(study: Study, request: str) -> Told:
    """Agree to a request of another person, and be told the arm.

    One of the two is an investigator, who answers for the participant's care.

    Raises
    ------
    NotPermitted
        Unless the person may unblind in an emergency and is not the one who asked.
    UnknownName
        If there is no such request.
    Duplicate
        If somebody agreed already.
    """
    asked = _request(study, request)
    study.require("emergency_unblind", command="approve_unblinding", subject=asked.usubjid)
    if asked.approved_by is not None:
        raise Duplicate(
            f"request {request} was approved by {asked.approved_by}.", remedy="Nothing to do."
        )
    if asked.requested_by == study.actor:
        raise NotPermitted(
            f"{study.actor} asked, and unblinding takes two persons.",
            remedy="Have another person approve it.",
        )
    if "investigator" not in (asked.requested_role, study.role):
        raise NotPermitted(
            "neither of the two persons is an investigator.",
            remedy="Have an investigator approve it.",
        )
    arm = _arm(study, asked.usubjid)
    event = study.append(
        UnblindedOne(
            request=request,
            commitment=str(study.participant(asked.usubjid).commitment),
            told=(asked.requested_by, study.actor),
        ),
        subject=asked.usubjid,
    )
    return Told(request, asked.usubjid, arm, event)


def show_unblinded(study: Study, request: str) -> Told:
    """Tell the arm of an approved request to one of its two persons.

    Raises
    ------
    NotPermitted
        If the person is neither, or has no such permission any more.
    OutOfOrder
        If nobody agreed yet.
    UnknownName
        If there is no such request.
    """
    study.require("emergency_unblind", command="show_unblinded")
    asked = _request(study, request)
    if study.actor not in (asked.requested_by, asked.approved_by):
        raise NotPermitted(
            f"{study.actor} is not one of the two persons of request {request}.",
            remedy="The arm is told to whoever asked and whoever agreed.",
        )
    if asked.approved_by is None:
        raise OutOfOrder(
            f"request {request} waits for a second person.",
            remedy=f"Another person runs `trialkit unblind approve {request}`.",
        )
    return Told(request, asked.usubjid, _arm(study, asked.usubjid))


def _request(study: Study, request: str) -> Unblinding:
    found = study.state.unblindings.get(request)
    if found is None:
        raise unknown_name("request", request, list(study.state.unblindings))
    return found


def _arm(study: Study, usubjid: str) -> str:
    who = study.participant(usubjid)
    return study.allocation.arm_of(
        usubjid, str(who.stratum), who.place or 0, str(who.commitment)
    ).arm
