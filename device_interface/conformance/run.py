"""Runs the kit on a driver."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from device_interface.conformance import (
    estop,
    faults,
    fresh,
    identity,
    limits,
    ordering,
    recorded,
    resume,
    soak,
    spasm,
    stop,
    watchdog,
)
from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Check, Group, Outcome
from device_interface.conformance.work import OPENS, Work
from device_interface.contract import Capability
from trialkit._clock import RealClock
from trialkit.errors import UnknownName, UsageError

KIT_VERSION = "2"
GROUPS: tuple[Group, ...] = tuple(
    module.GROUP
    for module in (
        identity,
        limits,
        ordering,
        stop,
        estop,
        watchdog,
        fresh,
        faults,
        spasm,
        resume,
        recorded,
        soak,
    )
)


@dataclass(frozen=True)
class KitResult:
    """What the kit found.

    Parameters
    ----------
    name : str
        Driver, as it was given.
    options : dict
    capability : Capability or None
        None where the device did not open.
    outcomes : tuple of Outcome
        In the order of the groups.
    started, ended : datetime
        In UTC.
    quick : bool
        Checks that take real seconds or minutes were left out.
    soak_s : float or None
        Length of the soak.
    at_once : int
        Devices that were checked at the same time.
    """

    name: str
    options: dict[str, Any]
    capability: Capability | None
    outcomes: tuple[Outcome, ...]
    started: datetime
    ended: datetime
    quick: bool
    soak_s: float | None
    at_once: int = 1

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes that failed."""
        return tuple(o for o in self.outcomes if o.verdict == "failed")

    def count(self, verdict: str) -> int:
        """Return how many outcomes have `verdict`."""
        return sum(o.verdict == verdict for o in self.outcomes)


def group_names() -> list[str]:
    """Return the names of the twelve groups."""
    return [group.name for group in GROUPS]


def run_kit(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    groups: Collection[str] | None = None,
    quick: bool = False,
    soak_s: float | None = None,
    at_once: int = 1,
    progress: Callable[[Check, Outcome | None], None] | None = None,
) -> KitResult:
    """Run the kit on a driver, each device in a process of its own.

    Parameters
    ----------
    name : str
        Entry point name, or ``module:Class``.
    options : mapping
        For the driver.
    groups : collection of str or None
        Only these groups; that the device opens is always checked.
    quick : bool
        Leave out the checks that take real seconds or minutes.
    soak_s : float or None
        Length of the soak in s; None is 45 minutes in lockstep, one minute elsewhere.
    at_once : int
        Check so many devices at the same time, each in its own processes: of a simulated
        device there can be more than one, and most checks wait.
    progress : callable
        Called before a check with None and after it with its outcome.

    Raises
    ------
    UnknownName, UsageError
        If there is no such driver or group, or the driver does not take the options; if a
        device that is not simulated should be opened more than once.
    """
    wanted = set(group_names() if groups is None else groups)
    if unknown := wanted - set(group_names()):
        raise UnknownName(
            f"no group {', '.join(sorted(unknown))}.",
            remedy=f"Use of: {', '.join(group_names())}.",
        )
    checks = [c for g in GROUPS for c in g.checks if c.group in wanted or c.id == OPENS]
    clock = RealClock()
    started = clock.now()
    with tempfile.TemporaryDirectory(prefix="trialkit-check-") as folder:
        first = Bench(name, options or {}, Path(folder), soak_s=soak_s)
        work = Work(checks, quick=quick, progress=progress)
        try:
            work.judge(first, checks[0])
            capability = first.capability if OPENS in work.passed else None
            if at_once > 1 and capability is not None and not capability.simulated:
                raise UsageError(
                    "a device that is not simulated is there once.", remedy="Leave out --at-once."
                )
            work.together(first, at_once)
        finally:
            first.close()
        length = first.soak_s if capability is not None else None
    ended = clock.now()
    given = dict(options or {})
    return KitResult(
        name, given, capability, work.outcomes(), started, ended, quick, length, at_once
    )
