"""Rows of published tables with events and rates: cells to checks."""

from __future__ import annotations

import math
import re

from trialkit.methods.instruments import recompute
from trialkit.methods.instruments.printed import NUMBER, Printed, read_number
from trialkit.methods.instruments.published_checks import (
    CANNOT,
    GOOD,
    WRONG,
    Check,
    Row,
    Unreadable,
    compared,
)
from trialkit.methods.instruments.recompute import Range

#: A model's ratio may differ from the crude one by this (log scale) whatever its direction.
LEEWAY = 0.05


def rate_ratio(row: Row) -> list[Check]:
    """Events by person-time, or rates as printed, of two arms."""
    arms = []
    for arm in ("1", "2"):
        if "/" in row.cells[f"x{arm}"]:
            arms.append((row.number(f"x{arm}"), Printed(1.0, 1.0, 1.0)))
        else:
            events = float(row.count(f"x{arm}"))
            arms.append((Printed(events, events, events), row.number(f"n{arm}")))
    if min(a.low * x.low for a, x in arms) <= 0.0:
        raise Unreadable("an arm has no events or no exposure")
    checks = _model_ratio(row, recompute.crude_ratio(arms[0], arms[1]))
    if "lower" in row.reported and "/" not in row.cells["x1"]:
        checks.append(_poisson_width(row, arms[0][0].value, arms[1][0].value))
    return checks


def _model_ratio(row: Row, crude: Range) -> list[Check]:
    """Compare a rate ratio of a model with the crude one: its direction, at least."""
    claim = row.reported.get("estimate")
    name = "crude ratio"
    if claim is None or claim.low <= 0.0:
        return [compared(name, None, crude, CANNOT, ""), Check.note("no ratio is reported")]
    if claim.meets(crude.low, crude.high):
        return [compared(name, claim, crude, GOOD, "the ratio agrees with the crude one")]
    gap = abs(math.log(claim.value / crude.value))
    opposite = (claim.high < 1.0 < crude.low) or (crude.high < 1.0 < claim.low)
    if opposite and gap > LEEWAY:
        reason = (
            f"the reported ratio {claim.value:g} and the crude ratio {crude.value:.3g} point "
            f"opposite ways; its inverse is {1 / claim.value:.3g}: the arms seem exchanged"
        )
        return [compared(name, claim, crude, WRONG, reason)]
    reason = (
        f"the reported ratio {claim.value:g} is not the crude ratio {crude.value:.3g}; a model "
        "with covariates or another follow-up could explain it"
    )
    return [compared(name, claim, crude, CANNOT, reason)]


def _poisson_width(row: Row, first: float, second: float) -> Check:
    """An interval of a rate ratio cannot be narrower than that of Poisson counts."""
    lower, upper = row.reported["lower"], row.reported["upper"]
    name = "width of the interval (log) over Poisson's"
    if lower.value <= 0.0 or first * second == 0.0:
        return Check.note("the interval has no width on the log scale")
    poisson = 2.0 * 1.959963984540054 * math.sqrt(1.0 / first + 1.0 / second)
    low = math.log(upper.low / lower.high) / poisson
    high = math.log(upper.high / max(lower.low, 1e-300)) / poisson
    value = math.log(upper.value / lower.value) / poisson
    if high < 1.0 - 1e-9:
        reason = f"the interval is {value:.2f} times as wide as that of Poisson counts: too narrow"
        return Check(name, None, value, low, high, WRONG, reason)
    reason = f"the interval is {value:.2f} times as wide as Poisson's: counts vary more"
    return Check(name, None, value, low, high, CANNOT, reason)


def nb_counts(row: Row) -> list[Check]:
    """Participants by number of events, with the total: sums, SD, direction of the ratio."""
    n = row.sizes()
    checks, totals = [], []
    for arm, size in zip(("1", "2"), n, strict=True):
        found = re.fullmatch(r"(\d+(?:/\d+)+)\s+total\s+(\d+)", row.cells[f"x{arm}"])
        if found is None:
            raise Unreadable(f"x{arm} is not written as 211/51/16/5/7 total 138")
        cells = [int(v) for v in found.group(1).split("/")]
        total = int(found.group(2))
        totals.append(Printed(float(total), float(total), float(total)))
        least = sum(k * c for k, c in enumerate(cells))
        if sum(cells) != size:
            reason = f"the counts of arm {arm} sum to {sum(cells)}, not {size}"
            checks.append(Check.note(reason, WRONG))
        if total < least or (cells[-1] == 0 and total != least):
            reason = f"arm {arm} has {least} events or more by its counts, but a total of {total}"
            checks.append(Check.note(reason, WRONG))
        elif cells[-1] and size > 1:
            checks += _sd(row, arm, size, cells, total)
    if min(t.value for t in totals) == 0.0:
        raise Unreadable("an arm has no events")
    exposure = [Printed(float(v), float(v), float(v)) for v in n]
    ratio = recompute.crude_ratio((totals[0], exposure[0]), (totals[1], exposure[1]))
    return [*checks, *_model_ratio(row, ratio)]


def _sd(row: Row, arm: str, n: int, cells: list[int], total: int) -> list[Check]:
    """The SD lies between those of the flattest and the steepest top category."""
    claim = read_number(row.cells[f"s{arm}"])
    if claim is None:
        return []
    top, least = cells[-1], len(cells) - 1
    known = sum(k * k * c for k, c in enumerate(cells[:-1]))
    left = total - sum(k * c for k, c in enumerate(cells[:-1]))
    each, extra = divmod(left, top)
    flat = extra * (each + 1) ** 2 + (top - extra) * each**2
    steep = (top - 1) * least**2 + (left - (top - 1) * least) ** 2
    low, high = (
        math.sqrt(max(known + v - total * total / n, 0.0) / (n - 1)) for v in (flat, steep)
    )
    fits = claim.meets(low, high)
    reason = f"the SD of arm {arm} must lie between {low:.3g} and {high:.3g}, not {claim.value:g}"
    verdict = CANNOT if fits else WRONG
    return [Check(f"SD, arm {arm}", claim.value, None, low, high, verdict, "" if fits else reason)]


def descriptive(row: Row) -> list[Check]:
    """Percentages of one whole: counts that give them must exist."""
    n = row.count("n1")
    shares = [read_number(v) for v in re.findall(rf"({NUMBER})\s*%", row.cells["x1"])]
    parts = [s for s in shares if s is not None]
    total = sum(s.value for s in parts)
    if n < 1 or len(parts) < 2 or abs(total - 100.0) > 1.5:
        raise Unreadable("x1 holds no percentages that make a whole")
    ends = [
        (math.ceil(s.low * n / 100.0 - 1e-9), math.floor(s.high * n / 100.0 + 1e-9)) for s in parts
    ]
    possible = all(a <= b for a, b in ends)
    if possible and sum(a for a, _ in ends) <= n <= sum(b for _, b in ends):
        return [Check("sum of percentages", 100.0, total, None, None, GOOD, "counts exist")]
    reason = f"no counts of {n} participants give these percentages"
    return [Check("sum of percentages", 100.0, total, None, None, WRONG, reason)]
