"""The verbs of devices: ``list``, ``used``, ``describe``, ``check``, ``verify``, ``recording``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit, note

if TYPE_CHECKING:
    from device_interface.conformance import Check, KitResult, Outcome
    from trialkit.record.kinds import Signature
    from trialkit.record.sign import KeyStore
    from trialkit.study import Study

MEANING = "conformance"
_FAILED = 3
_FOLDER = "devices"
_SHOWN = {"passed": "passed", "failed": "FAILED", "not_applicable": "n/a"}

NameArgument = Annotated[str, typer.Argument(help="Driver, by name or as module:Class.")]
OptionOption = Annotated[
    list[str] | None, typer.Option("--option", help="NAME=VALUE for the driver; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Look at devices and check their drivers.")
    app.add_typer(group, name="device")
    group.command("list")(list_verb)
    group.command("used")(used)
    group.command("describe")(describe)
    group.command("check")(check)
    group.command("verify")(verify)
    group.command("recording")(recording)


def list_verb(as_json: JsonOption = False) -> None:
    """List the drivers that are installed, and the packages that they come from."""
    from device_interface import device_names
    from device_interface.conformance.report import package_of

    rows = [(name, *package_of(name)) for name in device_names()]
    data = [{"name": n, "package": p, "package_version": v} for n, p, v in rows]
    text = "\n".join(f"{n}  ({p} {v})" for n, p, v in rows)
    emit({"drivers": data}, text or "No driver is installed.", as_json=as_json)


def used(
    study: StudyOption,
    site: Annotated[
        str | None, typer.Option("--site", help="Only sessions of participants of this site.")
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices of a study's sealed sessions, with first and last use."""
    from trialkit.session import list_devices
    from trialkit.study import Study

    with Study.open(study, actor=user, write=False) as opened:
        rows = list_devices(opened, site=site)
    lines = [
        f"{d.vendor} {d.model}, serial {d.serial or '-'}, firmware {d.firmware or '-'}, "
        f"calibrated {d.calibrated_on or 'on no day that it tells'}"
        f"{' (simulated)' if d.simulated else ''}\n"
        f"  sites {', '.join(d.sites)}; {d.first_at[:10]} to {d.last_at[:10]}; "
        f"{len(d.sessions)} sessions, {d.checked} with a conformance record\n"
        f"  {' '.join(d.sessions)}"
        for d in rows
    ]
    text = "\n".join([*lines, f"{len(rows)} devices"])
    emit({"devices": [d.to_dict() for d in rows], "count": len(rows)}, text, as_json=as_json)


def describe(name: NameArgument, option: OptionOption = None, as_json: JsonOption = False) -> None:
    """Print the descriptor of a device: identity, parameters, faults, channels."""
    from device_interface import load_driver
    from trialkit.cli._pairs import pairs

    own = load_driver(name, pairs("--option", option or [])).describe()
    lines = [f"{key}: {value}" for key, value in own.identity().items()]
    lines += ["", "parameters"]
    lines += [
        f"  {p.name}: {p.minimum:g} to {p.maximum:g} {p.unit}, {p.rate_per_s:g} per s"
        for p in own.parameters
    ]
    lines += ["", "faults"]
    lines += [f"  {f.code:>5} {f.kind} ({f.reaction}): {f.text}" for f in own.faults]
    for stream in own.streams:
        rate = f"{stream.rate_hz:g} Hz" if stream.rate_hz else "one row a stride"
        lines += ["", f"stream {stream.name}, {rate}"]
        lines += [
            f"  {c.name}: {c.minimum:g} to {c.maximum:g} {c.unit}; positive: {c.positive}"
            for c in stream.channels
        ]
    emit(own.to_dict(), "\n".join(lines), as_json=as_json)


