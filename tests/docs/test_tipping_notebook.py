"""The worked notebook of imputation: short, current, and every cell runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import nbformat

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
SPEC = importlib.util.spec_from_file_location("build_notebook", DOCS / "build_notebook.py")
assert SPEC is not None
assert SPEC.loader is not None
build_notebook = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build_notebook)


def numbers(cell: Any) -> list[float]:
    """The numbers of a cell's text output."""
    text = " ".join(o["data"].get("text/plain", "") for o in cell.outputs if "data" in o)
    return [float(v) for v in re.findall(r"-?\d+\.\d+", text)]


def test_it_is_under_thirty_lines_and_gives_what_it_shows() -> None:
    stored = nbformat.read(DOCS / "tipping-point.ipynb", as_version=4)
    nbformat.validate(stored)
    code = [c for c in stored.cells if c.cell_type == "code"]
    lines = [line for c in code for line in c.source.splitlines() if line.strip()]
    assert len(lines) < 30
    assert [(c.cell_type, c.source) for c in stored.cells] == build_notebook.CELLS
    again = [c for c in build_notebook.run(build_notebook.build()).cells if c.cell_type == "code"]
    for old, new in zip(code, again, strict=True):
        assert not [o for o in new.outputs if o.output_type == "error"]
        shown, found = numbers(old), numbers(new)
        assert len(shown) == len(found)
        assert all(abs(a - b) <= 1.1e-4 for a, b in zip(shown, found, strict=True))
    pictures = [o for c in code for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 2


def test_the_data_are_what_their_program_makes() -> None:
    spec = importlib.util.spec_from_file_location("make", DOCS / "data" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    for name, frame in make.everything().items():
        stored = (DOCS / "data" / name).read_text(encoding="utf-8")
        assert frame.to_csv(index=False, lineterminator="\n") == stored, name
