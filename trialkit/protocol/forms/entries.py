"""Entries of a form: read in their units, checked against types, ranges and skip logic."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trialkit.errors import Finding, UnknownName
from trialkit.protocol.forms.model import NUMERIC, Entry, Form, Item, choice_text
from trialkit.protocol.forms.scoring import as_number
from trialkit.protocol.forms.skip import holds

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s.+-].*?)\s*")
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_YES_NO = {"y": "Y", "yes": "Y", "true": "Y", "n": "N", "no": "N", "false": "N"}


@dataclass(frozen=True)
class Entries:
    """Entries as read: `values` in the items' own units, and what was found on the way.

    `entered` holds the text of what was given in another unit, `flags` the items whose value
    is possible and not plausible.
    """

    values: dict[str, Entry]
    entered: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_entries(form: Form, items: Mapping[str, Entry]) -> Entries:
    """Read raw entries: units converted, words brought to one spelling, every fault listed.

    Parameters
    ----------
    form : Form
    items : mapping
        Item id to entry. A number may carry its unit, as in ``"1200 cm"``; None is missing.

    Returns
    -------
    Entries
        The findings' ``where`` is ``FORM.ITEM``; with findings the values are not to be used.
    """
    read = Entries({})
    ids = [item.id for item in form.items]
    for name in items:
        if name not in ids:
            close = difflib.get_close_matches(name, ids, n=1)
            remedy = f"Did you mean {close[0]}?" if close else f"Use {', '.join(ids)}."
            read.findings.append(Finding(f"{form.code}.{name}", "there is no such item.", remedy))
    known = {item.id: item for item in form.items}
    for name, entry in items.items():  # in the order in which they were given
        if (item := known.get(name)) is None:
            continue
        if entry is None:
            read.values[name] = None
        else:
            _read_one(form, item, entry, read)
    faulty = {finding.where for finding in read.findings}
    for item in form.items:
        where = f"{form.code}.{item.id}"
        if where in faulty:
            continue
        asked = item.when is None or holds(item.when, read.values) is True
        given = read.values.get(item.id)
        if not asked and given is not None:
            read.findings.append(
                Finding(where, f"it is asked only where {item.when}.", "Leave it out.")
            )
        elif asked and item.required and given is None:
            read.findings.append(Finding(where, "it is missing.", _enter(item)))
    return read


def check_items(form: Form, items: Mapping[str, Entry]) -> list[Finding]:
    """Return every fault of raw entries, as `read_entries` finds them."""
    return read_entries(form, items).findings


def asked_items(form: Form, values: Mapping[str, Entry]) -> list[Item]:
    """Return the items that are asked, given values as `read_entries` returns them."""
    return [i for i in form.items if i.when is None or holds(i.when, values) is True]


def implausible(item: Item, value: Entry) -> bool:
    """Return whether a value is possible for `item` and lies outside its plausible range."""
    if item.plausible is None or (number := as_number(value)) is None:
        return False
    return not item.plausible[0] <= number <= item.plausible[1]


def _enter(item: Item) -> str:
    if item.type in NUMERIC:
        return f"Enter it in {' or '.join([item.unit, *item.units])}."
    if item.type == "choice":
        return f"Enter {' or '.join(choice_text(c) for c in item.choices)}."
    shapes = {"yes_no": "yes or no", "date": "YYYY-MM-DD", "time": "HH:MM"}
    return f"Enter {shapes.get(item.type, 'a text')}."


def _read_one(form: Form, item: Item, entry: Entry, read: Entries) -> None:
    where = f"{form.code}.{item.id}"
    if item.type in NUMERIC:
        value, fault = _in_own_unit(item, entry)
        fault = fault or _range_fault(item, value)
    else:
        value = _word(item, entry)
        fault = None if value is not None else (f"{entry!r} is no {_NOUNS[item.type]}.", "")
    if fault:
        read.findings.append(Finding(where, fault[0], fault[1] or _enter(item)))
        return
    read.values[item.id] = value
    if isinstance(entry, str) and item.type in NUMERIC and not _PLAIN.fullmatch(entry.strip()):
        read.entered[item.id] = entry.strip()
    if implausible(item, value):
        read.flags.append(item.id)


_NOUNS = {
    "choice": "choice of this item",
    "yes_no": "yes or no",
    "date": "date",
    "time": "time of day",
    "text": "text of a length that is allowed",
}


def _in_own_unit(item: Item, entry: Entry) -> tuple[Entry, tuple[str, str] | None]:
    """Return a number in the item's unit, or message and remedy of why there is none."""
    if isinstance(entry, str) and _PLAIN.fullmatch(entry.strip()):
        whole = entry.strip().lstrip("+-").isdigit()
        return (int(entry) if whole else float(entry)), None
    number = None if isinstance(entry, str) else as_number(entry)
    if number is not None and number == number:
        return entry, None
    match = _QUANTITY.fullmatch(entry) if isinstance(entry, str) else None
    if match is None:
        return None, (f"{entry!r} is not a number.", "")
    value, unit = float(match[1]), match[2]
    if unit == item.unit:
        return value, None
    if unit not in item.units:
        return None, (f"{unit} is no unit of it; it is kept in {item.unit}.", "")
    return round(value * item.units[unit], item.decimals), None


def _range_fault(item: Item, entry: Entry) -> tuple[str, str] | None:
    """Return message and remedy if a number is not possible for `item`."""
    value = as_number(entry)
    if value is None or item.minimum is None or item.maximum is None:
        return None
    if item.choices and value not in item.choices:
        shown = " or ".join(choice_text(choice) for choice in item.choices)
        return f"{value:g} is not one of the choices.", f"Enter {shown} {item.unit}."
    if not item.minimum <= value <= item.maximum:
        return (
            f"{value:g} is outside {item.minimum:g} to {item.maximum:g} {item.unit}.",
            "Check the entry and its unit.",
        )
    if item.type == "integer" and value != int(value):
        return f"{value:g} is not a whole number.", "Enter a whole number."
    if abs(round(value, item.decimals) - value) > 1e-9:
        return (
            f"{entry} has more than {item.decimals} decimals.",
            f"Enter it to {item.decimals} decimals.",
        )
    return None


def _word(item: Item, entry: Entry) -> Entry:
    """Return a choice, yes or no, date, time or text in its one spelling; None if it is none."""
    if item.type == "yes_no":
        return _YES_NO.get(str(entry).strip().lower())
    if item.type == "choice":
        if isinstance(entry, bool):
            return None
        by_text = {choice_text(choice): choice for choice in item.choices}
        number = as_number(entry)
        text = choice_text(number) if number is not None else str(entry).strip()
        return by_text.get(text, by_text.get(str(entry).strip()))
    text = str(entry).strip()
    if item.type == "date":
        try:
            return dt.date.fromisoformat(text).isoformat() if len(text) == 10 else None
        except ValueError:
            return None
    if item.type == "time":
        return text if _TIME.fullmatch(text) else None
    return text if 0 < len(text) <= item.max_length else None


def find_form(forms: Mapping[str, Form], code: str) -> Form:
    """Return the form of that code.

    Raises
    ------
    UnknownName
        If there is none, with the nearest name.
    """
    if code in forms:
        return forms[code]
    close = difflib.get_close_matches(code, list(forms), n=1)
    raise UnknownName(
        f"no form {code}.",
        remedy=f"Did you mean {close[0]}?" if close else f"Use {', '.join(forms)}.",
    )
