"""Reads a C3D recording: markers and analogue channels (extra ``formats``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_interface.replay.counting import RawStream, Scale
from trialkit.errors import MissingTool, UsageError

_AXES = ("x", "y", "z")


def raw_c3d(path: Path) -> list[RawStream]:
    """Return the streams ``points`` and ``analog`` of a C3D file, where it has them.

    A C3D file has no clock: times are frame numbers over the rate. A marker that was not
    seen is NaN. The full scale of an analogue channel comes from bits, format, scale and
    offset, where the file gives them.

    Raises
    ------
    MissingTool
        If ezc3d is not installed.
    UsageError
        If the file cannot be read.
    """
    try:
        import ezc3d
    except ImportError as error:
        raise MissingTool(
            "C3D files need ezc3d.", remedy="Install the extra: pip install 'trialkit[formats]'."
        ) from error
    try:
        content = ezc3d.c3d(str(path))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", remedy="Give a C3D file.") from error
    parameters: Any = content["parameters"]
    streams = []
    points = np.asarray(content["data"]["points"], np.float64)  # 4, markers, frames
    if points.shape[1]:
        labels = _all_labels(parameters["POINT"], points.shape[1], "marker")
        values = points[:3].transpose(2, 1, 0).reshape(points.shape[2], -1)
        unit = (_texts(parameters["POINT"], "UNITS") or [""])[0]
        each = tuple(f"{label} {axis}" for label in labels for axis in _AXES)
        streams.append(_stream("points", each, (unit,) * len(each), values, parameters["POINT"]))
    analogs = np.asarray(content["data"]["analogs"], np.float64)[0]  # channels, frames
    if len(analogs):
        group = parameters["ANALOG"]
        labels = _all_labels(group, len(analogs), "channel")
        units = (_texts(group, "UNITS") + [""] * len(analogs))[: len(analogs)]
        scales = _full_scales(group, len(analogs))
        streams.append(_stream("analog", tuple(labels), tuple(units), analogs.T, group, scales))
    return streams


def _stream(
    name: str,
    labels: tuple[str, ...],
    units: tuple[str, ...],
    values: NDArray[np.float64],
    group: Any,
    scales: tuple[Scale | None, ...] = (),
) -> RawStream:
    rate = float(group["RATE"]["value"][0])
    t_ns = np.round(np.arange(len(values)) * (1e9 / rate)).astype(np.int64)
    return RawStream(
        name, labels, units, np.ascontiguousarray(values), t_ns, rate_hz=rate, full_scale=scales
    )


def _texts(group: Any, name: str) -> list[str]:
    return [str(text) for text in group[name]["value"]] if name in group else []


def _all_labels(group: Any, n: int, word: str) -> list[str]:
    labels = _texts(group, "LABELS")[:n]
    return labels + [f"{word} {at + 1}" for at in range(len(labels), n)]


def _full_scales(group: Any, n: int) -> tuple[Scale | None, ...]:
    """Return the ends that the converter can write: ``(count - offset) * scale * general``.

    Source: C3D format user guide, parameters ANALOG:SCALE, GEN_SCALE, OFFSET, FORMAT, BITS.
    """
    bits = group["BITS"]["value"] if "BITS" in group else []
    if not len(bits):
        return (None,) * n
    count = 1 << int(bits[0])
    unsigned = "UNSIGNED" in [text.upper() for text in _texts(group, "FORMAT")]
    low, high = (0, count - 1) if unsigned else (-count // 2, count // 2 - 1)
    general = float(group["GEN_SCALE"]["value"][0])
    scales: list[Scale | None] = []
    for at in range(n):
        scale = float(group["SCALE"]["value"][at]) * general
        offset = float(group["OFFSET"]["value"][at])
        ends = ((low - offset) * scale, (high - offset) * scale)
        scales.append((min(ends), max(ends)) if scale else None)
    return tuple(scales)
