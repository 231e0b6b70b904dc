"""Factors of a formula as safe expressions: arithmetic and a few functions over columns.

A plan is data that a stranger may have written; its formulas must not run code. So a factor
is parsed to Python's syntax tree and only the nodes named here are evaluated.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "I": lambda value: value,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sqrt": np.sqrt,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def refuse(expression: str, what: str) -> UsageError:
    """Make the error for an expression that is not supported."""
    return UsageError(
        f"The formula's {expression!r} {what}.",
        remedy="Use columns, C(column), + - * / ** inside I(...), or "
        f"{', '.join(sorted(FUNCTIONS))}; compute anything else as a column first.",
    )


@lru_cache(maxsize=1024)
def tree(expression: str) -> ast.expr | None:
    """Return the syntax tree, or None for the name of a column that is no Python name."""
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError:
        return None


@lru_cache(maxsize=1024)
def variables(expression: str) -> tuple[str, ...]:
    """Return the columns that an expression reads, in order."""
    body = tree(expression)
    if body is None:
        return (expression,)
    called = {id(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)}
    names = [
        node.id for node in ast.walk(body) if isinstance(node, ast.Name) and id(node) not in called
    ]
    if not names:
        raise refuse(expression, "reads no column")
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=1024)
def is_categorical(expression: str) -> bool:
    """Tell whether the expression is ``C(column)``."""
    body = tree(expression)
    if not (isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and body.func.id == "C"):
        return False
    if len(body.args) != 1 or body.keywords or not isinstance(body.args[0], ast.Name):
        raise refuse(expression, "takes one column and no options")
    return True


def evaluate(expression: str, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """Evaluate a numeric expression on columns of shape (n,).

    Raises
    ------
    UsageError
        If a node is not supported or a column is not numeric.
    """
    if expression in columns:
        return number(expression, columns[expression])
    body = tree(expression)
    if body is None:
        raise refuse(expression, "cannot be read")
    with np.errstate(all="ignore"):
        return np.asarray(walk(expression, body, columns), dtype=np.float64)


def number(name: str, values: npt.NDArray[Any]) -> Floats:
    """Return a column as floats, or refuse text."""
    if values.dtype.kind not in "biuf":
        raise UsageError(
            f"The column {name} is used as a number and holds text.",
            remedy=f"Convert {name} to numbers.",
        )
    return values.astype(np.float64)


def walk(expression: str, node: ast.expr, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Evaluate one node."""
    match node:
        case ast.Name(id=name) if name in columns:
            return number(name, columns[name])
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](
                walk(expression, left, columns), walk(expression, right, columns)
            )
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -walk(expression, operand, columns)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](walk(expression, argument, columns))
    raise refuse(expression, "is not supported")
