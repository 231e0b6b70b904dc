"""Figures of a report as PNG files beside the document, with captions and texts for the blind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialkit.errors import Finding, ReportFindings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
DPI = 200


def save_figure(
    figure: Figure, folder: Path, name: str, *, caption: str, alt: str, width: str = "100%"
) -> str:
    """Save a figure and return the Markdown that shows it.

    Parameters
    ----------
    figure : Figure
    folder : Path
        The document's working folder.
    name : str
        Label without ``fig-``; also the file's name.
    caption, alt : str
        Caption (Markdown) and alternative text.

    Raises
    ------
    ReportFindings
        If nothing is drawn in it.
    """
    import matplotlib.pyplot as plt

    drawn = [a for ax in figure.axes for a in (*ax.lines, *ax.patches, *ax.collections, *ax.texts)]
    if not drawn:
        raise ReportFindings(
            "a figure is empty.", [Finding(f"figure {name}", "nothing is drawn.", "See its data.")]
        )
    place = folder / FOLDER / f"{slug(name)}.png"
    place.parent.mkdir(exist_ok=True)
    figure.savefig(place, dpi=DPI, metadata={"Software": None}, facecolor="white")
    plt.close(figure)
    quoted = alt.replace('"', "'").replace("\n", " ")
    attributes = f'#fig-{slug(name)} fig-alt="{quoted}" width={width}'
    return f"![{caption}]({FOLDER}/{place.name}){{{attributes}}}\n"


def slug(text: str) -> str:
    """Return text that can be a label and a file name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", text).strip("-").lower()


def draw_graph(steps: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the graph of a test at the start and, where something was rejected, at the end.

    Parameters
    ----------
    steps : sequence of mappings
        ``steps`` of a result's multiplicity: rejected, weights, transitions.
    """
    import matplotlib.pyplot as plt
    import pandas as pd

    from trialkit.methods.multiplicity.draw import draw
    from trialkit.methods.multiplicity.tested import State

    shown = [steps[0], steps[-1]] if len(steps) > 1 else [steps[0]]
    titles = ["At the start", f"After {len(steps) - 1} rejected"]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4.6 * len(shown), 4.2), layout="constrained", squeeze=False
    )
    for ax, step, title in zip(axes[0], shown, titles, strict=False):
        order = list(steps[0]["transitions"])
        state = State(
            tuple(step["rejected"]),
            pd.Series(step["weights"]).reindex(order),
            pd.DataFrame(step["transitions"]).T.reindex(index=order, columns=order),
        )
        draw(state, ax=ax, title=title)
    return figure


def describe_graph(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the shares at the start, and the order of rejection, in words."""
    shares = "; ".join(f"{name} {share:.3g}" for name, share in steps[0]["weights"].items())
    order = ", then ".join(steps[-1]["rejected"]) or "none"
    return f"Graph of the hypotheses. Shares of alpha at the start: {shares}. Rejected: {order}."
