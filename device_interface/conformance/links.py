"""Links whose directions can be cut one by one, and the lateness of this machine."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from device_interface.link import DeviceLink
from device_interface.urgent import keepalive_word


class Lateness:
    """Measures how late this machine itself wakes up while a time is being measured."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._ends.is_set():
            begin = time.monotonic()
            time.sleep(0.005)
            self.worst_s = max(self.worst_s, time.monotonic() - begin - 0.005)

    @property
    def allowance_s(self) -> float:
        """Three periods of the device's process, and twice the worst lateness so far."""
        return 0.06 + 2.0 * self.worst_s


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
