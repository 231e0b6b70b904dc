"""How a study begins: its folder, and the first two events of its record.

A creation marks the folder and holds the mark locked. ``study.toml`` is written before the first
two events are committed, and the mark goes after it: so a record that holds events always has its
folder, and what an interrupted creation leaves is a marked folder whose record, if there is one,
is empty. The next creation clears it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trialkit
from trialkit._canonical import sha256_file
from trialkit._clock import RealClock
from trialkit.errors import Duplicate, StorageRefused, TrialkitError, UnknownName
from trialkit.record.allocation import FILE as ALLOCATION
from trialkit.record.chain import Event
from trialkit.record.events import Record
from trialkit.record.kinds import StudyCreated, UserAdded
from trialkit.record.storage import storage_guard
from trialkit.study.files import (
    CONTENTS,
    DESIGN,
    FOLDERS,
    MARK,
    RECORD,
    FileLock,
    StudyFiles,
    interrupted,
)
from trialkit.study.timesource import time_source

if TYPE_CHECKING:
    from trialkit.study.study import Study

_FILES = (CONTENTS, DESIGN, RECORD, ALLOCATION)
_FILLED = ("protocols", "plans")


@contextmanager
def new_folder(folder: Path, *, chain: bool = False) -> Iterator[None]:
    """Make `folder` for a study; take everything in it away again where the block fails.

    What an interrupted creation left there is cleared first. Nothing is taken away where the
    connection to a database was lost in the commit: then the study may be there.

    Parameters
    ----------
    chain : bool
        Whether it is that of a site or a home device, of which the centre knows nothing yet: then
        a whole one that was left marked is cleared too.

    Raises
    ------
    Duplicate
        If there is something else in it, or a study.
    StudyBusy
        If another process makes a study there.
    StorageRefused
        If the disk is full or read-only, or the database of what is there cannot be reached.
    """
    existed, mark = folder.exists(), folder / MARK
    if existed and (not folder.is_dir() or (any(folder.iterdir()) and not mark.exists())):
        raise Duplicate(
            f"{folder} exists and is not empty.",
            remedy="Give a new folder; an existing study is opened, not made again.",
        )
    with storage_guard(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _marked(folder, existed=existed):
        _check_left(folder, chain=chain)
        try:
            with storage_guard(folder):
                _clear(folder, keep=MARK)
                for name in FOLDERS:
                    (folder / name).mkdir()
            yield
        except BaseException as error:
            if not (isinstance(error, TrialkitError) and error.details.get("unsure")):
                _clear(folder)
                if not existed:
                    folder.rmdir()
            raise
        mark.unlink()


def _marked(folder: Path, *, existed: bool) -> FileLock:
    """Mark the folder; without space for the mark nothing is left."""
    mark = folder / MARK
    there = mark.exists()
    try:
        return FileLock(mark, f"the creation of {folder}")
    except StorageRefused:
        if not there:
            mark.unlink(missing_ok=True)
        if not existed:
            folder.rmdir()
        raise


def _check_left(folder: Path, *, chain: bool) -> None:
    """Refuse where there is more than an interrupted creation leaves."""
    if (first := first_event(folder)) is not None and first.payload.get("origin"):
        if not chain:
            raise handing_interrupted(folder)
    elif first is not None:
        (folder / MARK).unlink()
        raise Duplicate(
            f"{folder} is a study: its creation was interrupted at its very end.",
            remedy="Open it; there is nothing left to make.",
        )
    ours = (*FOLDERS, MARK, "sync")
    strange = [
        entry.name
        for entry in folder.iterdir()
        if (entry.name not in ours and not entry.name.lstrip(".").startswith(_FILES))
        or (entry.name in FOLDERS and entry.name not in _FILLED and any(entry.iterdir()))
    ]
    if strange:
        raise Duplicate(
            f"{folder} holds what an interrupted creation did not leave: {', '.join(strange)}.",
            remedy="Move it elsewhere, or give a new folder.",
        )


def first_event(folder: Path) -> Event | None:
    """Return the first event of the record of a folder, or None where there is none."""
    if not (folder / CONTENTS).is_file():
        return None
    where = StudyFiles.read(folder).store(folder)
    try:
        with Record.open(where, write=True, clock=RealClock()) as record, record.batch():
            # under the lock that a creation holds until it ends
            return next(iter(record.read()), None)
    except UnknownName:
        return None


def handing_interrupted(folder: Path) -> UnknownName:
    """Return the error for a folder of a site or home device that may be unknown to the centre."""
    return UnknownName(
        f"{folder}: its making for a site or a home device was interrupted, or still goes on.",
        remedy="Give the same command again at the centre, with the same folder.",
    )


def _clear(folder: Path, keep: str | None = None) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == MARK):  # the mark last
        if entry.name != keep:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def check_founded(folder: Path, record: Record, *, chain: bool) -> None:
    """Refuse a record that never held an event.

    Parameters
    ----------
    chain : bool
        Whether it is that of a site or a home device, of which the centre must know.

    Raises
    ------
    UnknownName
        If the creation of the study was interrupted.
    """
    if record.last_given == 0:
        raise interrupted(folder)
    if chain and (folder / MARK).exists():
        raise handing_interrupted(folder)


def found(study: Study, contents: StudyFiles, name: str) -> None:
    """Append the first two events, the study and its owner, and write ``study.toml`` with them.

    Parameters
    ----------
    study : Study
        With an empty record, seen by its owner.
    contents : StudyFiles
    name : str
        The owner's printed name.
    """
    created = StudyCreated(
        study_id=contents.study_id,
        title=contents.title,
        protocols={
            arm: sha256_file(study.folder / "protocols" / file)
            for arm, file in contents.protocols.items()
        },
        design=sha256_file(study.folder / DESIGN),
        plan=sha256_file(study.plan_file) if study.plan_file else None,
        software=trialkit.__version__,
        source="import" if contents.source == "import" else "trial",
        clock=time_source(study.clock),
    )
    owner = UserAdded(
        user=study.actor,
        name=name,
        user_role="owner",
        key_fingerprint=study.keys.create(study.actor),
    )
    with study.batch():
        for payload in (created, owner):
            event = study.record.append(payload, actor=study.actor, role="owner")
            study.state.apply(event)
        contents.write(study.folder)
