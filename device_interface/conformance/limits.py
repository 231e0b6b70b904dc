"""Limits: the device itself refuses, and keeps its rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import READ_BACK, Rig, S, Trace
from device_interface.contract import Parameter
from device_interface.errors import DeviceRefused, LimitRefused, StateRefused

GROUP = Group("limits", "Limits")
_NO_RATES: dict[str, float] = {}


def _all_refused(rig: Rig, cases: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Try each (values, rates) in a running device; every one must be refused."""
    token, _ = rig.walk(quick=True)
    tried = 0
    for values, rates in cases:
        shown = f"values {dict(values)}" + (f" rates {dict(rates)}" if rates else "")
        rig.refused(shown, partial(rig.apply, values, token, rates), LimitRefused)
        tried += 1
    rig.stays(0.2, S.RUNNING)
    return f"{tried} commands refused; the device goes on"


def _parameters(bench: Bench) -> tuple[Parameter, ...]:
    found = bench.capability.parameters
    if not found:
        raise NotJudged("the device has no parameter")
    return found


@GROUP.check()
def over_range(bench: Bench) -> str:
    """A value above or below the hard limits of a parameter is refused, for each parameter."""
    return _all_refused(
        bench.rig(),
        [
            ({p.name: value}, {})
            for p in _parameters(bench)
            for value in (
                p.maximum + 0.01 * (p.maximum - p.minimum),
                p.minimum - 0.01 * (p.maximum - p.minimum),
                1e9,
            )
        ],
    )


@GROUP.check()
def not_finite(bench: Bench) -> str:
    """NaN and both infinities are refused, for each parameter."""
    values = (math.nan, math.inf, -math.inf)
    wanted = [({p.name: value}, _NO_RATES) for p in _parameters(bench) for value in values]
    return _all_refused(bench.rig(), wanted)


@GROUP.check()
def not_a_number(bench: Bench) -> str:
    """What is no number (text, nothing, a truth value) is refused and the device lives on."""
    name = _parameters(bench)[0].name
    return _all_refused(bench.rig(), [({name: v}, {}) for v in ("fast", None, True)])


@GROUP.check()
def unknown_parameter(bench: Bench) -> str:
    """A parameter that the device does not have, such as a speed in another unit, is refused."""
    return _all_refused(bench.rig(), [({"speed_km_h": 1.5}, {}), ({"": 0.0}, {})])


@GROUP.check()
def rate_out_of_range(bench: Bench) -> str:
    """A rate that is faster than the device's own, zero, negative or no number is refused."""
    return _all_refused(
        bench.rig(),
        [
            ({p.name: p.rest}, {p.name: rate})
            for p in _parameters(bench)
            for rate in (2.0 * p.rate_per_s, 0.0, -0.1, math.nan)
        ],
    )


@GROUP.check()
def limits_accepted(bench: Bench) -> str:
    """The declared limits themselves are accepted."""
    parameters, rig = _parameters(bench), bench.rig()
    token = rig.link.arm()
    for p in parameters:
        for value in (p.minimum, p.maximum, p.rest):
            try:
                rig.apply({p.name: value}, token)
            except DeviceRefused as error:
                raise Deviates(f"{p.name} = {value}: {error}") from error
    return f"{len(parameters)} parameters at both limits"


@GROUP.check(needs=("over-range",))
def refused_whole(bench: Bench) -> str:
    """A command with one bad value changes nothing, also where a good value comes first."""
    rig = bench.rig()
    first, *others = _parameters(bench)
    if not others:
        raise NotJudged("the device has one parameter")
    channel = _shown_by(rig, first)
    token, _ = rig.walk()
    before = rig.pass_time(0.3).column(channel)
    good = {first.name: first.minimum, others[0].name: others[0].maximum + 1.0}
    rig.refused(str(good), lambda: rig.apply(good, token), LimitRefused)
    after = rig.pass_time(1.0).column(channel)
    moved = float(np.abs(after - before[-1]).max())
    if moved > 0.02 * (first.maximum - first.minimum):
        raise Deviates(f"{channel} moved by {moved:.3g} after the refusal")
    return f"{channel} stayed within {moved:.2g}"


