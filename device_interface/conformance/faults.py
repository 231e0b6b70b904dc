"""Fault reaction: each declared fault takes the torque away, latches, and carries its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import Rig, S, Trace
from device_interface.conformance.work import LATE_S, TRIES
from device_interface.contract import UNKNOWN_FAULT_CODE, Fault
from device_interface.errors import DeviceRefused, StateRefused
from trialkit.errors import TrialkitError

GROUP = Group("fault", "Fault reaction", one_bench=True)
_BY_HAND = "Provoke each fault of the descriptor without a person in the device."


@dataclass
class Provoked:
    """What every fault that takes the torque away did, each provoked once in a walking device.

    Attributes
    ----------
    kinds, missing : list of str
        Faults that were provoked, and those that could not be.
    deviations : dict of str to str
        The first deviation of each requirement, by the name of its check.
    rest : str
        How the last one came to rest.
    again : int
        How often one was provoked again, because this machine was late.
    """

    kinds: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    deviations: dict[str, str] = field(default_factory=dict)
    rest: str = ""
    again: int = 0


def _provoked(bench: Bench) -> Provoked:
    """Provoke every fault, once for all checks of this group."""
    found: Provoked | None = bench.kept.get(GROUP.name)
    if found is None:
        found = bench.kept[GROUP.name] = Provoked()
        for fault in bench.capability.faults:
            if fault.reaction == "fault":
                _provoke(bench, fault, found)
    bench.timed = False  # what a late machine did was repeated here, fault by fault
    return found


def _provoke(bench: Bench, fault: Fault, found: Provoked) -> None:
    """Provoke one fault; again where it deviates while this machine is late."""
    for left in reversed(range(TRIES)):
        deviations: dict[str, str] = {}
        with bench.lateness() as late:
            try:
                found.rest = _looked_at(bench.rig(), fault, deviations)
            except NotJudged:
                found.missing.append(fault.kind)
                return
            except (Deviates, TrialkitError) as error:
                deviations.setdefault("removes-torque", str(error))
        if not (deviations and left and bench.timed and late.worst_s > LATE_S):
            break
        found.again += 1
        bench.end_check()
    found.kinds.append(fault.kind)
    for aspect, what in deviations.items():
        found.deviations.setdefault(aspect, f"{fault.kind}: {what}")


def _looked_at(rig: Rig, fault: Fault, deviations: dict[str, str]) -> str:
    """Walk, provoke a fault, and judge it; return how it came to rest."""
    _, before = rig.walk()
    rig.inject(fault.kind)
    rest = ""
    try:
        moving = rig.powered(before, rig.until(1.0, S.FAULT), torque=False)
        if len(moving) and moving[-1]:
            rig.refused("acknowledge", rig.link.acknowledge, StateRefused)
    except Deviates as error:
        deviations["acknowledged-at-rest"] = str(error)
    for aspect, look in _ASPECTS.items():
        try:
            rest = look(rig, fault, before) or rest
        except (Deviates, DeviceRefused) as error:
            deviations.setdefault(aspect, str(error))
            break
    return rest


def _rests(rig: Rig, fault: Fault, before: Trace) -> str:
    del fault
    return rig.comes_to_rest(before, rig.bound_s(0), torque=True)


def _stays(rig: Rig, fault: Fault, before: Trace) -> str:
    del fault
    rig.stays(2.0, S.FAULT)
    rig.link.stop(1)
    rows = rig.stays(3.0, S.FAULT)
    if rig.powered(before, rows, torque=True).any():
        raise Deviates("something moves again")
    return ""


def _carries(rig: Rig, fault: Fault, before: Trace) -> str:
    del before
    codes = set(rig.pass_time(1.0).column("fault_code").astype(int).tolist())
    listed = [code for code, _ in rig.link.faults()]
    if codes != {fault.code} or fault.code not in listed:
        raise Deviates(f"{sorted(codes)}, {listed}; declared {fault.code}")
    return ""


def _acknowledged(rig: Rig, fault: Fault, before: Trace) -> str:
    del fault, before
    rig.link.acknowledge()
    rig.stays(1.0, S.DISARMED)
    if rig.link.faults():
        raise Deviates("still listed after it was acknowledged")
    return ""


_ASPECTS: dict[str, Callable[[Rig, Fault, Trace], str]] = {
    "removes-torque": _rests,
    "latches": _stays,
    "carries-code": _carries,
    "acknowledged-at-rest": _acknowledged,
}


def _judge(bench: Bench, aspect: str) -> str:
    found = _provoked(bench)
    if aspect in found.deviations:
        raise Deviates(found.deviations[aspect])
    if not found.kinds:
        raise NotJudged("this device offers no injection of its faults")
    left = f"; not injectable: {', '.join(found.missing)}" if found.missing else ""
    again = f"; repeated {found.again} times on a late machine" if found.again else ""
    return ", ".join(found.kinds) + left + again


@GROUP.check(by_hand=_BY_HAND)
def removes_torque(bench: Bench) -> str:
    """Each declared fault takes torque and belt away within the bound of category 0."""
    return f"{_judge(bench, 'removes-torque')}: {_provoked(bench).rest}"


@GROUP.check(needs=("removes-torque",), by_hand=_BY_HAND)
def latches(bench: Bench) -> str:
    """Each fault stays FAULT for 5 s and through stop and keepalives, until acknowledged."""
    return _judge(bench, "latches")


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def carries_code(bench: Bench) -> str:
    """The declared code is in fault_code and in the list of faults until acknowledged."""
    return _judge(bench, "carries-code")


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def acknowledged_at_rest(bench: Bench) -> str:
    """Acknowledging is refused while the belt moves; at rest it leads to DISARMED, no further."""
    return _judge(bench, "acknowledged-at-rest")


@GROUP.check(needs=("latches",), by_hand=_BY_HAND)
def in_every_state(bench: Bench) -> str:
    """A fault is a fault in DISARMED, ARMED, HOLD and RAMP_DOWN too."""
    rig = bench.rig()
    kind = rig.first_fault("fault")
    judged = [S.DISARMED, S.ARMED, S.HOLD, S.RAMP_DOWN]
    for state in tuple(judged):
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
            rig.until(1.0, S.RAMP_DOWN, S.DISARMED)
            if rig.link.state is S.DISARMED:  # nothing was there to bring to rest
                judged.remove(state)
                continue
        else:
            rig.until(1.0, state)
        rig.inject(kind)
        rig.stays(0.5, S.FAULT)
    return f"{kind} in {', '.join(state.name for state in judged)}"


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
