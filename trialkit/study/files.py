"""The folder of a study: its layout, its ``study.toml``, and locks on what only one may do."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trialkit._canonical import sha256_file, write_durably
from trialkit.errors import IntegrityError, StudyBusy, UnknownName
from trialkit.record.storage import storage_guard

SCHEMA = "trialkit.study/1"
CONTENTS = "study.toml"
RECORD = "study.db"
DESIGN = "design.yaml"
MARK = "creating.lock"
FOLDERS = ("protocols", "plans", "telemetry", "snapshots", "results", "reports")


@dataclass(frozen=True)
class StudyFiles:
    """What ``study.toml`` says: the study, and its files relative to the folder.

    ``database`` is the URL of a PostgreSQL database that holds the record, without a password,
    which is taken from ``PGPASSWORD`` or the password file of PostgreSQL.
    """

    study_id: str
    title: str
    source: str
    protocols: dict[str, str]
    plan: str | None
    database: str | None = None

    def store(self, folder: Path) -> Path | str:
        """Return where the record is: ``study.db`` of the folder, or a database URL."""
        return self.database or folder / RECORD

    def write(self, folder: Path) -> None:
        """Write ``study.toml``; before the first events of the record are committed."""
        lines = [
            f"schema = {_toml(SCHEMA)}",
            f"study_id = {_toml(self.study_id)}",
            f"title = {_toml(self.title)}",
            f"source = {_toml(self.source)}",
        ]
        if self.plan:
            lines.append(f"plan = {_toml(self.plan)}")
        if self.database:
            lines.append(f"database = {_toml(self.database)}")
        lines += ["", "[protocols]"]
        lines += [f"{_toml(arm)} = {_toml(name)}" for arm, name in self.protocols.items()]
        write_durably(folder / CONTENTS, ("\n".join(lines) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> StudyFiles:
        """Read ``study.toml``.

        Raises
        ------
        UnknownName
            If the folder is no study, or not whole because its creation was interrupted.
        IntegrityError
            If the file cannot be read as one.
        """
        path = folder / CONTENTS
        if not path.is_file():
            if (folder / MARK).exists():
                raise interrupted(folder)
            raise UnknownName(
                f"{folder}: no study here ({CONTENTS} is not there).",
                remedy="Give the folder of a study, or make one with `trialkit init`.",
            )
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}, not {SCHEMA}")
            return cls(
                str(data["study_id"]),
                str(data["title"]),
                str(data["source"]),
                {str(arm): str(name) for arm, name in data["protocols"].items()},
                data.get("plan"),
                data.get("database"),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{path}: cannot be read: {error}.", remedy="Restore it from a copy of the study."
            ) from error


def interrupted(folder: Path) -> UnknownName:
    """Return the error for a folder in which the creation of a study was interrupted."""
    return UnknownName(
        f"{folder}: no study here: its creation was interrupted, or still goes on.",
        remedy="Make it again with the same `trialkit init`, which first clears what is left.",
    )


def _toml(text: str) -> str:
    """Return a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_file(path: Path, expected: str | None) -> None:
    """Compare a file with the hash in the record.

    Raises
    ------
    IntegrityError
        If it is not there or was altered.
    """
    if not path.is_file():
        raise IntegrityError(f"{path}: not there.", remedy="Restore it from a copy of the study.")
    if sha256_file(path) != expected:
        raise IntegrityError(
            f"{path}: altered since the study was created.",
            remedy="Restore it from a copy of the study; a new version needs an amendment.",
        )


def copy_into(folder: Path, sources: Mapping[str, Path]) -> dict[str, str]:
    """Copy files into `folder` and return their names there, by key.

    Two different files of one name get the key in front of the second's.
    """
    names: dict[str, str] = {}
    for key, source in sources.items():
        name = source.name if source.name not in names.values() else f"{key}-{source.name}"
        write_durably(folder / name, source.read_bytes())
        names[key] = name
    return names


def copy_plan(folder: Path, plan: str | Path | None) -> str | None:
    """Copy a plan into ``plans/`` of a study and return its path relative to the study."""
    if plan is None:
        return None
    return f"plans/{copy_into(folder / 'plans', {'plan': Path(plan)})['plan']}"


class FileLock:
    """An exclusive lock on a file; the operating system frees it when a process ends.

    Parameters
    ----------
    path : Path
        Made where it is missing, with its folder.
    what : str
        What is locked, for the message.

    Raises
    ------
    StudyBusy
        If another process, or another lock of this one, holds it.
    StorageRefused
        If the folder cannot be written.
    """

    def __init__(self, path: Path, what: str) -> None:
        with storage_guard(path):
            path.parent.mkdir(exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 500).decode(errors="replace")
            os.close(self._descriptor)
            raise StudyBusy(
                f"{what} is held by {_holder(holder)}.",
                remedy="Let it end there, or stop that process.",
            ) from error
        except OSError:
            os.close(self._descriptor)
            raise
        who = {"pid": os.getpid(), "host": socket.gethostname(), "user": login_name()}
        try:
            with storage_guard(path):
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, json.dumps(who).encode())
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> FileLock:
        """Return the lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        self.release()

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holder(text: str) -> str:
    try:
        who = json.loads(text)
        return f"process {who['pid']} of {who['user']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def login_name() -> str:
    """Return the name of the person logged in, or ``unknown``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
