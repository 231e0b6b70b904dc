from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_machine import again_where_late

pytest.importorskip("pylsl", exc_type=ImportError)

from device_interface.contract import Block, DeviceState, Setpoints
from device_interface.errors import StateRefused
from device_interface.link import DeviceLink
from device_interface.lsl import BesideStreams, WantedStream
from trialkit._clock import RealClock, SimulatedClock
from trialkit.errors import UsageError

DRIVER = "device_interface.lsl:BesideStreams"
LOOPBACK = """
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
[lab]
KnownPeers = {127.0.0.1}
"""
EMG = {"stream": "emg", "full_scale": 5e-3}
Outlet = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lsl_api.cfg").write_text(LOOPBACK)
    monkeypatch.setenv("LSLAPICFG", str(tmp_path / "lsl_api.cfg"))


@pytest.fixture
def outlet() -> Iterator[Outlet]:
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, rate: float = 200.0) -> subprocess.Popen[bytes]:
        script = str(Path(__file__).parent / "lsl_outlet.py")
        process = subprocess.Popen(
            [sys.executable, script, name, "EMG", str(rate)], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def linked(*streams: dict[str, Any], find_s: float = 10.0) -> Iterator[DeviceLink]:
    options = {"device": "simulated", "streams": list(streams), "find_s": find_s}
    link = DeviceLink(DRIVER, options, RealClock())
    try:
        yield link
    finally:
        link.close()


def until(
    link: DeviceLink, done: Callable[[list[Block]], bool], limit_s: float = 60.0
) -> list[Block]:
    blocks: list[Block] = []
    end = time.monotonic() + limit_s
    while not done(blocks):
        assert time.monotonic() < end, "nothing came in time"
        blocks += link.wait(0.05)[1]
    return blocks


def rows(blocks: list[Block], stream: str) -> int:
    return sum(len(block) for block in blocks if block.stream == stream)


def name_of(what: str) -> str:
    return f"{what}-{os.getpid()}"


@again_where_late
def test_samples_come_beside_the_device_with_its_clock(outlet: Outlet) -> None:
    outlet(name_of("emg"))
    with linked({**EMG, "name": name_of("emg")}) as link:
        stream = link.capability.stream("emg")
        assert stream is not None
        assert [c.name for c in stream.channels] == ["emg_tib_ant_l", "emg_tib_ant_l_2"]
        assert {c.unit for c in stream.channels} == {"V"}
        assert stream.rate_hz == 200
        assert link.capability.identity()["lsl_streams"] == "emg"
        assert link.capability.streams[0].name == "motion"
        assert link.preflight() == []
        token = link.arm()
        link.apply(Setpoints({"speed_m_s": 0.3}, {}, token))
        begun = time.monotonic_ns()
        blocks = until(link, lambda b: rows(b, "emg") >= 300 and rows(b, "lsl") >= 2)
        emg = [block for block in blocks if block.stream == "emg"]
        seq = np.concatenate([b.seq for b in emg]).astype(np.int64)
        values = np.concatenate([b.values for b in emg])
        assert (np.diff(seq) == 1).all()
        sent = np.round(values[:, 0] * 1e6).astype(np.int64)
        assert set(np.diff(sent).tolist()) <= {1, -999}
        assert np.array_equal(values[:, 0], -values[:, 1])
        t = np.concatenate([b.t_device_ns for b in emg])
        assert (np.diff(t) > 0).all()
        off = np.abs(np.diff(t) - 5e6)  # where the clock offset is measured anew, it may step
        assert np.quantile(off, 0.98) < 1e6
        assert (t > begun - 60e9).all()
        assert (t <= np.concatenate([b.t_host_ns for b in emg]) + 50e6).all()
        assert rows(blocks, "motion") > 0
        link.stop(1)
        until(link, lambda _: link.state is DeviceState.DISARMED)


@again_where_late
def test_an_outlet_that_is_killed_falls_silent_and_the_device_goes_on(outlet: Outlet) -> None:
    process = outlet(name_of("gone"))
    with linked({**EMG, "name": name_of("gone"), "required": False}) as link:
        token = link.arm()
        link.apply(Setpoints({"speed_m_s": 0.3}, {}, token))
        until(link, lambda b: rows(b, "emg") >= 50)
        process.kill()
        process.wait()
        status = link.capability.stream("lsl")
        assert status is not None
        at = status.index("emg_silent_s")

        def silent(blocks: list[Block]) -> bool:
            told = [b.values[-1, at] for b in blocks if b.stream == "lsl"]
            return bool(told) and told[-1] > 2

        blocks = until(link, silent, 60)
        quiet = until(link, lambda b: rows(b, "motion") >= 20)
        assert rows(quiet, "emg") == 0
        assert rows(blocks, "motion") > 50
        assert link.state is DeviceState.RUNNING
        assert link.faults() == []


def test_a_required_stream_that_is_absent_keeps_the_device_from_being_armed() -> None:
    with linked({**EMG, "name": name_of("none")}, find_s=0.5) as link:
        assert link.capability.stream("emg") is None
        (problem,) = link.preflight()
        assert "'emg' is absent" in problem
        with pytest.raises(StateRefused):
            link.arm()
        assert link.state is DeviceState.DISARMED


def test_an_optional_stream_may_be_absent() -> None:
    with linked({**EMG, "name": name_of("none"), "required": False}, find_s=0.5) as link:
        assert link.preflight() == []
        assert [s.name for s in link.capability.streams] == ["motion"]
        assert link.arm() == 1


def test_two_streams_of_one_name_are_no_choice(outlet: Outlet) -> None:
    outlet(name_of("twin"))
    outlet(name_of("twin"))
    with linked({**EMG, "name": name_of("twin")}) as link:
        (problem,) = link.preflight()
        assert "2 streams with name" in problem


def test_there_is_no_lockstep_with_the_world() -> None:
    with pytest.raises(UsageError):
        DeviceLink(DRIVER, {"streams": []}, SimulatedClock(RealClock().now()))
    device = BesideStreams(device_options={"pain": 3.0})
    assert device.describe().lockstep is False
    answer = device.ask("pain_0_10")
    assert answer is not None
    assert answer["pain_0_10"] == 3.0


@pytest.mark.parametrize(
    "stream",
    [
        {"stream": "emg"},
        {"stream": "Emg", "name": "a"},
        {"stream": "motion", "name": "a"},
        {"stream": "lsl", "name": "a"},
        {"stream": "emg", "name": "a", "nonsense": 1},
        {"stream": "emg", "name": "a", "full_scale": 0},
    ],
)
def test_streams_that_are_not_well_described_are_refused(stream: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        BesideStreams(streams=[stream])


def test_what_a_stream_is_found_by() -> None:
    wanted = WantedStream(stream="imu", type="ACC", source_id="x1")
    assert wanted.properties() == {"type": "ACC", "source_id": "x1"}
    assert wanted.required
