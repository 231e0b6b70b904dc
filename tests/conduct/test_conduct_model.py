"""Conduct against a plain model: what is refused, what is the case, and what a crash leaves.

20,000 commands and more on SQLite, 2,000 on PostgreSQL, in the slow tier; `conduct_machine` says
how. Each test begins from a seed of its own and does the same in every run.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from conduct_machine import Machine
from conduct_study import write_study
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from pgserver import Server

#: What the commands of one test must have left at least once.
USUAL = {
    "command.refused", "participant.randomised", "assessment.recorded", "assessment.corrected",
    "assessment.entered_again", "assessment.adjudicated", "diary.returned", "diary.corrected",
    "ae.reported", "query.raised", "query.answered", "query.closed", "query.reopened",
    "unblinding.requested", "allocation.unblinded_one", "data.frozen", "data.locked",
    "data.unlocked", "signature.applied", "user.added", "user.login_failed", "clock.stepped",
}  # fmt: skip


def run(machine: type[Machine], number: int, examples: int, length: int) -> int:
    """Run a machine from a seed; print what it did and return how many commands it tried."""
    machine.steps, machine.kinds, machine.crashes = Counter(), Counter(), Counter()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=length,
        deadline=None,
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a hundred commands take minutes to shrink
    )
    run_state_machine_as_test(seed(number)(machine), settings=chosen)
    print(machine.steps.total(), dict(machine.crashes), dict(machine.kinds))
    return machine.steps.total()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: what a process leaves is the same on any disk."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="conduct-", dir=where) as made:
        yield Path(made)


def machine_of(folder: Path, minimised: bool) -> type[Machine]:
    """Return the machine with a study in SQLite."""

    class OnSqlite(Machine):
        template = write_study(folder / "template", minimised=minimised)

    OnSqlite.minimised = minimised
    return OnSqlite


def test_a_few_commands(folder: Path) -> None:
    machine = machine_of(folder, minimised=False)
    assert run(machine, 11, 3, 40) > 100
    assert machine.crashes


@pytest.mark.slow(seconds=75)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_five_thousand_commands(folder: Path, number: int) -> None:
    machine = machine_of(folder, minimised=number % 2 == 0)
    assert run(machine, number, 56, 90) >= 5000
    assert set(machine.kinds) >= USUAL
    assert len(machine.crashes) == 5


@pytest.mark.slow(seconds=60)
@pytest.mark.parametrize("minimised", [False, True])
def test_a_thousand_commands_on_postgresql(folder: Path, postgres: Server, minimised: bool) -> None:
    empty, number = postgres.database(), count(1)
    stem = empty.partition("?")[0].rpartition("/")[2]

    class OnPostgres(Machine):
        template = write_study(folder / "template", minimised=minimised, database=empty)

        @classmethod
        def database(cls, folder: Path) -> None:
            name = f"{stem}_{next(number)}"
            postgres.execute(f"CREATE DATABASE {name} TEMPLATE {stem}")
            toml = folder / "study.toml"
            toml.write_text(toml.read_text().replace(f"/{stem}?", f"/{name}?"))

    OnPostgres.minimised = minimised
    assert run(OnPostgres, 5 + minimised, 14, 80) >= 1000
    assert OnPostgres.crashes
