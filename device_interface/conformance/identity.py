"""Identity: the descriptor is complete and true."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import Rig
from device_interface.contract import SCHEMA, Stream
from trialkit._canonical import sha256_json

GROUP = Group("identity", "Identity")
UNITS = frozenset(
    {"1", "rad", "rad/s", "rad/s2", "N", "N.m", "N.m/rad", "N.m.s/rad", "m", "m/s", "m/s2", "kg"}
    | {"s", "Hz", "1/s", "1/min", "V", "A", "W", "J", "Pa", "K"}
)
"""Units that are SI, or (1/min, for heart rate) a count in a stated time."""
_STATES = ("device_state", "fault_code", "watchdog_age_s")


def _none(problems: Iterable[str], found: str) -> str:
    listed = list(problems)
    if listed:
        raise Deviates("; ".join(listed[:8]))
    return found


@GROUP.check()
def opens(bench: Bench) -> str:
    """The driver opens in a process of its own, with a descriptor of a schema that is known."""
    capability = bench.rig().capability
    return f"schema {capability.schema}; the version of the contract is {SCHEMA}"


@GROUP.check()
def descriptor_complete(bench: Bench) -> str:
    """Vendor, model, serial number and firmware are given."""
    capability = bench.rig().capability
    who = {n: getattr(capability, n) for n in ("vendor", "model", "serial", "firmware")}
    return _none(
        (f"{name} is {value!r}" for name, value in who.items() if not str(value or "").strip()),
        ", ".join(map(str, who.values())),
    )


@GROUP.check()
def descriptor_stable(bench: Bench) -> str:
    """Two openings of the same device give the same descriptor."""
    first, second = (sha256_json(r.capability.to_dict()) for r in (bench.rig(), bench.open()))
    return _none(["the two descriptors differ"] if first != second else [], f"hash {first[:12]}")


@GROUP.check()
def parameters_declared(bench: Bench) -> str:
    """Each parameter has a unit, finite limits, a rest value inside them and a rate limit."""
    problems = []
    parameters = bench.rig().capability.parameters
    for p in parameters:
        numbers = (p.minimum, p.maximum, p.rest, p.rate_per_s)
        if not p.unit or not all(map(math.isfinite, numbers)):
            problems.append(f"{p.name}: no unit, or a limit that is not finite")
        elif not (p.minimum < p.maximum and p.minimum <= p.rest <= p.maximum):
            problems.append(f"{p.name}: rest {p.rest} or limits {p.minimum}..{p.maximum}")
        elif p.rate_per_s <= 0:
            problems.append(f"{p.name}: rate {p.rate_per_s}")
    twice = [n for n, k in Counter(p.name for p in parameters).items() if k > 1]
    problems += [f"{name} is declared twice" for name in twice]
    if not parameters:
        raise NotJudged("the device has no parameter: nothing can be set")
    return _none(problems, f"{len(parameters)} parameters")


@GROUP.check()
def channels_declared(bench: Bench) -> str:
    """Each channel has a unit, a positive sense, and a finite range; names are unique."""
    problems = []
    streams = bench.rig().capability.streams
    for stream in streams:
        names = Counter(c.name for c in stream.channels)
        problems += [f"{stream.name}.{n} is declared twice" for n, k in names.items() if k > 1]
        for c in stream.channels:
            if not c.unit or not c.positive:
                problems.append(f"{stream.name}.{c.name}: no unit or no positive sense")
            if not (math.isfinite(c.minimum) and math.isfinite(c.maximum)):
                problems.append(f"{stream.name}.{c.name}: the range is not finite")
            elif c.minimum >= c.maximum:
                problems.append(f"{stream.name}.{c.name}: range {c.minimum}..{c.maximum}")
            if c.follows is not None and (
                c.follows not in names or c.allowed_gap is None or c.gap_after_s is None
            ):
                problems.append(f"{stream.name}.{c.name}: follows {c.follows} without a gap")
    return _none(problems, f"{sum(len(s.channels) for s in streams)} channels")


@GROUP.check()
def units_si(bench: Bench) -> str:
    """Every unit is SI: angles in rad, speeds in m/s, torques in N.m; ratios have the unit 1."""
    capability = bench.rig().capability
    named = [(p.name, p.unit) for p in capability.parameters]
    named += [(c.name, c.unit) for s in capability.streams for c in s.channels]
    problems = [f"{name} in {unit!r}" for name, unit in named if unit not in UNITS]
    return _none(problems, ", ".join(sorted({unit for _, unit in named})))


@GROUP.check()
def own_stream_first(bench: Bench) -> str:
    """The first stream has a fixed rate and the channels of the device's own state."""
    own = bench.rig().own
    names = [c.name for c in own.channels]
    problems = [f"no channel {name}" for name in _STATES if name not in names]
    if not own.rate_hz or own.rate_hz < 10:
        problems.append(f"rate {own.rate_hz}; at least 10 Hz is needed")
    return _none(problems, f"{own.name} at {own.rate_hz:g} Hz" if own.rate_hz else "")


