"""What a running session writes beside the record: a journal a stream, inputs, clock offsets."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import trialkit
from device_interface.contract import Block, Stream
from trialkit._canonical import sync_folder
from trialkit._clock import Clock, utc_text
from trialkit.errors import StorageRefused
from trialkit.record.journal import JournalWriter, discard, telemetry_schema
from trialkit.record.sealing import Sealed, seal
from trialkit.session import inputs
from trialkit.session.inputs import InputLog, decision_model
from trialkit.session.state import State

CLOCK_EVERY_S = 50.0
"""Less than a minute, since a record waits for the next row."""


def make_folder(folder: Path) -> None:
    """Make the folder of a session; one that is there goes aside.

    Raises
    ------
    StorageRefused
        If the disk refuses.
    """
    try:
        if folder.exists():  # left by a session that the record does not know
            aside = 1
            while folder.with_name(f"{folder.name}.orphan-{aside}").exists():
                aside += 1
            folder.rename(folder.with_name(f"{folder.name}.orphan-{aside}"))
        folder.mkdir(parents=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise StorageRefused(
            f"{folder} cannot be made: {error.strerror}.", remedy="Free the disk."
        ) from error


def head_of(state: State, protocol_sha256: str, **more: Any) -> dict[str, Any]:
    """Return the head of the input log: everything that a replay must build again."""
    program = state.program
    return {
        "session": program.session,
        "protocol": program.course.protocol.id,
        "protocol_sha256": protocol_sha256,
        "levels": dict(program.levels),
        "decision_model_sha256": decision_model(program.course),
        "versions": {"trialkit": trialkit.__version__, "python": platform.python_version()},
        **more,
    }


class ClockOffsets:
    """Host monotonic time minus device time of each stream, and the wall clock.

    A record is ``{"stream", "seq", "t_host_ns", "offset_ns"}`` of one row: of a stream's
    first row, of one at least every `CLOCK_EVERY_S`, and of its last. The wall clock is
    ``{"wall", "t_host_ns"}``, at the beginning and at the end.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, int] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self.records: list[dict[str, Any]] = []

    def wall(self) -> dict[str, Any]:
        """Record wall clock and monotonic clock."""
        now = {"wall": utc_text(self._clock.now()), "t_host_ns": self._clock.monotonic_ns()}
        self.records.append(now)
        return now

    def see(self, block: Block) -> list[dict[str, Any]]:
        """Take in a block; return the records that were due."""
        t_host = block.t_host_ns
        end = int(t_host[-1])
        due = self._due.setdefault(block.stream, int(t_host[0]))
        new = []
        while due <= end:
            at = int(np.searchsorted(t_host, due))
            new.append(self._record(block, at))
            due = int(t_host[at]) + round(CLOCK_EVERY_S * 1e9)
        self._due[block.stream] = due
        self._last[block.stream] = self._record(block, len(block) - 1)
        self.records += new
        return new

    def ends(self) -> list[dict[str, Any]]:
        """Record the last row of each stream."""
        new = [record for record in self._last.values() if record not in self.records]
        self.records += new
        return new

    @staticmethod
    def _record(block: Block, at: int) -> dict[str, Any]:
        host = int(block.t_host_ns[at])
        return {
            "stream": block.stream,
            "seq": int(block.seq[at]),
            "t_host_ns": host,
            "offset_ns": host - int(block.t_device_ns[at]),
        }


class Recorder:
    """Journals, input log and clock offsets of one session.

    Parameters
    ----------
    folder : Path
        Made by `make_folder`.
    session : str
    streams : iterable of Stream
        One journal each.
    head : mapping
        See `head_of`.
    clock : Clock
    real : bool
        In real time everything reaches the disk within half a second.
    stride : bool
        At stride level everything reaches the disk at the end.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        streams: Iterable[Stream],
        head: Mapping[str, Any],
        clock: Clock,
        *,
        real: bool,
        stride: bool,
    ) -> None:
        self.folder = folder
        self.session = session
        self._real = real
        self._stride = stride
        self._offsets = ClockOffsets(clock)
        self.inputs = InputLog(folder / inputs.NAME, head, at_once=not stride)
        self._journals: dict[str, JournalWriter] = {}
        try:
            self._note([self._offsets.wall()])
            for stream in streams:
                path = folder / f"{stream.name}.tkj"
                self._journals[stream.name] = JournalWriter(path, self._schema(stream))
        except BaseException:
            self.discard()
            raise

    def _schema(self, stream: Stream) -> Any:
        rate = stream.rate_hz
        meta = {
            "session": self.session,
            "stream": stream.name,
            "rate_hz": "" if rate is None else f"{rate:g}",
        }
        return telemetry_schema([(c.name, c.unit, c.kind) for c in stream.channels], meta)

    def _note(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write clock records where a crash would lose them: not at stride level."""
        if not self._stride:
            for record in records:
                self.inputs.clock(record)

    def keep(self, blocks: Iterable[Block]) -> None:
        """Append rows, and sync what has waited long enough.

        Raises
        ------
        StorageRefused
            If the disk refuses.
        """
        for block in blocks:
            journal = self._journals[block.stream]
            journal.append(block.seq, block.t_device_ns, block.t_host_ns, block.values)
            self._note(self._offsets.see(block))
        if self._real:
            for journal in self._journals.values():
                journal.sync_if_due()
            self.inputs.sync_if_due()

    def finish(self, status: str) -> Sealed:
        """Close everything and seal it.

        Raises
        ------
        StorageRefused, TelemetryDamaged
            See `trialkit.record.sealing.seal`.
        """
        try:
            for journal in self._journals.values():
                journal.close(sync=not self._stride)
            self._note([*self._offsets.ends(), self._offsets.wall()])
            self.inputs.close(status)
        except StorageRefused:
            self.discard()
            raise
        return seal(
            self.folder,
            session=self.session,
            status=status,
            beside={inputs.NAME: self.inputs.lines},
            clock=self._offsets.records,
        )

    def discard(self) -> None:
        """Close everything without raising: what is on disk stays there for `recover`."""
        for journal in self._journals.values():
            discard(journal)
        self.inputs.discard()
