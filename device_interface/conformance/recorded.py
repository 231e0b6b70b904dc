"""Record: what the device gives so that a record can be written, and what it leaves after a crash.

A full disk of the host is in the session's own tests; here the device must do what the
session then asks for, a controlled ramp-down, also when the host is gone right after.
"""

from __future__ import annotations

import os
import signal

import numpy as np

from device_interface.conformance.bench import Bench, read_box, wait_for
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import READ_BACK, S
from device_interface.conformance.watchdog import sacrificial_host
from device_interface.errors import DeviceRefused

GROUP = Group("record", "Record")


@GROUP.check()
def effective_time(bench: Bench) -> str:
    """A command is answered with the device time at which it takes effect, and does so then.

    Requested and accepted are times of the host; the set value must begin to move within three
    periods of the time that the device gave.
    """
    rig = bench.rig()
    shown = [p for p in rig.capability.parameters if "_set_" in READ_BACK.get(p.name, "")]
    shown = [p for p in shown if any(c.name == READ_BACK[p.name] for c in rig.own.channels)]
    if not shown:
        raise NotJudged("no channel shows a set value")
    period = 1e9 / (rig.own.rate_hz or 100.0)
    p, seen = shown[0], []
    token = rig.link.arm()
    for at in range(3):
        before = rig.pass_time(0.5 + 0.003 * at)
        requested = int(before.t_device_ns[-1])
        value = p.rest + (0.5 if at % 2 == 0 else 0.2) * (p.maximum - p.rest)
        due = rig.apply({p.name: value}, token)
        rows = rig.pass_time(2.5)
        values = rows.column(READ_BACK[p.name])
        moved = np.flatnonzero(np.abs(values - before.column(READ_BACK[p.name])[-1]) > 5e-4)
        if not len(moved):
            raise Deviates(f"{READ_BACK[p.name]} does not move")
        first = int(rows.t_device_ns[moved[0]])
        late = (first - due) / 1e9
        if due < requested - period or abs(first - due) > 3 * period:
            raise Deviates(f"the set value moves {late:+.3f} s from the time that was given")
        seen.append(f"{late:+.3f} s")
    return f"{READ_BACK[p.name]} moves {', '.join(seen)} from the time given"


@GROUP.check()
def rows_stamped(bench: Bench) -> str:
    """Each row has a time of the device and one of the host; neither goes back."""
    rig = bench.rig()
    _, rows = rig.walk()
    for name in ("t_device_ns", "t_host_ns"):
        times = getattr(rows, name)
        if times.dtype != np.int64 or (np.diff(times) < 0).any():
            raise Deviates(f"{name} goes back, or is not whole nanoseconds")
    return f"{len(rows)} rows"


@GROUP.check()
def refusal_explained(bench: Bench) -> str:
    """A refusal comes with a code, what happened and what to do about it."""
    rig = bench.rig()
    tries = (rig.link.hold, rig.link.resume, lambda: rig.apply({"nothing": 1.0}, 0))
    for call in tries:
        try:
            call()
        except DeviceRefused as error:
            if not (error.code and error.message and error.remedy):
                raise Deviates(f"{error.code}: {error.message!r}, {error.remedy!r}") from error
        else:
            raise Deviates("accepted")
    return f"{len(tries)} refusals"


@GROUP.check()
def ramp_down(bench: Bench) -> str:
    """A ramp-down, as at the end or when the session's disk is full, ends in DISARMED at rest."""
    rig = bench.rig()
    for held in (False, True):
        if not rig.rest():
            raise Deviates("it does not come back to DISARMED")
        _, before = rig.walk(1.0)
        if held:
            rig.link.hold()
            rig.until(1.0, S.HOLD)
        rig.link.ramp_down()
        rig.comes_to_rest(before, rig.bound_s(2), torque=False)
        rig.until(10.0, S.DISARMED)
        rig.link.ramp_down()
        rig.stays(0.2, S.DISARMED)
    return "DISARMED from RUNNING and from HOLD; told twice it stays so"


@GROUP.check()
def black_box_agrees(bench: Bench) -> str:
    """The device's own account (its black box) has the states that telemetry has, in order."""
    box = bench.black_box()
    rig = bench.open(black_box=box)
    token = rig.link.arm()
    traces = [rig.until(2.0, S.ARMED)]
    rig.apply(rig.walking_values(0.5), token)
    traces.append(rig.pass_time(2.0))
    rig.link.hold()
    traces.append(rig.pass_time(rig.bound_s(2) + 0.5))
    rig.link.ramp_down()
    traces.append(rig.pass_time(1.0))
    told = [s.name for t in traces for s in t.states()]
    noted = [line["state"] for line in read_box(box)]
    both = [_once(told), _once(noted)]
    both = [path[1:] if path and path[0] == "DISARMED" else path for path in both]
    short = min(map(len, both))
    if both[0][: short - 1] != both[1][: short - 1] or abs(len(both[0]) - len(both[1])) > 1:
        raise Deviates(f"telemetry {both[0]}, black box {both[1]}")
    return ", ".join(both[1])


def _once(path: list[str]) -> list[str]:
    return [name for at, name in enumerate(path) if at == 0 or name != path[at - 1]]


@GROUP.check(slow=True)
def black_box_after_crash(bench: Bench) -> str:
    """A device process that is killed while it walks leaves a readable black box."""
    box = bench.black_box()
    rig = bench.open(real_time=True, black_box=box)
    rig.walk(quick=True)
    os.kill(rig.link.pid, signal.SIGKILL)
    wait_for(lambda: False, 0.1)
    lines = read_box(box)
    if not lines or lines[-1]["state"] != "RUNNING":
        raise Deviates(f"the last line is {lines[-1] if lines else None}")
    return f"{len(lines)} lines, the last one RUNNING"


@GROUP.check(needs=("ramp-down",), slow=True)
def ramp_down_without_host(bench: Bench) -> str:
    """A device that was told to ramp down comes to rest when the host is gone right after that.

    DISARMED, or LINK_LOST where its watchdog ends the ramp.
    """
    box = bench.black_box()
    with sacrificial_host(bench, box, "ramp_down") as (host, _):
        assert host.stdin is not None
        host.stdin.write("now\n")
        host.stdin.flush()
        if not wait_for(lambda: host.poll() is not None, 10.0):
            raise Deviates("the host did not get its ramp-down answered")
        bound = bench.capability.stop_within_s.get(2, 0.0)
        wait_for(lambda: _rest(read_box(box)[-1]), bound + 8.0)
        last = read_box(box)[-1]
        if not _rest(last):
            raise Deviates(f"the last line is {last}")
    return f"{last['state']} at rest"


def _rest(line: dict[str, object]) -> bool:
    return not line["moving"] and line["state"] in ("DISARMED", "LINK_LOST")
