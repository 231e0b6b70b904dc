"""Forms as data: items with types and ranges, the scores that they give, what is known of them.

One YAML file describes one form. An outcome instrument is a form with scores; a case report
form has none. Item texts that are under licence are not in the files: ``text_policy`` says so,
and a site adds texts from its own licensed copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trialkit.protocol.model import Code, Part

SCHEMA = "trialkit.form/1"
OLD_SCHEMA = "trialkit.instrument/1"
Status = Literal["done", "unable", "not_done"]
ItemType = Literal["number", "integer", "choice", "yes_no", "date", "time", "text"]
Entry = float | int | str | None
NUMERIC = frozenset({"number", "integer"})


class Item(Part):
    """One entry of a form.

    `type` ``number`` and ``integer`` need `minimum` and `maximum`: what lies outside is
    refused; a value outside `plausible` is taken and flagged. `choices` replaces the range
    where only some values are possible, and is needed for ``choice``; `points` is the number
    that a choice counts in scores (null for one that counts as missing, such as "not
    testable"), by default the choice itself where it is a number; `meanings` says what choices
    mean. ``yes_no`` is Y or N and counts 1 or 0; ``date`` is YYYY-MM-DD and ``time`` HH:MM.
    `units` are other units in which it may be entered, with the factor to `unit`. An item with
    `when` is asked only where that condition on earlier items holds. `required` items that are
    asked must be there for the entry to be taken; others may be missing and the scoring rule
    decides.
    """

    id: Code
    label: str | None = None
    type: ItemType = "number"
    minimum: float | None = None
    maximum: float | None = None
    plausible: tuple[float, float] | None = None
    unit: str = ""
    units: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    decimals: Annotated[int, Field(ge=0, le=4)] = 0
    choices: list[float | str] = Field(default_factory=list)
    points: dict[str, float | None] = Field(default_factory=dict)
    meanings: dict[str, str] = Field(default_factory=dict)
    max_length: Annotated[int, Field(ge=1, le=2000)] = 200
    required: bool = False
    when: str | None = None

    @model_validator(mode="after")
    def _type_has_its_keys(self) -> Item:
        low, high = self.minimum, self.maximum
        if self.type in NUMERIC:
            if low is None or high is None:
                raise ValueError(f"a {self.type} has a range | Give minimum and maximum.")
            if low > high:
                raise ValueError("minimum is above maximum | Exchange them.")
            soft = self.plausible
            if soft is not None and not low <= soft[0] <= soft[1] <= high:
                raise ValueError(
                    "the plausible range is not inside minimum to maximum | Narrow it."
                )
            if any(isinstance(choice, str) for choice in self.choices):
                raise ValueError("a number is none of these choices | Use type: choice.")
        elif low is not None or high is not None or self.plausible or self.units:
            raise ValueError(f"a {self.type} has no range and no units | Remove them.")
        if self.type == "choice":
            if not self.choices:
                raise ValueError("there is nothing to choose from | Give choices.")
        elif self.type not in NUMERIC and self.choices:
            raise ValueError(f"a {self.type} has no choices | Use type: choice.")
        known = [choice_text(choice) for choice in self.choices]
        for name in (*self.points, *self.meanings):
            if name not in known:
                raise ValueError(f"{name} is no choice | Use one of {', '.join(known)}.")
        return self


class Score(Part):
    """A derived score (PARAMCD) and the rule that makes it from the items.

    `args.items` (default: all) lists item ids; a list within it counts as its lowest value, so
    that of two sides the worse one counts. An item of `args.reversed` counts as `args.low` +
    `args.high` less its value.

    ``single``
        the item `args.item`.
    ``mean_of_answered``
        mean of the answered items, if at least `args.min_answered` of them are (default: all).
    ``sum_complete``
        sum of the items if none is missing.
    ``sum_prorated``
        sum of the answered items over their number, times the number of items, if at most
        `args.max_missing` are missing; rounded up where `args.round_up` is true.
    ``rescaled_mean``
        100 (mean of the answered items - `args.low`) / (`args.high` - `args.low`), if at least
        `args.min_answered` are answered.
    ``at_least``
        1 where the item `args.item` is `args.value` or more, else 0.
    ``speed``
        `args.distance_m` (an item id or metres) over the mean of the answered times among the
        items `args.trials`; m/s.
    """

    paramcd: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,7}$")]
    param: str
    unit: str
    rule: Literal[
        "single",
        "mean_of_answered",
        "sum_complete",
        "sum_prorated",
        "rescaled_mean",
        "at_least",
        "speed",
    ]
    args: dict[str, Any] = Field(default_factory=dict)
    better: Literal["higher", "lower"]
    minimum: float
    maximum: float
    decimals: Annotated[int, Field(ge=0, le=6)] = 4
    source: str = ""
    verified: bool = False


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


class Form(Part):
    """A form: items, scores, and what stands for "could not do it".

    `unable` gives the value of each PARAMCD for a participant who could not do the test, which
    is an observation; null means that no number stands for it. `dataset` is the ADaM frame of
    the scores. A form of `source` ``paper`` is entered twice, by two people. An entry later
    than `late_after_days` days after the act needs a reason (default: the trial's
    `late_entry_days`). `variant` names the version where several are in print.
    """

    schema_: Literal["trialkit.form/1"] = Field(default="trialkit.form/1", alias="schema")
    code: Code
    name: str
    domain: Literal["FT", "QS"] = "QS"
    dataset: Code = "ADQS"
    variant: str = ""
    text_policy: Literal["none", "own-words", "licensed"] = "none"
    licence: str = ""
    procedure: str = ""
    source: Literal["electronic", "paper"] = "electronic"
    late_after_days: Annotated[int, Field(ge=0)] | None = None
    items: list[Item] = Field(min_length=1)
    scores: list[Score] = Field(default_factory=list)
    unable: dict[str, float | None] = Field(default_factory=dict)
    anchors: list[Anchor] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list)
    verified: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_old(cls, data: Any) -> Any:
        """Read ``trialkit.instrument/1``: a form whose items said ``integer: true``."""
        if not isinstance(data, dict) or data.get("schema") != OLD_SCHEMA:
            return data
        items = data.get("items")
        return data | {
            "schema": SCHEMA,
            "items": [_new_item(i) for i in items] if isinstance(items, list) else items,
        }

    @model_validator(mode="after")
    def _names_agree(self) -> Form:
        ids = [item.id for item in self.items]
        if len(set(ids)) < len(ids):
            raise ValueError("an item id is given twice | Give each item its own id.")
        codes = {score.paramcd for score in self.scores}
        for paramcd in (*self.unable, *(anchor.paramcd for anchor in self.anchors)):
            if paramcd not in codes:
                raise ValueError(f"{paramcd} is not a score | Use one of {', '.join(codes)}.")
        for score in self.scores:
            if wrong := [name for name in score_items(score) if name not in ids]:
                raise ValueError(f"{score.paramcd} uses no item {wrong[0]} | Name an item.")
        return self

    def item(self, code: str) -> Item | None:
        """Return the item of that id, or None."""
        return next((i for i in self.items if i.id == code), None)


def _new_item(item: Any) -> Any:
    if not isinstance(item, dict) or "integer" not in item:
        return item
    kept = {key: value for key, value in item.items() if key != "integer"}
    return kept | ({"type": "integer"} if item["integer"] is True else {})


def choice_text(choice: float | int | str) -> str:
    """Return a choice as text: a number without a superfluous point."""
    return choice if isinstance(choice, str) else f"{choice:g}"


def score_items(score: Score) -> list[str]:
    """Return the item ids that a rule names."""
    args = score.args
    names = list(_flat([args.get(key, []) for key in ("items", "trials", "reversed")]))
    return names + [args[key] for key in ("item", "distance_m") if isinstance(args.get(key), str)]


def _flat(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for inner in part:
            yield from _flat(inner)
    else:
        yield str(part)
