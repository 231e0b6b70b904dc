"""A folder, such as on a stick, that carries what a site or home device has to the centre.

It holds the chain as an export, the sealed sessions, and a paper signed by its key
that says how far the chain goes. Written again it holds what came since; taken up again it
changes nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from trialkit._canonical import (
    canonical_json,
    durable_stream,
    sha256_file,
    sha256_json,
    write_durably,
)
from trialkit.errors import ChainBroken, IntegrityError, TelemetryDamaged, UnknownName
from trialkit.record.chain import Event
from trialkit.record.events import read_export
from trialkit.record.heads import body_of
from trialkit.record.kinds import Signature, TelemetrySealed
from trialkit.record.received import called
from trialkit.record.sealing import MANIFEST, read_manifest
from trialkit.record.sign import KeyStore, verify
from trialkit.record.storage import storage_guard
from trialkit.study.study import Study
from trialkit.study.sync.centre import chain_of
from trialkit.study.sync.folder import KEYS, key_name
from trialkit.study.sync.push import FolderSource, Here, Pushed, push

SCHEMA = "trialkit.drop/1"
EVENTS, PAPER, TELEMETRY = "events.jsonl", "drop.json", "telemetry"
MEANING = "chain of a site, to be taken up"


def write_drop(source: FolderSource, folder: Path) -> int:
    """Write the chain and the sealed sessions of a site into a folder; return the last event.

    Raises
    ------
    TelemetryDamaged
        If a sealed session of the site is not there, or not as its chain says.
    StorageRefused
        If the disk is full or read-only.
    """
    seals = list(source.record.read(kinds=[TelemetrySealed.kind]))
    with storage_guard(folder):
        (folder / TELEMETRY).mkdir(parents=True, exist_ok=True)
        for seal in seals:
            name = str(seal.payload["session"])
            _copy(source.session(name), folder / TELEMETRY / name, seal.payload["manifest_sha256"])
        last, digest = 0, ""
        with durable_stream(folder / EVENTS) as stream:
            for event in source.record.read():
                last, digest = event.seq, event.hash
                line = canonical_json({"body": body_of(event).decode(), "hash": event.hash})
                stream.write((line + "\n").encode())
        name = key_name(source.site)
        over = _digest(source.site, last, digest)
        signed = KeyStore(source.folder / KEYS).sign(name, called(source.site), MEANING, over)
        paper = {"schema": SCHEMA, "site": source.site, "last": last, "hash": digest}
        text = canonical_json({**paper, "signature": signed.model_dump()})
        write_durably(folder / PAPER, (text + "\n").encode())
    return last


def _copy(sealed: Path, target: Path, digest: str) -> None:
    """Copy a sealed session unless it is there whole."""
    files = read_manifest(sealed, sha256=digest).manifest["files"]
    target.mkdir(exist_ok=True)
    for one in files:
        there = target / one["name"]
        if there.is_file() and sha256_file(there) == one["sha256"]:
            continue
        with (sealed / one["name"]).open("rb") as read, durable_stream(there) as stream:
            shutil.copyfileobj(read, stream)
        if sha256_file(there) != one["sha256"]:
            raise TelemetryDamaged(
                f"{sealed / one['name']} was altered.", remedy="Restore it from a backup."
            )
    write_durably(target / MANIFEST, (sealed / MANIFEST).read_bytes())


def _digest(site: str, last: int, digest: str) -> str:
    return sha256_json({"schema": SCHEMA, "site": site, "last": last, "hash": digest})


class DropSource:
    """What a folder carries, with its signature checked.

    Parameters
    ----------
    folder : Path
    study : Study
        The centre, which knows the key of the site.

    Raises
    ------
    UnknownName
        If there is no drop.
    IntegrityError
        If the paper is not signed by the site, or the chain is not the one that it signed.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        path = folder / PAPER
        if not path.is_file():
            raise UnknownName(
                f"{folder}: nothing to take up ({PAPER} is not there).",
                remedy="Write it at the site: `trialkit sync push FOLDER --to DROP`.",
            )
        try:
            paper = json.loads(path.read_text(encoding="utf-8"))
            self.site, self.last = str(paper["site"]), int(paper["last"])
            said, signature = str(paper["hash"]), Signature.model_validate(paper["signature"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise IntegrityError(f"{path}: cannot be read.", remedy="Write it again.") from error
        over = _digest(self.site, self.last, said)
        key = chain_of(study, self.site).public_key
        good = signature.public_key == key and signature.meaning == MEANING
        if not good or not verify(signature, over):
            raise IntegrityError(
                f"{path} is not signed by the key of {called(self.site)}.",
                remedy="Have it written again there.",
            )
        self._bodies = [body_of(event).decode() for event in self._events()]
        if self._hash != said or len(self._bodies) != self.last:
            raise ChainBroken(
                f"{folder / EVENTS} is not the chain that {PAPER} signs.",
                remedy="Have it written again there.",
            )

    def _events(self) -> Iterator[Event]:
        self._hash = ""
        for event in read_export(self.folder / EVENTS):
            self._hash = event.hash
            yield event

    def bodies(self, after: int) -> Iterator[str]:
        """Yield the texts of the events after number `after`."""
        return iter(self._bodies[after:])

    def session(self, session: str) -> Path:
        """Return the folder of a sealed session."""
        return self.folder / TELEMETRY / session


def take_drop(study: Study, folder: Path) -> Pushed:
    """Take up what a folder carries; errors are those of `DropSource` and `push`."""
    study.require("sync", command="take")
    return push(DropSource(folder, study), Here(study), tries=1)
