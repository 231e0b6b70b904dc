"""Finds drivers by the entry point group ``trialkit.devices``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, cast

from device_interface.contract import Device
from trialkit.errors import UnknownName, UsageError

GROUP = "trialkit.devices"
_CHECKED: set[type] = set()
"""Driver classes that were seen to have every verb."""


def device_names() -> list[str]:
    """Return the names of the drivers that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def _driver(name: str) -> Callable[..., object]:
    """Return the driver class; a name that does not exist is not remembered."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise UnknownName(
            f"no device driver named {name!r}.",
            remedy=f"Use one of: {', '.join(device_names()) or '(none installed)'}.",
        )
    driver: Callable[..., object] = found[0].load()
    return driver


def load_driver(name: str, options: Mapping[str, Any]) -> Device:
    """Return a new driver object, not yet connected.

    Parameters
    ----------
    name : str
        Entry point name.
    options : mapping
        Given to the driver class as keyword arguments.

    Raises
    ------
    UnknownName
        If no driver of that name is installed.
    UsageError
        If the driver does not know an option, or is no `Device`.
    """
    driver = _driver(name)
    try:
        device = driver(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the driver {name!r} does not take these options: {error}.",
            remedy="Correct the device options.",
        ) from error
    kind = type(device)
    if kind not in _CHECKED and isinstance(device, Device):
        _CHECKED.add(kind)
    if kind not in _CHECKED:
        raise UsageError(
            f"the driver {name!r} lacks verbs of device_interface.contract.Device.",
            remedy="Mend the driver.",
        )
    return cast(Device, device)
