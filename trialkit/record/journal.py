"""Telemetry on disk: an append journal while a session runs, sealed Parquet afterwards.

A journal file (``<stream>.tkj``) is a row of frames::

    magic "TKJ1" | kind u8 | 3 zero bytes | length u32 | CRC-32 u32 | chain 32 bytes | payload

little-endian. The CRC is over kind, length, chain and payload; the chain is the SHA-256 of
the chain before, kind and payload, so that a frame can be neither altered nor moved. Frame
0 holds the Arrow schema, the others record batches. Whatever happens to the tail, the
frames before it stay readable: `read_journal` keeps the good prefix and says where it ends.

`seal` turns the journals of a session into Parquet with page checksums, reads them back,
writes ``manifest.json`` and only then removes the journals. `open_sealed` checks the hash of
a file before it reads it: pyarrow and DuckDB read a flipped bit without a word.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trialkit._canonical import canonical_json, sha256_bytes, sync_folder
from trialkit.errors import Duplicate, StorageRefused, TelemetryDamaged
from trialkit.record.kinds import SealedFile

SUFFIX = ".tkj"
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "trialkit.telemetry/1"
SYNC_S = 0.5
"""Rows are on disk at most this long (wall time) after they were appended."""

_HEAD = struct.Struct("<4sB3xII32s")
_MAGIC = b"TKJ1"
_SCHEMA, _BATCH = 1, 2
_START = b"\0" * 32
_FRAME_ROWS = 2048
_GROUP_ROWS = 6000
_MAX_PAYLOAD = 1 << 28
_TIMES = ("seq", "t_device_ns", "t_host_ns")

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
    times = [pa.field("seq", pa.uint32()), *(pa.field(n, pa.int64()) for n in _TIMES[1:])]
    kinds = {"float32": pa.float32(), "int16": pa.int16()}
    columns = [pa.field(n, kinds[kind], metadata={"unit": unit}) for n, unit, kind in channels]
    return pa.schema([*times, *columns], metadata=dict(meta))


def _refused(error: OSError, path: Path) -> StorageRefused:
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
        If the disk refuses, here or at any later call.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0
        self.synced_rows = 0
        self._chain = _START
        self._waiting: list[tuple[Column, Column, Column, Column]] = []
        self._waiting_rows = 0
        self._kinds = [np.dtype(f.type.to_pandas_dtype()) for f in schema][len(_TIMES) :]
        pa.array(np.zeros(1, np.float32))  # Arrow imports pandas at its first array: not later
        self._synced_at = time.monotonic()
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise Duplicate(
                f"there is a journal already: {path}.", remedy="Run `trialkit recover` first."
            ) from error
        except OSError as error:
            raise _refused(error, path) from error
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
            raise _refused(error, self.path) from error
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
            raise _refused(error, self.path) from error
        self._chain = chain

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


def read_journal(path: Path) -> JournalContent:
    """Read the good prefix of a journal; never raises on damage."""
    data = path.read_bytes()
    schema: pa.Schema | None = None
    batches: list[pa.RecordBatch] = []
    chain, at, fault = _START, 0, None
    while at < len(data):
        frame = _frame(data, at, chain)
        if isinstance(frame, str):
            fault = frame
            break
        kind, payload, new_chain = frame
        try:
            if kind == _SCHEMA and schema is None:
                schema = pa.ipc.read_schema(pa.py_buffer(payload))
            elif kind == _BATCH and schema is not None:
                batches.append(pa.ipc.read_record_batch(pa.py_buffer(payload), schema))
            else:
                fault = "a frame out of place"
                break
        except (pa.ArrowException, OSError, ValueError) as error:
            fault = f"a frame that Arrow cannot read ({type(error).__name__})"
            break
        chain = new_chain
        at += _HEAD.size + len(payload)
    return JournalContent(schema, batches, at, len(data), chain.hex(), fault)


def _frame(data: bytes, at: int, chain: bytes) -> tuple[int, bytes, bytes] | str:
    """Return kind, payload and chain of the frame at `at`, or what is wrong with it."""
    if len(data) - at < _HEAD.size:
        return "the file ends inside a frame"
    magic, kind, length, crc, new_chain = _HEAD.unpack_from(data, at)
    if magic != _MAGIC or data[at + 5 : at + 8] != b"\0\0\0":
        return "no frame begins here"
    begin = at + _HEAD.size
    if length > _MAX_PAYLOAD or begin + length > len(data):
        return "the file ends inside a frame"
    payload = data[begin : begin + length]
    if _crc(kind, new_chain, payload) != crc:
        return "the checksum of a frame is wrong"
    if _chained(chain, kind, payload) != new_chain:
        return "a frame is not the successor of the one before"
    return kind, payload, new_chain


@dataclass(frozen=True)
class Sealed:
    """The sealed telemetry of a session.

    Attributes
    ----------
    folder : Path
    manifest : dict
    manifest_sha256 : str
    lost_bytes : int
        Bytes of damaged journal tails that were not kept.
    """

    folder: Path
    manifest: dict[str, Any]
    manifest_sha256: str
    lost_bytes: int

    @property
    def files(self) -> list[SealedFile]:
        """The sealed files, as the record holds them."""
        keys = SealedFile.model_fields
        return [SealedFile(**{k: f[k] for k in keys}) for f in self.manifest["files"]]


def seal(
    folder: Path,
    *,
    session: str,
    status: str,
    beside: Mapping[str, int] | None = None,
    clock: Sequence[Mapping[str, Any]] = (),
    lost_bytes: int = 0,
) -> Sealed:
    """Seal every journal in `folder` and remove the journals.

    The bytes depend on the rows only: fixed row groups, zstd, no dictionary, page checksums.
    Damaged tails are left out and counted in the manifest (``lost_bytes``). A folder that is
    sealed already is checked and returned as it is.

    Parameters
    ----------
    beside : mapping of str to int, optional
        Other files of the folder that belong to the session, complete and synced, with the
        number of their lines: they are listed with their hash.
    clock : sequence of mapping
        Clock-offset records, as they come out of `trialkit.session`; kept in the manifest.
    lost_bytes : int
        Bytes that were lost besides those of the journals.

    Raises
    ------
    TelemetryDamaged
        If a sealed file does not read back as it was written.
    StorageRefused
        If the disk refuses; the journals stay.
    """
    journals = sorted(folder.glob(f"*{SUFFIX}"))
    if not journals and (folder / MANIFEST).is_file():
        return read_manifest(folder)
    files, lost, written = [], lost_bytes, []
    try:
        for journal in journals:
            content = read_journal(journal)
            lost += content.total_bytes - content.good_bytes
            if content.schema is None:
                continue
            temporary = folder / f".{journal.stem}.parquet.tmp"
            files.append(_write_parquet(temporary, content))
            written.append((temporary, folder / f"{journal.stem}.parquet"))
        files += [_listed(folder / name, lines) for name, lines in (beside or {}).items()]
        manifest = {
            "schema": MANIFEST_SCHEMA,
            "session": session,
            "status": status,
            "lost_bytes": lost,
            "files": files,
            "clock": list(clock),
        }
        data = canonical_json(manifest).encode()
        temporary = folder / f".{MANIFEST}.tmp"
        _write_synced(temporary, data)
        for begun, final in (*written, (temporary, folder / MANIFEST)):
            begun.replace(final)
        sync_folder(folder)
        for journal in journals:
            journal.unlink()
    except OSError as error:
        raise _refused(error, folder) from error
    return Sealed(folder, manifest, sha256_bytes(data), lost)


def _listed(path: Path, lines: int) -> dict[str, Any]:
    """Return the entry of a file that is no stream."""
    seqs: dict[str, Any] = {"first_seq": None, "last_seq": None, "gaps": 0, "units": {}}
    return {"name": path.name, "sha256": sha256_bytes(path.read_bytes()), "rows": lines} | seqs


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _encoding(field: pa.Field) -> str:
    return "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED"


def _write_parquet(path: Path, content: JournalContent) -> dict[str, Any]:
    table = content.table().combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(None),
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={field.name: _encoding(field) for field in table.schema},
        row_group_size=max(_GROUP_ROWS, min(table.num_rows, _GROUP_ROWS * 5)),
        write_page_checksum=True,
        store_schema=False,
        write_statistics=False,
    )
    data = sink.getvalue().to_pybytes()
    _write_synced(path, data)
    back = _read_parquet(pa.py_buffer(path.read_bytes()), None)
    if not back.equals(table.cast(back.schema)):
        raise TelemetryDamaged(
            f"{path} does not read back as it was written.",
            remedy="Check the disk; the journal is kept.",
        )
    seq = table.column("seq").to_numpy()
    return {
        "name": f"{path.name[1:].removesuffix('.tmp')}",
        "sha256": sha256_bytes(data),
        "rows": table.num_rows,
        "first_seq": int(seq[0]) if len(seq) else None,
        "last_seq": int(seq[-1]) if len(seq) else None,
        "gaps": int(np.count_nonzero(np.diff(seq.astype(np.int64)) != 1)),
        "units": {
            f.name: f.metadata[b"unit"].decode()
            for f in content.table().schema
            if f.metadata and b"unit" in f.metadata
        },
    }


def _read_parquet(source: pa.Buffer, columns: Sequence[str] | None) -> pa.Table:
    wanted = None if columns is None else list(columns)
    with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
        small = parquet.metadata.num_rows < _GROUP_ROWS  # threads cost more than they bring
        return parquet.read(columns=wanted, use_threads=not small)


def read_manifest(folder: Path, *, sha256: str | None = None) -> Sealed:
    """Read the manifest of a sealed session.

    Raises
    ------
    TelemetryDamaged
        If it is missing, is not readable, or does not have the hash `sha256`.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        manifest = json.loads(data)
        known = manifest["schema"] == MANIFEST_SCHEMA and isinstance(manifest["files"], list)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TelemetryDamaged(
            f"{path} is missing or not readable.", remedy="Restore it from a backup."
        ) from error
    digest = sha256_bytes(data)
    if not known or (sha256 is not None and digest != sha256):
        raise TelemetryDamaged(
            f"{path} is not the manifest that the record names.",
            remedy="Restore it from a backup.",
        )
    return Sealed(folder, manifest, digest, int(manifest.get("lost_bytes", 0)))


