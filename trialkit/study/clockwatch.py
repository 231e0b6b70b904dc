"""Notices that the wall clock was set, and where the machine has its time from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from trialkit._clock import Clock, RealClock
from trialkit.record.kinds import ClockSource, ClockStepped, Payload, TimeSource
from trialkit.study.timesource import differs, time_source

if TYPE_CHECKING:
    from trialkit.study.study import Study

TOLERANCE_S = 2.0


class ClockWatch:
    """Compares the two clocks at each event of this process with those at the last one.

    `seen` is what both showed then; it is put back where events are taken back, so that the
    step is said before the next one. Before the first event of a process only the wall clock can
    be compared, with the time of the record's last event.
    """

    def __init__(self) -> None:
        self.seen: tuple[datetime, int] | None = None

    def note(self, study: Study) -> None:
        """Record what `look` yields, inside a batch: before the next event, or what counts them."""
        state = study.state
        for noticed in self.look(study.clock, state.time_sources, state.watched_at):
            study.state.apply(study.record.append(noticed, actor=study.actor, role=study.role))

    def look(
        self, clock: Clock, known: Mapping[str, TimeSource], last_at: str = ""
    ) -> Iterator[Payload]:
        """Yield what to record before the next event.

        That is a wall clock that went more than `TOLERANCE_S` its own way: a machine that slept
        looks the same as a clock that was set forward, because the monotonic clock of Linux
        stands still meanwhile. Before the first event of this process, that is a wall clock more
        than `TOLERANCE_S` behind the record's last event: what another process wrote, before the
        clock was set back, or on a machine whose clock is ahead. A simulated clock, which begins
        anywhere, is not compared then. And, before the first event of this process and after such
        a step, where the machine has its time from, if that is not what the record says.

        Parameters
        ----------
        known : mapping
            What the record says of each machine.
        last_at : str
            Time of the record's last event, as the record has it; empty where there is none.
        """
        now, mono_ns = clock.now(), clock.monotonic_ns()
        seen, self.seen = self.seen, (now, mono_ns)
        if seen is not None:
            by_s = (now - seen[0]).total_seconds() - (mono_ns - seen[1]) / 1e9
            if abs(by_s) <= TOLERANCE_S:
                return
            yield ClockStepped(by_s=round(by_s, 3))
        elif last_at and isinstance(clock, RealClock):
            behind_s = (datetime.fromisoformat(last_at) - now).total_seconds()
            if behind_s > TOLERANCE_S:
                yield ClockStepped(by_s=-round(behind_s, 3), since="record")
        source = time_source(clock)
        if differs(source, known.get(source.machine), tolerance_s=TOLERANCE_S):
            yield ClockSource(source=source)
