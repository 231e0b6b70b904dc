"""The values of a participant as ODM transactions, each value with its audit record.

What was entered is an Insert; a correction is an Update of the values that it changed, and a
Remove of those that it took away, so that the old value stays in the file. An audit record names
user, site, UTC time and reason, and for whoever may see allocations the beginning of the event's
hash, by which it is found in the record; event numbers would tell how many events a session took.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from xml.etree.ElementTree import Element

from trialkit.exchange.foreign.contents import Filled, Group, Subject, Version, entry_text
from trialkit.exchange.odm.metadata import event_oid, group_oid, item_oid
from trialkit.exchange.odm.xml import element, text_element
from trialkit.protocol.forms import Entry


def user_oid(user: str) -> str:
    """Return the OID of a person."""
    return f"USR.{user}"


def site_oid(site: str) -> str:
    """Return the OID of a site."""
    return f"LOC.{site}"


def subject_data(subject: Subject, groups: dict[str, Group], *, traced: bool = False) -> Element:
    """Return everything of one participant; `traced` names the event of each value."""
    events = [
        element(
            "StudyEventData",
            {"StudyEventOID": event_oid(visit), "TransactionType": "Upsert"},
            *(
                part
                for f in filled
                for part in _transactions(f, groups[f.group], subject.site, traced)
            ),
        )
        for visit, filled in groupby(subject.filled, key=lambda f: f.visit)
    ]
    return element(
        "SubjectData",
        {"SubjectKey": subject.usubjid, "TransactionType": "Upsert"},
        element("SiteRef", {"LocationOID": site_oid(subject.site)}),
        *events,
    )


def _transactions(filled: Filled, group: Group, site: str, traced: bool) -> Iterator[Element]:
    before: dict[str, Entry] = {}
    for version in filled.versions:
        audit = _audit(version, site, traced)
        parts = list(_changed(group, before, version, audit))
        kind = "Insert" if not before else "Update" if version.values else "Remove"
        if parts:
            yield element(
                "ItemGroupData",
                {
                    "ItemGroupOID": group_oid(group.code),
                    "ItemGroupRepeatKey": None if filled.instance is None else str(filled.instance),
                    "TransactionType": kind,
                },
                *parts,
                audit,
            )
        before = version.values


def _changed(
    group: Group, before: dict[str, Entry], version: Version, audit: Element
) -> Iterator[Element]:
    for item in group.items:
        old, new = before.get(item.id), version.values.get(item.id)
        if old == new:
            continue
        kind = "Insert" if old is None else "Remove" if new is None else "Update"
        yield element(
            "ItemData",
            {"ItemOID": item_oid(group.code, item.id), "TransactionType": kind},
            None if new is None else text_element("Value", entry_text(new)),
            audit,
        )


def _audit(version: Version, site: str, traced: bool) -> Element:
    event = version.event
    return element(
        "AuditRecord",
        {},
        element("UserRef", {"UserOID": user_oid(event.actor)}),
        element("LocationRef", {"LocationOID": site_oid(site)}),
        text_element("DateTimeStamp", event.at),
        text_element("ReasonForChange", version.reason) if version.reason else None,
        text_element("SourceID", event.hash[:16]) if traced else None,
    )
