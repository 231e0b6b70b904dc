"""The driver ``lsl``: another device, with LSL streams beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from device_interface.contract import (
    Block,
    Capability,
    Channel,
    DeviceState,
    Injectable,
    Respondent,
    Setpoints,
    StopCategory,
    Stream,
)
from device_interface.errors import StateRefused
from device_interface.lsl.inlet import Inlet, WantedStream, lsl_library
from device_interface.registry import load_driver
from trialkit.errors import UsageError

CLOCK_EVERY_S = 5.0
_CLOCK_WAIT_S = 1.0
_STATUS = "lsl"
_SECOND_NS = 1_000_000_000


class BesideStreams:
    """A device with LSL streams beside it, such as EMG or IMU.

    Everything that moves is the other device's; this one adds streams to its descriptor and
    their samples to its telemetry. It works in real time only. The stream ``lsl`` tells once
    a second, for each, the clock offset in use, how long no sample came, and how often the
    sender's clock began again.

    Parameters
    ----------
    device : str
        Driver of the other device.
    device_options : mapping
        For it.
    streams : iterable of mapping
        See `WantedStream`.
    find_s : float
        How long to look for each stream.

    Raises
    ------
    ValueError
        If a stream is not well described, or two have one name.
    MissingTool
        If pylsl is not installed.
    """

    def __init__(
        self,
        *,
        device: str = "simulated",
        device_options: Mapping[str, Any] | None = None,
        streams: Iterable[Mapping[str, Any]] = (),
        find_s: float = 5.0,
    ) -> None:
        self._wanted = [WantedStream.model_validate(dict(stream)) for stream in streams]
        lsl_library()
        self._device = load_driver(device, dict(device_options or {}))
        names = [s.name for s in self._device.describe().streams] + [_STATUS]
        names += [wanted.stream for wanted in self._wanted]
        if len(set(names)) < len(names):
            raise ValueError(f"two streams have one name: {', '.join(sorted(names))}")
        self._find_s = find_s
        self._inlets: list[Inlet] = []
        self._passed_ns = self._status_seq = 0
        self._ending = threading.Event()
        self._clocks: threading.Thread | None = None

    # --- the streams -----------------------------------------------------------------------

    def describe(self) -> Capability:
        """Return the other device's descriptor, with the streams that were found."""
        own = self._device.describe()
        found = [inlet.stream for inlet in self._inlets if inlet.stream is not None]
        notes = {"lsl_streams": ", ".join(stream.name for stream in found)}
        return replace(
            own,
            streams=(*own.streams, *found, *self._status_streams(found)),
            lockstep=False,
            notes={**own.notes, **notes},
        )

    @staticmethod
    def _status_streams(found: Iterable[Stream]) -> list[Stream]:
        channels: list[Channel] = []
        for stream in found:
            offset = "added to the sender's times"
            channels += [
                Channel(f"{stream.name}_offset_s", "s", offset, -1e9, 1e9),
                Channel(f"{stream.name}_silent_s", "s", "since a sample came", 0, 1e6),
                Channel(f"{stream.name}_clock_resets", "1", "since the start", 0, 1e6),
            ]
        return [Stream(_STATUS, 1.0, tuple(channels))] if channels else []

    def connect(self, *, lockstep: bool) -> None:
        """Connect the other device, then look for the streams.

        Raises
        ------
        UsageError
            In lock-step: LSL has the time of the world.
        """
        if lockstep:
            raise UsageError(
                "LSL streams come in real time only.", remedy="Use a real clock, or no streams."
            )
        self._device.connect(lockstep=False)
        self._inlets = [Inlet(wanted, self._find_s) for wanted in self._wanted]
        self._clocks = threading.Thread(target=self._measure_clocks, daemon=True)
        self._clocks.start()

    def _measure_clocks(self) -> None:
        """Measure clock offsets beside the device's loop, which must not wait."""
        while not self._ending.wait(CLOCK_EVERY_S):
            for inlet in self._inlets:
                inlet.measure_clock(_CLOCK_WAIT_S)

    def _lacking(self) -> list[str]:
        return [
            f"the required stream {inlet.wanted.stream!r} is absent: {inlet.problem}"
            for inlet in self._inlets
            if inlet.problem is not None and inlet.wanted.required
        ]

    def advance(self, duration_ns: int) -> tuple[int, Sequence[Block]]:
        """Let the other device's time pass, and take what has come on the streams."""
        passed, blocks = self._device.advance(duration_ns)
        pulled = [inlet.pull() for inlet in self._inlets]
        came = [block for block in pulled if block is not None]
        seconds = (self._passed_ns + passed) // _SECOND_NS - self._passed_ns // _SECOND_NS
        self._passed_ns += passed
        told = any(inlet.stream is not None for inlet in self._inlets)
        status = [self._status()] if seconds and told else []
        return passed, [*blocks, *came, *status]

    def _status(self) -> Block:
        told: list[float] = []
        for inlet in self._inlets:
            if inlet.stream is not None:
                told += [inlet.offset_s, round(inlet.silent_s, 4), inlet.resets]
        t = np.array([round(lsl_library().local_clock() * 1e9)], np.int64)
        seq = np.array([self._status_seq], np.uint32)
        self._status_seq += 1
        return Block(_STATUS, seq, t, t, np.array([told], np.float32))

    # --- the other device ------------------------------------------------------------------

    @property
    def state(self) -> DeviceState:
        """The other device's state."""
        return self._device.state

    def preflight(self) -> Sequence[str]:
        """Return what keeps the device from being armed, required streams included."""
        return [*self._device.preflight(), *self._lacking()]

    def arm(self) -> int:
        """Arm the other device.

        Raises
        ------
        StateRefused
            If a required stream is absent.
        """
        if lacking := self._lacking():
            raise StateRefused(f"{'; '.join(lacking)}.", remedy="Start it, then connect again.")
        return self._device.arm()

    def disarm(self) -> None:
        """Take the power away at rest."""
        self._device.disarm()

    def apply(self, setpoints: Setpoints) -> int:
        """Pass targets on."""
        return self._device.apply(setpoints)

    def hold(self) -> None:
        """Come to rest with power kept."""
        self._device.hold()

    def resume(self) -> int:
        """Go on from rest."""
        return self._device.resume()

    def ramp_down(self) -> None:
        """Come to rest and disarm."""
        self._device.ramp_down()

    def stop(self, category: StopCategory) -> None:
        """Stop the other device."""
        self._device.stop(category)

    def keepalive(self, number: int) -> None:
        """Pass the keepalive on."""
        self._device.keepalive(number)

    def faults(self) -> Sequence[tuple[int, str]]:
        """Return the other device's latched faults."""
        return self._device.faults()

    def acknowledge(self) -> None:
        """Clear a latched fault whose cause is gone."""
        self._device.acknowledge()

    def ask(self, prompt: str) -> Mapping[str, float] | None:
        """Ask the other device's virtual patient, where there is one."""
        return self._device.ask(prompt) if isinstance(self._device, Respondent) else None

    def inject(self, kind: str) -> None:
        """Make a fault of the other device happen.

        Raises
        ------
        UsageError
            If it cannot.
        """
        if not isinstance(self._device, Injectable):
            raise UsageError(
                "faults cannot be made to happen in this device.", remedy="Make it by hand."
            )
        self._device.inject(kind)

    def close(self) -> None:
        """Close the other device first, then the streams."""
        self._device.close()
        self._ending.set()
        if self._clocks is not None:
            self._clocks.join(_CLOCK_WAIT_S * (1 + len(self._inlets)))
        for inlet in self._inlets:
            inlet.close()
