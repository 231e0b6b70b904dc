from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.participants import consent, enrol
from trialkit.protocol import Protocol, load_protocol
from trialkit.record.sign import KeyStore
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
SHORTER = 30.0


def short_protocol(folder: Path, **changes: Any) -> Path:
    """The shipped single-arm protocol with blocks a thirtieth as long (68 s of device time)."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    for block in data["session"]["blocks"]:
        block["minutes"] = round(block["minutes"] / SHORTER, 4)
    for envelope in data["adaptation"]:
        envelope["min_interval_s"] = 1
    data["fidelity"]["min_moving_minutes"] = 0.5
    data.update(changes)
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.fixture
def protocol(tmp_path: Path) -> Protocol:
    return load_protocol(short_protocol(tmp_path))


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    made: list[Study] = []

    def make(*, real: bool = False, **changes: Any) -> Study:
        clock = None if real else SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
        study = Study.create(
            tmp_path / f"study-{len(made)}",
            protocols=[short_protocol(tmp_path, **changes)],
            actor="owner",
            clock=clock,
            keys=KeyStore(tmp_path / "keys"),
        )
        enrol(study, USUBJID, site="01")
        consent(study, USUBJID, version="1")
        made.append(study)
        return study

    yield make
    for study in made:
        study.close()


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    return make_study()


#: What the virtual patient does not know: a person is asked.
ASKED = ["dizziness", "chest_pain"]


def asking_session() -> dict[str, Any]:
    """The short session, with `ASKED` in the screening and after the warm-up."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    session: dict[str, Any] = data["session"]
    for block in session["blocks"]:
        block["minutes"] = round(block["minutes"] / SHORTER, 4)
    session["screening"] += ASKED
    session["blocks"][0]["prompts"] += ASKED
    return session
