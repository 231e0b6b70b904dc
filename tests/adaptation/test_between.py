from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.adaptation import (
    adaptive_support,
    endpoint_to_joints,
    forgetting_factor,
    phase_stiffness,
    steady_support,
)
from trialkit.errors import UsageError

forgets = st.floats(0, 0.97)
errors = st.floats(0, 0.5)


@given(errors, forgets, st.floats(0, 20), st.floats(0, 5))
def test_settles_at_the_steady_value(error: float, f: float, g: float, begin: float) -> None:
    value = begin
    for _ in range(1500):
        value = forgetting_factor(value, error, forget=f, gain=g)
    assert value == pytest.approx(steady_support(error, forget=f, gain=g), rel=1e-9, abs=1e-12)


@given(st.lists(errors, min_size=1, max_size=40), forgets, st.floats(0, 20))
def test_stays_within_the_steady_value_of_the_worst_error(
    every: list[float], f: float, g: float
) -> None:
    value = 0.0
    for error in every:
        value = forgetting_factor(value, error, forget=f, gain=g)
        assert 0 <= value <= steady_support(max(every), forget=f, gain=g) * (1 + 1e-9)


@given(st.floats(0, 5), forgets, st.floats(0, 20))
def test_without_error_support_only_fades(value: float, f: float, g: float) -> None:
    assert forgetting_factor(value, 0.0, forget=f, gain=g) <= value


@given(errors, forgets, st.floats(0, 20))
def test_the_unit_of_the_error_does_not_matter(error: float, f: float, g: float) -> None:
    c = 180 / np.pi
    here = forgetting_factor(0.3, error, forget=f, gain=g)
    assert forgetting_factor(0.3, c * error, forget=f, gain=g / c) == pytest.approx(here)


def test_a_robot_that_forgets_faster_hands_the_work_back() -> None:
    """Emken's point: against a learner who forgets by 0.95, f = 0.8 leaves less to the robot."""

    def left_to_robot(f_robot: float) -> float:
        robot = human = 0.0
        for _ in range(2000):
            error = 1.0 - robot - human
            robot = forgetting_factor(robot, error, forget=f_robot, gain=0.2)
            human = 0.95 * human + 0.2 * error
        return robot

    assert left_to_robot(0.8) < 0.25 < left_to_robot(0.99)


def test_nothing_settles_without_forgetting() -> None:
    with pytest.raises(UsageError, match="forget"):
        steady_support(0.1, forget=1.0, gain=1.0)


bins = st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=5, max_size=10)


@given(bins, forgets, st.floats(0, 1e4))
def test_stiffness_per_phase(gap: list[tuple[float, float]], f: float, g: float) -> None:
    start = np.full(len(gap), 100.0)
    k, direction = phase_stiffness(start, gap, forget=f, gain=g, maximum=500.0)
    size = np.sqrt((np.array(gap) ** 2).sum(axis=1))
    assert np.allclose(k, np.clip(f * start + g * size, 0, 500))
    assert k.min() >= 0
    assert k.max() <= 500
    length = np.sqrt((direction**2).sum(axis=1))
    assert np.allclose(length[size > 1e-12], 1.0)
    assert np.allclose(direction * size[:, None], gap, atol=1e-12)


def test_bins_do_not_touch_each_other() -> None:
    gap = np.zeros((6, 2))
    gap[2] = (0.0, 0.03)
    k, direction = phase_stiffness(np.full(6, 200.0), gap, forget=0.9, gain=2000.0, maximum=1e4)
    assert np.allclose(np.delete(k, 2), 180.0)
    assert k[2] == pytest.approx(240.0)
    assert np.array_equal(direction[2], [0.0, 1.0])


@given(st.floats(0, 1000), st.floats(0, 6.3), st.integers(0, 99))
def test_joint_stiffness_resists_along_the_error_only(k: float, turn: float, seed: int) -> None:
    jacobian = np.random.default_rng(seed).normal(0, 0.5, (2, 2))
    u = np.array([np.cos(turn), np.sin(turn)])
    joints = endpoint_to_joints(k, u, jacobian)
    assert np.allclose(joints, joints.T)
    assert np.linalg.eigvalsh(joints).min() >= -1e-9 * (1 + k)
    across = np.array([-u[1], u[0]])
    motion = np.linalg.lstsq(jacobian, across, rcond=None)[0]
    if np.allclose(jacobian @ motion, across):
        assert np.allclose(joints @ motion, 0.0, atol=1e-6 * (1 + k) * (1 + abs(motion).max()))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_support_moves_toward_the_band(support: float, share: float, gain: float) -> None:
    moved = adaptive_support(support, share, target_low=0.4, target_high=0.5, gain=gain) - support
    if share < 0.4:
        assert moved >= 0
    elif share > 0.5:
        assert moved <= 0
    else:
        assert moved == 0.0
    assert abs(moved) <= gain


def test_support_brings_the_load_into_the_band() -> None:
    """A leg that carries more of what is left the more it is unloaded."""
    support = 0.2
    for _ in range(400):
        share = 0.25 + 0.4 * support
        support = adaptive_support(support, share, target_low=0.4, target_high=0.5, gain=0.1)
    assert 0.25 + 0.4 * support == pytest.approx(0.4, abs=0.005)
