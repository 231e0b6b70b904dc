"""Sessions that are killed: nothing acknowledged is lost, and each is recoverable.

The slow tier kills 500 times and more; `killing.py` beside this file says how.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trialkit.session import inputs
from trialkit.session.inputs import InputLog, keep_good_lines

SEED = 20260105
ALL_POINTS = 220
"""At least so many kills come of the points of a session and of `recover`, before and after."""


def killed(folder: Path, plan: str) -> dict[str, Any]:
    """Run a plan and return what was found, which is printed as well."""
    program = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder), plan, str(SEED)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(plan, {name: value for name, value in found.items() if name != "wrong"})
    assert not found["wrong"], "\n".join(found["wrong"][:5])
    return found


@pytest.mark.requirement("R18")
def test_twelve_kills(tmp_path: Path) -> None:
    assert killed(tmp_path, "few")["kills"] == 12


@pytest.mark.slow(seconds=130)
def test_kills_before_and_after_each_point_at_which_something_reaches_the_disk(
    tmp_path: Path,
) -> None:
    found = killed(tmp_path, "points")
    assert found["kills"] >= ALL_POINTS
    assert {"before opening", "running", "sealing", "after", "recovering"} <= set(found["phases"])
    assert set(found["points"]) == {"fsync", "commit", "replace", "unlink"}


@pytest.mark.slow(seconds=100)
def test_kills_at_random_instants(tmp_path: Path) -> None:
    found = killed(tmp_path, "random:256")
    assert found["kills"] >= 256
    assert {"running", "sealing", "recovering"} <= set(found["phases"])


@pytest.mark.slow(seconds=70)
def test_kills_in_real_time_with_the_device_in_its_own_process(tmp_path: Path) -> None:
    assert killed(tmp_path, "real:24")["kills"] >= 24


def test_what_was_cut_off_is_counted_again_after_a_crash_in_between(tmp_path: Path) -> None:
    path = tmp_path / inputs.NAME
    log = InputLog(path, {"session": "X"}, at_once=True)
    log.clock({"wall": "2026-01-05T00:00:00Z", "t_host_ns": 0})
    log.discard()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    for _ in range(2):  # the second time as after a crash before the manifest was written
        content, lost = keep_good_lines(path)
        assert content is not None
        assert (content.lines, lost, path.read_bytes()) == (2, 50, whole)
    path.write_bytes(whole[:50])
    for _ in range(2):
        assert keep_good_lines(path) == (None, 50)
        assert not path.exists()
