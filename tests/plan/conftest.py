"""Fixtures for plans: the stroke trial's design, its plan with one thing changed, a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trialkit._clock import SimulatedClock
from trialkit._content import content_folder
from trialkit.protocol import load_protocol
from trialkit.record.sign import KeyStore
from trialkit.study import Study
from trialkit.study.design import Design

PROTOCOLS = [
    content_folder("protocols") / f"stroke-{arm}.yaml" for arm in ("robotic", "conventional")
]
PLAN = content_folder("analyses") / "stroke-robotic-vs-conventional.sap.yaml"


@pytest.fixture(scope="session")
def design() -> Design:
    return Design.from_protocols({path: load_protocol(path) for path in PROTOCOLS})


@pytest.fixture
def changed_plan(tmp_path: Path) -> Callable[..., Path]:
    """Write the shipped plan with pieces of text replaced, each of which must be there."""

    def change(*pairs: tuple[str, str]) -> Path:
        text = PLAN.read_text(encoding="utf-8")
        for old, new in pairs:
            assert old in text, f"{old!r} is not in the plan"
            text = text.replace(old, new, 1)
        path = tmp_path / PLAN.name
        path.write_text(text, encoding="utf-8")
        return path

    return change


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """A study with a plan and people, opened by its owner."""
    made = Study.create(
        tmp_path / "study",
        protocols=PROTOCOLS,
        plan=PLAN,
        actor="olga",
        clock=SimulatedClock(datetime(2026, 3, 2, 8, tzinfo=UTC)),
        keys=KeyStore(tmp_path / "keys"),
        seed=1,
    )
    with made:
        made.add_user("stan", role="statistician", name="Stan Abel")
        made.add_user("iris", role="investigator", name="Iris Bell")
        made.add_user("cora", role="coordinator", name="Cora Dell")
        made.add_user("ada", role="assessor", name="Ada Eck")
        yield made
