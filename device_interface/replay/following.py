"""Whether what the host sets is what was set when the recording was made."""

from __future__ import annotations

from collections.abc import Iterable

from device_interface.replay.recording import RecordedParameter
from device_interface.replay.tape import Tape

AFTER_NS = 1_000_000_000
"""A set value may differ from the recorded one for this long."""


class Following:
    """Lets each setting move as the host asks, and compares it with the recording.

    Parameters
    ----------
    tape : Tape
    parameters : iterable of RecordedParameter
        Those without a channel are not compared.
    """

    def __init__(self, tape: Tape, parameters: Iterable[RecordedParameter]) -> None:
        self._tape = tape
        self._known = {p.parameter.name: p for p in parameters if p.channel is not None}
        self._now: dict[str, float] = {}
        self._target: dict[str, float] = {}
        self._rate: dict[str, float] = {}
        self._off_ns = dict.fromkeys(self._known, 0)
        self.restart()

    def restart(self) -> None:
        """Take every setting as it is on the tape."""
        for name, known in self._known.items():
            self._now[name] = self._target[name] = self._recorded(known)
            self._rate[name] = known.parameter.rate_per_s
            self._off_ns[name] = 0

    def go(self, name: str, value: float, rate_per_s: float | None) -> None:
        """Let the setting `name` move to `value`."""
        if name in self._known:
            own = self._known[name].parameter.rate_per_s
            self._target[name] = value
            self._rate[name] = own if rate_per_s is None else rate_per_s

    def step(self, duration_ns: int) -> bool:
        """Let time pass; return True where a setting was off by more than its gap too long."""
        lost = False
        for name, known in self._known.items():
            reach = self._rate[name] * duration_ns / 1e9
            way = self._target[name] - self._now[name]
            self._now[name] += min(max(way, -reach), reach)
            near = abs(self._now[name] - self._recorded(known)) <= known.gap
            self._off_ns[name] = 0 if near else self._off_ns[name] + duration_ns
            lost = lost or self._off_ns[name] > AFTER_NS
        return lost

    def _recorded(self, known: RecordedParameter) -> float:
        return self._tape.latest(str(known.channel))
