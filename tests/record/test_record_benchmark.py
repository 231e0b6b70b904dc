"""The benchmark of the record runs, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pgserver import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow(seconds=30)
def test_it_prints_every_figure(postgres: Server) -> None:
    urls = [word for _ in range(2) for word in ("--postgres", postgres.database())]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/record.py"), "--check", *urls],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for figure in (
        "SQLite: 20 durable events",
        "PostgreSQL: 20 durable events",
        "SQLite: bulk load",
        "PostgreSQL: bulk load",
        "PostgreSQL: verification of 3,000 events",
        "SQLite: verification of 4,000 events",
        "first status from the kept state",
        "export of 3,000 events",
        "rebuild of the state from the export",
        "SQLite against PostgreSQL",
    ):
        assert figure in done.stdout
    assert "the rebuilt state is that of the record" in done.stdout
