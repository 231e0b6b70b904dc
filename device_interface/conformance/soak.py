"""Soak: a session's length without a leak, a lost row or a clock that drifts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_interface.conformance.bench import Bench
from device_interface.conformance.fresh import consecutive
from device_interface.conformance.model import Deviates, Group, NotJudged
from device_interface.conformance.rig import BELT, S, Trace
from device_interface.freshness import Counts, Freshness

GROUP = Group("soak", "Soak", one_bench=True)
LEAK_MB = 8.0
_EDGES_MS = (0.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


@dataclass
class Walk:
    """What a long walk gave: counts, memory in MB at a third and at the end, and times in s."""

    counts: Counts
    early_mb: float | None
    late_mb: float | None
    asked_s: float
    device_s: float
    slow_s: float
    states: frozenset[S]
    where: str
    lockstep: bool
    late_s: float = 0.0


def memory_mb(pid: int) -> float | None:
    """Return the resident memory of a process in MB, or None where /proc does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) / 1024.0
    return None


def _walk(bench: Bench) -> Walk:
    """Walk for the length of the soak, once for all checks of this group."""
    walk: Walk | None = bench.kept.get(GROUP.name)
    if walk is None:
        with bench.lateness() as late:
            walk = _walked(bench)
        walk.late_s = late.worst_s
        bench.kept[GROUP.name] = walk
    bench.timed, bench.late_s = not walk.lockstep, walk.late_s
    return walk


def _walked(bench: Bench) -> Walk:
    rig = bench.new_rig()
    rig.walk()
    following = Freshness(rig.own.rate_hz)
    asked, early = bench.soak_s, None
    wanted = rig.walking_values(0.6).get("speed_m_s", 0.0)
    passed = slow = 0.0
    states: set[S] = set()
    first = last = None
    while passed < asked - 1e-6:
        step = min(1.0, asked - passed)
        blocks = [b for b in rig.pass_blocks(step, 1.0) if b.stream == rig.own.name]
        passed += step
        for block in blocks:
            following.take(block)
        rows = Trace(rig.own, blocks)
        if len(rows):
            first = rows.t_device_ns[0] if first is None else first
            last = rows.t_device_ns[-1]
            states.update(rows.states())
            if rows.has(BELT) and wanted:
                slow += step if rows.column(BELT).mean() < 0.9 * wanted else 0.0
        if early is None and passed >= asked / 3:
            early = memory_mb(rig.link.pid)
    late = memory_mb(rig.link.pid)
    spanned = float((last or 0) - (first or 0)) / 1e9
    where = "in real time" if rig.real_time else "in lockstep"
    return Walk(
        following.counts, early, late, asked, spanned, slow, frozenset(states),
        f"{asked / 60:g} min {where}", not rig.real_time,
    )  # fmt: skip


@GROUP.check(slow=True)
def walks_through(bench: Bench) -> str:
    """The device walks at its speed for the whole length (45 simulated minutes in lockstep)."""
    walk = _walk(bench)
    others = [s.name for s in walk.states if s is not S.RUNNING]
    if others or walk.slow_s > 0.0:
        raise Deviates(f"{walk.where}: {', '.join(others)} {walk.slow_s:.0f} s below its speed")
    return f"{walk.where}: RUNNING at its speed"


@GROUP.check(slow=True)
def rows_complete(bench: Bench) -> str:
    """Not one row is lost, repeated or exchanged; in lockstep the clock makes no step either."""
    walk = _walk(bench)
    if not consecutive(walk.counts) or (walk.lockstep and walk.counts.clock_steps):
        raise Deviates(f"{walk.where}: {walk.counts}")
    return f"{walk.where}: {walk.counts.rows} rows"


@GROUP.check(slow=True)
def no_drift(bench: Bench) -> str:
    """The device's clock passes as much time as was waited, within 0.2 %."""
    walk = _walk(bench)
    off = abs(walk.device_s - walk.asked_s)
    if off > 0.002 * walk.asked_s + 0.2:
        raise Deviates(f"{walk.device_s:.2f} s of {walk.asked_s:.2f} s")
    return f"{walk.device_s:.2f} s of {walk.asked_s:.2f} s"


@GROUP.check(slow=True)
def no_leak(bench: Bench) -> str:
    """From a third of the length to its end the device's process grows by less than 8 MB."""
    walk = _walk(bench)
    if walk.early_mb is None or walk.late_mb is None:
        raise NotJudged("this system does not tell the memory of a process")
    grown = walk.late_mb - walk.early_mb
    shown = f"{walk.early_mb:.0f} to {walk.late_mb:.0f} MB"
    if grown > LEAK_MB:
        raise Deviates(shown)
    return shown


@GROUP.check(slow=True)
def lateness_kept(bench: Bench) -> str:
    """Five seconds in real time lose no row; the histogram of their lateness is kept here."""
    rig = bench.rig(real_time=True)
    rig.walk(quick=True)
    following = Freshness(rig.own.rate_hz)
    blocks = [b for b in rig.pass_blocks(5.0) if b.stream == rig.own.name]
    for block in blocks:
        following.take(block)
    if not consecutive(following.counts) or len(blocks) < 2:
        raise Deviates(str(following.counts))
    rows = Trace(rig.own, blocks)
    late = (rows.t_host_ns - rows.t_device_ns).astype(float) / 1e6
    late -= late.min()
    counts, _ = np.histogram(late, [*_EDGES_MS, np.inf])
    bins = ", ".join(f"{e:g} ms {n}" for e, n in zip(_EDGES_MS, counts, strict=True))
    return f"{len(rows)} rows later than the quickest by at least: {bins}"
