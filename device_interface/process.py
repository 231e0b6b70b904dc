"""The device's own process: ``python -m device_interface.process RPC URGENT TELEMETRY``.

Three channels lead to the host. RPC carries one request and one reply at a time. URGENT
needs no lock and no reply and is read before any request: ``k`` and eight bytes, the number
of a keepalive (little-endian), or one of ``0`` ``1`` ``2``, a stop of that category.
TELEMETRY carries blocks in real time, from a thread of its own, so that a host that does not
read cannot delay the device.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from device_interface.contract import (
    Block,
    Device,
    DeviceState,
    Injectable,
    Respondent,
)
from device_interface.registry import known_schema, load_driver
from device_interface.urgent import STOPS, UrgentWords
from trialkit.errors import TrialkitError, UsageError

PERIOD_S = 0.02
_QUEUE_BLOCKS = 3000
_VERBS = frozenset(
    {"preflight", "arm", "disarm", "apply", "hold", "resume", "ramp_down", "faults", "acknowledge"}
)


class BlackBox:
    """The device's own account of its states, one JSON line each, written at once."""

    def __init__(self, path: str | None) -> None:
        self._file = Path(path).open("ab", buffering=0) if path else None  # noqa: SIM115
        self._last: tuple[DeviceState, bool] | None = None

    def note(self, state: DeviceState, speed_m_s: float | None) -> None:
        """Write the state where it, or whether the belt moves, has changed."""
        now = (state, bool(speed_m_s and speed_m_s > 0.05))
        if self._file is None or now == self._last:
            return
        self._last = now
        line = {"t_ns": time.monotonic_ns(), "state": state.name, "moving": now[1]}
        self._file.write((json.dumps(line) + "\n").encode())


class Server:
    """Serves one device to one host until either ends."""

    def __init__(self, rpc: Connection, urgent: int, telemetry: Connection) -> None:
        self._rpc = rpc
        self._urgent = urgent
        self._telemetry = telemetry
        self._blocks: queue.Queue[list[Block]] = queue.Queue(_QUEUE_BLOCKS)
        self._host_gone = False
        self._box = BlackBox(None)
        self._own = ""
        self._speed_at: int | None = None
        self._speed: float | None = None
        self._words = UrgentWords()
        os.set_blocking(urgent, False)

    def open(self) -> tuple[Device, bool]:
        """Take the first request, which names driver, options and mode; connect the device."""
        name, options, lockstep, black_box = self._rpc.recv()
        device = load_driver(name, options)
        self._box = BlackBox(black_box)
        device.connect(lockstep=lockstep)
        capability = known_schema(device.describe())
        stream = capability.streams[0]
        self._own = stream.name
        with contextlib.suppress(KeyError):
            self._speed_at = stream.index("belt_speed_m_s")
        self._rpc.send(("ok", capability))
        return device, lockstep

    def serve(self) -> None:
        """Serve until the host closes or is gone."""
        try:
            device, lockstep = self.open()
        except TrialkitError as error:
            self._rpc.send(_as_reply(error))
            return
        except EOFError:
            return
        try:
            if lockstep:
                self._serve_lockstep(device)
            else:
                threading.Thread(target=self._send_blocks, daemon=True).start()
                self._serve_real_time(device)
        finally:  # a driver that raises what it should not is stopped before its process ends
            device.stop(0)
            device.close()

    def _serve_lockstep(self, device: Device) -> None:
        while True:
            try:
                request = self._rpc.recv()
            except (EOFError, OSError):
                return
            self._read_urgent(device)
            if not self._answer(device, request):
                return
            self._box.note(device.state, self._speed)

    def _serve_real_time(self, device: Device) -> None:
        last = time.monotonic_ns()
        due = last
        rest_deadline: int | None = None
        while True:
            wait_s = max(0.0, (due - time.monotonic_ns()) / 1e9)
            sources = [] if self._host_gone else [self._urgent, self._rpc.fileno()]
            ready, _, _ = select.select(sources, [], [], wait_s)
            if not self._host_gone:
                self._read_urgent(device)
            if self._rpc.fileno() in ready and not self._host_gone:
                try:
                    if not self._answer(device, self._rpc.recv()):
                        return
                except (EOFError, OSError):
                    self._host_gone = True
            now = time.monotonic_ns()
            if now >= due:
                last += self._let_pass(device, now - last)
                due = max(due + round(PERIOD_S * 1e9), now)
            if self._host_gone:
                device.stop(1)
                rest_deadline = rest_deadline or now + 5_000_000_000
                if device.state in (DeviceState.DISARMED,) or now > rest_deadline:
                    return
                if device.state is DeviceState.LINK_LOST and not (self._speed or 0) > 0.05:
                    return

    def _let_pass(self, device: Device, duration_ns: int) -> int:
        """Return what passed: a device that fails, or cannot keep up, gives less at a time."""
        passed, blocks = device.advance(duration_ns)
        self._keep(list(blocks))
        self._box.note(device.state, self._speed)
        return passed

    def _see_speed(self, blocks: Sequence[Block]) -> None:
        own = [block for block in blocks if block.stream == self._own]
        if own and self._speed_at is not None:
            self._speed = float(own[-1].values[-1, self._speed_at])

    def _keep(self, blocks: list[Block]) -> None:
        if not blocks:
            return
        self._see_speed(blocks)
        while True:
            try:
                self._blocks.put_nowait(blocks)
                return
            except queue.Full:  # the host does not read: the oldest go, and seq shows the gap
                with contextlib.suppress(queue.Empty):
                    self._blocks.get_nowait()

    def _send_blocks(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._telemetry.send(self._blocks.get())

    def _read_urgent(self, device: Device) -> None:
        while True:
            try:
                data = os.read(self._urgent, 4096)
            except BlockingIOError:
                return
            if not data:
                self._host_gone = True
                return
            for word in self._words.feed(data):
                if isinstance(word, bytes):
                    device.stop(STOPS[word[0]])
                else:
                    device.keepalive(word)

    def _answer(self, device: Device, request: tuple[str, tuple[Any, ...]]) -> bool:
        verb, arguments = request
        try:
            if verb == "close":
                self._rpc.send(("ok", None))
                return False
            self._rpc.send(("ok", self._do(device, verb, arguments)))
        except TrialkitError as error:
            self._rpc.send(_as_reply(error))
        return True

    def _do(self, device: Device, verb: str, arguments: tuple[Any, ...]) -> Any:
        if verb == "advance":
            passed, blocks = device.advance(*arguments)
            self._see_speed(blocks)
            return passed, device.state, list(blocks)
        if verb == "state":
            return device.state
        if verb == "ask":
            answer: Mapping[str, float] | None = (
                device.ask(*arguments) if isinstance(device, Respondent) else None
            )
            return answer
        if verb == "inject":
            if not isinstance(device, Injectable):
                raise UsageError(
                    "faults cannot be made to happen in this device.",
                    remedy="Use a bench device, or make the fault by hand.",
                )
            return device.inject(*arguments)
        if verb in _VERBS:
            return getattr(device, verb)(*arguments)
        raise ValueError(verb)


def _as_reply(error: TrialkitError) -> tuple[str, str, str, str]:
    return ("error", error.code, error.message, error.remedy)


def main() -> None:
    """Serve the device on the three inherited descriptors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the host decides what Ctrl-C means
    rpc, urgent, telemetry = (int(text) for text in sys.argv[1:4])
    Server(Connection(rpc), urgent, Connection(telemetry)).serve()


if __name__ == "__main__":
    main()
