from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.adaptation import learn, learning_factor
from trialkit.errors import UsageError

POINTS = 100
TARGET = 0.3 * np.cos(2 * np.pi * np.arange(POINTS) / POINTS) + 0.1
ORDER = np.arange(POINTS // 2 + 1)


def leg(delay: float, stiffness: float = 60.0) -> np.ndarray:
    """Response of a leg that follows late and less at higher harmonics, rad per N.m."""
    return np.exp(-2j * np.pi * ORDER * delay) / (stiffness * (1.0 + 0.15 * ORDER))


def after_strides(plant: np.ndarray, n: int, **options: float) -> list[float]:
    torque, sizes = np.zeros(POINTS), []
    for _ in range(n):
        angle = np.fft.irfft(np.fft.rfft(torque) * plant, n=POINTS)
        error = TARGET - angle
        sizes.append(float(np.sqrt((error**2).mean())))
        torque = learn(torque, error, **options)
    return sizes


def test_converges_where_the_condition_holds() -> None:
    plant = leg(delay=0.06)
    options = {"gain": 40.0, "lead": 0.06, "forget": 0.98}
    assert learning_factor(plant, **options) < 1
    sizes = after_strides(plant, 60, **options)
    assert sizes[-1] < 0.1 * sizes[0]
    assert np.all(np.diff(sizes) < 1e-9)


def test_diverges_where_it_does_not() -> None:
    plant = leg(delay=0.06)
    options = {"gain": 150.0, "lead": 0.0, "forget": 0.98}
    assert learning_factor(plant, **options) > 1
    sizes = after_strides(plant, 60, **options)
    assert sizes[-1] > 100 * sizes[0]


@given(st.floats(1, 100), st.floats(0, 0.15), st.floats(0.5, 0.99), st.integers(1, 10))
def test_the_factor_bounds_every_step(g: float, lead: float, forget: float, top: int) -> None:
    """Two torques come nearer to each other by at least the factor: a contraction."""
    plant = leg(delay=0.05)
    factor = learning_factor(plant, gain=g, lead=lead, forget=forget, harmonics=top)
    rng = np.random.default_rng(top)
    gap = rng.normal(size=POINTS)
    low = np.fft.irfft(np.where(top < ORDER, 0, np.fft.rfft(gap)), n=POINTS)
    moved = learn(
        low, -np.fft.irfft(np.fft.rfft(low) * plant, n=POINTS),
        gain=g, lead=lead, forget=forget, harmonics=top,
    )  # fmt: skip
    assert np.linalg.norm(moved) <= factor * np.linalg.norm(low) * (1 + 1e-9)


def test_without_error_the_torque_fades() -> None:
    torque = np.cos(2 * np.pi * np.arange(POINTS) / POINTS)
    assert np.allclose(learn(torque, np.zeros(POINTS), gain=5, lead=0.1, forget=0.9), 0.9 * torque)


def test_high_harmonics_are_never_learnt() -> None:
    error = np.cos(2 * np.pi * 20 * np.arange(POINTS) / POINTS)
    assert np.allclose(learn(np.zeros(POINTS), error, gain=5, lead=0.1, harmonics=8), 0.0)


def test_lead_reads_ahead() -> None:
    error = np.exp(-(((np.arange(POINTS) - 60) / 8.0) ** 2))
    torque = learn(np.zeros(POINTS), error, gain=1, lead=0.1, forget=1.0, harmonics=20)
    assert int(np.argmax(torque)) == 50


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError):
        learn(np.zeros(10), np.zeros(11), gain=1, lead=0)
    with pytest.raises(UsageError):
        learn(np.zeros(10), np.zeros(10), gain=1, lead=0, harmonics=6)
    with pytest.raises(UsageError):
        learning_factor(np.ones(3), gain=1, lead=0, harmonics=8)
