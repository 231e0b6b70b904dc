"""The recording as the moving parts of a device: rows come as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from device_interface.contract import MOVING_M_S, Channel, DeviceState, Stream
from device_interface.controller import Rows
from device_interface.replay.recording import Nanoseconds, RecordedStream, Recording

PLAYER = "player"
PERIOD_NS = 10_000_000
FOLLOW_NS = 1_000_000_000
"""A hold or stop that the recording makes within this time is the recording's own."""
_POWERED = (DeviceState.ARMED, DeviceState.RUNNING)
_CLOCK = "clock_recorded_s"


def player_stream(*, regular: bool) -> Stream:
    """Return the player's own stream: 100 Hz, or one row a step of the host."""
    own = (
        Channel("device_state", "1", "enumeration DeviceState, of the player", 0, 9, kind="int16"),
        Channel("fault_code", "1", "0 is none", 0, 32767, kind="int16"),
        Channel("watchdog_age_s", "s", "since the last keepalive", 0, 10),
        Channel("position_s", "s", "since the beginning of the recording", 0, 1e6),
        Channel("playing", "1", "1 while the recording runs", 0, 1),
    )
    return Stream(PLAYER, 1e9 / PERIOD_NS if regular else None, own)


def played_stream(recorded: RecordedStream) -> Stream:
    """Return a recorded stream with its recorded clock beside it, where that was unwrapped."""
    stream = recorded.stream
    if not recorded.clock_mended:
        return stream
    first, last = (float(end) / 1e9 for end in (recorded.t_raw_ns.min(), recorded.t_raw_ns.max()))
    clock = Channel(_CLOCK, "s", "the device's clock as it was recorded", first, last)
    return Stream(stream.name, stream.rate_hz, (*stream.channels, clock))


class _Track:
    """One stream on the tape, with the row that comes next."""

    def __init__(self, recorded: RecordedStream, begin_ns: int) -> None:
        self.name = recorded.stream.name
        self.seq = recorded.seq
        self.t_ns: Nanoseconds = recorded.t_device_ns - begin_ns
        self.due_ns: Nanoseconds = np.maximum.accumulate(self.t_ns)
        self.values = recorded.values
        if recorded.clock_mended:
            self.values = np.column_stack([self.values, recorded.t_raw_ns / 1e9])
        self.column = {c.name: at for at, c in enumerate(recorded.stream.channels)}
        self.next = 0

    def until(self, position_ns: int) -> slice:
        """Take the rows that are due up to `position_ns`."""
        end = int(np.searchsorted(self.due_ns, position_ns, side="right"))
        taken = slice(self.next, max(end, self.next))
        self.next = taken.stop
        return taken


