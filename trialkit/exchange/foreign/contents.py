"""What leaves a study in the forms of other systems: groups of items, and their values over time.

Nothing here tells an arm: there are no sessions, no deficiencies of a device and no event numbers
(a session on a device takes more events). From whoever may not see allocations the words of those
who may are hidden, and words that name an arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trialkit._canonical import canonical_json
from trialkit.participants.diaries import GRADES
from trialkit.participants.queries import names_arm
from trialkit.protocol.forms import Entry, Form, Item
from trialkit.record import kinds as k
from trialkit.record.chain import Event
from trialkit.record.roles import permissions_of
from trialkit.study import Study
from trialkit.study.guards import sees_site

Kind = Literal["participant", "visit", "form", "diary", "diary_entry"]

#: Items that each form has beside its own.
STATUS, CODE, DONE_ON = "FORM.STATUS", "FORM.CODE", "FORM.DONE_ON"
HIDDEN = "hidden while blinded"

_OF_FORM = (
    Item(
        id=STATUS,
        label="Status of the form",
        type="choice",
        choices=["done", "unable", "not_done"],
        meanings={"done": "done", "unable": "could not do it", "not_done": "not done"},
    ),
    Item(id=CODE, label="Reason code of what was not done", type="text"),
    Item(id=DONE_ON, label="Date of the act", type="date"),
)
_OF_VISIT = (
    Item(id="DAY", label="Study day", type="integer", minimum=-3650, maximum=36500, unit="days"),
    Item(id="MISSED", label="Reason code of a missed visit", type="text"),
    Item(id="REASON", label="Why it was out of its window", type="text", max_length=2000),
)
_OF_DIARY = (
    Item(id="FROM_DAY", label="First day", type="integer", minimum=0, maximum=36500, unit="days"),
    Item(id="TO_DAY", label="Last day", type="integer", minimum=0, maximum=36500, unit="days"),
)
_OF_ENTRY = (
    Item(id="DAY", label="Study day", type="integer", minimum=0, maximum=36500, unit="days"),
    Item(
        id="GRADE",
        label="Grade",
        type="choice",
        choices=list(GRADES),
        meanings={str(grade): meaning for grade, meaning in GRADES.items()},
    ),
)


@dataclass(frozen=True)
class Group:
    """A group of items that are entered together; `visits` is empty for what is at no visit."""

    code: str
    name: str
    kind: Kind
    items: tuple[Item, ...]
    visits: tuple[str, ...] = ()
    form: Form | None = None

    @property
    def repeating(self) -> bool:
        """True where one participant may have several."""
        return self.kind in ("diary", "diary_entry")


@dataclass(frozen=True)
class Version:
    """The values of a group after one event, and what the event says of it."""

    event: Event
    values: dict[str, Entry]
    reason: str | None


@dataclass
class Filled:
    """A group of one participant: its versions, the oldest first. `instance` counts from 1."""

    group: str
    visit: str
    instance: int | None
    versions: list[Version] = field(default_factory=list)
    verified: bool = True
    flags: list[str] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Entry]:
        """The values as they stand."""
        return self.versions[-1].values


@dataclass
class Subject:
    """A participant with all groups, in the order of visits and of the layout."""

    usubjid: str
    site: str
    filled: list[Filled]


def layout(study: Study) -> list[Group]:
    """Return the groups of a study: participant, visits, forms, diaries."""
    design = study.design
    codes = tuple(visit.code for visit in design.visits)
    names = sorted({n for p in study.state.participants.values() for n in p.attributes})
    person = (
        Item(id="SITE", label="Site", type="text"),
        Item(id="CONSENT", label="Version of the consent", type="text"),
        *(Item(id=f"ATT.{name}", label=name, type="text", max_length=2000) for name in names),
    )
    groups = [
        Group("PARTICIPANT", "Participant", "participant", person),
        Group("VISIT", "Visit", "visit", _OF_VISIT, codes),
    ]
    for code, form in design.instruments.items():
        at = tuple(visit.code for visit in design.visits if code in visit.assessments)
        items = (*form.items, *_OF_FORM)
        groups.append(Group(code, form.name, "form", items, at, form))
    for diary in design.diaries:
        groups.append(Group(f"DIARY.{diary.paramcd}", diary.label, "diary", _OF_DIARY))
        label = f"{diary.label}: entry"
        groups.append(Group(f"ENTRY.{diary.paramcd}", label, "diary_entry", _OF_ENTRY))
    return groups


def subjects(study: Study, groups: list[Group]) -> Iterator[Subject]:
    """Yield every participant whom the person who acts may see, with all versions of the groups."""
    collected: dict[str, _Collector] = {}
    for event in study.record.read(kinds=list(_Collector.TAKES)):
        usubjid = event.subject or ""
        if usubjid not in collected:
            if not sees_site(study, usubjid):
                continue
            collected[usubjid] = _Collector(study)
        collected[usubjid].take(event)
    order = {group.code: place for place, group in enumerate(groups)}
    visits = ["", *(visit.code for visit in study.design.visits)]
    for usubjid in sorted(collected):
        filled = [f for f in collected[usubjid].all() if f.versions]
        filled.sort(key=lambda f: (visits.index(f.visit), order[f.group], f.instance or 0))
        yield Subject(usubjid, study.state.participants[usubjid].site, filled)


class _Collector:
    """Collects the groups of one participant from the events about them."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._blinded = not study.may("see_allocation")
        self._person = Filled("PARTICIPANT", "", None)
        self._visits: dict[str, Filled] = {}
        self._forms: dict[tuple[str, str], Filled] = {}
        self._diaries: dict[int, tuple[Filled, list[Filled]]] = {}
        self._counts: dict[str, int] = {}

    def all(self) -> list[Filled]:
        """Return the groups, of those that hold something."""
        entries = [f for _, listed in self._diaries.values() for f in listed]
        diaries = [f for f, _ in self._diaries.values()]
        return [self._person, *self._visits.values(), *self._forms.values(), *diaries, *entries]

    def take(self, event: Event) -> None:
        """Take one event into account."""
        self.TAKES[event.kind](self, event)

    def _add(self, filled: Filled, event: Event, values: dict[str, Entry]) -> None:
        filled.versions.append(Version(event, values, self._said(event, event.reason)))

    def _said(self, event: Event, text: str | None) -> str | None:
        """Return words of an event, or what stands for them while blinded."""
        if text is None or not self._blinded:
            return text
        saw = "see_allocation" in permissions_of(event.role)
        return HIDDEN if saw or names_arm(self._study, text) else text

    def _enrolled(self, event: Event) -> None:
        given = k.ParticipantEnrolled.model_validate(event.payload)
        values: dict[str, Entry] = {"SITE": given.site}
        for name, value in given.attributes.items():
            if value is not None:
                values[f"ATT.{name}"] = value if isinstance(value, str) else canonical_json(value)
        self._add(self._person, event, values)

    def _consented(self, event: Event) -> None:
        self._add(self._person, event, {**self._person.values, "CONSENT": event.payload["version"]})

    def _visit(self, event: Event) -> None:
        visit = event.payload["visit"]
        filled = self._visits[visit] = Filled("VISIT", visit, None)
        if event.kind == k.VisitHeld.kind:
            values: dict[str, Entry] = {"DAY": event.payload["day"]}
            if event.reason:
                values["REASON"] = self._said(event, event.reason)
        else:
            values = {"MISSED": self._said(event, event.payload["code"])}
        self._add(filled, event, values)

    def _recorded(self, event: Event) -> None:
        given = k.AssessmentRecorded.model_validate(event.payload)
        key = (given.visit, given.instrument)
        filled = self._forms[key] = Filled(given.instrument, given.visit, None)
        filled.verified, filled.flags = given.entry == "single", given.flags
        values: dict[str, Entry] = {**given.items, STATUS: given.status}
        if given.code is not None:
            values[CODE] = self._said(event, given.code)
        if given.done_on is not None:
            values[DONE_ON] = given.done_on
        self._add(filled, event, values)

    def _again(self, event: Event) -> None:
        filled = self._forms[event.payload["visit"], event.payload["instrument"]]
        filled.verified = not event.payload["differences"]

    def _changed(self, event: Event) -> None:
        """Take a correction, or what was decided between two entries."""
        payload = event.payload
        filled = self._forms[payload["visit"], payload["instrument"]]
        filled.verified = payload.get("entry", "single") == "single"
        filled.flags = payload["flags"]
        kept = {n: v for n, v in filled.values.items() if n in (CODE, DONE_ON)}
        if event.kind == k.AssessmentAdjudicated.kind:
            kept = {n: v for n, v in kept.items() if n != CODE}
            kept |= {CODE: payload["code"]} if payload["code"] is not None else {}
        self._add(filled, event, {**payload["items"], STATUS: payload["status"], **kept})

    def _number(self, group: str) -> int:
        self._counts[group] = self._counts.get(group, 0) + 1
        return self._counts[group]

    def _returned(self, event: Event) -> None:
        diary = event.payload["diary"]
        home = Filled(f"DIARY.{diary}", "", self._number(f"DIARY.{diary}"))
        self._diaries[event.seq] = (home, [])
        self._fill_diary(event, event.seq)

    def _diary_corrected(self, event: Event) -> None:
        self._fill_diary(event, event.payload["returned"])

    def _fill_diary(self, event: Event, returned: int) -> None:
        home, listed = self._diaries[returned]
        payload = event.payload
        values = {"FROM_DAY": payload["from_day"], "TO_DAY": payload["to_day"]}
        if not home.versions or home.values != values:
            self._add(home, event, values)
        for place, entry in enumerate(payload["entries"]):
            if place == len(listed):
                group = f"ENTRY.{payload['diary']}"
                listed.append(Filled(group, "", self._number(group)))
            given = {"DAY": entry["day"]}
            if entry["grade"] is not None:
                given["GRADE"] = entry["grade"]
            if not listed[place].versions or listed[place].values != given:
                self._add(listed[place], event, given)
        for gone in listed[len(payload["entries"]) :]:
            if gone.values:
                self._add(gone, event, {})

    TAKES = {  # noqa: RUF012
        k.ParticipantEnrolled.kind: _enrolled,
        k.ParticipantConsented.kind: _consented,
        k.VisitHeld.kind: _visit,
        k.VisitMissed.kind: _visit,
        k.AssessmentRecorded.kind: _recorded,
        k.AssessmentEnteredAgain.kind: _again,
        k.AssessmentAdjudicated.kind: _changed,
        k.AssessmentCorrected.kind: _changed,
        k.DiaryReturned.kind: _returned,
        k.DiaryCorrected.kind: _diary_corrected,
    }


def entry_text(value: Entry) -> str:
    """Return an entry as text, a whole number without a point; empty for a missing one."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))
