"""Verbs of accounts: ``login``, ``logout``, ``whoami`` and ``users``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, show_event
from trialkit.cli._secret import StdinOption, ask

NameArgument = Annotated[str, typer.Argument(help="The user name.")]
RoleOption = Annotated[
    str,
    typer.Option(
        "--role",
        help="owner, coordinator, therapist, assessor, investigator, statistician, monitor, "
        "data_manager or administrator.",
    ),
]
SiteOption = Annotated[
    list[str] | None, typer.Option("--site", help="A site to act for; repeatable. Default: all.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("login")(login)
    app.command("logout")(logout)
    app.command("whoami")(whoami)
    group = typer.Typer(no_args_is_help=True, help="People of a study and their accounts.")
    group.command("list")(show)
    group.command("add")(add)
    group.command("set-role")(set_role)
    group.command("retire")(retire)
    group.command("passwd")(passwd)
    group.command("unlock")(unlock)
    group.command("require-login")(require_login)
    app.add_typer(group, name="users")


def login(
    study: StudyOption,
    password_stdin: StdinOption = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log in with a password; the login ends after a pause, a day's work, or `logout`."""
    from trialkit.study import Study, accounts
    from trialkit.study.access import rules_of
    from trialkit.study.files import login_name

    who = user or login_name()
    with Study.open(study) as opened:
        password = ask(f"password of {who}", stdin=password_stdin, automated=True)
        accounts.login(opened, who, password)
        rules, state = rules_of(opened), opened.state.users[who]
    data = {
        "user": who,
        "role": state.role,
        "idle_minutes": rules.idle_minutes,
        "login_hours": rules.login_hours,
    }
    text = (
        f"{who} ({state.name}) is logged in as {state.role}: for {rules.login_hours} h, or until "
        f"{rules.idle_minutes} min pass without a command"
    )
    emit(data, text, as_json=as_json)


