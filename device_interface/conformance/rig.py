"""One opened device: what the checks do with it, and what they see of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_interface.conformance.links import BenchLink
from device_interface.conformance.model import Deviates, NotJudged
from device_interface.contract import (
    MOVING_M_S,
    Block,
    Capability,
    DeviceState,
    Parameter,
    Setpoints,
    Stream,
)
from device_interface.errors import DeviceRefused
from trialkit.errors import TrialkitError, UsageError

S = DeviceState
BELT = "belt_speed_m_s"
PLAYS = "playing"
"""What a player of recordings has for motion: 1 while the recording runs."""
READ_BACK = {
    "speed_m_s": "belt_speed_set_m_s",
    "support_fraction": "support_set_fraction",
    "guidance": "guidance",
}
"""Channel that shows how far the device has moved the set value of a parameter."""
_STRIDE_S = 1.5
_TORQUE_SHARE, _TORQUE_FLOOR = 0.05, 0.01
_NO_INJECTION = "this device offers no such injection of faults"


class Trace:
    """Rows of one stream, in the order of arrival.

    Attributes
    ----------
    seq : ndarray of uint32, shape (n,)
    t_device_ns, t_host_ns : ndarray of int64, shape (n,)
    values : ndarray of float32, shape (n, channels)
    """

    def __init__(self, stream: Stream, blocks: Sequence[Block]) -> None:
        self.stream = stream
        own = [b for b in blocks if b.stream == stream.name]
        k = len(stream.channels)
        self.seq = np.concatenate([np.empty(0, np.uint32), *(b.seq for b in own)])
        self.t_device_ns = np.concatenate([np.empty(0, np.int64), *(b.t_device_ns for b in own)])
        self.t_host_ns = np.concatenate([np.empty(0, np.int64), *(b.t_host_ns for b in own)])
        self.values = np.concatenate([np.empty((0, k), np.float32), *(b.values for b in own)])

    def __len__(self) -> int:
        return len(self.seq)

    def has(self, name: str) -> bool:
        """Return True where the stream has the channel `name`."""
        return any(channel.name == name for channel in self.stream.channels)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the values of a channel, shape (n,)."""
        if not self.has(name):
            raise Deviates(f"the stream {self.stream.name} has no channel {name}")
        return self.values[:, self.stream.index(name)].astype(np.float64)

    def where(self, rows: NDArray[np.bool_]) -> Trace:
        """Return only those `rows`, of shape (n,)."""
        some = Trace(self.stream, [])
        for name in ("seq", "t_device_ns", "t_host_ns", "values"):
            setattr(some, name, getattr(self, name)[rows])
        return some

    def states(self) -> list[DeviceState]:
        """Return the device states in the rows, each stretch once."""
        numbers = self.column("device_state").astype(int)
        firsts = numbers[np.flatnonzero(np.diff(numbers, prepend=-1))]
        return [DeviceState(int(number)) for number in firsts]


def together(first: Trace, second: Trace) -> Trace:
    """Return two traces of one stream as one."""
    whole = Trace(first.stream, [])
    for name in ("seq", "t_device_ns", "t_host_ns", "values"):
        setattr(whole, name, np.concatenate([getattr(first, name), getattr(second, name)]))
    return whole


