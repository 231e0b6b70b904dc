"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run; TRIALKIT_HYPOTHESIS=random searches for others.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile(os.environ.get("TRIALKIT_HYPOTHESIS", "same"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of oracles and data sets that are not part of the repository."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("TRIALKIT_SHARED", beside))
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no oracles at {folder}; set TRIALKIT_SHARED to the folder that holds them")
    return folder
