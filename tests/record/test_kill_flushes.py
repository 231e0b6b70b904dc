"""A trial in PostgreSQL whose server is interrupted at every write and sync of a commit.

The process of the server that serves the trial is killed before the call, and after it; and the
whole server is stopped at once at the call. What the server writes at leisure, in checkpoints and
in its other processes, is not interrupted at each call. The server recovers by itself or is
started again; then the study is looked at and goes on, as in `test_kill_postgres`.
"""

from __future__ import annotations

from pathlib import Path

import conduct_steps
import pytest
import tracing
from pgserver import Server
from test_kill_sqlite import folder as folder
from test_kill_sqlite import killed

pytestmark = pytest.mark.skipif(not tracing.works(), reason="no process may be traced here")


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=25)
@pytest.mark.parametrize(("first", "end"), [(0, 14), (14, 28), (28, 41)])
@pytest.mark.parametrize("how", ["backend", "immediate"])
def test_interrupted_at_every_flush(
    folder: Path, postgres: Server, how: str, first: int, end: int
) -> None:
    """Every step of the trial, in three parts; the steps before a part are taken once."""
    assert len(conduct_steps.steps()) == 41
    steps = [first, end]
    found = killed(folder, program="flush_points.py", plan="conduct", how=how, steps=steps)
    calls = {f"{when} {call}" for when in ("before", "after") for call in ("pwrite64", "fdatasync")}
    if how == "immediate":  # the call that is under way is made before the process ends
        calls = {call for call in calls if call.startswith("after")}
    assert calls <= set(found["kills"])
    assert sum(found["kills"].values()) >= (50 if how == "backend" else 25)


@pytest.mark.requirement("R18")
@pytest.mark.slow(seconds=25)
def test_interrupted_while_the_study_is_made(folder: Path, postgres: Server) -> None:
    found = killed(folder, program="flush_points.py", plan="creation", how="backend")
    assert found["kills"]["backend"] >= 8
