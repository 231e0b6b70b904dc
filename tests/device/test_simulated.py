from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.errors import LimitRefused, StateRefused, TokenRefused
from device_interface.simulated import SimulatedGaitTrainer

S = DeviceState
WALK = {"speed_m_s": 0.5, "support_fraction": 0.4, "guidance": 0.8}


def connected(*, lockstep: bool = True, **options: Any) -> SimulatedGaitTrainer:
    device = SimulatedGaitTrainer(**options)
    device.connect(lockstep=lockstep)
    return device


def walking(**options: Any) -> tuple[SimulatedGaitTrainer, int]:
    device = connected(**options)
    token = device.arm()
    device.apply(Setpoints(WALK, {}, token))
    pass_time(device, 10)
    assert device.state is S.RUNNING
    return device, token


def pass_time(device: SimulatedGaitTrainer, seconds: float) -> list[Block]:
    blocks: list[Block] = []
    left = round(seconds * 1e9)
    while left > 0:
        passed, more = device.advance(min(left, 500_000_000))
        left -= max(passed, 1)
        blocks += more
    return blocks


def column(device: SimulatedGaitTrainer, blocks: list[Block], name: str) -> np.ndarray[Any, Any]:
    at = device.describe().streams[0].index(name)
    return np.concatenate([block.values[:, at] for block in blocks])


@pytest.mark.parametrize(
    ("values", "rates"),
    [
        ({"speed_m_s": 0.9}, {}),
        ({"speed_m_s": -0.01}, {}),
        ({"speed_m_s": math.nan}, {}),
        ({"speed_m_s": math.inf}, {}),
        ({"guidance": 1.01}, {}),
        ({"speed_km_h": 1.5}, {}),
        ({"speed_m_s": 0.3}, {"speed_m_s": 9.0}),
        ({"speed_m_s": 0.3}, {"speed_m_s": 0.0}),
        ({"speed_m_s": 0.3}, {"speed_m_s": math.nan}),
        ({"guidance": 0.5, "speed_m_s": 3.0}, {}),
    ],
)
def test_the_device_refuses_by_itself_and_does_not_change(
    values: dict[str, float], rates: dict[str, float]
) -> None:
    device, token = walking()
    with pytest.raises(LimitRefused):
        device.apply(Setpoints(values, rates, token))
    assert device.state is S.RUNNING
    blocks = pass_time(device, 5)
    assert np.allclose(column(device, blocks, "belt_speed_set_m_s"), 0.5)
    assert np.allclose(column(device, blocks, "guidance"), 0.8)


def test_order_is_enforced() -> None:
    device = SimulatedGaitTrainer()
    with pytest.raises(StateRefused):
        device.arm()
    device.connect(lockstep=True)
    with pytest.raises(StateRefused):
        device.connect(lockstep=True)
    with pytest.raises(StateRefused):
        device.apply(Setpoints(WALK, {}, 0))
    token = device.arm()
    with pytest.raises(StateRefused):
        device.arm()
    with pytest.raises(StateRefused):
        device.hold()
    with pytest.raises(StateRefused):
        device.resume()
    with pytest.raises(TokenRefused):
        device.apply(Setpoints(WALK, {}, token + 1))
    device.disarm()
    assert device.state is S.DISARMED
    again = device.arm()
    with pytest.raises(TokenRefused):
        device.apply(Setpoints(WALK, {}, token))
    device.apply(Setpoints(WALK, {}, again))


def test_an_uncalibrated_device_and_a_heavy_patient_keep_it_from_arming() -> None:
    for options in ({"calibrated_on": None}, {"weight_kg": 140.0}):
        device = connected(**options)
        assert device.preflight()
        with pytest.raises(StateRefused):
            device.arm()
        assert device.state is S.DISARMED


def test_settings_move_no_faster_than_asked() -> None:
    device = connected()
    device.apply(Setpoints(WALK, {"speed_m_s": 0.1, "support_fraction": 0.02}, device.arm()))
    blocks = pass_time(device, 30)
    for name, rate in (("belt_speed_set_m_s", 0.1), ("support_set_fraction", 0.02)):
        steps = np.diff(column(device, blocks, name).astype(float))
        assert steps.max() <= rate * 0.01 + 2e-4
        assert steps.max() > 0
    speed = column(device, blocks, "belt_speed_m_s")
    assert abs(speed[-500:].mean() - 0.5) < 0.002
    assert speed[:300].max() < 0.35  # the belt has inertia: it is not there at once


