"""Stop: every category, from every state, within the declared bound."""

from __future__ import annotations

import time
from collections.abc import Callable

from device_interface.conformance.bench import Bench, read_box, wait_for
from device_interface.conformance.links import DeafLink
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import BELT, Rig, S, Trace
from device_interface.contract import DeviceState, StopCategory
from device_interface.errors import DeviceRefused

GROUP = Group("stop", "Stop")
FROM = (S.RUNNING, S.DISARMED, S.ARMED, S.HOLD, S.RAMP_DOWN, S.FAULT, S.ESTOP_PHYSICAL)
CATEGORIES: tuple[StopCategory, ...] = (0, 1, 2)
_TEXT = {
    0: "power off at once",
    1: "a controlled stop, then power off",
    2: "a controlled stop with power kept",
}


def into(rig: Rig, state: DeviceState, share: float = 0.6) -> Trace:
    """Bring a device from DISARMED into `state` and return the last rows of walking, if any."""
    walked = Trace(rig.own, [])
    if state is S.ARMED:
        rig.link.arm()
    elif state is not S.DISARMED:
        _, walked = rig.walk(share)
    if state is S.HOLD:
        rig.link.hold()
    elif state is S.RAMP_DOWN:
        rig.link.ramp_down()
    elif state is S.FAULT:
        rig.inject(rig.first_fault("fault"))
    elif state is S.ESTOP_PHYSICAL:
        rig.inject(rig.first_fault("estop"))
    reached = rig.until_ramping() if state is S.RAMP_DOWN else rig.until(1.0, state)
    return walked if len(walked) else reached


def allowed_after(state: DeviceState, category: int) -> frozenset[DeviceState]:
    """Return the states in which a device may be after a stop from `state`."""
    if state in (S.FAULT, S.ESTOP_PHYSICAL, S.DISARMED):
        return frozenset({state})
    if category == 2 and state in (S.RUNNING, S.HOLD):
        return frozenset({S.HOLD})
    if category == 2 and state is S.ARMED:
        return frozenset({S.ARMED, S.DISARMED})
    return frozenset({S.DISARMED})


def _stop_from(state: DeviceState, category: StopCategory) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        rig = bench.rig()
        # from the highest speed that the device has: the bound must hold there too
        before = into(rig, state, 1.0 if state is S.RUNNING else 0.6)
        with bench.lateness() as late:
            rig.link.stop(category)
            bound = rig.bound_s(category)
            allowance = late.allowance_s if rig.real_time else 0.0
            torque = category != 2 and state not in (S.DISARMED, S.ARMED)
            seen = rig.comes_to_rest(before, bound, torque=torque, allowance_s=allowance)
        allowed = allowed_after(state, category)
        rig.until(8.0, *allowed)
        after = rig.pass_time(1.0 if rig.real_time else 3.0)
        others = [s.name for s in after.states() if s not in allowed]
        if others or rig.powered(before, after, torque=torque).any():
            raise Deviates(f"it did not stay at rest ({', '.join(others) or 'it moves again'})")
        return f"{seen}; {rig.link.state.name}"

    return run


for _state in FROM:
    for _category in CATEGORIES:
        GROUP.add(
            f"cat{_category}-from-{_state.name.lower().replace('_', '-')}",
            f"A stop of category {_category} ({_TEXT[_category]}) from {_state.name} brings the "
            "belt below 0.05 m/s"
            + (", the torque below 5 %," if _category != 2 else "")
            + f" within stop_within_s[{_category}], and the device stays so.",
            _stop_from(_state, _category),
            needs=() if _state is S.RUNNING else (f"cat{_category}-from-running",),
            by_hand="Make the fault by hand, then stop." if _state in FROM[-2:] else "",
        )


