"""Takes a stream as its source wrote it, counts what is wrong, and unwraps its clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import Channel, Stream
from device_interface.foreign import channel_names, si_unit
from device_interface.replay.mapping import ChannelMapping, StreamMapping
from device_interface.replay.recording import Nanoseconds, RecordedCounts, RecordedStream

RESET_NS = 1_000_000_000
"""A clock that goes back by more began again; by less, rows are out of order."""
_GAP_PERIODS = 5
_GAP_NS = 20_000_000
_AS_RECORDED = "as recorded; the source does not say"

Scale = tuple[float, float]


@dataclass(frozen=True)
class RawStream:
    """A stream as its source wrote it.

    Attributes
    ----------
    name : str
    labels, units : tuple of str
        One a column.
    values : ndarray of float64, shape (n, columns)
    clock_ns : ndarray of int64, shape (n,)
        The device's clock.
    host_ns : ndarray of int64, shape (n,), or None
    rate_hz : float or None
        As the source declares it.
    full_scale : tuple of (low, high) or None
        One a column, in its unit; None where it is not known.
    wrap_ns : int or None
        What the clock loses when it overflows.
    gap_s : float or None
        Longer steps of the clock are gaps; None is five periods, at least 20 ms.
    unreadable : int
        Lines that were left out.
    """

    name: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    values: NDArray[np.float64]
    clock_ns: Nanoseconds
    host_ns: Nanoseconds | None = None
    rate_hz: float | None = None
    full_scale: tuple[Scale | None, ...] = ()
    wrap_ns: int | None = None
    gap_s: float | None = None
    unreadable: int = 0


@dataclass(frozen=True)
class Unwrapped:
    """A clock without its wraps and resets, and how many there were."""

    t_ns: Nanoseconds
    wraps: int
    resets: int


def unwrap(
    clock_ns: Nanoseconds, wrap_ns: int | None, host_ns: Nanoseconds | None, period_ns: int
) -> Unwrapped:
    """Return a clock that goes on where the recorded one overflowed or began again.

    Parameters
    ----------
    clock_ns, host_ns : ndarray of int64, shape (n,)
    wrap_ns : int or None
        A step of more than half of it is an overflow, forth or back, by all of it.
    period_ns : int
        Taken for the step over a reset where there is no host clock to tell it.
    """
    steps = np.diff(clock_ns)
    wraps = 0
    if wrap_ns:
        over = np.round(steps / wrap_ns).astype(np.int64)
        steps = steps - over * wrap_ns
        wraps = int(np.abs(over).sum())
    back = np.flatnonzero(steps < -RESET_NS)
    for at in back:
        steps[at] = host_ns[at + 1] - host_ns[at] if host_ns is not None else period_ns
    t_ns = np.concatenate([clock_ns[:1], clock_ns[:1] + np.cumsum(steps)])
    return Unwrapped(t_ns, wraps, len(back))


def period_ns(clock_ns: Nanoseconds) -> int:
    """Return the mean step of a clock without its breaks; 0 where it has no two rows.

    Breaks are steps back and steps above ten times the median of the forward ones.
    """
    steps = np.diff(clock_ns)
    forward = steps[steps > 0]
    if not len(forward):
        return 0
    usual = steps[(steps >= 0) & (steps <= 10 * np.median(forward))]
    return round(float(usual.mean()))


def recorded(raw: RawStream, wanted: StreamMapping | None = None) -> RecordedStream:
    """Count what is wrong with `raw` and return it in SI units.

    Without `wanted` every column is taken, under its own name.

    Raises
    ------
    KeyError
        If a column that `wanted` names does not exist, and is not optional.
    """
    period = round(1e9 / raw.rate_hz) if raw.rate_hz else period_ns(raw.clock_ns)
    clock = unwrap(raw.clock_ns, raw.wrap_ns, raw.host_ns, period)
    chosen = _chosen(raw, wanted)
    units = [si_unit(unit) for _, unit, _, _ in chosen]
    columns = [at for at, _, _, _ in chosen]
    source = raw.values[:, columns]
    sign = np.array([mapping.sign if mapping else 1.0 for _, _, _, mapping in chosen])
    zero = np.array([mapping.zero if mapping else 0.0 for _, _, _, mapping in chosen])
    factor = np.array([scale for _, scale in units]) * sign
    values = (source - zero) * factor
    channels = []
    scales = [_scale(raw, at, mapping) for at, _, _, mapping in chosen]
    for at, ((unit, _), (_, _, name, mapping)) in enumerate(zip(units, chosen, strict=True)):
        scale = scales[at]
        ends = (
            (np.array(scale) - zero[at]) * factor[at]
            if scale
            else np.array(observed_range(values[:, at]))
        )
        positive = (mapping.positive if mapping else None) or _AS_RECORDED
        channels.append(Channel(name, unit, positive, float(ends.min()), float(ends.max())))
    names = [channel.name for channel in channels]
    counts = _counts(raw, clock, period, source, names, scales)
    rate = raw.rate_hz or (round(1e9 / period, 3) if period else None)
    stream = Stream(raw.name, rate, tuple(channels))
    seq = np.arange(len(values), dtype=np.uint32)
    return RecordedStream(stream, seq, raw.clock_ns, clock.t_ns, raw.host_ns, values, counts)


def _chosen(
    raw: RawStream, wanted: StreamMapping | None
) -> list[tuple[int, str, str, ChannelMapping | None]]:
    """Return column, unit, name and mapping of each channel."""
    if wanted is None or not wanted.channels:
        names = channel_names(raw.labels)
        plain = zip(raw.units, names, strict=True)
        return [(at, unit, name, None) for at, (unit, name) in enumerate(plain)]
    chosen: list[tuple[int, str, str, ChannelMapping | None]] = []
    for channel in wanted.channels:
        at = find_column(raw.labels, channel.column, channel.occurrence)
        if at is None:
            if channel.optional:
                continue
            raise KeyError(channel.column)
        unit = channel.unit if channel.unit is not None else raw.units[at]
        chosen.append((at, unit, channel.name, channel))
    return chosen


def find_column(labels: tuple[str, ...], label: str, occurrence: int = 1) -> int | None:
    """Return where `label` stands for the `occurrence`-th time, or None."""
    found = [at for at, other in enumerate(labels) if other == label]
    return found[occurrence - 1] if len(found) >= occurrence else None


def _scale(raw: RawStream, at: int, mapping: ChannelMapping | None) -> Scale | None:
    if mapping is not None and mapping.full_scale is not None:
        return (-mapping.full_scale, mapping.full_scale)
    return raw.full_scale[at] if raw.full_scale else None


def observed_range(values: NDArray[np.float64]) -> Scale:
    """Return the least and the largest number; one value that never changes reaches to 0 or 1."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if low < high:
        return low, high
    return min(low, 0.0), max(high, 0.0) if low else 1.0


