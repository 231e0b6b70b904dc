from __future__ import annotations

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("mujoco") is None:
        for item in items:
            if "device/mujoco" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="the package mujoco is not installed"))
