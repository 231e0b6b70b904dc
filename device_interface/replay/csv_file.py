"""Reads a CSV recording, such as OpenExo's; ``.gz`` too."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_interface.replay.counting import RawStream, find_column, recorded
from device_interface.replay.mapping import ClockMapping, Mapping, StreamMapping, missing
from device_interface.replay.recording import Nanoseconds, RecordedStream
from trialkit.errors import UsageError

_NS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}


def read_csv(path: Path, mapping: Mapping) -> tuple[list[RecordedStream], list[str]]:
    """Return the one stream of a CSV file, and the columns that were left out.

    Raises
    ------
    UsageError
        If the mapping has no clock, or the file no rows.
    MappingFindings
        If the file lacks columns of the mapping.
    """
    wanted = mapping.streams[0] if len(mapping.streams) == 1 else None
    if wanted is None or wanted.clock is None:
        raise UsageError(
            "a CSV mapping has one stream, with a clock.", remedy="See docs/recordings.md."
        )
    labels, lines = _lines(path)
    _require_columns(path.name, labels, wanted)
    table = np.array([_numbers(line) for line in lines if len(line) == len(labels)], np.float64)
    if not len(table):
        raise UsageError(f"{path.name} has no rows.", remedy="Give a recording with rows.")
    clocks = [c for c in (wanted.clock, wanted.host) if c is not None]
    at = [labels.index(clock.column) for clock in clocks]
    timed = np.isfinite(table[:, at]).all(axis=1)
    table = table[timed]
    times = [_time(table[:, i], clock) for i, clock in zip(at, clocks, strict=True)]
    others = [i for i in range(len(labels)) if i not in at]
    wrap = wanted.clock.wrap
    raw = RawStream(
        name=wanted.name,
        labels=tuple(labels[i] for i in others),
        units=("",) * len(others),
        values=table[:, others],
        clock_ns=times[0],
        host_ns=times[1] if wanted.host is not None else None,
        rate_hz=wanted.rate_hz,
        wrap_ns=round(wrap * _NS[wanted.clock.unit]) if wrap else None,
        gap_s=wanted.gap_s,
        unreadable=len(lines) - len(table),
    )
    taken = {find_column(raw.labels, c.column, c.occurrence) for c in wanted.channels}
    left = [f"column {label!r}" for i, label in enumerate(raw.labels) if i not in taken]
    return [recorded(raw, wanted)], left if wanted.channels else []


def fits(path: Path, mapping: Mapping) -> bool:
    """Return True where the file's first line has every column that `mapping` needs."""
    if mapping.format != "csv" or len(mapping.streams) != 1:
        return False
    labels, _ = _lines(path, only_head=True)
    return not _absent(labels, mapping.streams[0])


def _lines(path: Path, *, only_head: bool = False) -> tuple[list[str], list[list[str]]]:
    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            labels = [label.strip() for label in next(reader, [])]
            return labels, [] if only_head else [line for line in reader if line]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}.", remedy="Give a CSV file.") from error


def _absent(labels: list[str], wanted: StreamMapping) -> list[str]:
    clocks = [clock.column for clock in (wanted.clock, wanted.host) if clock is not None]
    absent = [label for label in clocks if label not in labels]
    for channel in wanted.channels:
        found = find_column(tuple(labels), channel.column, channel.occurrence)
        if found is None and not channel.optional:
            absent.append(channel.column)
    return absent


def _require_columns(source: str, labels: list[str], wanted: StreamMapping) -> None:
    absent = _absent(labels, wanted)
    if absent:
        raise missing(source, labels, absent)


def _numbers(line: list[str]) -> list[float]:
    """Return the fields of a line; what is no number is NaN, and counted as such."""
    try:
        return [float(text) for text in line]
    except ValueError:
        return [_number(text) for text in line]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _time(column: NDArray[np.float64], clock: ClockMapping) -> Nanoseconds:
    """Return times in ns; whole seconds apart, so that an epoch keeps its microseconds."""
    whole = np.floor(column)
    factor = _NS[clock.unit]
    return whole.astype(np.int64) * round(factor) + np.round((column - whole) * factor).astype(
        np.int64
    )
