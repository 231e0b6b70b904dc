"""The body, the path of the joints, the torque law, strides and spasms, each by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from device_interface.mujoco.body import body_of
from device_interface.mujoco.reference import POINTS, STANCE, Reference, table
from device_interface.mujoco.spasm import SpasmWatch
from device_interface.mujoco.strides import StrideCounter
from device_interface.mujoco.torque import TorqueLaw
from device_interface.simulated.gait import stride_time_s

BODY = body_of(75.0, 1.75)


def test_segments_add_up_to_the_body() -> None:
    legs = sum(2 * s.mass_kg for s in (BODY.thigh, BODY.shank, BODY.foot))
    assert legs + BODY.torso.mass_kg == pytest.approx(75.0, rel=1e-9)
    assert BODY.hip_m == pytest.approx(0.53 * 1.75)


@pytest.mark.parametrize(("mass", "height"), [(29, 1.7), (201, 1.7), (70, 1.1), (70, 2.3)])
def test_a_body_outside_the_tables_is_refused(mass: float, height: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        body_of(mass, height)


def test_compiled_model_has_the_mass_of_body_and_orthosis() -> None:
    from device_interface.mujoco.model import compiled

    model, data = compiled(BODY)
    names = [model.body(i).name for i in range(model.nbody)]
    mass = {name: float(model.body(name).mass[0]) for name in names}
    links = [name for name in names if "link" in name]
    assert len(links) == 4
    person = sum(m for name, m in mass.items() if name not in (*links, "belt", "world"))
    assert person == pytest.approx(75.0, rel=1e-5)
    assert data.qpos.shape == (14,)


@pytest.mark.parametrize("speed", [0.3, 0.5, 0.85])
def test_the_foot_goes_back_with_the_belt_in_stance(speed: float) -> None:
    rows = table(BODY, speed)
    hip, knee, ankle = rows[:-1, 0], rows[:-1, 1], rows[:-1, 2]
    shank = hip - knee  # angle of the shank from the vertical, forward
    x = BODY.thigh.length_m * np.sin(hip) + BODY.shank.length_m * np.sin(shank)
    middle = slice(int(0.1 * POINTS), int(0.6 * STANCE * POINTS))
    rate = (x[middle][-1] - x[middle][0]) / ((middle.stop - middle.start - 1) / POINTS)
    assert rate / stride_time_s(speed) == pytest.approx(-speed, rel=0.03)
    pitch = hip - knee + ankle
    assert np.abs(pitch[middle]).max() < math.radians(2.0)


def test_the_path_is_plausible_and_stands_still_without_a_belt() -> None:
    degrees = np.degrees(table(BODY, 0.5))
    assert 5 <= degrees[:, 1].min() <= 12
    assert 55 <= degrees[:, 1].max() <= 66
    assert degrees[:, 0].min() < 0 < 25 < degrees[:, 0].max() < 40
    assert np.abs(table(BODY, 0.0)[:, 4:]).max() == 0.0


def test_the_right_leg_is_half_a_cycle_ahead() -> None:
    path = Reference(BODY, 1.0)
    here = path.at(np.array([0.2]), 0.5)[0].copy()
    there = path.at(np.array([0.7]), 0.5)[0]
    np.testing.assert_allclose(here[:3], there[3:6], atol=1e-9)
    np.testing.assert_allclose(here[6:8], there[8:10], atol=1e-9)


def law(dead_band: float = 0.05) -> TorqueLaw:
    one = np.ones(1)
    made = TorqueLaw(200.0 * one, 5.0 * one, dead_band * one, -1.0 * one, 2.0 * one)
    made.set_share(0.5 * one, 40.0 * one)
    return made


def torque(made: TorqueLaw, error: float, q: float = 0.0, rate: float = 0.0) -> float:
    out, at, still = np.zeros(1), np.array([q]), np.zeros(1)
    made.guard(at, still)
    made.torque(np.array([q + error]), np.array([rate]), at, still, out)
    return float(out[0])


def test_the_law_by_hand() -> None:
    assert torque(law(), 0.04) == 0.0
    assert torque(law(), 0.15) == pytest.approx(0.5 * 200 * 0.10)
    assert torque(law(), -0.15, rate=2.0) == pytest.approx(0.5 * (200 * -0.10 + 5 * 2.0))
    assert torque(law(), 3.0) == 40.0
    assert torque(law(), -3.0) == -40.0


def test_past_a_limit_torque_is_inward_only() -> None:
    assert torque(law(), 1.0, q=2.01) == 0.0
    assert torque(law(), -1.0, q=2.01) == -40.0
    assert torque(law(), -1.0, q=-1.01) == 0.0
    assert torque(law(), 1.0, q=-1.01) == 40.0


def test_strides_of_two_feet_made_by_hand() -> None:
    n = 5000
    t = np.arange(n)
    phase = np.stack([(t % 1000) / 1000, ((t + 500) % 1000) / 1000], axis=1)
    force = np.where(phase < 0.6, 400.0, 0.0)
    force[1003:1008, 0] = 0.0  # neither a bounce of 5 ms
    force[3400:3480, 0] = 0.0  # nor one of 80 ms is a step
    swing = np.clip((phase - 0.6) / 0.4, 0, 1)
    height = 0.03 * np.sin(np.pi * swing)
    place = np.where(phase < 0.6, 0.2 - 0.5 * phase, -0.1 + 0.3 * swing)
    counter, found = StrideCounter(), []
    for begin in range(0, n, 10):
        rows = slice(begin, begin + 10)
        found += counter.feed(begin, force[rows], place[rows], height[rows])
    assert [s.end_ms for s in found][-2:] == [3000, 4000]
    last = found[-1]
    assert last.time_s == 1.0
    assert last.stance_l == pytest.approx(0.6, abs=0.002)
    assert last.stance_r == pytest.approx(0.6, abs=0.002)
    assert last.step_l_m == pytest.approx(0.25, abs=0.05)
    assert last.clearance_m == pytest.approx(0.03 * math.sin(math.pi / 4), abs=0.004)


def feed_strides(watch: SpasmWatch, n: int, extra: dict[int, float]) -> list[int]:
    found = []
    for row in range(n):
        phase = (row % 100) / 100
        knee = 30.0 * math.sin(2 * math.pi * phase) + extra.get(row, 0.0)
        if watch.feed(phase, knee, -knee, moving=True, steady=True):
            found.append(row)
    return found


def test_a_torque_unlike_the_last_stride_is_a_spasm() -> None:
    assert feed_strides(SpasmWatch(), 500, {}) == []
    spasm = {row: -40.0 for row in range(430, 440)}
    assert feed_strides(SpasmWatch(), 500, spasm)[0] == 431
    assert feed_strides(SpasmWatch(), 500, {430: -40.0}) == []