def open_sealed(
    folder: Path, stream: str, *, columns: Sequence[str] | None = None, sha256: str | None = None
) -> pa.Table:
    """Return the rows of a sealed stream after its hash was verified.

    Parameters
    ----------
    folder : Path
        ``telemetry/<session>``.
    stream : str
        Such as ``motion`` or ``stride``.
    columns : sequence of str, optional
        Only these.
    sha256 : str, optional
        Hash of the manifest, from the session's ``session.telemetry_sealed`` event.

    Raises
    ------
    TelemetryDamaged
        If manifest or file are not what was sealed.
    """
    sealed = read_manifest(folder, sha256=sha256)
    name = f"{stream}.parquet"
    entry = next((f for f in sealed.manifest["files"] if f["name"] == name), None)
    path = folder / name
    data = path.read_bytes() if path.is_file() else b""
    if entry is None or sha256_bytes(data) != entry["sha256"]:
        raise TelemetryDamaged(
            f"{path} is not what was sealed.", remedy="Restore it from a backup."
        )
    try:
        return _read_parquet(pa.py_buffer(data), columns)
    except (pa.ArrowException, OSError) as error:
        raise TelemetryDamaged(
            f"{path} cannot be read: {error}.", remedy="Restore it from a backup."
        ) from error


def discard(writer: JournalWriter) -> None:
    """Close `writer` without raising: what is on disk stays there for `seal`."""
    with contextlib.suppress(StorageRefused):
        writer.close()
