"""The input log: everything that the session machine was fed, so that it can be fed again.

``telemetry/<session>/inputs.jsonl`` holds one JSON object a line::

    {"chain":"<64 hex digits>","entry":<canonical JSON>}

The chain is the SHA-256 of the chain before it (64 zeros at first) and of the entry as it
is written, so that a line can be neither altered, left out nor moved. The first entry is the
head; then come, as they happened, the inputs, the setpoints that were sent and the
clock-offset records; the last entry says that the session ended. Floats keep all their
digits; what is not finite is a string (``nan``, ``inf``, ``-inf``).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trialkit._canonical import canonical_json, sha256_json, sha256_text, sync_folder
from trialkit.errors import StorageRefused, TelemetryDamaged
from trialkit.record.journal import SYNC_S
from trialkit.session import words as w
from trialkit.session.adapt import SCHEME
from trialkit.session.guards import REPEATS, guard_table
from trialkit.session.program import Course
from trialkit.session.schemes import scheme_hashes

NAME = "inputs.jsonl"
SCHEMA = "trialkit.inputs/1"
_START = "0" * 64
_BEFORE, _BETWEEN, _AFTER = '{"chain":"', '","entry":', "}\n"
_BODY = len(_BEFORE) + 64 + len(_BETWEEN)
_BUFFER = 1 << 20
_CLASSES: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (
        w.Ready,
        w.Begin,
        w.Tick,
        w.Hold,
        w.Resume,
        w.Stop,
        w.Answered,
        w.Decide,
        w.BlockLogged,
        w.Acknowledged,
        w.DeviceFailed,
    )
}
_NAMES = {kind: name for name, kind in _CLASSES.items()}
_QUIET = vars(w.Summary(-1))


def encode(given: w.Input) -> dict[str, Any]:
    """Return an input as plain data; `decode` gives the same input back.

    Of a tick's summary only what differs from the defaults is kept.
    """
    fields: dict[str, Any] = dict(vars(given))
    if isinstance(given, w.Tick):
        told = vars(given.summary)
        fields["summary"] = {name: told[name] for name in told if told[name] != _QUIET[name]}
    fields["input"] = _NAMES[type(given)]
    return fields


def decode(entry: Mapping[str, Any]) -> w.Input:
    """Return the input that `encode` made `entry` of.

    Raises
    ------
    TelemetryDamaged
        If it is none that this version knows.
    """
    try:
        fields = {name: _number(value) for name, value in entry.items() if name != "input"}
        kind = _CLASSES[entry["input"]]
        if kind is w.Tick:
            summary = {name: _number(value) for name, value in fields["summary"].items()}
            summary["silent"] = tuple(summary.get("silent", ()))
            fields["summary"] = w.Summary(**summary)
        given: w.Input = kind(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise TelemetryDamaged(
            f"the input log holds an entry that is no input: {error}.",
            remedy="Use the version of trialkit that the head of the log names.",
        ) from error
    return given


_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _number(value: Any) -> Any:
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, dict):
        return {name: _number(one) for name, one in value.items()}
    return value


def _plain(value: Any) -> Any:
    """Return `value` with strings in the place of floats that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _text(entry: Mapping[str, Any]) -> str:
    try:
        return canonical_json(entry)
    except ValueError:
        return canonical_json(_plain(entry))


def decision_model(course: Course) -> str:
    """Return the hash of everything that decides: scheme, rules, envelope, limits, guards."""
    protocol = course.protocol.model_dump(
        mode="json", include={"adaptation", "limits", "stop_rules"}
    )
    rules = [asdict(rule) for rule in course.rules]
    return sha256_json(
        {
            "scheme": SCHEME,
            "rules": rules,
            "schemes": scheme_hashes(course),
            "changes_per_block": course.changes_per_block,
            "protocol": protocol,
            "guards": guard_table(),
            "repeats": REPEATS,
        }
    )


