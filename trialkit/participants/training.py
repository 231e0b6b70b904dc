"""Training that no device records: sessions with a therapist, and sessions that were missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from trialkit.errors import UsageError, WrongArm
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.protocol.model import Protocol
from trialkit.record.chain import Event
from trialkit.record.kinds import DeviationRaised, Dose, SessionConventional, SessionMissed
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_session, require_text
from trialkit.study.heads import sign_head


@command("session")
def log_conventional(
    study: Study,
    usubjid: str,
    *,
    number: int,
    day: int,
    dose: Dose | Mapping[str, Any],
    therapist: str | None = None,
    reason: str | None = None,
) -> Event:
    """Log a session without the device, as its therapist reports it.

    What the protocol's fidelity asks and the session did not give becomes a deviation event:
    ``moving_minutes_low`` and ``session_shortened``.

    Parameters
    ----------
    number : int
        From 1; a number is used once.
    dose : Dose or mapping
        Minutes, moving minutes, steps, and what else was measured.
    therapist : str or None
        Default: the person who acts.
    reason : str or None
        Why the entry is late; needed when it comes later than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    WrongArm
        If the participant's arm trains on the device, or not at all.
    OutOfOrder, Duplicate, OutOfRange
        See `trialkit.study.guards.require_session`.
    """
    require_session(study, usubjid, number)
    arm = study.design.arm(study.arm_of(usubjid))
    if arm.delivery != "therapist":
        raise WrongArm(
            f"{usubjid} is in arm {arm.label}, which has no sessions with a therapist alone.",
            remedy="Run the session on the device: `trialkit run`."
            if arm.delivery == "device"
            else "Log nothing: this arm has no sessions.",
        )
    protocol = study.protocols.get(arm.code)
    session, given = f"{usubjid}-S{number:02d}", _dose(dose)
    delay = entry_delay(study, usubjid, day)
    late = is_late(f"session {session}", delay, study.design.late_entry_days, reason)
    event = study.append(
        SessionConventional(
            session=session,
            number=number,
            day=day,
            protocol=protocol.id if protocol else arm.code,
            therapist=therapist or study.actor,
            dose=given,
            delay_days=delay,
            late=late,
        ),
        subject=usubjid,
        reason=reason,
    )
    for category, detail in _shortfalls(protocol, given) if protocol else ():
        study.append(
            DeviationRaised(category=category, detail=detail, day=day, session=session),
            subject=usubjid,
        )
    sign_head(study)
    return event


def _shortfalls(protocol: Protocol, dose: Dose) -> Iterator[tuple[str, str]]:
    """Yield what the protocol's fidelity asks of a session and the dose falls short of."""
    fidelity = protocol.fidelity
    if dose.moving_minutes + 1e-6 < fidelity.min_moving_minutes:
        yield (
            "moving_minutes_low",
            f"{dose.moving_minutes:.1f} min of moving, {fidelity.min_moving_minutes:g} asked",
        )
    planned = protocol.planned_minutes
    if dose.minutes + 1e-6 < fidelity.min_block_fraction * planned:
        yield "session_shortened", f"{dose.minutes:.1f} of {planned:g} min"


def _dose(given: Dose | Mapping[str, Any]) -> Dose:
    if isinstance(given, Dose):
        dose = given
    else:
        try:
            dose = Dose.model_validate(dict(given))
        except ValidationError as error:
            fault = error.errors()[0]
            raise UsageError(
                f"dose {'.'.join(map(str, fault['loc']))}: {fault['msg']}.",
                remedy="Give minutes, moving_minutes and steps at least.",
            ) from error
    if dose.minutes < 0 or not 0 <= dose.moving_minutes <= dose.minutes or dose.steps < 0:
        raise UsageError(
            f"dose of {dose.minutes} min, {dose.moving_minutes} min moving, {dose.steps} steps.",
            remedy="Nothing is negative, and moving time is part of the minutes.",
        )
    return dose


@command("session")
def miss_session(
    study: Study, usubjid: str, *, number: int, day: int, code: str, reason: str | None = None
) -> Event:
    """Record that a planned session did not take place; `code` is a reason code.

    Parameters
    ----------
    reason : str or None
        Why the entry is late; needed when it comes later than the trial allows.

    Raises
    ------
    OutOfWindow
        If the entry is late and no reason was given.
    OutOfOrder, Duplicate, OutOfRange
        See `trialkit.study.guards.require_session`.
    """
    code = require_text(code, "a reason code")
    require_session(study, usubjid, number)
    delay = entry_delay(study, usubjid, day)
    late = is_late(f"session {number} of {usubjid}", delay, study.design.late_entry_days, reason)
    return study.append(
        SessionMissed(number=number, day=day, code=code, delay_days=delay, late=late),
        subject=usubjid,
        reason=reason,
    )
