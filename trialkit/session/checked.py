"""Whether a device was checked before somebody walks in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from device_interface.contract import Capability
from trialkit.errors import OutOfOrder
from trialkit.study import Study

#: What makes two records speak of one device; a new calibration does not make another.
SAME = ("vendor", "model", "serial", "firmware")
_KIND = "device.checked"


def newest_check(study: Study, capability: Capability) -> str | None:
    """Return the hash of the newest conformance record of this device, where there is one."""
    return next((digest for digest, _ in reversed([*_checks(study, capability)])), None)


def require_checked(study: Study, capability: Capability) -> None:
    """Refuse a device of the real world that the study does not know.

    A device is known where it names itself (model, serial number, firmware, date of calibration),
    where the whole conformance kit has passed on it, and where nothing has failed since. Both are
    in the record: ``device.checked``. A simulated device, in which nobody walks, needs neither.
    21 CFR 11.10(h): validity of the source of data.

    Raises
    ------
    OutOfOrder
        With what is missing.
    """
    if capability.simulated:
        return
    own = capability.identity()
    named = ("model", "serial", "firmware", "calibrated_on")
    if silent := [name for name in named if own[name] in (None, "")]:
        raise OutOfOrder(
            f"the device does not say its {', '.join(silent)}.",
            remedy="Mend its driver or its configuration: a session must name its device.",
        )
    fault = "no whole run of the conformance kit on it is in the record"
    for _, found in _checks(study, capability):
        if found["failed"]:
            fault = f"the conformance kit failed on it: {', '.join(found['failures'][:3])}"
        elif _whole(found):
            fault = ""
    if fault:
        raise OutOfOrder(
            f"{own['model']} {own['serial']}, firmware {own['firmware']}: {fault}.",
            remedy="With nobody in it, run `trialkit device check DRIVER --study FOLDER`.",
        )


def _checks(study: Study, capability: Capability) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield hash and payload of each conformance record of this device, the oldest first."""
    if not study.state.counts[_KIND]:
        return
    own = capability.identity()
    for event in study.record.read(kinds=[_KIND]):
        device = event.payload.get("device")
        if isinstance(device, dict) and all(device.get(name) == own[name] for name in SAME):
            yield event.hash, event.payload


def _whole(found: dict[str, Any]) -> bool:
    from device_interface.conformance import group_names

    return not found["quick"] and set(group_names()) <= set(found["groups"])
