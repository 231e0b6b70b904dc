from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.adaptation import dead_band, impedance_torque, path_control, tunnel_force
from trialkit.adaptation.path import nearest_in_window
from trialkit.errors import UsageError

angle = st.floats(-2, 2)
gain = st.floats(0, 500)
width = st.floats(0, 0.5)


@given(angle, width)
def test_dead_band_is_exactly_zero_inside_and_odd(error: float, half: float) -> None:
    shrunk = float(dead_band(error, half))
    if abs(error) <= half:
        assert shrunk == 0.0
    else:
        assert np.sign(shrunk) == np.sign(error)
        assert abs(shrunk) == pytest.approx(abs(error) - half)
    assert shrunk == -float(dead_band(-error, half))


@given(angle, angle, st.floats(0, 1), gain, width)
def test_torque_helps_toward_the_reference(
    q: float, ref: float, guidance: float, k: float, half: float
) -> None:
    torque = float(
        impedance_torque(q, ref, 0, 0, guidance=guidance, stiffness=k, damping=0, width=half)
    )
    assert torque * (ref - q) >= 0
    assert abs(torque) <= guidance * k * abs(ref - q) + 1e-9
    if abs(ref - q) <= half or guidance == 0:
        assert torque == 0.0


@given(angle, st.lists(st.floats(0, 2), min_size=2, max_size=8), gain, width)
def test_torque_grows_with_distance(ref: float, away: list[float], k: float, half: float) -> None:
    q = ref - np.sort(away)
    torque = impedance_torque(q, ref, 0, 0, guidance=1, stiffness=k, damping=0, width=half)
    assert np.all(np.diff(torque) >= -1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1), gain, st.floats(0, 20), width)
