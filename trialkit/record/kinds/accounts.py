"""Payloads of accounts, electronic signatures, and freezes and locks of data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trialkit.record.kinds._payload import Payload
from trialkit.record.kinds.analysis import Signature


class AccountsRequired(Payload):
    """From here on nobody acts without a password or a valid login; the study's rules for both.

    A lockout ends after `lockout_minutes`, or with 0 only when a person lifts it.
    """

    kind = "accounts.required"
    max_failures: int = Field(default=5, ge=1)
    lockout_minutes: int = Field(default=30, ge=0)
    max_age_days: int = Field(default=365, ge=1)
    min_length: int = Field(default=12, ge=12)
    remember: int = Field(default=5, ge=1)
    idle_minutes: int = Field(default=30, ge=1)
    login_hours: int = Field(default=12, ge=1)
    signing_minutes: int = Field(default=15, ge=1)


class PasswordSet(Payload):
    """A password was set; a `temporary` one was set by another and must be changed at once."""

    kind = "user.password_set"
    user: str
    temporary: bool


class UserLoggedIn(Payload):
    """A person gave the right password."""

    kind = "user.logged_in"
    user: str


class UserLoggedOut(Payload):
    """A person ended the login."""

    kind = "user.logged_out"
    user: str


class LoginFailed(Payload):
    """Somebody gave a wrong password for `user`, or any password while the account was locked."""

    kind = "user.login_failed"
    user: str


class UserLocked(Payload):
    """An account was locked after so many failures in a row."""

    kind = "user.locked"
    user: str
    failures: int


class UserUnlocked(Payload):
    """An account was unlocked, by a person or because the lockout passed."""

    kind = "user.unlocked"
    user: str
    why: Literal["person", "time"]


class RoleChanged(Payload):
    """A person has another role, or other sites; the old ones stay readable."""

    kind = "user.role_changed"
    user: str
    old_role: str
    user_role: str
    old_sites: list[str]
    sites: list[str]
    key_fingerprint: str | None = None


class UserRetired(Payload):
    """A person acts no more; the name is never given again."""

    kind = "user.retired"
    user: str


class SignatureApplied(Payload):
    """Somebody signed `what` as it stood after event `upto`, with the password.

    `digest` is the SHA-256 of the canonical JSON of ``{schema, study, what, events}``, where
    ``events`` are the hashes of the events of which `what` consists. `name` is the printed name,
    `at` the time in UTC. `signature` is over `digest`; None where the key was not at hand.
    """

    kind = "signature.applied"
    what: str
    upto: int
    digest: str
    signer: str
    name: str
    at: str
    meaning: str
    signature: Signature | None = None


class DataFrozen(Payload):
    """Data are frozen: of the subject or of all, of one visit or of all visits."""

    kind = "data.frozen"
    visit: str | None = None


class DataReleased(Payload):
    """A freeze was lifted."""

    kind = "data.released"
    visit: str | None = None


class DataLockSet(Payload):
    """All data were locked as they stood after event `upto`."""

    kind = "data.locked"
    upto: int


class DataUnlockRequested(Payload):
    """Somebody asked that the data be unlocked, with a reason."""

    kind = "data.unlock_requested"
    request: str


class DataLockLifted(Payload):
    """Another person than the one who asked agreed, and the data are unlocked."""

    kind = "data.unlocked"
    request: str
    requested_by: str
