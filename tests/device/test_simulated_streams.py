from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data_schemas.telemetry import GROUPS, TABLES
from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.registry import load_driver
from device_interface.simulated import SimulatedGaitTrainer
from device_interface.simulated.channels import FURTHER
from trialkit.errors import UsageError

WALK = {"speed_m_s": 0.5, "support_fraction": 0.4, "guidance": 0.8}
KEYS = {"seq", "t_device_ns", "t_host_ns"}


def walked(
    seconds: float, *, step_s: float = 0.5, settings: dict[str, float] | None = None, **options: Any
) -> tuple[SimulatedGaitTrainer, dict[str, Block]]:
    """Return a device that walked for so long, and all rows of each stream."""
    device = SimulatedGaitTrainer(**options)
    device.connect(lockstep=True)
    device.apply(Setpoints(WALK if settings is None else settings, {}, device.arm()))
    return device, gathered(device, seconds, step_s)


def gathered(device: SimulatedGaitTrainer, seconds: float, step_s: float = 0.5) -> dict[str, Block]:
    parts: dict[str, list[Block]] = {}
    left = round(seconds * 1e9)
    while left > 0:
        passed, blocks = device.advance(min(left, round(step_s * 1e9)))
        left -= passed
        for block in blocks:
            parts.setdefault(block.stream, []).append(block)
    fields = ("seq", "t_device_ns", "t_host_ns", "values")
    return {
        name: Block(name, *(np.concatenate([getattr(b, f) for b in some]) for f in fields))
        for name, some in parts.items()
    }


def column(device: SimulatedGaitTrainer, block: Block, name: str) -> np.ndarray[Any, Any]:
    stream = device.describe().stream(block.stream)
    assert stream is not None
    return block.values[:, stream.index(name)].astype(np.float64)


@pytest.mark.parametrize("step_s", [0.5, 0.337, 0.0071])
def test_each_stream_has_its_own_rate_whatever_the_steps(step_s: float) -> None:
    _, found = walked(20.0, step_s=step_s, streams=FURTHER)
    assert set(found) == {"motion", *FURTHER}
    for name, period_ns in (
        ("motion", 10_000_000),
        ("physiology", 1_000_000_000),
        ("emg", 1_000_000),
    ):
        block = found[name]
        assert len(block) == 20_000_000_000 // period_ns, name
        assert set(np.diff(block.t_device_ns)) == {period_ns}, name
        assert block.t_device_ns[-1] == 20_000_000_000, name
    for block in found.values():
        assert np.array_equal(block.seq, np.arange(len(block)))


def test_the_device_says_nothing_of_streams_that_nobody_asked_for() -> None:
    names = [s.name for s in SimulatedGaitTrainer().describe().streams]
    assert names == ["motion"]
    some = SimulatedGaitTrainer(streams=["emg", "physiology"]).describe().streams
    assert [(s.name, s.rate_hz) for s in some] == [
        ("motion", 100.0),
        ("physiology", 1.0),
        ("emg", 1000.0),
    ]


def test_the_rows_of_motion_do_not_depend_on_what_comes_beside_them() -> None:
    _, alone = walked(40.0, seed=7)
    _, among = walked(40.0, seed=7, streams=FURTHER)
    assert alone["motion"].values.tobytes() == among["motion"].values.tobytes()


@pytest.mark.parametrize("streams", [["spirit"], ["emg", "emg"], "emg"])
def test_streams_that_there_are_not_are_refused(streams: Any) -> None:
    with pytest.raises(UsageError, match="streams"):
        load_driver("simulated", {"streams": streams})


def test_at_stride_level_there_are_no_streams_beside() -> None:
    with pytest.raises(UsageError, match="full"):
        load_driver("simulated", {"rate": "stride", "streams": ["physiology"]})


def test_channels_are_those_of_the_schema_and_values_lie_in_both_ranges() -> None:
    device, found = walked(30.0, streams=FURTHER)
    for stream in device.describe().streams:
        schema = TABLES[stream.name]
        names = {c.name for c in stream.channels}
        assert names <= set(schema.columns)
        required = {n for n, spec in schema.columns.items() if spec.required} - KEYS
        assert required <= names
        for channel in stream.channels:
            values = column(device, found[stream.name], channel.name)
            assert values.min() >= channel.minimum - 1e-6, channel.name
            assert values.max() <= channel.maximum + 1e-6, channel.name


def test_every_group_of_the_schema_has_columns_and_every_column_a_group() -> None:
    assert len(GROUPS) == 10
    known = {str(name) for table in TABLES.values() for name in table.columns}
    assert all(columns and set(columns) <= known for columns in GROUPS.values())
    assert {name for columns in GROUPS.values() for name in columns} == known