@GROUP.check()
def times_declared(bench: Bench) -> str:
    """The watchdog is declared within 0.2 to 0.25 s, and a bound for each category of stop."""
    capability = bench.rig().capability
    problems = []
    if not 0.2 <= capability.watchdog_s <= 0.25:
        problems.append(f"watchdog_s is {capability.watchdog_s}")
    for category in (0, 1, 2):
        bound = capability.stop_within_s.get(category)
        if bound is None or not 0 < bound <= 10:
            problems.append(f"stop_within_s[{category}] is {bound}")
    bounds = dict(sorted(capability.stop_within_s.items()))
    return _none(problems, f"watchdog {capability.watchdog_s} s, stops {bounds} s")


@GROUP.check()
def faults_declared(bench: Bench) -> str:
    """Faults have unique names and codes from 1 to 32766; one is an emergency stop."""
    faults = bench.rig().capability.faults
    codes = Counter(f.code for f in faults if f.reaction != "telemetry")
    kinds = Counter(f.kind for f in faults)
    problems = [f"code {c} is declared {k} times" for c, k in codes.items() if k > 1]
    problems += [f"{n} is declared twice" for n, k in kinds.items() if k > 1]
    problems += [f"code {c} is out of range" for c in codes if not 1 <= c <= 32766]
    if not any(f.reaction == "estop" for f in faults):
        problems.append("no fault is an emergency stop")
    return _none(problems, f"{len(faults)} faults")


@GROUP.check(needs=("own-stream-first",))
def ranges_hold(bench: Bench) -> str:
    """While the device walks, every value lies in its declared range and is a number."""
    rig = bench.rig()
    _, trace = rig.walk()
    problems = []
    for at, c in enumerate(rig.own.channels):
        values = trace.values[:, at]
        tremble = 1e-5 * max(abs(c.minimum), abs(c.maximum))
        if not np.isfinite(values).all():
            problems.append(f"{c.name} is not finite")
        elif values.min() < c.minimum - tremble or values.max() > c.maximum + tremble:
            problems.append(f"{c.name} is {values.min():.4g}..{values.max():.4g}")
    return _none(problems, f"{len(trace)} rows of {len(rig.own.channels)} channels")


@GROUP.check(needs=("own-stream-first",))
def rate_holds(bench: Bench) -> str:
    """Rows come at the declared rate of the device's clock, within 2 %."""
    rig = bench.rig()
    trace = rig.pass_time(4.0)
    if len(trace) < 10:
        raise Deviates(f"{len(trace)} rows in 4 s")
    span = float(trace.t_device_ns[-1] - trace.t_device_ns[0]) / 1e9
    rate = (len(trace) - 1) / span if span > 0 else math.inf
    declared = rig.own.rate_hz or 0.0
    shown = f"{rate:.4g} Hz; declared {declared:g} Hz"
    return _none([shown] if abs(rate - declared) > 0.02 * declared else [], shown)


def _walking(rig: Rig, part: str) -> tuple[Stream, dict[str, np.ndarray]]:
    names = [c.name for c in rig.own.channels if part in c.name]
    if not names:
        raise NotJudged(f"the device's own stream has no channel {part}")
    token, _ = rig.walk()
    rows = rig.pass_time(4.0)
    rig.link.stop(1)
    del token
    return rig.own, {name: rows.column(name) for name in [c.name for c in rig.own.channels]}


@GROUP.check(
    needs=("own-stream-first",),
    by_hand="Flex the left knee by 30 degrees: knee_angle_l must rise by about 0.52 rad.",
)
def knee_flexion_positive(bench: Bench) -> str:
    """Knee flexion is positive: in walking the knee flexes by more than it extends."""
    _, columns = _walking(bench.rig(), "knee_angle")
    problems, seen = [], []
    for name in (n for n in columns if "knee_angle" in n):
        low, high = float(columns[name].min()), float(columns[name].max())
        shown = f"{name} {low:.2f}..{high:.2f} rad"
        if high - low < 0.1:
            raise NotJudged(f"the joint hardly moves: {shown}")
        seen.append(shown)
        if high < 0.2 or abs(low) > high:
            problems.append(shown)
    return _none(problems, ", ".join(seen))


@GROUP.check(needs=("own-stream-first",))
def velocity_agrees(bench: Bench) -> str:
    """Each joint velocity has the sign of the change of its angle (correlation above 0.7)."""
    own, columns = _walking(bench.rig(), "_velocity_")
    problems, seen = [], 0
    for name in (n for n in columns if "_velocity_" in n):
        angle = columns.get(name.replace("_velocity_", "_angle_"))
        if angle is None or np.ptp(angle) < 0.1:
            continue
        slope = (angle[2:] - angle[:-2]) * (own.rate_hz or 1.0) / 2.0
        agree = float(np.corrcoef(columns[name][1:-1], slope)[0, 1])
        seen += 1
        if not agree > 0.7:
            problems.append(f"{name}: correlation {agree:.2f}")
    if not seen:
        raise NotJudged("no joint moves enough")
    return _none(problems, f"{seen} joints agree")
