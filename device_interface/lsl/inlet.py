"""One LSL stream: found, opened, and pulled into blocks."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from device_interface.contract import Block, Channel, Stream
from device_interface.foreign import channel_names, si_unit
from trialkit.errors import MissingTool

_CHUNK = 4096
_BUFFER_S = 30
_SECOND_S = 1.0
_AS_SENT = "as sent; the sender does not say"


class WantedStream(BaseModel):
    """A stream that a session wants beside its device.

    Parameters
    ----------
    stream : str
        Its name in the session; its channels begin with it.
    name, type, source_id : str or None
        What it is found by; at least one.
    required : bool
        Without it the device cannot be armed, and a session ends where it falls silent.
    unit : str or None
        Of every channel, where the sender does not say.
    full_scale : float
        Largest value either way, in SI units: the range of its channels.
    positive : str
        What a positive value means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str | None = None
    type: str | None = None
    source_id: str | None = None
    required: bool = True
    unit: str | None = None
    full_scale: float = Field(1e9, gt=0)
    positive: str = _AS_SENT

    @model_validator(mode="after")
    def _says_which(self) -> WantedStream:
        if not self.properties():
            raise ValueError("a stream needs a name, a type or a source_id to be found by")
        return self

    def properties(self) -> dict[str, str]:
        """Return what the stream is found by."""
        keys: tuple[Literal["name", "type", "source_id"], ...] = ("name", "type", "source_id")
        found = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}


def lsl_library() -> Any:
    """Return pylsl.

    Raises
    ------
    MissingTool
        If it, or the library below it, is not installed.
    """
    try:
        import pylsl
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingTool(
            f"LSL streams need pylsl: {error}.",
            remedy="Install the extra: pip install 'trialkit[lsl]'.",
        ) from error
    return pylsl


class Inlet:
    """One wanted stream, open or not.

    Nothing here waits for ever: pylsl's own time-outs default to a year.

    Parameters
    ----------
    wanted : WantedStream
    timeout_s : float
        For finding it, and again for each step of opening it.

    Attributes
    ----------
    problem : str or None
        Why it is not open.
    stream : Stream or None
        None where it is not open.
    offset_s : float
        Added to the sender's times to have this machine's LSL clock.
    resets : int
        Times that the sender's clock began again.
    """

    def __init__(self, wanted: WantedStream, timeout_s: float) -> None:
        self.wanted = wanted
        self.problem: str | None = None
        self.stream: Stream | None = None
        self.offset_s = 0.0
        self.resets = 0
        self._lsl = lsl_library()
        self._inlet: Any = None
        self._scale = np.ones(0)
        self._seq = 0
        self._seen_s = self._lsl.local_clock()
        self._open(timeout_s)

    def _open(self, timeout_s: float) -> None:
        what = " and ".join(f"{k} {v!r}" for k, v in self.wanted.properties().items())
        conditions = (f"{k}={_quoted(v)}" for k, v in self.wanted.properties().items())
        condition = " and ".join(conditions)
        found = self._lsl.resolve_bypred(condition, 1, timeout_s)
        if found:  # the search ends with the first: look again for another
            found = self._lsl.resolve_bypred(condition, 2, _SECOND_S) or found
        if len(found) != 1:
            number = "no stream" if not found else f"{len(found)} streams"
            self.problem = f"{number} with {what}"
            return
        if found[0].channel_format() == self._lsl.cf_string:
            self.problem = f"the stream with {what} holds texts, not numbers"
            return
        inlet = self._lsl.StreamInlet(found[0], max_buflen=_BUFFER_S)
        try:
            info = inlet.info(timeout_s)
            inlet.open_stream(timeout_s)
            self.offset_s = inlet.time_correction(timeout_s)
        except (self._lsl.util.TimeoutError, self._lsl.util.LostError):
            self.problem = f"the stream with {what} does not answer"
            return
        self._inlet = inlet
        self._describe(info)

    def _describe(self, info: Any) -> None:
        n, name = info.channel_count(), self.wanted.stream
        labels = _each(info.get_channel_labels(), n, lambda at: str(at + 1))
        units = _each(info.get_channel_units(), n, lambda _: self.wanted.unit or "")
        si = [si_unit(unit) for unit in units]
        self._scale = np.array([factor for _, factor in si])
        top = self.wanted.full_scale
        channels = tuple(
            Channel(one, unit, self.wanted.positive, -top, top)
            for one, (unit, _) in zip(channel_names(labels, name), si, strict=True)
        )
        rate_hz = info.nominal_srate() or None
        self.stream = Stream(name, rate_hz, channels, self.wanted.required)

    def pull(self) -> Block | None:
        """Return the samples that have come, or None.

        The device time is the sender's in this machine's LSL clock, by the last offset.
        """
        if self._inlet is None:
            return None
        parts, times = [], []
        while True:
            try:
                values, stamps = self._inlet.pull_chunk(0.0, _CHUNK, as_numpy=True)
            except self._lsl.util.LostError:
                break
            if len(stamps):
                parts.append(np.array(values, np.float64))
                times.append(np.array(stamps, np.float64))
            if len(stamps) < _CHUNK:
                break
        if not times:
            return None
        self._seen_s = self._lsl.local_clock()
        t_ns = np.round((np.concatenate(times) + self.offset_s) * 1e9).astype(np.int64)
        rows = (np.concatenate(parts) * self._scale).astype(np.float32)
        seq = np.arange(self._seq, self._seq + len(rows), dtype=np.int64).astype(np.uint32)
        self._seq += len(rows)
        return Block(self.wanted.stream, seq, t_ns, t_ns, rows)

    @property
    def silent_s(self) -> float:
        """Seconds since a sample came, or since it was opened."""
        return float(self._lsl.local_clock() - self._seen_s)

    def measure_clock(self, timeout_s: float) -> None:
        """Take a new clock offset; a sender that does not answer keeps its last one."""
        if self._inlet is None:
            return
        with contextlib.suppress(self._lsl.util.TimeoutError, self._lsl.util.LostError):
            self.offset_s = float(self._inlet.time_correction(timeout_s))
            self.resets += bool(self._inlet.was_clock_reset())

    def close(self) -> None:
        """Let the sender know that nobody listens any more."""
        if self._inlet is not None:
            self._inlet.close_stream()
            self._inlet = None


def _quoted(text: str) -> str:
    """Return `text` for an XPath condition, which knows no escapes."""
    return f"'{text}'" if "'" not in text else f'"{re.sub(chr(34), "", text)}"'


def _each(given: list[str | None] | None, n: int, otherwise: Any) -> list[str]:
    texts = list(given or [])
    texts += [None] * (n - len(texts))
    return [text or otherwise(at) for at, text in enumerate(texts[:n])]
