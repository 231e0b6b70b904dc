"""The host's end of a device: in a process of its own, or in this one at stride level.

In real time a thread sends a keepalive every 50 ms, but only while the session's own loop
comes by: a host that hangs is as dead as one that was killed, and the device stops by
itself 250 ms after the last keepalive. On a simulated clock host and device move in
lock-step, and time is what `wait` says.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any, Protocol

import numpy as np

from device_interface.contract import (
    KEEPALIVE_S,
    Block,
    Capability,
    Device,
    DeviceState,
    Respondent,
    Setpoints,
    StopCategory,
)
from device_interface.errors import BY_CODE, LinkLost
from device_interface.registry import known_schema, load_driver
from device_interface.urgent import keepalive_word
from trialkit._clock import Clock, RealClock
from trialkit.errors import TrialkitError, UnknownName, UsageError

HOST_HANGS_S = 2.0
"""The session's loop must come by this often, or the keepalives end."""
_REPLY_S = 5.0
_START_S = 30.0
_REMEDY_GONE = "The device stops by itself; look at its log, then start it again."


class Link(Protocol):
    """What a session needs of a device, wherever it runs."""

    capability: Capability

    @property
    def state(self) -> DeviceState: ...  # noqa: D102

    def preflight(self) -> Sequence[str]: ...  # noqa: D102
    def arm(self) -> int: ...  # noqa: D102
    def disarm(self) -> None: ...  # noqa: D102
    def apply(self, setpoints: Setpoints) -> int: ...  # noqa: D102
    def hold(self) -> None: ...  # noqa: D102
    def resume(self) -> int: ...  # noqa: D102
    def ramp_down(self) -> None: ...  # noqa: D102
    def faults(self) -> Sequence[tuple[int, str]]: ...  # noqa: D102
    def acknowledge(self) -> None: ...  # noqa: D102
    def ask(self, prompt: str) -> Mapping[str, float] | None: ...  # noqa: D102

    def stop(self, category: StopCategory) -> None:
        """Stop; needs no lock, waits for nothing, never raises."""
        ...

    def wait(self, seconds: float) -> tuple[float, list[Block]]:
        """Let up to `seconds` pass; return the seconds that passed and the rows that came.

        Raises
        ------
        LinkLost
            If the device's process is gone.
        """
        ...

    def close(self) -> None:
        """Stop the device and end its process; never raises."""
        ...


def _stamped(block: Block, t_host_ns: np.ndarray[Any, np.dtype[np.int64]]) -> Block:
    return Block(block.stream, block.seq, block.t_device_ns, t_host_ns, block.values)


