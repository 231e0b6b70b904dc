"""Sealed sessions on their way to the centre: in parts, resumed, and checked by their hashes.

The site's chain names the hash of a session's manifest, and the manifest those of its files; so
no file is believed before it has the hash that the chain gives. Files are gathered in
``incoming/SITE/SESSION`` and moved into ``telemetry/`` together.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from trialkit._canonical import sha256_file, sync_folder
from trialkit.errors import IntegrityError, UnknownName, UsageError
from trialkit.record.kinds import SessionReceived
from trialkit.record.received import called
from trialkit.record.sealing import MANIFEST, read_manifest
from trialkit.record.storage import storage_guard
from trialkit.study.commands import command
from trialkit.study.study import Study
from trialkit.study.sync.centre import MOST_BYTES, chain_of

INCOMING = "incoming"
MOST_FILE = 8 << 30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


def held_sizes(study: Study, site: str, session: str) -> dict[str, int]:
    """Return the bytes that are here of each file of a session."""
    folder, _ = _place(study, site, session)
    found = {path.name: path.stat().st_size for path in folder.glob("[!.]*")}
    parts = {path.name[1:-5]: path.stat().st_size for path in folder.glob(".*.part")}
    return parts | found


def put_part(
    study: Study, site: str, session: str, name: str, at: int, data: bytes, *, end: bool
) -> int:
    """Add bytes to a file of a session and return how many of it are here, on disk.

    Bytes that are not at the end of what is here are left aside: the answer tells from where to
    go on.

    Parameters
    ----------
    at : int
        Place of the first byte in the file.
    end : bool
        Whether the file ends with `data`; it is then compared with its hash, and begun anew
        where it does not have it.

    Raises
    ------
    UsageError
        If the part is too large.
    UnknownName
        If no such file is to come.
    IntegrityError
        If the whole file does not have the hash that the chain gives it.
    StorageRefused
        If the disk is full or read-only; what was acknowledged is kept.
    """
    if len(data) > MOST_BYTES or at + len(data) > MOST_FILE:
        raise UsageError("the part is too large.", remedy=f"Send at most {MOST_BYTES} bytes.")
    folder, digest = _place(study, site, session)
    wanted = _wanted(folder, digest, name)
    final, part = folder / name, folder / f".{name}.part"
    with storage_guard(folder):
        if final.exists():
            return final.stat().st_size
        folder.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        if at != have:
            return have
        with part.open("ab") as stream:
            try:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                os.ftruncate(stream.fileno(), have)
                raise
        if not end:
            return have + len(data)
        if sha256_file(part) != wanted:
            part.unlink()
            raise IntegrityError(
                f"{session}/{name} does not have the hash that the chain of {called(site)} gives.",
                remedy="Push again; if it stays so, verify the telemetry there.",
            )
        part.replace(final)
        sync_folder(folder)
    return have + len(data)


def _place(study: Study, site: str, session: str) -> tuple[Path, str]:
    """Return where the files of a session are, and the hash of its manifest.

    Both names become a path only because the site's chain has them, where they were checked.
    """
    chain, final = chain_of(study, site), study.folder / "telemetry" / session
    if session in chain.received:  # by another push, a moment ago
        return final, chain.received[session]
    if session not in chain.sealed:
        raise UnknownName(
            f"no telemetry of session {session} of {called(site)} is to come.",
            remedy="Push the events first.",
        )
    folder = final if final.is_dir() else study.folder / INCOMING / site / session
    return folder, chain.sealed[session][1]


def _wanted(folder: Path, digest: str, name: str) -> str:
    """Return the hash that a file must have; `digest` is that of the manifest."""
    if name == MANIFEST:
        return digest
    if not _NAME.fullmatch(name) or not (folder / MANIFEST).is_file():
        raise UnknownName(f"{name!r} cannot be taken.", remedy=f"Send {MANIFEST} first.")
    for one in read_manifest(folder, sha256=digest).manifest["files"]:
        if one["name"] == name:
            return str(one["sha256"])
    raise UnknownName(f"the manifest has no {name!r}.", remedy="Send its files.")


@command("sync", name="receive_session")
def finish_session(study: Study, site: str, session: str) -> bool:
    """Move a session whose files are all here into ``telemetry/``, and record that it is here.

    Returns
    -------
    bool
        False while files are missing, or where it was recorded before.

    Raises
    ------
    IntegrityError
        If a file was altered here since.
    """
    chain = chain_of(study, site)
    if session not in chain.sealed:
        return False
    there, digest = _place(study, site, session)
    final = study.folder / "telemetry" / session
    if not (there / MANIFEST).is_file():
        return False
    files = read_manifest(there, sha256=digest).manifest["files"]
    if any(not (there / one["name"]).is_file() for one in files):
        return False
    for one in files:
        if sha256_file(there / one["name"]) != one["sha256"]:
            raise IntegrityError(
                f"{there / one['name']} was altered.", remedy="Remove it, and push again."
            )
    if there != final:
        with storage_guard(final):
            final.parent.mkdir(exist_ok=True)
            there.rename(final)
            sync_folder(final.parent)
    study.append(
        SessionReceived(site=site, session=session, manifest_sha256=digest, files=len(files))
    )
    return True


def names_in(manifest: bytes) -> list[str]:
    """Return the names of the files that a manifest lists."""
    return [str(one["name"]) for one in json.loads(manifest)["files"]]
