"""Runs the kit on a driver."""

from __future__ import annotations

import tempfile
import time
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
from device_interface.conformance.model import Check, Deviates, Group, NotJudged, Outcome
from device_interface.contract import Capability
from trialkit._clock import RealClock
from trialkit.errors import TrialkitError, UnknownName, UsageError

KIT_VERSION = "1"
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
_OPENS = "identity.opens"


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
    """

    name: str
    options: dict[str, Any]
    capability: Capability | None
    outcomes: tuple[Outcome, ...]
    started: datetime
    ended: datetime
    quick: bool
    soak_s: float | None

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
    progress : callable
        Called before a check with None and after it with its outcome.

    Raises
    ------
    UnknownName, UsageError
        If there is no such driver or group, or the driver does not take the options.
    """
    wanted = set(group_names() if groups is None else groups)
    if unknown := wanted - set(group_names()):
        raise UnknownName(
            f"no group {', '.join(sorted(unknown))}.",
            remedy=f"Use of: {', '.join(group_names())}.",
        )
    clock, begin = RealClock(), time.monotonic()
    started = clock.now()
    outcomes: list[Outcome] = []
    passed: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="trialkit-check-") as folder:
        bench = Bench(name, options or {}, Path(folder), soak_s=soak_s)
        try:
            for check in (c for g in GROUPS for c in g.checks):
                if check.group not in wanted and check.id != _OPENS:
                    continue
                if progress is not None:
                    progress(check, None)
                outcome = _judged(bench, check, passed, begin, quick=quick)
                outcomes.append(outcome)
                if outcome.verdict == "passed":
                    passed.add(check.id)
                if progress is not None:
                    progress(check, outcome)
        finally:
            bench.close()
        capability = bench.capability if _OPENS in passed else None
        length = bench.soak_s if capability is not None else None
    return KitResult(
        name, dict(options or {}), capability, tuple(outcomes), started, clock.now(), quick, length
    )


def _judged(bench: Bench, check: Check, passed: set[str], begin: float, *, quick: bool) -> Outcome:
    at = time.monotonic()
    missing = [n for n in check.needs if n not in passed]
    if check.id != _OPENS and _OPENS not in passed:
        missing = [_OPENS]
    try:
        if quick and check.slow:
            raise NotJudged("left out of a quick run")
        if missing:
            raise NotJudged(f"not judged, because {missing[0]} did not pass")
        observed, verdict = check.run(bench), "passed"
    except NotJudged as why:
        reason = f"{why}. By hand: {check.by_hand}" if check.by_hand and not missing else str(why)
        observed, verdict = reason, "not_applicable"
    except Deviates as what:
        observed, verdict = str(what), "failed"
    except (UnknownName, UsageError) as error:
        if check.id == _OPENS:
            raise
        observed, verdict = str(error), "failed"
    except TrialkitError as error:
        observed, verdict = str(error), "failed"
    except Exception as error:  # what a driver answers may be of any type
        observed, verdict = f"{type(error).__name__}: {error}", "failed"
    finally:
        bench.end_check()
    seconds = time.monotonic() - at
    return Outcome(check, verdict, observed, round(at - begin, 3), round(seconds, 3))  # type: ignore[arg-type]
