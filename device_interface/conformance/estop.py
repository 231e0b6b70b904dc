"""Emergency stop: it takes the torque away, latches, and counts as pressed where it is missing."""

from __future__ import annotations

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group
from device_interface.conformance.rig import Rig, S, Trace
from device_interface.errors import StateRefused

GROUP = Group("estop", "E-stop")
_BY_HAND = "Press the emergency stop while the device walks without a person in it."


def _walking(bench: Bench) -> tuple[Rig, str, Trace]:
    rig = bench.rig()
    kind = rig.first_fault("estop")
    _, before = rig.walk()
    return rig, kind, before


@GROUP.check(by_hand=_BY_HAND)
def pressed(bench: Bench) -> str:
    """The pressed emergency stop takes belt and torque away within the bound of category 0."""
    rig, kind, before = _walking(bench)
    rig.inject(kind)
    seen = rig.comes_to_rest(before, rig.bound_s(0), torque=True)
    rig.stays(0.2, S.ESTOP_PHYSICAL)
    return f"{seen}; ESTOP_PHYSICAL"


@GROUP.check(needs=("pressed",), by_hand=_BY_HAND)
def pressed_at_rest(bench: Bench) -> str:
    """It is seen in DISARMED, ARMED and HOLD as well, and from a latched fault."""
    rig = bench.rig()
    for state in (S.DISARMED, S.ARMED, S.HOLD, S.FAULT):
        if not rig.rest():
            raise Deviates("it does not come back to DISARMED")
        if state is S.ARMED:
            rig.link.arm()
        elif state is not S.DISARMED:
            rig.walk(quick=True)
        if state is S.HOLD:
            rig.link.hold()
        elif state is S.FAULT:
            rig.inject(rig.first_fault("fault"))
        rig.until(1.0, state)
        rig.inject(rig.first_fault("estop"))
        rig.stays(0.5, S.ESTOP_PHYSICAL)
    return "ESTOP_PHYSICAL from DISARMED, ARMED, HOLD and FAULT"


@GROUP.check(needs=("pressed",), by_hand=_BY_HAND)
def reported(bench: Bench) -> str:
    """The channel fault_code and the list of faults carry its declared code."""
    rig, kind, _ = _walking(bench)
    rig.inject(kind)
    rig.until(1.0, S.ESTOP_PHYSICAL)
    fault = rig.capability.fault(kind)
    wanted = fault.code if fault is not None else 0
    codes = set(rig.pass_time(0.5).column("fault_code").astype(int).tolist())
    listed = [code for code, _ in rig.link.faults()]
    if codes != {wanted} or wanted not in listed:
        raise Deviates(f"fault_code {sorted(codes)}, faults {listed}; declared {wanted}")
    return f"code {wanted}"


@GROUP.check(needs=("pressed",), by_hand=_BY_HAND)
def pressed_cannot_be_acknowledged(bench: Bench) -> str:
    """While it is pressed, acknowledging is refused."""
    rig, kind, _ = _walking(bench)
    rig.inject(kind)
    rig.until(1.0, S.ESTOP_PHYSICAL)
    rig.pass_time(3.0)
    rig.refused("acknowledge", rig.link.acknowledge, StateRefused)
    rig.stays(0.2, S.ESTOP_PHYSICAL)
    return "refused; ESTOP_PHYSICAL"


@GROUP.check(needs=("pressed",), by_hand="Release the stop: nothing may move or be armed.")
def released_stays_latched(bench: Bench) -> str:
    """Released and not acknowledged it stays latched: nothing moves, arming is refused."""
    rig, kind, before = _walking(bench)
    rig.inject(kind)
    rig.until(1.0, S.ESTOP_PHYSICAL)
    rig.pass_time(3.0)
    rig.inject("estop_release")
    rows = rig.stays(5.0, S.ESTOP_LATCHED)
    if rig.powered(before, rows, torque=True).any():
        raise Deviates("something moves after the release")
    rig.refused("arming", rig.link.arm, StateRefused)
    return "ESTOP_LATCHED for 5 s; arming refused"


@GROUP.check(needs=("released-stays-latched",), by_hand="Release, acknowledge, look at the state.")
def acknowledged_is_disarmed(bench: Bench) -> str:
    """Released and acknowledged, the device is DISARMED and no further; then it can be armed."""
    rig, kind, _ = _walking(bench)
    rig.inject(kind)
    rig.until(1.0, S.ESTOP_PHYSICAL)
    rig.pass_time(3.0)
    rig.inject("estop_release")
    rig.until(1.0, S.ESTOP_LATCHED)
    rig.link.acknowledge()
    rig.stays(2.0, S.DISARMED)
    rig.link.arm()
    rig.stays(0.1, S.ARMED)
    return "DISARMED; armed again"


@GROUP.check(needs=("released-stays-latched",), by_hand="Press it again before acknowledging.")
def pressed_again(bench: Bench) -> str:
    """Pressed again while latched, it counts as pressed."""
    rig, kind, _ = _walking(bench)
    rig.inject(kind)
    rig.until(1.0, S.ESTOP_PHYSICAL)
    rig.inject("estop_release")
    rig.until(1.0, S.ESTOP_LATCHED)
    rig.inject(kind)
    rig.stays(0.5, S.ESTOP_PHYSICAL)
    rig.refused("acknowledge", rig.link.acknowledge, StateRefused)
    return "ESTOP_PHYSICAL"


@GROUP.check(
    needs=("pressed-cannot-be-acknowledged",),
    by_hand="Pull the plug of the emergency stop while it walks.",
)
def unplugged_is_pressed(bench: Bench) -> str:
    """An emergency stop that is not plugged in counts as pressed."""
    rig = bench.rig()
    _, before = rig.walk()
    rig.inject("estop_unplugged")
    seen = rig.comes_to_rest(before, rig.bound_s(0), torque=True)
    rig.stays(0.2, S.ESTOP_PHYSICAL)
    rig.refused("acknowledge", rig.link.acknowledge, StateRefused)
    return f"{seen}; ESTOP_PHYSICAL"


@GROUP.check(
    needs=("pressed",),
    by_hand="Press the emergency stop, then switch the device on: it must not arm.",
)
def pressed_at_power_up(bench: Bench) -> str:
    """Pressed when the power comes on, it is seen before the device can be armed."""
    kind = bench.rig().first_fault("estop")
    rig = bench.open(extra={"faults": [{"at_s": 0.0, "kind": kind}]})
    rig.refused("arming at once", rig.link.arm, StateRefused)
    rig.stays(0.5, S.ESTOP_PHYSICAL)
    return "arming refused at once; ESTOP_PHYSICAL"
