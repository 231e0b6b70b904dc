"""Canonical JSON and SHA-256: the only place where anything is hashed.

The canonical form is JSON with sorted keys, no spaces, UTF-8, Python's shortest
round-trip floats, and neither NaN nor infinity. The text itself is stored, so that a
verifier hashes what it reads and never has to write a number the way we do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """Return `value` as canonical JSON text.

    Raises
    ------
    ValueError
        If `value` holds NaN or infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def sha256_text(text: str) -> str:
    """Return the SHA-256 of UTF-8 `text` as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return sha256_text(canonical_json(value))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that it is there whole or not at all.

    A temporary file beside `path` is written, synced and renamed, then the folder is synced.
    """
    with durable_stream(path) as stream:
        stream.write(data)


@contextmanager
def durable_stream(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose bytes become the file `path` whole, or leave nothing behind.

    It writes a temporary file beside `path`, which is synced and renamed at the end.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
