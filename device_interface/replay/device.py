"""The driver ``replay``: a recording that is played as a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from device_interface.contract import (
    Block,
    Capability,
    DeviceState,
    Fault,
    Reaction,
    Setpoints,
)
from device_interface.controller import ESTOP_RELEASE, Controller, Planned
from device_interface.errors import LimitRefused
from device_interface.replay.following import Following
from device_interface.replay.read import read_recording
from device_interface.replay.recording import Recording
from device_interface.replay.tape import PLAYER, Tape, played_stream, player_stream

_S = DeviceState
LEFT = Fault("left_recording", 32001, "what is set is not what was recorded")
ESTOP = Fault("estop", 32002, "emergency stop of the player", "estop")
_NO_CODE = 32003


class ReplayDevice(Controller):
    """Plays a recording through the contract; nothing moves, and nobody walks in it.

    The first stream, ``player``, is the player's own: its state, and where it is. The
    others are the recorded streams, row by row with their sequence numbers, system channels
    and faults as recorded. Device time is the recording's without wraps and resets, from its
    beginning, plus the time that the tape stood still.

    Parameters
    ----------
    recording : str
        Path, see `read_recording`.
    mapping : str, optional
        Name or file.
    setpoints : {"compare", "ignore"}
        With ``compare`` a setting whose set value was not recorded is refused, and one that
        differs from the recorded set value by more than its gap, for more than a second, is
        the fault ``left_recording``. With ``ignore`` any within the limits is taken, as
        always with a recording of one row a stride. Either way the rows say what was recorded.
    start : {"connect", "run"}, optional
        When the tape starts. A recording that tells its device's state starts with the
        connection, so that a session that does the same again gets the same rows; any other
        with the first setpoints, which may be empty.
    rate : {"full", "stride"}
        ``stride`` needs a recording of one row a stride.

    Raises
    ------
    TrialkitError
        As `read_recording`.
    """

    read = staticmethod(read_recording)

    def __init__(
        self,
        *,
        recording: str,
        mapping: str | None = None,
        setpoints: Literal["compare", "ignore"] = "compare",
        start: Literal["connect", "run"] | None = None,
        rate: Literal["full", "stride"] = "full",
    ) -> None:
        if setpoints not in ("compare", "ignore") or start not in (None, "connect", "run"):
            raise ValueError("setpoints is 'compare' or 'ignore', start is 'connect' or 'run'")
        read = read_recording(recording, mapping)
        told = any(c.name == "device_state" for s in read.streams for c in s.stream.channels)
        self._at_once = (start or ("connect" if told else "run")) == "connect"
        self._tape = Tape(read, running=False)
        if (rate == "stride") == self._tape.regular:
            raise ValueError(f"the recording does not fit rate={rate!r}")
        self._following: Following | None = None
        self._unknown: frozenset[str] = frozenset()
        if setpoints == "compare" and self._tape.regular:
            self._following = Following(self._tape, read.parameters)
            names = (p.parameter.name for p in read.parameters if p.channel is None)
            self._unknown = frozenset(names)
        self._seqs = {track.name: track.seq for track in self._tape.tracks}
        self._given = dict.fromkeys(self._seqs, 0)
        found = self._tape.recorded_faults()
        super().__init__(_capability(read, self._tape, found), self._tape)
        own = self._columns[PLAYER]
        self._columns = {**dict.fromkeys(self._columns), PLAYER: own}
        if self._at_once:
            self._play()

    def obstacles(self) -> Sequence[str]:
        """Return that the recording is over, where it is."""
        return ["the recording has ended"] if self._tape.ended else []

    def _play(self) -> None:
        """Let the tape go on, and the recorded faults come when they came."""
        self._tape.play()
        ahead = self._now_ns - self._tape.position_ns
        self._planned = [
            Planned((at + ahead) / 1e9, _kind(state, code))
            for at, state, code in self._tape.recorded_faults()
            if at >= self._tape.position_ns
        ]

    def apply(self, setpoints: Setpoints) -> int:
        """Take setpoints that were recorded; the first ones may start the tape."""
        legal = self._state in (_S.ARMED, _S.RUNNING) and setpoints.token == self._token
        begins = legal and self._state is _S.ARMED and not self._tape.running
        if begins and not self._tape.position_ns:
            self._tape.skip_to_walking()
            self._given = {track.name: track.next for track in self._tape.tracks}
        unknown = self._unknown & setpoints.values.keys()
        if legal and unknown:
            raise LimitRefused(
                f"the recording does not tell what {', '.join(sorted(unknown))} was set to.",
                remedy="Leave it out, or use setpoints='ignore'.",
            )
        taken = super().apply(setpoints)
        if begins:
            self._play()
        if self._following is not None:
            for name, value in setpoints.values.items():
                self._following.go(name, value, setpoints.rates.get(name))
        return taken

    def resume(self) -> int:
        """Go on after a hold: the tape goes on where it stands."""
        token = super().resume()
        self._play()
        return token

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let time pass; the device comes to rest where the recording ends."""
        passed, blocks = super().advance(duration_ns)
        if self._tape.ended and self._state in (_S.RUNNING, _S.HOLD):
            self.ramp_down()
        if self._following is not None:
            if self._state is not _S.RUNNING:
                self._following.restart()
            elif self._following.step(passed):
                self._fail(LEFT.kind, _S.FAULT)
        return passed, [self._as_recorded(block) for block in blocks]

    def _as_recorded(self, block: Block) -> Block:
        """Give the rows the sequence numbers that they were recorded with."""
        if block.stream not in self._seqs:
            return block
        first = self._given[block.stream]
        self._given[block.stream] = first + len(block)
        seq = self._seqs[block.stream][first : first + len(block)]
        return replace(block, seq=np.ascontiguousarray(seq))


def _kind(state: DeviceState, code: int) -> str:
    if state is _S.ESTOP_LATCHED:
        return ESTOP_RELEASE
    return f"recorded_{state.name.lower()}_{code}"


def _capability(
    recording: Recording, tape: Tape, faults: list[tuple[int, DeviceState, int]]
) -> Capability:
    reactions: dict[DeviceState, Reaction] = {_S.ESTOP_PHYSICAL: "estop", _S.HOLD: "hold"}
    declared = {
        _kind(state, code): Fault(
            _kind(state, code),
            code or _NO_CODE,
            f"the recording holds {state.name} with fault code {code}",
            reactions.get(state, "fault"),
        )
        for _, state, code in faults
        if state is not _S.ESTOP_LATCHED
    }
    streams = [played_stream(stream) for stream in recording.streams]
    return Capability(
        vendor="replay",
        model=f"{recording.vendor} {recording.model}",
        serial=recording.sha256[:16],
        firmware="1",
        family=recording.family,
        parameters=tuple(p.parameter for p in recording.parameters),
        streams=(player_stream(regular=tape.regular), *streams),
        calibrated_on="as recorded",
        simulated=True,
        stop_within_s={0: 0.1, 1: 0.1, 2: 0.1},
        faults=(LEFT, ESTOP, *declared.values()),
        notes=recording.identity(),
    )
