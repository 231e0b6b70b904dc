"""The centre is killed at every write to disk while it takes up a site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from two_sites import busy_site, make_centre

TESTS = Path(__file__).resolve().parent


def kills(folder: Path, step: int) -> list[dict[str, Any]]:
    make_centre(folder).close()
    busy_site(folder, "02", 1, size=600_000)
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(TESTS / "sync_killing.py"), str(folder), "02", str(step)],
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
