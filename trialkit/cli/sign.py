"""The verb ``sign``: electronic signatures."""

from __future__ import annotations

from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, show_event
from trialkit.cli._secret import StdinOption, ask


def register(app: typer.Typer) -> None:
    """Add the verb to `app`."""
    app.command("sign")(sign)


def sign(
    study: StudyOption,
    what: Annotated[
        str | None,
        typer.Argument(
            help="form:USUBJID/VISIT/CODE, session:ID, casebook:USUBJID, plan, snapshot:ID "
            "or report:N (N is the event that rendered it)."
        ),
    ] = None,
    meaning: Annotated[
        str | None, typer.Option("--meaning", help="What it says, such as reviewed or approved.")
    ] = None,
    signer: Annotated[
        str | None,
        typer.Option("--signer", help="The user name: needed at the first signature of a sitting."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the signatures, and which are broken.")
    ] = False,
    password_stdin: StdinOption = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a part of the record with a password, or list the signatures."""
    from trialkit.errors import UsageError
    from trialkit.study import Study, signing

    if listed:
        with Study.open(study, actor=user, write=False) as opened:
            found = signing.signatures(opened, what)
        text = "\n".join(str(signed) for signed in found) or "no signatures"
        emit({"signatures": [signed.to_dict() for signed in found]}, text, as_json=as_json)
        return
    if what is None or meaning is None:
        raise UsageError("what is signed, and as what?", remedy="Give WHAT and --meaning.")
    with Study.open(study, actor=user) as opened:
        password = ask(f"password of {opened.actor}", stdin=password_stdin, automated=True)
        event = signing.sign(opened, what, meaning, password=password, signer=signer)
    p = event.payload
    show_event(event, f"{what} signed by {p['name']}, {p['at']}: {p['meaning']}", as_json)
