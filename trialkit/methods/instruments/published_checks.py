"""Checks of one row of a published table: reading cells, comparing numbers, possible means."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar

from trialkit.methods.instruments.printed import (
    Printed,
    is_mean_of_integers,
    read_number,
    read_reported,
)
from trialkit.methods.instruments.recompute import Range

GOOD, WRONG, CANNOT = "consistent", "inconsistent", "cannot be checked"


class Unreadable(ValueError):
    """A cell does not hold what its test needs."""


@dataclass(frozen=True)
class Check:
    """One number compared, or a note (``quantity`` empty)."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "quantity",
        "reported",
        "recomputed",
        "lower",
        "upper",
        "difference",
        "verdict",
        "reason",
    )
    quantity: str
    reported: float | None
    recomputed: float | None
    lower: float | None
    upper: float | None
    verdict: str
    reason: str = ""

    @property
    def difference(self) -> float:
        """Recomputed less reported; NaN where one is missing."""
        if self.reported is None or self.recomputed is None:
            return math.nan
        return self.recomputed - self.reported

    def as_row(self) -> dict[str, object]:
        """Return the check as a row of the details."""
        return {**asdict(self), "difference": self.difference}

    @classmethod
    def note(cls, reason: str, verdict: str = CANNOT) -> Check:
        """Return a remark or verdict without a number."""
        return cls("", None, None, None, None, verdict, reason)


@dataclass(frozen=True)
class Row:
    """One reported row.

    Parameters
    ----------
    cells : dict of str
    whole : bool
        Whether the outcome is a whole number.
    """

    cells: dict[str, str]
    whole: bool

    @cached_property
    def reported(self) -> dict[str, Printed]:
        """The numbers of the reported result."""
        return read_reported(self.cells["reported"])

    def number(self, name: str, *, exact: bool = False) -> Printed:
        """Read a cell that must hold a number."""
        found = read_number(self.cells[name], exact=exact)
        if found is None:
            raise Unreadable(f"{name} holds no number")
        return found

    def count(self, name: str) -> int:
        """Read a cell that must hold a count."""
        found = self.number(name, exact=True).value
        if found != int(found) or found < 0:
            raise Unreadable(f"{name} holds {found:g}, which is no count")
        return int(found)

    def sizes(self, least: int = 1) -> tuple[int, int]:
        """Read n1 and n2."""
        n = self.count("n1"), self.count("n2")
        if min(n) < least:
            raise Unreadable(f"n1 and n2 must be at least {least}")
        return n


def compare(row: Row, found: dict[str, Range], aliases: tuple[str, ...] = ()) -> list[Check]:
    """Compare each recomputed number with the reported one of its name.

    Parameters
    ----------
    aliases : tuple of str
        Other recomputations of p: one that fits explains a p that the first does not.
    """
    checks = []
    for name, range_ in found.items():
        if name in aliases:
            continue
        claim = row.reported.get(name)
        if claim is None:
            checks.append(compared(name, None, range_, CANNOT, ""))
        elif claim.meets(range_.low, range_.high):
            checks.append(compared(name, claim, range_, GOOD, f"{name} agrees to rounding"))
        else:
            other = next((a for a in aliases if name == "p" and _fits(claim, found.get(a))), None)
            if other:
                reason = f"the reported p is {other.removeprefix('p ')}"
                checks.append(compared(other, claim, found[other], GOOD, reason))
            else:
                reason = (
                    f"{name} is reported as {claim.value:g} but must lie between "
                    f"{range_.low:.4g} and {range_.high:.4g}"
                    if range_.high - range_.low > 1e-12
                    else f"{name} is reported as {claim.value:g} but is {range_.value:.4g}"
                )
                checks.append(compared(name, claim, range_, WRONG, reason))
    if not any(c.verdict != CANNOT for c in checks):
        checks.append(Check.note("no number is reported that could be compared"))
    return checks


def _fits(claim: Printed, found: Range | None) -> bool:
    return found is not None and claim.meets(found.low, found.high)


def compared(name: str, claim: Printed | None, found: Range, verdict: str, reason: str) -> Check:
    """Return the comparison of a recomputed number with the reported one."""
    reported = None if claim is None else claim.value
    return Check(name, reported, found.value, found.low, found.high, verdict, reason)


def grim(row: Row, name: str, mean: Printed, n: int) -> list[Check]:
    """Check that a printed mean of whole numbers is possible; nothing if any mean would be."""
    if not row.whole or (mean.high - mean.low) * n >= 1.0:
        return []
    if is_mean_of_integers(mean, n):
        return []
    reason = f"{mean.value:g} ({name}) is not the mean of {n} whole numbers"
    return [Check(f"mean, {name}", mean.value, None, None, None, WRONG, reason)]
