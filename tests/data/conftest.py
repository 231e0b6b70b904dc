"""A small stroke trial that entered through the participants' calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_trial import new_study, person, train, walk

from trialkit import participants
from trialkit.study import Study


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Study]:
    """A study for tests that change it; see `enter`."""
    with enter(tmp_path) as study:
        yield study


@pytest.fixture(scope="session")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study for tests that only read it."""
    with enter(tmp_path_factory.mktemp("trial")) as study:
        yield study


def enter(folder: Path) -> Study:
    """Four randomised people, one excluded; follow-up differs from person to person."""
    study = new_study(folder)
    cora, asa, thea = (study.as_user(user) for user in ("cora", "asa", "thea"))
    people = [person(study, "01", 20.0 + i) for i in range(4)]
    failed = str(participants.enrol(cora, site="02", attributes={"age_years": 80}).subject)
    participants.exclude(cora, failed, code="no_walking")
    first, second, third, fourth = people
    for who in people:
        train(thea, who, 1, 2)
        participants.miss_session(thea, who, number=2, day=4, code="transport")
    for who, seconds in ((first, 15.0), (second, 16.0)):
        participants.hold_visit(cora, who, "W4", day=30)
        participants.assess(asa, who, visit="W4", instrument="10MWT", items=walk(seconds))
    participants.assess(asa, first, visit="W4", instrument="TUG", status="unable")
    participants.assess(asa, second, visit="W4", instrument="BBS", status="not_done", code="tired")
    participants.miss_visit(cora, third, "W4", code="ill")
    participants.return_diary(
        cora, first, diary="FALL", from_day=0, to_day=27,
        entries=[{"day": 0, "grade": 2}, {"day": 9, "grade": 3}, {"day": 9, "grade": 2}],
    )  # fmt: skip
    participants.return_diary(cora, first, diary="FALL", from_day=40, to_day=60, entries=[])
    participants.return_diary(
        cora, second, diary="FALL", from_day=0, to_day=27, entries=[{"day": 27, "grade": 2}]
    )
    participants.return_diary(cora, third, diary="FALL", from_day=5, to_day=27, entries=[])
    participants.report_ae(
        cora, first, term="skin redness", category="skin", day=3, severity="mild",
        related_device=True, outcome="recovered",
    )  # fmt: skip
    participants.discontinue_training(cora, second, day=20, code="too_far")
    participants.withdraw(cora, fourth, day=33, code="consent_withdrawn")
    return study