class Tape:
    """Plays a recording; a `Plant` that takes no orders but to play and to stand still.

    A hold, a stop or a fault stops the tape, except where the recording itself leaves
    ARMED or RUNNING within `FOLLOW_NS`: then it goes on and shows how that went.

    Parameters
    ----------
    recording : Recording
    running : bool
        Play from the beginning, or from when `play` is called.
    """

    def __init__(self, recording: Recording, *, running: bool) -> None:
        begin_ns = min(_begin_ns(stream) for stream in recording.streams)
        self.tracks = [_Track(stream, begin_ns) for stream in recording.streams]
        self.end_ns = max(int(track.due_ns[-1]) for track in self.tracks)
        self.regular = any(s.stream.rate_hz is not None for s in recording.streams)
        self.position_ns = 0
        self.running = running
        self._player_ns = 0
        self._state = self._find("device_state")
        self._speed = self._find("belt_speed_m_s")

    def _find(self, name: str) -> tuple[_Track, NDArray[np.float64]] | None:
        for track in self.tracks:
            if name in track.column:
                return track, track.values[:, track.column[name]]
        return None

    # --- what a plant can do --------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """True where every row was played."""
        return self.position_ns >= self.end_ns

    @property
    def moving(self) -> bool:
        """True while the recorded belt moves."""
        if not self.running or self._speed is None:
            return False
        track, speed = self._speed
        return bool(track.next and speed[track.next - 1] > MOVING_M_S)

    @property
    def settled(self) -> bool:
        """True where the tape stands still."""
        return not self.running

    @property
    def standing(self) -> bool:
        """True where the recorded device is off, or the tape does not tell and stands still."""
        if not self.running:
            return True
        if self._state is None:
            return not self.moving
        track, states = self._state
        coming = states[min(track.next, len(states) - 1)]
        return coming not in (*_POWERED, DeviceState.HOLD, DeviceState.RAMP_DOWN)

    def go(self, name: str, value: float, rate_per_s: float | None) -> None:
        """Do nothing: what is set was set when it was recorded."""

    def slow_to_rest(self, *, urgent: bool) -> None:  # noqa: ARG002
        """Stop the tape, where the recording does not come to rest by itself."""
        self.running = self.running and self._stops_itself()

    def remove_torque(self) -> None:
        """Stop the tape, where the recording does not come to rest by itself."""
        self.slow_to_rest(urgent=True)

    def release(self) -> None:
        """Do nothing: the recorded harness does it."""

    def to_rest_targets(self) -> None:
        """Go on where the tape stands."""
        self.play()

    def disturb(self, kind: str) -> None:
        """Do nothing: what disturbed the device is in its rows."""

    def calm(self) -> None:
        """Do nothing."""

    def run(self, t_ns: int, duration_ns: int) -> Mapping[str, Rows]:
        """Let time pass from `t_ns` and return the rows that were recorded in it."""
        made: dict[str, Rows] = {}
        played = self.running
        if played:
            shift = t_ns - self.position_ns
            self.position_ns += duration_ns
            for track in self.tracks:
                due = track.until(self.position_ns)
                if due.stop > due.start:
                    made[track.name] = Rows(track.t_ns[due] + shift, track.values[due].copy())
            if self.ended:
                self.running = False
        return {PLAYER: self._player(t_ns, duration_ns, played=played), **made}

    def _player(self, t_ns: int, duration_ns: int, *, played: bool) -> Rows:
        end = t_ns + duration_ns
        if self.regular:
            first = self._player_ns + PERIOD_NS
            t = np.arange(first, end + 1, PERIOD_NS, dtype=np.int64)
        else:
            t = np.array([end], np.int64)
        if len(t):
            self._player_ns = int(t[-1])
        values = np.zeros((len(t), 5))
        position_ns = self.position_ns - (end - t if played else 0)
        values[:, 3] = np.round(position_ns / 1e9, 4)
        values[:, 4] = played
        return Rows(t, values)

    # --- the tape --------------------------------------------------------------------------

    def play(self) -> None:
        """Go on, where there is something left."""
        self.running = not self.ended

    def skip_to_walking(self) -> None:
        """Go to the first row in RUNNING, where the recording tells its device's states."""
        if self._state is None:
            return
        track, states = self._state
        walking = np.flatnonzero(states == DeviceState.RUNNING)
        if len(walking) and walking[0]:
            self.position_ns = int(track.due_ns[walking[0] - 1])
            for each in self.tracks:
                each.until(self.position_ns)

    def recorded_faults(self) -> list[tuple[int, DeviceState, int]]:
        """Return position in ns, new state and fault code of each fault of the recording.

        The position is that of the last row before. A code that stands with HOLD is a fault
        that held; a release of the emergency stop is ESTOP_LATCHED.
        """
        codes = self._find("fault_code")
        if self._state is None:
            return []
        track, states = self._state
        told = codes[1] if codes is not None and codes[0] is track else np.zeros(len(states))
        faults = []
        for at in np.flatnonzero((np.diff(states) != 0) | (np.diff(told) != 0)) + 1:
            state, code = DeviceState(int(states[at])), int(told[at])
            failed = states[at] != states[at - 1] and state in _FAILING
            if failed or (state is DeviceState.HOLD and code and code != told[at - 1]):
                faults.append((int(track.due_ns[at - 1]), state, code))
        return faults

    def latest(self, channel: str) -> float:
        """Return the value of `channel` at the position of the tape.

        Raises
        ------
        KeyError
            If no stream has it.
        """
        found = self._find(channel)
        if found is None:
            raise KeyError(channel)
        track, values = found
        return float(values[max(track.next - 1, 0)])

    def _stops_itself(self) -> bool:
        if self._state is None:
            return False
        track, states = self._state
        last = int(np.searchsorted(track.due_ns, self.position_ns + FOLLOW_NS, side="right"))
        last = max(last, track.next + 2)  # a stride may be longer
        return not np.isin(states[track.next : last + 1], _POWERED).all()


_FAILING = frozenset(
    {
        DeviceState.FAULT,
        DeviceState.ESTOP_PHYSICAL,
        DeviceState.ESTOP_LATCHED,
        DeviceState.LINK_LOST,
    }
)


def _begin_ns(recorded: RecordedStream) -> int:
    """Return the device's time one period before the first row, or when its stride began."""
    first = int(recorded.t_device_ns[0])
    stream = recorded.stream
    if stream.rate_hz:
        return first - round(1e9 / stream.rate_hz)
    names = [channel.name for channel in stream.channels]
    if "duration_s" not in names:
        return first
    return first - round(float(recorded.values[0, names.index("duration_s")]) * 1e3) * 1_000_000
