"""Deviations that a session raises by itself, and the sessions that raise none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from trialkit.protocol import Protocol
from trialkit.record.kinds import (
    Dose,
    Payload,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session.deviations import CATEGORIES, find_deviations, reached, reached_after
from trialkit.session.machine import start
from trialkit.session.program import Course, Program, make_course

BEGUN = SessionTransition(session="X", t_s=0, old="ready", new="running", cause="begin")


@pytest.fixture
def course(protocol: Protocol) -> Course:
    return make_course(protocol)


def answers(course: Course, **around: float) -> list[Payload]:
    """Every sign of the screening and the blocks, entered."""
    minutes = {"donning_minutes": 9.0, "donning_staff": 2.0, "doffing_minutes": 4.0} | around
    asked = [("screening", course.protocol.session.screening)]
    asked += [(block.id, block.prompts) for block in course.protocol.session.blocks]
    return [
        BEGUN,
        *(
            SessionPrompt(
                session="X", t_s=0, prompt=block, values={s: minutes.get(s, 0.0) for s in signs}
            )
            for block, signs in asked
        ),
    ]


def whole(course: Course) -> dict[str, float]:
    return {block.id: block.seconds for block in course.blocks if block.on_device}


def raised(
    course: Course,
    events: Sequence[Payload] | None = None,
    done: Mapping[str, float] | None = None,
    moving: float = 1.0,
) -> dict[str, str]:
    found = find_deviations(
        course,
        answers(course) if events is None else events,
        Dose(minutes=1.1, moving_minutes=moving, steps=100),
        whole(course) if done is None else done,
        session="X",
        day=3,
    )
    assert all(d.session == "X" and d.day == 3 for d in found)
    assert {d.category for d in found} <= set(CATEGORIES)
    return {d.category: d.detail for d in found}


def test_a_session_as_planned_raises_nothing(course: Course) -> None:
    assert raised(course) == {}


def test_a_session_that_never_began_followed_its_protocol(course: Course) -> None:
    assert raised(course, [], {}, moving=0.0) == {}


def test_blocks_left_out_and_shortened_are_named(course: Course) -> None:
    done = whole(course)
    done["walk-2"] *= 0.5
    for block in ("rest-2", "walk-3", "cool-down"):
        done[block] = 0.0
    found = raised(course, done=done)
    assert found["block_shortened"] == "walk-2 0.1 of 0.2667 min"
    assert found["block_omitted"].startswith("walk-3 0.0 of ")
    assert "cool-down" in found["block_omitted"]
    assert "rest_skipped" not in found  # no training came after it
    assert "prompt_unanswered" not in found


@pytest.mark.parametrize(("share", "told"), [(0.91, False), (0.89, True)])
def test_the_tolerance_is_the_protocols(course: Course, share: float, told: bool) -> None:
    done = whole(course)
    done["walk-1"] *= share
    assert ("block_shortened" in raised(course, done=done)) is told


def test_a_rest_that_was_skipped_while_training_went_on(course: Course) -> None:
    found = raised(course, done={**whole(course), "rest-1": 0.0})
    assert list(found) == ["rest_skipped"]
    assert found["rest_skipped"].startswith("rest-1")


def test_too_few_minutes_of_moving(course: Course) -> None:
    assert raised(course, moving=0.4) == {"moving_minutes_low": "0.4 min of moving, 0.5 asked"}
    assert raised(course, moving=0.5) == {}


def test_signs_that_were_not_entered_are_named_by_block(course: Course) -> None:
    events = [
        p.model_copy(update={"values": {k: v for k, v in p.values.items() if k != "rpe"}})
        if isinstance(p, SessionPrompt) and p.prompt == "walk-1"
        else p
        for p in answers(course)
        if not (isinstance(p, SessionPrompt) and p.prompt == "rest-1")
    ]
    found = raised(course, events)
    assert list(found) == ["prompt_unanswered"]
    assert found["prompt_unanswered"].startswith("walk-1: rpe; rest-1: systolic_mmhg, ")


def test_a_setpoint_that_the_device_refused(course: Course) -> None:
    refused = SessionCommand(
        session="X", t_s=1, number=2, phase="refused", block="walk-1", setpoints={"speed_m_s": 0.6}
    )
    assert raised(course, [*answers(course), refused]) == {
        "setpoint_refused": "walk-1: speed_m_s 0.6"
    }


def moved(parameter: str, rule: str = "progression.advance", accepted: bool = True) -> Payload:
    return SessionAdapted(
        session="X", t_s=1, parameter=parameter, inputs={}, old=0, proposed=1,
        accepted=accepted, by="x", rule=rule,
    )  # fmt: skip


def test_more_changes_after_a_block_than_allowed(course: Course) -> None:
    events = answers(course)
    at = next(
        i for i, p in enumerate(events) if isinstance(p, SessionPrompt) and p.prompt == "walk-1"
    )
    one, two = moved("speed_m_s"), moved("guidance", "override")
    both = [*events[: at + 1], one, two, *events[at + 1 :]]
    assert raised(course, both) == {"order_broken": "after walk-1: guidance, speed_m_s"}
    other = events.index(next(p for p in events[at + 2 :] if getattr(p, "prompt", "") == "walk-2"))
    apart = [*events[: at + 1], one, *events[at + 1 : other + 1], two, *events[other + 1 :]]
    assert raised(course, apart) == {}
    refused = [*events[: at + 1], one, moved("guidance", accepted=False), *events[at + 1 :]]
    assert raised(course, refused) == {}
    scheme = [*events[: at + 1], one, moved("guidance", "forgetting_factor"), *events[at + 1 :]]
    assert raised(course, scheme) == {}


@pytest.mark.parametrize(
    ("minutes", "detail"),
    [
        ({"donning_minutes": 25.0}, "donning_minutes 25, 5 to 15 planned"),
        ({"doffing_minutes": 1.0}, "doffing_minutes 1, 2 to 10 planned"),
    ],
)
def test_donning_beyond_its_range(course: Course, minutes: dict[str, float], detail: str) -> None:
    assert raised(course, answers(course, **minutes)) == {"donning_out_of_range": detail}


def test_fewer_people_than_the_protocol_asks_put_the_device_on(course: Course) -> None:
    assert course.protocol.staffing.donning_staff == 2
    assert raised(course, answers(course, donning_staff=1.0)) == {
        "donning_staff_low": "1 of 2 people"
    }
    assert raised(course, answers(course, donning_staff=3.0)) == {}


def test_overground_minutes_count_as_moving_and_as_the_block(protocol: Protocol) -> None:
    blocks = [b.model_copy() for b in protocol.session.blocks]
    over = blocks[1].model_copy(update={"id": "carry", "kind": "overground", "minutes": 5.0})
    session = protocol.session.model_copy(update={"blocks": [*blocks, over]})
    fidelity = protocol.fidelity.model_copy(update={"min_moving_minutes": 4.0})
    with_carry = make_course(protocol.model_copy(update={"session": session, "fidelity": fidelity}))

    def log(minutes: float) -> dict[str, str]:
        logged = SessionPrompt(session="X", t_s=1, prompt="carry", values={"minutes": minutes})
        return raised(with_carry, [*answers(with_carry), logged], whole(with_carry))

    assert log(5.0) == {}
    assert set(log(0.0)) == {"block_omitted", "moving_minutes_low"}
    assert log(3.5)["block_shortened"] == "carry 3.5 of 5 min"


def test_what_was_reached_by_the_machine_and_by_time_agree(course: Course) -> None:
    begun = start(Program(course, "X"))
    assert reached(begun) == {}
    first, second, third = course.blocks[:3]
    inside = dataclasses.replace(begun, block=1, left_s=second.seconds - 2.0)
    assert reached(inside) == pytest.approx({first.id: first.seconds, second.id: 2.0})
    by_time = reached_after(course, first.seconds + 2.0)
    assert {k: v for k, v in by_time.items() if v} == pytest.approx(reached(inside))
    assert by_time[third.id] == 0.0


def test_the_documents_list_every_category_with_its_meaning() -> None:
    page = Path(__file__).parents[2] / "docs" / "coordinator.md"
    section = page.read_text(encoding="utf-8").partition("## Deviations\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert dict(rows) == CATEGORIES