def test_a_reference_at_rest_gives_no_energy(
    seed: int, guidance: float, k: float, b: float, half: float
) -> None:
    """Over a closed path the impedance takes energy: spring gives back, damper takes."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 2 * np.pi, 2001)
    size, turn = rng.normal(0, 0.3, 3), rng.uniform(0, 6.3, 3)
    order = np.arange(1, 4)[:, None]
    q = (size[:, None] * np.sin(order * time + turn[:, None])).sum(axis=0)
    v = (size[:, None] * order * np.cos(order * time + turn[:, None])).sum(axis=0)
    torque = impedance_torque(q, 0.1, v, 0, guidance=guidance, stiffness=k, damping=b, width=half)
    work = np.trapezoid(torque * v, time)
    assert work <= 1e-5 * (1 + k)


@given(angle, angle, angle, angle, st.floats(0, 1), gain, st.floats(0, 20), width)
def test_degrees_and_radians_agree(
    q: float, ref: float, v: float, v_ref: float, s: float, k: float, b: float, half: float
) -> None:
    c = 180 / np.pi
    rad = impedance_torque(q, ref, v, v_ref, guidance=s, stiffness=k, damping=b, width=half)
    deg = impedance_torque(
        c * q, c * ref, c * v, c * v_ref,
        guidance=s, stiffness=k / c, damping=b / c, width=c * half,
    )  # fmt: skip
    assert float(deg) == pytest.approx(float(rad), rel=1e-9, abs=1e-9)


point = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))


@given(point, st.floats(0.01, 0.05), st.floats(0, 5000), st.floats(0, 200), st.floats(0, 50))
def test_tunnel(at: tuple[float, float], radius: float, k: float, most: float, push: float) -> None:
    """Free inside but for the push, toward the path outside, bounded everywhere."""
    position = np.array(at)
    force = tunnel_force(
        position, [0, 0], [2, 0], radius=radius, stiffness=k, max_normal=most, push=push
    )
    distance = np.sqrt(position @ position)
    if distance <= radius:
        assert force[1] == 0.0
        assert 0 <= force[0] <= push
        assert force[0] == pytest.approx(push * (1 - distance / radius))
    else:
        assert force @ position <= 0
        assert np.hypot(*force) <= most * (1 + 1e-9)


def test_tunnel_is_continuous_and_steep() -> None:
    d = np.linspace(0.0, 0.1, 1001)
    normal = [
        -tunnel_force([0, y], [0, 0], [1, 0], radius=0.03, stiffness=3000, max_normal=150)[1]
        for y in d
    ]
    assert np.all(np.diff(normal) >= 0)
    assert np.diff(normal).max() < 0.8  # 2 K (d - D) / D where the cap begins, over 0.1 mm
    assert normal[299] == 0.0
    # 5 mm and 10 mm past the radius: four times the force, not twice
    assert normal[400] / normal[350] == pytest.approx(4, rel=0.01)


def test_tunnel_damps() -> None:
    force = tunnel_force(
        [0, 0.01], [0, 0], [1, 0], radius=0.03, stiffness=0, max_normal=0, velocity=[0.5, -0.2],
        damping=10,
    )  # fmt: skip
    assert force == pytest.approx([-5.0, 2.0])


PHASE = np.arange(100) / 100
PATH = np.column_stack([0.5 * np.cos(2 * np.pi * PHASE), 0.6 + 0.6 * np.sin(2 * np.pi * PHASE)])


@given(st.integers(0, 99), st.integers(-8, 8))
def test_on_the_path_within_the_window_nothing_is_asked(row: int, lag: int) -> None:
    """The leg may be early or late by the window without any torque."""
    done = path_control(
        PATH[row], PATH, ((row + lag) % 100) / 100, window=0.081, stiffness=200, width=0.05
    )
    assert np.all(done.torque == 0.0)
    assert done.phase == row / 100


def test_outside_the_window_the_leg_is_pulled_along() -> None:
    done = path_control(PATH[10], PATH, 0.25, window=0.05, stiffness=200, width=0.0)
    assert done.phase == pytest.approx(0.20)
    assert done.torque @ (PATH[20] - PATH[10]) > 0


@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), st.floats(0, 1), st.floats(0, 0.3))
def test_path_torque_is_bounded_and_toward_the_path(
    off: tuple[float, float], phase: float, half: float
) -> None:
    q = PATH[round(phase * 99)] + np.array(off)
    done = path_control(q, PATH, phase, window=0.1, stiffness=100, width=half)
    away = done.reference - q
    assert done.torque @ away >= 0
    assert np.sqrt(done.torque @ done.torque) <= 100 * np.sqrt(away @ away) + 1e-9
    if np.sqrt(away @ away) <= half:
        assert np.all(done.torque == 0.0)


def test_support_torque_comes_at_the_leg_s_own_phase() -> None:
    feed = np.column_stack([np.sin(2 * np.pi * PHASE), np.zeros(100)])
    done = path_control(
        PATH[30], PATH, 0.25, window=0.1, stiffness=0, width=0, support=0.4, support_torque=feed
    )
    assert done.torque[0] == pytest.approx(0.4 * feed[30, 0])


def test_ties_take_the_nearest_phase() -> None:
    assert nearest_in_window([0.0], np.zeros((50, 1)), 0.5, 0.1) == 25
    assert nearest_in_window(PATH[99], PATH, 0.0, 0.05) == 99


@pytest.mark.parametrize(
    "options",
    [{"guidance": 1.1}, {"stiffness": -1.0}, {"damping": -1.0}, {"width": -0.1}],
    ids=str,
)
def test_impedance_refuses(options: dict[str, float]) -> None:
    given_ = {"guidance": 1.0, "stiffness": 1.0, "damping": 1.0, "width": 0.0, **options}
    with pytest.raises(UsageError):
        impedance_torque(0, 1, 0, 0, **given_)


def test_paths_and_radii_are_checked() -> None:
    with pytest.raises(UsageError):
        tunnel_force([0, 0], [0, 0], [1, 0], radius=0, stiffness=1, max_normal=1)
    with pytest.raises(UsageError):
        path_control([0, 0], PATH, 0.1, window=0.5, stiffness=1, width=0)
    with pytest.raises(UsageError):
        path_control([0, 0], PATH, 0.1, window=0.1, stiffness=1, width=0, support=2)
