"""Telemetry on disk after a session: Parquet with a manifest of hashes.

`seal` turns the journals of a session into Parquet with page checksums, a row group at a time,
reads them back, writes ``manifest.json`` and only then removes the journals. `open_sealed`
checks the hash of a file before it reads it: pyarrow and DuckDB read a flipped bit without a
word.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trialkit._canonical import canonical_json, sha256_bytes, sync_folder
from trialkit.errors import TelemetryDamaged
from trialkit.record.journal import SUFFIX, JournalReader, refused
from trialkit.record.kinds import SealedFile

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "trialkit.telemetry/1"
_GROUP_ROWS = 30_000
_SMALL_ROWS = 6_000


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
    if (folder / MANIFEST).is_file():  # sealed before; perhaps killed while removing journals
        sealed = _verified(folder)
        for journal in journals:
            journal.unlink()
        return sealed
    files, lost, written = [], lost_bytes, []
    try:
        for journal in journals:
            reader = JournalReader(journal)
            temporary = folder / f".{journal.stem}.parquet.tmp"
            entry = _write_parquet(temporary, reader)
            lost += reader.total_bytes - reader.good_bytes
            if entry is not None:
                files.append(entry)
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
        for begun, final in written:
            begun.replace(final)
        sync_folder(folder)  # the manifest never stands without what it lists
        temporary.replace(folder / MANIFEST)
        sync_folder(folder)
        for journal in journals:
            journal.unlink()
    except OSError as error:
        for begun in folder.glob(".*.tmp"):  # they fill a disk that is full already
            with contextlib.suppress(OSError):
                begun.unlink()
        raise refused(error, folder) from error
    return Sealed(folder, manifest, sha256_bytes(data), lost)


def _listed(path: Path, lines: int) -> dict[str, Any]:
    """Return the entry of a file that is no stream."""
    seqs: dict[str, Any] = {"first_seq": None, "last_seq": None, "gaps": 0, "units": {}}
    return {"name": path.name, "sha256": _sha256_of(path), "rows": lines} | seqs


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _encoding(field: pa.Field) -> str:
    return "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED"


def _write_parquet(path: Path, reader: JournalReader) -> dict[str, Any] | None:
    """Write the rows of a journal, a row group at a time; None where it has no schema.

    Memory is that of one row group. Every group is read back and compared by the hash of its
    columns, so that a value that is not a number compares as well.
    """
    seqs, digests, rows = _Sequence(), [], 0
    writer: pq.ParquetWriter | None = None
    try:
        for group in _groups(reader):
            writer = writer or _parquet_writer(path, group.schema)
            writer.write_table(group, row_group_size=_GROUP_ROWS)
            digests.append(_digest(group))
            seqs.note(group.column("seq").to_numpy())
            rows += group.num_rows
        if writer is None:
            if reader.schema is None:
                return None
            writer = _parquet_writer(path, reader.schema.remove_metadata())
    finally:
        if writer is not None:
            writer.close()
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())
    assert reader.schema is not None
    _read_back(path, reader.schema.remove_metadata(), digests)
    return {
        "name": f"{path.name[1:].removesuffix('.tmp')}",
        "sha256": _sha256_of(path),
        "rows": rows,
        "first_seq": seqs.first,
        "last_seq": seqs.last,
        "gaps": seqs.gaps,
        "units": {
            f.name: f.metadata[b"unit"].decode()
            for f in reader.schema
            if f.metadata and b"unit" in f.metadata
        },
    }


class _Sequence:
    """First and last sequence number, and the places at which numbers are missing."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.gaps = 0

    def note(self, seq: NDArray[np.uint32]) -> None:
        numbers = seq.astype(np.int64)
        if self.last is not None:
            self.gaps += int(numbers[0] != self.last + 1)
        else:
            self.first = int(numbers[0])
        self.gaps += int(np.count_nonzero(np.diff(numbers) != 1))
        self.last = int(numbers[-1])


def _groups(reader: JournalReader) -> Iterator[pa.Table]:
    """Return the rows in tables of `_GROUP_ROWS`, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    n = 0
    for batch in reader:
        waiting.append(batch)
        n += batch.num_rows
        while n >= _GROUP_ROWS:
            whole = pa.Table.from_batches(waiting).replace_schema_metadata(None)
            yield _plain(whole.slice(0, _GROUP_ROWS))
            waiting = whole.slice(_GROUP_ROWS).to_batches()
            n -= _GROUP_ROWS
    if n:
        yield _plain(pa.Table.from_batches(waiting).replace_schema_metadata(None))


def _plain(table: pa.Table) -> pa.Table:
    """Return the table in one piece and without the units of its fields."""
    return table.combine_chunks().cast(table.schema.remove_metadata())


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={field.name: _encoding(field) for field in schema},
        write_page_checksum=True,
        store_schema=False,
        write_statistics=False,
    )


def _digest(table: pa.Table) -> bytes:
    digest = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            digest.update(np.ascontiguousarray(chunk.to_numpy()).data)
    return digest.digest()


def _read_back(path: Path, schema: pa.Schema, digests: Sequence[bytes]) -> None:
    with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        same = parquet.num_row_groups == len(digests) and all(
            _digest(parquet.read_row_group(at).cast(schema)) == digest
            for at, digest in enumerate(digests)
        )
    if not same:
        raise TelemetryDamaged(
            f"{path} does not read back as it was written.",
            remedy="Check the disk; the journal is kept.",
        )


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verified(folder: Path) -> Sealed:
    sealed = read_manifest(folder)
    for entry in sealed.manifest["files"]:
        path = folder / entry["name"]
        if not path.is_file() or _sha256_of(path) != entry["sha256"]:
            raise TelemetryDamaged(
                f"{path} is not what was sealed.",
                remedy="Restore it from a backup; journals that are left are kept.",
            )
    return sealed


def _read_parquet(source: pa.NativeFile, columns: Sequence[str] | None) -> pa.Table:
    wanted = None if columns is None else list(columns)
    with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
        small = parquet.metadata.num_rows < _SMALL_ROWS  # threads cost more than they bring
        if not parquet.num_row_groups:
            return parquet.read(columns=wanted)
        return pa.concat_tables(  # all at once takes twice the memory
            parquet.read_row_group(at, columns=wanted, use_threads=not small)
            for at in range(parquet.num_row_groups)
        )


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
    if entry is None or not path.is_file():
        raise _not_sealed(path)
    try:
        with pa.OSFile(str(path)) as source:  # not held in memory: it may be 300 MB long
            if hashlib.file_digest(source, "sha256").hexdigest() != entry["sha256"]:
                raise _not_sealed(path)
            return _read_parquet(source, columns)
    except (pa.ArrowException, OSError) as error:
        raise TelemetryDamaged(
            f"{path} cannot be read: {error}.", remedy="Restore it from a backup."
        ) from error


def _not_sealed(path: Path) -> TelemetryDamaged:
    return TelemetryDamaged(f"{path} is not what was sealed.", remedy="Restore it from a backup.")
