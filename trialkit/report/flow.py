"""The CONSORT flow diagram: counts must balance, then they are drawn.

Boxes follow the CONSORT 2025 flow diagram (Hopewell et al., PMC11996237): assessed, excluded,
randomised, and for each arm allocated, received, lost and discontinued, analysed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trialkit.errors import Finding, ReportFindings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REASONED = ("excluded", "not_received", "discontinued", "lost", "not_analysed")


@dataclass
class Count:
    """A number of the diagram with the id of its result and, below it, its reasons."""

    value: int
    id: str
    label: str = ""
    reasons: list[Count] = field(default_factory=list)


@dataclass
class Flow:
    """The counts: `whole` before randomisation, `arms` after it, each by quantity."""

    whole: dict[str, Count] = field(default_factory=dict)
    arms: dict[str, dict[str, Count]] = field(default_factory=dict)


def read_flow(rows: pd.DataFrame) -> Flow:
    """Return the counts of a flow table's rows (quantity, group, statistic, value, text, id)."""
    flow = Flow()
    counts = rows[rows["statistic"] == "count"]
    for row in sorted(counts.to_dict("records"), key=lambda r: "_" in _reason(r["quantity"])[1]):
        group = row["group"] if isinstance(row["group"], str) else None
        side = flow.whole if group is None else flow.arms.setdefault(group, {})
        main, code = _reason(str(row["quantity"]))
        value = float(row["value"])
        number = -1 if not math.isfinite(value) or value != int(value) else int(value)
        if not code:
            held = side.get(main)
            side[main] = Count(number, row["id"], reasons=held.reasons if held else [])
            continue
        text = row["text"] if isinstance(row["text"], str) else code.replace("_", " ")
        label = text[:1].upper() + text[1:]
        side.setdefault(main, Count(-1, "")).reasons.append(Count(number, row["id"], label))
    return flow


def _reason(quantity: str) -> tuple[str, str]:
    """Split ``excluded_declined`` into the count and its reason code."""
    for name in REASONED:
        if quantity.startswith(f"{name}_"):
            return name, quantity.removeprefix(f"{name}_")
    return quantity, ""


def check_flow(flow: Flow) -> None:
    """Refuse counts that do not balance.

    Raises
    ------
    ReportFindings
        With every sum that does not hold.
    """
    findings = list(_imbalances(flow))
    if findings:
        raise ReportFindings("the participant flow does not balance.", findings)


def _imbalances(flow: Flow) -> Iterable[Finding]:
    whole = flow.whole
    if "randomised" not in whole or not flow.arms:
        yield Finding("flow", "randomised or the arms are missing.", "Add them to the flow table.")
        return
    yield from _bad_counts("all", whole)
    if "assessed" in whole:
        parts: dict[str, int] = {
            k: whole[k].value for k in ("excluded", "randomised") if k in whole
        }
        yield from _sum("assessed", whole["assessed"].value, parts)
    allocated = {a: c["allocated"].value for a, c in flow.arms.items() if "allocated" in c}
    yield from _sum("randomised", whole["randomised"].value, allocated)
    for arm, counts in flow.arms.items():
        yield from _bad_counts(arm, counts)
        total = counts.get("allocated")
        if total is None:
            yield Finding(f"flow.{arm}", "allocated is missing.", "Add it to the flow table.")
            continue
        for names in (("received", "not_received"), ("analysed", "not_analysed")):
            if names[0] in counts:
                halves: dict[str, int] = {n: counts[n].value for n in names if n in counts}
                yield from _sum(f"{arm}: allocated", total.value, halves)
        for name in ("discontinued", "lost"):
            if name in counts and counts[name].value > total.value:
                yield Finding(
                    f"flow.{arm}.{name}",
                    f"{counts[name].value} is more than the {total.value} allocated.",
                    "Mend the flow counts.",
                )


def _bad_counts(where: str, counts: Mapping[str, Count]) -> Iterable[Finding]:
    for name, count in counts.items():
        for one in (count, *count.reasons):
            if one.value < 0:
                what = one.label or name
                yield Finding(f"flow.{where}.{name}", f"{what} is no count.", "Mend the flow.")
        if count.reasons:
            yield from _sum(
                f"{where}: {name}", count.value, {r.label: r.value for r in count.reasons}
            )


def _sum(name: str, total: int, parts: Mapping[str, int]) -> Iterable[Finding]:
    if sum(parts.values()) != total:
        said = " + ".join(f"{v} {k.replace('_', ' ')}" for k, v in parts.items()) or "nothing"
        yield Finding(
            f"flow: {name}",
            f"{total} is not {said}.",
            "Find the participants who are counted twice or not at all.",
        )


# --- drawing --------------------------------------------------------------------------------

_LINE = 0.165  # inches a line of text
_PAD = 0.12
_GAP = 0.34
_LEFT = 0.42  # width of the stage strip
_FONT = 8.0
_WIDE = 7.2


@dataclass
class _Box:
    x: float
    y: float  # top
    width: float
    lines: list[str]

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 2 * _PAD

    @property
    def bottom(self) -> float:
        return self.y - self.height


def _said(count: Count | None, name: str, width: int) -> list[str]:
    if count is None:
        return []
    lines = textwrap.wrap(f"{name} (n\u00a0=\u00a0{count.value})", width, subsequent_indent="  ")
    for reason in count.reasons:
        text = f"• {reason.label} (n\u00a0=\u00a0{reason.value})"
        lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="     ")
    return lines


_STAGES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Allocation",
        (("allocated", "Allocated"), ("received", "Received the allocated intervention"),
         ("not_received", "Did not receive it")),
    ),
    (
        "Follow-up",
        (("lost", "Lost to follow-up"), ("discontinued", "Discontinued the intervention")),
    ),
    ("Analysis", (("analysed", "Analysed"), ("not_analysed", "Not analysed"))),
)  # fmt: skip


