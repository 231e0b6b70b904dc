"""Planned dose by minutes, moving minutes, steps and distance; donning apart."""

from __future__ import annotations

from math import sqrt

import pytest

from trialkit._content import find_content
from trialkit.protocol import load_protocol
from trialkit.session.dose import planned_dose


def test_the_four_measures_of_the_shipped_robotic_arm() -> None:
    planned = planned_dose(load_protocol(find_content("protocols", "stroke-robotic")))
    slow, level = 4 + 3, 8 + 8 + 7  # minutes of warm-up and cool-down at 0.333, walks at 0.417 m/s
    assert planned.minutes == 34
    assert planned.moving_minutes == slow + level == 30
    assert planned.distance_m == pytest.approx(60 * (slow * 0.333 + level * 0.417), abs=0.06)
    steps = slow * sqrt(60 * 0.333 / 0.0065) + level * sqrt(60 * 0.417 / 0.0065)
    assert planned.steps == round(steps)
    assert planned.donning_minutes == (5, 15)
    assert planned.doffing_minutes == (2, 10)


def test_step_length_and_cadence_make_up_the_speed() -> None:
    protocol = load_protocol(find_content("protocols", "stroke-robotic"))
    planned = planned_dose(protocol, {"speed_m_s": 0.333}, walk_ratio_m_min=0.005)
    assert planned.steps is not None
    assert planned.distance_m is not None
    cadence = planned.steps / planned.moving_minutes
    step_m = planned.distance_m / planned.steps
    assert step_m / cadence == pytest.approx(0.005, rel=1e-3)  # all blocks at one speed


def test_levels_of_the_progression_raise_the_planned_distance() -> None:
    protocol = load_protocol(find_content("protocols", "stroke-robotic"))
    later = planned_dose(protocol, {"speed_m_s": 0.833}).distance_m or 0
    assert later - (planned_dose(protocol).distance_m or 0) == pytest.approx(
        60 * 30 * (0.833 - 0.417) - 60 * 7 * (0.833 - 0.417), abs=0.2
    )


def test_without_a_device_steps_and_distance_are_not_known() -> None:
    planned = planned_dose(load_protocol(find_content("protocols", "stroke-conventional")))
    assert (planned.minutes, planned.moving_minutes) == (34, 30)
    assert (planned.steps, planned.distance_m) == (None, None)
    assert planned.donning_minutes is None
