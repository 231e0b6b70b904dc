"""The verbs of sites that work offline: ``sync site``, ``push``, ``serve`` and ``take``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialkit.cli._common import JsonOption, UserOption, emit, note

if TYPE_CHECKING:
    from trialkit.study.sync.push import Pushed

StudyArgument = Annotated[Path, typer.Argument(help="The study folder of the centre.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Sites that work offline.")
    group.command("site")(site)
    group.command("push")(push)
    group.command("serve")(serve)
    group.command("take")(take)
    group.command("status")(status)
    app.add_typer(group, name="sync")


def site(
    study: StudyArgument,
    name: Annotated[str, typer.Option("--site", help="The site.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder: the study of the site.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the study folder of a site; from here on the site keeps a chain of its own."""
    from trialkit.study import Study
    from trialkit.study.sync.site import open_site

    with Study.open(study, actor=user) as opened:
        event = open_site(opened, name, out)
    text = (
        f"{out}: the study of site {name}; bring it there, and keep no copy\n"
        f"key of the site {event.payload['fingerprint']}"
    )
    emit({"folder": str(out), "event": event.seq, **event.payload}, text, as_json=as_json)


def push(
    folder: Annotated[Path, typer.Argument(help="The study folder of the site.")],
    to: Annotated[str, typer.Option("--to", help="https://HOST:PORT of the centre, or a folder.")],
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Certificate of the centre's authority.")
    ] = None,
    tries: Annotated[
        int, typer.Option("--tries", min=1, help="How often in a row it may fail.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Send the centre what it does not have yet; may be broken off and repeated at any time."""
    from trialkit.study.sync.client import HttpCentre
    from trialkit.study.sync.drop import write_drop
    from trialkit.study.sync.push import FolderSource
    from trialkit.study.sync.push import push as send

    with FolderSource(folder) as source:
        if "://" not in to:
            last = write_drop(source, Path(to))
            text = f"{to}: site {source.site} up to event {last}; take it up at the centre"
            emit({"site": source.site, "last": last, "folder": to}, text, as_json=as_json)
            return
        with HttpCentre(to, folder, source.site, ca) as centre:
            _show(send(source, centre, tries=tries), as_json)


def _show(done: Pushed, as_json: bool) -> None:
    text = (
        f"site {done.site}: {done.events} events and {done.sessions} sessions taken up; the centre "
        f"has {done.last} events, {done.hash[:16]}; its own head is event {done.centre}, "
        f"{done.centre_hash[:16]}"
    )
    emit(asdict(done), text, as_json=as_json)


def serve(
    study: StudyArgument,
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT.")],
    cert: Annotated[Path | None, typer.Option("--cert", help="Certificate chain, PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its private key, PEM.")] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take up what sites push, until the process is told to end."""
    import sys

    from trialkit.errors import UsageError
    from trialkit.study import Study
    from trialkit.study.sync.server import serve as run

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{listen!r} is no address.", remedy="Give HOST:PORT.")
    with Study.open(study, actor=user) as opened:
        study_id = opened.state.study_id

        def ready(url: str) -> None:
            if as_json:
                emit({"study": study_id, "url": url}, "", as_json=True)
                sys.stdout.flush()
            note(f"serving {study_id} at {url}")

        run(
            opened,
            host.strip("[]"),
            int(port),
            cert=cert,
            key=key,
            ready=ready,
        )


def take(
    study: StudyArgument,
    drop: Annotated[Path, typer.Argument(help="The folder that a site wrote.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take up what a site wrote into a folder, such as on a stick."""
    from trialkit.study import Study
    from trialkit.study.sync.drop import take_drop

    with Study.open(study, actor=user) as opened:
        _show(take_drop(opened, drop), as_json)


def status(study: StudyArgument, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Show how far the chain of each site was received, and what is still to come."""
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        opened.require("see_progress" if not opened.may("sync") else "sync", command="sync_status")
        rows = [
            {
                "site": chain.site,
                "last": chain.last,
                "hash": chain.hash,
                "received_at": chain.received_at,
                "sessions": len(chain.received),
                "missing": sorted(chain.sealed),
                "refused": len(chain.refused),
            }
            for chain in opened.state.chains.values()
        ]
    lines = [
        f"site {row['site']}: {row['last']} events, {row['sessions']} sessions, last received "
        f"{row['received_at'] or 'never'}; sessions to come {row['missing'] or 'none'}; "
        f"refused {row['refused']}"
        for row in rows
    ]
    emit({"sites": rows}, "\n".join(lines) or "no site keeps its own chain", as_json=as_json)
