"""Faults of a form that no single key shows: skip logic, arguments of scoring rules, units."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trialkit.errors import UsageError
from trialkit.protocol.forms.model import NUMERIC, Form, Item, Score, choice_text
from trialkit.protocol.forms.skip import Value, comparisons, names

At = tuple[str | int, ...]
Fault = tuple[At, str, str]

_COMMON = frozenset({"items", "reversed", "low", "high"})
#: Of each rule: arguments that it needs, and those that it may have.
ARGUMENTS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "single": (frozenset(), frozenset({"item"})),
    "at_least": (frozenset({"value"}), frozenset({"item"})),
    "speed": (frozenset({"distance_m", "trials"}), frozenset()),
    "mean_of_answered": (frozenset(), _COMMON | {"min_answered"}),
    "sum_complete": (frozenset(), _COMMON),
    "sum_prorated": (frozenset({"max_missing"}), _COMMON | {"round_up"}),
    "rescaled_mean": (frozenset({"low", "high"}), _COMMON | {"min_answered"}),
}


def form_faults(form: Form) -> list[Fault]:
    """Return path, message and remedy of every fault between the keys of a form."""
    faults: list[Fault] = []
    for place, item in enumerate(form.items):
        if item.when is not None:
            faults += [(("items", place, "when"), *f) for f in _skip_faults(form, place, item.when)]
        if item.unit in item.units:
            at = ("items", place, "units", item.unit)
            faults.append((at, f"{item.unit} is the item's own unit.", "Leave it out."))
    for place, score in enumerate(form.scores):
        faults += [(("scores", place, "args"), *fault) for fault in _rule_faults(score)]
    return faults


def _skip_faults(form: Form, place: int, when: str) -> list[tuple[str, str]]:
    """Return message and remedy of every fault of one condition."""
    try:
        used = names(when)
    except UsageError as error:
        return [(error.message, error.remedy)]
    ids = [item.id for item in form.items]
    here = ids[place]
    faults = []
    for name in used:
        if name not in ids:
            faults.append((f"there is no item {name}.", f"Use one of {', '.join(ids[:place])}."))
        elif name == here or here in _needs(form, name):
            faults.append(
                (f"{here} and {name} depend on each other: a cycle.", "Break it at one of them.")
            )
        elif ids.index(name) > place:
            faults.append((f"{name} is used before it is asked.", f"Put {here} after {name}."))
    if faults:
        return faults
    known = {item.id: item for item in form.items}
    for items, values, ordered in comparisons(when):
        faults += _value_faults([known[name] for name in items], values, ordered)
    return faults


def _needs(form: Form, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return every item on which `name` depends, directly or through others."""
    item = form.item(name)
    if item is None or item.when is None or name in seen:
        return set()
    try:
        direct = names(item.when)
    except UsageError:
        return set()
    found = set(direct)
    for other in direct:
        found |= _needs(form, other, seen | {name})
    return found


_FORMS = {"date": re.compile(r"\d{4}-\d{2}-\d{2}"), "time": re.compile(r"\d{2}:\d{2}")}


def _value_faults(items: list[Item], values: list[Value], ordered: bool) -> list[tuple[str, str]]:
    """Return faults of what is compared with what."""
    faults = []
    if len({_class(item) for item in items}) > 1:
        shown = " and ".join(f"{item.id} ({item.type})" for item in items)
        faults.append((f"{shown} cannot be compared.", "Compare items of one type."))
    for item in items:
        if ordered and item.type in {"yes_no", "text"}:
            faults.append((f"{item.id} ({item.type}) has no order.", "Use ==, != or in."))
        for value in values:
            if not _possible(item, value):
                faults.append(
                    (f"{item.id} can never be {value!r}.", f"Give a value of type {item.type}.")
                )
    return faults


def _class(item: Item) -> str:
    if item.type in NUMERIC or (
        item.type == "choice" and not any(isinstance(c, str) for c in item.choices)
    ):
        return "number"
    return item.type


def _possible(item: Item, value: Value) -> bool:
    """Return whether `item` could have this value, or one on its scale."""
    if item.type == "choice":
        return value is not None and choice_text(value) in map(choice_text, item.choices)
    if item.type in NUMERIC:
        if isinstance(value, str) or value is None or item.minimum is None or item.maximum is None:
            return False
        return item.minimum <= value <= item.maximum
    if item.type == "yes_no":
        return value in ("Y", "N")
    shape = _FORMS.get(item.type)
    return isinstance(value, str) and (shape is None or shape.fullmatch(value) is not None)


def _rule_faults(score: Score) -> list[tuple[str, str]]:
    """Return message and remedy of every fault of a rule's arguments."""
    needed, allowed = ARGUMENTS[score.rule]
    args: Mapping[str, object] = score.args
    faults = [(f"{score.rule} needs {name}.", "Add it.") for name in sorted(needed - args.keys())]
    possible = sorted(needed | allowed)
    for name in sorted(args.keys() - needed - allowed):
        faults.append((f"{score.rule} has no {name}.", f"Use {', '.join(possible)}."))
    if "reversed" in args and not {"low", "high"} <= args.keys():
        faults.append(("reversed items need low and high.", "Give the ends of the items' scale."))
    for name in ("low", "high", "value", "max_missing", "min_answered"):
        if name in args and type(args[name]) not in (int, float):
            faults.append((f"{name} is not a number.", "Give a number."))
    return faults