def check(
    name: NameArgument,
    option: OptionOption = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="Only this group; may be repeated.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what takes real seconds or minutes.")
    ] = False,
    soak_s: Annotated[
        float | None,
        typer.Option(help="Length of the soak, s; default 2700 in lockstep, else 60."),
    ] = None,
    at_once: Annotated[
        int, typer.Option(min=1, max=16, help="Simulated devices to check at the same time.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Write the record here (with --study also there).")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option("--study", "-s", envvar="TRIALKIT_STUDY", help="Keep the record in a study."),
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the conformance kit on a device and write a record of it; exit 3 if anything fails.

    The device moves: nobody may be in it. With --study, or where --as has a key, the record is
    signed; else it has a hash only, which shows an accident and not a forgery.
    """
    from contextlib import ExitStack

    from device_interface.conformance import record_of, run_kit
    from trialkit.cli._pairs import pairs
    from trialkit.record.sign import KeyStore
    from trialkit.study import Study

    options = pairs("--option", option or [])
    with ExitStack() as stack:
        opened = None
        if study is not None:
            opened = stack.enter_context(Study.open(study, actor=user))
            opened.require("session")
        result = run_kit(
            name,
            options,
            groups=group or None,
            quick=quick,
            soak_s=soak_s,
            at_once=at_once,
            progress=_progress,
        )
        record = record_of(result)
        if opened is not None:
            whole = _signed(
                record, opened.keys, opened.actor, opened.state.users[opened.actor].name
            )
            files = [_keep(opened, record, whole)]
        else:
            whole = _signed(record, KeyStore(), user, user or "")
            files = []
        if out is not None:
            _write(out, whole)
            files.append(out)
    if not as_json:
        _print(result)
    signed = _signed_by(whole)
    written = "\n".join([*(str(f) for f in files), signed]) if files else signed
    data = {**whole, "files": [str(f) for f in files]}
    emit(data, f"{_summary(result)}\n{written}", as_json=as_json)
    if result.failed:
        raise typer.Exit(_FAILED)


def verify(
    file: Annotated[Path, typer.Argument(help="A record that `trialkit device check` wrote.")],
    key: Annotated[
        str | None, typer.Option(help="Fingerprint of the key that must have signed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether a record of a check is as it was written, and who signed it; exit 4 if not."""
    from device_interface.conformance import read_record
    from trialkit.errors import IntegrityError
    from trialkit.record import sign
    from trialkit.record.kinds import Signature

    whole = read_record(file)
    if whole.get("signature") is not None:
        try:
            signature = Signature.model_validate(whole["signature"])
        except ValueError as error:
            raise IntegrityError(f"{file}: no signature.", remedy="Check it anew.") from error
        if signature.meaning != MEANING or not sign.verify(signature, whole["digest"]):
            raise IntegrityError(
                f"{file}: the signature does not fit.", remedy="Restore it from a copy."
            )
    found = (whole.get("signature") or {}).get("fingerprint")
    if key is not None and found != key:
        raise IntegrityError(
            f"{file}: signed by {found or 'nobody'}, not by {key}.", remedy="Ask who wrote it."
        )
    record = whole["record"]
    data = {
        "intact": True,
        "signed": found is not None,
        "fingerprint": found,
        "device": record["device"],
        "summary": record["summary"],
    }
    counts = ", ".join(f"{n} {_SHOWN[v]}" for v, n in record["summary"].items())
    emit(data, f"{record['driver']['name']}: {counts}\n{_signed_by(whole)}", as_json=as_json)


def recording(
    file: Annotated[
        str, typer.Argument(help="CSV, C3D or XDF file, or telemetry/<session> once sealed.")
    ],
    mapping: Annotated[
        str | None, typer.Option("--mapping", "-m", help="Name of a mapping, or a YAML file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the streams of a recording and count what is wrong in it; exit 3 if anything is."""
    from device_interface.registry import driver_entry
    from trialkit.errors import UnknownName

    entry = driver_entry("replay")
    if entry is None:
        raise UnknownName("the driver 'replay' is not installed.", remedy="Install trialkit.")
    found = entry.load().read(file, mapping).to_dict()
    lines = [f"{found['source']}: {found['format']}, {found['vendor']} {found['model']}"]
    lines += [*found["notes"], *(f"left out: {one}" for one in found["left_out"])]
    for stream in found["streams"]:
        lines += ["", f"stream {stream['stream']}: {stream['rows']} rows"]
        times = ("rate_hz", "host_rate_hz", "device_rate_hz", "host_span_s", "device_span_s")
        shown = {k: stream.get(k) for k in (*times, "device_span_naive_s")}
        lines += [f"  {key}: {value:g}" for key, value in shown.items() if value is not None]
        lines += [f"  channels: {', '.join(name for name, _ in stream['channels'])}"]
        lines += [f"  counted {what}: {_count(n)}" for what, n in stream["counts"].items()]
    emit(found, "\n".join(lines), as_json=as_json)
    if found["counted"]:
        raise typer.Exit(_FAILED)


def _count(n: int | list[str] | dict[str, int]) -> str:
    if isinstance(n, dict):
        return ", ".join(f"{name} {each}" for name, each in n.items())
    return ", ".join(n) if isinstance(n, list) else str(n)


def _signed(record: dict[str, Any], keys: KeyStore, user: str | None, name: str) -> dict[str, Any]:
    """Return record, digest and, where `user` has a key, the signature."""
    from trialkit._canonical import sha256_json

    digest = sha256_json(record)
    signature: Signature | None = None
    if user and keys.has(user):
        signature = keys.sign(user, name or user, MEANING, digest)
    shown = signature.model_dump() if signature is not None else None
    return {"record": record, "digest": digest, "signature": shown}


def _signed_by(whole: dict[str, Any]) -> str:
    signature = whole.get("signature")
    if signature is None:
        return "Unsigned: the hash shows an accident, not a forgery."
    return f"Signed by {signature['signer']}, key fingerprint {signature['fingerprint']}."


def _write(path: Path, whole: dict[str, Any]) -> None:
    from trialkit._canonical import canonical_json, write_durably
    from trialkit.record.storage import storage_guard

    with storage_guard(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, (canonical_json(whole) + "\n").encode())


def _keep(study: Study, record: dict[str, Any], whole: dict[str, Any]) -> Path:
    """Write the record into the study and append its event."""
    from trialkit.record.kinds import DeviceChecked

    file = f"{_FOLDER}/{whole['digest'][:16]}.json"
    path = study.folder / file
    _write(path, whole)
    checks = record["checks"]
    study.append(
        DeviceChecked(
            driver=record["driver"]["name"],
            package=record["driver"]["package"],
            package_version=record["driver"]["package_version"],
            device=record["device"] or {},
            descriptor_sha256=record["descriptor_sha256"] or "",
            kit=record["kit"]["version"],
            groups=list(dict.fromkeys(c["id"].partition(".")[0] for c in checks)),
            quick=record["quick"],
            **record["summary"],
            failures=[c["id"] for c in checks if c["verdict"] == "failed"],
            file=file,
            digest=whole["digest"],
            fingerprint=(whole["signature"] or {}).get("fingerprint"),
        )
    )
    return path


def _progress(one: Check, outcome: Outcome | None) -> None:
    if outcome is None and sys.stderr.isatty():
        note(one.id)


def _summary(result: KitResult) -> str:
    seconds = (result.ended - result.started).total_seconds()
    counts = ", ".join(f"{result.count(v)} {_SHOWN[v]}" for v in _SHOWN)
    return f"{result.name}: {len(result.outcomes)} checks in {seconds:.0f} s: {counts}"


def _print(result: KitResult) -> None:
    """Print one line a check, the groups as sections."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from device_interface.conformance import GROUPS

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right")
    table.add_column("observed", overflow="fold")
    for group in GROUPS:
        own = [o for o in result.outcomes if o.check.group == group.name]
        if not own:
            continue
        table.add_section()
        table.add_row(group.title, "", f"{sum(o.seconds for o in own):.1f}", "", style="bold")
        for o in own:
            style = {"failed": "red", "not_applicable": "dim"}.get(o.verdict)
            text = o.observed if o.verdict != "failed" else f"{o.observed}\n{o.check.requirement}"
            name = f"  {o.check.id.partition('.')[2]}"
            table.add_row(name, _SHOWN[o.verdict], f"{o.seconds:.1f}", text, style=style)
    Console(markup=False, highlight=False).print(table)
