"""The driver ``mujoco``: it walks, repeats bit by bit, falls, yields to a spasm and stops."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_machine import again_where_late

from device_interface.contract import (
    FAILED,
    Block,
    Device,
    DeviceState,
    Injectable,
    Respondent,
    Setpoints,
)
from device_interface.errors import StateRefused
from device_interface.link import DeviceLink, open_link
from device_interface.mujoco import BipedGaitTrainer
from trialkit._clock import RealClock, SimulatedClock

S = DeviceState
DRIVER = "device_interface.mujoco:BipedGaitTrainer"
WALK = {"speed_m_s": 0.5, "support_fraction": 0.3, "guidance": 0.8}


def connected(**options: Any) -> BipedGaitTrainer:
    device = BipedGaitTrainer(**options)
    device.connect(lockstep=True)
    return device


def pass_time(device: BipedGaitTrainer, seconds: float) -> list[Block]:
    """Let time pass, on to its end also where the device fails on the way."""
    blocks: list[Block] = []
    left = round(seconds * 1e9)
    while left > 0:
        passed, more = device.advance(left)
        left -= max(passed, 1)
        blocks += more
    return blocks


def walking(seconds: float = 10.0, values: dict[str, float] = WALK, **options: Any) -> Any:
    device = connected(**options)
    device.apply(Setpoints(values, {}, device.arm()))
    return device, pass_time(device, seconds)


@cache
def walked() -> tuple[BipedGaitTrainer, list[Block]]:
    """A device that has walked for 20 s at full guidance, for tests that only read."""
    device, blocks = walking(20.0, {**WALK, "guidance": 1.0})
    return device, blocks


def column(blocks: list[Block], name: str, stream: str = "motion") -> np.ndarray[Any, Any]:
    own = next(s for s in connected_streams() if s.name == stream)
    at = own.index(name)
    return np.concatenate([b.values[:, at] for b in blocks if b.stream == stream])


@cache
def connected_streams() -> tuple[Any, ...]:
    return connected().describe().streams


def test_it_is_a_device_that_can_be_asked_and_hurt() -> None:
    device = connected()
    assert isinstance(device, Device)
    assert isinstance(device, Injectable)
    assert isinstance(device, Respondent)
    assert device.ask("rpe") is not None
    assert device.ask("colour") is None


@pytest.mark.parametrize("options", [{"strength": 1.1}, {"strength": -0.1}, {"height_m": 0.9}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        BipedGaitTrainer(**options)  # type: ignore[arg-type]


def test_channels_are_those_of_the_simulated_device() -> None:
    from device_interface.simulated import SimulatedGaitTrainer

    simulated = SimulatedGaitTrainer().describe().streams[0]
    own, stride = connected_streams()
    assert [(c.name, c.unit) for c in own.channels] == [
        (c.name, c.unit) for c in simulated.channels
    ]
    assert (own.rate_hz, stride.rate_hz) == (100.0, None)


def test_walking_is_plausible() -> None:
    device, blocks = walked()
    assert device.state is S.RUNNING
    for side in "lr":
        knee = np.degrees(column(blocks, f"knee_angle_{side}")[1000:])
        assert 0 <= knee.min() <= 12
        assert 50 <= knee.max() <= 75
        stance = column(blocks, f"stance_{side}_fraction", "stride")[3:]
        assert ((stance > 0.5) & (stance < 0.7)).all()
    assert (column(blocks, "toe_clearance_m", "stride")[3:] > 0.005).all()


def test_every_value_lies_in_the_range_of_its_channel() -> None:
    _, blocks = walked()
    for stream in connected_streams():
        for channel in stream.channels:
            values = column(blocks, channel.name, stream.name)
            assert np.isfinite(values).all(), channel.name
            assert values.min() >= channel.minimum - 1e-6, channel.name
            assert values.max() <= channel.maximum + 1e-6, channel.name


def test_belt_and_rope_carry_the_body() -> None:
    _, blocks = walked()
    carried = sum(
        column(blocks, name)[1000:].mean()
        for name in ("grf_vertical_l", "grf_vertical_r", "support_load_n")
    )
    assert carried == pytest.approx(75.0 * 9.81, rel=0.01)
    assert column(blocks, "support_load_n")[1000:].mean() == pytest.approx(
        0.3 * 75.0 * 9.81, rel=0.02
    )


def test_steps_cover_the_belt() -> None:
    _, blocks = walked()
    time = column(blocks, "stride_time_s", "stride")[3:]
    both = column(blocks, "step_length_l_m", "stride") + column(blocks, "step_length_r_m", "stride")
    assert both[3:].mean() == pytest.approx(0.5 * time.mean(), rel=0.06)


def test_strides_of_the_stream_are_those_of_the_force_plates() -> None:
    _, blocks = walked()
    force = column(blocks, "grf_vertical_l")[1000:]
    contacts = np.flatnonzero((force[1:] > 20.0) & (force[:-1] <= 20.0))
    apart = np.diff(contacts)[np.diff(contacts) > 30] / 100.0
    strides = column(blocks, "stride_time_s", "stride")[3:]
    assert apart.mean() == pytest.approx(strides.mean(), abs=0.03)


def test_flexing_a_knee_makes_its_channels_rise() -> None:
    device = connected()
    before = pass_time(device, 2.0)
    engine = device._walking.engine
    engine.push("hip_r", 40.0)
    pushed = []
    for _ in range(25):
        engine.push("hip_r", 40.0)
        pushed += pass_time(device, 0.02)
    assert column(pushed, "hip_angle_r")[-1] > column(before, "hip_angle_r")[-1] + 0.02
    device = connected()
    before = pass_time(device, 2.0)
    device._walking.disturb("spasm")  # a flexing torque on the left knee
    after = pass_time(device, 0.2)
    assert column(after, "knee_angle_l").max() > column(before, "knee_angle_l")[-1] + 0.05
    assert column(after, "knee_velocity_l").max() > 0.3
    assert column(after, "knee_interaction_torque_l").min() < -5.0  # the cuff holds against it


def test_guidance_brings_a_weak_leg_nearer_to_the_path() -> None:
    values = {**WALK, "support_fraction": 0.5, "speed_m_s": 0.3}
    error = {}
    for guidance in (0.2, 1.0):
        device = connected(strength=0.5)
        token = device.arm()
        device.apply(Setpoints({"support_fraction": 0.5, "guidance": guidance}, {}, token))
        pass_time(device, 10.0)
        device.apply(Setpoints({**values, "guidance": guidance}, {}, token))
        blocks = pass_time(device, 12.0)
        assert device.state is S.RUNNING
        error[guidance] = column(blocks, "tracking_error_rad")[600:].mean()
    assert error[1.0] < 0.8 * error[0.2]


def digest(blocks: list[Block]) -> str:
    sha = hashlib.sha256()
    for name in ("motion", "stride"):
        own = [b for b in blocks if b.stream == name]
        sha.update(np.concatenate([b.t_device_ns for b in own]).tobytes())
        sha.update(np.concatenate([b.values for b in own]).tobytes())
    return sha.hexdigest()


def test_two_runs_give_the_same_bytes_however_time_is_cut() -> None:
    _, one = walking(8.0, seed=7)
    device = connected(seed=7)
    device.apply(Setpoints(WALK, {}, device.arm()))
    parts: list[Block] = []
    for _ in range(320):
        parts += device.advance(25_000_000)[1]
    assert digest(one) == digest(parts)
    _, other = walking(8.0, seed=8)
    assert digest(one) != digest(other)


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from test_biped_trainer import digest, walking
print(digest(walking(8.0, seed=7)[1]))
"""


