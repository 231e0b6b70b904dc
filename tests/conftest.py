"""Fixtures for all tests, their order, and the settings of Hypothesis."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before numpy is loaded. Two workers on two cores, each with as many threads of linear algebra
# as there are cores, wait for each other.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# No test reads a state that another one, or the person at the machine, has kept.
_CACHE = Path(tempfile.mkdtemp(prefix="trialkit-test-cache-"))
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ["TRIALKIT_CACHE"] = str(_CACHE)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from pgserver import postgres as postgres  # noqa: E402

# The same examples in every run, however slow the machine; TRIALKIT_HYPOTHESIS=random searches
# for others.
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ANY_SPEED, derandomize=True)
settings.register_profile("random", _ANY_SPEED, derandomize=False)
settings.load_profile(os.environ.get("TRIALKIT_HYPOTHESIS", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest tests begin first, so that no worker begins one when the others are done.

    `slow(seconds=...)` says about how long a test takes; the rest keep their order.
    """

    def seconds(item: pytest.Item) -> float:
        mark = item.get_closest_marker("slow")
        return 0.0 if mark is None else float(mark.kwargs.get("seconds", 0.0))

    items.sort(key=seconds, reverse=True)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Leave nothing in the cache for the next test."""
    yield
    for file in _CACHE.iterdir():
        file.unlink()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of oracles and data sets that are not part of the repository."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("TRIALKIT_SHARED", beside))
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no oracles at {folder}; set TRIALKIT_SHARED to the folder that holds them")
    return folder