def _counts(
    raw: RawStream,
    clock: Unwrapped,
    period: int,
    source: NDArray[np.float64],
    names: list[str],
    scales: list[Scale | None],
) -> RecordedCounts:
    steps = np.diff(clock.t_ns)
    longest = round(raw.gap_s * 1e9) if raw.gap_s else max(_GAP_PERIODS * period, _GAP_NS)
    gaps = steps[steps > longest] if period else steps[:0]
    host = np.diff(raw.host_ns) if raw.host_ns is not None else steps[:0]
    saturated, overflowed = {}, {}
    for column, name, scale in zip(source.T, names, scales, strict=True):
        if scale is None:
            continue
        low, high = scale
        slack = 1e-9 * (high - low)
        at_end = (column <= low + slack) | (column >= high - slack)
        saturated[name] = int(np.count_nonzero(at_end))
        overflowed[name] = int(np.count_nonzero(np.abs(np.diff(column)) > (high - low) / 2))
    not_finite = np.count_nonzero(~np.isfinite(source), axis=0)
    repeated = [label for label, n in Counter(raw.labels).items() if n > 1]
    return RecordedCounts(
        unreadable=raw.unreadable,
        gaps=len(gaps),
        missing=int(np.maximum(np.round(gaps / period) - 1, 1).sum()) if len(gaps) else 0,
        out_of_order=int(np.count_nonzero(steps < 0)),
        clock_wraps=clock.wraps,
        clock_resets=clock.resets,
        repeated_device_times=int(np.count_nonzero(steps == 0)),
        repeated_host_times=int(np.count_nonzero(host == 0)),
        host_out_of_order=int(np.count_nonzero(host < 0)),
        repeated_names=tuple(repeated),
        saturated=saturated,
        overflowed=overflowed,
        not_finite=dict(zip(names, map(int, not_finite), strict=True)),
    )
