"""Branching logic: a form's skip condition in REDCap's words.

Our conditions are three-valued: an item is asked only where its condition is known to hold. In
REDCap an empty field compares as an empty text, so each comparison that would hold of it is joined
with ``[field] <> ''``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from trialkit.protocol.forms.skip import WORDS, parse

_POSITIVE: dict[type[ast.cmpop], str] = {
    ast.Eq: "=",
    ast.NotEq: "<>",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True)
class Words:
    """How a form is named in REDCap: the variable of an item, the code of an item's value."""

    variable: Callable[[str], str]
    code: Callable[[str, str | float | int], str]


def branching(when: str, words: Words) -> str:
    """Return a condition as branching logic that holds just where it is known to hold.

    Parameters
    ----------
    when : str
        A condition as `trialkit.protocol.forms.skip` describes it.
    words : Words
    """
    return _known(parse(when), words, wanted=True)


def _known(node: ast.expr, words: Words, *, wanted: bool) -> str:
    """Return logic that holds where `node` is known to be `wanted`."""
    if isinstance(node, ast.UnaryOp):
        return _known(node.operand, words, wanted=not wanted)
    if isinstance(node, ast.BoolOp):
        parts = [_known(part, words, wanted=wanted) for part in node.values]
        return _join(parts, every=isinstance(node.op, ast.And) == wanted)
    assert isinstance(node, ast.Compare)  # `parse` lets nothing else through
    parts, left = [], node.left
    for op, right in zip(node.ops, node.comparators, strict=True):
        parts.append(_comparison(op, left, right, words, wanted))
        left = right
    return _join(parts, every=wanted)


def _join(parts: list[str], *, every: bool) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"({(' and ' if every else ' or ').join(parts)})"


def _comparison(op: ast.cmpop, left: ast.expr, right: ast.expr, words: Words, wanted: bool) -> str:
    if isinstance(right, ast.List | ast.Tuple):
        inside = isinstance(op, ast.In) == wanted
        parts = [_pair("=" if inside else "<>", left, part, words) for part in right.elts]
        return _join(parts, every=not inside)
    sign = _POSITIVE[type(op)]
    return _pair(sign if wanted else _NEGATED[sign], left, right, words)


def _pair(sign: str, left: ast.expr, right: ast.expr, words: Words) -> str:
    items = [side.id for side in (left, right) if isinstance(side, ast.Name)]
    items = [name for name in items if name not in WORDS]
    logic = f"{_side(left, items, words)} {sign} {_side(right, items, words)}"
    if sign == "=" and len(items) == 1:
        return logic
    guards = [f"[{words.variable(item)}] <> ''" for item in dict.fromkeys(items)]
    return _join([*guards, logic], every=True)


def _side(node: ast.expr, items: list[str], words: Words) -> str:
    if isinstance(node, ast.Name):
        if node.id in WORDS:
            return f"'{words.code(items[0], WORDS[node.id])}'"
        return f"[{words.variable(node.id)}]"
    value = ast.literal_eval(node)
    text = words.code(items[0], value)
    return text if not isinstance(value, str) and text == _plain(value) else f"'{text}'"


def _plain(value: float | int) -> str:
    return f"{value:g}"
