"""The public names: complete, sorted, and there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trialkit


def test_all_is_sorted_and_complete() -> None:
    assert trialkit.__all__ == sorted(trialkit.__all__)
    assert set(trialkit.__all__) == {*trialkit._HOMES, "__version__"}


@pytest.mark.parametrize("name", trialkit.__all__)
def test_name_is_there(name: str) -> None:
    thing = getattr(trialkit, name)
    assert name == "__version__" or thing.__doc__, name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        trialkit.no_such_name  # noqa: B018


def test_import_is_light() -> None:
    program = "import sys, trialkit; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