def test_rows_come_at_100_hz_without_gaps_and_inside_their_ranges() -> None:
    device, _ = walking()
    blocks = pass_time(device, 10)
    seq = np.concatenate([block.seq for block in blocks])
    t = np.concatenate([block.t_device_ns for block in blocks])
    assert len(seq) == 1000
    assert set(np.diff(seq)) == {1}
    assert set(np.diff(t)) == {10_000_000}
    for channel in device.describe().streams[0].channels:
        values = column(device, blocks, channel.name)
        assert values.min() >= channel.minimum - 1e-6, channel.name
        assert values.max() <= channel.maximum + 1e-6, channel.name


def test_flexion_is_positive_and_the_robot_pulls_back() -> None:
    device, _ = walking()
    blocks = pass_time(device, 20)
    knee = column(device, blocks, "knee_angle_l")
    assert math.radians(45) < knee.max() < math.radians(75)
    velocity = column(device, blocks, "knee_velocity_l")[1:]
    slope = np.diff(knee.astype(float)) / 0.01
    assert np.corrcoef(velocity, slope)[0, 1] > 0.9
    loads = column(device, blocks, "grf_vertical_l")
    assert loads.max() < 75 * 9.81 * 0.6 * 1.3  # 40 % of the weight hangs in the harness


@pytest.mark.parametrize("category", [0, 1, 2])
def test_stop_works_in_every_state_and_again(category: int) -> None:
    def states() -> list[SimulatedGaitTrainer]:
        armed = connected()
        armed.arm()
        held, _ = walking()
        held.hold()
        down, _ = walking()
        down.ramp_down()
        faulted, _ = walking(faults=[{"at_s": 10, "kind": "overload"}])
        pass_time(faulted, 1)
        estopped, _ = walking(faults=[{"at_s": 10, "kind": "estop"}])
        pass_time(estopped, 1)
        running, _ = walking()
        return [SimulatedGaitTrainer(), connected(), armed, running, held, down, faulted, estopped]

    for device in states():
        bound = device.describe().stop_within_s[category]
        before = device.state
        for _ in range(3):
            device.stop(category)  # type: ignore[arg-type]
        pass_time(device, bound)
        assert device.belt_speed_m_s <= 0.05, before
        assert device.state is not S.RUNNING
        if category != 2:
            assert device.state not in (S.RUNNING, S.HOLD, S.ARMED)


def test_a_power_off_removes_torque_at_once() -> None:
    device, _ = walking()
    device.stop(0)
    assert np.all(column(device, pass_time(device, 0.2), "guidance") == 0)


def test_hold_and_resume_start_from_rest_with_a_new_token() -> None:
    device, token = walking()
    device.hold()
    device.hold()
    with pytest.raises(StateRefused):
        device.resume()
    pass_time(device, 3)
    assert device.state is S.HOLD
    new = device.resume()
    assert new != token
    blocks = pass_time(device, 3)
    assert column(device, blocks, "belt_speed_m_s").max() < 0.05  # nothing moves by itself
    with pytest.raises(TokenRefused):
        device.apply(Setpoints(WALK, {}, token))
    device.apply(Setpoints(WALK, {}, new))
    pass_time(device, 10)
    assert device.belt_speed_m_s > 0.4


@pytest.mark.parametrize(
    ("kind", "code"), [("motor_overtemperature", 201), ("overload", 202), ("encoder", 203)]
)
def test_a_fault_removes_torque_and_latches(kind: str, code: int) -> None:
    device, token = walking(faults=[{"at_s": 10.5, "kind": kind}])
    passed, _ = device.advance(5_000_000_000)
    assert passed < 1_000_000_000  # it returns at once: the host sees the fault
    assert device.state is S.FAULT
    blocks = pass_time(device, 2)
    assert set(column(device, blocks, "fault_code")) == {code}
    assert np.all(column(device, blocks, "guidance") == 0)
    assert device.belt_speed_m_s == 0
    for verb in (device.arm, device.resume, device.hold):
        with pytest.raises(StateRefused):
            verb()
    with pytest.raises(StateRefused):
        device.apply(Setpoints(WALK, {}, token))
    assert device.faults()[0][0] == code
    device.acknowledge()
    assert device.state is S.DISARMED
    assert not device.preflight()


