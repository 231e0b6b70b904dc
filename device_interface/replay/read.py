"""Reads a recording of any format that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device_interface.contract import Parameter
from device_interface.foreign import channel_names
from device_interface.replay.c3d_file import raw_c3d
from device_interface.replay.counting import RawStream, recorded
from device_interface.replay.csv_file import fits, read_csv
from device_interface.replay.mapping import (
    Mapping,
    StreamMapping,
    load_mapping,
    mapping_names,
    missing,
)
from device_interface.replay.recording import RecordedParameter, RecordedStream, Recording
from device_interface.replay.sealed import read_sealed
from device_interface.replay.xdf_file import raw_xdf
from trialkit._canonical import sha256_file
from trialkit.errors import UnknownName, UsageError

_FORMATS = {".csv": "csv", ".c3d": "c3d", ".xdf": "xdf", ".xdfz": "xdf"}


def read_recording(path: str | Path, mapping: str | None = None) -> Recording:
    """Read a recording and count what is wrong with it.

    Parameters
    ----------
    path : path
        The folder ``telemetry/<session>`` of a sealed session, or a ``.csv``, ``.csv.gz``,
        ``.c3d``, ``.xdf`` or ``.xdfz`` file.
    mapping : str, optional
        Name of a mapping that comes with the package, or a YAML file. Without one, a CSV
        file takes the one that fits its columns, a sealed session ``trainer``, and C3D and
        XDF files are taken as they describe themselves.

    Returns
    -------
    Recording

    Raises
    ------
    UnknownName, UsageError
        If there is no such recording or mapping, or no mapping for a CSV file.
    MappingFindings
        If the recording does not have the columns of the mapping.
    TelemetryDamaged
        If a sealed session is not what was sealed.
    MissingTool
        If the format needs a package that is not installed.
    """
    place = Path(path)
    kind = _format(place)
    name = mapping if mapping is not None else _usual(place, kind)
    rules = load_mapping(name) if name is not None else None
    if rules is not None and rules.format != kind:
        raise UsageError(
            f"the mapping {name!r} is for {rules.format} recordings, {place.name} is {kind}.",
            remedy="Give another mapping.",
        )
    left: list[str] = []
    notes: tuple[str, ...] = ()
    if kind == "sealed":
        session = read_sealed(place)
        streams, digest, notes = session.streams, session.sha256, session.notes
    elif rules is not None and kind == "csv":
        found, left = read_csv(place, rules)
        streams, digest = tuple(found), sha256_file(place)
    else:
        raw, left = (raw_c3d(place), []) if kind == "c3d" else raw_xdf(place)
        streams, more = _mapped(place.name, raw, rules)
        left, digest = [*left, *more], sha256_file(place)
    if not streams:
        raise UsageError(
            f"{place.name} has no stream of numbers.",
            remedy=f"Left out: {'; '.join(left) or 'nothing'}.",
        )
    return Recording(
        source=place.name,
        sha256=digest,
        format=kind,
        mapping=name,
        vendor=rules.vendor if rules is not None else "not said",
        model=rules.model if rules is not None else f"{kind.upper()} recording",
        family=rules.family if rules is not None else "treadmill_orthosis",
        streams=streams,
        parameters=_parameters(rules, streams),
        left_out=tuple(left),
        notes=notes,
    )


def _format(place: Path) -> str:
    if not place.exists():
        raise UnknownName(f"no recording {place}.", remedy="Give a file, or a session's folder.")
    if place.is_dir():
        return "sealed"
    suffix = Path(place.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _FORMATS or (place.name.endswith(".gz") and suffix != ".csv"):
        raise UsageError(
            f"{place.name} is of no format that is known.",
            remedy="Give .csv, .csv.gz, .c3d, .xdf or .xdfz, or the folder of a sealed session.",
        )
    return _FORMATS[suffix]


def _usual(place: Path, kind: str) -> str | None:
    if kind == "sealed":
        return "trainer"
    if kind != "csv":
        return None
    for name in mapping_names():
        if fits(place, load_mapping(name)):
            return name
    raise UsageError(
        f"no mapping that comes with the package fits {place.name}.",
        remedy="Write one, see docs/recordings.md.",
    )


def _mapped(
    source: str, raw: list[RawStream], rules: Mapping | None
) -> tuple[tuple[RecordedStream, ...], list[str]]:
    """Return the streams under their own names, or those that the mapping names."""
    if rules is None or not rules.streams:
        names = channel_names(stream.name for stream in raw)
        return tuple(recorded(_named(s, n, None)) for s, n in zip(raw, names, strict=True)), []
    streams, left = [], {stream.name for stream in raw}
    for wanted in rules.streams:
        own = next((s for s in raw if s.name == (wanted.source or wanted.name)), None)
        if own is None:
            raise missing(source, [s.name for s in raw], [wanted.source or wanted.name])
        left.discard(own.name)
        try:
            streams.append(recorded(_named(own, wanted.name, wanted), wanted))
        except KeyError as error:
            raise missing(source, own.labels, [str(error.args[0])]) from error
    return tuple(streams), [f"stream {name!r}" for name in sorted(left)]


def _named(raw: RawStream, name: str, wanted: StreamMapping | None) -> RawStream:
    if wanted is None:
        return replace(raw, name=name)
    return replace(raw, name=name, rate_hz=wanted.rate_hz or raw.rate_hz, gap_s=wanted.gap_s)


def _parameters(
    rules: Mapping | None, streams: tuple[RecordedStream, ...]
) -> tuple[RecordedParameter, ...]:
    """Return the parameters of the mapping; one whose channel is not there is left out."""
    there = {channel.name for stream in streams for channel in stream.stream.channels}
    return tuple(
        RecordedParameter(
            Parameter(p.name, p.unit, p.minimum, p.maximum, p.rate_per_s), p.channel, p.gap
        )
        for p in (rules.parameters if rules is not None else ())
        if p.channel is None or p.channel in there
    )