class InProcessLink:
    """A device in this process, in lock-step with a simulated clock."""

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        self.device: Device = load_driver(name, options)
        self.device.connect(lockstep=True)
        self.capability = known_schema(self.device.describe())
        self._respondent = self.device if isinstance(self.device, Respondent) else None
        self._clock = clock
        self._passed_ns = 0
        self.preflight = self.device.preflight
        self.arm = self.device.arm
        self.disarm = self.device.disarm
        self.apply = self.device.apply
        self.hold = self.device.hold
        self.resume = self.device.resume
        self.ramp_down = self.device.ramp_down
        self.faults = self.device.faults
        self.acknowledge = self.device.acknowledge
        self.stop = self.device.stop

    @property
    def state(self) -> DeviceState:
        """The device's state now."""
        return self.device.state

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Ask the virtual patient, where there is one."""
        return self._respondent.ask(prompt) if self._respondent is not None else None

    def wait(self, seconds: float) -> tuple[float, list[Block]]:
        """Let the device and the clock move together."""
        shift = self._clock.monotonic_ns() - self._passed_ns
        passed, blocks = self.device.advance(round(seconds * 1e9))
        self._passed_ns += passed
        self._clock.sleep(passed / 1e9)
        return passed / 1e9, [_stamped(b, b.t_device_ns + shift) for b in blocks]

    def close(self) -> None:
        """Stop and close the device."""
        self.device.close()


class DeviceLink:
    """A device in a process of its own.

    Parameters
    ----------
    name : str
        Driver, by entry point.
    options : mapping
        For the driver.
    clock : Clock
        Real: keepalives and telemetry as they come. Simulated: lock-step.
    black_box : path or None
        Where the device's process writes its own account of its states.

    Raises
    ------
    UnknownName, UsageError
        If the driver does not exist or does not take the options.
    LinkLost
        If the process does not start.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        clock: Clock,
        *,
        black_box: str | None = None,
    ) -> None:
        self._clock = clock
        self.lockstep = not isinstance(clock, RealClock)
        self.state: DeviceState = DeviceState.DISCONNECTED
        self._passed_ns = 0
        self._arrived: deque[Block] = deque()
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._seen = time.monotonic()
        self._start_process()
        try:
            self._rpc.send((name, dict(options), self.lockstep, black_box))
            self.capability: Capability = self._reply(_START_S)
        except BaseException:
            self._kill()
            raise
        self.state = DeviceState.DISARMED
        if not self.lockstep:
            column = {c.name: i for i, c in enumerate(self.capability.streams[0].channels)}
            self._state_at = column.get("device_state")
            for work in (self._read_telemetry, self._send_keepalives):
                thread = threading.Thread(target=work, daemon=True)
                thread.start()
                self._threads.append(thread)

    @property
    def pid(self) -> int:
        """The process id of the device."""
        return self._process.pid

    # --- verbs ---------------------------------------------------------------------------

    def preflight(self) -> Sequence[str]:
        """Return what keeps the device from being armed."""
        problems: Sequence[str] = self._call("preflight")
        return problems

    def arm(self) -> int:
        """Arm and return the token."""
        return int(self._call("arm"))

    def disarm(self) -> None:
        """Take the power away at rest."""
        self._call("disarm")

    def apply(self, setpoints: Setpoints) -> int:
        """Send targets; return the device time at which they take effect, in ns."""
        return int(self._call("apply", setpoints))

    def hold(self) -> None:
        """Bring the device to rest, power kept."""
        self._call("hold")

    def resume(self) -> int:
        """Go on from rest and return the new token."""
        return int(self._call("resume"))

    def ramp_down(self) -> None:
        """Bring the device to rest and disarm it."""
        self._call("ramp_down")

    def faults(self) -> Sequence[tuple[int, str]]:
        """Return the latched faults."""
        latched: Sequence[tuple[int, str]] = self._call("faults")
        return latched

    def acknowledge(self) -> None:
        """Clear a fault whose cause is gone."""
        self._call("acknowledge")

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Ask the virtual patient, where there is one."""
        answer: Mapping[str, float] | None = self._call("ask", prompt)
        return answer

    def inject(self, kind: str) -> None:
        """Make a declared fault happen in a device on a bench."""
        self._call("inject", kind)

    def stop(self, category: StopCategory) -> None:
        """Stop: one byte, no lock, no reply; safe inside a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._urgent, b"012"[category : category + 1])

    # --- time ----------------------------------------------------------------------------

    def wait(self, seconds: float) -> tuple[float, list[Block]]:
        """Let time pass; in real time return what has arrived."""
        self._seen = time.monotonic()
        if self.lockstep:
            shift = self._clock.monotonic_ns() - self._passed_ns
            passed, self.state, blocks = self._call("advance", round(seconds * 1e9))
            self._passed_ns += passed
            self._clock.sleep(passed / 1e9)
            return passed / 1e9, [_stamped(b, b.t_device_ns + shift) for b in blocks]
        begin = time.monotonic()
        self._clock.sleep(seconds)
        self._seen = time.monotonic()
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]
        if not arrived and self._process.poll() is not None:
            raise LinkLost("the device's process is gone.", remedy=_REMEDY_GONE)
        return time.monotonic() - begin, arrived

    def _read_telemetry(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                for block in self._telemetry.recv():
                    now = np.full(len(block), self._clock.monotonic_ns(), np.int64)
                    own = block.stream == self.capability.streams[0].name
                    if own and self._state_at is not None:
                        self.state = DeviceState(int(block.values[-1, self._state_at]))
                    self._arrived.append(_stamped(block, now))

    def _keep_alive(self) -> None:
        """Send the next keepalive; the write is atomic, so that threads need no lock."""
        os.write(self._urgent, keepalive_word(time.monotonic_ns()))

    def _send_keepalives(self) -> None:
        while not self._closing:
            if time.monotonic() - self._seen < HOST_HANGS_S:
                try:
                    self._keep_alive()
                except OSError:
                    return
            time.sleep(KEEPALIVE_S)

    # --- the process ---------------------------------------------------------------------

    def _start_process(self) -> None:
        self._rpc, theirs = Pipe()
        self._telemetry, telemetry = Pipe(duplex=False)
        urgent, self._urgent = os.pipe()
        descriptors = (theirs.fileno(), urgent, telemetry.fileno())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "device_interface.process", *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise LinkLost(
                f"the device's process cannot be started: {error}.", remedy=_REMEDY_GONE
            ) from error
        finally:
            theirs.close()
            telemetry.close()
            os.close(urgent)

    def _call(self, verb: str, *arguments: Any) -> Any:
        self._seen = time.monotonic()
        try:
            if not self.lockstep:  # a request shows that the host lives, and is read after this
                self._keep_alive()
            self._rpc.send((verb, arguments))
        except (OSError, ValueError) as error:
            raise LinkLost("the device's process is gone.", remedy=_REMEDY_GONE) from error
        return self._reply(_START_S if self.lockstep else _REPLY_S)

    def _reply(self, timeout_s: float) -> Any:
        rpc: Connection = self._rpc
        try:
            if not rpc.poll(timeout_s):
                raise LinkLost(
                    f"the device did not answer within {timeout_s:g} s.", remedy=_REMEDY_GONE
                )
            reply = rpc.recv()
        except (EOFError, OSError) as error:
            raise LinkLost("the device's process is gone.", remedy=_REMEDY_GONE) from error
        if reply[0] == "ok":
            return reply[1]
        _, code, message, remedy = reply
        raise _error_of(code)(message, remedy=remedy)

    def close(self) -> None:
        """Stop the device and end its process."""
        if self._closing:
            return
        self.stop(0)
        with contextlib.suppress(TrialkitError):
            self._call("close")
        self._kill()

    def _kill(self) -> None:
        self._closing = True
        self._rpc.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:  # they end by themselves: no process, no telemetry
            thread.join(2.0)
        urgent, self._urgent = self._urgent, -1  # a late stop must not reach a reused number
        os.close(urgent)
        self._telemetry.close()


def _error_of(code: str) -> type[TrialkitError]:
    others: dict[str, type[TrialkitError]] = {k.code: k for k in (UnknownName, UsageError)}
    known: dict[str, type[TrialkitError]] = {**BY_CODE, **others}
    return known.get(code, LinkLost)


def open_link(
    name: str,
    options: Mapping[str, Any],
    clock: Clock,
    *,
    in_process: bool = False,
    black_box: str | None = None,
) -> Link:
    """Return a connected device: in a process of its own, or in this one.

    Raises
    ------
    UsageError
        If a device should run in this process in real time.
    """
    if not in_process:
        return DeviceLink(name, options, clock, black_box=black_box)
    if isinstance(clock, RealClock):
        raise UsageError(
            "in real time a device runs in a process of its own.",
            remedy="Use rate='full', or a simulated clock.",
        )
    return InProcessLink(name, options, clock)
