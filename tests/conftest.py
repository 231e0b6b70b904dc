"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of oracles and data sets that are not part of the repository."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("TRIALKIT_SHARED", beside))
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no oracles at {folder}; set TRIALKIT_SHARED to the folder that holds them")
    return folder
