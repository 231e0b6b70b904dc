"""Figures of a report as PNG files beside the document, with captions and texts for the blind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

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
