"""Telemetry on disk while a session runs: an append journal.

Afterwards `trialkit.record.sealing` makes Parquet of it.

A journal file (``<stream>.tkj``) is a row of frames::

    magic "TKJ1" | kind u8 | 3 zero bytes | length u32 | CRC-32 u32 | chain 32 bytes | payload

little-endian. The CRC is over kind, length, chain and payload; the chain is the SHA-256 of
the chain before, kind and payload, so that a frame can be neither altered nor moved. Frame
0 holds the Arrow schema, the others record batches. Whatever happens to the tail, the
frames before it stay readable: `read_journal` keeps the good prefix and says where it ends.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trialkit.errors import Duplicate, StorageRefused

SUFFIX = ".tkj"
SYNC_S = 0.5
"""Rows are on disk at most this long (wall time) after they were appended."""

_HEAD = struct.Struct("<4sB3xII32s")
_MAGIC = b"TKJ1"
_SCHEMA, _BATCH = 1, 2
_START = b"\0" * 32
_FRAME_ROWS = 2048
_MAX_PAYLOAD = 1 << 28
TIMES = ("seq", "t_device_ns", "t_host_ns")

Column = NDArray[Any]


def _chained(chain: bytes, kind: int, payload: bytes) -> bytes:
    return hashlib.sha256(chain + bytes([kind]) + payload).digest()


def _crc(kind: int, chain: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<BI", kind, len(payload)) + chain))


def telemetry_schema(
    channels: Sequence[tuple[str, str, str]], meta: Mapping[str, str]
) -> pa.Schema:
    """Return the Arrow schema of a stream.

    Parameters
    ----------
    channels : sequence of (name, unit, "float32" or "int16")
    meta : mapping of str to str
        Session, stream and rate; kept in the schema.
    """
    times = [pa.field("seq", pa.uint32()), *(pa.field(n, pa.int64()) for n in TIMES[1:])]
    kinds = {"float32": pa.float32(), "int16": pa.int16()}
    columns = [pa.field(n, kinds[kind], metadata={"unit": unit}) for n, unit, kind in channels]
    return pa.schema([*times, *columns], metadata=dict(meta))


def refused(error: OSError, path: Path) -> StorageRefused:
    """Return what the disk's refusal means for telemetry."""
    what = {errno.ENOSPC: "the disk is full", errno.EROFS: "the disk is read-only"}
    text = what.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
    return StorageRefused(
        f"telemetry cannot be written to {path}: {text}.",
        remedy="Free the disk, then run `trialkit recover`: all that was synced is kept.",
    )


