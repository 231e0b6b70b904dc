"""Options of the form NAME=VALUE."""

from __future__ import annotations

import json
from typing import Any

from trialkit.errors import UsageError


def pairs(option: str, entries: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE entries as a dict; a value that is JSON is read as such.

    Raises
    ------
    UsageError
        If an entry has no name or no ``=``.
    """
    values: dict[str, Any] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {entry}: no NAME=VALUE.", remedy="Write seed=1.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def numbers(option: str, entries: list[str]) -> dict[str, float]:
    """Return NAME=NUMBER entries of signs as a dict.

    Raises
    ------
    UsageError
        If a value is no number, or none that the sign can have.
    """
    from trialkit.protocol.signs import sign_fault

    values = pairs(option, entries)
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{option} {name}={value}: no number.", remedy="Write rpe=12.")
        if fault := sign_fault(name, value):
            raise UsageError(f"{option} {name}: {fault}", remedy="Enter it in the sign's unit.")
    return values
