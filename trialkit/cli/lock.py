"""The verbs ``freeze``, ``lock-data`` and ``unlock-data``."""

from __future__ import annotations

from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, show_event

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("freeze")(freeze)
    app.command("lock-data")(lock_data)
    app.command("unlock-data")(unlock_data)


def freeze(
    study: StudyOption,
    usubjid: Annotated[
        str | None, typer.Argument(metavar="USUBJID", help="The participant.")
    ] = None,
    visit: Annotated[str | None, typer.Option("--visit", help="This visit alone.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All data of the study.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Lift the freeze again; needs a reason.")
    ] = False,
    reason: ReasonOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze data: queries go on, entries and corrections are refused."""
    from trialkit.errors import UsageError
    from trialkit.study import Study, datalock
    from trialkit.study.holds import scope_text

    if everything == (usubjid is not None or visit is not None):
        raise UsageError("what is meant?", remedy="Give USUBJID, --visit or both, or --all.")
    with Study.open(study, actor=user) as opened:
        if release:
            event = datalock.release(opened, usubjid, visit=visit, reason=reason or "")
        else:
            event = datalock.freeze(opened, usubjid, visit=visit, reason=reason)
    done = "released" if release else "frozen"
    show_event(event, f"{scope_text(usubjid, visit)}: {done}", as_json)


def lock_data(
    study: StudyOption,
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock all data, and sign a head of the record over them."""
    from trialkit.study import Study, datalock

    with Study.open(study, actor=user, whole=True) as opened:
        event = datalock.lock_data(opened, reason=reason)
        head = opened.state.last_head or {}
    root = str(head.get("root", ""))
    show_event(event, f"the data are locked; Merkle root {root[:16]}", as_json, merkle_root=root)


def unlock_data(
    study: StudyOption,
    request: Annotated[
        bool, typer.Option("--request", help="Ask for it, with a reason; prints a number.")
    ] = False,
    approve: Annotated[
        str | None, typer.Option("--approve", help="Agree to the request of another person.")
    ] = None,
    reason: ReasonOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Unlock the data: asked for by one person, agreed to by another."""
    from trialkit.errors import UsageError
    from trialkit.study import Study, datalock

    if request == (approve is not None):
        raise UsageError("what is meant?", remedy="Give --request, or --approve NUMBER.")
    with Study.open(study, actor=user) as opened:
        if approve is not None:
            event = datalock.approve_unlock(opened, approve, reason=reason)
            text = "the data are unlocked"
        else:
            event = datalock.request_unlock(opened, reason=reason or "")
            text = f"request {event.payload['request']} waits for another person"
    show_event(event, text, as_json)
