"""Conditions of progression rules, such as ``rpe <= 13``: a sign, a comparison, a number."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SHAPE = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(<=|>=|==|<|>)\s*(-?\d+(?:\.\d+)?)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Condition:
    """A comparison of one sign with a number."""

    sign: str
    comparison: str
    value: float

    def holds(self, values: Mapping[str, float]) -> bool | None:
        """Return whether it holds, or None where `values` lacks the sign."""
        if self.sign not in values:
            return None
        return _COMPARE[self.comparison](values[self.sign], self.value)


def parse_condition(text: str) -> Condition | None:
    """Return the condition that `text` states, or None if it is not one."""
    found = _SHAPE.fullmatch(text)
    return Condition(found[1], found[2], float(found[3])) if found else None
