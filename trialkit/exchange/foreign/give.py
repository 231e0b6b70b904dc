"""Files that leave a study: there when their export is in the record, and not before."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trialkit._canonical import durable_stream, sha256_bytes, sync_folder, write_durably
from trialkit.errors import Duplicate
from trialkit.record.chain import Event
from trialkit.record.kinds import DataExported
from trialkit.record.storage import storage_guard
from trialkit.study import Study

Format = Literal["redcap", "odm"]


@dataclass(frozen=True)
class Given:
    """What an export wrote: a folder or a file, its files by name with their SHA-256."""

    path: Path
    files: dict[str, str]
    participants: int
    values: int
    event: Event

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without the number of the event: it tells of sessions."""
        return {
            "path": str(self.path),
            "files": self.files,
            "participants": self.participants,
            "values": self.values,
            "event": self.event.hash,
        }


def give_folder(
    study: Study,
    format: Format,
    out: Path,
    files: Mapping[str, bytes],
    participants: int,
    values: int,
) -> Given:
    """Write files into the new folder `out`, and the event of the export.

    Raises
    ------
    Duplicate
        If `out` exists.
    StorageRefused
        If the disk or the record refused; nothing is left behind.
    """
    require_new(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    hashes = {name: sha256_bytes(data) for name, data in files.items()}
    with storage_guard(out):
        try:
            partial.mkdir(parents=True)
            for name, data in files.items():
                write_durably(partial / name, data)
            event = _note(study, format, hashes, participants, values)
            partial.rename(out)
            sync_folder(out.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return Given(out, hashes, participants, values, event)


def give_file(
    study: Study, format: Format, out: Path, parts: Iterable[bytes], counts: Mapping[str, int]
) -> Given:
    """Write `parts` into the new file `out`, and the event of the export.

    `counts` holds ``participants`` and ``values``, and is read when all parts were taken.

    Raises
    ------
    Duplicate
        If `out` exists.
    StorageRefused
        If the disk or the record refused; nothing is left behind.
    """
    require_new(out)
    digest = hashlib.sha256()
    with storage_guard(out), durable_stream(out) as stream:
        for part in parts:
            digest.update(part)
            stream.write(part)
        hashes = {out.name: digest.hexdigest()}
        event = _note(study, format, hashes, counts["participants"], counts["values"])
    return Given(out, hashes, counts["participants"], counts["values"], event)


def require_new(out: Path) -> None:
    """Refuse a path that is there: nothing is overwritten."""
    if out.exists():
        raise Duplicate(f"{out} exists.", remedy="Name a new one: nothing is overwritten.")


def _note(
    study: Study, format: Format, files: dict[str, str], participants: int, values: int
) -> Event:
    return study.append(
        DataExported(
            format=format,
            files=files,
            participants=participants,
            values=values,
            blinded=not study.may("see_allocation"),
        )
    )
