"""The reference pages say what the code says: ``make docs`` writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
SPEC = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
assert SPEC is not None
assert SPEC.loader is not None
build_reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build_reference)


@pytest.mark.parametrize("name", sorted(build_reference.PAGES))
def test_page_is_current(name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == build_reference.PAGES[name](), f"run `make docs`: {name} is not current"


def test_every_verb_takes_json() -> None:
    import typer

    from trialkit.cli.whole import app

    group = typer.main.get_command(app)
    without = [
        " ".join(path)
        for path, command in build_reference.walk(group, ())
        if not any("--json" in option.opts for option in command.params)
    ]
    assert not without, without


def test_every_method_is_held_against_something() -> None:
    from trialkit.methods import VERSIONS

    page = (DOCS / "reference" / "agreement.md").read_text(encoding="utf-8")
    missing = [name for name in VERSIONS if f"\n| `{name}` |" not in page]
    assert not missing, f"run `make docs`; no comparison and no identity: {missing}"
