"""Freshness: what telemetry lost, repeated or mistimed is seen by the host and never mended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import numpy as np

from device_interface.conformance.bench import Bench
from device_interface.conformance.model import Deviates, Group
from device_interface.conformance.rig import Rig, S, Trace
from device_interface.contract import Block
from device_interface.freshness import STALE_PERIODS, Counts, Freshness
from device_interface.process import PERIOD_S

GROUP = Group("freshness", "Freshness")
_BENCH_ONLY = "Not by hand: it needs a device that can hurt its own telemetry."


def _follow(rig: Rig, blocks: list[Block], freshness: Freshness | None = None) -> Freshness:
    following = freshness or Freshness(rig.own.rate_hz)
    for block in blocks:
        if block.stream == rig.own.name:
            following.take(block)
    return following


def consecutive(counts: Counts) -> bool:
    """Return True where no row was lost, repeated or exchanged, whatever the clock did."""
    return not (counts.gaps or counts.missing or counts.duplicates or counts.reordered)


def _whole_walk(rig: Rig) -> list[Block]:
    """Arm, walk, hold, resume, stop and arm again; return what came on the way."""
    blocks = rig.pass_blocks(0.5)
    for _ in range(2):
        token = rig.link.arm()
        rig.apply(rig.walking_values(0.5), token)
        blocks += rig.pass_blocks(3.0)
        rig.link.hold()
        blocks += rig.pass_blocks(rig.bound_s(2) + 0.5)
        rig.apply(rig.walking_values(0.4), rig.link.resume())
        blocks += rig.pass_blocks(2.0)
        rig.link.stop(1)
        blocks += rig.pass_blocks(rig.bound_s(1) + 1.0)
    return blocks


@GROUP.check()
def sequence_consecutive(bench: Bench) -> str:
    """Sequence numbers run on without gap, repeat or exchange through hold, stop and arming."""
    rig = bench.rig()
    counts = _follow(rig, _whole_walk(rig)).counts
    if not consecutive(counts):
        raise Deviates(str(counts))
    return f"{counts.rows} rows"


@GROUP.check()
def clock_even(bench: Bench) -> str:
    """The device's clock goes forward with the rows and never back or by a step.

    In real time a step forward by no more than this machine kept the device waiting is none.
    """
    rig = bench.rig()
    with bench.lateness() as late:
        blocks = _whole_walk(rig)
    counts = _follow(rig, blocks).counts
    if counts.clock_steps:
        steps = np.diff(Trace(rig.own, blocks).t_device_ns) / 1e9
        waited = rig.real_time and steps.min() > 0 and steps.max() <= late.allowance_s
        shown = f"{counts.clock_steps} steps in {counts.rows} rows, up to {steps.max():.2f} s"
        if not waited:
            raise Deviates(shown)
        return f"{shown}: this machine was late by {late.worst_s:.2f} s"
    return f"{counts.rows} rows"


@GROUP.check()
def values_move(bench: Bench) -> str:
    """While the device walks, its measured values change: no row is sent again as a new one."""
    rig = bench.rig()
    _, rows = rig.walk()
    measured = [
        at
        for at, c in enumerate(rig.own.channels)
        if c.name not in ("device_state", "fault_code", "watchdog_age_s") and "_set_" not in c.name
    ]
    same = (np.diff(rows.values[:, measured], axis=0) == 0).all(axis=1)
    longest = _longest(same)
    if longest >= STALE_PERIODS:
        raise Deviates(f"{longest + 1} rows one after another are the same")
    return f"{len(rows)} rows, at most {longest + 1} the same"


def _longest(flags: np.ndarray) -> int:
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


@GROUP.check()
def state_current(bench: Bench) -> str:
    """A change of state is in the telemetry within three periods."""
    rig = bench.rig()
    period = 1.0 / (rig.own.rate_hz or 100.0)
    allowed = STALE_PERIODS * period
    if rig.real_time:
        allowed += 2 * PERIOD_S
    before = rig.pass_time(0.2)
    with bench.lateness() as late:
        rig.link.arm()
        rows = rig.pass_time(1.0)
        allowed += late.allowance_s if rig.real_time else 0.0
    at = np.flatnonzero(rows.column("device_state") == int(S.ARMED))
    if not len(at) or not len(before):
        raise Deviates("no row says ARMED")
    took = float(rows.t_device_ns[at[0]] - before.t_device_ns[-1]) / 1e9
    if took > allowed:
        raise Deviates(f"after {took:.3f} s; three periods are {STALE_PERIODS * period:.3f} s")
    return f"after {took:.3f} s"


@GROUP.check(by_hand=_BENCH_ONLY)
def frozen_source(bench: Bench) -> str:
    """A source that freezes sends nothing, and the host's link flags it within three periods."""
    rig = bench.new_rig()
    rig.walk(quick=True)
    delivery = PERIOD_S if rig.real_time else 0.0
    following = Freshness(rig.own.rate_hz, delivery_s=delivery)
    with bench.lateness() as late:
        _follow(rig, rig.pass_blocks(0.5, 0.01), following)
        rig.inject("freeze")
        rig.pass_blocks(0.1, 0.01)  # what was on its way
        began = rig.host_ns()
        rows = rig.pass_time(STALE_PERIODS * max(1.0 / (rig.own.rate_hz or 100.0), delivery))
        rows = _both(rows, rig.pass_time(late.allowance_s if rig.real_time else 0.01))
    if len(rows):
        same = len(np.unique(rows.values, axis=0)) == 1
        raise Deviates(f"{len(rows)} rows still came{', all the same' if same else ''}")
    now = rig.host_ns()
    if not following.stale(now):
        raise Deviates("not flagged")
    return f"no rows; flagged {(now - began) / 1e9:.2f} s later at the latest"