@GROUP.check(needs=("cat1-from-running",))
def during_a_stop(bench: Bench) -> str:
    """Stops during a stop, of any category, neither lengthen nor undo it."""
    rig = bench.rig()
    before = into(rig, S.RUNNING)
    rig.link.stop(1)
    first = rig.pass_time(0.1)
    rows = first
    for category in CATEGORIES + CATEGORIES:
        rig.link.stop(category)
    seen = rig.comes_to_rest(before, rig.bound_s(1), torque=True, first=rows)
    rig.until(8.0, S.DISARMED)
    return f"{seen}; DISARMED"


@GROUP.check(needs=("cat1-from-running",))
def full_queue(bench: Bench) -> str:
    """A stop behind a hundred commands still waits for none of them, and none takes effect."""
    rig = bench.rig()
    token, before = rig.walk(0.5)
    for at in range(100):
        rig.apply(rig.walking_values(0.5 + 0.003 * (at % 2)), token)
    rig.link.stop(1)
    seen = rig.comes_to_rest(before, rig.bound_s(1), torque=True)
    rig.until(8.0, S.DISARMED)
    after = rig.pass_time(3.0)
    if rig.powered(before, after, torque=False).any():
        raise Deviates("the belt moves again after the stop")
    return seen


@GROUP.check(needs=("cat1-from-running",))
def token_ends(bench: Bench) -> str:
    """After a stop, setpoints with the token of before are refused."""
    rig = bench.rig()
    token, _ = rig.walk(quick=True)
    rig.link.stop(1)
    rig.pass_time(0.1)
    rig.refused("setpoints", lambda: rig.apply(rig.walking_values(0.5), token), DeviceRefused)
    rig.until(8.0, S.DISARMED)
    rig.refused("setpoints", lambda: rig.apply(rig.walking_values(0.5), token), DeviceRefused)
    return "refused while it stops and after it"


def _real(category: StopCategory) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        rig = bench.rig(real_time=True)
        _, before = rig.walk()
        with bench.lateness() as late:
            rig.link.stop(category)
            rows = rig.pass_time(rig.bound_s(category) + 0.5)
            allowance = late.allowance_s
        took = rig.rest_s(before, rows, torque=category != 2)
        bound = rig.bound_s(category)
        shown = f"{took:.2f} s of {bound:g} s (allowance {allowance:.2f} s for this machine)"
        if took > bound + allowance:
            raise Deviates(shown)
        return shown

    return run


for _category in CATEGORIES:
    GROUP.add(
        f"cat{_category}-in-real-time",
        f"In real time, in a process of its own, a stop of category {_category} keeps the bound.",
        _real(_category),
        needs=(f"cat{_category}-from-running",),
        slow=True,
    )


@GROUP.check(needs=("cat1-in-real-time",), slow=True)
def reader_blocked(bench: Bench) -> str:
    """A stop works while nobody reads the telemetry and its pipe is full."""
    box = bench.black_box()
    rig = bench.open(real_time=True, kind=DeafLink, black_box=box)
    if not any(c.name == BELT for c in rig.own.channels):
        raise NotJudged(f"no channel {BELT}: the black box cannot tell motion")
    token = rig.link.arm()
    rig.apply(rig.walking_values(0.6), token)
    row_bytes = 20 + 4 * len(rig.own.channels)
    seconds = 1.2 * 65536 / (row_bytes * (rig.own.rate_hz or 100.0))
    rig.pass_blocks(min(20.0, max(2.0, seconds)))
    if not read_box(box)[-1]["moving"]:
        raise Deviates("the belt does not move")
    with bench.lateness() as late:
        begin = time.monotonic_ns()
        rig.link.stop(1)
        bound = rig.bound_s(1)
        wait_for(lambda: not read_box(box)[-1]["moving"], bound + 5.0)
        allowance = late.allowance_s
    last = read_box(box)[-1]
    took = (last["t_ns"] - begin) / 1e9
    if last["moving"] or took > bound + allowance:
        raise Deviates(f"at rest after {took:.2f} s; the bound is {bound:g} s")
    return f"at rest after {took:.2f} s of {bound:g} s, nothing read for {seconds:.0f} s"
