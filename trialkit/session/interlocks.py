"""Stop rules: bounds on signs, looked at when arming and with every value that comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trialkit.protocol.model import StopRule

_WEIGHT = {"hold": 1, "do_not_start": 2, "stop": 3}


@dataclass(frozen=True)
class Tripped:
    """A rule that fired, and the value that fired it."""

    rule: StopRule
    value: float


def tripped(rules: Iterable[StopRule], values: Mapping[str, float]) -> Tripped | None:
    """Return the gravest rule that `values` fire, the first of equals, or None.

    A rule whose sign is not among `values` does not fire.
    """
    fired = [
        Tripped(rule, values[rule.sign])
        for rule in rules
        if rule.sign in values and _fires(rule, values[rule.sign])
    ]
    return max(fired, key=lambda t: _WEIGHT[t.rule.action], default=None)


def _fires(rule: StopRule, value: float) -> bool:
    above = rule.above is not None and value > rule.above
    below = rule.below is not None and value < rule.below
    return above or below or value != value  # not a number is never safe
