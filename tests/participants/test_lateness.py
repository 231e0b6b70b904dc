"""What is entered late needs a reason, and is flagged with its delay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from small_study import START, people, randomised, write_protocols

from trialkit import participants
from trialkit._clock import SimulatedClock
from trialkit.errors import OutOfWindow, UsageError
from trialkit.record import Event, KeyStore
from trialkit.study import Study

DOSE = {"minutes": 10, "moving_minutes": 9, "steps": 400}
Enter = Callable[..., Event]
#: Each is about study day 10; a later one is about something that an earlier one leaves possible.
ENTRIES: dict[str, Callable[[Study, str], tuple[Enter, dict[str, Any]]]] = {
    "visit.held": lambda s, w: (participants.hold_visit, {"visit": "W4", "day": 10}),
    "diary.returned": lambda s, w: (
        participants.return_diary, {"diary": "FALL", "from_day": 0, "to_day": 10},
    ),
    "session.missed": lambda s, w: (
        participants.miss_session, {"number": 1, "day": 10, "code": "ILLNESS"},
    ),
    "session.conventional": lambda s, w: (
        participants.log_conventional, {"number": 1, "day": 10, "dose": DOSE},
    ),
    "deviation.raised": lambda s, w: (
        participants.raise_deviation, {"category": "visit", "detail": "came ill", "day": 10},
    ),
    "ae.reported": lambda s, w: (
        participants.report_ae,
        {"term": "sore", "category": "pain", "day": 4, "severity": "mild",
         "aware_at": (START + timedelta(days=10)).date().isoformat()},
    ),
    "participant.training_discontinued": lambda s, w: (
        participants.discontinue_training, {"day": 10, "code": "MOVED"},
    ),
    "participant.withdrawn": lambda s, w: (participants.withdraw, {"day": 10, "code": "MOVED"}),
}  # fmt: skip
#: A reason may be given for these also when they are in time.
OTHERS = {"visit.held", "ae.reported"}


def waited(study: Study, days: int) -> None:
    clock = study.clock
    assert isinstance(clock, SimulatedClock)
    clock.move_to(START + timedelta(days=days))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """A study where three days may pass; its clock stands at day 0."""
    files = write_protocols(tmp_path)
    for path in files:
        text = path.read_text()
        text = text.replace("  title: A small trial\n", "  title: A small\n  late_entry_days: 3\n")
        path.write_text(
            text.replace("day: 28, window_days: [-7, 7]", "day: 28, window_days: [-27, 7]")
        )
    with Study.create(
        tmp_path / "study", protocols=files, actor="olga", clock=SimulatedClock(START),
        keys=KeyStore(tmp_path / "keys"), seed=1,
    ) as made:  # fmt: skip
        people(made)
        yield made


def in_training(study: Study) -> str:
    while True:
        who = randomised(study)
        if study.arm_of(who) == "CONVENTIONAL":
            return who


@pytest.mark.requirement("R19")
@pytest.mark.parametrize("kind", ENTRIES)
def test_a_late_entry_needs_a_reason_and_is_flagged(study: Study, kind: str) -> None:
    who = in_training(study)
    waited(study, 14)
    enter, given = ENTRIES[kind](study, who)
    before = study.state.seq
    for reason in ({}, {"reason": " "}):
        with pytest.raises(OutOfWindow, match=r"4 days after .* more than 3 is late") as caught:
            enter(study, who, **given, **reason)
        assert caught.value.details["delay_days"] == 4
    assert study.state.seq == before
    enter(study, who, **given, reason="the paper came late")
    (event,) = [e for e in study.record.read(after=before) if e.kind == kind]
    assert (event.payload["late"], event.payload["delay_days"]) == (True, 4)
    assert event.reason == "the paper came late"


@pytest.mark.requirement("R19")
@pytest.mark.parametrize("kind", ENTRIES)
def test_in_time_it_is_not_flagged_and_has_no_reason(study: Study, kind: str) -> None:
    who = in_training(study)
    waited(study, 13)
    enter, given = ENTRIES[kind](study, who)
    if kind not in OTHERS:
        with pytest.raises(UsageError, match="neither"):
            enter(study, who, **given, reason="as I like")
    before = study.state.seq
    enter(study, who, **given)
    (event,) = [e for e in study.record.read(after=before) if e.kind == kind]
    assert (event.payload["late"], event.payload["delay_days"]) == (False, 3)


def test_a_diary_counts_from_its_return(study: Study) -> None:
    who = in_training(study)
    waited(study, 14)
    back = (START + timedelta(days=13)).date().isoformat()
    given = {"diary": "FALL", "from_day": 0, "to_day": 10}
    for wrong in ("tomorrow", "2027-01-01"):
        with pytest.raises(UsageError):
            participants.return_diary(study, who, **given, returned_on=wrong)
    event = participants.return_diary(study, who, **given, returned_on=back)
    assert (event.payload["late"], event.payload["delay_days"]) == (False, 1)
    assert event.payload["returned_on"] == back


def test_nothing_is_late_without_a_limit_or_a_day(study: Study) -> None:
    who = in_training(study)
    waited(study, 30)
    event = participants.raise_deviation(study, who, category="visit", detail="came ill")
    assert (event.payload["late"], event.payload["delay_days"]) == (False, None)
    event = participants.hold_visit(study, who, "W4", day=31)  # ahead
    assert (event.payload["late"], event.payload["delay_days"]) == (False, None)
    study.design = study.design.model_copy(update={"late_entry_days": None})
    waited(study, 60)
    event = participants.hold_visit(study, who, "W8", day=50)
    assert not event.payload["late"]


def test_the_flag_of_an_adverse_event_stays(study: Study) -> None:
    who = in_training(study)
    enter, given = ENTRIES["ae.reported"](study, who)
    given.pop("aware_at")
    ae = enter(study, who, **given).payload["ae"]
    with pytest.raises(UsageError, match="the delay of its entry stay"):
        participants.update_ae(study, who, ae, changes={"late": True, "delay_days": 9}, reason="no")
