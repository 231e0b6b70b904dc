"""Reads an XDF recording of LabRecorder (extra ``formats`` or ``lsl``)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from device_interface.replay.counting import RawStream
from trialkit.errors import MissingTool, UsageError


def raw_xdf(path: Path) -> tuple[list[RawStream], list[str]]:
    """Return the numeric streams of an XDF file, and the streams that were left out.

    The device's clock is the sender's as it was written; the host's is the recorder's, by
    the measured clock offsets, with resets handled. Times are not smoothed.

    Raises
    ------
    MissingTool
        If pyxdf is not installed.
    UsageError
        If the file cannot be read.
    """
    try:
        import pyxdf
    except ImportError as error:
        raise MissingTool(
            "XDF files need pyxdf.", remedy="Install the extra: pip install 'trialkit[formats]'."
        ) from error
    quiet = logging.getLogger("pyxdf")  # it warns of what is counted here
    before, quiet.level = quiet.level, logging.ERROR
    try:
        sent, _ = pyxdf.load_xdf(
            str(path), synchronize_clocks=False, dejitter_timestamps=False, verbose=None
        )
        synced, _ = pyxdf.load_xdf(str(path), synchronize_clocks=True, dejitter_timestamps=False)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", remedy="Give an XDF file.") from error
    finally:
        quiet.level = before
    streams, left = [], []
    hosts = {stream["info"]["stream_id"]: stream["time_stamps"] for stream in synced}
    for stream in sent:
        name = _text(stream["info"], "name") or "stream"
        if _text(stream["info"], "channel_format") == "string":
            left.append(f"stream {name!r}: {len(stream['time_stamps'])} texts, not numbers")
        elif not len(stream["time_stamps"]):
            left.append(f"stream {name!r}: no samples")
        else:
            streams.append(_raw(name, stream, hosts[stream["info"]["stream_id"]]))
    return streams, left


def _raw(name: str, stream: Any, host_s: Any) -> RawStream:
    info = stream["info"]
    values = np.asarray(stream["time_series"], np.float64)
    labels, units = _channels(info, values.shape[1])
    rate = float(_text(info, "nominal_srate") or 0)
    return RawStream(
        name,
        labels,
        units,
        values,
        np.round(np.asarray(stream["time_stamps"]) * 1e9).astype(np.int64),
        np.round(np.asarray(host_s) * 1e9).astype(np.int64),
        rate_hz=rate or None,
    )


def _channels(info: Any, n: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels and units of the channels, as XDF's meta-data give them."""
    try:
        each = info["desc"][0]["channels"][0]["channel"]
    except (KeyError, IndexError, TypeError):
        each = []
    if len(each) != n:
        each = [{}] * n
    name = _text(info, "name") or "stream"
    labels = tuple(_text(one, "label") or f"{name} {at + 1}" for at, one in enumerate(each))
    return labels, tuple(_text(one, "unit") for one in each)


def _text(info: Any, key: str) -> str:
    value = info.get(key) or [""]
    return str(value[0] or "")
