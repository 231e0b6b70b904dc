"""Step curves with intervals, and the numbers at risk below the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

#: Okabe and Ito: distinct for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Curve:
    """One group's curve: arrays over the times at which it may step, the first 0."""

    name: str
    time: Floats
    value: Floats
    lower: Floats
    upper: Floats
    at_risk: Floats
    censored: Floats | None = None


def step_curves(
    curves: Sequence[Curve], ax: Axes | None, *, start: float, xlabel: str, ylabel: str
) -> Axes:
    """Draw the curves, a mark at each censoring, and the numbers at risk under the ticks.

    Parameters
    ----------
    curves : sequence of Curve
    ax : Axes, optional
        Where to draw; None makes a figure.
    start : float
        The curves' value before the first time: 1 for survival, 0 for incidence.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.subplots(figsize=(6.4, 4.0 + 0.2 * len(curves)), layout="constrained")[1]
    last = max((float(curve.time[-1]) for curve in curves), default=1.0)
    for i, curve in enumerate(curves):
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        time, value = np.append(0.0, curve.time), np.append(start, curve.value)
        ax.step(time, value, where="post", color=colour, linestyle=line, label=curve.name)
        low = np.append(start, np.where(np.isfinite(curve.lower), curve.lower, curve.value))
        high = np.append(start, np.where(np.isfinite(curve.upper), curve.upper, curve.value))
        ax.fill_between(time, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        if curve.censored is not None and len(curve.censored):
            at = value[np.searchsorted(time, curve.censored, side="right") - 1]
            ax.plot(curve.censored, at, "|", color=colour, markersize=5)
    ax.set_xlim(0.0, last if last > 0.0 else 1.0)
    if start == 1.0:
        ax.set_ylim(0.0, 1.02)
    else:
        ax.set_ylim(bottom=0.0)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        ax.legend(frameon=False)
    _numbers(curves, ax, xlabel)
    return ax


def _numbers(curves: Sequence[Curve], ax: Axes, xlabel: str) -> None:
    """Write how many are under observation just before each tick, one line a group."""
    ticks = [tick for tick in ax.get_xticks() if 0.0 <= tick <= ax.get_xlim()[1]]
    ax.set_xticks(ticks)
    blocks = []
    for tick in ticks:
        numbers = [
            np.append(curve.at_risk, 0.0)[np.searchsorted(curve.time, tick)] for curve in curves
        ]
        blocks.append("\n".join([f"{tick:g}", "", *(f"{number:.0f}" for number in numbers)]))
    ax.set_xticklabels(blocks)
    ax.set_xlabel(xlabel)
    names = "\n".join(["", "At risk", *(curve.name for curve in curves)])
    ax.annotate(
        names,
        xy=(0.0, 0.0),
        xycoords="axes fraction",
        xytext=(-14, -7),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=ax.xaxis.get_ticklabels()[0].get_fontsize(),
        linespacing=1.2,
    )