def test_a_released_emergency_stop_stays_latched_until_acknowledged() -> None:
    faults = [{"at_s": 11, "kind": "estop"}, {"at_s": 15, "kind": "estop_release"}]
    device, _ = walking(faults=faults)
    pass_time(device, 2)
    assert device.state is S.ESTOP_PHYSICAL
    with pytest.raises(StateRefused):
        device.acknowledge()
    pass_time(device, 4)
    assert device.state is S.ESTOP_LATCHED
    with pytest.raises(StateRefused):
        device.arm()
    device.acknowledge()
    assert device.state is S.DISARMED


def test_a_spasm_makes_the_device_hold_and_nothing_resumes_it() -> None:
    device, _ = walking(faults=[{"at_s": 11, "kind": "spasm"}])
    blocks = pass_time(device, 4)
    assert device.state is S.HOLD
    assert 401 in column(device, blocks, "fault_code")
    pass_time(device, 10)
    assert device.state is S.HOLD


def test_lost_rows_show_in_the_sequence() -> None:
    device, _ = walking(faults=[{"at_s": 11, "kind": "gap", "rows": 30}])
    seq = np.concatenate([block.seq for block in pass_time(device, 3)])
    assert np.diff(seq.astype(int)).max() == 31
    assert len(seq) == 270


def test_a_frozen_source_gives_no_rows() -> None:
    device, _ = walking(faults=[{"at_s": 11, "kind": "freeze"}])
    assert sum(map(len, pass_time(device, 5))) == 100


def test_without_keepalives_the_device_stops_by_itself() -> None:
    device = connected(lockstep=False)
    token = device.arm()
    device.apply(Setpoints(WALK, {}, token))
    for number in range(1, 101):
        device.keepalive(number)
        pass_time(device, 0.05)
    assert device.state is S.RUNNING
    assert device.belt_speed_m_s > 0.3
    pass_time(device, 0.25)
    device.keepalive(100)  # an old one, played again, does not count
    assert device.state is S.RUNNING
    pass_time(device, 0.05)
    assert device.state is S.LINK_LOST
    device.keepalive(101)  # a late one changes nothing
    pass_time(device, 2)
    assert device.state is S.LINK_LOST
    assert device.belt_speed_m_s == 0
    device.acknowledge()
    assert device.state is S.DISARMED


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_the_same_seed_gives_the_same_rows(rate: str) -> None:
    def rows(seed: int) -> bytes:
        device = connected(rate=rate, seed=seed)
        device.apply(Setpoints(WALK, {"speed_m_s": 0.1}, device.arm()))
        return b"".join(block.values.tobytes() for block in pass_time(device, 60))

    assert rows(5) == rows(5)
    assert rows(5) != rows(6)


def test_stride_rows_agree_with_the_motion_rows() -> None:
    """The same walk at both rates: distance and steps within two strides of each other."""
    found = {}
    for rate in ("full", "stride"):
        device = connected(rate=rate, seed=1)
        device.apply(Setpoints(WALK, {"speed_m_s": 0.1}, device.arm()))
        blocks = pass_time(device, 300)
        speed = column(device, blocks, "belt_speed_m_s").astype(float)
        if rate == "full":
            grf = column(device, blocks, "grf_vertical_l")
            steps = 2 * int(np.count_nonzero((grf[1:] > 60) & (grf[:-1] <= 60)))
            found[rate] = (speed.sum() * 0.01, steps)
        else:
            duration = column(device, blocks, "duration_s").astype(float)
            lengths = sum(column(device, blocks, f"step_length_{s}_m") for s in "lr")
            walked = column(device, blocks, "stride_time_s") > 0
            assert np.allclose(lengths[walked], (speed * duration)[walked], atol=1e-3)
            steps = 2 * int(np.count_nonzero(walked))
            found[rate] = ((speed * duration).sum(), steps)
    assert found["full"][0] == pytest.approx(found["stride"][0], rel=0.02)
    assert abs(found["full"][1] - found["stride"][1]) <= 8


def test_the_patient_tires_and_answers() -> None:
    device, _ = walking(rate="stride", fatigue=1.0, ability=0.3)
    early = device.ask("rpe")
    pass_time(device, 1800)
    late = device.ask("rpe")
    assert early is not None
    assert late is not None
    assert 6 <= early["rpe"] < late["rpe"] <= 20
    assert device.ask("favourite_colour") is None
    pressure = device.ask("systolic_mmhg")
    assert pressure is not None
    assert 100 < pressure["systolic_mmhg"] < 220
