"""Clocks: the real one, and a simulated one that moves only when it is told to."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the record and the runner need of a clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return a clock that never goes back, in nanoseconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class RealClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        """Return ``time.monotonic_ns()``."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`."""
        if seconds > 0:
            time.sleep(seconds)


class SimulatedClock:
    """A clock that starts at `start` and moves only by `sleep`, `advance` and `move_to`.

    Parameters
    ----------
    start : datetime
        Aware, in UTC.
    speed : float or None
        Simulated seconds a real second; None runs as fast as it can.
    """

    def __init__(self, start: datetime, speed: float | None = None) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be aware (UTC)")
        self._start = start.astimezone(UTC)
        self._elapsed_ns = 0
        self._speed = speed

    def now(self) -> datetime:
        """Return the simulated time in UTC."""
        return self._start + timedelta(microseconds=self._elapsed_ns // 1000)

    def monotonic_ns(self) -> int:
        """Return nanoseconds since `start`."""
        return self._elapsed_ns

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds`; at a set speed, wait that long divided by the speed."""
        if self._speed and seconds > 0:
            time.sleep(seconds / self._speed)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` at once."""
        self._elapsed_ns += max(0, round(seconds * 1e9))

    def move_to(self, moment: datetime) -> None:
        """Move forward to `moment`; a moment in the past leaves the clock where it is."""
        ahead = moment - self._start
        ns = (ahead.days * 86_400 + ahead.seconds) * 1_000_000_000 + ahead.microseconds * 1000
        self._elapsed_ns = max(self._elapsed_ns, ns)


def utc_text(moment: datetime) -> str:
    """Return `moment` as ISO 8601 UTC text with microseconds and ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
