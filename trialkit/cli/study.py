"""Verbs of a study as a whole: ``init`` and ``status``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    app.command("init")(init)
    app.command("status")(status)


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
    database: Annotated[
        str | None,
        typer.Option("--database", help="URL of an empty PostgreSQL database for the record."),
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
        database=database,
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
        f"next: trialkit users add NAME --role ROLE --study {folder}"
    )
    emit(data, text, as_json=as_json)


def status(
    study: StudyOption,
    whole: Annotated[
        bool, typer.Option("--whole", help="Check every event, also those of the last open.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show counts, lock state and chain state; exit status 4 if the chain is broken."""
    from trialkit.errors import ChainBroken
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False, whole=whole) as opened:
        found = opened.status(whole=whole)
    emit(found.to_dict(), str(found), as_json=as_json)
    if not found.chain_ok:
        raise typer.Exit(ChainBroken.exit_status)
