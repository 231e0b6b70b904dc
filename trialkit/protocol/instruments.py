"""Instruments as data: items with their ranges, scoring rules, and what is known about them.

One YAML file describes one instrument. Item texts that are under licence are not in the
files: ``text_policy`` says so, and a site adds texts from its own licensed copy. Import
mappings declare their instruments with the rule ``single``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trialkit._content import content_folder
from trialkit._yaml import load_yaml, parse_model
from trialkit.errors import Finding, ProtocolFindings, UnknownName
from trialkit.protocol.model import Code, Part

SCHEMA = "trialkit.instrument/1"
Status = Literal["done", "unable", "not_done"]
Entry = float | int | str | None


class Item(Part):
    """One raw entry of an instrument, with its allowed range.

    `choices` replaces the range where only some values are possible; `required` items must be
    there for the entry to be accepted, others may be missing and the scoring rule decides.
    """

    id: Code
    label: str | None = None
    minimum: float
    maximum: float
    unit: str
    decimals: Annotated[int, Field(ge=0, le=4)] = 0
    integer: bool = False
    choices: list[float] = Field(default_factory=list)
    required: bool = False


class Score(Part):
    """A derived score (PARAMCD) and the rule that makes it from the items.

    ``single``
        the item `args.item`.
    ``mean_of_answered``
        mean of the answered items among `args.items` (default: all), if at least
        `args.min_answered` of them are.
    ``sum_complete``
        sum of `args.items` (default: all) if none is missing.
    ``speed``
        `args.distance_m` (an item id or metres) over the mean of the answered times among the
        items `args.trials`; m/s.
    """

    paramcd: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,7}$")]
    param: str
    unit: str
    rule: Literal["single", "mean_of_answered", "sum_complete", "speed"]
    args: dict[str, Any] = Field(default_factory=dict)
    better: Literal["higher", "lower"]
    minimum: float
    maximum: float
    decimals: Annotated[int, Field(ge=0, le=6)] = 4


class Anchor(Part):
    """A published change or cut-off of a score.

    ``verified: true`` only where the value was read in the named source.
    """

    paramcd: str
    kind: Literal["mdc", "mcid", "cut_off"]
    value: float
    population: str
    source: str
    verified: bool = False


class Instrument(Part):
    """An outcome instrument: items, scores, and what stands for "could not do it".

    `unable` gives the value of each PARAMCD for a participant who could not do the test, which
    is an observation; null means that no number stands for it. `dataset` is the ADaM frame.
    """

    schema_: Literal["trialkit.instrument/1"] = Field(
        default="trialkit.instrument/1", alias="schema"
    )
    code: Code
    name: str
    domain: Literal["FT", "QS"]
    dataset: Code
    text_policy: Literal["none", "own-words", "licensed"] = "none"
    procedure: str = ""
    items: list[Item] = Field(min_length=1)
    scores: list[Score] = Field(min_length=1)
    unable: dict[str, float | None] = Field(default_factory=dict)
    anchors: list[Anchor] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list)
    verified: bool = False

    @model_validator(mode="after")
    def _names_agree(self) -> Instrument:
        ids = [item.id for item in self.items]
        if len(set(ids)) < len(ids):
            raise ValueError("an item id is given twice | Give each item its own id.")
        codes = {score.paramcd for score in self.scores}
        for paramcd in (*self.unable, *(anchor.paramcd for anchor in self.anchors)):
            if paramcd not in codes:
                raise ValueError(f"{paramcd} is not a score | Use one of {', '.join(codes)}.")
        for score in self.scores:
            if wrong := [name for name in _item_args(score) if name not in ids]:
                raise ValueError(f"{score.paramcd} uses no item {wrong[0]} | Name an item.")
        return self

    def item(self, code: str) -> Item | None:
        """Return the item of that id, or None."""
        return next((i for i in self.items if i.id == code), None)


def _item_args(score: Score) -> list[str]:
    """Return the item ids that a rule names."""
    args = score.args
    names = [*args.get("items", []), *args.get("trials", [])]
    names += [args[key] for key in ("item", "distance_m") if isinstance(args.get(key), str)]
    return names


def read_instrument(path: Path) -> tuple[Instrument | None, list[Finding]]:
    """Return the instrument of a YAML file, or None and every fault of the file."""
    data, lines, findings = load_yaml(path)
    if data is None:
        return None, findings
    instrument, faults = parse_model(Instrument, data, lines)
    return (None if findings else instrument), findings + faults


def load_instruments(folder: Path | None = None) -> dict[str, Instrument]:
    """Return the instruments of a folder by code; without a folder, those that ship.

    Raises
    ------
    ProtocolFindings
        If a file has faults.
    """
    if folder is None:
        return dict(_shipped())
    found: dict[str, Instrument] = {}
    for path in sorted(folder.glob("*.yaml")):
        instrument, findings = read_instrument(path)
        if instrument is None:
            raise ProtocolFindings(
                f"{path.name} is not a sound instrument.", findings, remedy="Mend the file."
            )
        found[instrument.code] = instrument
    return found


@cache
def _shipped() -> dict[str, Instrument]:
    return load_instruments(content_folder("protocols") / "instruments")


def instruments_for(path: Path) -> dict[str, Instrument]:
    """Return the instruments that a protocol may name: shipped, and in ``instruments/`` beside it.

    Raises
    ------
    ProtocolFindings
        If a file beside the protocol has faults.
    """
    beside = path.parent / "instruments"
    return load_instruments() | (load_instruments(beside) if beside.is_dir() else {})


def score(
    instrument: Instrument, items: Mapping[str, Entry], status: Status = "done"
) -> dict[str, float | None]:
    """Return every score of an instrument (PARAMCD -> value) from its raw items.

    Parameters
    ----------
    instrument : Instrument
    items : mapping
        Item id to entry; an absent item and None are both missing.
    status : {"done", "unable", "not_done"}
        ``unable`` gives the instrument's own values, ``not_done`` gives None throughout.

    Returns
    -------
    dict
        Rounded to the score's decimals; None where the rule gives no score.
    """
    if status == "unable":
        return {s.paramcd: instrument.unable.get(s.paramcd) for s in instrument.scores}
    if status == "not_done":
        return {s.paramcd: None for s in instrument.scores}
    numbers = {i.id: _number(items.get(i.id)) for i in instrument.items}
    return {s.paramcd: _score_one(s, numbers) for s in instrument.scores}


def _number(entry: Entry) -> float | None:
    if entry is None or isinstance(entry, bool):
        return None
    try:
        return float(entry)
    except ValueError:
        return None


def _score_one(rule: Score, numbers: Mapping[str, float | None]) -> float | None:
    args = rule.args
    value: float | None = None
    if rule.rule == "single":
        value = numbers[args["item"]] if "item" in args else next(iter(numbers.values()))
    elif rule.rule == "speed":
        far = args["distance_m"]
        metres = numbers[far] if isinstance(far, str) else float(far)
        times = [t for name in args["trials"] if (t := numbers[name]) is not None]
        if metres is not None and times and sum(times) > 0:
            value = metres * len(times) / sum(times)
    else:
        names = args.get("items") or list(numbers)
        answered = [n for name in names if (n := numbers[name]) is not None]
        if rule.rule == "sum_complete":
            value = sum(answered) if len(answered) == len(names) else None
        elif len(answered) >= int(args.get("min_answered", len(names))):
            value = sum(answered) / len(answered) if answered else None
    return None if value is None else round(value, rule.decimals)


def check_items(instrument: Instrument, items: Mapping[str, Entry]) -> list[Finding]:
    """Return every fault of raw entries: unknown or missing items, values that cannot be.

    The findings' ``where`` is ``INSTRUMENT.ITEM``.
    """
    ids = [item.id for item in instrument.items]
    findings = []
    for name in items:
        if name not in ids:
            close = difflib.get_close_matches(name, ids, n=1)
            remedy = f"Did you mean {close[0]}?" if close else f"Use {', '.join(ids)}."
            findings.append(Finding(f"{instrument.code}.{name}", "there is no such item.", remedy))
    for item in instrument.items:
        fault = _item_fault(item, items.get(item.id))
        if fault:
            findings.append(Finding(f"{instrument.code}.{item.id}", *fault))
    return findings


def _item_fault(item: Item, entry: Entry) -> tuple[str, str] | None:
    """Return message and remedy if `entry` is not possible for `item`."""
    if entry is None:
        return ("it is missing.", f"Enter it in {item.unit}.") if item.required else None
    value = _number(entry)
    if value is None or value != value:
        return f"{entry!r} is not a number.", f"Enter it in {item.unit}."
    if item.choices and value not in item.choices:
        shown = " or ".join(f"{choice:g}" for choice in item.choices)
        return f"{value:g} is not one of the choices.", f"Enter {shown} {item.unit}."
    if not item.minimum <= value <= item.maximum:
        return (
            f"{value:g} is outside {item.minimum:g} to {item.maximum:g} {item.unit}.",
            "Check the entry and its unit.",
        )
    if item.integer and value != int(value):
        return f"{value:g} is not a whole number.", "Enter a whole number."
    if abs(round(value, item.decimals) - value) > 1e-9:
        return (
            f"{entry} has more than {item.decimals} decimals.",
            f"Enter it to {item.decimals} decimals.",
        )
    return None


def find_instrument(instruments: Mapping[str, Instrument], code: str) -> Instrument:
    """Return the instrument of that code.

    Raises
    ------
    UnknownName
        If there is none, with the nearest name.
    """
    if code in instruments:
        return instruments[code]
    close = difflib.get_close_matches(code, list(instruments), n=1)
    raise UnknownName(
        f"no instrument {code}.",
        remedy=f"Did you mean {close[0]}?" if close else f"Use {', '.join(instruments)}.",
    )
