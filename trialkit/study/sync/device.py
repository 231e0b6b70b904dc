"""A home device: it keeps a chain of its own, with the sessions of one participant.

It is handed over from the centre and taken back there. In between sessions of the participant are
run on it and nowhere else; all the rest about the participant goes on at the centre. Its study
has one arm, and neither lists nor the other arms' protocols.
"""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import OutOfOrder, UnknownName, WrongArm
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    ChainEnded,
    DeviationRaised,
    DeviceHanded,
    DeviceReturned,
    ParticipantHanded,
    SessionBefore,
)
from trialkit.record.roles import permissions_of
from trialkit.record.state import ChainState, ParticipantState, device_of
from trialkit.study.commands import command
from trialkit.study.design import Design
from trialkit.study.guards import require_started, require_text
from trialkit.study.holds import trains_elsewhere
from trialkit.study.study import Study
from trialkit.study.sync.folder import Contents, make_folder

FIRST = 1001


@command("session", atomic=False)
def hand_over_device(study: Study, usubjid: str, out: str | Path) -> Event:
    """Write the study folder of a home device; its participant trains on it from here on.

    The folder holds the protocol of the participant's arm, the sessions so far and the settings
    at the end of the last one, the people who run sessions, and the key that signs what it
    sends. It tells the arm: it is for those who may see it.

    Parameters
    ----------
    out : path
        A new folder.

    Raises
    ------
    OutOfOrder
        If the participant is not in training, has a session that is open, trains on a home
        device or at a site that keeps its own chain, or this is an import or itself the study
        of a site or a home device.
    WrongArm
        If the participant's arm does not train on a device.
    Duplicate
        If the folder is not empty.
    """

    def contents() -> Contents:
        who = _require_ready(study, usubjid)
        arm = study.design.arm(study.arm_of(usubjid))
        if arm.delivery != "device" or arm.code not in study.protocols:
            raise WrongArm(
                f"{usubjid} is in arm {arm.label}, whose sessions are not on a device.",
                remedy="There is nothing to hand over.",
            )
        chains = study.state.chains.values()
        stem = usubjid.removeprefix(f"{study.state.study_id}-")
        before = sum(chain.usubjid == usubjid for chain in chains)
        design = Design(arms=[arm], late_entry_days=study.design.late_entry_days)
        return Contents(
            chain=f"{stem}-H{before + 1}",
            number=FIRST + sum(chain.usubjid is not None for chain in chains),
            site=who.site,
            arms=(arm.code,),
            design=design.to_yaml().encode(),
            people=lambda user: "session" in permissions_of(user.role),
            begins=(usubjid, _known_of(who)),
        )

    return make_folder(
        study,
        Path(out),
        contents,
        lambda given, made: (
            DeviceHanded(
                chain=given.chain,
                number=given.number,
                genesis=made.genesis,
                founded=made.founded,
                hash=made.hash,
                public_key=made.public_key,
                fingerprint=made.fingerprint,
            ),
            usubjid,
        ),
    )


def _require_ready(study: Study, usubjid: str) -> ParticipantState:
    state = study.state
    if state.site is not None or state.source == "import":
        what = "an imported study" if state.source == "import" else "itself a study apart"
        raise OutOfOrder(
            f"this is {what}.", remedy="Home devices are handed over at the centre of a trial."
        )
    if (elsewhere := trains_elsewhere(state, usubjid)) is not None:
        who = study.participant(usubjid)
        remedy = elsewhere[1]
        if who.site in state.chains:
            remedy = "A home device is for participants of sites that work online."
        raise OutOfOrder(elsewhere[0], remedy=remedy)
    who = require_started(study, usubjid)
    if who.discontinued is not None:
        raise OutOfOrder(
            f"{usubjid} discontinued the training on day {who.discontinued_day}.",
            remedy="Visits go on; sessions do not.",
        )
    if mine := [s.session for s in state.open_sessions if s.usubjid == usubjid]:
        raise OutOfOrder(
            f"session {mine[0]} of {usubjid} is still open.",
            remedy="Run `trialkit recover` if the program that ran it has ended.",
        )
    return who


