"""Figure of LS-means by visit: arms side by side, with intervals and the numbers observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP"
#: Width of the space, in visits, over which the arms of one visit are spread.
DODGE = 0.24
#: First line of numbers below the axis, and the space between lines, in points.
TOP, STEP = 20.0, 13.0


def profile(
    means: pd.DataFrame,
    counts: npt.NDArray[np.intp],
    *,
    visits: Sequence[Any],
    groups: Sequence[Any],
    ylabel: str,
    xlabel: str,
    title: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw LS-means by visit.

    Parameters
    ----------
    means : DataFrame
        Ordered by visit, then group: estimate, lower, upper.
    counts : ndarray, shape (visits, groups)
        Participants observed, written below the axis.
    visits, groups : sequence
        Labels in order.
    ylabel, xlabel, title : str
    ax : Axes, optional
        Where to draw; a new figure without.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        height = 3.4 + 0.22 * len(groups)
        figure, ax = plt.subplots(figsize=(max(5.5, 0.9 * len(visits) + 2.5), height))
        figure.set_layout_engine("constrained")
    shape = (len(visits), len(groups))
    numbers = {c: means[c].to_numpy(dtype=np.float64).reshape(shape) for c in
               ("estimate", "lower", "upper")}  # fmt: skip
    place = np.arange(len(visits))
    shift = np.linspace(-DODGE / 2, DODGE / 2, len(groups)) if len(groups) > 1 else np.zeros(1)
    lines = []
    for g, name in enumerate(groups):
        middle = numbers["estimate"][:, g]
        error = np.abs(np.stack([numbers["lower"][:, g], numbers["upper"][:, g]]) - middle)
        drawn = ax.errorbar(
            place + shift[g],
            middle,
            yerr=error,
            marker=MARKERS[g % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
            elinewidth=1.1,
            capsize=2.5,
            label=str(name),
        )
        lines.append(drawn.lines[0])
    ax.set_xticks(place, [str(visit) for visit in visits])
    ax.set_xlim(-0.5, len(visits) - 0.5)
    ax.set_ylabel(ylabel)
    ax.set_title(title, fontsize="small", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.4, alpha=0.6)
    ax.legend(frameon=False, fontsize="small")
    numbers_below(ax, counts, [str(g) for g in groups], [x.get_color() for x in lines])
    ax.set_xlabel(xlabel, labelpad=STEP * len(groups) + 6)
    return ax


def numbers_below(
    ax: Axes, counts: npt.NDArray[np.intp], groups: Sequence[str], colours: Sequence[Any]
) -> None:
    """Write the numbers observed between the labels of the visits and that of the axis."""
    look: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": "small"}
    for g, (name, colour) in enumerate(zip(groups, colours, strict=True)):
        down = -TOP - STEP * g
        ax.annotate(
            f"n, {name}", (0, 0), (-6, down), xycoords="axes fraction", ha="right",
            color=colour, **look,
        )  # fmt: skip
        for place, number in enumerate(counts[:, g]):
            ax.annotate(
                str(number), (place, 0), (0, down), xycoords=("data", "axes fraction"),
                ha="center", color=colour, **look,
            )  # fmt: skip
