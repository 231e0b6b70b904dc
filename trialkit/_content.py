"""Finds the protocols, plans and report templates that ship with trialkit.

In a wheel they lie in ``trialkit/_content/``; in a checkout and in an editable install
they are the top-level folders beside the package.
"""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import UnknownName

KINDS = ("protocols", "analyses", "reports")


def content_folder(kind: str) -> Path:
    """Return the folder that holds the shipped files of `kind`.

    Parameters
    ----------
    kind : {"protocols", "analyses", "reports"}

    Raises
    ------
    UnknownName
        If `kind` is none of these, or the installation lacks the folder.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_content" / kind, package.parent / kind):
        if kind in KINDS and folder.is_dir():
            return folder
    raise UnknownName(
        f"no shipped content of kind {kind!r}.", remedy=f"Use one of {', '.join(KINDS)}."
    )


def find_content(kind: str, name: str | Path) -> Path:
    """Return the path of `name`: an existing path as it is, else the shipped file of that name.

    Raises
    ------
    UnknownName
        If neither exists.
    """
    given = Path(name)
    if given.exists():
        return given
    folder = content_folder(kind)
    suffixes = {
        "protocols": ("", ".yaml"),
        "analyses": ("", ".sap.yaml", ".mapping.yaml"),
        "reports": ("", ".qmd"),
    }
    for suffix in suffixes[kind]:
        shipped = folder / f"{name}{suffix}"
        if shipped.is_file():
            return shipped
    known = sorted(p.name for p in folder.iterdir() if p.is_file())
    raise UnknownName(
        f"{name}: neither a file nor one of the shipped {kind}.",
        remedy=f"Give a path, or one of: {', '.join(known)}.",
    )
