"""What the CANopen tests share: waiting, a bus with drives on it, and somebody who listens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import numpy as np

from device_interface import DeviceLink, DeviceState, Setpoints
from device_interface.canopen.bench import Bench, bench_site
from device_interface.canopen.bus import INTERFACE
from device_interface.canopen.site import read_site
from device_interface.errors import StateRefused
from trialkit._clock import RealClock

WALK = {"speed_m_s": 0.4, "support_fraction": 0.05, "guidance": 0.8}


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not happen in time"
        time.sleep(0.005)


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    path = str(folder / "bus")
    process = subprocess.Popen([sys.executable, "-m", "device_interface.canopen.hub", path])
    try:
        until(lambda: Path(path).exists())
        yield path, process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def bench(**settings: Any) -> Iterator[Bench]:
    """A hub and drives, for a driver that is told where they are."""
    drives = Bench(read_site(bench_site()), settings)
    try:
        yield drives
    finally:
        drives.close()


def site_on(channel: str, **top: Any) -> dict[str, Any]:
    site = {**bench_site(), **top}
    site["bus"] = {"interface": INTERFACE, "channel": channel, "bitrate": 1_000_000}
    return site


@contextlib.contextmanager
def linked(options: dict[str, Any], **more: Any) -> Iterator[DeviceLink]:
    link = DeviceLink("canopen", options, RealClock(), **more)
    try:
        yield link
    finally:
        link.close()


class Sniffer:
    """Another peer of the bus, which keeps every frame as (identifier, data)."""

    def __init__(self, channel: str) -> None:
        self.bus = can.Bus(interface=INTERFACE, channel=channel, name="sniffer")
        self.frames: list[tuple[int, bytes]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(can.CanOperationError, OSError, ValueError):
            while True:
                message = self.bus.recv(0.1)
                if message is not None:
                    self.frames.append((message.arbitration_id, bytes(message.data)))

    def words(self, identifier: int) -> list[int]:
        """The first 16 bits of every frame with `identifier`, repetitions left out."""
        found: list[int] = []
        for number, data in list(self.frames):
            word = int.from_bytes(data[:2], "little")
            if number == identifier and (not found or found[-1] != word):
                found.append(word)
        return found

    def send(self, number: int, data: bytes) -> None:
        self.bus.send(can.Message(arbitration_id=number, data=data, is_extended_id=False))


def last_row(link: DeviceLink) -> dict[str, float]:
    """The newest row, after waiting for it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        blocks = link.wait(0.02)[1]
        if blocks:
            names = [channel.name for channel in link.capability.streams[0].channels]
            return dict(zip(names, map(float, blocks[-1].values[-1]), strict=True))
    raise AssertionError("no row came")


def reach(link: DeviceLink, state: DeviceState, seconds: float = 60.0) -> None:
    until(lambda: link.wait(0.01) is not None and link.state is state, seconds)


def arm(link: DeviceLink, seconds: float = 60.0) -> int:
    """Arm; again where this machine was too late for the drives or for the last state."""
    end = time.monotonic() + seconds
    while True:
        try:
            return link.arm()
        except StateRefused:
            if time.monotonic() > end:
                raise
            clear(link)


def walk(link: DeviceLink, values: dict[str, float] | None = None) -> int:
    """Arm, and walk until the belt moves and the joints make torque."""
    token = arm(link)
    link.apply(Setpoints(values or WALK, {}, token))
    until(lambda: last_row(link)["belt_speed_m_s"] > 0.1 and link.state is DeviceState.RUNNING)
    return token


def clear(link: DeviceLink) -> None:
    """Bring any state to DISARMED, as an operator would: again and again until it is done."""
    link.stop(1)  # the state that was heard last may be old
    link.preflight()  # is answered after the stop was taken
    known = time.monotonic_ns()
    until(lambda: any(b.t_host_ns[-1] > known for b in link.wait(0.02)[1]), 60.0)

    def once() -> bool:
        link.wait(0.02)
        if link.state in (DeviceState.RUNNING, DeviceState.HOLD, DeviceState.ARMED):
            link.stop(1)
        elif link.state is DeviceState.ESTOP_PHYSICAL:
            link.inject("estop_release")
        elif link.state not in (DeviceState.DISARMED, DeviceState.RAMP_DOWN):
            with contextlib.suppress(StateRefused):
                link.acknowledge()
        return link.state is DeviceState.DISARMED

    until(once, 60.0)


def torque_nm(row: dict[str, float]) -> float:
    return float(np.max([abs(v) for k, v in row.items() if "motor_torque" in k]))


def account(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