def test_two_processes_give_the_same_bytes() -> None:
    here = Path(__file__).parent
    folders = [str(here), str(here.parent)]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *folders], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest(walking(8.0, seed=7)[1])


def test_a_weak_person_without_guidance_falls_and_can_be_helped_up() -> None:
    device = connected(strength=0.2)
    device.apply(Setpoints({**WALK, "guidance": 0.0}, {}, device.arm()))
    blocks: list[Block] = []
    for _ in range(400):
        blocks += device.advance(50_000_000)[1]
        if device.state in FAILED:
            break
    assert device.state is S.FAULT
    assert [code for code, _ in device.faults()] == [404]
    with pytest.raises(StateRefused, match=r"hangs|moves"):
        device.acknowledge()
    after = pass_time(device, 5.0)
    for name in ("hip_motor_torque_l", "knee_motor_torque_l", "knee_motor_torque_r"):
        assert np.abs(column(after, name)).max() == 0.0
    assert column(after, "belt_speed_m_s")[-1] < 0.01
    device.acknowledge()
    pass_time(device, 2.0)
    assert device.state is S.DISARMED
    assert device.preflight() == []


def test_the_rope_catches_who_falls() -> None:
    device, _ = walking(12.0)
    device.inject("fall")
    assert device.state is S.FAULT
    rows = pass_time(device, 1.0)
    assert column(rows, "support_load_n").max() > 0.5 * 75 * 9.81
    assert device._walking.engine.sunk_m < 0.2
    assert device.preflight()


