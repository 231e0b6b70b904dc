"""The conformance kit: twelve groups of checks that every driver must pass.

The kit opens a driver as a session does, in a process of its own and through the same link,
and tries what the contract promises: in lockstep where the device allows it and time is not
the point, else in real time. A driver's word is not enough; each check looks at what the
device does.
"""

from __future__ import annotations

from device_interface.conformance.model import Check, Outcome
from device_interface.conformance.report import check_record, read_record, record_of
from device_interface.conformance.run import GROUPS, KIT_VERSION, KitResult, group_names, run_kit

__all__ = [
    "GROUPS",
    "KIT_VERSION",
    "Check",
    "KitResult",
    "Outcome",
    "check_record",
    "group_names",
    "read_record",
    "record_of",
    "run_kit",
]
