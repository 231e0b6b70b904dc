"""Fault reaction: each declared fault takes the torque away, latches, and carries its code."""

from __future__ import annotations

from collections.abc import Callable

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import Rig, S, Trace
from device_interface.contract import UNKNOWN_FAULT_CODE, Fault
from device_interface.errors import DeviceRefused, StateRefused

GROUP = Group("fault", "Fault reaction")
_BY_HAND = "Provoke each fault of the descriptor without a person in the device."


def _each(bench: Bench, judge: Callable[[Rig, Fault, Trace], None]) -> str:
    """Provoke every fault that takes the torque away, in a walking device, and judge it."""
    rig = bench.rig()
    kinds, missing = [], []
    for fault in rig.capability.faults:
        if fault.reaction != "fault":
            continue
        if not rig.rest():
            raise Deviates(f"it does not come back to DISARMED before {fault.kind}")
        _, before = rig.walk()
        try:
            rig.inject(fault.kind)
        except NotJudged:
            missing.append(fault.kind)
            continue
        judge(rig, fault, before)
        kinds.append(fault.kind)
    if not kinds:
        raise NotJudged("this device offers no injection of its faults")
    left = f"; not injectable: {', '.join(missing)}" if missing else ""
    return ", ".join(kinds) + left


@GROUP.check(by_hand=_BY_HAND)
def removes_torque(bench: Bench) -> str:
    """Each declared fault takes torque and belt away within the bound of category 0."""
    times = []

    def judge(rig: Rig, fault: Fault, before: Trace) -> None:
        try:
            times.append(rig.comes_to_rest(before, rig.bound_s(0), torque=True))
        except Deviates as error:
            raise Deviates(f"{fault.kind}: {error}") from error

    return f"{_each(bench, judge)}: {times[-1] if times else ''}"


@GROUP.check(needs=("removes-torque",), by_hand=_BY_HAND)
def latches(bench: Bench) -> str:
    """Each fault stays FAULT for 5 s and through stop and keepalives, until acknowledged."""

    def judge(rig: Rig, fault: Fault, before: Trace) -> None:
        try:
            rig.stays(2.0, S.FAULT)
            rig.link.stop(1)
            rows = rig.stays(3.0, S.FAULT)
        except Deviates as error:
            raise Deviates(f"{fault.kind}: {error}") from error
        if rig.powered(before, rows, torque=True).any():
            raise Deviates(f"{fault.kind}: something moves again")

    return _each(bench, judge)


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def carries_code(bench: Bench) -> str:
    """The declared code is in fault_code and in the list of faults until acknowledged."""

    def judge(rig: Rig, fault: Fault, before: Trace) -> None:
        del before
        rig.until(1.0, S.FAULT)
        codes = set(rig.pass_time(1.0).column("fault_code").astype(int).tolist())
        listed = [code for code, _ in rig.link.faults()]
        if codes != {fault.code} or fault.code not in listed:
            raise Deviates(f"{fault.kind}: {sorted(codes)}, {listed}; declared {fault.code}")

    return _each(bench, judge)


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def acknowledged_at_rest(bench: Bench) -> str:
    """Acknowledging is refused while the belt moves; at rest it leads to DISARMED, no further."""

    def judge(rig: Rig, fault: Fault, before: Trace) -> None:
        moving = rig.powered(before, rig.until(1.0, S.FAULT), torque=False)
        if len(moving) and moving[-1]:
            rig.refused(f"{fault.kind}: acknowledge", rig.link.acknowledge, StateRefused)
        rig.pass_time(rig.bound_s(0) + 0.5)
        rig.link.acknowledge()
        rig.stays(1.0, S.DISARMED)
        if rig.link.faults():
            raise Deviates(f"{fault.kind}: still listed after it was acknowledged")

    return _each(bench, judge)


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def in_every_state(bench: Bench) -> str:
    """A fault is a fault in DISARMED, ARMED, HOLD and RAMP_DOWN too."""
    rig = bench.rig()
    kind = rig.first_fault("fault")
    for state in (S.DISARMED, S.ARMED, S.HOLD, S.RAMP_DOWN):
        if not rig.rest():
            raise Deviates(f"it does not come back to DISARMED before {state.name}")
        if state is S.ARMED:
            rig.link.arm()
        elif state is not S.DISARMED:
            rig.walk(quick=True)
        if state is S.HOLD:
            rig.link.hold()
        elif state is S.RAMP_DOWN:
            rig.link.ramp_down()
        rig.until(1.0, state)
        rig.inject(kind)
        rig.stays(0.5, S.FAULT)
    return f"{kind} in DISARMED, ARMED, HOLD and RAMP_DOWN"


@GROUP.check(by_hand="Provoke a fault that the descriptor does not name.")
def unknown_code(bench: Bench) -> str:
    """A fault that the descriptor does not name is treated as a fault and shows a code."""
    rig = bench.rig()
    _, before = rig.walk()
    rig.inject("undeclared")
    seen = rig.comes_to_rest(before, rig.bound_s(0), torque=True)
    rows = rig.stays(0.5, S.FAULT)
    codes = set(rows.column("fault_code").astype(int).tolist())
    if 0 in codes or not rig.link.faults():
        raise Deviates(f"fault_code {sorted(codes)}, faults {list(rig.link.faults())}")
    try:
        rig.link.arm()
    except DeviceRefused:
        return f"{seen}; code {sorted(codes)} ({UNKNOWN_FAULT_CODE} is unknown)"
    raise Deviates("it can be armed")
