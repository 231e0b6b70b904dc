"""The verbs of the record: ``verify``, ``head``, ``proof``, ``check-proof`` and ``export``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialkit.cli._common import JsonOption, StudyOption, UserOption, emit

if TYPE_CHECKING:
    from trialkit.record import Record
    from trialkit.record.verification import RecordReport

OutOption = Annotated[Path | None, typer.Option("--out", help="Write it to this file.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The record of a study.")
    group.command("verify")(verify)
    group.command("head")(head)
    group.command("proof")(proof)
    group.command("check-proof")(check)
    group.command("export")(export)
    app.add_typer(group, name="record")


@contextmanager
def _reading(study: Path) -> Iterator[Record]:
    """Open the record alone: a study whose record was altered does not open."""
    from trialkit._clock import RealClock
    from trialkit.record import Record
    from trialkit.study.files import StudyFiles

    where = StudyFiles.read(study).store(study)
    with Record.open(where, write=False, clock=RealClock()) as record:
        yield record


def verify(
    export: Annotated[
        Path | None, typer.Argument(help="An export to check, instead of a study.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option("--study", "-s", envvar="TRIALKIT_STUDY", help="The study folder."),
    ] = None,
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchor", help="SEQ=HASH of an event, noted elsewhere; repeatable."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            help="What was kept elsewhere: a head's file, an export, or SIZE=ROOT; repeatable.",
        ),
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Say how many events and heads there are.")
    ] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every event and every head; exit status 4 and the place where it was altered.

    Anybody may check the record of a study. How many events it has tells how sessions went: only
    whoever may see allocations asks for counts, or compares it with what was kept elsewhere.
    """
    from trialkit.errors import ChainBroken, UsageError
    from trialkit.record.verification import export_rows, read_kept, verify_record, verify_rows
    from trialkit.study.cached import agrees
    from trialkit.study.files import StudyFiles

    known = dict(_anchor(text) for text in anchors or [])
    kept = [read_kept(text) for text in against or []]
    same: bool | None = None
    if export is not None:
        report = verify_rows(export_rows(export), anchors=known, against=kept)
    elif study is None:
        raise UsageError("what is to be checked?", remedy="Give an export, or --study.")
    else:
        counted = counts or bool(known) or bool(kept)
        if counted:
            _require_sight(study, user)
        with _reading(study) as record:
            report = verify_record(record, anchors=known, against=kept)
            if report.ok:
                same = agrees(record, StudyFiles.read(study).study_id)
    if export is not None or counted:
        data, text = report.to_dict(), str(report)
    else:
        data, text = _uncounted(report)
    if study is not None and export is None:
        data["kept_state"] = {None: "none", True: "agrees", False: "differed"}[same]
    if same is not None:
        told = "agrees with it" if same else "IS ANOTHER THAN IT GIVES, and was removed"
        text += f"\nthe state kept for a quick open {told}"
    emit(data, text, as_json=as_json)
    if not report.ok or same is False:
        raise typer.Exit(ChainBroken.exit_status)


def _require_sight(study: Path, user: str | None) -> None:
    """Refuse whoever may not see allocations; a record that was altered has nobody to ask."""
    from trialkit.errors import IntegrityError
    from trialkit.study import Study

    try:
        with Study.open(study, actor=user, write=False) as opened:
            opened.require("see_allocation", command="record_verify")
    except IntegrityError:
        return


def _uncounted(report: RecordReport) -> tuple[dict[str, Any], str]:
    """Return what anybody may be told of a record: whether it holds, and where it does not."""
    found = report.to_dict()
    data = {name: found[name] for name in ("ok", "head", "root", "findings")}
    data["has_head"] = report.newest is not None
    state = "intact" if report.ok else f"NOT INTACT ({len(report.findings)} findings)"
    lines = [*map(str, report.findings), f"{state}, last event {report.head}"]
    lines.append(f"Merkle root {report.root}")
    if report.newest is None:
        lines.append("no head is signed yet: a cut at the end or a fork could not be shown")
    return data, "\n".join(lines)


