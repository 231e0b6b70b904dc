"""Verbs of a study as a whole: ``init``, ``status``, ``user add``, ``record verify|export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("init")(init)
    app.command("status")(status)
    user = typer.Typer(no_args_is_help=True, help="People of a study.")
    user.command("add")(user_add)
    user.callback()(lambda: None)  # keeps a group of one verb a group
    app.add_typer(user, name="user", help="People of a study.")
    record = typer.Typer(no_args_is_help=True, help="The record of a study.")
    record.command("verify")(record_verify)
    record.command("export")(record_export)
    app.add_typer(record, name="record")


def init(
    folder: Annotated[Path, typer.Argument(help="The new folder.")],
    protocol: Annotated[
        list[str],
        typer.Option(
            "--protocol", help="A protocol file or the name of a shipped one; one an arm."
        ),
    ],
    plan: Annotated[
        str | None, typer.Option("--plan", help="A plan file or the name of a shipped one.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The printed name of the owner.")] = "",
    study_id: Annotated[
        str | None, typer.Option("--id", help="STUDYID; default: that of the trial.")
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Title; default: that of the trial.")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option("--seed", help="Seed of the allocation lists; for demonstrations only."),
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a study in a new folder; whoever does becomes its owner."""
    from trialkit._content import find_content
    from trialkit.study import Study
    from trialkit.study.files import login_name

    with Study.create(
        folder,
        protocols=[find_content("protocols", p) for p in protocol],
        plan=find_content("analyses", plan) if plan else None,
        actor=user or login_name(),
        name=name,
        study_id=study_id,
        title=title,
        seed=seed,
    ) as made:
        data = {
            "study": str(made.folder),
            "study_id": made.state.study_id,
            "owner": made.actor,
            "arms": [arm.code for arm in made.design.arms],
            "key_fingerprint": made.state.users[made.actor].fingerprint,
        }
    text = (
        f"study {data['study_id']} in {folder}: arms {', '.join(made.protocols)}\n"
        f"owner {data['owner']}, key {data['key_fingerprint']}\n"
        f"next: trialkit user add NAME --role ROLE --study {folder}"
    )
    emit(data, text, as_json=as_json)


def status(study: StudyOption, as_json: JsonOption = False) -> None:
    """Show counts, lock state and chain state; exit status 4 if the chain is broken."""
    from trialkit.errors import ChainBroken
    from trialkit.study import Study

    with Study.open(study, write=False) as opened:
        found = opened.status()
    emit(found.to_dict(), str(found), as_json=as_json)
    if not found.chain_ok:
        raise typer.Exit(ChainBroken.exit_status)


def user_add(
    name: Annotated[str, typer.Argument(help="The user name; never used twice.")],
    study: StudyOption,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="owner, coordinator, therapist, assessor, investigator, statistician or monitor.",
        ),
    ],
    printed: Annotated[str, typer.Option("--name", help="The printed name.")] = "",
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a person in one role; whoever may sign gets a key."""
    from trialkit.study import Study

    with Study.open(study, actor=user) as opened:
        opened.add_user(name, role=role, name=printed)
        added = opened.state.users[name]
    key = f", key {added.fingerprint}" if added.fingerprint else ""
    data = {"user": name, "role": role, "name": added.name, "key_fingerprint": added.fingerprint}
    emit(data, f"{name} ({added.name}) is {role}{key}", as_json=as_json)


def record_verify(
    study: StudyOption,
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchor", help="SEQ=HASH noted elsewhere, such as in a report; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every event of the record; exit status 4 and the place where it was altered."""
    from trialkit._clock import RealClock
    from trialkit.errors import ChainBroken
    from trialkit.record import Record
    from trialkit.study.files import RECORD

    known = dict(_anchor(text) for text in anchors or [])
    with Record.open(study / RECORD, write=False, clock=RealClock()) as record:
        report = record.verify(known)
    lines = [str(finding) for finding in report.findings]
    lines.append(
        f"{report.n} events, chain {'whole' if report.ok else 'BROKEN'}, head {report.head}"
    )
    emit(report.to_dict(), "\n".join(lines), as_json=as_json)
    if not report.ok:
        raise typer.Exit(ChainBroken.exit_status)


def _anchor(text: str) -> tuple[int, str]:
    from trialkit.errors import UsageError

    seq, _, digest = text.partition("=")
    if not seq.isdecimal() or len(digest) != 64:
        raise UsageError(f"{text!r} is no anchor.", remedy="Give SEQ=HASH with 64 hex digits.")
    return int(seq), digest.lower()


def record_export(
    path: Annotated[Path, typer.Argument(help="The file to write: one JSON object an event.")],
    study: StudyOption,
    as_json: JsonOption = False,
) -> None:
    """Write the whole record as JSON lines, each with the text of an event and its hash."""
    from trialkit._clock import RealClock
    from trialkit.record import Record
    from trialkit.study.files import RECORD

    with Record.open(study / RECORD, write=False, clock=RealClock()) as record:
        record.export(path)
        seq, digest = record.head
    data = {"file": str(path), "events": seq, "head": digest}
    emit(data, f"{seq} events to {path}, head {digest}", as_json=as_json)
