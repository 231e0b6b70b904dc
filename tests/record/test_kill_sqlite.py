"""A trial in SQLite that is killed at the n-th ``fsync``, and at every other write.

The process that writes is stopped by the kernel at the call itself (`tracing`), with SQLite's
own calls among them, and killed there before the call is made, or after. Then the study is
opened again: every acknowledged event is there, once; the chain holds; the arms are those of
the undisturbed trial; and the trial goes on to its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tracing

from trialkit.record.accounts import AccountStore
from trialkit.record.allocation import AllocationStore

pytestmark = pytest.mark.skipif(
    not tracing.works(), reason="no process may be traced here; the kills of sessions remain"
)
BESIDE = Path(__file__).parent


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process leaves the same on any disk."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kill-", dir=where) as made:
        yield Path(made)


def killed(folder: Path, program: str = "kill_points.py", **wanted: Any) -> dict[str, Any]:
    """Run a plan of `kill_points` and return what was found, which is printed as well."""
    path = os.pathsep.join([str(BESIDE.parent), str(BESIDE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(BESIDE / program), str(folder), json.dumps(wanted)],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(wanted, {name: value for name, value in found.items() if name != "wrong"})
    assert not found["wrong"], "\n".join(found["wrong"][:5])
    return found


@pytest.mark.requirement("R18")
def test_a_few_kills(folder: Path) -> None:
    found = killed(folder, plan="points", calls=["SYNCS"], every=31)
    assert sum(found["kills"].values()) >= 4


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n", range(1, 7))
def test_what_a_kill_leaves_half_written_apart_is_taken_back(
    tmp_path: Path, n: int, after: bool
) -> None:
    """The files beside the record: a reader, who comes first, must be able to take it back."""
    AllocationStore.create(tmp_path, seed=1)
    AccountStore(tmp_path).add_hash("mia", "the first", 1)
    scheme = {"arms": ["A", "B"], "ratio": [1, 1], "block_sizes": [4]}

    def work(_: object) -> None:
        AccountStore(tmp_path).add_hash("mia", "the second", 2)
        AllocationStore(tmp_path).ensure("all", 1, **scheme)

    child = tracing.Traced(work, tracing.SYNCS)
    tracing.run_to(child, n, after=after)
    assert child.killed, child.text
    assert AccountStore(tmp_path).in_force("mia", 1) == "the first"
    assert AccountStore(tmp_path).in_force("mia", 2) in (None, "the second")
    assert AllocationStore(tmp_path).seed() == "1"
    assert len(AllocationStore(tmp_path).ensure("all", 1, **scheme)) == 1


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=50)
@pytest.mark.parametrize("minimised", [False, True])
def test_killed_before_and_after_every_sync(folder: Path, minimised: bool) -> None:
    found = killed(folder, plan="points", calls=["SYNCS"], minimised=minimised)
    assert sum(found["kills"].values()) == 2 * sum(found["points"].values()) >= 120


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=60)
@pytest.mark.parametrize("minimised", [False, True])
def test_every_step_killed_after_every_write(folder: Path, minimised: bool) -> None:
    found = killed(folder, plan="in turn", calls=["WRITES"], minimised=minimised)
    assert sum(found["kills"].values()) >= 300
    assert {"after pwrite64", "after fdatasync"} <= set(found["kills"])


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=10)
def test_killed_while_the_study_is_made(folder: Path) -> None:
    found = killed(folder, plan="creation", calls=["SYNCS"])
    assert sum(found["kills"].values()) >= 30
