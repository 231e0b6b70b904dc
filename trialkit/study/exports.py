"""What leaves the record in files: the whole trail, proofs and heads; each export is an event.

All of them tell arms: sessions on a device are named in the trail, and how many events a head
counts says how a session went. So they need the permission ``export``, for all sites. Files about
one participant are an event too (`give_file`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from trialkit._canonical import durable_stream
from trialkit.errors import UsageError
from trialkit.record.chain import Event
from trialkit.record.heads import head_text, newest_head
from trialkit.record.kinds import HeadSigned, Payload, RecordExported
from trialkit.record.merkle import CompactRange, leaf_hash
from trialkit.record.proofs import Proof, prove_continuation, prove_event
from trialkit.record.storage import storage_guard
from trialkit.record.trail import READABLE, export_line, readable
from trialkit.study.asking import EVERY_SITE
from trialkit.study.commands import command
from trialkit.study.heads import sign_head
from trialkit.study.study import Study


@command("export", atomic=False)
def export_record(study: Study, path: Path, *, readable_path: Path | None = None) -> Event:
    """Write the whole audit trail: for programs (JSON lines), and for people (HTML or CSV).

    Both files hold the events that the record had at the beginning, and not the event of their
    export, which has their hashes. They appear after it was recorded.

    Parameters
    ----------
    path : Path
        One JSON object an event: ``{"body": text, "hash": hex}``.
    readable_path : Path or None
        Ends in ``.html`` or ``.csv``; None writes only `path`.

    Returns
    -------
    Event
        ``record.exported``: number of events, Merkle root, SHA-256 of each file.

    Raises
    ------
    NotPermitted
        Unless the person may export, for all sites; the refusal is an event.
    UsageError
        If the name of `readable_path` ends otherwise.
    ChainBroken
        If an event is not the one that was stored.
    StorageRefused
        If the disk or the record refused; no part of a file was kept.
    """
    _for_every_site(study, "export_record")
    if readable_path is not None and readable_path.suffix not in READABLE:
        raise UsageError(f"{readable_path}: not .html and not .csv.", remedy="Name the file so.")
    size, digest = study.record.head
    tree = CompactRange()
    with ExitStack() as stack:
        lines = stack.enter_context(_hashed(path))
        for row in study.record.rows():
            if row.seq > size:
                break
            tree.append(leaf_hash(row.body))
            lines.write(export_line(row))
        files = {"jsonl": lines}
        if readable_path is not None:
            files[readable_path.suffix[1:]] = shown = stack.enter_context(_hashed(readable_path))
            shown.write_all(readable(study.record, readable_path, size, digest))
        return study.append(
            RecordExported(
                what="record",
                size=size,
                root=tree.root().hex(),
                files={name: file.sha256 for name, file in files.items()},
            )
        )


@command("export", atomic=False)
def export_proof(
    study: Study,
    path: Path | None = None,
    *,
    seq: int | None = None,
    since: HeadSigned | None = None,
) -> Proof:
    """Return the proof that event `seq` is in the newest head, or that this continues `since`.

    Parameters
    ----------
    path : Path or None
        Where to write it as JSON.

    Raises
    ------
    NotPermitted
        Unless the person may export, for all sites; the refusal is an event.
    UsageError
        Unless one of `seq` and `since` is given.
    OutOfRange, OutOfOrder
        See `trialkit.record.proofs`.
    """
    _for_every_site(study, "export_proof")
    if since is not None and seq is None:
        made = prove_continuation(study.record, since)
    elif seq is not None and since is None:
        made = prove_event(study.record, seq)
    else:
        raise UsageError("what is to be proved?", remedy="Give the number of an event, or a head.")
    _give(study, "proof", made.head, made.text(), path)
    return made


@command("export", atomic=False)
def export_head(study: Study, path: Path | None = None, *, sign: bool = False) -> HeadSigned:
    """Return the newest head of the record, or with `sign` a new one over every event so far.

    Parameters
    ----------
    path : Path or None
        Where to write it as JSON.

    Raises
    ------
    NotPermitted
        Unless the person may export, for all sites; the refusal is an event.
    OutOfOrder
        If there is no head yet.
    """
    _for_every_site(study, "export_head")
    if sign:
        sign_head(study)
    head = newest_head(study.record)
    _give(study, "head", head, head_text(head), path)
    return head


def require_export(study: Study, name: str, usubjid: str | None) -> None:
    """Refuse whoever may not export, where the study demands to know who acts.

    Elsewhere it is enough to hold what the command itself asks for.

    Raises
    ------
    NotPermitted
        The refusal is an event.
    """
    if study.state.accounts is not None:
        study.require("export", command=name, subject=usubjid)


def give_file(
    study: Study, path: Path, data: bytes, made: Callable[[str], Payload], usubjid: str
) -> None:
    """Write what leaves the study as one file, which appears after its event was recorded.

    Parameters
    ----------
    made : callable
        Takes the SHA-256 of the file and returns the payload of the event.
    usubjid : str
        The participant whom it is about: the subject of the event, unless a site that works
        offline keeps everything about them.

    Raises
    ------
    StorageRefused
        If the disk or the record refused; no part of the file was kept.
    """
    there = study.participant(usubjid).site in study.state.chains
    with _hashed(path) as stream:
        stream.write(data)
        study.append(made(stream.sha256), subject=None if there else usubjid)


def _for_every_site(study: Study, name: str) -> None:
    study.require("export", command=name, site=EVERY_SITE)


class _Hashed:
    """A stream that knows the SHA-256 of what was written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._stream.write(data)

    def write_all(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.write(part)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def _hashed(path: Path) -> Iterator[_Hashed]:
    """Give a stream whose bytes become the file `path` when the block ends, or nothing."""
    with storage_guard(str(path)), durable_stream(path) as stream:
        yield _Hashed(stream)


def _give(study: Study, what: str, head: HeadSigned, text: str, path: Path | None) -> None:
    """Record that a proof or a head was given, and write it where a path is named."""
    with ExitStack() as stack:
        data = text.encode()
        if path is not None:
            stack.enter_context(_hashed(path)).write(data)
        study.append(
            RecordExported.model_validate(
                {
                    "what": what,
                    "size": head.size,
                    "root": head.root,
                    "files": {"json": hashlib.sha256(data).hexdigest()},
                }
            )
        )