def logout(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """End the login on this machine."""
    from trialkit.study import Study, accounts
    from trialkit.study.files import login_name

    who = user or login_name()
    with Study.open(study) as opened:
        ended = accounts.logout(opened, who)
    text = f"{who} is logged out" if ended else f"{who} was not logged in"
    emit({"user": who, "logged_out": ended}, text, as_json=as_json)


def whoami(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Show who acts, in which role, and whether by a login."""
    from trialkit.errors import NotAuthenticated
    from trialkit.record.roles import permissions_of
    from trialkit.study import Study
    from trialkit.study.files import login_name

    who, role, proved, required = user or login_name(), "none", False, True
    try:
        with Study.open(study, actor=user, write=False) as opened:
            role, proved = opened.role, opened.access is not None
            required = opened.state.accounts is not None
    except NotAuthenticated:
        pass  # that is the answer
    data = {"user": who, "role": role, "logged_in": proved, "login_required": required}
    data["permissions"] = sorted(permissions_of(role))
    how = "logged in" if proved else "not logged in"
    rule = "the study requires a login" if required else "the study requires no login"
    emit(data, f"{who}: role {role}, {how}; {rule}", as_json=as_json)


def show(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """List the people of a study: role, sites, and how their accounts stand."""
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        people = [
            {
                "user": u.user,
                "name": u.name,
                "role": u.role,
                "sites": list(u.sites),
                "password_set": u.password_at,
                "locked": u.locked_at is not None,
                "retired": u.retired,
                "key_fingerprint": u.fingerprint,
            }
            for u in opened.state.users.values()
        ]
        required = opened.state.accounts is not None
    lines = [f"{p['user']:<16}{p['role']:<16}{_standing(p)}" for p in people]
    lines.append(f"login {'required' if required else 'not required'}")
    emit({"users": people, "login_required": required}, "\n".join(lines), as_json=as_json)


def _standing(person: dict[str, Any]) -> str:
    sites = f"site {', '.join(person['sites'])}; " if person["sites"] else ""
    if person["retired"]:
        return f"{sites}retired"
    if person["locked"]:
        return f"{sites}locked out"
    at = person["password_set"]
    return sites + (f"password of {at[:10]}" if at else "no password")


def add(
    name: Annotated[str, typer.Argument(help="The user name; never used twice.")],
    study: StudyOption,
    role: RoleOption,
    printed: Annotated[str, typer.Option("--name", help="The printed name.")] = "",
    site: SiteOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a person in one role; whoever may sign gets a key."""
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        opened.add_user(name, role=role, name=printed, sites=site or ())
        added = opened.state.users[name]
    key = f", key {added.fingerprint}" if added.fingerprint else ""
    data = {"user": name, "role": role, "name": added.name, "key_fingerprint": added.fingerprint}
    emit(data, f"{name} ({added.name}) is {role}{key}", as_json=as_json)


def set_role(
    name: NameArgument,
    study: StudyOption,
    role: RoleOption,
    site: SiteOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a person another role, or other sites."""
    from trialkit.study import Study, accounts

    with Study.open(study, actor=user) as opened:
        event = accounts.set_role(opened, name, role, sites=site)
    show_event(event, f"{name} is {role}", as_json)


def retire(
    name: NameArgument,
    study: StudyOption,
    reason: ReasonOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """End what a person may do; the name is never given again."""
    from trialkit.study import Study, accounts

    with Study.open(study, actor=user) as opened:
        event = accounts.retire_user(opened, name, reason=reason)
    show_event(event, f"{name} is retired", as_json)


def passwd(
    study: StudyOption,
    name: Annotated[
        str | None, typer.Argument(help="Whose password; default: of whoever acts.")
    ] = None,
    password_stdin: StdinOption = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a password: the own, with the old one, or another person's, who must then change it."""
    from trialkit.study import Study, accounts
    from trialkit.study.files import login_name

    who = name or user or login_name()
    own = who == (user or login_name())
    with Study.open(study, write=False) as seen:
        known = seen.state.users.get(who)
    changes = own and known is not None and known.password_seq is not None
    old = ask(f"present password of {who}", stdin=password_stdin) if changes else None
    new = ask(f"new password of {who}", stdin=password_stdin, repeat=True)
    # who must change an aged password cannot log in: the old one is the proof
    with Study.open(study, actor=None if changes else user) as opened:
        event = accounts.set_password(opened, new, user=who, old=old)
    text = f"password of {who} set"
    show_event(event, text if own else f"{text}; {who} must change it", as_json)


def unlock(
    name: NameArgument,
    study: StudyOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the lockout of an account."""
    from trialkit.study import Study, accounts

    with Study.open(study, actor=user) as opened:
        event = accounts.unlock_user(opened, name)
    show_event(event, f"the account of {name} is unlocked", as_json)


def require_login(
    study: StudyOption,
    password_stdin: StdinOption = False,
    max_failures: Annotated[
        int, typer.Option("--max-failures", min=1, help="Failures in a row that lock an account.")
    ] = 5,
    lockout_minutes: Annotated[
        int, typer.Option("--lockout-minutes", min=0, help="How long; 0: until somebody unlocks.")
    ] = 30,
    max_age_days: Annotated[
        int, typer.Option("--max-age-days", min=1, help="Age at which a password must be changed.")
    ] = 365,
    idle_minutes: Annotated[
        int, typer.Option("--idle-minutes", min=1, help="A pause that ends a login.")
    ] = 30,
    login_hours: Annotated[
        int, typer.Option("--login-hours", min=1, help="The longest that a login lasts.")
    ] = 12,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nobody act from now on without a password or a valid login; for the owner."""
    from trialkit.record.kinds import AccountsRequired
    from trialkit.study import Study, accounts

    with Study.open(study, actor=user) as opened:
        opened.require("require_login")
        event = accounts.require_login(
            opened,
            password=ask(f"password of {opened.actor}", stdin=password_stdin, automated=True),
            rules=AccountsRequired(
                max_failures=max_failures,
                lockout_minutes=lockout_minutes,
                max_age_days=max_age_days,
                idle_minutes=idle_minutes,
                login_hours=login_hours,
            ),
        )
    show_event(event, "from now on everybody logs in", as_json)