def _shown_by(rig: Rig, parameter: Parameter) -> str:
    channel = READ_BACK.get(parameter.name, parameter.name)
    if not any(c.name == channel for c in rig.own.channels):
        raise NotJudged(f"no channel shows the set value of {parameter.name}")
    return channel


def _fastest(trace: Trace, channel: str) -> float:
    """Return the fastest change over half a second, per second of the device's clock."""
    values, t = trace.column(channel), trace.t_device_ns / 1e9
    step = max(1, int(0.5 * len(t) / max(1e-9, float(t[-1] - t[0]))))
    if len(t) <= step:
        raise Deviates(f"{len(t)} rows came")
    return float((np.abs(values[step:] - values[:-step]) / (t[step:] - t[:-step])).max())


def _rates(rig: Rig, share: float) -> str:
    """Move every parameter to its maximum at `share` of its rate and measure."""
    seen = []
    token = rig.link.arm()
    for p in rig.capability.parameters:
        channel = READ_BACK.get(p.name, p.name)
        if not any(c.name == channel for c in rig.own.channels):
            continue
        allowed = share * p.rate_per_s
        rig.apply({p.name: p.maximum}, token, {p.name: allowed} if share < 1 else {})
        trace = rig.pass_time(2.5)
        fastest = _fastest(trace, channel)
        shown = f"{p.name} {fastest:.3g} of {allowed:.3g} {p.unit}/s"
        if fastest > 1.03 * allowed + 1e-3:
            raise Deviates(shown)
        if fastest < 0.2 * allowed:
            raise Deviates(f"{shown}: it hardly moves")
        seen.append(shown)
    if not seen:
        raise NotJudged("no channel shows a set value")
    return ", ".join(seen)


@GROUP.check()
def own_rate_kept(bench: Bench) -> str:
    """A set value moves no faster than the parameter's own rate, whatever the jump asked for."""
    return _rates(bench.rig(), 1.0)


@GROUP.check(needs=("own-rate-kept",))
def asked_rate_kept(bench: Bench) -> str:
    """A slower rate that is asked for is kept."""
    return _rates(bench.rig(), 0.4)


@GROUP.check(
    by_hand="Push a driven joint to the end of its range: the torque must point inward only."
)
def inward_at_position_limit(bench: Bench) -> str:
    """At the end of a joint's range motor torque leads only back into it."""
    rig = bench.rig()
    rig.walk()
    rig.inject("position_limit")
    rig.pass_time(0.2)
    rows = rig.pass_time(3.0)
    judged = 0
    for c in rig.own.channels:
        torque = c.name.replace("_angle_", "_motor_torque_")
        if "_angle_" not in c.name or not rows.has(torque):
            continue
        low, high = c.limits.control or (c.minimum, c.maximum)
        near = 0.02 * (high - low)
        drive = rig.own.channels[rig.own.index(torque)]
        allowed = 0.01 * max(abs(drive.minimum), abs(drive.maximum))
        angle, value = rows.column(c.name), rows.column(torque)
        out = np.concatenate([value[angle >= high - near], -value[angle <= low + near]])
        judged += len(out)
        if len(out) and out.max() > allowed:
            raise Deviates(f"{torque} {out.max():.1f} N.m outward at the end of {c.name}")
    if judged < 10:
        raise NotJudged("no joint came to the end of its range")
    return f"{judged} rows at the end of a range, none with torque outward"


@GROUP.check(by_hand="Take the calibration away: arming must be refused.")
def uncalibrated_refuses(bench: Bench) -> str:
    """Without a date of calibration the device says so before arming and refuses to arm."""
    own = bench.capability.calibrated_on is None
    rig = bench.rig() if own else bench.open(extra={"calibrated_on": None})
    if not rig.link.preflight():
        raise Deviates("preflight finds nothing")
    rig.refused("arming", rig.link.arm, StateRefused)
    rig.stays(0.2, S.DISARMED)
    return "preflight names it and arming is refused"
