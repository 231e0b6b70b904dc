"""The bench: opens the device that is checked as a session opens it, and closes it again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device_interface.conformance.links import BenchLink, Lateness, with_children
from device_interface.conformance.model import Deviates, NotJudged
from device_interface.conformance.rig import Rig
from device_interface.contract import Capability
from trialkit._clock import Clock, RealClock, SimulatedClock
from trialkit.errors import UsageError


class Bench:
    """Opens the device that is checked, and closes what was opened.

    Parameters
    ----------
    name : str
        Driver, by entry point or as ``module:Class``.
    options : mapping
        For the driver.
    folder : Path
        For black boxes.
    soak_s : float or None
        How long the soak lasts, in simulated seconds where the device allows lockstep; None
        is 45 minutes there and one minute elsewhere.
    capability : Capability or None
        Where the descriptor is known already.

    Attributes
    ----------
    timed : bool
        True where the check that runs has used a device in real time.
    late_s : float
        How late this machine was when something was seen that the check uses again.
    kept : dict
        What checks have seen and others use again.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        folder: Path,
        *,
        soak_s: float | None = None,
        capability: Capability | None = None,
    ) -> None:
        self.name = name
        self.options = dict(options)
        self.folder = folder
        self._soak_s = soak_s
        self._kept: dict[bool, Rig] = {}
        self._opened: list[Rig] = []
        self._boxes = 0
        self._capability = capability
        self._guests: list[int] = []
        self.timed = False
        self.late_s = 0.0
        self.kept: dict[str, Any] = {}

    @property
    def capability(self) -> Capability:
        """The descriptor; the device is opened for it once."""
        return self._capability or self.rig().capability

    @property
    def soak_s(self) -> float:
        """How long the soak lasts."""
        return self._soak_s or (2700.0 if self.capability.lockstep else 60.0)

    def another(self, number: int) -> Bench:
        """Return one more bench for the same device, to be used at the same time."""
        folder = self.folder / f"bench-{number}"
        folder.mkdir()
        return Bench(
            self.name, self.options, folder, soak_s=self._soak_s, capability=self._capability
        )

    def open(
        self,
        *,
        extra: Mapping[str, Any] | None = None,
        real_time: bool = False,
        kind: type[BenchLink] = BenchLink,
        black_box: Path | None = None,
    ) -> Rig:
        """Open the device in a process of its own, until the check ends.

        Parameters
        ----------
        extra : mapping
            Options beside the user's; a driver that does not take them cannot be judged.
        """
        lockstep = not real_time and (self._capability is None or self._capability.lockstep)
        options = {**self.options, **(extra or {})}
        self.timed = self.timed or not lockstep  # also where it does not open
        try:
            link = self._link(kind, options, lockstep, black_box)
        except UsageError as error:
            if not extra:
                raise
            raise NotJudged(f"the driver takes no option {', '.join(extra)}") from error
        rig = Rig(link)
        self.timed = self.timed or rig.real_time
        self._opened.append(rig)
        if self._capability is None and not extra:
            self._capability = rig.capability
        return rig

    def _link(
        self, kind: type[BenchLink], options: dict[str, Any], lockstep: bool, box: Path | None
    ) -> BenchLink:
        clock: Clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC)) if lockstep else RealClock()
        try:
            link = kind(self.name, options, clock, black_box=str(box) if box else None)
        except UsageError:
            if not lockstep:  # a device may refuse lockstep before it can be asked
                raise
            return self._link(kind, options, False, box)
        if lockstep and not link.capability.lockstep:
            link.close()
            link = kind(self.name, options, RealClock(), black_box=str(box) if box else None)
        return link

    def rig(self, *, real_time: bool = False) -> Rig:
        """Return a device in DISARMED; the same one as before where it can be armed again.

        Raises
        ------
        Deviates
            If even a new one does not come to DISARMED.
        """
        kept = self._kept.pop(real_time, None)
        if kept is not None:
            kept.link.muted = False
            self.timed = self.timed or kept.real_time
            if kept.rest() and not kept.link.preflight():
                self._kept[real_time] = kept
                return kept
            kept.link.close()
        rig = self.open(real_time=real_time)
        self._opened.remove(rig)
        if not rig.rest():
            rig.link.close()
            raise Deviates("a device that was just opened does not come to DISARMED")
        self._kept[real_time] = rig
        return rig

    def new_rig(self, *, real_time: bool = False) -> Rig:
        """Return a device in DISARMED that no other check uses."""
        rig = self.open(real_time=real_time)
        if not rig.rest():
            raise Deviates("a device that was just opened does not come to DISARMED")
        return rig

    def black_box(self) -> Path:
        """Return a new path for a black box."""
        self._boxes += 1
        return self.folder / f"black-box-{self._boxes}.jsonl"

    def watch(self, pid: int) -> None:
        """Count a process that the check has started as one of the device's, until it ends."""
        self.timed = True
        self._guests.append(pid)

    def processes(self) -> list[int]:
        """Return the ids of the processes whose delays are not the device's doing."""
        own = [rig.link.pid for rig in (*self._opened, *self._kept.values())]
        return [pid for first in (*own, *self._guests) for pid in with_children(first)]

    def lateness(self) -> Lateness:
        """Return what measures how late this machine is, the device's processes included."""
        return Lateness(self.processes)

    def end_check(self) -> None:
        """Close what the check opened for itself."""
        self.timed = False
        self.late_s = 0.0
        self._guests.clear()
        while self._opened:
            self._opened.pop().link.close()

    def close(self) -> None:
        """Close everything, and forget what was seen."""
        self.end_check()
        self.kept.clear()
        while self._kept:
            self._kept.popitem()[1].link.close()


def read_box(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a black box; a last one that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return True as soon as `condition` holds, False after `seconds` of real time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
