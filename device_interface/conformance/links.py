"""Links whose directions can be cut one by one, and the lateness of this machine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from device_interface.link import DeviceLink
from device_interface.urgent import keepalive_word

_NAP_S = 0.005
_LOOK_S = 0.1


class Lateness:
    """Measures how late this machine runs what is due, while a time is being measured.

    By how much this process wakes too late, and by how much the device's processes waited for
    a processor (``/proc/PID/task/TID/schedstat``, where the system has it). Neither is the
    device's doing.

    Parameters
    ----------
    processes : callable
        Gives the process ids to look at, now.

    Attributes
    ----------
    worst_s : float
        The longest so far.
    """

    def __init__(self, processes: Callable[[], Iterable[int]] = tuple) -> None:
        self.worst_s = 0.0
        self._processes = processes
        self._waited: dict[tuple[int, str], int] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Lateness:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._look()

    def _measure(self) -> None:
        looked = time.monotonic()
        while not self._ends.is_set():
            begin = time.monotonic()
            time.sleep(_NAP_S)
            now = time.monotonic()
            self.worst_s = max(self.worst_s, now - begin - _NAP_S)
            if now - looked > _LOOK_S:
                looked = now
                self._look()

    def _look(self) -> None:
        """See how long each thread of the device waited for a processor since the last look."""
        for pid in self._processes():
            for task, waited_ns in waits_ns(pid).items():
                since = waited_ns - self._waited.get((pid, task), waited_ns)
                self._waited[pid, task] = waited_ns
                self.worst_s = max(self.worst_s, since / 1e9)

    @property
    def allowance_s(self) -> float:
        """Three periods of the device's process, and twice the worst lateness so far."""
        return 0.06 + 2.0 * self.worst_s


def waits_ns(pid: int) -> dict[str, int]:
    """Return how long each thread of a process has waited for a processor, in ns.

    Empty where the process is gone or the system does not tell.
    """
    waits = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            text = (task / "schedstat").read_text(encoding="ascii")
            waits[task.name] = int(text.split()[1])
    return waits


def with_children(pid: int) -> list[int]:
    """Return a process id and those of its children, and theirs."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                text = (task / "children").read_text(encoding="ascii")
                found += [int(child) for child in text.split()]
    return found


class BenchLink(DeviceLink):
    """A link whose directions can be cut one by one."""

    muted = False

    def clock_ns(self) -> int:
        """Return the clock with which rows are stamped, in ns."""
        return self._clock.monotonic_ns()

    def keepalive(self, number: int) -> None:
        """Send the keepalive `number`, even while muted."""
        os.write(self._urgent, keepalive_word(number))

    def _keep_alive(self) -> None:
        if not self.muted:
            super()._keep_alive()


class DeafLink(BenchLink):
    """A link that leaves telemetry unread until `heard` is set."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.heard = threading.Event()
        super().__init__(*arguments, **named)

    def _read_telemetry(self) -> None:
        self.heard.wait()
        super()._read_telemetry()

    def cut(self) -> None:
        """Close this end of the telemetry."""
        self._telemetry.close()

    def close(self) -> None:
        """Let the reader go on, then close."""
        self.heard.set()
        super().close()
