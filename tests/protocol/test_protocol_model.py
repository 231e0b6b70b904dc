"""What a protocol says about a session: setpoints, minutes, strata, conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit._content import content_folder
from trialkit.protocol import load_protocol, parse_condition, protocol_hash
from trialkit.protocol.model import Protocol, Stratum

FOLDER = content_folder("protocols")


@pytest.fixture(scope="module")
def robotic() -> Protocol:
    return load_protocol(FOLDER / "stroke-robotic.yaml")


def test_the_course(robotic: Protocol) -> None:
    assert robotic.planned_sessions == 36
    assert robotic.planned_minutes == robotic.planned_device_minutes == 34
    assert robotic.planned_walking_minutes == 30
    assert [(v.code, v.day) for v in robotic.visits] == [
        ("BL", 0),
        ("W4", 28),
        ("W8", 56),
        ("W12", 84),
        ("W26", 182),
    ]
    assert load_protocol(FOLDER / "sci-robotic-30x5.yaml").planned_sessions == 40


def test_arms_are_matched_in_minutes(robotic: Protocol) -> None:
    conventional = load_protocol(FOLDER / "stroke-conventional.yaml")
    assert conventional.planned_minutes == robotic.planned_minutes
    assert conventional.planned_device_minutes == 0
    assert [a.minutes_per_session for a in conventional.alongside] == [
        a.minutes_per_session for a in robotic.alongside
    ]


def test_setpoints_of_the_first_session(robotic: Protocol) -> None:
    start = {"speed_m_s": 0.417, "support_fraction": 0.4, "guidance": 1.0}
    slow = start | {"speed_m_s": 0.333}
    still = start | {"speed_m_s": 0.0}
    assert robotic.setpoints() == [slow, start, still, start, still, start, slow]


def test_setpoints_follow_the_progression(robotic: Protocol) -> None:
    found = robotic.setpoints({"speed_m_s": 0.7, "support_fraction": 0.25})
    warm, walk, rest, *_, cool = found
    assert warm == {"speed_m_s": 0.333, "support_fraction": 0.4, "guidance": 1.0}
    assert walk == {"speed_m_s": 0.7, "support_fraction": 0.25, "guidance": 1.0}
    assert rest == {"speed_m_s": 0.0, "support_fraction": 0.25, "guidance": 1.0}
    assert cool == {"speed_m_s": 0.333, "support_fraction": 0.25, "guidance": 1.0}


def test_blocks_without_the_device_have_no_setpoints() -> None:
    assert load_protocol(FOLDER / "stroke-conventional.yaml").setpoints() == [{}] * 7


@pytest.mark.parametrize(
    ("speed", "band"),
    [(0.0, "slow"), (0.3999, "slow"), (0.4, "medium"), (0.7999, "medium"), (0.8, "fast")],
)
def test_a_value_on_a_cut_belongs_above(robotic: Protocol, speed: float, band: str) -> None:
    assert robotic.trial.randomisation is not None
    assert robotic.trial.randomisation.strata[0].level(speed) == band


def test_level_of_one_cut() -> None:
    stratum = Stratum(name="s", paramcd="X", cuts=[1.0], levels=["low", "high"])
    assert [stratum.level(v) for v in (-5, 1.0, 9)] == ["low", "high", "high"]


def test_hash_is_that_of_the_file(changed: Callable[..., Path]) -> None:
    path = changed()
    assert protocol_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    other = changed(("Task-specific", "Task specific"))
    assert protocol_hash(other) != hashlib.sha256(b"").hexdigest()
    assert load_protocol(other).why.startswith("Task specific")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("rpe <= 13", {"rpe": 13}, True),
        ("rpe<=13", {"rpe": 13.5}, False),
        ("trips == 0", {"trips": 0}, True),
        ("asymmetry > -0.2", {"asymmetry": 0.0}, True),
        ("rpe >= 16", {"pain": 3}, None),
        ("rpe < 13", {"rpe": 13}, False),
    ],
)
def test_conditions(text: str, values: dict[str, float], expected: bool | None) -> None:
    condition = parse_condition(text)
    assert condition is not None
    assert condition.holds(values) is expected


@pytest.mark.parametrize("text", ["", "rpe", "rpe =< 13", "rpe <= x", "13 >= rpe", "a <= 1; b"])
def test_what_is_no_condition(text: str) -> None:
    assert parse_condition(text) is None
