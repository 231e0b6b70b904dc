"""Checks of signs: that each is known, and that bounds on it lie where a value can be."""

from __future__ import annotations

from collections.abc import Iterable

from trialkit._yaml import Document
from trialkit.protocol.conditions import Condition
from trialkit.protocol.model import Block, StopRule
from trialkit.protocol.signs import SIGNS, Sign, unknown_sign

Path = tuple[str | int, ...]


def check_entered(
    document: Document, screening: list[str], blocks: Iterable[tuple[int, Block]]
) -> None:
    """Add every screening sign and prompt that nobody could enter."""
    entered: list[tuple[Path, str]] = [
        (("session", "screening", i), name) for i, name in enumerate(screening)
    ]
    for index, block in blocks:
        at: Path = ("session", "blocks", index, "prompts")
        entered += [((*at, i), name) for i, name in enumerate(block.prompts)]
    for at, name in entered:
        if isinstance(name, str) and name not in SIGNS:
            document.add(at, f"{name} is no known sign.", unknown_sign(name))


def check_around(document: Document) -> None:
    """Add every planned range of donning and doffing that cannot be."""
    session = document.data.get("session")
    for key in ("donning_minutes", "doffing_minutes"):
        planned = session.get(key) if isinstance(session, dict) else None
        at = ("session", key)
        if not document.whole("session") or not isinstance(planned, list):
            continue
        low, high = float(planned[0]), float(planned[1])
        if low > high:
            document.add(at, f"the range {low:g} to {high:g} is empty.", "Exchange the numbers.")
        for value in (low, high):
            if fault := SIGNS[key].fault(value):
                document.add(at, fault, "Give the range in minutes.")
                break


def check_bounds(document: Document, rules: Iterable[tuple[int, StopRule]]) -> None:
    """Add every bound of a stop rule that no possible value can pass."""
    for index, rule in rules:
        sign = SIGNS.get(rule.sign)
        if sign is None:
            continue
        at: Path = ("stop_rules", index)
        if rule.above is not None:
            _check(document, (*at, "above"), sign, rule.above, fires=rule.above < sign.maximum)
        if rule.below is not None:
            _check(document, (*at, "below"), sign, rule.below, fires=rule.below > sign.minimum)


def check_condition_value(document: Document, at: Path, condition: Condition) -> None:
    """Add a number of a condition that the sign can never have."""
    sign = SIGNS.get(condition.sign)
    if sign is not None:
        _check(document, at, sign, condition.value, fires=True)


def _check(document: Document, at: Path, sign: Sign, value: float, *, fires: bool) -> None:
    unit = f" {sign.unit}" if sign.unit else ""
    span = f"{sign.minimum:g} to {sign.maximum:g}{unit}"
    if not sign.minimum <= value <= sign.maximum:
        remedy = sign.hint(value) or f"Give a value from {span}."
        document.add(at, f"{value:g} is not possible for {sign.name}.", remedy)
    elif not fires:
        document.add(
            at,
            f"no {sign.name} is beyond {value:g}, so the rule never fires.",
            f"Give a bound inside {span}.",
        )
