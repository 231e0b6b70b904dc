"""Whether somebody may do something, and why not."""

from __future__ import annotations

from typing import Literal, NamedTuple

from trialkit.errors import NotPermitted, TrialkitError
from trialkit.record.roles import permissions_of, roles_with
from trialkit.record.state import StudyState
from trialkit.study.access import not_logged_in
from trialkit.study.design import unknown_name

#: What concerns every site: a person with sites of their own may not do it.
EVERY_SITE = "*"


class Refused(NamedTuple):
    """A refusal: what it is for, and the error to raise."""

    why: Literal["role", "site", "login"]
    error: TrialkitError


def look(
    state: StudyState,
    actor: str,
    permission: str,
    *,
    site: str | None,
    held: bool,
    proven: bool,
) -> Refused | None:
    """Return why `actor` may not use `permission`, or None.

    Parameters
    ----------
    site : str or None
        The site that it is about, or `EVERY_SITE`: a person with sites of their own may act
        there only.
    held : bool
        Whether the role holds the permission.
    proven : bool
        Whether the person has logged in, or the study asks for no login.
    """
    user = state.users.get(actor)
    if held:
        if site is None or user is None or not user.sites or site in user.sites:
            return None
        error = NotPermitted(
            f"{actor} acts for site {', '.join(user.sites)} and not for "
            f"{'all sites' if site == EVERY_SITE else f'site {site}'}.",
            remedy="Ask a person of that site, or of all sites.",
            permission=permission,
        )
        return Refused("site", error)
    if not proven:
        return Refused(
            "login", not_logged_in(actor) if user else _unknown(state, actor, permission)
        )
    if user is None or user.retired:
        return Refused("role", _unknown(state, actor, permission))
    error = NotPermitted(
        f"{actor} ({user.role}) may not {permission.replace('_', ' ')}.",
        remedy=f"Roles that may: {', '.join(roles_with(permission))}.",
        permission=permission,
    )
    return Refused("role", error)


def _unknown(state: StudyState, actor: str, permission: str) -> NotPermitted:
    once = " any more" if actor in state.users else ""
    return NotPermitted(
        f"{actor} is not a user of study {state.study_id}{once}.",
        remedy="The owner adds people with `trialkit users add`.",
        permission=permission,
    )


def check_role(role: str) -> str:
    """Return `role` if a person can have it, or raise `UnknownName`."""
    permissions_of(role)
    if role == "none":
        raise unknown_name("role", role, [])
    return role


def require_owner_for(role: str, actor: str, acting: str) -> None:
    """Refuse unless an owner acts, where `role` is one that only an owner gives or takes.

    Raises
    ------
    NotPermitted
        If it is, and `actor` in the role `acting` is none.
    """
    if role in ("owner", "administrator") and acting != "owner":
        raise NotPermitted(
            f"{actor} ({acting}) may not make or change an {role}.",
            remedy="Ask the owner of the study.",
        )
