"""A recording in memory: streams, their clocks, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Family, Parameter, Stream

Nanoseconds = NDArray[np.int64]


@dataclass(frozen=True)
class RecordedCounts:
    """What was wrong with the rows of a stream; nothing of it was mended.

    Attributes
    ----------
    unreadable : int
        Lines that have another number of fields, or no time; they are left out.
    gaps, missing : int
        Places where rows are missing, and about how many: by sequence numbers where the
        recording has them, else by the clock.
    duplicates, out_of_order, clock_steps : int
        Rows that came before, rows earlier than the one before, jumps of the clock.
    clock_wraps, clock_resets : int
        Times that the device's clock overflowed, and that it began again.
    repeated_device_times, repeated_host_times, host_out_of_order : int
        Rows with the time of the row before, or an earlier host time.
    repeated_names : tuple of str
        Labels that more than one column has.
    saturated : mapping of str to int
        Samples at the end of the full scale, a channel.
    overflowed : mapping of str to int
        Steps of more than half the way from end to end of the full scale, a channel: what
        an integer that overflowed instead of saturating looks like.
    not_finite : mapping of str to int
        Samples that are no number, a channel.
    """

    unreadable: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    clock_steps: int = 0
    clock_wraps: int = 0
    clock_resets: int = 0
    repeated_device_times: int = 0
    repeated_host_times: int = 0
    host_out_of_order: int = 0
    repeated_names: tuple[str, ...] = ()
    saturated: Mapping[str, int] = field(default_factory=dict)
    overflowed: Mapping[str, int] = field(default_factory=dict)
    not_finite: Mapping[str, int] = field(default_factory=dict)

    def totals(self) -> dict[str, int]:
        """Return each count that is not 0, over all channels."""
        totals: dict[str, int] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple):
                total = len(value)
            else:
                total = sum(value.values()) if isinstance(value, Mapping) else value
            if total:
                totals[item.name] = total
        return totals

    def to_dict(self) -> dict[str, Any]:
        """Return each count that is not 0, by channel where it is one of channels."""
        kept = {name: getattr(self, name) for name in self.totals()}
        return {
            name: list(value) if isinstance(value, tuple)
            else {k: v for k, v in value.items() if v} if isinstance(value, Mapping) else value
            for name, value in kept.items()
        }  # fmt: skip


@dataclass(frozen=True)
class RecordedStream:
    """One stream of a recording.

    Attributes
    ----------
    stream : Stream
        Name, rate and channels, as the contract has them.
    seq : ndarray of uint32, shape (n,)
        As recorded, or from 0 where the recording has none.
    t_raw_ns : ndarray of int64, shape (n,)
        The device's clock as it was recorded.
    t_device_ns : ndarray of int64, shape (n,)
        The same without wraps and resets.
    t_host_ns : ndarray of int64, shape (n,), or None
        The host's clock, where the recording has one.
    values : ndarray of float64, shape (n, channels)
        In SI units.
    counts : RecordedCounts
    """

    stream: Stream
    seq: NDArray[np.uint32]
    t_raw_ns: Nanoseconds
    t_device_ns: Nanoseconds
    t_host_ns: Nanoseconds | None
    values: NDArray[np.float64]
    counts: RecordedCounts

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def clock_mended(self) -> bool:
        """True where wraps or resets were taken out of the device's clock."""
        return bool(self.counts.clock_wraps or self.counts.clock_resets)

    def times(self) -> dict[str, float | None]:
        """Return spans in s and rates in rows a second, by both clocks.

        ``device_span_naive_s`` is latest minus earliest reading of the clock as recorded.
        """
        if len(self) < 2:
            return {}
        device = _span_s(self.t_device_ns)
        host = _span_s(self.t_host_ns) if self.t_host_ns is not None else None
        steps = len(self) - 1
        return {
            "device_span_naive_s": round(float(np.ptp(self.t_raw_ns)) / 1e9, 6),
            "device_span_s": round(device, 6),
            "device_rate_hz": round(steps / device, 3) if device > 0 else None,
            "host_span_s": round(host, 6) if host is not None else None,
            "host_rate_hz": round(steps / host, 3) if host else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what the stream is and what was counted, without its rows."""
        return {
            "stream": self.stream.name,
            "rows": len(self),
            "rate_hz": self.stream.rate_hz,
            **self.times(),
            "channels": [[c.name, c.unit] for c in self.stream.channels],
            "counts": self.counts.to_dict(),
        }


def _span_s(t_ns: Nanoseconds) -> float:
    return float(t_ns[-1] - t_ns[0]) / 1e9


@dataclass(frozen=True)
class RecordedParameter:
    """A setting of the recorded device, and the channel that holds its set value.

    Without a channel nothing of what was set is known. `gap` is the difference up to which
    a set value counts as the recorded one.
    """

    parameter: Parameter
    channel: str | None
    gap: float


@dataclass(frozen=True)
class Recording:
    """What was read from a file or a folder.

    Attributes
    ----------
    source : str
        Name of the file or folder.
    sha256 : str
        Of the file, or of the manifest of a sealed session.
    format : {"sealed", "csv", "c3d", "xdf"}
    mapping : str or None
        Name of the mapping.
    vendor, model, family
        Of the device that was recorded.
    streams : tuple of RecordedStream
    parameters : tuple of RecordedParameter
    left_out : tuple of str
        Columns and streams that were not taken, and why.
    notes : tuple of str
        What else there is to know, such as how a sealed session ended.
    """

    source: str
    sha256: str
    format: str
    mapping: str | None
    vendor: str
    model: str
    family: Family
    streams: tuple[RecordedStream, ...]
    parameters: tuple[RecordedParameter, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def totals(self) -> dict[str, int]:
        """Return each count that is not 0, over all streams."""
        totals: dict[str, int] = {}
        for stream in self.streams:
            for name, n in stream.counts.totals().items():
                totals[name] = totals.get(name, 0) + n
        return totals

    def identity(self) -> dict[str, str | int]:
        """Return name, hash and counts as the scalars that a session's record can hold."""
        counted = {f"counted_{name}": n for name, n in self.totals().items()}
        rows = sum(len(stream) for stream in self.streams)
        return {
            "recording": self.source,
            "recording_sha256": self.sha256,
            "recorded_rows": rows,
            **counted,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the recording as plain data, without its rows."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "format": self.format,
            "mapping": self.mapping,
            "vendor": self.vendor,
            "model": self.model,
            "family": self.family,
            "streams": [stream.to_dict() for stream in self.streams],
            "parameters": [p.parameter.name for p in self.parameters],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "counted": self.totals(),
        }