@pytest.mark.parametrize("guidance", [0.3, 1.0])
def test_a_spasm_makes_the_interaction_torque_jump_and_the_device_hold(guidance: float) -> None:
    device, before = walking(12.0, {**WALK, "guidance": guidance})
    usual = np.abs(column(before, "knee_interaction_torque_l")[800:]).max()
    device.inject("spasm")
    assert device.state is S.RUNNING  # nothing was told to hold; it has to notice
    rows = pass_time(device, 0.2)
    assert device.state is S.HOLD
    assert [code for code, _ in device.faults()] == [401]
    jump = (
        column(rows, "knee_interaction_torque_l") - column(before, "knee_interaction_torque_l")[-1]
    )
    assert np.abs(jump).max() > max(20.0, 0.5 * usual)
    assert column(rows, "fault_code").max() == 401
    pass_time(device, 4.0)
    assert device.state is S.HOLD
    assert device.belt_speed_m_s < 0.05
    token = device.resume()
    device.apply(Setpoints(WALK, {}, token))
    pass_time(device, 6.0)
    assert device.state is S.RUNNING


@pytest.mark.parametrize("category", [0, 1])
def test_a_stop_takes_belt_and_torque_within_the_declared_time(category: int) -> None:
    device, _ = walking(10.0, {**WALK, "speed_m_s": 0.88})
    device.stop(category)  # type: ignore[arg-type]
    rows = pass_time(device, 5.0)
    bound = round(100 * device.describe().stop_within_s[category])
    assert (column(rows, "belt_speed_m_s")[bound:] < 0.05).all()
    for name in ("hip_motor_torque_l", "hip_motor_torque_r", "knee_motor_torque_l"):
        assert np.abs(column(rows, name)[bound:]).max() == 0.0
    assert device.state is S.DISARMED


def test_at_the_end_of_a_range_torque_is_inward_only() -> None:
    device, _ = walking(8.0)
    device.inject("position_limit")
    rows = pass_time(device, 2.0)
    angle, motor = column(rows, "knee_angle_l"), column(rows, "knee_motor_torque_l")
    at_end = angle >= math.radians(117.0)
    assert np.count_nonzero(at_end) > 10
    assert motor[at_end].max() <= 0.0
    assert angle.max() <= math.radians(120.0)


def test_lockstep_in_a_process_of_its_own_is_the_same() -> None:
    taken = []
    for in_process in (True, False):
        clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
        link = open_link(DRIVER, {"seed": 3}, clock, in_process=in_process)
        try:
            link.apply(Setpoints(WALK, {}, link.arm()))
            blocks: list[Block] = []
            for _ in range(10):
                blocks += link.wait(0.5)[1]
        finally:
            link.close()
        taken.append(digest(blocks))
    assert taken[0] == taken[1]


def test_in_real_time_a_call_returns_what_could_be_computed() -> None:
    device = BipedGaitTrainer()
    device.connect(lockstep=False)
    passed, blocks = device.advance(3600 * 1_000_000_000)
    assert 0 < passed < 3600 * 1_000_000_000
    assert sum(len(b) for b in blocks if b.stream == "motion") == passed // 10_000_000
    device.close()


@again_where_late
def test_in_real_time_it_walks_and_stops_when_nobody_serves_it() -> None:
    link = DeviceLink(DRIVER, {}, RealClock())
    try:
        link.apply(Setpoints(WALK, {}, link.arm()))
        rows: list[Block] = []
        for _ in range(600):
            rows += link.wait(0.1)[1]
            if len(rows) and column(rows, "belt_speed_m_s")[-1] > 0.2:
                break
        assert link.state is S.RUNNING
        assert column(rows, "belt_speed_m_s")[-1] > 0.2
        link.stop(1)
        for _ in range(600):
            rows += link.wait(0.1)[1]
            if link.state is S.DISARMED:
                break
        assert link.state is S.DISARMED
    finally:
        link.close()
