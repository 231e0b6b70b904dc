"""Times of the record: durable events, bulk load, verification, opening, export and rebuild.

    python benchmarks/record.py [--postgres URL ...]

`--postgres` takes the URL of an empty database (twice: one for single events, one for the bulk);
without it the figures of PostgreSQL are left out. The events are those of
`benchmarks/record_workload.py`. Every line gives wall time and processor time of this process, so
that a busy machine shows; the load is printed at both ends. `--check` runs the least that there
is, for a test.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from record_workload import command, fill, new_study

from trialkit._clock import RealClock
from trialkit.record import Record, StudyState, read_export
from trialkit.record.verification import verify_record
from trialkit.study import Study

GOAL_VERIFY_S, GOAL_STATUS_S = 10.0, 1.0
STATUS = "import sys; from trialkit.cli import main; main()"
T = TypeVar("T")


def line(what: str, text: str) -> None:
    sys.stdout.write(f"{what:<58}{text}\n")
    sys.stdout.flush()


def timed(what: str, act: Callable[[], T], n: int = 0) -> tuple[T, float]:
    """Run `act` once; print wall and processor time, and what `n` events make of it."""
    wall, used = time.perf_counter(), time.process_time()
    found = act()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    rate = f"  {n / wall:>9,.0f} events/s  {used / n * 1e6:6.1f} us cpu an event" if n else ""
    line(what, f"{wall:8.2f} s wall {used:8.2f} s cpu{rate}")
    return found, wall


def durable(name: str, study: Study, n: int) -> float:
    """Append one event a transaction; print events a second and the time of the slowest."""
    took = []
    for number in range(n):
        began = time.perf_counter()
        study.record.append(command("X", number), actor="bench", role="owner")
        took.append(time.perf_counter() - began)
    study.refresh()
    took.sort()
    p50, p99 = (1e3 * took[min(n - 1, int(n * q))] for q in (0.5, 0.99))
    rate = n / sum(took)
    line(
        f"{name}: {n} durable events, one a commit",
        f"{rate:8,.0f} events/s  p50 {p50:.2f} ms  p99 {p99:.2f} ms",
    )
    return rate


def status_s(folder: Path, cache: Path) -> tuple[float, float]:
    """Return wall and processor time of ``trialkit status`` as a process.

    It keeps the bytecode that it compiles, as Python does unless it is told not to.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", STATUS, "status", "--study", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**kept, "TRIALKIT_CACHE": str(cache)},
    )
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def opening(where: Path, study: Study) -> None:
    """Open a filled study in processes of their own, without and with the kept state."""
    study.close()
    cache = where / "cache"
    empty = status_s(study.folder, cache)
    kept = min(status_s(study.folder, cache) for _ in range(3))
    line(
        "first status, every event folded and checked",
        f"{empty[0]:8.2f} s wall {empty[1]:8.2f} s cpu",
    )
    line(
        f"first status from the kept state (goal {GOAL_STATUS_S:.0f} s; best of 3)",
        f"{kept[0]:8.2f} s wall {kept[1]:8.2f} s cpu  {empty[0] / kept[0]:.1f} times faster",
    )


def exported(where: Path, study: Study) -> None:
    """Export the record and rebuild the state from the file alone."""
    path = where / "trail.jsonl"
    with Record.open(study.record.where, write=False, clock=RealClock()) as record:
        n = record.head[0]
        timed(f"export of {n:,} events", lambda: record.export(path), n)
        rebuilt, _ = timed(
            "rebuild of the state from the export", lambda: StudyState(read_export(path)), n
        )
        same = vars(rebuilt) == vars(StudyState(record.read()))
    line("the rebuilt state is that of the record", str(same))
    if not same:
        raise SystemExit(1)


def bulk(name: str, study: Study, participants: int, events: int) -> float:
    _, wall = timed(
        f"{name}: bulk load, {participants} participants",
        lambda: fill(study, participants, events),
        events,
    )
    return events / wall


def verification(name: str, study: Study) -> float:
    n = study.record.head[0]
    report, wall = timed(
        f"{name}: verification of {n:,} events", lambda: verify_record(study.record), n
    )
    if not report.ok:
        raise SystemExit(str(report))
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--postgres", action="append", default=[], metavar="URL")
    parser.add_argument("--single", type=int, default=2000, help="durable events")
    parser.add_argument("--participants", type=int, default=500)
    parser.add_argument("--events", type=int, default=400_000, help="of the study that is opened")
    parser.add_argument("--verify", type=int, default=1_000_000, help="events to verify")
    parser.add_argument("--check", action="store_true", help="the least, for a test")
    given = parser.parse_args()
    if given.check:
        given.single, given.participants, given.events, given.verify = 20, 4, 3000, 4000
    line(f"{os.cpu_count()} processors", f"load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="trialkit-bench-") as name:
        where = Path(name)
        os.environ["TRIALKIT_CACHE"] = str(where / "own")
        stores: list[tuple[str, list[str | None]]] = [("SQLite", [None, None])]
        if given.postgres:
            stores.append(("PostgreSQL", (given.postgres * 2)[:2] if given.postgres[1:] else []))
        rates: dict[str, tuple[float, float]] = {}
        for store, (single, many) in ((s, w) for s, w in stores if w):
            with new_study(where / f"{store}-single", single) as study:
                one = durable(store, study, given.single)
            study = new_study(where / f"{store}-bulk", many)
            loaded = bulk(store, study, given.participants, given.events)
            verification(store, study)
            if store == "SQLite":
                opening(where, study)
                exported(where, study)
            study.close()
            rates[store] = (one, loaded)
        if "PostgreSQL" in rates:
            single, load = (
                a / b for a, b in zip(rates["SQLite"], rates["PostgreSQL"], strict=True)
            )
            line("SQLite against PostgreSQL", f"durable {single:.2f} times, bulk {load:.2f} times")
        study = new_study(where / "verify")
        fill(study, max(4, given.participants * given.verify // given.events), given.verify)
        wall = verification("SQLite", study)
        verdict = "met" if wall <= GOAL_VERIFY_S else "not met on this machine now"
        line(
            f"goal for 1,000,000 events: {GOAL_VERIFY_S:.0f} s", verdict if not given.check else "-"
        )
        study.close()
    line("", f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
