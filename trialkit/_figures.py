"""Figures of results: profile of means, survival curves with numbers at risk, forest plot.

Frames in, matplotlib Axes out; no statistic is computed here. Colours are those of Okabe and Ito
(distinct for colour-blind readers), and every group also has a marker and a line style of its own.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "trialkit",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style, and leave matplotlib as it was."""
    with mpl.rc_context(STYLE):
        yield


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    made: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return made


def _order(groups: pd.Series) -> list[str]:
    return list(dict.fromkeys(str(g) for g in groups))


def _with_unit(label: str, unit: str | None) -> str:
    return f"{label} ({unit})" if unit else label


def _direction(better: str | None) -> str:
    return {"higher": "higher is better", "lower": "lower is better"}.get(better or "", "")


def profile(
    points: pd.DataFrame,
    *,
    ax: Axes | None = None,
    title: str = "",
    unit: str | None = None,
    better: str | None = None,
    ylabel: str = "Adjusted mean",
    kind: str = "profile",
) -> Axes:
    """Draw means with intervals by visit, one line a group, with n under the axis.

    Parameters
    ----------
    points : DataFrame
        The series table; rows with ``series == kind`` are drawn: x (study day), y, lower, upper,
        n (participants observed), label (the visit's code).
    ax : Axes or None
        None makes a figure.
    """
    rows = points[points["series"] == kind]
    groups = _order(rows["group"])
    with style():
        ax = _axes(ax, (5.6, 3.8))
        span = float(rows["x"].max() - rows["x"].min()) or 1.0
        for i, group in enumerate(groups):
            one = rows[rows["group"] == group]
            shift = span * 0.008 * (2 * i - len(groups) + 1)
            y, low, high = (one[k].to_numpy(dtype=float) for k in ("y", "lower", "upper"))
            ax.errorbar(
                one["x"].to_numpy() + shift,
                y,
                yerr=[y - low, high - y],
                label=group,
                color=COLOURS[i % 7],
                marker=MARKERS[i % 7],
                linestyle=LINES[i % 7],
                capsize=2.5,
                markersize=4.5,
                linewidth=1.4,
            )
        ticks = rows.drop_duplicates("x").sort_values("x")
        names = [t if isinstance(t, str) else f"{x:g}" for t, x in _pairs(ticks)]
        ax.set_xticks(ticks["x"].to_numpy(), names)
        ax.set_ylabel(_with_unit(ylabel, unit))
        _heading(ax, title, _direction(better))
        ax.legend(loc="best")
        _counts_under(ax, rows, groups, ticks["x"].tolist(), "n", "Visit")
    return ax


def _pairs(ticks: pd.DataFrame) -> list[tuple[Any, float]]:
    return list(zip(ticks["label"], ticks["x"], strict=True))


def _heading(ax: Axes, title: str, note: str) -> None:
    text = f"{title}\n{note}" if title and note else title or note
    if text:
        ax.set_title(text, loc="left")


def _counts_under(
    ax: Axes, rows: pd.DataFrame, groups: list[str], xs: list[float], name: str, xlabel: str
) -> None:
    """Write one line of counts a group below the tick labels, in the group's colour."""
    if not rows["n"].notna().any():
        ax.set_xlabel(xlabel)
        return
    ax.set_xlabel(xlabel, labelpad=7.5 * (1.25 * len(groups) + 2.4) - 10)  # points
    for i, group in enumerate(["", *groups]):
        y = -(2.4 + 1.25 * i)
        colour = COLOURS[(i - 1) % 7] if group else "0.25"
        own = {"xycoords": ("axes fraction", "axes fraction"), "textcoords": "offset fontsize"}
        ax.annotate(
            group or name,
            (0, 0),
            xytext=(-1.8, y),
            ha="right",
            va="center",
            fontsize=7.5,
            color=colour,
            annotation_clip=False,
            **own,  # type: ignore[arg-type]
        )
        if not group:
            continue
        one = rows[rows["group"] == group].drop_duplicates("x").set_index("x")["n"]
        for x in xs:
            if x in one.index and math.isfinite(one[x]):
                ax.annotate(
                    f"{one[x]:.0f}",
                    (x, 0),
                    xytext=(0, y),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=colour,
                    xycoords=("data", "axes fraction"),
                    textcoords="offset fontsize",
                    annotation_clip=False,
                )


def survival(
    points: pd.DataFrame,
    *,
    ax: Axes | None = None,
    title: str = "",
    ylabel: str = "Proportion without an event",
    xlabel: str = "Days since randomisation",
) -> Axes:
    """Draw Kaplan-Meier curves with their intervals and the numbers at risk.

    Parameters
    ----------
    points : DataFrame
        The series table: ``survival`` (x days, y, lower, upper; steps to the right) and
        ``at_risk`` (x days, n).
    """
    curves = points[points["series"] == "survival"]
    risk = points[points["series"] == "at_risk"]
    groups = _order(curves["group"])
    with style():
        ax = _axes(ax, (5.6, 3.8))
        for i, group in enumerate(groups):
            one = curves[curves["group"] == group]
            ax.step(
                one["x"],
                one["y"],
                where="post",
                label=group,
                color=COLOURS[i % 7],
                linestyle=LINES[i % 7],
                linewidth=1.5,
            )
            ax.fill_between(
                one["x"].to_numpy(),
                one["lower"].to_numpy(),
                one["upper"].to_numpy(),
                step="post",
                color=COLOURS[i % 7],
                alpha=0.15,
                linewidth=0,
            )
        ax.set_ylim(0, 1.02)
        ax.set_xlim(0, float(curves["x"].max()) or 1.0)
        ax.set_ylabel(ylabel)
        _heading(ax, title, "")
        ax.legend(loc="lower left")
        xs = sorted(set(risk["x"].tolist()))
        if xs:
            ax.set_xticks(xs)
        _counts_under(ax, risk, groups, xs, "At risk", xlabel)
    return ax


