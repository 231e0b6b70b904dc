"""A process is killed at every write to disk while it takes up a site, or makes and takes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from home_device import make_centre as make_home_centre
from two_sites import busy_site, make_centre

TESTS = Path(__file__).resolve().parent


def kills(folder: Path, step: int) -> list[dict[str, Any]]:
    make_centre(folder).close()
    busy_site(folder, "02", 1, size=600_000)
    return run("sync_killing.py", str(folder), "02", str(step))


def run(*words: str) -> list[dict[str, Any]]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(TESTS / words[0]), *words[1:]],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def require_all(rows: list[dict[str, Any]], step: int) -> None:
    assert len(rows) == len(range(1, rows[0]["points"] + 1, step))
    assert all(row["killed"] for row in rows)
    assert [row for row in rows if row["again"] or row["same"]] == []


def test_killed_at_some_writes(tmp_path: Path) -> None:
    require_all(kills(tmp_path, 7), 7)


@pytest.mark.slow(seconds=30)
def test_killed_at_every_write(tmp_path: Path) -> None:
    require_all(kills(tmp_path, 1), 1)


def home(folder: Path, step: int) -> list[dict[str, Any]]:
    make_home_centre(folder).close()
    return run("home_killing.py", str(folder), str(step))


def test_killed_at_some_writes_of_making_and_taking_back(tmp_path: Path) -> None:
    require_all(home(tmp_path, 41), 41)


@pytest.mark.slow(seconds=60)
def test_killed_at_every_write_of_making_and_taking_back(tmp_path: Path) -> None:
    require_all(home(tmp_path, 1), 1)