def _both(first: Trace, second: Trace) -> Trace:
    return first if len(first) else second


def _hurt(bench: Bench, kind: str, judge: Callable[[Counts], bool]) -> str:
    rig = bench.rig()
    rig.walk(quick=True)
    following = _follow(rig, rig.pass_blocks(0.5))
    before = Counts(**vars(following.counts))
    rig.inject(kind)
    _follow(rig, rig.pass_blocks(2.0), following)
    found = following.counts - before
    named = {name: value for name, value in vars(found).items() if value and name != "rows"}
    shown = ", ".join(f"{value} {name}" for name, value in named.items()) or "nothing"
    if not judge(found):
        raise Deviates(f"counted {shown} in {found.rows} rows")
    return f"counted {shown} in {found.rows} rows"


@GROUP.check(by_hand=_BENCH_ONLY)
def gap_shows(bench: Bench) -> str:
    """Lost rows leave a gap in the sequence numbers that fits the gap in the device's clock."""
    return _hurt(bench, "gap", lambda c: c.gaps == 1 and c.missing > 0 and not c.clock_steps)


@GROUP.check(needs=("gap-shows",), by_hand=_BENCH_ONLY)
def duplicate_shows(bench: Bench) -> str:
    """A row that comes twice is counted as one duplicate."""
    return _hurt(bench, "duplicate", lambda c: c.duplicates == 1 and not c.missing)


@GROUP.check(needs=("gap-shows",), by_hand=_BENCH_ONLY)
def reorder_shows(bench: Bench) -> str:
    """Two rows that change places are counted as one row out of order, none as lost."""
    return _hurt(bench, "reorder", lambda c: c.reordered == 1 and not c.missing)


@GROUP.check(needs=("gap-shows",), by_hand=_BENCH_ONLY)
def clock_step_shows(bench: Bench) -> str:
    """A step of the device's clock is counted once, and no row is taken for lost."""
    return _hurt(bench, "clock_step", lambda c: c.clock_steps == 1 and not c.missing)


@GROUP.check(needs=("gap-shows",), by_hand=_BENCH_ONLY)
def rollover_counted(bench: Bench) -> str:
    """A sequence number that goes past 2**32 is counted as a wrap and as nothing else."""
    rig = bench.open(extra={"first_seq": 2**32 - 100})
    counts = _follow(rig, rig.pass_blocks(3.0 if rig.own.rate_hz else 200.0)).counts
    if counts.wraps != 1 or not counts.whole:
        raise Deviates(str(counts))
    return f"one wrap in {counts.rows} rows"


@GROUP.check(slow=True)
def stopped_process(bench: Bench) -> str:
    """A device process that is stopped (SIGSTOP) is flagged as stale within three deliveries."""
    rig = bench.open(real_time=True)
    following = Freshness(rig.own.rate_hz, delivery_s=PERIOD_S)
    with bench.lateness() as late:
        _follow(rig, rig.pass_blocks(0.5), following)
        os.kill(rig.link.pid, signal.SIGSTOP)
        try:
            _follow(rig, rig.pass_blocks(0.1), following)  # what was on its way
            _follow(rig, rig.pass_blocks(STALE_PERIODS * PERIOD_S + late.allowance_s), following)
            flagged = following.stale(time.monotonic_ns())
        finally:
            os.kill(rig.link.pid, signal.SIGCONT)
    if not flagged:
        raise Deviates("not flagged")
    return f"flagged; {following.counts.rows} rows before"