class Rig:
    """One opened device and what the checks do with it."""

    def __init__(self, link: BenchLink) -> None:
        self.link = link
        self.capability: Capability = link.capability
        self.own: Stream = link.capability.streams[0]
        self.real_time = not link.lockstep

    # --- time ----------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> Trace:
        """Let `seconds` pass and return the rows of the device's own stream."""
        return Trace(self.own, self.pass_blocks(seconds))

    def pass_blocks(self, seconds: float, step_s: float = 0.5) -> list[Block]:
        """Let `seconds` pass and return all blocks."""
        blocks: list[Block] = []
        left = seconds
        while left > 1e-9:
            passed, more = self.link.wait(min(left, 0.05 if self.real_time else step_s))
            blocks += more
            left -= max(passed, 1e-3)
        return blocks

    def host_ns(self) -> int:
        """Return the clock with which the link stamps rows, in ns."""
        return self.link.clock_ns()

    def until(self, seconds: float, *states: DeviceState) -> Trace:
        """Let time pass until the device is in one of `states`.

        Raises
        ------
        Deviates
            If it is not within `seconds`.
        """
        blocks: list[Block] = []
        left = seconds
        while True:
            passed, more = self.link.wait(0.02)
            blocks += more
            left -= max(passed, 1e-3)
            if self.link.state in states:
                return Trace(self.own, blocks)
            if left <= 0:
                wanted = " or ".join(state.name for state in states)
                raise Deviates(f"{self.link.state.name} after {seconds:g} s, not {wanted}")

    def until_ramping(self) -> Trace:
        """Let time pass until the device, told so, is in RAMP_DOWN.

        Raises
        ------
        NotJudged
            If it is through already, as one is that has nothing to bring to rest.
        """
        rows = self.until(1.0, S.RAMP_DOWN, S.DISARMED)
        if self.link.state is S.DISARMED:
            raise NotJudged("its ramp-down takes no time")
        return rows

    def stays(self, seconds: float, *states: DeviceState) -> Trace:
        """Let `seconds` pass in which the device must not leave `states`.

        Raises
        ------
        Deviates
            If it does.
        """
        self.until(1.0, *states)
        trace = self.pass_time(seconds)
        others = [s.name for s in trace.states() if s not in states]
        if self.link.state not in states:
            others.append(self.link.state.name)
        if others:
            raise Deviates(f"it went on to {', '.join(dict.fromkeys(others))}")
        return trace

    # --- verbs ---------------------------------------------------------------------------

    def parameter(self, name: str) -> Parameter:
        """Return a parameter, or say that there is none."""
        found = self.capability.parameter(name)
        if found is None:
            raise NotJudged(f"the device has no parameter {name}")
        return found

    def walking_values(self, share: float) -> dict[str, float]:
        """Return targets: speed at `share` of its range, 30 % of support, 80 % of guidance."""
        shares = {"speed_m_s": share, "support_fraction": 0.3, "guidance": 0.8}
        return {
            p.name: round(p.rest + shares.get(p.name, 0.3) * (p.maximum - p.rest), 4)
            for p in self.capability.parameters
        }

    def apply(
        self, values: Mapping[str, float], token: int, rates: Mapping[str, float] | None = None
    ) -> int:
        """Send setpoints and return the time at which they take effect, in ns."""
        return self.link.apply(Setpoints(dict(values), dict(rates or {}), token))

    def walk(self, share: float = 0.6, *, quick: bool = False) -> tuple[int, Trace]:
        """Arm, walk, and return the token and the rows of the last two seconds.

        In real time of the last 1.5 s; with `quick` only until the belt moves at all.

        Raises
        ------
        Deviates
            If the belt does not come to its speed.
        """
        token = self.link.arm()
        self.until(2.0, S.ARMED)
        self.apply(self.walking_values(share), token)
        self.until(2.0, S.RUNNING)
        self.to_speed(0.1 if quick else 0.9 * self.walking_values(share).get("speed_m_s", 0.0))
        return token, self.pass_time(0.3 if quick else _STRIDE_S if self.real_time else 2.0)

    def to_speed(self, wanted: float) -> None:
        """Let time pass until the belt walks at `wanted` m/s; 3 s where there is no belt."""
        speed = self.capability.parameter("speed_m_s")
        if speed is None or not self.pass_time(0.1).has(BELT):
            self.pass_time(3.0)
            return
        left = speed.maximum / speed.rate_per_s + 10.0
        while left > 0:
            trace = self.pass_time(0.25)
            if len(trace) and trace.column(BELT)[-1] >= wanted:
                return
            left -= 0.25
        raise Deviates(f"the belt did not come to {wanted:.2f} m/s")

    def inject(self, kind: str) -> None:
        """Make a fault happen.

        Raises
        ------
        NotJudged
            If the device does not offer it.
        """
        try:
            self.link.inject(kind)
        except UsageError as error:
            raise NotJudged(f"{_NO_INJECTION} ({kind})") from error

    def first_fault(self, reaction: str) -> str:
        """Return the first declared fault of a reaction, other than the watchdog."""
        for fault in self.capability.faults:
            if fault.reaction == reaction and fault.kind != "watchdog":
                return fault.kind
        raise NotJudged(f"the descriptor has no fault with the reaction {reaction}")

    def refused(self, what: str, call: Callable[[], object], *kinds: type[DeviceRefused]) -> str:
        """Return how `call` was refused.

        Raises
        ------
        Deviates
            If it was not, or with an error of another kind than `kinds`.
        """
        try:
            call()
        except DeviceRefused as error:
            if isinstance(error, kinds):
                return error.code
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise Deviates(f"{what}: refused as {error.code}, not as {wanted}") from error
        raise Deviates(f"{what}: accepted")

    def rest(self) -> bool:
        """Bring the device to DISARMED at rest; return False where it does not come there."""
        try:
            for _ in range(60):
                self.link.stop(1)
                self.pass_time(0.25)
                state = self.link.state
                if state is S.DISARMED:
                    return True
                if state is S.ESTOP_PHYSICAL:
                    self.link.inject("estop_release")
                elif state in (S.FAULT, S.ESTOP_LATCHED, S.LINK_LOST):
                    with contextlib.suppress(DeviceRefused):
                        self.link.acknowledge()
        except TrialkitError:
            return False
        return False

    # --- what is seen ----------------------------------------------------------------------

    def torque_channels(self) -> list[str]:
        """Return the channels of motor torque, else the guidance, else nothing."""
        names = [c.name for c in self.own.channels]
        return [n for n in names if "motor_torque" in n] or [n for n in names if n == "guidance"]

    def powered(self, before: Trace, rows: Trace, *, torque: bool) -> NDArray[np.bool_]:
        """Return for each of `rows` whether the belt moves (or a recording plays) or torque acts.

        Torque acts where a channel is above 5 % of its peak in `before`, or above 1 % of its
        declared range where that is more.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        acts = np.zeros(len(rows), bool)
        names = self.torque_channels() if torque else []
        if rows.has(BELT):
            acts |= np.abs(rows.column(BELT)) >= MOVING_M_S
        elif rows.has(PLAYS):
            acts |= rows.column(PLAYS) > 0
        elif not names:
            raise NotJudged("the device reports neither a belt nor a torque")
        for name in names:
            channel = self.own.channels[self.own.index(name)]
            span = max(abs(channel.minimum), abs(channel.maximum))
            peak = float(np.abs(before.column(name)).max()) if len(before) else 0.0
            allowed = max(_TORQUE_SHARE * peak, _TORQUE_FLOOR * span)
            acts |= np.abs(rows.column(name)) > allowed
        return acts

    def rest_s(self, before: Trace, rows: Trace, *, torque: bool) -> float:
        """Return the device seconds from the last row of `before` until nothing acts any more.

        Infinity where something acts in the last of `rows`, or where no rows came.
        """
        if not len(rows):
            return math.inf
        acts = np.flatnonzero(self.powered(before, rows, torque=torque))
        if not len(acts):
            return 0.0
        if acts[-1] == len(rows) - 1:
            return math.inf
        begin = before.t_device_ns[-1] if len(before) else rows.t_device_ns[0]
        return float(rows.t_device_ns[acts[-1] + 1] - begin) / 1e9

    def bound_s(self, category: int) -> float:
        """Return how long a stop of `category` may take, as declared."""
        bound = self.capability.stop_within_s.get(category)
        if bound is None:
            raise Deviates(f"the descriptor has no stop_within_s for category {category}")
        return float(bound)

    def comes_to_rest(
        self,
        before: Trace,
        bound_s: float,
        *,
        torque: bool,
        allowance_s: float = 0.0,
        first: Trace | None = None,
    ) -> str:
        """Let time pass and return how long the device took to come to rest.

        Raises
        ------
        Deviates
            If it took longer than the bound.
        """
        blocks = self.pass_blocks(bound_s + 1.5)
        rows = Trace(self.own, blocks)
        if first is not None:
            rows = together(first, rows)
        took = self.rest_s(before, rows, torque=torque)
        what = "belt and torque" if torque else "belt"
        if took > bound_s + allowance_s:
            shown = "not at all" if math.isinf(took) else f"after {took:.2f} s"
            raise Deviates(f"{what} at rest {shown}; the bound is {bound_s:g} s")
        return f"{what} at rest after {took:.2f} s of {bound_s:g} s"
