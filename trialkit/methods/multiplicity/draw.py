"""Drawing of a graph of hypotheses with matplotlib."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trialkit.methods.multiplicity.tested import State

BLUE, GREY = "#0072B2", "0.6"
RADIUS = 0.2


def draw(
    state: State,
    *,
    p: pd.Series | None = None,
    later: npt.NDArray[np.float64] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw a circle a hypothesis with its weight, and an arrow a transition.

    Parameters
    ----------
    state : State
        Rejected hypotheses are grey and dashed.
    p : Series or None
        p-values by hypothesis, written below the weights.
    later : ndarray, shape (m, m), or None
        Edges used only when all others are gone; drawn dashed.
    ax : Axes or None
        None makes a figure.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    names = list(state.weights.index)
    places = _places(len(names))
    if ax is None:
        ax = plt.subplots(figsize=(6.0, 5.0), layout="constrained")[1]
    assert ax is not None
    for i, name in enumerate(names):
        gone = name in state.rejected
        colour = GREY if gone else BLUE
        ax.add_patch(
            Circle(
                places[i],
                RADIUS,
                facecolor="0.95" if gone else "white",
                edgecolor=colour,
                linestyle="--" if gone else "-",
                linewidth=1.5,
                zorder=3,
            )
        )
        lines = [str(name), "rejected" if gone else _fraction(float(state.weights.iloc[i]))]
        if p is not None:
            value = float(p[name])
            lines.append("no p" if math.isnan(value) else f"p {value:.3g}")
        ax.text(
            float(places[i][0]),
            float(places[i][1]),
            "\n".join(lines),
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=4,
            color="0.4" if gone else "black",
        )
    matrix = state.transitions.to_numpy()
    for i in range(len(names)):
        for j in range(len(names)):
            if matrix[i, j] > 0.0:
                _arrow(ax, places[i], places[j], _fraction(float(matrix[i, j])), dashed=False)
            elif later is not None and later[i, j] > 0.0:
                _arrow(ax, places[i], places[j], _fraction(float(later[i, j])), dashed=True)
    reach = np.abs(places).max(axis=0) + RADIUS + 0.15
    ax.set_xlim(-reach[0], reach[0])
    ax.set_ylim(-reach[1], reach[1])
    ax.set_aspect("equal")
    ax.set_axis_off()
    if title:
        ax.set_title(title, loc="left", fontsize=10)
    return ax


def _places(m: int) -> npt.NDArray[np.float64]:
    """Put two in a row, four in a square, others on a circle; the first at the top left."""
    if m == 1:
        return np.zeros((1, 2))
    if m == 2:
        return np.array([[-0.6, 0.0], [0.6, 0.0]])
    if m == 4:
        return np.array([[-0.7, 0.6], [0.7, 0.6], [-0.7, -0.6], [0.7, -0.6]])
    angle = math.pi / 2.0 - 2.0 * math.pi * np.arange(m) / m
    return max(1.0, m / 6.0) * np.column_stack([np.cos(angle), np.sin(angle)])


def _arrow(
    ax: Axes,
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    label: str,
    *,
    dashed: bool,
) -> None:
    """Draw a curved arrow between two circles, its label beside it near the start."""
    from matplotlib.patches import FancyArrowPatch

    along = (end - start) / np.linalg.norm(end - start)
    side = np.array([along[1], -along[0]])  # arcs with a positive rad bend to the right
    first, last = start + along * RADIUS + side * 0.05, end - along * RADIUS + side * 0.05
    length = float(np.linalg.norm(last - first))
    ax.add_patch(
        FancyArrowPatch(
            tuple(first),
            tuple(last),
            connectionstyle="arc3,rad=0.12",
            arrowstyle="-|>",
            mutation_scale=11,
            color="0.25",
            linestyle="--" if dashed else "-",
            linewidth=1.0,
            zorder=1,
            shrinkA=1,
            shrinkB=1,
        )
    )
    bend = 0.12 * length
    at = first + (last - first) * 0.3 + side * (0.84 * 0.5 * bend)
    ax.text(
        float(at[0]),
        float(at[1]),
        label,
        fontsize=8,
        ha="center",
        va="center",
        zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )


def _fraction(value: float) -> str:
    """Write a weight as a simple fraction where it is one."""
    simple = Fraction(value).limit_denominator(24)
    if abs(float(simple) - value) < 1e-9:
        return str(simple)
    return f"{value:.3g}"
