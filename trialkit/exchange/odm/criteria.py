"""Criteria of eligibility in an ODM Protocol: each is a Criterion, and a condition that says it.

A criterion has its text as the description of the condition. One that bounds a value has the
bounds as a formal expression too.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from trialkit.exchange.odm.xml import element, text_element, translated
from trialkit.protocol.model import Criterion, Eligibility


def criteria(asked: Eligibility | None) -> Element | None:
    """Return the InclusionExclusionCriteria of a protocol, or None where it lists none."""
    if asked is None:
        return None
    parts = []
    for kind, name in (("inclusion", "InclusionCriteria"), ("exclusion", "ExclusionCriteria")):
        listed = [
            element(
                "Criterion",
                {"OID": f"CR.{one.id}", "Name": one.id, "ConditionOID": _condition_oid(one)},
            )
            for one in asked.criteria
            if one.kind == kind
        ]
        parts.append(element(name, {}, *listed) if listed else None)
    return element("InclusionExclusionCriteria", {}, *parts)


def criteria_conditions(asked: Eligibility | None) -> Iterator[Element]:
    """Yield the ConditionDef of each criterion."""
    for one in asked.criteria if asked is not None else ():
        value = one.attribute or one.paramcd
        bounds = [
            f"{value} {sign} {bound:g}"
            for sign, bound in ((">=", one.minimum), ("<=", one.maximum))
            if bound is not None
        ]
        yield element(
            "ConditionDef",
            {"OID": _condition_oid(one), "Name": f"{one.kind} {one.id}"},
            translated("Description", one.text),
            element(
                "MethodSignature",
                {},
                element("Parameter", {"Name": value, "DataType": "decimal"}) if value else None,
                element("ReturnValue", {"Name": "met", "DataType": "boolean"}),
            ),
            element(
                "FormalExpression",
                {"Context": "trialkit"},
                text_element("Code", " and ".join(bounds)),
            )
            if bounds
            else None,
        )


def _condition_oid(one: Criterion) -> str:
    return f"CD.CR.{one.id}"
