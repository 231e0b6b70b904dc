from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_machine import again_where_late

from device_interface.contract import Block, Device, DeviceState, Setpoints
from device_interface.errors import LimitRefused, StateRefused
from device_interface.link import DeviceLink
from device_interface.replay import ReplayDevice, read_recording
from trialkit._clock import RealClock

S = DeviceState
MAPPING = """
schema: trialkit.recording/1
format: csv
title: a test
vendor: v
model: m
family: treadmill_orthosis
streams:
  - name: belt
    clock: {column: t, wrap: 4}
    channels:
      - {column: set, name: belt_speed_set_m_s, unit: m/s}
      - {column: is, name: belt_speed_m_s, unit: m/s}
parameters:
  - {name: speed_m_s, unit: m/s, minimum: 0, maximum: 1, rate_per_s: 0.5,
     channel: belt_speed_set_m_s}
  - {name: guidance, unit: "1", minimum: 0, maximum: 1, rate_per_s: 0.5}
"""


def made(folder: Path, **options: Any) -> ReplayDevice:
    """Six seconds at 100 Hz: up to 0.5 m/s at 0.25 m/s2, with a clock that wraps at 2 s."""
    t = np.arange(600) / 100
    speed = np.minimum(0.25 * (t + 0.01), 0.5)
    clock = (t + 2) % 4 - 2
    rows = [f"{c:.2f},{v:.4f},{v:.4f}" for c, v in zip(clock, speed, strict=True)]
    (folder / "map.yaml").write_text(MAPPING)
    (folder / "r.csv").write_text("\n".join(["t,set,is", *rows]))
    paths = {"recording": str(folder / "r.csv"), "mapping": str(folder / "map.yaml")}
    device = ReplayDevice(**{**paths, **options})
    device.connect(lockstep=True)
    return device


def passed(device: Device, seconds: float) -> dict[str, list[Block]]:
    blocks: dict[str, list[Block]] = {}
    left = round(seconds * 1e9)
    while left > 0:
        done, made_now = device.advance(min(left, 100_000_000))
        left -= max(done, 1)
        for block in made_now:
            blocks.setdefault(block.stream, []).append(block)
    return blocks


def start(device: ReplayDevice, speed: float = 0.5) -> int:
    token = device.arm()
    device.apply(Setpoints({"speed_m_s": speed}, {"speed_m_s": 0.25}, token))
    return token


def test_nothing_plays_before_the_first_setpoints(tmp_path: Path) -> None:
    device = made(tmp_path)
    assert set(passed(device, 1)) == {"player"}
    start(device)
    blocks = passed(device, 7)
    belt = blocks["belt"]
    assert sum(map(len, belt)) == 600
    seq = np.concatenate([b.seq for b in belt])
    assert (np.diff(seq.astype(int)) == 1).all()
    t = np.concatenate([b.t_device_ns for b in belt])
    assert (np.diff(t) == 10_000_000).all()
    assert t[0] == 1_010_000_000
    at = device.describe().streams[1].index("clock_recorded_s")
    clock = np.concatenate([b.values[:, at] for b in belt])
    assert [clock.min(), clock.max()] == pytest.approx([-2, 1.99])
    assert device.state is S.DISARMED  # the recording ended while it ran
    with pytest.raises(StateRefused, match="ended"):
        device.arm()


def test_other_setpoints_than_recorded_are_a_latched_fault(tmp_path: Path) -> None:
    device = made(tmp_path)
    start(device, 0.3)
    passed(device, 4)
    assert device.state is S.FAULT
    assert [code for code, _ in device.faults()] == [32001]
    assert "belt" not in passed(device, 1)
    device.acknowledge()
    assert device.state is S.DISARMED


def test_other_setpoints_may_be_ignored(tmp_path: Path) -> None:
    device = made(tmp_path, setpoints="ignore")
    token = start(device, 0.3)
    device.apply(Setpoints({"guidance": 0.3}, {}, token))
    assert sum(map(len, passed(device, 7)["belt"])) == 600
    with pytest.raises(ValueError, match="compare"):
        made(tmp_path, setpoints="obey")


def test_what_was_not_recorded_cannot_be_set(tmp_path: Path) -> None:
    device = made(tmp_path)
    token = start(device)
    for values in ({"guidance": 0.3}, {"speed_m_s": 1.1}, {"support_fraction": 0.3}):
        with pytest.raises(LimitRefused):
            device.apply(Setpoints(values, {}, token))
    assert device.state is S.RUNNING


@pytest.mark.parametrize("verb", ["hold", "ramp_down", "stop"])
def test_the_tape_stops_at_once_and_goes_on_where_it_stood(tmp_path: Path, verb: str) -> None:
    device = made(tmp_path)
    start(device)
    first = sum(map(len, passed(device, 2)["belt"]))
    device.stop(1) if verb == "stop" else getattr(device, verb)()
    assert "belt" not in passed(device, 1)
    if verb == "hold":
        assert device.state is S.HOLD
        token = device.resume()
        device.apply(Setpoints({"speed_m_s": 0.5}, {"speed_m_s": 0.25}, token))
    else:
        assert device.state is S.DISARMED
        start(device)
    rest = passed(device, 7)["belt"]
    assert first + sum(map(len, rest)) == 600
    assert int(rest[0].seq[0]) == first


def test_a_foreign_recording_runs_with_its_faults_counted(shared: Path) -> None:
    path = shared / "data" / "exo_openexo_ankle_clockwrap_299s.csv.gz"
    device = ReplayDevice(recording=str(path))
    device.connect(lockstep=True)
    device.apply(Setpoints({}, {}, device.arm()))
    blocks = passed(device, 300)["exo"]
    values = np.concatenate([b.values for b in blocks])
    recorded = read_recording(path).streams[0]
    assert np.array_equal(values[:, :-1], recorded.values.astype(np.float32))
    assert np.array_equal(values[:, -1], (recorded.t_raw_ns / 1e9).astype(np.float32))
    identity = device.describe().identity()
    assert identity["counted_clock_wraps"] == 1
    assert identity["counted_repeated_host_times"] == 7874
    assert identity["recorded_rows"] == 19_736
    assert device.describe().family == "wearable_brace"


@again_where_late
def test_played_from_its_own_process_in_real_time(tmp_path: Path) -> None:
    made(tmp_path).close()
    options = {"recording": str(tmp_path / "r.csv"), "mapping": str(tmp_path / "map.yaml")}
    link = DeviceLink("device_interface.replay:ReplayDevice", options, RealClock())
    try:
        assert link.capability.vendor == "replay"
        token = link.arm()
        link.apply(Setpoints({"speed_m_s": 0.5}, {"speed_m_s": 0.25}, token))
        rows = 0
        for _ in range(600):
            rows += sum(len(b) for b in link.wait(0.1)[1] if b.stream == "belt")
            if rows >= 600:
                break
        assert rows == 600
    finally:
        link.close()
