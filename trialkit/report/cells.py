"""Numbers with their ids, and Markdown tables whose columns are as wide as their text needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trialkit.results import format_value

if TYPE_CHECKING:
    from trialkit.results import Results

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#@$^~])")
_MARKED = re.compile(r"\[((?:\\.|[^\]\\])*)\]\{data-result-id[^}]*\}")
_UNESCAPE = re.compile(r"\\(.)")


def escape(text: str) -> str:
    """Return text in which no character is Markdown."""
    return _SPECIAL.sub(r"\\\1", text)


def bare(markdown: str) -> str:
    """Return the text that readers see of a cell."""
    return _UNESCAPE.sub(r"\1", _MARKED.sub(r"\1", markdown)).replace("**", "").replace("`", "")


@dataclass(frozen=True)
class Printed:
    """A number as it was printed, where, and the id of its result."""

    place: str
    text: str
    id: str


@dataclass
class Numbers:
    """Formats results by id and remembers which were printed where."""

    results: Results
    printed: list[Printed] = field(default_factory=list)
    place: str = ""

    def show(self, identifier: str, *, digits: int | None = None, suffix: str = "") -> str:
        """Return a result as Markdown that carries its id; a failed one says so."""
        row = self.results.get(identifier)
        if row["state"] == "failed":
            text = "not estimated"
        elif row["value"] == row["value"]:
            said = format_value(str(row["statistic"]), float(row["value"]), digits)
            text = said.replace("-", "\u2212") + suffix
        else:
            text = str(row["text"])
        self.printed.append(Printed(self.place, text, identifier))
        return f'[{escape(text)}]{{data-result-id="{identifier}" title="{identifier}"}}'

    def maybe(self, identifier: str, *, digits: int | None = None, suffix: str = "") -> str:
        """Return a result like `show`, or a dash where there is no such id."""
        known = identifier in self.results
        return self.show(identifier, digits=digits, suffix=suffix) if known else "–"

    def interval(self, prefix: str, *, digits: int | None = None) -> str:
        """Return ``lower to upper`` of a comparison's id prefix."""
        low, high = (self.maybe(f"{prefix}.{s}", digits=digits) for s in ("lower", "upper"))
        if bare(low) == bare(high) and bare(low) in {"–", "not estimated"}:
            return low
        return f"{low} to {high}"


@dataclass
class Grid:
    """A table: a caption, a label for references, column heads, and rows of Markdown cells.

    A row of one cell is a heading over the rows below it. `right` names right-aligned columns.
    """

    caption: str
    label: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: frozenset[int] = frozenset()
    widths: Sequence[int] | None = None

    def markdown(self) -> str:
        """Return a pipe table with explicit column widths; empty text where there are no rows."""
        if not self.rows:
            return ""
        widths = self._shares()
        rule = [
            "-" * w + (":" if i in self.right else "-") if i in self.right else ":" + "-" * w
            for i, w in enumerate(widths)
        ]
        lines = [self._line([*self.head]), "|" + "|".join(rule) + "|"]
        for row in self.rows:
            cells = [f"**{row[0]}**"] if len(row) == 1 else list(row)
            lines.append(self._line(cells))
        return "\n".join(lines) + f"\n\n: {self.caption} {{#{self.label}}}\n"

    def _line(self, cells: list[str]) -> str:
        padded = [*cells, *[""] * (len(self.head) - len(cells))]
        return "| " + " | ".join(c.replace("\n", " ") or " " for c in padded) + " |"

    def _shares(self) -> list[int]:
        """Return dashes a column, about 120 in all, by the text that the columns hold.

        A column of numbers gets the width of its longest text, so that none is broken; what is
        left goes to the columns of words, by what they would need to stay on one line.
        """
        if self.widths is not None:
            needs = [float(w) for w in self.widths]
        else:
            least, more = [], []
            for i, name in enumerate(self.head):
                texts = [bare(r[i]) for r in self.rows if len(r) > i and len(r) > 1]
                longest = max([len(t) for t in texts], default=1)
                word = max((len(w) for t in [bare(name), *texts] for w in t.split()), default=1)
                kept = max(word, longest) if i in self.right else word
                least.append(min(kept + 3.0, 42.0))
                more.append(max(0.0, min(longest, 42) - least[-1]))
            left = max(0.0, 105.0 - sum(least))
            given = min(1.0, left / sum(more)) if sum(more) else 0.0
            needs = [low + given * high for low, high in zip(least, more, strict=True)]
        total = sum(needs)
        return [max(3, round(120 * n / total)) for n in needs]