class JournalWriter:
    """Appends rows of one stream.

    Parameters
    ----------
    path : Path
        Must not exist.
    schema : pyarrow.Schema
        From `telemetry_schema`.

    Raises
    ------
    Duplicate
        If the file exists.
    StorageRefused
        If the disk refuses, here or at any later call; from then on every call does, since
        nothing that follows a frame that was not written whole could be read.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._failed: StorageRefused | None = None
        self.schema = schema
        self.rows = 0
        self.synced_rows = 0
        self._chain = _START
        self._waiting: list[tuple[Column, Column, Column, Column]] = []
        self._waiting_rows = 0
        self._kinds = [np.dtype(f.type.to_pandas_dtype()) for f in schema][len(TIMES) :]
        pa.array(np.zeros(1, np.float32))  # Arrow imports pandas at its first array: not later
        self._synced_at = time.monotonic()
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise Duplicate(
                f"there is a journal already: {path}.", remedy="Run `trialkit recover` first."
            ) from error
        except OSError as error:
            raise refused(error, path) from error
        self._write(_SCHEMA, schema.serialize().to_pybytes())

    def append(self, seq: Column, t_device_ns: Column, t_host_ns: Column, values: Column) -> None:
        """Append rows: three vectors of shape (n,) and `values` of shape (n, channels)."""
        self._waiting.append((seq, t_device_ns, t_host_ns, values))
        self._waiting_rows += len(seq)
        self.rows += len(seq)
        if time.monotonic() - self._synced_at >= SYNC_S:
            self.sync()
        elif self._waiting_rows >= _FRAME_ROWS:
            self.flush()

    def sync_if_due(self) -> None:
        """Sync where rows have waited for `SYNC_S`; call it at least as often."""
        if self.synced_rows < self.rows and time.monotonic() - self._synced_at >= SYNC_S:
            self.sync()

    def flush(self) -> None:
        """Write the waiting rows as one frame, not yet synced."""
        if self._failed is not None:
            raise self._failed
        if not self._waiting:
            return
        parts = list(zip(*self._waiting, strict=True))
        vectors = [np.concatenate(part) for part in parts[:3]]
        matrix = np.concatenate(parts[3]).T
        columns = [
            *(pa.array(v, f.type) for v, f in zip(vectors, self.schema, strict=False)),
            *(
                pa.array(np.ascontiguousarray(row, kind))
                for row, kind in zip(matrix, self._kinds, strict=True)
            ),
        ]
        batch = pa.record_batch(columns, schema=self.schema)
        self._waiting.clear()
        self._waiting_rows = 0
        self._write(_BATCH, batch.serialize().to_pybytes())

    def sync(self) -> int:
        """Flush and wait for the disk; return the number of rows that are safe."""
        self.flush()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._fail(error) from error
        self._synced_at = time.monotonic()
        self.synced_rows = self.rows
        return self.rows

    def _write(self, kind: int, payload: bytes) -> None:
        chain = _chained(self._chain, kind, payload)
        head = _HEAD.pack(_MAGIC, kind, len(payload), _crc(kind, chain, payload), chain)
        data = memoryview(head + payload)
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise self._fail(error) from error
        self._chain = chain

    def _fail(self, error: OSError) -> StorageRefused:
        self._failed = refused(error, self.path)
        return self._failed

    def close(self, *, sync: bool = True) -> None:
        """Write what waits, sync and close; idempotent."""
        if self._file.closed:
            return
        try:
            self.sync() if sync else self.flush()
        finally:
            self._file.close()


@dataclass(frozen=True)
class JournalContent:
    """The readable part of a journal.

    Attributes
    ----------
    schema : pyarrow.Schema or None
        None where not even the first frame is readable.
    batches : list of pyarrow.RecordBatch
    good_bytes, total_bytes : int
        Where the good prefix ends, and the size of the file.
    head : str
        Chain value of the last good frame, hex.
    fault : str or None
        Why reading ended before the end of the file.
    """

    schema: pa.Schema | None
    batches: list[pa.RecordBatch]
    good_bytes: int
    total_bytes: int
    head: str
    fault: str | None

    @property
    def rows(self) -> int:
        """Number of rows that were kept."""
        return sum(batch.num_rows for batch in self.batches)

    def table(self) -> pa.Table:
        """Return the rows as one table."""
        return pa.Table.from_batches(self.batches, self.schema)


class JournalReader:
    """Reads the good prefix of a journal, a batch at a time; never raises on damage.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    schema : pyarrow.Schema or None
        None where not even the first frame is readable.
    good_bytes, total_bytes : int
        Where the good prefix ends, as far as it was read, and the size of the file.
    head : str
        Chain value of the last good frame, hex.
    fault : str or None
        Why reading ended before the end of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chain = _START
        self.schema: pa.Schema | None = None
        self.good_bytes = 0
        self.total_bytes = path.stat().st_size
        self.fault: str | None = None

    @property
    def head(self) -> str:
        """Chain value of the last good frame, hex."""
        return self._chain.hex()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self._path.open("rb") as stream:
            while (frame := self._next(stream)) is not None:
                kind, payload = frame
                try:
                    batch = self._read(kind, payload)
                except (pa.ArrowException, OSError, ValueError) as error:
                    self.fault = f"a frame that Arrow cannot read ({type(error).__name__})"
                    return
                if self.fault is not None:
                    return
                self._chain = _chained(self._chain, kind, payload)
                self.good_bytes += _HEAD.size + len(payload)
                if batch is not None:
                    yield batch

    def _next(self, stream: BinaryIO) -> tuple[int, bytes] | None:
        """Return kind and payload of the next frame; None at the end or where it is wrong."""
        head = stream.read(_HEAD.size)
        if not head:
            return None
        payload = b""
        if len(head) == _HEAD.size:
            length = _HEAD.unpack(head)[2]
            payload = stream.read(length) if length <= _MAX_PAYLOAD else b""
        self.fault = _fault(head, payload, self._chain)
        return None if self.fault is not None else (head[4], payload)

    def _read(self, kind: int, payload: bytes) -> pa.RecordBatch | None:
        if kind == _SCHEMA and self.schema is None:
            self.schema = pa.ipc.read_schema(pa.py_buffer(payload))
        elif kind == _BATCH and self.schema is not None:
            return pa.ipc.read_record_batch(pa.py_buffer(payload), self.schema)
        else:
            self.fault = "a frame out of place"
        return None


def read_journal(path: Path) -> JournalContent:
    """Read the good prefix of a journal; never raises on damage."""
    reader = JournalReader(path)
    batches = list(reader)
    return JournalContent(
        reader.schema, batches, reader.good_bytes, reader.total_bytes, reader.head, reader.fault
    )


def _fault(head: bytes, payload: bytes, chain: bytes) -> str | None:
    """Return what is wrong with a frame that follows `chain`, None where nothing is."""
    if len(head) < _HEAD.size:
        return "the file ends inside a frame"
    magic, kind, length, crc, new_chain = _HEAD.unpack(head)
    if magic != _MAGIC or head[5:8] != b"\0\0\0":
        return "no frame begins here"
    if len(payload) != length:
        return "the file ends inside a frame"
    if _crc(kind, new_chain, payload) != crc:
        return "the checksum of a frame is wrong"
    if _chained(chain, kind, payload) != new_chain:
        return "a frame is not the successor of the one before"
    return None


def discard(writer: JournalWriter) -> None:
    """Close `writer` without raising: what is on disk stays there for `seal`."""
    with contextlib.suppress(StorageRefused):
        writer.close()