def _anchor(text: str) -> tuple[int, str]:
    from trialkit.errors import UsageError

    seq, _, digest = text.partition("=")
    if not seq.isdecimal() or len(digest) != 64:
        raise UsageError(f"{text!r} is no anchor.", remedy="Give SEQ=HASH with 64 hex digits.")
    return int(seq), digest.lower()


def head(
    study: StudyOption,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign a new head over every event so far.")
    ] = False,
    out: OutOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest Merkle head of the record, to be kept elsewhere; this is an event."""
    from trialkit.record.verification import head_facts
    from trialkit.study import Study
    from trialkit.study.exports import export_head

    with Study.open(study, actor=user, whole=sign) as opened:
        found = export_head(opened, out, sign=sign)
    facts = head_facts(found)
    by = f"signed by {facts['signer']}, key {facts['fingerprint']}"
    text = (
        f"head over {found.size} events at {found.at}\nMerkle root {found.root}\n"
        f"last event  {found.chain}\n"
        f"{by if found.signature else 'unsigned: whoever acted has no key here'}"
    )
    emit(facts | {"file": str(out) if out else None}, text, as_json=as_json)


def proof(
    study: StudyOption,
    seq: Annotated[int | None, typer.Argument(help="Number of an event to prove.")] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", help="An earlier head's file: prove that the record continues it."),
    ] = None,
    out: OutOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that an event is in the newest head, or that this continues an earlier head."""
    from trialkit.record.heads import read_head, read_json
    from trialkit.study import Study
    from trialkit.study.exports import export_proof

    first = read_head(read_json(since), str(since)) if since is not None else None
    with Study.open(study, actor=user) as opened:
        made = export_proof(opened, out, seq=seq, since=first)
    data = {
        "proves": made.proves,
        "size": made.head.size,
        "root": made.head.root,
        "path": made.path,
    }
    shown = f"{out}: {made.proves} in the head over {made.head.size} events" if out else made.text()
    emit(data | {"file": str(out) if out else None}, shown, as_json=as_json)


def check(
    path: Annotated[Path, typer.Argument(help="The file of a proof.")],
    key: Annotated[
        str | None, typer.Option(help="Fingerprint or public key that must have signed the head.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="A head kept elsewhere: its file, or SIZE=ROOT."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof without the study; exit status 4 where it does not hold."""
    from trialkit.errors import IntegrityError
    from trialkit.record.heads import read_json
    from trialkit.record.proofs import check_proof, read_proof
    from trialkit.record.verification import read_kept

    known = read_kept(against).heads if against else []
    report = check_proof(read_proof(read_json(path), str(path)), key, known)
    signer = f"signed by {report.signer}, key {report.fingerprint}"
    pinned = "" if key or known else " (compare key or root with what was told on another way)"
    lines = [
        f"{'holds' if report.ok else 'DOES NOT HOLD'}: {report.says}",
        f"Merkle root {report.root} over {report.size} events",
        (signer if report.signer else "the head is unsigned") + pinned,
        *(f"  {fault}" for fault in report.faults),
    ]
    emit(report.to_dict(), "\n".join(lines), as_json=as_json)
    if not report.ok:
        raise typer.Exit(IntegrityError.exit_status)


def export(
    path: Annotated[Path, typer.Argument(help="The file to write: one JSON object an event.")],
    study: StudyOption,
    readable: Annotated[
        Path | None,
        typer.Option("--readable", help="The form for people, .html or .csv; default: OUT.html."),
    ] = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole audit trail, for programs (JSON lines) and for people (HTML or CSV)."""
    from trialkit.study import Study
    from trialkit.study.exports import export_record

    shown = readable or path.with_suffix(".html")
    with Study.open(study, actor=user) as opened:
        given = export_record(opened, path, readable_path=shown).payload
    data: dict[str, Any] = {"file": str(path), "readable": str(shown), "events": given["size"]}
    text = f"{given['size']} events to {path} and, for people, {shown}; root {given['root']}"
    emit(data | {"root": given["root"], "sha256": given["files"]}, text, as_json=as_json)
