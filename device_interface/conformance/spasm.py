"""Spasm and overload: the device yields by itself, and nothing goes on by itself."""

from __future__ import annotations

from collections.abc import Callable

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import Rig, S
from device_interface.errors import DeviceRefused

GROUP = Group("spasm", "Spasm, overload")
_KINDS = {
    "spasm": "A sudden interaction torque",
    "velocity_reversal": "A joint that is driven against its path",
    "tracking_error": "A leg that does not follow its path (read differs from set)",
}
_NOTICED_S = {"spasm": 0.5, "velocity_reversal": 4.0, "tracking_error": 4.0}
"""What is sudden is noticed at once; what differs from a path, at the latest a stride later."""


def _kind(rig: Rig, kind: str) -> str:
    if rig.capability.fault(kind) is None:
        raise NotJudged(f"the descriptor has no fault {kind}")
    return kind


def _yields(kind: str) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        rig = bench.rig()
        _, before = rig.walk(1.0)
        rig.inject(_kind(rig, kind))
        noticed = rig.until(_NOTICED_S[kind], S.HOLD, S.RAMP_DOWN, S.FAULT)
        state = rig.link.state.name
        if kind != "spasm":  # the time to rest begins when it was noticed
            walking = noticed.column("device_state") == int(S.RUNNING)
            before, noticed = noticed.where(walking), noticed.where(~walking)
        seen = rig.comes_to_rest(before, rig.bound_s(2), torque=False, first=noticed)
        return f"{state}; {seen}"

    return run


for _name, _what in _KINDS.items():
    GROUP.add(
        f"{_name.replace('_', '-')}-yields",
        f"{_what} leads to hold, ramp-down or fault, with the belt at rest within the bound of "
        "category 2"
        + ("." if _name == "spasm" else " after it was noticed, at the latest a stride later."),
        _yields(_name),
        by_hand=f"{_what}: provoke it with a weight, without a person in the device.",
    )


@GROUP.check(by_hand="Load a joint beyond its limit.")
def overload_removes_torque(bench: Bench) -> str:
    """An overload takes torque and belt away within the bound of category 0."""
    rig = bench.rig()
    _, before = rig.walk()
    rig.inject(_kind(rig, "overload"))
    seen = rig.comes_to_rest(before, rig.bound_s(0), torque=True)
    rig.stays(0.2, S.FAULT)
    return f"{seen}; FAULT"


@GROUP.check(needs=("spasm-yields",), by_hand="After a spasm wait for 20 s: nothing may move.")
def no_auto_resume(bench: Bench) -> str:
    """After a spasm nothing moves for 20 s, and setpoints of before are refused."""
    rig = bench.rig()
    token, before = rig.walk()
    rig.inject(_kind(rig, "spasm"))
    rig.until(0.5, S.HOLD, S.RAMP_DOWN, S.FAULT)
    rig.pass_time(rig.bound_s(2))
    rows = rig.stays(20.0, S.HOLD, S.RAMP_DOWN, S.DISARMED, S.FAULT)
    if rig.powered(before, rows, torque=False).any():
        raise Deviates("the belt moves again by itself")
    rig.refused("setpoints", lambda: rig.apply(rig.walking_values(0.5), token), DeviceRefused)
    return f"{rig.link.state.name} for 20 s; setpoints of before refused"


@GROUP.check(needs=("spasm-yields",), by_hand="Look at the fault code while a spasm lasts.")
def spasm_reported(bench: Bench) -> str:
    """A spasm shows in fault_code, so that the session can count and end (its own tests do)."""
    rig = bench.rig()
    rig.walk()
    fault = rig.capability.fault(_kind(rig, "spasm"))
    rig.inject("spasm")
    codes = set(rig.pass_time(1.0).column("fault_code").astype(int).tolist())
    wanted = fault.code if fault is not None else 0
    if wanted not in codes:
        raise Deviates(f"fault_code {sorted(codes)}; declared {wanted}")
    return f"code {wanted}"


@GROUP.check(needs=("no-auto-resume",), by_hand="Provoke three spasms, resuming between them.")
def each_spasm_counts(bench: Bench) -> str:
    """The second and third spasm after a resume are met as the first was."""
    rig = bench.rig()
    token, before = rig.walk()
    for at in range(3):
        rig.inject(_kind(rig, "spasm"))
        first = rig.until(0.5, S.HOLD, S.RAMP_DOWN, S.FAULT)
        if rig.link.state is not S.HOLD:
            return f"{rig.link.state.name}: it cannot be resumed"
        rig.comes_to_rest(before, rig.bound_s(2), torque=False, first=first)
        if at < 2:
            token = rig.link.resume()
            rig.apply(rig.walking_values(0.6), token)
            rig.to_speed(0.9 * rig.walking_values(0.6).get("speed_m_s", 0.0))
            before = rig.pass_time(1.0)
    return "three spasms, three holds"
