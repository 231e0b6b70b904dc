"""The part of the fold about accounts, signatures, and freezes and locks of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialkit.record.chain import Event
from trialkit.record.kinds import AccountsRequired
from trialkit.record.signed import SignedState

if TYPE_CHECKING:
    from trialkit.record.state.study import StudyState


@dataclass
class DataLock:
    """All data are locked; `request`, `asked_by` and `asked_why` are of a wish to unlock them.

    `late` counts reports of adverse events, and their follow-up, since the lock.
    """

    seq: int
    by: str
    at: str
    reason: str
    request: str | None = None
    asked_by: str | None = None
    asked_why: str | None = None
    late: int = 0


def _accounts_required(state: StudyState, event: Event, _: dict[str, Any]) -> None:
    rules = event.model()
    if isinstance(rules, AccountsRequired):
        state.accounts = rules


def _password_set(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    user = state.users[p["user"]]
    user.password_at, user.password_seq = event.at, event.seq
    user.temporary = p["temporary"]


def _logged_in(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    state.users[p["user"]].failures = 0


def _login_failed(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    state.users[p["user"]].failures += 1


def _user_locked(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    state.users[p["user"]].locked_at = event.at


def _user_unlocked(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    user = state.users[p["user"]]
    user.locked_at, user.failures = None, 0


def _role_changed(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    user = state.users[p["user"]]
    user.role, user.sites = p["user_role"], tuple(p["sites"])
    user.fingerprint = p["key_fingerprint"]


def _retired(state: StudyState, _: Event, p: dict[str, Any]) -> None:
    state.users[p["user"]].retired = True


def _signed(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    signed = SignedState(event.seq, p["what"], event.subject, p["signer"])
    state.signed.setdefault(p["what"], []).append(signed)


def _frozen(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    state.frozen.add((event.subject, p["visit"]))


def _released(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    state.frozen.discard((event.subject, p["visit"]))


def _data_locked(state: StudyState, event: Event, _: dict[str, Any]) -> None:
    state.data_lock = DataLock(event.seq, event.actor, event.at, event.reason or "")


def _unlock_requested(state: StudyState, event: Event, p: dict[str, Any]) -> None:
    if state.data_lock is not None:
        state.data_lock.request, state.data_lock.asked_by = p["request"], event.actor
        state.data_lock.asked_why = event.reason


def _data_unlocked(state: StudyState, _: Event, __: dict[str, Any]) -> None:
    state.data_lock = None


HANDLERS: dict[str, Callable[[StudyState, Event, dict[str, Any]], None]] = {
    "accounts.required": _accounts_required,
    "user.password_set": _password_set,
    "user.logged_in": _logged_in,
    "user.login_failed": _login_failed,
    "user.locked": _user_locked,
    "user.unlocked": _user_unlocked,
    "user.role_changed": _role_changed,
    "user.retired": _retired,
    "signature.applied": _signed,
    "data.frozen": _frozen,
    "data.released": _released,
    "data.locked": _data_locked,
    "data.unlock_requested": _unlock_requested,
    "data.unlocked": _data_unlocked,
}