def test_strides_are_those_of_the_feet_and_cover_the_way_of_the_belt() -> None:
    device, found = walked(90.0, streams=["stride"])
    motion, strides = found["motion"], found["stride"]
    force = column(device, motion, "grf_vertical_l")
    loaded = force > 40.0
    contacts = motion.t_device_ns[1:][loaded[1:] & ~loaded[:-1]]
    ends = strides.t_device_ns
    nearest = np.abs(ends[:, None] - contacts[None, :]).min(axis=1)
    assert len(ends) > 30
    assert nearest.max() <= 100_000_000  # the load rises within some rows of the contact
    times = column(device, strides, "stride_time_s")
    assert np.allclose(times[1:], np.diff(ends) / 1e9, atol=0.011)
    left, right = (column(device, strides, f"step_length_{side}_m") for side in "lr")
    belt = column(device, motion, "belt_speed_m_s") * 0.01
    inside = (motion.t_device_ns > ends[0]) & (motion.t_device_ns <= ends[-1])
    assert (left + right)[1:].sum() == pytest.approx(belt[inside].sum(), rel=0.005)
    symmetry = column(device, strides, "step_symmetry")
    assert np.allclose(symmetry, left / right, rtol=0.01)
    assert abs(np.median(symmetry) - 0.8) < 0.03  # the patient's asymmetry
    assert np.all(column(device, strides, "device_state") == int(DeviceState.RUNNING))


def test_a_stride_in_which_the_belt_came_to_rest_has_no_row() -> None:
    device, before = walked(20.0, streams=["stride"])
    device.hold()
    resting = gathered(device, 8.0)
    assert "stride" not in gathered(device, 5.0)
    device.apply(Setpoints(WALK, {}, device.resume()))
    after = gathered(device, 20.0)["stride"]
    assert len(after) > 5
    assert column(device, after, "stride_time_s").max() < 6.0
    last = resting["stride"].seq[-1] if "stride" in resting else before["stride"].seq[-1]
    assert after.seq[0] == last + 1


def test_physiology_follows_the_effort() -> None:
    device, found = walked(
        900.0, step_s=10.0, streams=["physiology"], fatigue=1.0, ability=0.3, settings=WALK
    )
    rows = found["physiology"]
    for name, sign in (
        ("heart_rate_bpm", 1),
        ("respiratory_rate_per_min", 1),
        ("spo2_fraction", -1),
    ):
        values = column(device, rows, name)
        assert sign * (values[-60:].mean() - values[:10].mean()) > 0, name
    assert set(np.round(100 * column(device, rows, "spo2_fraction")) % 1) == {0.0}
    motion = column(device, found["motion"], "heart_rate_bpm")
    assert abs(motion[-1000:].mean() - column(device, rows, "heart_rate_bpm")[-10:].mean()) < 1.0


def rms(values: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.mean(values * values)))


def test_muscles_work_when_it_is_their_turn() -> None:
    device, found = walked(30.0, streams=["emg"])
    emg, motion = found["emg"], found["motion"]
    late = emg.t_device_ns > 12_000_000_000
    phase = np.repeat(column(device, motion, "gait_phase"), 10)
    for muscle, busy, idle in (
        ("gastrocnemius", (0.35, 0.5), (0.7, 0.9)),
        ("tibialis_anterior", (0.62, 0.74), (0.3, 0.5)),
    ):
        for side, shift in (("l", 0.0), ("r", 0.5)):
            at = (phase + shift) % 1.0
            volts = column(device, emg, f"emg_{muscle}_{side}")
            on = late & (at > busy[0]) & (at < busy[1])
            off = late & (at > idle[0]) & (at < idle[1])
            assert rms(volts[on]) > 3 * rms(volts[off]), (muscle, side)
    device.ramp_down()
    gathered(device, 5.0)
    quiet = gathered(device, 2.0)["emg"]
    assert rms(quiet.values) < 2e-5
    assert abs(float(emg.values.mean())) < 1e-6  # no offset


def test_a_spasm_shows_in_the_flexor_of_the_left_knee_alone() -> None:
    device, _ = walked(20.0, streams=["emg"])
    before = gathered(device, 2.0)["emg"]
    device.inject("spasm")
    during = gathered(device, 0.5)["emg"]
    for name in ("emg_biceps_femoris_l", "emg_biceps_femoris_r", "emg_gastrocnemius_l"):
        ratio = rms(column(device, during, name)) / rms(column(device, before, name))
        assert (ratio > 4) == (name == "emg_biceps_femoris_l"), (name, ratio)


def test_frozen_telemetry_is_frozen_in_every_stream() -> None:
    _, found = walked(10.0, streams=FURTHER, faults=[{"at_s": 5, "kind": "freeze"}])
    assert {name: int(b.t_device_ns[-1]) for name, b in found.items() if name != "stride"} == {
        "motion": 5_000_000_000,
        "physiology": 5_000_000_000,
        "emg": 5_000_000_000,
    }
