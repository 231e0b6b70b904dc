"""Everything that must hold before a session may touch a device."""

from __future__ import annotations

from dataclasses import dataclass

from device_interface.contract import Capability
from trialkit.errors import OutOfOrder, OutOfRange, RefusedError, WrongArm
from trialkit.protocol.model import Protocol
from trialkit.protocol.notices import notices
from trialkit.record.state import ParticipantState
from trialkit.session.adapt import levels_after
from trialkit.session.program import Program, make_course
from trialkit.session.schedule import require_day
from trialkit.study import Study
from trialkit.study.guards import require_session


@dataclass(frozen=True)
class Prepared:
    """A session that the guards have let through.

    `notices` are to be shown before the start.
    """

    program: Program
    protocol: Protocol
    deviation: str | None
    notices: tuple[str, ...] = ()


def session_id(usubjid: str, number: int) -> str:
    """Return the id of a session."""
    return f"{usubjid}-S{number:02d}"


def prepare(study: Study, usubjid: str, *, number: int, day: int, reason: str | None) -> Prepared:
    """Check people, arm, number, day and staffing.

    Raises
    ------
    NotPermitted, UnknownName, OutOfOrder, Duplicate, OutOfRange, WrongArm, OutOfWindow
    RefusedError
        If the staffing rule does not allow another session now.
    """
    study.require("session", command="run_session", subject=usubjid)
    who = _require_free(study, usubjid, number)
    arm = study.design.arm(study.arm_of(usubjid))
    protocol = study.protocols.get(arm.code)
    if arm.delivery != "device" or protocol is None or protocol.device is None:
        raise WrongArm(
            f"{usubjid} is in arm {arm.label}, whose sessions are not on a device.",
            remedy="Log the session instead: `trialkit log-session`.",
        )
    require_staff(study, protocol)
    if number > protocol.planned_sessions:
        raise OutOfRange(
            f"session {number}: the protocol plans sessions 1 to {protocol.planned_sessions}.",
            remedy="Check the number of the session.",
        )
    deviation = require_day(protocol.schedule, who, number, day, reason)
    course = make_course(protocol)
    levels = levels_after(course.start, who.levels)
    program = Program(course, session_id(usubjid, number), levels)
    told = tuple(notice.message for notice in notices(protocol))
    return Prepared(program, protocol, deviation, told)


def require_still(study: Study, usubjid: str, number: int, protocol: Protocol) -> None:
    """Ask again, while the writers' lock is held, what others may have changed since `prepare`.

    Raises
    ------
    RefusedError
        If the participant, the number or the therapist is no longer free.
    """
    _require_free(study, usubjid, number)
    require_staff(study, protocol)


def _require_free(study: Study, usubjid: str, number: int) -> ParticipantState:
    mine = [s.session for s in study.state.open_sessions if s.usubjid == usubjid]
    if mine:
        raise OutOfOrder(
            f"session {mine[0]} of {usubjid} is still open.",
            remedy="Run `trialkit recover` if the program that ran it has ended.",
        )
    return require_session(study, usubjid, number)


def require_staff(study: Study, *protocols: Protocol) -> None:
    """Refuse more sessions than the staffing rule gives the therapist who acts.

    The rule is the strictest of the protocols involved: those of the new sessions, one each,
    and those of the therapist's open ones.

    Raises
    ------
    RefusedError
        If there would be more than that.
    """
    active = [s for s in study.state.open_sessions if s.therapist == study.actor]
    by_id = {p.id: p.staffing.max_participants_per_therapist for p in study.protocols.values()}
    involved = [by_id[s.protocol] for s in active if s.protocol in by_id]
    allowed = min([*involved, *(p.staffing.max_participants_per_therapist for p in protocols)])
    if len(active) + len(protocols) > allowed:
        shown = ", ".join(s.session for s in active)
        raise RefusedError(
            f"{study.actor} has {len(active)} active session(s) ({shown}) and the protocol "
            f"allows {allowed} a therapist.",
            remedy="End the other session first, or run `trialkit recover` if its program ended.",
        )


def capability_faults(protocol: Protocol, capability: Capability) -> list[str]:
    """Return everything that the protocol asks and the device cannot do.

    Every parameter that is missing, or whose hard limits or rate do not enclose the
    protocol's, and a family that is not the one asked for.
    """
    need = protocol.device
    faults: list[str] = []
    if need is not None and capability.family != need.family:
        faults.append(f"it is a {capability.family}, not a {need.family}")
    for name in need.parameters if need is not None else []:
        if capability.parameter(name) is None:
            faults.append(f"it has no {name}")
    for limit in protocol.limits:
        own = capability.parameter(limit.parameter)
        if own is None:
            continue
        if limit.minimum < own.minimum - 1e-9 or limit.maximum > own.maximum + 1e-9:
            faults.append(
                f"{limit.parameter} {limit.minimum}..{limit.maximum} is beyond its "
                f"{own.minimum}..{own.maximum}"
            )
        if limit.rate_per_s > own.rate_per_s + 1e-9:
            faults.append(
                f"{limit.parameter} at {limit.rate_per_s} per s is beyond its {own.rate_per_s}"
            )
    return faults


def require_capable(protocol: Protocol, capability: Capability) -> None:
    """Refuse a device that cannot do what the protocol asks.

    Raises
    ------
    OutOfRange
        Listing every fault of `capability_faults`.
    """
    if faults := capability_faults(protocol, capability):
        raise OutOfRange(
            f"{capability.model} ({capability.serial}) cannot run {protocol.id}: "
            f"{'; '.join(faults)}.",
            remedy="Use another device, or a protocol within its limits.",
        )
