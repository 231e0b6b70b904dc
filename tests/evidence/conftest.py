"""One evidence package for all tests of the room; tests change copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from analysed_study import make_study

from trialkit.evidence import build_evidence
from trialkit.study import Study


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Path]]:
    """The study, and the folder of its package; the zip lies beside it."""
    folder = tmp_path_factory.mktemp("evidence")
    study = make_study(folder)
    yield study, build_evidence(study.as_user("stan"), folder / "package")
    study.close()


@pytest.fixture
def package(built: tuple[Study, Path], tmp_path: Path) -> Path:
    """A copy of the unpacked package."""
    return Path(shutil.copytree(built[1], tmp_path / "package"))
