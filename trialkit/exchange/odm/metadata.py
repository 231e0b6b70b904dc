"""The design of a study as an ODM MetaDataVersion: criteria, events, forms, items, conditions.

ODM 2.0 has no measurement units of its own: the unit of an item is the value of another item of
the same group (``UnitsItemOID``), which is fixed here (``PreSpecifiedValue``). A condition says
where an item is *not* collected, so ours stand in it negated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from trialkit._canonical import sha256_bytes
from trialkit.exchange.foreign.contents import Group
from trialkit.exchange.odm.criteria import criteria, criteria_conditions
from trialkit.exchange.odm.xml import element, text_element, translated
from trialkit.protocol.forms import Item
from trialkit.protocol.forms.model import NUMERIC, choice_text
from trialkit.protocol.forms.skip import names as used_in
from trialkit.study import Design

_EVENTS = "SEG.EVENTS"


def event_oid(visit: str) -> str:
    """Return the OID of a visit, or of the event of what is at none."""
    return f"SE.V.{visit}" if visit else "SE.ENROLMENT"


def group_oid(code: str) -> str:
    """Return the OID of a group of items."""
    return f"IG.{code}"


def item_oid(group: str, item: str) -> str:
    """Return the OID of an item of a group."""
    return f"IT.{group}.{item}"


@dataclass(frozen=True)
class Version:
    """OIDs of a study and of its design; the latter follows the text of the design."""

    study: str
    design: str

    @classmethod
    def of(cls, study_id: str, design: Design) -> Version:
        """Return the OIDs of a study."""
        digest = sha256_bytes(design.to_yaml().encode())
        return cls(f"ST.{study_id}", f"MDV.{study_id}.{digest[:12]}")


def metadata(version: Version, groups: list[Group], design: Design) -> Element:
    """Return the MetaDataVersion of a study."""
    labels = {"": "Enrolment", **{visit.code: visit.label for visit in design.visits}}
    refs = [
        element(
            "StudyEventRef",
            {"StudyEventOID": event_oid(code), "OrderNumber": str(n), "Mandatory": "No"},
        )
        for n, code in enumerate(labels, start=1)
    ]
    return element(
        "MetaDataVersion",
        {"OID": version.design, "Name": "Design of the study"},
        element(
            "Protocol",
            {},
            criteria(design.eligibility),
            element("StudyEventGroupRef", {"StudyEventGroupOID": _EVENTS, "Mandatory": "Yes"}),
        ),
        element("StudyEventGroupDef", {"OID": _EVENTS, "Name": "Events"}, *refs),
        *(_event(code, label, groups, design) for code, label in labels.items()),
        *(_group(group) for group in groups),
        *(part for group in groups for part in _items(group)),
        *(part for group in groups for part in _code_lists(group)),
        *(part for group in groups for part in _conditions(group)),
        *criteria_conditions(design.eligibility),
    )


def _event(code: str, label: str, groups: list[Group], design: Design) -> Element:
    about = None
    if code:
        visit = design.visit(code)
        first, last = (visit.day + days for days in visit.window_days)
        about = translated(
            "Description", f"Planned on study day {visit.day}, window day {first} to {last}."
        )
    here = [group for group in groups if code in (group.visits or ("",))]
    return element(
        "StudyEventDef",
        {
            "OID": event_oid(code),
            "Name": label,
            "Repeating": "No",
            "Type": "Scheduled" if code else "Common",
        },
        about,
        *(
            element(
                "ItemGroupRef",
                {"ItemGroupOID": group_oid(g.code), "OrderNumber": str(n), "Mandatory": "No"},
            )
            for n, g in enumerate(here, start=1)
        ),
    )


def _units(group: Group) -> dict[str, str]:
    """Return the OID of the item that stands for each unit of a group."""
    found = dict.fromkeys(item.unit for item in group.items if item.unit)
    return {unit: f"UN.{group.code}.{n}" for n, unit in enumerate(found, start=1)}


def _group(group: Group) -> Element:
    units = _units(group)
    refs = [
        element(
            "ItemRef",
            {
                "ItemOID": item_oid(group.code, item.id),
                "UnitsItemOID": units.get(item.unit),
                "OrderNumber": str(n),
                "Mandatory": "Yes" if item.required else "No",
                "CollectionExceptionConditionOID": _condition_oid(group, item),
            },
        )
        for n, item in enumerate(group.items, start=1)
    ]
    refs += [
        element("ItemRef", {"ItemOID": oid, "PreSpecifiedValue": unit, "Mandatory": "No"})
        for unit, oid in units.items()
    ]
    return element(
        "ItemGroupDef",
        {
            "OID": group_oid(group.code),
            "Name": group.name,
            "Repeating": "Simple" if group.repeating else "No",
            "Type": "Form",
        },
        *refs,
    )


def _data_type(item: Item) -> str:
    if item.type in NUMERIC:
        return "integer" if item.type == "integer" or item.decimals == 0 else "decimal"
    return {"date": "date", "time": "partialTime"}.get(item.type, "text")


def _items(group: Group) -> Iterator[Element]:
    for item in group.items:
        oid = item_oid(group.code, item.id)
        yield element(
            "ItemDef",
            {
                "OID": oid,
                "Name": item.id,
                "DataType": _data_type(item),
                "Length": str(item.max_length) if item.type == "text" else None,
            },
            translated("Question", item.label or item.id),
            *_ranges(item),
            element("CodeListRef", {"CodeListOID": f"CL.{oid}"}) if _choices(item) else None,
        )
    for unit, oid in _units(group).items():
        yield element(
            "ItemDef",
            {"OID": oid, "Name": f"Unit {unit}", "DataType": "text", "Length": str(len(unit))},
        )


def _ranges(item: Item) -> Iterator[Element]:
    """Yield the range of an item: hard, what is refused; soft, what is flagged."""
    hard = (item.minimum, item.maximum) if item.type in NUMERIC else (None, None)
    for kind, bounds in (("Hard", hard), ("Soft", item.plausible or (None, None))):
        for sign, bound in zip(("GE", "LE"), bounds, strict=True):
            if bound is not None:
                yield element(
                    "RangeCheck",
                    {"Comparator": sign, "SoftHard": kind},
                    text_element("CheckValue", f"{bound:.10g}"),
                )


def _choices(item: Item) -> dict[str, str]:
    """Return the coded values of an item and what they mean."""
    if item.type == "yes_no":
        return {"Y": "Yes", "N": "No"}
    texts = [choice_text(choice) for choice in item.choices]
    return {text: item.meanings.get(text, text) for text in texts}


def _code_lists(group: Group) -> Iterator[Element]:
    for item in group.items:
        if choices := _choices(item):
            oid = item_oid(group.code, item.id)
            yield element(
                "CodeList",
                {"OID": f"CL.{oid}", "Name": f"{group.code} {item.id}", "DataType": "text"},
                *(
                    element(
                        "CodeListItem",
                        {"CodedValue": value, "OrderNumber": str(n)},
                        translated("Decode", meaning),
                    )
                    for n, (value, meaning) in enumerate(choices.items(), start=1)
                ),
            )


def _condition_oid(group: Group, item: Item) -> str | None:
    return None if item.when is None else f"CD.{group.code}.{item.id}"


def _conditions(group: Group) -> Iterator[Element]:
    kinds = {item.id: _data_type(item) for item in group.items}
    for item in group.items:
        if item.when is None:
            continue
        code = text_element("Code", f"not ({item.when})")
        yield element(
            "ConditionDef",
            {"OID": _condition_oid(group, item), "Name": f"{group.code} {item.id} is not asked"},
            translated("Description", f"Not collected unless it is known that {item.when}."),
            element(
                "MethodSignature",
                {},
                *(
                    element("Parameter", {"Name": name, "DataType": kinds[name]})
                    for name in used_in(item.when)
                ),
                element("ReturnValue", {"Name": "exception", "DataType": "boolean"}),
            ),
            element("FormalExpression", {"Context": "trialkit"}, code),
        )
