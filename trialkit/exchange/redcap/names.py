"""REDCap's names for our groups, items, visits and codes.

A variable or form name has lower-case letters, digits and underscores and begins with a letter; a
run of three underscores is REDCap's own, for checkboxes. The code of a choice has letters, digits
and ``_ . -``. An event is named by its label and the number of REDCap's arm: there is one, and it
says nothing of the trial's arms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from trialkit.exchange.foreign.contents import Group
from trialkit.protocol.forms import Item
from trialkit.protocol.forms.model import choice_text
from trialkit.study import Design

RECORD_ID = "record_id"
EVENT, INSTRUMENT, INSTANCE = (
    "redcap_event_name",
    "redcap_repeat_instrument",
    "redcap_repeat_instance",
)
#: Columns that REDCap itself makes.
STRUCTURE = (EVENT, INSTRUMENT, INSTANCE)

#: What stands where a value that was asked for is missing: answered by nobody, the form was not
#: done, the participant could not do it. Never written into texts, nor where it is a choice.
MISSING = {
    "NI": "No information",
    "NASK": "Not asked: the form was not done",
    "UNABLE": "The participant could not do it",
}


@dataclass
class Names:
    """Names by group code, by (group, item) and by visit; `labels` gives an event its label."""

    forms: dict[str, str] = field(default_factory=dict)
    variables: dict[tuple[str, str], str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def redcap_names(groups: list[Group], design: Design) -> Names:
    """Return the names of every group, item and event; each is there once."""
    names, taken = Names(), {RECORD_ID, *STRUCTURE}
    forms: set[str] = set()
    for group in groups:
        form = names.forms[group.code] = _free(_slug(group.code), forms)
        taken.add(f"{form}_complete")
    for group in groups:
        form = names.forms[group.code]
        for item in group.items:
            wanted = f"{form}_{_slug(item.id, first=False)}"
            names.variables[group.code, item.id] = _free(wanted, taken)
        if flagged(group):
            names.flags[group.code] = _free(f"{form}_implausible", taken)
    events: set[str] = set()
    labels = {"": "Enrolment", **{visit.code: visit.label for visit in design.visits}}
    for code, label in labels.items():
        short = re.sub(r"[^a-z0-9_]+", "_", label.lower()).strip("_")[:18] or "event"
        names.events[code] = f"{_free(short, events)}_arm_1"
        names.labels[code] = label
    return names


def flagged(group: Group) -> list[Item]:
    """Return the items of a form that may be possible and not plausible."""
    return [item for item in group.items if item.plausible is not None]


def choice_codes(item: Item) -> dict[str, str]:
    """Return REDCap's code of each choice of an item, by the choice as text."""
    codes: dict[str, str] = {}
    taken: set[str] = set()
    for choice in item.choices:
        text = choice_text(choice)
        codes[text] = _free(re.sub(r"[^A-Za-z0-9_.-]", "_", text), taken)
    return codes


def box(variable: str, code: str) -> str:
    """Return the column of one box of a checkbox: ``variable___code``."""
    return f"{variable}___{re.sub(r'[^a-z0-9_]', '_', code.lower())}"


def _slug(text: str, *, first: bool = True) -> str:
    """Return `text` as part of a name; `first` where a letter has to come first."""
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "x"
    return f"f{slug}" if first and not slug[0].isalpha() else slug


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
