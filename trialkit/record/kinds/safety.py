"""Payloads of adverse events and device deficiencies, and what they are in ISO 14155 terms."""

from __future__ import annotations

from typing import Any, Literal

from trialkit.record.kinds._payload import Payload

Severity = Literal["mild", "moderate", "severe"]
Criterion = Literal[
    "death",
    "life_threatening",
    "hospitalisation",
    "permanent_impairment",
    "intervention",
    "congenital",
]
Relation = Literal["not_related", "possible", "probable", "causal"]
EventClass = Literal["AE", "SAE", "ADE", "SADE", "USADE", "DD", "DD_SADE"]


class AdverseEventReported(Payload):
    """An adverse event; relatedness, severity and seriousness kept apart.

    `related_device` and `related_training` are true from *possible* on; the degree stands in
    `device_relation` and `procedure_relation`, None where a source knew no degree. `expected` is
    anticipated. Without `harm` it is a device deficiency and no adverse event; `sade_potential`
    says that a deficiency could have led to a serious adverse device effect. `t_from_s` and
    `t_to_s` are seconds from the first sealed row of the session. `aware_at` is UTC; where it is
    absent, the event's own time counts; `delay_days` runs from it.
    """

    kind = "ae.reported"
    term: str
    category: str
    day: int
    severity: Severity
    serious: bool = False
    related_device: bool = False
    related_training: bool = False
    device_deficiency: bool = False
    expected: bool = True
    outcome: str = "unknown"
    session: str | None = None
    ae: str = ""
    criterion: Criterion | None = None
    device_relation: Relation | None = None
    procedure_relation: Relation | None = None
    harm: bool = True
    sade_potential: bool = False
    end_day: int | None = None
    t_from_s: float | None = None
    t_to_s: float | None = None
    aware_at: str | None = None
    delay_days: int | None = None
    late: bool = False


class AdverseEventUpdated(Payload):
    """Follow-up or correction of an adverse event: fields with their new and their old values."""

    kind = "ae.updated"
    ae: str
    changes: dict[str, Any]
    old: dict[str, Any]
    aware_at: str | None = None


class AdverseEventNotified(Payload):
    """The report that an adverse event asks for was sent, `to` whom."""

    kind = "ae.notified"
    ae: str
    to: str
    classes: list[str]


def classify(facts: AdverseEventReported) -> tuple[EventClass, ...]:
    """Return what an event is in ISO 14155 terms, from the general to the special.

    An adverse event is serious by its criterion, an adverse device effect where it is at least
    possibly related to the device, a SADE where it is both, and a USADE where it was moreover
    not anticipated. A relation to the procedure alone makes no device effect. A deficiency has
    SADE potential where a person says so, or where a SADE came of it.

    Returns
    -------
    tuple of str
        Such as ``("AE", "SAE", "ADE", "SADE", "DD", "DD_SADE")``.
    """
    found: list[EventClass] = []
    sade = facts.harm and facts.serious and facts.related_device
    if facts.harm:
        found.append("AE")
        found += ["SAE"] if facts.serious else []
        found += ["ADE"] if facts.related_device else []
        found += ["SADE"] if sade else []
        found += ["USADE"] if sade and not facts.expected else []
    if facts.device_deficiency:
        found.append("DD")
        found += ["DD_SADE"] if facts.sade_potential or sade else []
    return tuple(found)


def main_class(classes: tuple[EventClass, ...]) -> EventClass:
    """Return the class that names an event: its most special one; a deficiency if no harm came."""
    harmful = [c for c in classes if not c.startswith("DD")]
    if "ADE" in harmful and "SADE" not in harmful:
        return "ADE"
    return (harmful or list(classes))[-1]
