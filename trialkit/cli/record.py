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
    study: StudyOption,
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
    as_json: JsonOption = False,
) -> None:
    """Check every event and every head; exit status 4 and the place where it was altered."""
    from trialkit.errors import ChainBroken
    from trialkit.record.verification import read_kept, verify_record

    known = dict(_anchor(text) for text in anchors or [])
    kept = [read_kept(text) for text in against or []]
    with _reading(study) as record:
        report = verify_record(record, anchors=known, against=kept)
    emit(report.to_dict(), str(report), as_json=as_json)
    if not report.ok:
        raise typer.Exit(ChainBroken.exit_status)


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
    """Show the newest Merkle head of the record, to be kept elsewhere."""
    from trialkit.record.heads import head_text, newest_head
    from trialkit.record.kinds import HeadSigned
    from trialkit.record.verification import head_facts
    from trialkit.study import Study
    from trialkit.study.heads import sign_head

    if sign:
        with Study.open(study, actor=user) as opened:
            found = HeadSigned.model_validate(sign_head(opened).payload)
    else:
        with _reading(study) as record:
            found = newest_head(record)
    facts = head_facts(found)
    by = f"signed by {facts['signer']}, key {facts['fingerprint']}"
    text = (
        f"head over {found.size} events at {found.at}\nMerkle root {found.root}\n"
        f"last event  {found.chain}\n"
        f"{by if found.signature else 'unsigned: whoever acted has no key here'}"
    )
    _write(out, head_text(found))
    emit(facts | {"file": str(out) if out else None}, text, as_json=as_json)


def _write(path: Path | None, text: str) -> None:
    from trialkit._canonical import write_durably
    from trialkit.record.storage import storage_guard

    if path is not None:
        with storage_guard(str(path)):
            write_durably(path, text.encode())


def proof(
    study: StudyOption,
    seq: Annotated[int | None, typer.Argument(help="Number of an event to prove.")] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", help="An earlier head's file: prove that the record continues it."),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that an event is in the newest head, or that this continues an earlier head."""
    from trialkit.errors import UsageError
    from trialkit.record.heads import read_head, read_json
    from trialkit.record.proofs import prove_continuation, prove_event

    if (seq is None) == (since is None):
        raise UsageError("what is to be proved?", remedy="Give the number of an event, or --since.")
    with _reading(study) as record:
        if since is not None:
            made = prove_continuation(record, read_head(read_json(since), str(since)))
        else:
            made = prove_event(record, seq or 0)
    _write(out, made.text())
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
    as_json: JsonOption = False,
) -> None:
    """Write the whole audit trail, for programs (JSON lines) and for people (HTML or CSV)."""
    from trialkit.record.trail import write_readable

    shown = readable or path.with_suffix(".html")
    with _reading(study) as record:
        write_readable(record, shown)
        record.export(path)
        seq, digest = record.head
    data: dict[str, Any] = {"file": str(path), "readable": str(shown), "events": seq}
    text = f"{seq} events to {path} and, for people, {shown}; head {digest}"
    emit(data | {"head": digest}, text, as_json=as_json)
