"""Sessions as EX rows, devices as DI rows."""

from __future__ import annotations

from typing import Any

from trialkit.record import Event
from trialkit.record.kinds import (
    Dose,
    SessionClosed,
    SessionConventional,
    SessionMissed,
    SessionOpened,
)

Row = dict[str, Any]


class Exposure:
    """Takes the events of sessions; a session that was opened and not closed stays ``open``."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._open: dict[str, Row] = {}
        self._devices: dict[str, dict[str, Any]] = {}

    def opened(self, event: Event, payload: SessionOpened) -> None:
        """Take the opening of a session on a device."""
        device = _device_id(payload)
        self._devices.setdefault(device, dict(payload.device))
        row = {
            "USUBJID": event.subject,
            "EXSESS": payload.session,
            "EXSESNUM": payload.number,
            "EXTRT": payload.protocol,
            "EXDELIV": "device",
            "EXSTAT": "open",
            "EXPLAN": payload.planned_minutes,
            "EXPERF": payload.therapist,
            "SPDEVID": device,
            "EXDY": payload.day,
            "EXREFID": event.seq,
        }
        self._rows.append(row)
        self._open[payload.session] = row

    def closed(self, event: Event, payload: SessionClosed) -> None:
        """Take the end of a session with its delivered dose."""
        row = self._open.pop(payload.session, None)
        if row is None:
            row = {"USUBJID": event.subject, "EXSESS": payload.session, "EXDELIV": "device"}
            self._rows.append(row)
        row |= {
            "EXSESNUM": payload.number,
            "EXSTAT": payload.status,
            "EXREAS": payload.code,
            "EXDOSRC": payload.dose_source,
            "EXDY": payload.day,
            "EXREFID": event.seq,
            **_dose(payload.dose),
        }

    def conventional(self, event: Event, payload: SessionConventional) -> None:
        """Take a session that a therapist logged."""
        self._rows.append(
            {
                "USUBJID": event.subject,
                "EXSESS": payload.session,
                "EXSESNUM": payload.number,
                "EXTRT": payload.protocol,
                "EXDELIV": "therapist",
                "EXSTAT": "completed",
                "EXDOSRC": "therapist",
                "EXPERF": payload.therapist,
                "EXDY": payload.day,
                "EXREFID": event.seq,
                **_dose(payload.dose),
            }
        )

    def missed(self, event: Event, payload: SessionMissed) -> None:
        """Take a planned session that did not take place."""
        self._rows.append(
            {
                "USUBJID": event.subject,
                "EXSESNUM": payload.number,
                "EXSTAT": "missed",
                "EXREAS": payload.code,
                "EXDY": payload.day,
                "EXREFID": event.seq,
            }
        )

    def rows(self) -> list[Row]:
        """Return the rows of EX, without their sequence numbers."""
        return [{"DOMAIN": "EX", **row} for row in self._rows]

    def devices(self) -> list[Row]:
        """Return the rows of DI."""
        return [
            {
                "DOMAIN": "DI",
                "SPDEVID": device,
                "DISEQ": number,
                "DIPARMCD": name,
                "DIVAL": None if value is None else str(value),
            }
            for device, properties in sorted(self._devices.items())
            for number, (name, value) in enumerate(sorted(properties.items()), start=1)
        ]


def _device_id(payload: SessionOpened) -> str:
    """Return the device's serial number or id, or the first text that it gave."""
    given = payload.device
    for name in ("serial", "serial_number", "id", "device_id", "name", "model"):
        if given.get(name) is not None:
            return str(given[name])
    return next((str(v) for v in given.values() if v is not None), "unknown")


def _dose(dose: Dose) -> Row:
    return {
        "EXDUR": dose.minutes,
        "EXMOV": dose.moving_minutes,
        "EXSTEPS": dose.steps,
        "EXDIST": dose.distance_m,
        "EXSPEED": dose.mean_speed_m_s,
        "EXSUPP": dose.mean_support_fraction,
        "EXGUID": dose.mean_guidance,
    }


HIDDEN = (
    "EXSESS",
    "EXTRT",
    "EXDELIV",
    "EXPLAN",
    "EXDUR",
    "EXMOV",
    "EXSTEPS",
    "EXDIST",
    "EXSPEED",
    "EXSUPP",
    "EXGUID",
    "EXREAS",
    "EXDOSRC",
    "EXPERF",
    "SPDEVID",
)
"""Columns of EX that tell the arm."""
