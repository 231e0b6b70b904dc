"""Snapshots: the tables of a study as a folder of Parquet with a manifest and one hash.

The bytes depend on the record alone: not on when, where or how often the snapshot is built.
Rows have a fixed order, files carry no pandas metadata and are not compressed (a compressor's
version would show). The hash is that of the manifest's file list.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_schemas import VERSIONS
from trialkit._canonical import sha256_bytes, sha256_file, sha256_json, sync_folder, write_durably
from trialkit.data.checks import check_frames
from trialkit.data.collect import collect
from trialkit.data.derive import derive
from trialkit.data.terms import Frames
from trialkit.errors import NotLocked, SnapshotAltered, UnknownName
from trialkit.record.kinds import AllocationRevealed, SnapshotBuilt
from trialkit.record.storage import storage_guard
from trialkit.study import Study
from trialkit.study.commands import command

SCHEMA = "trialkit.snapshot/1"
MANIFEST = "manifest.json"
FOLDER = "snapshots"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was opened, with every hash checked.

    Attributes
    ----------
    folder : Path
    hash : str
        SHA-256 of the canonical JSON of the manifest's ``files``.
    frames : dict of DataFrame
        SDTM-like and ADaM-like tables by name.
    manifest : dict
        ``schema, study_id, files, hash, unblinded, upto_seq, schemas, queries``.
    """

    folder: Path
    hash: str
    frames: Frames
    manifest: dict[str, Any]

    @property
    def unblinded(self) -> bool:
        """True where the arms are shown."""
        return bool(self.manifest["unblinded"])

    @property
    def upto_seq(self) -> int | None:
        """Number of the last event that the record held when the snapshot was built.

        None where the arms are hidden: how many events there are tells how sessions went.
        """
        upto: int | None = self.manifest["upto_seq"]
        return upto

    @classmethod
    def open(cls, folder: str | Path) -> Snapshot:
        """Open a snapshot folder after checking every file against the manifest.

        Raises
        ------
        UnknownName
            If there is no snapshot.
        SnapshotAltered
            If a file was altered, added or removed; the message names it.
        """
        folder = Path(folder)
        manifest = _manifest(folder)
        files = manifest["files"]
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        for name in sorted({*files, MANIFEST} ^ there):
            raise _altered(folder, name, "was removed" if name in files else "was added")
        for name, entry in sorted(files.items()):
            if sha256_file(folder / name) != entry["sha256"]:
                raise _altered(folder, name, "was altered")
        frames = {Path(name).stem: _read(folder / name) for name in sorted(files)}
        for name, entry in sorted(files.items()):
            frame = frames[Path(name).stem]
            if [len(frame), list(frame)] != [entry["rows"], entry["columns"]]:
                raise _altered(folder, name, "has other rows or columns than the manifest says")
        shown = "ADEX.parquet" in files
        if sha256_json(files) != manifest["hash"] or shown != manifest["unblinded"]:
            raise _altered(folder, MANIFEST, "was altered")
        return cls(folder, manifest["hash"], frames, manifest)

    def __repr__(self) -> str:
        """Return hash and size."""
        what = "unblinded" if self.unblinded else "blinded"
        return f"<Snapshot {self.hash[:12]}: {what}, {len(self.frames)} tables>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{len(frame)}</td><td>{frame.shape[1]}</td></tr>"
            for name, frame in self.frames.items()
        )
        return (
            f"<p>Snapshot <code>{self.hash[:12]}</code>, "
            f"{'unblinded' if self.unblinded else 'blinded'}</p>"
            f"<table><tr><th>table</th><th>rows</th><th>columns</th></tr>{rows}</table>"
        )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise UnknownName(
            f"no snapshot at {folder}.", remedy="Build one: `trialkit snapshot --study FOLDER`."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        whole = {"schema", "files", "hash", "unblinded", "upto_seq"} <= set(manifest)
    except (ValueError, TypeError):
        whole = False
    if not whole or manifest["schema"] != SCHEMA:
        raise _altered(folder, MANIFEST, "is no snapshot manifest")
    return dict(manifest)


def _altered(folder: Path, name: str, what: str) -> SnapshotAltered:
    return SnapshotAltered(
        f"{folder / name} {what}.",
        remedy="Move the folder away and build the snapshot again from the record.",
        file=name,
    )


@command("build_snapshot", atomic=False)
def build_snapshot(study: Study, *, unblind: bool = False) -> Snapshot:
    """Build the tables of a study into ``snapshots/<first 12 digits of the hash>/``.

    Parameters
    ----------
    study : Study
        Open for writing.
    unblind : bool
        Show the arms. The first time this reveals them in the record, once and for all.

    Raises
    ------
    NotPermitted
        If the role may not build snapshots, or not unblind.
    NotLocked
        If `unblind` is set and no plan is locked.
    SnapshotAltered
        If the same snapshot was built before and its files were altered since.
    StorageRefused
        If the disk is full or read-only; no half-written snapshot is left.
    """
    study.check_whole()
    if unblind:
        _reveal(study)
    sdtm = collect(study, unblind=unblind)
    derived = derive(sdtm, study.design, study.protocols)
    frames = {n: frame for n, frame in {**sdtm, **derived}.items() if unblind or n != "ADEX"}
    contents = {f"{name}.parquet": _bytes(frame) for name, frame in sorted(frames.items())}
    files = {
        name: {
            "sha256": sha256_bytes(data),
            "rows": len(frames[Path(name).stem]),
            "columns": list(frames[Path(name).stem]),
        }
        for name, data in contents.items()
    }
    digest = sha256_json(files)
    folder = study.folder / FOLDER / digest[:12]
    if not folder.is_dir():
        manifest = {
            "schema": SCHEMA,
            "study_id": study.state.study_id,
            "files": files,
            "hash": digest,
            "unblinded": unblind,
            "upto_seq": study.state.seq if unblind else None,
            "schemas": {name: VERSIONS[name] for name in ("adam", "sdtm")},
            "queries": len(check_frames(sdtm, derived, study.design)),
        }
        _write(folder, contents, manifest)
    snapshot = Snapshot.open(folder)
    built = (event.payload["snapshot"] for event in study.record.read(kinds=[SnapshotBuilt.kind]))
    if digest not in built:
        study.append(
            SnapshotBuilt(
                snapshot=digest,
                folder=folder.relative_to(study.folder).as_posix(),
                upto_seq=snapshot.upto_seq or study.state.seq,
                unblinded=unblind,
            )
        )
    return snapshot


def _reveal(study: Study) -> None:
    """Put arm and salt of every randomised participant into the record, unless they are there."""
    study.require("unblind")
    lock = study.state.lock
    if lock is None:
        raise NotLocked(
            "no plan is locked, so the arms stay concealed.",
            remedy="Lock the plan: `trialkit plan lock --study FOLDER`.",
        )
    shown: set[str] = set()
    for event in study.record.read(kinds=[AllocationRevealed.kind]):
        shown |= set(event.payload["arms"])
    wanted = {who for who, p in study.state.participants.items() if p.randomised}
    if not wanted <= shown or not study.state.revealed:
        state = study.state
        drawn = bool(state.scheme or state.lists_committed or state.chains)
        study.append(
            AllocationRevealed(
                plan_lock=lock.lock,
                arms=study.allocations(),
                seed=study.allocation.seed() if drawn else None,
                codes=[arm.code for arm in study.design.arms] if drawn else [],
            )
        )


def snapshots(study: Study) -> list[Path]:
    """Return the folders of the snapshots of a study, in the order in which they were built."""
    events = study.record.read(kinds=[SnapshotBuilt.kind])
    return [study.folder / event.payload["folder"] for event in events]


# --- bytes ---------------------------------------------------------------------------------


def _bytes(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet: text, int64 and float64 columns, nothing else."""
    table = pa.table(
        {name: _array(frame[name]) for name in frame.columns},
        schema=pa.schema([(name, _arrow_type(frame[name])) for name in frame.columns]),
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="none",
        version="2.6",
        data_page_version="1.0",
        store_schema=False,
        row_group_size=1 << 20,
    )
    return bytes(sink.getvalue().to_pybytes())


def _arrow_type(column: pd.Series[Any]) -> pa.DataType:
    kinds: Mapping[str, pa.DataType] = {"int64": pa.int64(), "float64": pa.float64()}
    return kinds.get(str(column.dtype), pa.string())


def _array(column: pd.Series[Any]) -> pa.Array:
    return pa.array(column.to_numpy(), type=_arrow_type(column), from_pandas=True)


def _read(path: Path) -> pd.DataFrame:
    table = pq.read_table(path)
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        elif pa.types.is_int64(column.type):
            columns[name] = pd.Series(column.to_numpy(), dtype="int64")
        else:
            columns[name] = pd.Series(column.to_pandas(), dtype="float64")
    return pd.DataFrame(columns, columns=table.column_names)


def _write(folder: Path, contents: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write all files into a temporary folder, then rename it; all there or nothing."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    with storage_guard(folder):
        folder.parent.mkdir(exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            for name, data in contents.items():
                write_durably(temporary / name, data)
            text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            write_durably(temporary / MANIFEST, text.encode())
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder.parent)
