"""Fixtures for protocols: shipped files with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit._content import content_folder


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """Write a shipped protocol with pieces of text replaced, each of which must be there."""

    def change(*pairs: tuple[str, str], name: str = "stroke-robotic.yaml") -> Path:
        text = (content_folder("protocols") / name).read_text(encoding="utf-8")
        for old, new in pairs:
            assert old in text, f"{old!r} is not in {name}"
            text = text.replace(old, new, 1)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return change
