"""Who watches whom: processes that are stopped and killed, and links that are cut one-way.

What a drive did is read from its own account, not from what the driver says of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canopen_bench import (
    account,
    bench,
    clear,
    last_row,
    linked,
    reach,
    site_on,
    until,
    walk,
)

from device_interface import DeviceState
from device_interface.canopen.bus import HubControl
from device_interface.errors import LinkLost, StateRefused

WATCH_S = 0.24
JOINTS = ("hip_l", "knee_l", "ankle_l", "hip_r", "knee_r", "ankle_r")


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(text) for text in (task / "children").read_text().split()]
    return found


def since(path: Path, t_ns: int) -> list[dict[str, Any]]:
    return [line for line in account(path) if line["t_ns"] >= t_ns]


def stopped_by_themselves(path: Path, t_ns: int) -> Callable[[], bool]:
    def done() -> bool:
        nodes = {line["node"] for line in since(path, t_ns) if line["what"] == "FAULT"}
        return nodes >= {*JOINTS, "belt", "support"}

    return done


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)]
)
def test_the_drives_stop_by_themselves_when_the_driver_is_gone(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "account.jsonl"
    with linked({"simulation": {"account": str(path)}}) as link:
        walk(link)
        started = children(link.pid)
        assert len(started) == 2
        gone_ns = time.monotonic_ns()
        os.kill(link.pid, number)
        until(stopped_by_themselves(path, gone_ns))
        lines = since(path, gone_ns)
        lost = [line for line in lines if line["what"] == "heartbeat_lost"]
        assert {line["node"] for line in lost} >= {*JOINTS, "belt", "support"}
        # the declared time, on the drives' own clock, and what one look of theirs takes
        assert all(WATCH_S <= line["age_s"] <= WATCH_S + 0.11 for line in lost)
        assert all((line["t_ns"] - gone_ns) / 1e9 < 5.0 for line in lost)  # a very busy machine
        reaction = [line for line in lines if line["what"] == "FAULT_REACTION_ACTIVE"]
        assert {line["why"] for line in reaction} == {"heartbeat lost"}
        at_rest = {line["node"]: line["moving"] for line in lines if line["what"] == "FAULT"}
        assert not any(at_rest.values())
        if number is signal.SIGKILL:  # and the processes do not outlive it
            until(lambda: not any(exists(pid) for pid in started))
            with pytest.raises(LinkLost):
                link.wait(0.1)
        else:
            os.kill(link.pid, signal.SIGCONT)
            until(lambda: last_row(link)["device_state"] > DeviceState.RAMP_DOWN)
            assert not [line for line in since(path, gone_ns) if "ENABLED" in line["what"]]
            clear(link)
            walk(link)


@pytest.mark.slow
def test_a_host_that_is_gone_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_interface.link.HOST_HANGS_S", 0.3)
    with linked({}) as link:
        walk(link)
        until(lambda: link.state is DeviceState.LINK_LOST)  # the session's loop hangs
        assert [code for code, _ in link.faults()][-1:] == [210]
        monkeypatch.setattr("device_interface.link.HOST_HANGS_S", 30.0)
        with pytest.raises(StateRefused):
            link.arm()
        clear(link)
        walk(link)


@pytest.mark.slow
def test_drives_that_are_frozen_are_not_operational(tmp_path: Path) -> None:
    with bench() as made, linked({"site": site_on(made.channel)}) as link:
        walk(link)
        os.kill(made.drives_pid, signal.SIGSTOP)
        try:
            reach(link, DeviceState.FAULT)
            assert link.faults()[-1][0] == 501
            row = last_row(link)
            assert row["belt_speed_m_s"] != row["belt_speed_m_s"]  # not a number: not known
            assert "is not heard" in "; ".join(link.preflight())
            with pytest.raises(StateRefused, match="not heard"):
                link.acknowledge()
        finally:
            os.kill(made.drives_pid, signal.SIGCONT)
        clear(link)
        walk(link)


@pytest.mark.slow
@pytest.mark.parametrize("way", [("driver", "drives"), ("drives", "driver")])
def test_a_link_that_is_cut_one_way(tmp_path: Path, way: tuple[str, str]) -> None:
    path = tmp_path / "account.jsonl"
    with bench(account=str(path)) as made, linked({"site": site_on(made.channel)}) as link:
        walk(link)
        hub = HubControl(made.channel)
        cut_ns = time.monotonic_ns()
        hub.cut(*way)
        reach(link, DeviceState.FAULT)
        if way[0] == "driver":  # they do not hear us, and stop
            until(stopped_by_themselves(path, cut_ns))
        else:  # we do not hear them, and tell them to stop
            until(lambda: _off(path, cut_ns) >= {*JOINTS, "belt"})
        with pytest.raises(StateRefused):
            link.acknowledge()
        hub.join(*way)
        hub.close()
        clear(link)
        walk(link)


def _off(path: Path, t_ns: int) -> set[str]:
    return {line["node"] for line in since(path, t_ns) if line["what"] == "SWITCH_ON_DISABLED"}


@pytest.mark.slow
def test_a_cycle_that_dies_is_told_and_the_drives_stop(tmp_path: Path) -> None:
    path = tmp_path / "account.jsonl"
    with linked({"simulation": {"account": str(path)}}) as link:
        walk(link)
        dead_ns = time.monotonic_ns()
        link.inject("cycle_dead")
        reach(link, DeviceState.FAULT)
        assert link.faults()[-1][0] == 506
        assert "stopped on the bench" in link.faults()[-1][1]
        until(lambda: _off(path, dead_ns) >= {*JOINTS, "belt"} or _faulted(path, dead_ns))
        assert not [line for line in since(path, dead_ns) if "OPERATION" in line["what"]]


def _faulted(path: Path, t_ns: int) -> bool:
    return stopped_by_themselves(path, t_ns)()


@pytest.mark.slow
def test_a_bus_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "account.jsonl"
    with bench(account=str(path)) as made, linked({"site": site_on(made.channel)}) as link:
        walk(link)
        gone_ns = time.monotonic_ns()
        os.kill(made.hub_pid, signal.SIGKILL)
        reach(link, DeviceState.FAULT)
        assert link.faults()[-1][0] == 504
        until(stopped_by_themselves(path, gone_ns))
        with pytest.raises(StateRefused, match="still there"):
            link.acknowledge()