def forest(rows: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw comparisons of one scale: estimate, interval, text at the right, favoured sides.

    Parameters
    ----------
    rows : DataFrame
        `Results.forest` rows that share ``scale`` and ``unit``; ratios get a log axis. A failed
        row is shown by name, without a mark.
    """
    ratio = rows["scale"].iloc[0] == "ratio"
    null = float(rows["null"].iloc[0])
    with style():
        ax = _axes(ax, (6.8, 1.25 + 0.42 * len(rows)))
        if ratio:
            ax.set_xscale("log")
        ax.axvline(null, color="0.45", linewidth=0.8, zorder=0)
        names = []
        for i, row in enumerate(rows.to_dict("records")):
            y = len(rows) - 1 - i
            names.append(textwrap.fill(str(row["label"]), 30))
            shown = _drawable(row)
            if shown:
                width = [[row["estimate"] - row["lower"]], [row["upper"] - row["estimate"]]]
                ax.errorbar(
                    [row["estimate"]],
                    [y],
                    xerr=width,
                    color=COLOURS[0],
                    marker="s" if row["role"] == "primary" else "o",
                    markersize=5.5 if row["role"] == "primary" else 4.5,
                    capsize=2.5,
                    linewidth=1.4,
                )
            ax.annotate(
                _interval_text(row) if shown else "not estimated",
                (1.02, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                annotation_clip=False,
            )
        ax.set_yticks(range(len(rows) - 1, -1, -1), names)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.tick_params(axis="y", length=0)
        _widen(ax, rows, null, ratio)
        ax.set_xlabel(_forest_label(rows, ratio))
        _heading(ax, title, "")
    return ax


def _drawable(row: Mapping[Any, Any]) -> bool:
    return row["state"] == "ok" and all(
        math.isfinite(row[k]) for k in ("estimate", "lower", "upper")
    )


def _interval_text(row: Mapping[Any, Any]) -> str:
    low, mid, high = (f"{row[k]:.3g}" for k in ("lower", "estimate", "upper"))
    count = f", n {row['n']:.0f}" if math.isfinite(row["n"]) else ""
    return f"{mid} ({low} to {high}){count}"


def _widen(ax: Axes, rows: pd.DataFrame, null: float, ratio: bool) -> None:
    """Give the axis room on both sides of the null, and plain numbers on a log axis."""
    ok = rows[(rows["state"] == "ok") & rows["lower"].notna() & rows["upper"].notna()]
    low = min([null, *ok["lower"].tolist()])
    high = max([null, *ok["upper"].tolist()])
    if ratio:
        reach = max(math.log(high / null), math.log(null / max(low, 1e-6)), 0.1) * 1.12
        ax.set_xlim(null * math.exp(-reach), null * math.exp(reach))
        ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        reach = max(high - null, null - low) * 1.12 or 1.0
        ax.set_xlim(null - reach, null + reach)


def _forest_label(rows: pd.DataFrame, ratio: bool) -> str:
    first = rows.iloc[0]
    if ratio:
        kinds = " / ".join(_order(rows["measure"])).replace("_", " ")
        name = kinds[:1].upper() + kinds[1:]
    else:
        proportions = first["measure"] == "risk_difference"
        name = _with_unit("Difference" + " in proportions" * proportions, first["unit"])
    group, reference = first["group"], first["reference"]
    if not (isinstance(group, str) and isinstance(reference, str)):
        return name
    sides = set(rows["better"])
    if sides == {"higher"}:
        return f"{name}\n← favours {reference}      favours {group} →"
    if sides == {"lower"}:
        return f"{name}\n← favours {group}      favours {reference} →"
    return f"{name}, {group} against {reference}"


def forest_figure(rows: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw comparisons of several scales, one panel a scale and unit and direction.

    Parameters
    ----------
    rows : DataFrame
        `Results.forest`; tests without an estimate (log-rank) are left out.
    """
    shown = rows[rows["measure"] != "logrank"]
    keys = shown[["scale", "unit", "better", "null"]].fillna("").astype(str).agg("|".join, axis=1)
    panels = [shown[keys == key] for key in dict.fromkeys(keys)]
    with style():
        heights = [1.0 + 0.45 * len(p) for p in panels]
        figure, axes = plt.subplots(
            len(panels),
            1,
            figsize=(7.2, sum(heights) + 0.3),
            height_ratios=heights,
            layout="constrained",
            squeeze=False,
        )
        for ax, panel in zip(axes[:, 0], panels, strict=True):
            forest(panel, ax=ax)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure
