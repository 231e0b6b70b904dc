"""The devices of a study: which were used, in which sessions, from when to when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import sees_site

#: What tells one device, or one state of it, from another.
NAMED = ("vendor", "model", "serial", "firmware", "calibrated_on")


@dataclass
class DeviceUse:
    """A device as it was in some sessions; new firmware or a new calibration is a row of its own.

    `sessions` are in the order in which they were opened, `first_at` and `last_at` when the first
    and the last of them was (UTC); `checked` counts those that name a conformance record.
    """

    vendor: str
    model: str
    serial: str
    firmware: str
    calibrated_on: str | None
    simulated: bool
    first_at: str
    last_at: str = ""
    sites: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    checked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return dict(vars(self))


@command("see_allocation", atomic=False)
def list_devices(study: Study, *, site: str | None = None) -> list[DeviceUse]:
    """Return the devices of the sessions whose telemetry is sealed, by model and first use.

    Which device a session had is what the device itself said when the session was opened. A
    person of a site sees the sessions of that site.

    Parameters
    ----------
    site : str or None
        Only sessions of participants of this site.

    Raises
    ------
    NotPermitted
        If the role may not see allocations: which sessions were on a device tells an arm.
    """
    found: dict[tuple[object, ...], DeviceUse] = {}
    opened = [s for s in study.state.sessions.values() if s.sealed and s.device is not None]
    for session in sorted(opened, key=lambda s: (s.opened_at, s.session)):
        where = study.participant(session.usubjid).site
        if not sees_site(study, session.usubjid) or site not in (None, where):
            continue
        told = session.device or {}
        use = found.setdefault(
            tuple(told.get(name) for name in NAMED),
            DeviceUse(
                vendor=str(told.get("vendor") or ""),
                model=str(told.get("model") or ""),
                serial=str(told.get("serial") or ""),
                firmware=str(told.get("firmware") or ""),
                calibrated_on=_text(told.get("calibrated_on")),
                simulated=bool(told.get("simulated")),
                first_at=session.opened_at,
            ),
        )
        use.last_at = session.opened_at
        use.sessions.append(session.session)
        use.checked += session.conformance is not None
        if where not in use.sites:
            use.sites.append(where)
    return sorted(found.values(), key=lambda d: (d.vendor, d.model, d.serial, d.first_at))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
