"""The folded state of a study, kept so that the next open replays only what came after it.

It lies in the private cache folder of the operating system's user: `TRIALKIT_CACHE`, or
``trialkit`` in ``XDG_CACHE_HOME`` or ``~/.cache``. It is one file a study, beside which nothing
depends on it: without it, or where it is damaged, of another version, another user's or open to
others, the whole record is folded.

A file is taken only if the record holds, at the number of its last event, an event of the very
hash, and if the source of the code that folds is the one that made it. What decides or proves
does not rest on it: see `trialkit.study.study.Study.check_whole`.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import pickle
import stat
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel

from trialkit._canonical import canonical_json, sha256_bytes, sha256_json
from trialkit.errors import TrialkitError
from trialkit.record import chain, kinds, merkle, received, roles, signed, state
from trialkit.record.events import Record
from trialkit.record.state import StudyState

SCHEMA = "trialkit.cached/1"
EVERY = 2000
"""A state is kept after this many events were folded: about 30 ms of work."""
_MODULES = (kinds.__name__, state.__name__, signed.__name__)


def cache_folder() -> Path | None:
    """Return the folder of the cache; None where ``TRIALKIT_CACHE`` is empty."""
    given = os.environ.get("TRIALKIT_CACHE")
    if given is not None:
        return Path(given) if given else None
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home
        return (Path(base) if base else Path.home() / ".cache") / "trialkit"
    return None


def cache_file(record: Record, study_id: str) -> Path | None:
    """Return the file of a record's state, whether it is there or not."""
    folder = cache_folder()
    if folder is None:
        return None
    return folder / f"{sha256_json([study_id, _address(record)])[:32]}.state"


def keep(record: Record, folded: StudyState) -> None:
    """Keep a state; where that is not possible nothing happens."""
    path, code = cache_file(record, folded.study_id), fingerprint()
    if path is None or not code:
        return
    blob = pickle.dumps(vars(folded), protocol=5)
    head = {
        "schema": SCHEMA,
        "study": folded.study_id,
        "address": _address(record),
        "code": code,
        "seq": folded.seq,
        "hash": folded.hash,
        "sha256": sha256_bytes(blob),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(path.parent.lstat()):
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as stream:
                stream.write(canonical_json(head).encode() + b"\n" + blob)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def kept(record: Record, study_id: str) -> StudyState | None:
    """Return the state that was kept of a record, or None where there is none to be trusted.

    Its last event is in the record with the same hash; what came before is not looked at.
    """
    path = cache_file(record, study_id)
    if path is None:
        return None
    try:
        head, blob = _read(path)
        expected = (SCHEMA, study_id, _address(record), fingerprint(), sha256_bytes(blob))
        found = tuple(head[name] for name in ("schema", "study", "address", "code", "sha256"))
        if found != expected or not _holds(record, head["seq"], head["hash"]):
            return None
        restored = StudyState()
        vars(restored).update(_unpickled(blob))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, TrialkitError):
        return None
    except (pickle.UnpicklingError, EOFError, ImportError, MemoryError):
        return None
    sound = (restored.seq, restored.hash, restored.study_id) == (
        head["seq"],
        head["hash"],
        study_id,
    )
    return restored if sound else None


def forget(record: Record, study_id: str) -> None:
    """Remove what was kept of a record."""
    path = cache_file(record, study_id)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def agrees(record: Record, study_id: str) -> bool | None:
    """Compare the state that was kept with the fold, and remove it where it is another.

    Returns
    -------
    bool or None
        None where nothing is kept that an open would take.
    """
    found = kept(record, study_id)
    if found is None:
        return None
    folded = StudyState()
    for event in record.read():
        folded.apply(event)
        if event.seq == found.seq:
            break
    same = vars(folded) == vars(found)
    if not same:
        forget(record, study_id)
    return same


@cache
def fingerprint() -> str:
    """Return the hash of the code that folds; empty where its source cannot be read."""
    files: list[Path] = [
        Path(str(module.__file__)) for module in (chain, merkle, received, roles, signed)
    ]
    for package in (kinds, state):
        files += sorted(Path(str(package.__file__)).parent.glob("*.py"))
    try:
        sources = [sha256_bytes(file.read_bytes()) for file in files]
    except OSError:
        return ""
    return sha256_json([SCHEMA, sys.version, pydantic.VERSION, sources])


def _address(record: Record) -> str:
    where = record.where
    return record.address if isinstance(where, str) else str(where.resolve())


def _private(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid() and not found.st_mode & 0o077


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return head and blob of a file that nobody else could have written."""
    if not _private(path.parent.lstat()):
        raise PermissionError(path.parent)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        about = os.fstat(stream.fileno())
        if not _private(about) or not stat.S_ISREG(about.st_mode):
            raise PermissionError(path)
        return json.loads(stream.readline()), stream.read()


def _holds(record: Record, seq: int, digest: str) -> bool:
    """Return whether event `seq` of the record is there, whole and of that hash."""
    event = next(record.read(after=seq - 1), None)
    return event is not None and (event.seq, event.hash) == (seq, digest)


class _Reader(pickle.Unpickler):
    """Makes nothing but the classes of a state."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of a state, or refuse."""
        if (module, name) == (Counter.__module__, Counter.__name__):
            return Counter
        if module in _MODULES or module.startswith(tuple(f"{one}." for one in _MODULES)):
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, type) and found.__module__ == module and _is_data(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a state")


def _is_data(found: type) -> bool:
    data = issubclass(found, BaseModel) or hasattr(found, "__dataclass_fields__")
    return data or found is StudyState  # that of a site within the centre's


def _unpickled(blob: bytes) -> dict[str, Any]:
    """Return the attributes of a state; the collector would walk them again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        found = _Reader(io.BytesIO(blob)).load()
    finally:
        if collecting:
            gc.enable()
    if not isinstance(found, dict) or found.keys() != vars(StudyState()).keys():
        raise pickle.UnpicklingError("not a state")
    return found
