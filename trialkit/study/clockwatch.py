"""Notices that the wall clock was set: it and the monotonic clock part."""

from __future__ import annotations

from datetime import datetime

from trialkit._clock import Clock
from trialkit.record.kinds import ClockStepped

TOLERANCE_S = 2.0


class ClockWatch:
    """Compares the two clocks at each event of this process with those at the last one.

    `seen` is what both showed then; it is put back where events are taken back, so that the
    step is said before the next one.
    """

    def __init__(self) -> None:
        self.seen: tuple[datetime, int] | None = None

    def look(self, clock: Clock) -> ClockStepped | None:
        """Return what to record where the wall clock went more than `TOLERANCE_S` its own way.

        A machine that slept looks the same as a clock that was set forward: the monotonic clock
        of Linux stands still meanwhile.
        """
        now, mono_ns = clock.now(), clock.monotonic_ns()
        seen, self.seen = self.seen, (now, mono_ns)
        if seen is None:
            return None
        by_s = (now - seen[0]).total_seconds() - (mono_ns - seen[1]) / 1e9
        return ClockStepped(by_s=round(by_s, 3)) if abs(by_s) > TOLERANCE_S else None
