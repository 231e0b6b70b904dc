"""The verbs of sites that work offline: ``sync site``, ``push``, ``serve``, ``take``, ``status``.

How many events or sessions there are tells how sessions went, and so an arm: counts are shown
only to whoever may see allocations.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note

if TYPE_CHECKING:
    from trialkit.study.sync.push import Pushed


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
    study: StudyOption,
    name: Annotated[str, typer.Option("--site", help="The site.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder: the study of the site.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the study folder of a site; from here on the site keeps a chain of its own."""
    from trialkit.study import Study
    from trialkit.study.sync.site import open_site

    with Study.open(study, actor=user) as opened:
        made = open_site(opened, name, out).payload
    data = {k: made[k] for k in ("site", "number", "genesis", "public_key")}
    text = f"{out}: the study of site {name}; bring it there, and keep no copy"
    emit({"folder": str(out), **data}, text, as_json=as_json)


def push(
    folder: Annotated[Path, typer.Argument(help="The study folder of the site.")],
    to: Annotated[str, typer.Option("--to", help="https://HOST:PORT of the centre, or a folder.")],
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Certificate of the centre's authority.")
    ] = None,
    tries: Annotated[
        int, typer.Option("--tries", min=1, help="How often in a row it may fail.")
    ] = 5,
    counts: Annotated[
        bool, typer.Option("--counts", help="Say how many events and sessions were sent.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the centre what it does not have yet; may be broken off and repeated at any time.

    It needs no login. Only whoever may see allocations asks for counts.
    """
    from trialkit.study import Study
    from trialkit.study.sync.client import HttpCentre
    from trialkit.study.sync.drop import write_drop
    from trialkit.study.sync.push import FolderSource
    from trialkit.study.sync.push import push as send

    if counts:
        with Study.open(folder, actor=user, write=False) as opened:
            opened.require("see_allocation", command="push_counts")
    with FolderSource(folder) as source:
        if "://" not in to:
            last = write_drop(source, Path(to))
            data: dict[str, Any] = {"site": source.site, "folder": to}
            text = f"{to}: what site {source.site} has; take it up at the centre"
            emit(data | ({"last": last} if counts else {}), text, as_json=as_json)
            return
        with HttpCentre(to, folder, source.site, ca) as centre:
            _show(send(source, centre, tries=tries), counts, as_json)


def _show(done: Pushed, counts: bool, as_json: bool) -> None:
    data: dict[str, Any] = {"site": done.site, "broken_off": done.broken_off}
    text = f"the centre has everything of site {done.site}"
    if counts:
        data = asdict(done)
        text += (
            f": {done.last} events, {done.hash[:16]}; {done.events} events and {done.sessions} "
            f"sessions of them now; its own head is event {done.centre}, {done.centre_hash[:16]}"
        )
    emit(data, text, as_json=as_json)


def serve(
    study: StudyOption,
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT.")],
    cert: Annotated[Path | None, typer.Option("--cert", help="Certificate chain, PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its private key, PEM.")] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take up what sites push, until the process is told to end."""
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

        run(opened, host.strip("[]"), int(port), cert=cert, key=key, ready=ready)


def take(
    drop: Annotated[Path, typer.Argument(help="The folder that a site wrote.")],
    study: StudyOption,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take up what a site wrote into a folder, such as on a stick."""
    from trialkit.study import Study
    from trialkit.study.sync.drop import take_drop

    with Study.open(study, actor=user) as opened:
        done = take_drop(opened, drop)
        _show(done, opened.may("see_allocation"), as_json)


def status(study: StudyOption, user: UserOption = None, as_json: JsonOption = False) -> None:
    """Show when the chain of each site was last received, and what was refused."""
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        if not opened.may("see_progress"):
            opened.require("sync", command="sync_status")
        counts = opened.may("see_allocation")
        rows = []
        for chain in opened.state.chains.values():
            row: dict[str, Any] = {
                "site": chain.site,
                "received_at": chain.received_at or None,
                "refused": len(chain.refused),
                "hash": chain.hash,
            }
            if counts:
                row |= {
                    "events": chain.last,
                    "sessions": len(chain.received),
                    "missing": sorted(chain.sealed),
                }
            rows.append(row)
    lines = []
    for row in rows:
        text = f"site {row['site']}: last received {row['received_at'] or 'never'}"
        text += f", refused {row['refused']} times" if row["refused"] else ""
        if counts:
            text += f"; {row['events']} events, {row['sessions']} sessions"
            text += f", {', '.join(row['missing'])} to come" if row["missing"] else ""
        lines.append(text)
    emit({"sites": rows}, "\n".join(lines) or "no site keeps its own chain", as_json=as_json)
