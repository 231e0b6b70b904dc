"""Payloads of deviations."""

from __future__ import annotations

from typing import Literal

from trialkit.record.kinds._payload import Payload

Classification = Literal["minor", "major"]


class DeviationRaised(Payload):
    """A departure from the protocol, raised by the software or by a person."""

    kind = "deviation.raised"
    category: str
    detail: str
    day: int | None = None
    session: str | None = None
    classification: Classification | None = None
    delay_days: int | None = None
    late: bool = False


class DeviationAcknowledged(Payload):
    """An investigator took note of a deviation and classified it."""

    kind = "deviation.acknowledged"
    deviation: str
    classification: Classification
    old_classification: Classification | None = None


class DeviationResolved(Payload):
    """An investigator settled a deviation; the reason of the event says how."""

    kind = "deviation.resolved"
    deviation: str
