"""Who somebody is: by password, or by the token that a login keeps.

Here is what `Study.open` asks; what people do with accounts is in `trialkit.study.accounts`.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from trialkit._canonical import sha256_bytes
from trialkit.errors import NotAuthenticated, StorageRefused
from trialkit.record.accounts import AccountStore, matches
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AccountsRequired,
    CommandRefused,
    LoginFailed,
    Payload,
    UserLocked,
    UserLoggedIn,
    UserUnlocked,
)
from trialkit.record.storage import storage_guard

if TYPE_CHECKING:
    from trialkit.study.study import Study


@dataclass(frozen=True)
class Access:
    """A person who proved to be the one: `sitting` names the period of access, for signing."""

    user: str
    sitting: str


def authenticate(
    study: Study, *, password: str | None, token: str | None, named: bool
) -> Access | None:
    """Return the access of the person who acts; None where the study asks for none, or none is.

    Parameters
    ----------
    study : Study
    password, token : str or None
        Without both: the token that a login keeps, or for a named person the environment
        variable ``TRIALKIT_PASSWORD``.
    named : bool
        True where the person was named, and is refused without a proof.

    Raises
    ------
    NotAuthenticated
        If the proof is missing or wrong.
    """
    user = study.actor
    required, given = study.state.accounts is not None, password is not None or token is not None
    if user not in study.state.users or not (required or given):
        return None
    if not given:
        token = kept_token(study.folder, user)
        password = os.environ.get("TRIALKIT_PASSWORD") if named else None
    if token is not None and (access := _by_token(study, user, token)) is not None:
        return access
    if password is not None:
        check_password(study, user, password)
        return Access(user, secrets.token_hex(16))
    if not named:
        return None
    payload = CommandRefused(command="login", permission="login", why="login")
    with suppress(StorageRefused), writing(study) as opened:
        note(opened, payload, user, role="none")
    raise not_logged_in(user, expired=token is not None)


def not_logged_in(user: str, *, expired: bool = False) -> NotAuthenticated:
    """Return the error for a person who gave no proof, or an `expired` one."""
    what = "whose login is not valid any more" if expired else "who has not logged in"
    return NotAuthenticated(
        f"this study asks for a login, and {user} is a person {what}.",
        remedy=f"Run `trialkit login --as {user}`, or give the password.",
    )


def rules_of(study: Study) -> AccountsRequired:
    """Return the study's rules for accounts; the defaults while it requires none."""
    return study.state.accounts or AccountsRequired()


@contextmanager
def writing(study: Study) -> Iterator[Study]:
    """Yield the study open for writing, also where it is open for reading only."""
    if study.record.write:
        yield study
        return
    with type(study).open(study.folder, clock=study.clock, keys=study.keys) as opened:
        yield opened
    study.refresh()


def note(study: Study, payload: Payload, actor: str, *, role: str | None = None) -> Event:
    """Append an event of the login itself, which nobody needs a permission for."""
    with study.batch():
        known = study.state.users.get(actor)
        said = role or (known.role if known is not None else "none")
        event = study.record.append(payload, actor=actor, role=said)
        study.state.apply(event)
    return event


# --- passwords ------------------------------------------------------------------------------


def check_password(study: Study, user: str, password: str, *, aged: bool = False) -> None:
    """Check a password, record the outcome, and lock the account after too many failures.

    Parameters
    ----------
    aged : bool
        True accepts a password that must be changed: to change it.

    Raises
    ------
    NotAuthenticated
        If it is wrong, must be changed, or the account is locked out or retired.
    """
    with writing(study) as opened, opened.batch():
        problem = _outcome(opened, user, password, aged)
    if problem is not None:
        raise problem


def _outcome(study: Study, user: str, password: str, aged: bool) -> NotAuthenticated | None:
    rules, who = rules_of(study), study.state.users[user]
    if who.retired:
        return NotAuthenticated(f"{user} is retired.", remedy="Act as somebody who is not.")
    if who.locked_at is not None and rules.lockout_minutes:
        passed = study.clock.now() - _time(who.locked_at)
        if passed >= timedelta(minutes=rules.lockout_minutes):
            note(study, UserUnlocked(user=user, why="time"), user)
    hashed = AccountStore(study.folder).in_force(user, who.password_seq)
    if who.locked_at is not None:
        note(study, LoginFailed(user=user), user, role="none")
        return NotAuthenticated(
            f"the account of {user} is locked after {rules.max_failures} failures.",
            remedy="Wait until the lockout has passed, or ask for `trialkit users unlock`.",
        )
    if hashed is None:
        return NotAuthenticated(
            f"{user} has no password.", remedy=f"Set one: `trialkit users passwd {user}`."
        )
    if not matches(hashed, password):
        note(study, LoginFailed(user=user), user, role="none")
        if who.failures >= rules.max_failures:
            note(study, UserLocked(user=user, failures=who.failures), user, role="none")
        return NotAuthenticated(
            "the password is wrong.", remedy="Check it; failures are counted and recorded."
        )
    if not aged and (why := must_change(study, user)) is not None:
        return NotAuthenticated(why, remedy=f"Change it: `trialkit users passwd {user}`.")
    note(study, UserLoggedIn(user=user), user)
    return None


def must_change(study: Study, user: str) -> str | None:
    """Return why the password of `user` must be changed, or None."""
    who = study.state.users[user]
    if who.temporary:
        return f"the password of {user} was set by somebody else and must be changed."
    if who.password_at is None:
        return None
    days = (study.clock.now() - _time(who.password_at)).days
    if days >= rules_of(study).max_age_days:
        return f"the password of {user} is {days} days old and must be changed."
    return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- tokens ---------------------------------------------------------------------------------


def _by_token(study: Study, user: str, token: str) -> Access | None:
    store, rules = AccountStore(study.folder), rules_of(study)
    now, login = study.clock.now().timestamp(), store.login(token)
    good = (
        login is not None
        and login.user == user
        and not study.state.users[user].retired
        and 0 <= now - login.used < rules.idle_minutes * 60
        and 0 <= now - login.made < rules.login_hours * 3600
    )
    if not good:
        return None
    with suppress(StorageRefused):  # a copy on a read-only medium
        store.touch(token, now)
    return Access(user, sha256_bytes(f"sitting {token}".encode()))


def token_file(folder: Path, user: str) -> Path:
    """Return where a login of `user` to the study in `folder` is kept on this machine."""
    default = Path.home() / ".local/state"
    state = Path(os.environ.get("XDG_STATE_HOME") or default) / "trialkit"
    name = sha256_bytes(f"{folder.resolve()}\n{user}".encode())[:32]
    return state / f"login-{name}.json"


def kept_token(folder: Path, user: str) -> str | None:
    """Return the token that a login of `user` keeps on this machine, or None."""
    try:
        return str(json.loads(token_file(folder, user).read_text(encoding="utf-8"))["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_token(folder: Path, user: str, token: str) -> Path:
    """Keep a token on this machine, readable by its owner alone, and return the file."""
    path = token_file(folder, user)
    with storage_guard(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"study": str(folder.resolve()), "user": user, "token": token}, stream)
        partial.rename(path)
    return path


def forget_token(folder: Path, user: str) -> None:
    """Take the token of `user` off this machine."""
    token_file(folder, user).unlink(missing_ok=True)
