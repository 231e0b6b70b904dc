"""Rows of published tables with means or proportions: cells to checks."""

from __future__ import annotations

import re

from trialkit.methods.instruments import recompute
from trialkit.methods.instruments.printed import NUMBER, Printed, must_read, read_number
from trialkit.methods.instruments.published_checks import (
    GOOD,
    WRONG,
    Check,
    Row,
    Unreadable,
    compare,
    compared,
    grim,
)
from trialkit.methods.instruments.recompute import Change, Range


def t_pooled(row: Row) -> list[Check]:
    """Two means with SDs: pooled t test, else Welch's."""
    n = row.sizes(2)
    means = row.number("x1"), row.number("x2")
    sds = row.number("s1"), row.number("s2")
    if min(s.value for s in sds) < 0.0 or max(s.high for s in sds) == 0.0:
        raise Unreadable("s1 and s2 are no standard deviations")
    checks = compare(row, recompute.t_test(n, means, sds), ("p by Welch's test",))
    return [*checks, *grim(row, "x1", means[0], n[0]), *grim(row, "x2", means[1], n[1])]


def ancova_summary(row: Row) -> list[Check]:
    """Baseline, outcome and change of two arms: analysis of covariance."""
    n = row.sizes(2)
    arms = _change(row, "1", n[0]), _change(row, "2", n[1])
    found = recompute.ancova(*arms)
    checks = [] if found is None else compare(row, found)
    if found is None:
        reason = "the SDs of baseline, outcome and change contradict each other"
        checks = [Check.note(reason, WRONG)]
    for number, arm in zip(("1", "2"), arms, strict=True):
        if arm.change is not None:
            low, high = arm.post.low - arm.pre.high, arm.post.high - arm.pre.low
            moved = Range(arm.post.value - arm.pre.value, low, high)
            fits = arm.change.meets(low, high)
            reason = (
                f"the change of arm {number} is printed as {arm.change.value:g}, but outcome less "
                f"baseline is {moved.value:.4g}"
            )
            name = f"change, arm {number}"
            verdict = GOOD if fits else WRONG
            checks.append(compared(name, arm.change, moved, verdict, "" if fits else reason))
            checks += grim(row, name, arm.change, arm.n)
        checks += grim(row, f"baseline, arm {number}", arm.pre, arm.n)
        checks += grim(row, f"outcome, arm {number}", arm.post, arm.n)
    return checks


def _change(row: Row, arm: str, n: int) -> Change:
    means = re.fullmatch(rf"({NUMBER})\s*->\s*({NUMBER})", row.cells[f"x{arm}"])
    spread = re.fullmatch(
        rf"({NUMBER})/({NUMBER})/chg\s*({NUMBER})(?:\s*\(({NUMBER})\))?", row.cells[f"s{arm}"]
    )
    if means is None or spread is None:
        raise Unreadable(f"x{arm} or s{arm} is not written as baseline->outcome, SD/SD/chg SD")
    pre, post, a, b, c = (must_read(v) for v in (*means.groups(), *spread.groups()[:3]))
    last = read_number(spread.group(4))
    return Change(n, pre, post, a, b, last or c, c if last else None)


def ratio_wald(row: Row) -> list[Check]:
    """Odds ratio or risk ratio with a Wald interval."""
    kind, _, level = row.cells["test"].partition("_wald")
    n, events = row.sizes(), (row.count("x1"), row.count("x2"))
    if events[0] > n[0] or events[1] > n[1]:
        return [Check.note("there are more events than participants", WRONG)]
    width = read_number(level.lstrip("_"), exact="." not in level) if level else None
    found = recompute.ratio_wald(events, n, width or Printed(95.0, 95.0, 95.0), kind)
    if found is None:
        raise Unreadable("a cell is zero: there is no Wald interval")
    return compare(row, found)


def two_by_two(row: Row) -> list[Check]:
    """Two proportions: percentages and p."""
    n, events = row.sizes(), (row.count("x1"), row.count("x2"))
    if events[0] > n[0] or events[1] > n[1]:
        return [Check.note("there are more events than participants", WRONG)]
    others = ("p by chi-square with correction", "p by Fisher's exact test")
    checks = compare(row, recompute.two_by_two(events, n), others)
    if any(c.verdict == WRONG and c.quantity.startswith("percent") for c in checks):
        checks.append(Check.note("an estimate from times to events may differ from a proportion"))
    if "memory" in row.cells["reported"]:
        checks.append(Check.note("the reported numbers are quoted from memory"))
    return checks
