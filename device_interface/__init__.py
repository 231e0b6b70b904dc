"""Gait trainers behind one contract: states, limits, channels, and a process of their own.

A driver is found by the entry point group ``trialkit.devices`` and is never imported by the
session. It imports nothing of trialkit but its errors, canonical JSON and clocks.
"""

from __future__ import annotations

from device_interface.contract import (
    Block,
    Capability,
    Channel,
    Device,
    DeviceState,
    Parameter,
    Setpoints,
)
from device_interface.link import DeviceLink, InProcessLink, Link, open_link
from device_interface.registry import device_names, load_driver

__all__ = [
    "Block",
    "Capability",
    "Channel",
    "Device",
    "DeviceLink",
    "DeviceState",
    "InProcessLink",
    "Link",
    "Parameter",
    "Setpoints",
    "device_names",
    "load_driver",
    "open_link",
]
