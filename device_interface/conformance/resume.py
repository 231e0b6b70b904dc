"""Resume: a hold goes on from rest, under a new token, and repeats nothing."""

from __future__ import annotations

import numpy as np

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import BELT, PLAYS, READ_BACK, Rig, S, Trace
from device_interface.errors import StateRefused, TokenRefused

GROUP = Group("resume", "Resume")


def _held(bench: Bench) -> tuple[Rig, int, Trace]:
    """Return a device in HOLD at rest, the token of before, and rows of walking."""
    rig = bench.rig()
    token, before = rig.walk()
    rig.link.hold()
    rig.until(1.0, S.HOLD)
    rig.pass_time(rig.bound_s(2) + 0.5)
    return rig, token, before


def _plays_on(rig: Rig) -> None:
    """Say that a player has no command to repeat: after a hold its recording goes on."""
    if any(c.name == PLAYS for c in rig.own.channels):
        raise NotJudged("a recording goes on where it stood, and moves nobody")


@GROUP.check()
def hold_comes_to_rest(bench: Bench) -> str:
    """A hold brings the belt to rest within the bound of category 2, with power kept."""
    rig = bench.rig()
    _, before = rig.walk(1.0)
    rig.link.hold()
    seen = rig.comes_to_rest(before, rig.bound_s(2), torque=False)
    rig.stays(1.0, S.HOLD)
    rig.link.hold()
    rig.stays(0.2, S.HOLD)
    return f"{seen}; HOLD, also when told twice"


@GROUP.check(needs=("hold-comes-to-rest",))
def while_moving_refused(bench: Bench) -> str:
    """Resume is refused while the belt still moves."""
    rig = bench.rig()
    _plays_on(rig)
    _, before = rig.walk()
    if not rig.powered(before, before, torque=False).any():
        raise NotJudged("the device reports no belt that moves")
    rig.link.hold()
    rig.refused("resume", rig.link.resume, StateRefused)
    rig.stays(0.2, S.HOLD)
    return "refused; HOLD"


@GROUP.check(needs=("hold-comes-to-rest",))
def new_token(bench: Bench) -> str:
    """Resume gives a new token; setpoints with the one of before are refused."""
    rig, old, _ = _held(bench)
    new = rig.link.resume()
    if new == old:
        raise Deviates(f"the token is {old} as before")
    rig.refused(
        "the token of before", lambda: rig.apply(rig.walking_values(0.5), old), TokenRefused
    )
    rig.apply(rig.walking_values(0.5), new)
    return "the old token refused, the new one accepted"


@GROUP.check(needs=("hold-comes-to-rest",))
def nothing_repeated(bench: Bench) -> str:
    """After resume nothing moves until new setpoints come: no command of before is repeated."""
    rig, _, before = _held(bench)
    _plays_on(rig)
    rig.link.resume()
    rows = rig.stays(5.0, S.RUNNING)
    if rig.powered(before, rows, torque=False).any():
        far = float(np.abs(rows.column(BELT)).max()) if rows.has(BELT) else float("nan")
        raise Deviates(f"the belt walks at {far:.2f} m/s without a new command")
    return "at rest for 5 s after resume"


@GROUP.check(needs=("nothing-repeated",))
def pending_dropped(bench: Bench) -> str:
    """Commands that were still on their way at the hold never take effect."""
    rig = bench.rig()
    token, before = rig.walk(0.4)
    for at in range(20):
        rig.apply(rig.walking_values(0.6 + 0.001 * at), token)
    rig.link.hold()
    rig.pass_time(rig.bound_s(2) + 0.5)
    rows = rig.stays(3.0, S.HOLD)
    rig.link.resume()
    rows = rig.stays(3.0, S.RUNNING)
    if rig.powered(before, rows, torque=False).any():
        raise Deviates("the belt moves after the resume")
    return "20 commands dropped"


@GROUP.check(needs=("nothing-repeated",))
def ramps_from_zero(bench: Bench) -> str:
    """After resume the belt's set value starts at zero and rises no faster than its rate."""
    rig, _, _ = _held(bench)
    speed = rig.parameter("speed_m_s")
    channel = READ_BACK[speed.name]
    token = rig.link.resume()
    rows = rig.pass_time(0.5)
    rig.apply(rig.walking_values(0.6), token)
    rows = rig.pass_time(2.0)
    values = rows.column(channel)
    t = (rows.t_device_ns - rows.t_device_ns[0]) / 1e9
    allowed = speed.rest + speed.rate_per_s * (t + 0.05) * 1.03 + 1e-3
    if (values > allowed).any():
        at = int(np.flatnonzero(values > allowed)[0])
        raise Deviates(f"{channel} is {values[at]:.3f} after {t[at]:.2f} s")
    if values[-1] <= values[0]:
        raise Deviates("the belt does not move at the new command")
    return f"{channel} {values[0]:.3f} to {values[-1]:.3f} m/s in 2 s"
