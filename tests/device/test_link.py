from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from late_machine import again_where_late

from device_interface import DeviceLink, DeviceState, Setpoints, open_link
from device_interface.errors import LimitRefused, LinkLost, StateRefused
from trialkit._clock import RealClock, SimulatedClock
from trialkit.errors import UnknownName, UsageError

WALK = {"speed_m_s": 0.5, "support_fraction": 0.4, "guidance": 0.8}
FAST = {"speed_m_s": 0.25}


def simulated() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))


def until(condition: Callable[[], bool], seconds: float) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - begin


def test_lockstep_in_a_process_gives_the_rows_of_the_device_here() -> None:
    rows = []
    for in_process in (False, True):
        clock = simulated()
        link = open_link("simulated", {"seed": 4}, clock, in_process=in_process)
        link.apply(Setpoints(WALK, FAST, link.arm()))
        blocks = [b for _ in range(10) for b in link.wait(0.5)[1]]
        rows.append(np.concatenate([b.values for b in blocks]))
        assert clock.monotonic_ns() == 5_000_000_000
        t_host = np.concatenate([b.t_host_ns for b in blocks])
        assert t_host[-1] == 5_000_000_000
        assert link.ask("rpe") is not None
        link.stop(1)
        link.wait(2.0)
        assert link.state is DeviceState.DISARMED
        link.close()
    assert np.array_equal(rows[0], rows[1])


def test_refusals_cross_the_process_boundary() -> None:
    link = open_link("simulated", {}, simulated())
    try:
        with pytest.raises(StateRefused, match="apply is not legal in DISARMED"):
            link.apply(Setpoints(WALK, {}, 1))
        token = link.arm()
        with pytest.raises(LimitRefused, match="speed_m_s"):
            link.apply(Setpoints({"speed_m_s": 9.0}, {}, token))
        assert link.preflight() == []
    finally:
        link.close()
    link.stop(1)  # after the end: no error, no effect
    link.close()


def test_a_driver_that_does_not_start_is_an_error_here() -> None:
    with pytest.raises(UnknownName, match="no device driver"):
        DeviceLink("nosuch", {}, simulated())
    with pytest.raises(UsageError, match="colour"):
        DeviceLink("simulated", {"colour": "red"}, simulated())
    with pytest.raises(UsageError, match="real time"):
        open_link("simulated", {}, RealClock(), in_process=True)


def test_a_killed_device_process_is_a_lost_link() -> None:
    link = DeviceLink("simulated", {}, simulated())
    link.apply(Setpoints(WALK, FAST, link.arm()))
    link.wait(0.5)
    os.kill(link.pid, signal.SIGKILL)
    with pytest.raises(LinkLost):
        link.wait(0.5)
    link.stop(1)
    link.close()


@again_where_late
def test_real_time_streams_and_stops() -> None:
    begin = time.monotonic()  # rows come from when it is opened
    link = DeviceLink("simulated", {}, RealClock())
    try:
        link.apply(Setpoints(WALK, FAST, link.arm()))
        times: list[int] = []
        while len(times) < 100:  # one second of rows, on however slow a machine
            for block in link.wait(0.1)[1]:
                times.extend(block.t_device_ns.tolist())
            assert time.monotonic() - begin < 60
        assert time.monotonic() - begin > 0.8  # and not faster than the clock
        assert len(times) == (times[-1] - times[0]) / 1e7 + 1  # none was lost
        assert link.state is DeviceState.RUNNING
        link.stop(1)
        until(lambda: link.wait(0.05) is not None and link.state is DeviceState.DISARMED, 30)
    finally:
        link.close()


def test_a_loop_that_hangs_ends_the_keepalives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_interface.link.HOST_HANGS_S", 0.3)
    link = DeviceLink("simulated", {}, RealClock())
    try:
        link.apply(Setpoints(WALK, FAST, link.arm()))
        until(lambda: link.state is DeviceState.LINK_LOST, 30)  # the session's loop hangs
    finally:
        link.close()


@again_where_late
def test_arming_after_a_long_silence_finds_the_watchdog_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("device_interface.link.HOST_HANGS_S", 0.1)
    link = DeviceLink("simulated", {}, RealClock())
    try:
        for _ in range(5):
            time.sleep(0.6)  # longer than the watchdog: nothing is powered, nothing is wrong
            token = link.arm()
            link.apply(Setpoints(WALK, FAST, token))
            assert link.wait(0.05) is not None
            assert link.state is not DeviceState.LINK_LOST
            link.ramp_down()
            until(lambda: link.wait(0.05) is not None and link.state is DeviceState.DISARMED, 30)
    finally:
        link.close()


HOST = """
import sys, time
from device_interface import DeviceLink, Setpoints
from trialkit._clock import RealClock
link = DeviceLink("simulated", {}, RealClock(), black_box=sys.argv[1])
link.apply(Setpoints({"speed_m_s": 0.5}, {"speed_m_s": 0.25}, link.arm()))
print(link.pid, flush=True)
while True:
    link.wait(0.05)
"""


def black_box(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
@again_where_late
def test_the_device_stops_by_itself_when_the_host_is_gone(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "black-box.jsonl"
    host = subprocess.Popen([sys.executable, "-c", HOST, str(path)], stdout=subprocess.PIPE)
    try:
        assert host.stdout is not None
        device = int(host.stdout.readline())
        until(lambda: any(line["moving"] for line in black_box(path)), 60)
        time.sleep(0.5)
        assert black_box(path)[-1] == {**black_box(path)[-1], "state": "RUNNING", "moving": True}
        gone_ns = time.monotonic_ns()
        host.send_signal(number)
        until(lambda: not black_box(path)[-1]["moving"], 60)
        lines = [line for line in black_box(path) if line["t_ns"] >= gone_ns]
        assert lines[0]["state"] in ("LINK_LOST", "RAMP_DOWN")
        # 250 ms after the last keepalive, and room for a busy machine
        assert (lines[0]["t_ns"] - gone_ns) / 1e9 < 1.0
        assert all(line["state"] != "RUNNING" for line in lines)
        if number is signal.SIGKILL:
            until(lambda: not is_alive(device), 60)
        else:
            host.send_signal(signal.SIGCONT)  # a host that comes back finds a stopped device
            time.sleep(0.5)
            assert black_box(path)[-1]["state"] == "LINK_LOST"
    finally:
        host.kill()
        host.wait()
        if host.stdout is not None:
            host.stdout.close()
