"""What a disk or a database that refuses to write is called, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, PendingRollbackError

from trialkit.errors import StorageRefused, StudyBusy, TrialkitError

_BUSY = ("database is locked", "database table is locked", "lock timeout", "lock_not_available")
_NOT_YET = ("in recovery mode", "is starting up", "is shutting down", "not yet accepting")


@contextmanager
def storage_guard(where: Path | str) -> Iterator[None]:
    """Turn the faults of a full, read-only, locked or failing store into errors of the tree.

    Raises
    ------
    StorageRefused
        If the disk or the database refused.
    StudyBusy
        If another process wrote for longer than we wait.
    """
    try:
        yield
    except PendingRollbackError as error:
        raise storage_refused(where, "the connection was lost before this step") from error
    except (DBAPIError, sqlite3.Error) as error:
        raise storage_refused(where, str(getattr(error, "orig", error))) from error
    except OSError as error:
        raise storage_refused(where, error.strerror or str(error)) from error


def no_space(what: str) -> bool:
    """Return True where `what` a store said means that its disk is full."""
    return any(text in what.lower() for text in ("full", "no space", "too large"))


def storage_refused(where: Path | str, what: str) -> TrialkitError:
    """Return the error for `what` the store said about `where`, with the remedy that fits."""
    what = what.strip().splitlines()[0] if what.strip() else "refused"
    lowered = what.lower()
    if any(text in lowered for text in _BUSY):
        return StudyBusy(
            f"{where}: another process is writing and did not end in time.",
            remedy="Repeat the step; nothing of it was kept.",
        )
    if no_space(what):
        disk = "the disk of the database server" if "://" in str(where) else "the disk"
        remedy = f"Free space on {disk} and repeat the step; nothing of it was kept."
    elif any(text in lowered for text in _NOT_YET):
        remedy = (
            "Wait until the database server has started (if it does not, its log says why), and "
            "repeat the step; nothing of it was kept."
        )
    elif "disk i/o error" in lowered or "could not write" in lowered:
        remedy = (
            "Look for a full disk, a limit on the size of files or a failing disk, and repeat "
            "the step; nothing of it was kept."
        )
    elif "append-only" in lowered or "events_pkey" in lowered:
        remedy = "Correct by a new event; nothing in the record is changed or removed."
    elif "permission denied for" in lowered or "must be owner" in lowered:
        remedy = "Ask whoever runs the database for the groups that your role in the study needs."
    elif ("read" in lowered and "only" in lowered) or "denied" in lowered or "unable" in lowered:
        remedy = "Make the folder writable, or open the study with write=False to read it."
    elif "connection" in lowered or "password" in lowered or "could not translate" in lowered:
        remedy = "Check that the database server runs, and the address, user and password."
    else:
        remedy = "Check the disk and repeat the step; nothing of it was kept."
    return StorageRefused(f"{where}: {what}.", remedy=remedy, path=str(where))