def draw_flow(flow: Flow) -> Figure:
    """Draw the diagram of counts that balance; one column an arm.

    Raises
    ------
    ReportFindings
        If the counts do not balance.
    """
    import matplotlib.pyplot as plt

    check_flow(flow)
    arms = list(flow.arms)
    inner = _WIDE - _LEFT - 0.1
    column = inner / max(len(arms), 2)
    characters = int((column - 0.3) * 15.2)
    top = _enrolment(flow, inner)
    rows: list[tuple[str, list[_Box]]] = []
    y = top[-1].bottom - _GAP * 1.6
    for stage, names in _STAGES:
        boxes = []
        for i, arm in enumerate(arms):
            lines = [line for key, name in names
                     for line in _said(flow.arms[arm].get(key), name, characters)]  # fmt: skip
            head = [arm] if stage == "Allocation" else []
            if lines:
                boxes.append(_Box(_LEFT + 0.1 + i * column + 0.08, y, column - 0.16, head + lines))
        if boxes:
            tallest = max(len(b.lines) for b in boxes)
            for box in boxes:
                box.lines += [""] * (tallest - len(box.lines))
            rows.append((stage, boxes))
            y = boxes[0].bottom - _GAP
    height = -(y + _GAP) + 0.1
    figure = plt.figure(figsize=(_WIDE, height))
    ax: Axes = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, _WIDE)
    ax.set_ylim(-height, 0.05)
    ax.axis("off")
    _draw(ax, top, rows)
    return figure


def _enrolment(flow: Flow, inner: float) -> list[_Box]:
    """Return the boxes above the arms: assessed, excluded, randomised (the last)."""
    centre, wide = _LEFT + 0.1 + inner / 2, 2.5
    boxes: list[_Box] = []
    y = 0.0
    if "assessed" in flow.whole:
        lines = _said(flow.whole["assessed"], "Assessed for eligibility", 40)
        boxes.append(_Box(centre - wide / 2, y, wide, lines))
        y = boxes[-1].bottom - _GAP * 0.6
        if "excluded" in flow.whole:
            lines = _said(flow.whole["excluded"], "Excluded", 40)
            boxes.append(_Box(centre + 0.35, y, inner / 2 - 0.45, lines))
            y = boxes[-1].bottom - _GAP * 0.6
    lines = _said(flow.whole["randomised"], "Randomised", 40)
    boxes.append(_Box(centre - wide / 2, y, wide, lines))
    return boxes


def _draw(ax: Axes, top: list[_Box], rows: list[tuple[str, list[_Box]]]) -> None:
    arrow: Any = {
        "arrowstyle": "-|>",
        "color": "0.25",
        "linewidth": 0.9,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    last = top[-1]
    centre = last.x + last.width / 2
    if len(top) > 1:
        ax.annotate("", (centre, last.y), (centre, top[0].bottom), arrowprops=arrow)
    if len(top) > 2:
        level = top[1].y - top[1].height / 2
        ax.annotate("", (top[1].x, level), (centre, level), arrowprops=arrow)
    bar = last.bottom - _GAP * 0.8
    first = rows[0][1]
    middles = [b.x + b.width / 2 for b in first]
    ax.plot([centre, centre], [last.bottom, bar], color="0.25", linewidth=0.9)
    ax.plot([min([*middles, centre]), max([*middles, centre])], [bar, bar], color="0.25", lw=0.9)
    for x, box in zip(middles, first, strict=True):
        ax.annotate("", (x, box.y), (x, bar), arrowprops=arrow)
    for (_, above), (_, below) in pairwise(rows):
        for one, two in zip(above, below, strict=False):
            x = one.x + one.width / 2
            ax.annotate("", (x, two.y), (x, one.bottom), arrowprops=arrow)
    for box in top:
        _paint(ax, box, heading=False)
    for _, boxes in rows:
        for box in boxes:
            _paint(ax, box, heading=boxes is first)
    _strip(ax, "Enrolment", top[0].y, last.bottom)
    for stage, boxes in rows:
        _strip(ax, stage, boxes[0].y, boxes[0].bottom)


def _paint(ax: Axes, box: _Box, *, heading: bool) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(
        Rectangle((box.x, box.bottom), box.width, box.height, facecolor="white",
                  edgecolor="0.25", linewidth=0.9)
    )  # fmt: skip
    for i, line in enumerate(box.lines):
        y = box.y - _PAD - (i + 0.5) * _LINE
        bold = "bold" if heading and i == 0 else "normal"
        ax.text(box.x + 0.1, y, line, fontsize=_FONT, va="center", weight=bold)


def _strip(ax: Axes, text: str, top: float, bottom: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(
        FancyBboxPatch((0.1, bottom + 0.04), 0.2, top - bottom - 0.08, facecolor="#dbe9f4",
                       edgecolor="none", boxstyle="round,pad=0.04")
    )  # fmt: skip
    ax.text(0.2, (top + bottom) / 2, text, rotation=90, ha="center", va="center", fontsize=7.5,
            color="#23415c", weight="bold")  # fmt: skip


def describe_flow(flow: Flow) -> str:
    """Return the diagram in words, for readers who cannot see it."""
    whole = flow.whole
    parts = [
        f"{whole[k].value} {name}"
        for k, name in (("assessed", "assessed"), ("excluded", "excluded"))
        if k in whole
    ]
    parts.append(f"{whole['randomised'].value} randomised")
    for arm, counts in flow.arms.items():
        said = [f"{c.value} {k.replace('_', ' ')}" for k, c in counts.items()]
        parts.append(f"{arm}: {', '.join(said)}")
    return "Flow diagram. " + "; ".join(parts) + "."
