"""Descriptive tables: one row a variable or level, one column an arm; no tests."""

from __future__ import annotations

import pandas as pd

from trialkit.report.cells import Grid, Numbers, escape

_BLANK = "\u2003"


def arms_of(rows: pd.DataFrame) -> list[str | None]:
    """Return the groups of a table in order; None stands for all together, last."""
    named: list[str | None] = list(dict.fromkeys(g for g in rows["group"] if isinstance(g, str)))
    return [*named, *([None] if rows["group"].isna().any() else [])]


def readable(name: str) -> str:
    """Return a quantity's name for readers."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def descriptive(rows: pd.DataFrame, numbers: Numbers, *, caption: str, label: str) -> Grid:
    """Return a table of counts, percentages and summaries by arm.

    Parameters
    ----------
    rows : DataFrame
        The results rows of one descriptive table: quantity, group, statistic, text, unit, id.
    """
    arms = arms_of(rows)
    head = ["", *(escape(a) if a is not None else "All" for a in arms)]
    grid = Grid(caption, label, head, right=frozenset(range(1, len(head))))
    wide = max(3, 40 // max(len(arms), 1))
    grid.widths = [34, *[max(18, wide)] * len(arms)]
    variable = ""
    for quantity, part in _by(rows, "quantity"):
        name, level = _names(quantity, part)
        if level and name != variable:
            grid.rows.append([escape(name)])
        variable = name if level else ""
        lines = _lines(part)
        title = f"{_BLANK}{escape(level)}" if level else escape(name)
        if len(lines) == 1 and not level:
            what, form = lines[0]
            mark = f", {what}" if what not in {"n", ""} else ""
            grid.rows.append([f"{title}{mark}", *_cells(part, arms, form, numbers)])
            continue
        if not level:
            grid.rows.append([title])
        for i, (what, form) in enumerate(lines):
            first = f"{_BLANK}{what}"
            if level:
                first = (
                    title if len(lines) == 1 else f"{title}, {what}" if i == 0 else _BLANK + first
                )
            grid.rows.append([first, *_cells(part, arms, form, numbers)])
    return grid


def _by(rows: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    return [(str(k), rows[rows[column] == k]) for k in dict.fromkeys(rows[column])]


def _names(quantity: str, part: pd.DataFrame) -> tuple[str, str]:
    """Return variable and level: from the text where it is there, else from the quantity."""
    said = next((t for t in part["text"] if isinstance(t, str) and t), None)
    measured = part[part["statistic"] != "percent"]
    units = [u for u in measured["unit"] if isinstance(u, str) and u]
    unit = f" ({units[0]})" if units and f"({units[0]})" not in (said or "") else ""
    if said is None:
        return readable(quantity) + unit, ""
    for mark in (": ", " = "):
        if mark in said:
            name, level = said.split(mark, 1)
            return readable(name) + unit, level
    return said + unit, ""


def _lines(part: pd.DataFrame) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lines of a variable: their names, and the statistics of each."""
    there = set(part["statistic"])
    lines: list[tuple[str, tuple[str, ...]]] = []
    if {"mean", "sd"} <= there:
        lines.append(("mean (SD)", ("mean", "sd")))
    elif "mean" in there:
        lines.append(("mean", ("mean",)))
    if {"median", "q1", "q3"} <= there:
        lines.append(("median [quartiles]", ("median", "q1", "q3")))
    elif "median" in there:
        lines.append(("median", ("median",)))
    if {"min", "max"} <= there:
        lines.append(("range", ("min", "max")))
    if {"count", "n"} <= there:
        lines.append(("participants, n (%)", ("count", "percent")))
        return [*lines, ("events, n", ("n",))]
    if {"count", "percent"} <= there:
        lines.append(("n (%)", ("count", "percent")))
    elif "count" in there:
        lines.append(("n", ("count",)))
    elif "percent" in there:
        lines.append(("%", ("percent",)))
    for name, words in (("n", "n"), ("n_subjects", "n"), ("n_missing", "missing")):
        if name in there:
            lines.append((words, (name,)))
    for name in ("estimate",):
        if name in there:
            lines.append(("", (name,)))
    return lines


def _cells(
    part: pd.DataFrame, arms: list[str | None], form: tuple[str, ...], numbers: Numbers
) -> list[str]:
    cells = []
    for arm in arms:
        one = part[part["group"].isna() if arm is None else part["group"] == arm]
        ids = dict(zip(one["statistic"], one["id"], strict=True))
        cells.append(_cell(ids, form, numbers))
    return cells


def _cell(ids: dict[str, str], form: tuple[str, ...], numbers: Numbers) -> str:
    if form[0] not in ids:
        return "–"
    said = [numbers.show(ids[name]) if name in ids else "–" for name in form]
    if form == ("mean", "sd"):
        return f"{said[0]} ({said[1]})"
    if form == ("median", "q1", "q3"):
        return f"{said[0]} \\[{said[1]}, {said[2]}\\]"
    if form == ("min", "max"):
        return f"{said[0]} to {said[1]}"
    if form == ("count", "percent"):
        return f"{said[0]} ({said[1]})"
    return said[0]
