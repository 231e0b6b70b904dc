"""Finds drivers by the entry point group ``trialkit.devices``, or as ``module:Class``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from device_interface.contract import SCHEMA, Capability, Device
from device_interface.errors import SchemaRefused
from trialkit.errors import UnknownName, UsageError

GROUP = "trialkit.devices"
_CHECKED: set[type] = set()
"""Driver classes that were seen to have every verb."""


def device_names() -> list[str]:
    """Return the names of the drivers that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def driver_entry(name: str) -> EntryPoint | None:
    """Return the entry point `name`, or None where no such driver is installed."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    return found[0] if found else None


def known_schema(capability: Capability) -> Capability:
    """Return a descriptor of the version of the contract that this version knows.

    Raises
    ------
    SchemaRefused
        If it is of another one.
    """
    schema = getattr(capability, "schema", None)
    if schema != SCHEMA:
        raise SchemaRefused(
            f"the descriptor has the schema {schema!r}, not {SCHEMA!r}.",
            remedy="Use a driver and a trialkit that know the same version.",
        )
    return capability


@cache
def _driver(name: str) -> Callable[..., object]:
    """Return the driver class; a name that does not exist is not remembered."""
    driver: Callable[..., object]
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            driver = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UnknownName(
                f"no device driver {name!r}: {error}.",
                remedy="Give module:Class, with the module on PYTHONPATH.",
            ) from error
        return driver
    entry = driver_entry(name)
    if entry is None:
        raise UnknownName(
            f"no device driver named {name!r}.",
            remedy=f"Use one of: {', '.join(device_names()) or '(none installed)'}.",
        )
    driver = entry.load()
    return driver


def load_driver(name: str, options: Mapping[str, Any]) -> Device:
    """Return a new driver object, not yet connected.

    Parameters
    ----------
    name : str
        Entry point name, or ``module:Class`` for a driver that is not installed yet.
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
