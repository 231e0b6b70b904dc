"""Watchdog: a device that nobody serves stops by itself; all in real time, across processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_interface.conformance.bench import Bench, read_box, wait_for
from device_interface.conformance.links import DeafLink, Lateness
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import BELT, Rig, S, Trace, together
from device_interface.contract import KEEPALIVE_S

GROUP = Group("watchdog", "Watchdog")
_START_S = 60.0


def _lost(rig: Rig, late: Lateness, before: Trace, began_ns: int) -> str:
    """Wait for LINK_LOST and rest after the keepalives ended at `began_ns`; say when."""
    watchdog = rig.capability.watchdog_s
    rows = rig.until(watchdog + 5.0, S.LINK_LOST)
    took = (rows.t_host_ns[rows.column("device_state") == int(S.LINK_LOST)][0] - began_ns) / 1e9
    if took > watchdog + late.allowance_s:
        raise Deviates(f"LINK_LOST after {took:.2f} s; declared {watchdog:g} s")
    rest = together(rows, rig.pass_time(rig.bound_s(0) + 0.5))
    stopped = rig.rest_s(before, rest, torque=True)
    bound = watchdog + rig.bound_s(0)
    if stopped > bound + late.allowance_s:
        raise Deviates(f"at rest after {stopped:.2f} s; the bound is {bound:.2f} s")
    return f"LINK_LOST after {took:.2f} s of {watchdog:g} s, at rest after {stopped:.2f} s"


@GROUP.check(slow=True)
def link_lost_to_device(bench: Bench) -> str:
    """When nothing reaches the device any more (its telemetry still comes), it stops by itself.

    LINK_LOST within its declared time after the last keepalive, belt and torque at rest within
    the bound of category 0 after that; allowed on top is the lateness of this machine.
    """
    rig = bench.rig(real_time=True)
    _, before = rig.walk(quick=True)
    with bench.lateness() as late:
        rig.link.muted = True
        return _lost(rig, late, before, time.monotonic_ns())


@GROUP.check(needs=("link-lost-to-device",), slow=True)
def replayed_keepalive(bench: Bench) -> str:
    """An old keepalive that is sent again does not count."""
    rig = bench.rig(real_time=True)
    rig.walk(quick=True)
    with bench.lateness() as late:
        rig.link.muted = True
        time.sleep(2 * KEEPALIVE_S)
        number = began = time.monotonic_ns()
        rig.link.keepalive(number)
        for _ in range(round(2.0 / KEEPALIVE_S)):
            rig.link.keepalive(number)
            rig.pass_blocks(KEEPALIVE_S)
            if rig.link.state is S.LINK_LOST:
                took = (time.monotonic_ns() - began) / 1e9
                if took > rig.capability.watchdog_s + KEEPALIVE_S + late.allowance_s:
                    raise Deviates(f"LINK_LOST only after {took:.2f} s")
                return f"LINK_LOST after {took:.2f} s of replayed keepalives"
    raise Deviates(f"{rig.link.state.name} after 2 s of replayed keepalives")


@GROUP.check(needs=("link-lost-to-device",), slow=True)
def late_keepalive(bench: Bench) -> str:
    """Keepalives that come again after LINK_LOST bring nothing back."""
    rig = bench.rig(real_time=True)
    _, before = rig.walk(quick=True)
    rig.link.muted = True
    rig.until(rig.capability.watchdog_s + 5.0, S.LINK_LOST)
    rig.pass_time(rig.bound_s(0) + 0.5)
    rig.link.muted = False
    rows = rig.stays(1.0, S.LINK_LOST)
    if rig.powered(before, rows, torque=True).any():
        raise Deviates("something moves again")
    rig.link.acknowledge()
    rig.until(1.0, S.DISARMED)
    return "LINK_LOST until acknowledged, then DISARMED"


@GROUP.check(slow=True)
def link_lost_from_device(bench: Bench) -> str:
    """When nothing that the device says arrives any more, it still obeys a stop in its bound."""
    box = bench.black_box()
    rig = bench.open(real_time=True, kind=DeafLink, black_box=box)
    if not any(c.name == BELT for c in rig.own.channels) or not isinstance(rig.link, DeafLink):
        raise NotJudged(f"no channel {BELT}: the black box cannot tell motion")
    rig.link.cut()
    rig.apply(rig.walking_values(0.6), rig.link.arm())
    if not wait_for(lambda: _last(box).get("moving", False), 10.0):
        raise Deviates("the belt does not move")
    rig.pass_blocks(0.5)
    with bench.lateness() as late:
        began = time.monotonic_ns()
        rig.link.stop(1)
        bound = rig.bound_s(1)
        wait_for(lambda: not _last(box)["moving"], bound + 5.0)
        allowance = late.allowance_s
    took = (_last(box)["t_ns"] - began) / 1e9
    if _last(box)["moving"] or took > bound + allowance:
        raise Deviates(f"at rest after {took:.2f} s; the bound is {bound:g} s")
    return f"at rest after {took:.2f} s of {bound:g} s"


def _last(box: Path) -> dict[str, Any]:
    lines = read_box(box)
    return lines[-1] if lines else {}


@contextmanager
def sacrificial_host(
    bench: Bench, box: Path, then: str = ""
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a host of its own that walks on the device; yield it and the device's process id."""
    if not any(c.name == BELT for c in bench.capability.streams[0].channels):
        raise NotJudged(f"no channel {BELT}: the black box cannot tell motion")
    bench.timed = True
    order = {"name": bench.name, "options": bench.options, "black_box": str(box), "then": then}
    host = subprocess.Popen(
        [sys.executable, "-m", "device_interface.conformance.host", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    device = 0
    try:
        wait_for(lambda: _last(box).get("moving", False) or host.poll() is not None, _START_S)
        if not _last(box).get("moving", False):
            raise Deviates("the belt does not move under a host of its own")
        assert host.stdout is not None
        device = int(host.stdout.readline() or 0)
        if not device:
            raise Deviates("the host of its own ended before the device walked")
        bench.watch(device)
        yield host, device
    finally:
        host.kill()
        host.communicate()
        if device and not wait_for(lambda: not _alive(device), 10.0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(device, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _gone(bench: Bench, number: signal.Signals) -> str:
    box = bench.black_box()
    capability = bench.capability
    bound = capability.watchdog_s + max(
        capability.stop_within_s.get(0, 0.0), capability.stop_within_s.get(1, 0.0)
    )
    with sacrificial_host(bench, box) as (host, device):
        with bench.lateness() as late:
            began = time.monotonic_ns()
            host.send_signal(number)
            wait_for(lambda: not _last(box)["moving"], bound + 5.0)
            allowance = late.allowance_s
        lines = [line for line in read_box(box) if line["t_ns"] >= began]
        if not lines or lines[-1]["moving"]:
            raise Deviates("the belt goes on moving")
        reacted, rest = ((lines[at]["t_ns"] - began) / 1e9 for at in (0, -1))
        if any(line["state"] == "RUNNING" for line in lines):
            raise Deviates("it is RUNNING after the host was gone")
        if reacted > capability.watchdog_s + allowance:
            raise Deviates(f"{lines[0]['state']} after {reacted:.2f} s")
        if rest > bound + allowance:
            raise Deviates(f"at rest after {rest:.2f} s; the bound is {bound:.2f} s")
        if number is signal.SIGSTOP:
            host.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            if _last(box)["moving"] or _last(box)["state"] == "RUNNING":
                raise Deviates("it moves again when the host comes back")
        elif not wait_for(lambda: not _alive(device), 10.0):
            raise Deviates("its process does not end")
    return f"{lines[0]['state']} after {reacted:.2f} s, at rest after {rest:.2f} s"


@GROUP.check(needs=("late-keepalive",), slow=True)
def host_stopped(bench: Bench) -> str:
    """When the host's process is stopped (SIGSTOP) the device stops by itself and stays so."""
    return _gone(bench, signal.SIGSTOP)


@GROUP.check(slow=True)
def host_killed(bench: Bench) -> str:
    """When the host's process is killed (SIGKILL) the device stops and its process ends."""
    return _gone(bench, signal.SIGKILL)