class InputLog:
    """Writes the input log of one session.

    Parameters
    ----------
    path : Path
        Must not exist.
    head : mapping
        The first entry.
    at_once : bool
        True: each line goes to the operating system before the next, and to the disk every
        `SYNC_S`. False, at stride level: everything goes there at the end.

    Raises
    ------
    StorageRefused
        If the disk refuses, here or at any later call.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], *, at_once: bool) -> None:
        self.path = path
        self.lines = 0
        self._chain = _START
        self._dirty = False
        self._synced_at = time.monotonic()
        try:
            self._file = path.open("xb", buffering=0 if at_once else _BUFFER)
        except OSError as error:
            raise self._refused(error) from error
        self._write({"schema": SCHEMA, **head})

    def given(self, given: w.Input) -> None:
        """Write an input."""
        self._write(encode(given))

    def sent(self, send: w.Send) -> None:
        """Write the setpoints that are about to be sent."""
        self._write({"sent": send.number, "values": send.values, "rates": send.rates})

    def clock(self, record: Mapping[str, Any]) -> None:
        """Write a clock-offset record."""
        self._write({"clock": record})

    def sync_if_due(self) -> None:
        """Sync where lines have waited for `SYNC_S`."""
        if self._dirty and time.monotonic() - self._synced_at >= SYNC_S:
            self._sync()

    def close(self, status: str) -> None:
        """Write that the session ended as `status`, sync and close; idempotent."""
        if self._file.closed:
            return
        try:
            self._write({"end": status, "entries": self.lines + 1})
            self._sync()
        finally:
            self.discard()

    def discard(self) -> None:
        """Close without an end and without raising: what was written stays."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        text = _text(entry)
        self._chain = sha256_text(self._chain + text)
        data = memoryview(f"{_BEFORE}{self._chain}{_BETWEEN}{text}{_AFTER}".encode())
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise self._refused(error) from error
        self.lines += 1
        self._dirty = True

    def _sync(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error
        self._dirty = False
        self._synced_at = time.monotonic()

    def _refused(self, error: OSError) -> StorageRefused:
        return StorageRefused(
            f"inputs cannot be written to {self.path}: {error.strerror}.",
            remedy="Free the disk, then run `trialkit recover`: all that was synced is kept.",
        )


@dataclass(frozen=True)
class LogContent:
    """The readable part of an input log.

    Attributes
    ----------
    head : dict
        Empty where not even the first line is good.
    entries : list of dict
        Inputs (``input``), setpoints (``sent``) and clock records (``clock``), in order.
    ended : str or None
        The status that the last line gives, None where the log was cut.
    good_bytes, total_bytes : int
    lines : int
        Good lines, head and end among them.
    fault : str or None
        Why reading ended before the end of the file.
    """

    head: dict[str, Any]
    entries: list[dict[str, Any]]
    ended: str | None
    good_bytes: int
    total_bytes: int
    lines: int
    fault: str | None

    @property
    def clock(self) -> list[dict[str, Any]]:
        """The clock-offset records."""
        return [entry["clock"] for entry in self.entries if "clock" in entry]


def read_inputs(path: Path) -> LogContent:
    """Read the good prefix of an input log; never raises on damage.

    Raises
    ------
    TelemetryDamaged
        If there is no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TelemetryDamaged(
            f"there is no input log {path}.",
            remedy="Sessions of a version without input logs cannot be replayed.",
        ) from error
    chain, at, fault = _START, 0, None
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        found = _entry(line, chain)
        if isinstance(found, str):
            fault = f"line {number}: {found}"
            break
        chain, entry = found
        entries.append(entry)
        at += len(line)
    head = entries[0] if entries and entries[0].get("schema") == SCHEMA else {}
    if entries and not head:
        return LogContent({}, [], None, 0, len(data), 0, "line 1: no head of " + SCHEMA)
    last = entries[-1] if entries else {}
    ended = str(last["end"]) if "end" in last else None
    inner = entries[1 : -1 if ended is not None else None]
    return LogContent(head, inner, ended, at, len(data), len(entries), fault)


def _entry(line: bytes, chain: str) -> tuple[str, dict[str, Any]] | str:
    """Return chain and entry of a line, or what is wrong with it."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    stored = text[len(_BEFORE) : len(_BEFORE) + 64]
    if not (text.startswith(f"{_BEFORE}{stored}{_BETWEEN}") and text.endswith(_AFTER)):
        return "it is cut, or no line of an input log"
    body = text[_BODY : -len(_AFTER)]
    if sha256_text(chain + body) != stored:
        return "it is altered, or not the successor of the line before"
    entry = json.loads(body)
    if not isinstance(entry, dict):
        return "it holds no entry"
    return stored, entry


def keep_good_lines(path: Path) -> tuple[LogContent | None, int]:
    """Cut a log after its last good line; return what is left and the bytes that are lost.

    A log in which nothing is good is taken away; None then, and where there is no log. What
    is cut off goes to the file of `torn_tail` first, so that a crash in between does not make
    the loss forgotten: the next call counts it again.

    Raises
    ------
    StorageRefused
        If the disk refuses.
    """
    tail = torn_tail(path)
    content = read_inputs(path) if path.is_file() else None
    try:
        if content is not None:
            if content.good_bytes < content.total_bytes:
                _write_tail(tail, path.read_bytes()[content.good_bytes :])
            if content.lines:
                with path.open("r+b") as stream:
                    stream.truncate(content.good_bytes)
                    os.fsync(stream.fileno())  # what a crash left may not be on the disk yet
            else:
                path.unlink()
        lost = tail.stat().st_size if tail.is_file() else 0
    except OSError as error:
        raise StorageRefused(
            f"{path} cannot be written: {error.strerror}.", remedy="Free the disk."
        ) from error
    return (content if content is not None and content.lines else None), lost


def _write_tail(tail: Path, data: bytes) -> None:
    """Write `data` whole or not at all; what a crash leaves of it the next call replaces."""
    begun = tail.with_suffix(".tmp")
    with begun.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    begun.replace(tail)
    sync_folder(tail.parent)


def torn_tail(path: Path) -> Path:
    """Return where the tail of a log is kept that `keep_good_lines` cut off."""
    return path.with_name(f".{path.name}.torn")
