"""Scores of a form from its items, with the rule for missing items that the form declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from trialkit.protocol.forms.model import (
    NUMERIC,
    Entry,
    Form,
    Item,
    Score,
    Status,
    choice_text,
)

Numbers = Mapping[str, float | None]


def score(
    form: Form, items: Mapping[str, Entry], status: Status = "done"
) -> dict[str, float | None]:
    """Return every score of a form (PARAMCD -> value) from its raw items.

    Parameters
    ----------
    form : Form
    items : mapping
        Item id to entry; an absent item and None are both missing.
    status : {"done", "unable", "not_done"}
        ``unable`` gives the form's own values, ``not_done`` gives None throughout.

    Returns
    -------
    dict
        Rounded to the score's decimals; None where the rule gives no score.
    """
    if status == "unable":
        return {s.paramcd: form.unable.get(s.paramcd) for s in form.scores}
    if status == "not_done":
        return {s.paramcd: None for s in form.scores}
    numbers = {i.id: item_number(i, items.get(i.id)) for i in form.items}
    return {s.paramcd: _score_one(s, numbers) for s in form.scores}


def item_number(item: Item, entry: Entry) -> float | None:
    """Return what an entry counts in scores; None where it is missing or counts nothing."""
    if item.type in NUMERIC:
        return as_number(entry)
    if entry is None:
        return None
    if item.type == "yes_no":
        return {"Y": 1.0, "N": 0.0}.get(str(entry))
    if item.type == "choice":
        text = choice_text(entry)
        return item.points[text] if text in item.points else as_number(entry)
    return None


def as_number(entry: Entry) -> float | None:
    """Return an entry as a number, or None where it is none."""
    if entry is None or isinstance(entry, bool):
        return None
    try:
        return float(entry)
    except ValueError:
        return None


def _score_one(rule: Score, numbers: Numbers) -> float | None:
    value = _RULES[rule.rule](rule.args, numbers)
    return None if value is None else round(value, rule.decimals)


def _single(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    return numbers[args["item"]] if "item" in args else next(iter(numbers.values()))


def _at_least(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    value = _single(args, numbers)
    return None if value is None else float(value >= float(args["value"]))


def _speed(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    far = args["distance_m"]
    metres = numbers[far] if isinstance(far, str) else float(far)
    times = [t for name in args["trials"] if (t := numbers[name]) is not None]
    if metres is None or not times or sum(times) <= 0:
        return None
    return metres * len(times) / sum(times)


def _answers(args: Mapping[str, Any], numbers: Numbers) -> tuple[list[float], int]:
    """Return the values of the answered items, and how many items there are."""
    names = args.get("items") or list(numbers)
    answers = [v for name in names if (v := _one(name, args, numbers)) is not None]
    return answers, len(names)


def _one(name: str | list[str], args: Mapping[str, Any], numbers: Numbers) -> float | None:
    if isinstance(name, list):
        sides = [_one(side, args, numbers) for side in name]
        known = [side for side in sides if side is not None]
        return min(known) if known and len(known) == len(sides) else None
    value = numbers[name]
    if value is not None and name in args.get("reversed", ()):
        return float(args["low"]) + float(args["high"]) - value
    return value


def _mean_of_answered(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    answers, count = _answers(args, numbers)
    if not answers or len(answers) < int(args.get("min_answered", count)):
        return None
    return sum(answers) / len(answers)


def _sum_complete(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    answers, count = _answers(args, numbers)
    return sum(answers) if len(answers) == count else None


def _sum_prorated(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    answers, count = _answers(args, numbers)
    if not answers or count - len(answers) > int(args["max_missing"]):
        return None
    total = sum(answers) * count / len(answers)
    return float(math.ceil(total - 1e-9)) if args.get("round_up") else total


def _rescaled_mean(args: Mapping[str, Any], numbers: Numbers) -> float | None:
    mean = _mean_of_answered(args, numbers)
    if mean is None:
        return None
    low, high = float(args["low"]), float(args["high"])
    return 100.0 * (mean - low) / (high - low)


_RULES: dict[str, Callable[[Mapping[str, Any], Numbers], float | None]] = {
    "single": _single,
    "at_least": _at_least,
    "speed": _speed,
    "mean_of_answered": _mean_of_answered,
    "sum_complete": _sum_complete,
    "sum_prorated": _sum_prorated,
    "rescaled_mean": _rescaled_mean,
}
