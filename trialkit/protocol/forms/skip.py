"""The language of skip logic: conditions on earlier items, parsed and never run as code.

``AID == yes and (SPEED < 0.4 or FAC in [0, 1, 2])``: comparisons of items with values or with
other items, ``in`` and ``not in`` a list, ``and``, ``or``, ``not`` and parentheses. ``yes`` and
``no`` are words of the language; other texts stand in quotes. What is compared with a missing
item is unknown, and unknown is passed on as in Kleene's three-valued logic: an item is asked
only where its condition is known to hold.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from trialkit.errors import UsageError

MAX_LENGTH = 500
WORDS = {"yes": "Y", "no": "N"}
Value = float | int | str | None
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
MEMBER = (ast.In, ast.NotIn)


def _refuse(text: str, what: str) -> UsageError:
    return UsageError(
        f"condition {text!r}: {what}.",
        remedy="Compare items with values, such as AID == yes and SPEED < 0.4.",
    )


@lru_cache(maxsize=1024)
def parse(text: str) -> ast.expr:
    """Return the syntax tree of a condition, all of whose nodes are allowed.

    Raises
    ------
    UsageError
        If the text is not of the language.
    """
    if len(text) > MAX_LENGTH:
        raise _refuse(text[:40] + "...", f"longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refuse(text, "it cannot be read") from error
    _allow(tree, text)
    return tree


def _allow(node: ast.expr, text: str) -> None:
    """Refuse every node that is not of the language."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _allow(part, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _allow(node.operand, text)
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for op, side in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, MEMBER) != isinstance(side, ast.List | ast.Tuple):
                raise _refuse(text, "a list follows in and not in, and nothing else")
            if not isinstance(op, (*_COMPARE, *MEMBER)):
                raise _refuse(text, "this comparison is not of the language")
        for side in sides:
            for part in side.elts if isinstance(side, ast.List | ast.Tuple) else [side]:
                _operand(part, text)
        if isinstance(node.left, ast.List | ast.Tuple) or not any(
            isinstance(s, ast.Name) and s.id not in WORDS for s in sides
        ):
            raise _refuse(text, "a comparison needs an item")
    else:
        raise _refuse(text, "only comparisons joined by and, or and not are allowed")


def _operand(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.Name):
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        return
    raise _refuse(text, "only items, numbers and quoted texts can be compared")


def comparisons(text: str) -> list[tuple[list[str], list[Value], bool]]:
    """Return of each comparison its items, its values, and whether it asks for an order."""
    found = []
    for node in ast.walk(parse(text)):
        if not isinstance(node, ast.Compare):
            continue
        parts: list[ast.expr] = []
        for side in (node.left, *node.comparators):
            parts += side.elts if isinstance(side, ast.List | ast.Tuple) else [side]
        names = [p.id for p in parts if isinstance(p, ast.Name) and p.id not in WORDS]
        values = [_value(p, {}) for p in parts if not isinstance(p, ast.Name) or p.id in WORDS]
        found.append((names, values, any(isinstance(op, ORDER) for op in node.ops)))
    return found


def names(text: str) -> list[str]:
    """Return the items that a condition uses, each once."""
    return list(dict.fromkeys(name for used, _, _ in comparisons(text) for name in used))


def holds(text: str, values: Mapping[str, Value]) -> bool | None:
    """Return whether a condition holds, or None where a missing item leaves it unknown.

    Parameters
    ----------
    values : mapping
        Item id to value; an absent item and None are both missing.

    Raises
    ------
    UsageError
        If the text is not of the language.
    """
    return _truth(parse(text), values)


def _truth(node: ast.expr, values: Mapping[str, Value]) -> bool | None:
    if isinstance(node, ast.BoolOp):
        parts = [_truth(part, values) for part in node.values]
        decisive = isinstance(node.op, ast.Or)
        if decisive in parts:
            return decisive
        return None if None in parts else not decisive
    if isinstance(node, ast.UnaryOp):
        inner = _truth(node.operand, values)
        return None if inner is None else not inner
    if not isinstance(node, ast.Compare):  # `parse` lets nothing else through
        return None
    results: list[bool | None] = []
    left = node.left
    for op, right in zip(node.ops, node.comparators, strict=True):
        results.append(_compared(op, left, right, values))
        left = right
    if False in results:
        return False
    return None if None in results else True


def _compared(
    op: ast.cmpop, left: ast.expr, right: ast.expr, values: Mapping[str, Value]
) -> bool | None:
    mine = _value(left, values)
    if mine is None:
        return None
    if isinstance(right, ast.List | ast.Tuple):
        others = [_value(part, values) for part in right.elts]
        if mine in others:
            return isinstance(op, ast.In)
        return None if None in others else isinstance(op, ast.NotIn)
    other = _value(right, values)
    if other is None:
        return None
    if isinstance(op, ORDER) and isinstance(mine, str) != isinstance(other, str):
        return None
    return _COMPARE[type(op)](mine, other)


def _value(node: ast.expr, values: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Name):
        return WORDS[node.id] if node.id in WORDS else values.get(node.id)
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return None if inner is None or isinstance(inner, str) else -inner
    return node.value if isinstance(node, ast.Constant) else None  # type: ignore[return-value]
