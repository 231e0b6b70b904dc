"""Ordering: what comes at the wrong time is refused."""

from __future__ import annotations

from itertools import pairwise

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group
from device_interface.conformance.rig import Rig, S
from device_interface.contract import TRANSITIONS
from device_interface.errors import StateRefused, TokenRefused

GROUP = Group("ordering", "Ordering")


def _apply(rig: Rig, token: int) -> int:
    return rig.apply(rig.walking_values(0.5), token)


@GROUP.check()
def apply_before_arm(bench: Bench) -> str:
    """Setpoints, hold, resume and a token that was guessed are refused before arming."""
    rig = bench.rig()
    for token in (0, 1, 2):
        rig.refused("apply", lambda t=token: _apply(rig, t), StateRefused)  # type: ignore[misc]
    rig.refused("hold", rig.link.hold, StateRefused)
    rig.refused("resume", rig.link.resume, StateRefused)
    rig.stays(0.2, S.DISARMED)
    return "refused; DISARMED"


@GROUP.check()
def double_arm(bench: Bench) -> str:
    """Arming an armed or running device is refused."""
    rig = bench.rig()
    token = rig.link.arm()
    rig.refused("arming twice", rig.link.arm, StateRefused)
    rig.stays(0.1, S.ARMED)
    _apply(rig, token)
    rig.refused("arming while running", rig.link.arm, StateRefused)
    rig.stays(0.1, S.RUNNING)
    return "refused in ARMED and RUNNING"


@GROUP.check()
def disarm_while_running(bench: Bench) -> str:
    """Disarming is refused while the device runs: the way leads through a stop."""
    rig = bench.rig()
    rig.walk(quick=True)
    rig.refused("disarm", rig.link.disarm, StateRefused)
    rig.stays(0.1, S.RUNNING)
    return "refused; RUNNING"


@GROUP.check()
def stale_token(bench: Bench) -> str:
    """Setpoints with the token of an arming that has ended are refused."""
    rig = bench.rig()
    old = rig.link.arm()
    rig.link.disarm()
    new = rig.link.arm()
    if new == old:
        raise Deviates(f"both armings have the token {old}")
    for token in (old, new + 1, -1):
        rig.refused(f"token {token}", lambda t=token: _apply(rig, t), TokenRefused)  # type: ignore[misc]
    rig.stays(0.1, S.ARMED)
    _apply(rig, new)
    return f"{old} refused, {new} accepted"


@GROUP.check(by_hand="Make a fault, then try to arm, to move and to resume: all refused.")
def arm_after_fault(bench: Bench) -> str:
    """After a fault arming, setpoints and resume are refused until it was acknowledged."""
    rig = bench.rig()
    token, _ = rig.walk(quick=True)
    rig.inject(rig.first_fault("fault"))
    rig.until(1.0, S.FAULT)
    rig.refused("arming", rig.link.arm, StateRefused)
    rig.refused("resume", rig.link.resume, StateRefused)
    rig.refused("setpoints", lambda: _apply(rig, token), StateRefused, TokenRefused)
    rig.stays(2.0, S.FAULT)
    return "all refused; FAULT"


@GROUP.check(by_hand="Press the emergency stop, then try to arm: refused.")
def arm_while_estopped(bench: Bench) -> str:
    """While the emergency stop is pressed arming is refused and preflight names it."""
    rig = bench.rig()
    rig.inject(rig.first_fault("estop"))
    rig.until(1.0, S.ESTOP_PHYSICAL)
    if not rig.link.preflight():
        raise Deviates("preflight finds nothing")
    rig.refused("arming", rig.link.arm, StateRefused)
    return "refused"


@GROUP.check()
def edges_legal(bench: Bench) -> str:
    """Every change of state in a walk with hold, resume and stop is one that the contract has."""
    rig = bench.rig()
    token = rig.link.arm()
    traces = [rig.until(2.0, S.ARMED)]
    _apply(rig, token)
    traces.append(rig.pass_time(3.0))
    rig.link.hold()
    traces.append(rig.until(2.0, S.HOLD))
    traces.append(rig.pass_time(4.0))
    new = rig.link.resume()
    traces.append(rig.until(2.0, S.RUNNING))
    _apply(rig, new)
    traces.append(rig.pass_time(2.0))
    rig.link.ramp_down()
    traces += [rig.until(10.0, S.DISARMED), rig.pass_time(0.1)]
    states = [s for trace in traces for s in trace.states()]
    path = [s for at, s in enumerate(states) if at == 0 or s is not states[at - 1]]
    if path and path[0] is S.DISARMED:
        path = path[1:]
    for old, new_state in pairwise(path):
        if new_state not in TRANSITIONS[old]:
            raise Deviates(f"{old.name} to {new_state.name}")
    shown = ", ".join(s.name for s in path)
    wanted = [S.ARMED, S.RUNNING, S.HOLD, S.RUNNING, S.RAMP_DOWN, S.DISARMED]
    if path != wanted:
        raise Deviates(f"telemetry shows {shown}")
    return shown
