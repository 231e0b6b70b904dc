"""Checks, their outcomes, and how a group of checks is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from device_interface.conformance.bench import Bench

Verdict = Literal["passed", "failed", "not_applicable"]
Run = Callable[["Bench"], str]


class Deviates(Exception):
    """The device did not do what the requirement says; the text is what it did."""


class NotJudged(Exception):
    """The requirement cannot be judged on this device in this way; the text says why."""


@dataclass(frozen=True)
class Check:
    """One requirement and how it is tried.

    Parameters
    ----------
    id : str
        ``group.name``; stable.
    requirement : str
        What the device must do, in a sentence or two.
    run : callable
        Tries it on a bench and returns what was observed; raises `Deviates` or `NotJudged`.
    needs : tuple of str
        Checks without whose passing this one says nothing.
    by_hand : str
        What a person does instead where the device offers no injection of faults.
    slow : bool
        Takes real seconds or minutes; left out of a quick run.
    one_bench : bool
        See `Group`.
    """

    id: str
    requirement: str
    run: Run
    needs: tuple[str, ...] = ()
    by_hand: str = ""
    slow: bool = False
    one_bench: bool = False

    @property
    def group(self) -> str:
        """The group that the check belongs to."""
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Parameters
    ----------
    observed : str
        What the device did; for ``not_applicable`` the reason.
    begun_s, seconds : float
        When it began after the start of the kit, and how long it took.
    tries : int
        More than 1 where it failed while this machine was late, and was done again.
    late_s : float
        How late this machine was in the last try, see `links.Lateness`.
    """

    check: Check
    verdict: Verdict
    observed: str
    begun_s: float
    seconds: float
    tries: int = 1
    late_s: float = 0.0


class Group:
    """A group of checks, filled by its decorator `check`.

    Parameters
    ----------
    name, title : str
        Name in ids and on the command line; title in tables.
    one_bench : bool
        Its checks share what they have seen, and so need one bench.
    """

    def __init__(self, name: str, title: str, *, one_bench: bool = False) -> None:
        self.name = name
        self.title = title
        self.one_bench = one_bench
        self.checks: list[Check] = []

    def check(
        self, *, needs: tuple[str, ...] = (), by_hand: str = "", slow: bool = False
    ) -> Callable[[Run], Run]:
        """Add a function: its name gives the id and its docstring the requirement.

        Parameters
        ----------
        needs : tuple of str
            Ids; one without a point is of this group.
        """

        def add(run: Run) -> Run:
            name = run.__name__.replace("_", "-")
            text = " ".join((inspect.getdoc(run) or "").split())
            self.add(name, text, run, needs=needs, by_hand=by_hand, slow=slow)
            return run

        return add

    def add(
        self,
        name: str,
        requirement: str,
        run: Run,
        *,
        needs: tuple[str, ...] = (),
        by_hand: str = "",
        slow: bool = False,
    ) -> None:
        """Add a check whose id ends in `name`."""
        full = tuple(n if "." in n else f"{self.name}.{n}" for n in needs)
        check = Check(f"{self.name}.{name}", requirement, run, full, by_hand, slow, self.one_bench)
        self.checks.append(check)
