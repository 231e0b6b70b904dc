"""Accounts: passwords, logins, roles and their end. A user name is never given twice."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from trialkit.errors import Duplicate, NotAuthenticated, NotPermitted, OutOfRange
from trialkit.record.accounts import AccountStore, hash_password, matches
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AccountsRequired,
    PasswordSet,
    RoleChanged,
    UserLoggedOut,
    UserRetired,
    UserUnlocked,
)
from trialkit.record.roles import SIGNING, permissions_of
from trialkit.record.state import UserState
from trialkit.study.access import (
    Access,
    check_password,
    forget_token,
    keep_token,
    kept_token,
    note,
    rules_of,
)
from trialkit.study.asking import check_role, require_owner_for
from trialkit.study.commands import command
from trialkit.study.design import unknown_name
from trialkit.study.study import Study

_LONGEST = 1024


@command("require_login", atomic=False)
def require_login(study: Study, *, password: str, rules: AccountsRequired | None = None) -> Event:
    """From now on let nobody act without a password or a valid login.

    Parameters
    ----------
    password : str
        That of the owner who acts.
    rules : AccountsRequired or None
        The study's rules; default: those of the model.

    Raises
    ------
    NotAuthenticated
        If the owner's password is wrong or not set.
    NotPermitted
        Unless an owner acts.
    Duplicate
        If the study requires a login already with the same rules.
    """
    required = rules or AccountsRequired()
    if required == study.state.accounts:
        raise Duplicate("the study requires a login already.", remedy="Nothing to do.")
    check_password(study, study.actor, password)
    event = study.append(required)
    study.access = Access(study.actor, secrets.token_hex(16))
    return event


def login(study: Study, user: str, password: str, *, keep: bool = True) -> str:
    """Log a person in, and return the token of the login.

    Parameters
    ----------
    keep : bool
        True keeps the token on this machine, so that `Study.open` finds it.

    Raises
    ------
    NotAuthenticated
        If the password is wrong or must be changed, or the account is locked out or retired.
    """
    _user(study, user)
    check_password(study, user, password)
    token = secrets.token_urlsafe(32)
    AccountStore(study.folder).keep_login(token, user, study.clock.now().timestamp())
    if keep:
        keep_token(study.folder, user, token)
    return token


def logout(study: Study, user: str, *, token: str | None = None) -> bool:
    """End a login; return False where there was none.

    Parameters
    ----------
    token : str or None
        Default: the one that is kept on this machine.
    """
    token = token or kept_token(study.folder, user)
    forget_token(study.folder, user)
    store = AccountStore(study.folder)
    known = store.login(token) if token is not None else None
    if token is None or known is None or known.user != user:
        return False
    store.drop_login(token)
    note(study, UserLoggedOut(user=user), user)
    return True


def set_password(
    study: Study, new: str, *, user: str | None = None, old: str | None = None
) -> Event:
    """Set a password: one's own with the old one, or another person's, who must then change it.

    Parameters
    ----------
    new : str
        At least twelve characters, and none of the person's last five.
    user : str or None
        Whose; default: of whoever acts.
    old : str or None
        The password in force, for one's own; it may be one that must be changed.

    Raises
    ------
    NotAuthenticated
        If the old password is wrong or missing.
    NotPermitted
        If it is another person's, and whoever acts may not manage users.
    OutOfRange
        If the new one is too short, or was used before.
    """
    user = user or study.actor
    who, store = _user(study, user), AccountStore(study.folder)
    first = store.in_force(user, who.password_seq) is None
    own = user == study.actor and study.role != "none" and first
    if old is not None:
        check_password(study, user, old, aged=True)
    elif user == study.actor and not first:
        raise NotAuthenticated(
            f"{user} has a password.", remedy="Give the old one to change it, or have it set anew."
        )
    elif not own:
        study.require("manage_users", command="set_password")
        require_owner_for(who.role, study.actor, study.role)
    _check_new(study, user, new)
    hashed = hash_password(new)
    with study.batch():
        actor = user if old is not None or own else study.actor
        event = note(study, PasswordSet(user=user, temporary=actor != user), actor)
        store.add_hash(user, hashed, event.seq)
    return event


def _check_new(study: Study, user: str, new: str) -> None:
    rules = rules_of(study)
    if not rules.min_length <= len(new) <= _LONGEST or user.lower() in new.lower():
        raise OutOfRange(
            f"a password has {rules.min_length} characters or more, and not the user's name in it.",
            remedy="Use several words.",
        )
    last = study.state.users[user].password_seq
    earlier = AccountStore(study.folder).hashes(user, rules.remember, last)
    if any(matches(old, new) for old in earlier):
        raise OutOfRange(
            f"this is one of the last {rules.remember} passwords of {user}.",
            remedy="Use a new one.",
        )


@command("manage_users", name="unlock_user")
def unlock_user(study: Study, user: str) -> Event:
    """End the lockout of an account.

    Raises
    ------
    Duplicate
        If it is not locked out.
    """
    if _user(study, user).locked_at is None:
        raise Duplicate(f"the account of {user} is not locked.", remedy="Nothing to do.")
    return study.append(UserUnlocked(user=user, why="person"))


@command("manage_users")
def set_role(study: Study, user: str, role: str, *, sites: Sequence[str] | None = None) -> Event:
    """Give a person another role, or other sites; nobody changes the own.

    Parameters
    ----------
    sites : sequence of str or None
        None keeps them; empty is all.

    Raises
    ------
    NotPermitted
        If it is the own role, or one that only an owner gives or takes.
    Duplicate
        If the person has this role for these sites.
    """
    who, held = _user(study, user), permissions_of(check_role(role))
    _not_oneself(study, user)
    for concerned in (who.role, role):
        require_owner_for(concerned, study.actor, study.role)
    there = who.sites if sites is None else tuple(sorted(set(sites)))
    if (who.role, who.sites) == (role, there):
        raise Duplicate(f"{user} is {role} already.", remedy="Nothing to do.")
    key = who.fingerprint or (study.keys.create(user) if held & SIGNING else None)
    return study.append(
        RoleChanged(
            user=user,
            old_role=who.role,
            user_role=role,
            old_sites=list(who.sites),
            sites=list(there),
            key_fingerprint=key,
        )
    )


@command("manage_users")
def retire_user(study: Study, user: str, *, reason: str | None = None) -> Event:
    """End what a person may do in the study; the name is never given again.

    Raises
    ------
    NotPermitted
        If it is oneself, or an owner or administrator and no owner acts.
    """
    who = _user(study, user)
    _not_oneself(study, user)
    require_owner_for(who.role, study.actor, study.role)
    event = study.append(UserRetired(user=user), reason=reason)
    AccountStore(study.folder).drop_logins(user)
    return event


def _not_oneself(study: Study, user: str) -> None:
    if user == study.actor:
        raise NotPermitted(
            f"{user} cannot change the own account.", remedy="Ask another person who may."
        )


def _user(study: Study, user: str) -> UserState:
    who = study.state.users.get(user)
    if who is None:
        raise unknown_name("user", user, list(study.state.users))
    if who.retired:
        raise NotPermitted(f"{user} is retired.", remedy="A name is never given again.")
    return who
