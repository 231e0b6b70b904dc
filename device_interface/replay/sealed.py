"""Reads a sealed session: ``telemetry/<session>`` with its manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_interface.contract import Block, Channel, Stream
from device_interface.freshness import Freshness
from device_interface.replay.counting import observed_range, period_ns
from device_interface.replay.recording import RecordedCounts, RecordedStream
from trialkit._canonical import sha256_bytes
from trialkit.errors import TelemetryDamaged, UsageError

MANIFEST = "manifest.json"
SCHEMA = "trialkit.telemetry/1"
_TIMES = ("seq", "t_device_ns", "t_host_ns")
_ROWS = 4096
_REMEDY = "Restore it from a backup."


@dataclass(frozen=True)
class SealedSession:
    """The streams of a sealed session, the hash of its manifest, and what to know of it."""

    streams: tuple[RecordedStream, ...]
    sha256: str
    notes: tuple[str, ...]


def read_sealed(folder: Path) -> SealedSession:
    """Return the rows of a sealed session after every hash was verified.

    Raises
    ------
    UsageError
        If the folder holds no manifest, or no telemetry.
    TelemetryDamaged
        If a file is not what was sealed.
    """
    manifest, digest = _manifest(folder)
    streams = []
    for entry in manifest["files"]:
        name = str(entry["name"])
        data = (folder / name).read_bytes() if (folder / name).is_file() else b""
        if sha256_bytes(data) != entry["sha256"]:
            raise TelemetryDamaged(f"{folder / name} is not what was sealed.", remedy=_REMEDY)
        if name.endswith(".parquet") and entry["rows"]:
            streams.append(_stream(name.removesuffix(".parquet"), data, entry.get("units", {})))
    if not streams:
        raise UsageError(f"{folder} holds no rows.", remedy="Give a session with telemetry.")
    # the device's own stream is the one that tells its state
    streams.sort(key=lambda s: "device_state" not in [c.name for c in s.stream.channels])
    notes = [f"session {manifest['session']}, ended {manifest['status']}"]
    if manifest.get("lost_bytes"):
        notes.append(f"{manifest['lost_bytes']} bytes of damaged journals were not kept")
    return SealedSession(tuple(streams), digest, tuple(notes))


def _manifest(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"{folder} is no sealed session: it has no {MANIFEST}.",
            remedy="Give telemetry/<session>; `trialkit recover` seals what was interrupted.",
        )
    data = path.read_bytes()
    try:
        manifest = json.loads(data)
        known = manifest["schema"] == SCHEMA and isinstance(manifest["files"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise TelemetryDamaged(f"{path} is not readable.", remedy=_REMEDY) from error
    if not known:
        raise TelemetryDamaged(f"{path} is no manifest of this version.", remedy=_REMEDY)
    return manifest, sha256_bytes(data)


def _stream(name: str, data: bytes, units: dict[str, str]) -> RecordedStream:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.py_buffer(data), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        seq, t_device, t_host = (table.column(column).to_numpy() for column in _TIMES)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise TelemetryDamaged(
            f"{name}.parquet cannot be read: {error}.", remedy=_REMEDY
        ) from error
    names = [column for column in table.column_names if column not in _TIMES]
    values = np.column_stack([table.column(column).to_numpy() for column in names])
    values = values.astype(np.float64)
    channels = tuple(
        _channel(column, units.get(column, "1"), values[:, at], table.schema.field(column).type)
        for at, column in enumerate(names)
    )
    rate = None if "duration_s" in names else _rate_hz(t_device)
    seq, stream = seq.astype(np.uint32), Stream(name, rate, channels)
    counts = _counts(stream, seq, t_device, t_host, values)
    return RecordedStream(stream, seq, t_device, t_device, t_host, values, counts)


def _channel(name: str, unit: str, values: Any, kind: Any) -> Channel:
    low, high = observed_range(values)
    stored = "int16" if str(kind) == "int16" else "float32"
    return Channel(name, unit, "as recorded", low, high, kind=stored)  # type: ignore[arg-type]


def _rate_hz(t_ns: Any) -> float | None:
    period = period_ns(t_ns)
    return round(1e9 / period, 3) if period else None


def _counts(stream: Stream, seq: Any, t_device: Any, t_host: Any, values: Any) -> RecordedCounts:
    """Count by sequence numbers; host times are of whole blocks, and so repeat rightly."""
    fresh = Freshness(stream.rate_hz)
    for at in range(0, len(seq), _ROWS):
        part = slice(at, at + _ROWS)
        rows = values[part].astype(np.float32)
        fresh.take(Block(stream.name, seq[part], t_device[part], t_host[part], rows))
    counted = fresh.counts
    names = [channel.name for channel in stream.channels]
    not_finite = np.count_nonzero(~np.isfinite(values), axis=0)
    return RecordedCounts(
        gaps=counted.gaps,
        missing=counted.missing,
        duplicates=counted.duplicates,
        out_of_order=counted.reordered,
        clock_steps=counted.clock_steps,
        host_out_of_order=int(np.count_nonzero(np.diff(t_host) < 0)),
        not_finite=dict(zip(names, map(int, not_finite), strict=True)),
    )
