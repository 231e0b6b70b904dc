"""Freezes and locks of the data: at the end of a trial nothing is entered any more.

A freeze leaves queries open and refuses entries and corrections; a session that is open goes on
to its end. A lock is for all data, waits for open sessions, and takes two people and their reasons
to undo. `trialkit.study.holds` says what both hold back.
"""

from __future__ import annotations

from trialkit.errors import Duplicate, NotPermitted, OutOfOrder, UnknownName
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    DataFrozen,
    DataLockLifted,
    DataLockSet,
    DataReleased,
    DataUnlockRequested,
)
from trialkit.record.state import DataLock
from trialkit.study.commands import command
from trialkit.study.design import unknown_name
from trialkit.study.guards import require_text
from trialkit.study.heads import sign_head
from trialkit.study.holds import scope_text
from trialkit.study.study import Study


@command("freeze")
def freeze(
    study: Study, usubjid: str | None = None, *, visit: str | None = None, reason: str | None = None
) -> Event:
    """Freeze the data of a participant, of a visit, of both, or without either all data.

    Raises
    ------
    UnknownName
        If there is no such participant or visit.
    Duplicate
        If it is frozen already.
    """
    _known(study, usubjid, visit)
    if (usubjid, visit) in study.state.frozen:
        raise Duplicate(f"{scope_text(usubjid, visit)}: frozen already.", remedy="Nothing to do.")
    return study.append(DataFrozen(visit=visit), subject=usubjid, reason=reason)


@command("freeze")
def release(
    study: Study, usubjid: str | None = None, *, visit: str | None = None, reason: str
) -> Event:
    """Lift a freeze; it is named as it was set.

    Raises
    ------
    UnknownName
        If there is no such freeze.
    OutOfOrder
        If the data are locked.
    UsageError
        If the reason is missing.
    """
    reason = require_text(reason, "the reason")
    if (usubjid, visit) not in study.state.frozen:
        there = sorted(scope_text(*scope) for scope in study.state.frozen)
        raise UnknownName(
            f"{scope_text(usubjid, visit)}: not frozen.",
            remedy=f"Frozen: {'; '.join(there) or 'nothing'}.",
        )
    if study.state.data_lock is not None:
        raise OutOfOrder("the data are locked.", remedy="Unlock them first.")
    return study.append(DataReleased(visit=visit), subject=usubjid, reason=reason)


@command("lock_data")
def lock_data(study: Study, *, reason: str) -> Event:
    """Lock all data with a reason, and sign a head of the record over them.

    Raises
    ------
    Duplicate
        If they are locked.
    OutOfOrder
        If a session is open.
    UsageError
        If the reason is missing.
    """
    reason = require_text(reason, "the reason")
    study.check_whole()
    if (lock := study.state.data_lock) is not None:
        raise Duplicate(f"the data are locked since {lock.at[:10]}.", remedy="Nothing to do.")
    if study.state.open_sessions:  # which one, not everybody who locks may know
        raise OutOfOrder(
            "a session is open.", remedy="Have it closed, or recovered with `trialkit recover`."
        )
    event = study.append(DataLockSet(upto=study.state.seq), reason=reason)
    sign_head(study)
    return event


@command("lock_data")
def request_unlock(study: Study, *, reason: str) -> Event:
    """Ask that the data be unlocked; the number of the request is in the event's payload.

    Raises
    ------
    OutOfOrder
        If they are not locked.
    Duplicate
        If somebody asked.
    UsageError
        If the reason is missing.
    """
    reason, lock = require_text(reason, "the reason"), _lock(study)
    if lock.request is not None:
        raise Duplicate(
            f"{lock.asked_by} asked already ({lock.request}).",
            remedy="Have another person approve it.",
        )
    request = f"D{study.state.counts['data.unlock_requested'] + 1:03d}"
    return study.append(DataUnlockRequested(request=request), reason=reason)


@command("lock_data")
def approve_unlock(study: Study, request: str, *, reason: str | None = None) -> Event:
    """Agree to a request of another person; the data are unlocked.

    Raises
    ------
    OutOfOrder
        If they are not locked.
    UnknownName
        If this is not the request that waits.
    NotPermitted
        If it is the own request.
    """
    lock = _lock(study)
    if lock.request is None or lock.request != request:
        raise unknown_name("request", request, [lock.request] if lock.request else [])
    if lock.asked_by == study.actor:
        raise NotPermitted(
            f"{study.actor} asked, and unlocking takes two persons.",
            remedy="Have another person approve it.",
        )
    return study.append(
        DataLockLifted(request=request, requested_by=str(lock.asked_by)),
        reason=reason or lock.asked_why,
    )


def _lock(study: Study) -> DataLock:
    lock = study.state.data_lock
    if lock is None:
        raise OutOfOrder("the data are not locked.", remedy="Nothing to do.")
    return lock


def _known(study: Study, usubjid: str | None, visit: str | None) -> None:
    if usubjid is not None:
        study.participant(usubjid)
    if visit is not None:
        study.design.visit(visit)
