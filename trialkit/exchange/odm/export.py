"""A study as one ODM 2.0 file, written participant by participant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import trialkit
from trialkit.errors import DataFindings, Finding
from trialkit.exchange.foreign.contents import Subject, layout, subjects
from trialkit.exchange.foreign.give import Given, give_file
from trialkit.exchange.odm.clinical import site_oid, subject_data, user_oid
from trialkit.exchange.odm.metadata import Version, metadata
from trialkit.exchange.odm.xml import (
    FORBIDDEN,
    NAMESPACE,
    all_texts,
    element,
    opening,
    text_element,
    written,
)
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import sees_site

_TYPES = {
    "investigator": "Investigator",
    "monitor": "Monitor",
    "statistician": "Data analyst",
    "therapist": "Care provider",
    "assessor": "Assessor",
}


@command("export_forms", atomic=False)
def export_odm(study: Study, out: str | Path) -> Given:
    """Write design, users, sites, and every value with its history as an ODM 2.0 file.

    The file is transactional: each value has an audit record, and a correction leaves the value
    before it in the file. No arm is told. The export is an event.

    Parameters
    ----------
    study : Study
        Open for writing.
    out : path
        A file that does not exist yet.

    Returns
    -------
    Given
        The file with its hash, participants and values (a corrected value counts once).

    Raises
    ------
    NotPermitted
        If the role may not export forms; the refusal is an event.
    Duplicate
        If the file exists.
    DataFindings
        If a text has a character that XML has not; every place is listed.
    StorageRefused
        If the disk or the record refused; nothing is left behind.
    """
    counts = {"participants": 0, "values": 0}
    return give_file(study, "odm", Path(out), _parts(study, counts), counts)


def _parts(study: Study, counts: dict[str, int]) -> Iterator[bytes]:
    groups = layout(study)
    by_code = {group.code: group for group in groups}
    version = Version.of(study.state.study_id, study.design)
    now = study.clock.now().isoformat()
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n'
    yield opening(
        "ODM",
        {
            "xmlns": NAMESPACE,
            "FileType": "Transactional",
            "Granularity": "All",
            "FileOID": f"{study.state.study_id}.{now}",
            "CreationDateTime": now,
            "ODMVersion": "2.0",
            "SourceSystem": "trialkit",
            "SourceSystemVersion": trialkit.__version__,
        },
    )
    named = {"StudyName": study.state.study_id, "ProtocolName": study.state.title}
    design = metadata(version, groups, study.design)
    yield written(element("Study", {"OID": version.study, **named}, design)) + b"\n"
    yield written(_admin(study, version)) + b"\n"
    yield opening("ClinicalData", {"StudyOID": version.study, "MetaDataVersionOID": version.design})
    faults: list[Finding] = []
    for subject in subjects(study, groups):
        made = subject_data(subject, by_code, traced=study.may("see_allocation"))
        if any(FORBIDDEN.search(text) for text in all_texts(made)):
            faults += _unwritable(subject)
        counts["participants"] += 1
        counts["values"] += sum(len(filled.values) for filled in subject.filled)
        yield written(made) + b"\n"
    if faults:
        raise DataFindings(
            "some texts cannot be written as XML.",
            faults,
            remedy="Correct them, or export for REDCap.",
        )
    yield b"</ClinicalData>\n</ODM>\n"


def _admin(study: Study, version: Version) -> Element:
    people = [
        element(
            "User",
            {"OID": user_oid(user.user), "UserType": _TYPES.get(user.role, "Other")},
            text_element("UserName", user.user),
            text_element("FullName", user.name),
        )
        for user in study.state.users.values()
    ]
    began = next(iter(study.record.read())).at[:10]
    seen = (p for p in study.state.participants.values() if sees_site(study, p.usubjid))
    reference = {
        "StudyOID": version.study,
        "MetaDataVersionOID": version.design,
        "EffectiveDate": began,
    }
    places = [
        element(
            "Location",
            {"OID": site_oid(site), "Name": site, "Role": "Site"},
            element("MetaDataVersionRef", {**reference}),
        )
        for site in sorted({person.site for person in seen})
    ]
    return element("AdminData", {"StudyOID": version.study}, *people, *places)


def _unwritable(subject: Subject) -> Iterator[Finding]:
    """Yield where a participant has a text with a character that XML has not."""
    for filled in subject.filled:
        for version in filled.versions:
            texts = {**version.values, "reason": version.reason}
            for name, value in texts.items():
                if isinstance(value, str) and (bad := FORBIDDEN.search(value)):
                    where = " ".join(filter(None, [subject.usubjid, filled.visit, filled.group]))
                    message = f"character {bad[0]!r} is none of XML."
                    yield Finding(f"{where}.{name}", message, "Correct the text.")
