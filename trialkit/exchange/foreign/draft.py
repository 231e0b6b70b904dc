"""A draft of a mapping, from the file's own dictionary: to be read and edited by a person.

A column is placed where its name is the one that our own export would give, or where it is the
only one that has the id or the label of an item. What cannot be placed is listed as undecided, and
an entry that cannot be told is ``?``: the check refuses both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from trialkit.exchange.foreign.contents import CODE, DONE_ON, HIDDEN, STATUS, Group
from trialkit.exchange.foreign.mapping import SCHEMA
from trialkit.exchange.foreign.table import Field
from trialkit.protocol.forms import Item
from trialkit.protocol.forms.model import NUMERIC, choice_text

Key = tuple[str, str]
_OF_FORM = {STATUS: "status", CODE: "code", DONE_ON: "done_on"}


def draft_mapping(
    format: str,
    groups: list[Group],
    fields: Mapping[str, Field],
    *,
    own: Mapping[Key, str],
    events: Mapping[str, str],
    missing: list[str],
    ignore: list[str],
    participant: str | None = None,
) -> str:
    """Return the text of a mapping.

    Parameters
    ----------
    format : {"redcap", "odm"}
    groups : list of Group
        Layout of the study.
    fields : mapping
        The file's columns.
    own : mapping
        (group, item) to the column that our own export gives it.
    events : mapping
        Visit to the event that our own export gives it.
    missing : list of str
        Cells that mean that there is no value.
    ignore : list of str
        Columns that hold nothing to enter.
    """
    placed = _place(groups, fields, own)
    left = [c for c in fields if c not in placed.values() and c not in ignore]
    unread = {"PARTICIPANT"}
    also = [placed[key] for key in placed if key[0] in unread]
    data: dict[str, Any] = {"schema": SCHEMA, "format": format}
    if participant is not None:
        data["participant"] = participant
    data |= {
        "missing": [*missing, HIDDEN],
        "late_reason": None,
        "conflicts": "refuse",
        "ignore": [*also, *ignore],
        "undecided": left,
        "forms": [],
    }
    for group in groups:
        found = {
            i.id: placed[group.code, i.id] for i in group.items if (group.code, i.id) in placed
        }
        at = {events[code]: code for code in group.visits if code in events}
        if group.kind == "form" and group.form is not None:
            items = {
                i.id: _source(i, fields[found[i.id]]) for i in group.form.items if i.id in found
            }
            if items:
                more = {
                    key: _source(item, fields[found[item.id]])
                    for item in group.items
                    if (key := _OF_FORM.get(item.id)) is not None and item.id in found
                }
                data["forms"].append({"form": group.code, "visits": at, "items": items, **more})
        elif group.kind == "visit" and "DAY" in found:
            keys = {name.lower(): {"column": column} for name, column in found.items()}
            data["visits"] = {"visits": at, **keys}
        elif group.kind == "diary" and len(found) == 2:
            code = group.code.removeprefix("DIARY.")
            entry = {
                f"entry_{i}": placed.get((f"ENTRY.{code}", i.upper())) for i in ("day", "grade")
            }
            days: dict[str, Any] = {n.lower(): {"column": c} for n, c in found.items()}
            if all(entry.values()):
                days |= {name: {"column": column} for name, column in entry.items()}
            data.setdefault("diaries", []).append({"diary": code, **days})
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _place(
    groups: list[Group], fields: Mapping[str, Field], own: Mapping[Key, str]
) -> dict[Key, str]:
    """Return the column of each item that has one."""
    placed = {key: column for key, column in own.items() if column in fields}
    taken = set(placed.values())
    by_name: dict[str, list[str]] = {}
    for column, field in fields.items():
        if column not in taken:
            for name in {_plain(column), _plain(field.label)} - {""}:
                by_name.setdefault(name, []).append(column)
    wanted: dict[str, list[Key]] = {}
    for group in groups:
        for item in group.form.items if group.form is not None else ():
            key = (group.code, item.id)
            if key not in placed:
                for name in {_plain(item.id), _plain(item.label or "")} - {""}:
                    wanted.setdefault(name, []).append(key)
    for name, keys in wanted.items():
        columns = [c for c in by_name.get(name, []) if c not in placed.values()]
        if len(keys) == 1 and len(columns) == 1 and keys[0] not in placed:
            placed[keys[0]] = columns[0]
    return placed


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _source(item: Item, field: Field) -> dict[str, Any]:
    """Return what is known of a column, for an item."""
    source: dict[str, Any] = {"column": field.column}
    if item.type in NUMERIC and item.unit:
        source["unit"] = field.unit or "?"
    if field.codes and (item.choices or item.type == "yes_no"):
        source["codes"] = {code: _meant(item, code, label) for code, label in field.codes.items()}
    return source


def _meant(item: Item, code: str, label: str) -> str:
    """Return the choice that a code or its label stands for, or ``?``."""
    if item.type == "yes_no":
        words = {"1": "Y", "y": "Y", "yes": "Y", "0": "N", "n": "N", "no": "N"}
        found = {words[w] for w in (code.lower(), label.lower()) if w in words}
    else:
        choices = [choice_text(choice) for choice in item.choices]
        meanings = {meaning: choice for choice, meaning in item.meanings.items()}
        if label in meanings:
            return meanings[label]
        found = {code, label} & set(choices)
    return str(found.pop()) if len(found) == 1 else "?"