def _known_of(who: ParticipantState) -> ParticipantHanded:
    return ParticipantHanded(
        site=who.site,
        attributes=who.attributes,
        consent=who.consent,
        eligible=who.eligible,
        randomised_at=who.randomised_at,
        sessions=[
            SessionBefore(
                session=s.session,
                number=s.number,
                day=s.day,
                status=s.status,
                protocol=s.protocol,
                code=s.code,
            )
            for s in who.sessions.values()
        ],
        levels=who.levels,
    )


@command("session")
def end_device(study: Study) -> Event:
    """End the chain of a home device, in its own study; no session follows.

    Raises
    ------
    OutOfOrder
        If this is not the study of a home device, it has ended, or a session is open.
    """
    if study.state.home is None or study.state.ended:
        what = "is not the study of a home device" if study.state.home is None else "has ended"
        raise OutOfOrder(f"{study.folder} {what}.", remedy="Give the folder of one that is out.")
    if mine := study.state.open_sessions:
        raise OutOfOrder(
            f"session {mine[0].session} is still open.",
            remedy="Run `trialkit recover` if the program that ran it has ended.",
        )
    own = [s for s in study.state.sessions.values() if s.opened_seq is not None]
    return study.append(ChainEnded(sessions=len(own)))


@command("session")
def take_back_device(study: Study, usubjid: str, *, lost: str | None = None) -> Event:
    """Take the home device of a participant back; sessions are run at the centre again.

    Parameters
    ----------
    lost : str or None
        Why it cannot be had back with all that it holds; None asks for an ended chain, of which
        everything was received. What did not arrive is named in the event, and is a deviation of
        each session.

    Raises
    ------
    UnknownName
        If the participant has no home device.
    OutOfOrder
        If the chain has not ended, or telemetry is still to come.
    """
    chain = device_of(study.state, study.participant(usubjid).usubjid)
    if chain is None:
        raise UnknownName(f"{usubjid} has no home device.", remedy="There is nothing to take back.")
    missing, unfinished = sorted(chain.sealed), sorted(chain.unfinished)
    if lost is None and (not chain.state.ended or missing):
        raise OutOfOrder(
            f"telemetry of {', '.join(missing)} has not arrived."
            if chain.state.ended
            else f"the chain of home device {chain.site} has not ended.",
            remedy="End it (`trialkit sync end FOLDER`) and push; or give a reason with --lost.",
        )
    reason = None if lost is None else require_text(lost, "the reason")
    event = study.append(
        DeviceReturned(
            chain=chain.site,
            last=chain.last,
            hash=chain.hash,
            lost=lost is not None,
            missing=missing,
            unfinished=unfinished,
        ),
        subject=usubjid,
        reason=reason,
    )
    for session in sorted({*missing, *unfinished}):
        what = "its end" if session in unfinished else "its telemetry"
        study.append(
            DeviationRaised(
                category="data",
                detail=f"the home device was lost: {what} was not received",
                day=study.state.sessions[session].day,
                session=session,
            ),
            subject=usubjid,
            reason=reason,
        )
    return event


def flag_late_sessions(study: Study, chain: ChainState, sessions: list[str]) -> None:
    """Raise a deviation for each session that was held after its participant had left.

    The home device could not know; what it recorded is kept.

    Parameters
    ----------
    sessions : list of str
        Those that were received now.
    """
    who = study.state.participants[str(chain.usubjid)]
    left = (
        (who.withdrawn_day, "withdrew"),
        (who.discontinued_day, "discontinued the training"),
    )
    for session in sessions:
        held = study.state.sessions[session].day
        for day, what in left:
            if day is not None and held > day:
                study.append(
                    DeviationRaised(
                        category="training",
                        detail=f"on the home device on day {held}; the participant {what} on day "
                        f"{day}",
                        day=held,
                        session=session,
                    ),
                    subject=who.usubjid,
                )
                break
