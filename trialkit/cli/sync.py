"""The verbs of sites that work offline, and of home devices: ``sync site``, ``push`` ...

How many events or sessions there are tells how sessions went, and so an arm, and who has a home
device is in the arm with the device: both are shown only to whoever may see allocations.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note

if TYPE_CHECKING:
    from trialkit.record.state import ChainState
    from trialkit.study.sync.push import Pushed


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Sites that work offline, and home devices.")
    group.command("site")(site)
    group.command("push")(push)
    group.command("serve")(serve)
    group.command("take")(take)
    group.command("status")(status)
    group.command("device")(device)
    group.command("end")(end)
    group.command("return")(take_back)
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
    folder: Annotated[Path, typer.Argument(help="The study folder of the site or home device.")],
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
    from trialkit.record.received import called
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
            text = f"{to}: what {called(source.site)} has; take it up at the centre"
            emit(data | ({"last": last} if counts else {}), text, as_json=as_json)
            return
        with HttpCentre(to, folder, source.site, ca) as centre:
            _show(send(source, centre, tries=tries), counts, as_json)


def _show(done: Pushed, counts: bool, as_json: bool) -> None:
    data: dict[str, Any] = {"site": done.site, "broken_off": done.broken_off}
    from trialkit.record.received import called

    text = f"the centre has everything of {called(done.site)}"
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
    drop: Annotated[Path, typer.Argument(help="The folder that a site or home device wrote.")],
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
    """Show when each chain was last received, and what was refused.

    Home devices are shown to whoever may see allocations.
    """
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        if not opened.may("see_progress"):
            opened.require("sync", command="sync_status")
        counts = opened.may("see_allocation")
        chains = list(opened.state.chains.values())
    sites = [chain for chain in chains if chain.usubjid is None]
    devices = [chain for chain in chains if chain.usubjid is not None and counts]
    data = {"sites": [_row(chain, counts) for chain in sites]}
    if counts:
        data["devices"] = [_row(chain, counts) for chain in devices]
    lines = [_line(chain, counts) for chain in [*sites, *devices]]
    emit(data, "\n".join(lines) or "no site keeps its own chain", as_json=as_json)


def _row(chain: ChainState, counts: bool) -> dict[str, Any]:
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
    if chain.usubjid is not None:
        del row["site"]
        row |= {"chain": chain.site, "participant": chain.usubjid}
        row |= {"ended": chain.state.ended, "returned": chain.returned}
    return row


def _line(chain: ChainState, counts: bool) -> str:
    text = f"{chain.called}: last received {chain.received_at or 'never'}"
    text += f", refused {len(chain.refused)} times" if chain.refused else ""
    if counts:
        text += f"; {chain.last} events, {len(chain.received)} sessions"
        text += f", {', '.join(sorted(chain.sealed))} to come" if chain.sealed else ""
    if chain.usubjid is not None:
        where = "taken back" if chain.returned else "ended" if chain.state.ended else "out"
        text += f"; {chain.usubjid}, {where}"
    return text


def device(
    study: StudyOption,
    usubjid: Annotated[str, typer.Option("--participant", "-p", help="USUBJID.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder: the study of the device.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the study folder of a home device; the participant's sessions are run there."""
    from trialkit.study import Study
    from trialkit.study.sync.device import hand_over_device

    with Study.open(study, actor=user) as opened:
        made = hand_over_device(opened, usubjid, out).payload
    data = {k: made[k] for k in ("chain", "number", "genesis", "public_key")}
    text = f"{out}: the study of home device {made['chain']}; put it there, and keep no copy"
    emit({"folder": str(out), "participant": usubjid, **data}, text, as_json=as_json)


def end(
    folder: Annotated[Path, typer.Argument(help="The study folder of the home device.")],
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the chain of a home device, before its last push; no session is run there after it."""
    from trialkit.study import Study
    from trialkit.study.sync.device import end_device

    with Study.open(folder, actor=user) as opened:
        ended = end_device(opened)
        name = opened.state.site
    data = {"chain": name, "last": ended.seq, "hash": ended.hash}
    emit(data, f"home device {name} has ended: push it, then take it back", as_json=as_json)


def take_back(
    study: StudyOption,
    usubjid: Annotated[str, typer.Option("--participant", "-p", help="USUBJID.")],
    lost: Annotated[
        str | None, typer.Option("--lost", help="Why the device, or what it holds, is lost.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a home device back at the centre; the participant's sessions are run there again."""
    from trialkit.study import Study
    from trialkit.study.sync.device import take_back_device

    with Study.open(study, actor=user) as opened:
        event = take_back_device(opened, usubjid, lost=lost)
    done = event.payload
    text = f"home device {done['chain']} is taken back; sessions of {usubjid} are run here"
    for what, said in (("missing", "telemetry of"), ("unfinished", "the end of")):
        text += f"; {said} {', '.join(done[what])} was not received" if done[what] else ""
    emit({"participant": usubjid, **done}, text, as_json=as_json)
