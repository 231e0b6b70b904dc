"""Times of a session: full rate and stride level on the simulated clock, and the journal.

Run ``python benchmarks/session.py [--full N] [--stride N]``. Prints one line a figure: wall
time and processor time of this process (the device's own process is in the wall time only).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.participants import consent, enrol
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.record.sign import KeyStore
from trialkit.session import planned_day, run_session
from trialkit.study import Study


@contextmanager
def timed(what: str, n: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sys.stdout.write(f"{what:<44}{wall / n * 1e3:>10.1f} ms wall{cpu / n * 1e3:>10.1f} ms cpu\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", type=int, default=2, help="sessions at full rate")
    parser.add_argument("--stride", type=int, default=36, help="sessions at stride level")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    sys.stdout.write(f"{os.cpu_count()} processors, load {load:.1f} before the start\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = Study.create(
            folder / "study",
            protocols=[find_content("protocols", "sci-robotic-30x5")],
            actor="bench",
            clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
            keys=KeyStore(folder / "keys"),
        )
        schedule = study.protocols["ROBOTIC"].schedule
        people = [f"SCI-RAGT-01-{n:03d}" for n in range(1, 3 + given.stride // 36)]
        for usubjid in people:
            enrol(study, usubjid, site="01")
            consent(study, usubjid, version="1")
        run_session(study, people[0], number=1, day=1, rate="stride")  # imports, caches
        with timed("34 min at 100 Hz, 35 channels: a session", given.full):
            for n in range(given.full):
                number = 2 + n
                day = planned_day(schedule, number)
                run_session(study, people[0], number=number, day=day, device_options={"seed": n})
        with timed("34 min at stride level: a session", given.stride):
            for n in range(given.stride):
                who, number = people[1 + n // 36], 1 + n % 36
                day = planned_day(schedule, number)
                options = {"seed": n}
                run_session(
                    study, who, number=number, day=day, rate="stride", device_options=options
                )
        sealed = study.folder / "telemetry" / f"{people[0]}-S02"
        with timed("open a sealed session: hash, checksums, rows", 1):
            rows = open_sealed(sealed, "motion").num_rows
        size = (sealed / "motion.parquet").stat().st_size
        entry = read_manifest(sealed).manifest["files"][0]
        sys.stdout.write(f"{rows} rows, {size / rows:.0f} bytes a row, {entry['gaps']} gaps\n")
        study.close()


if __name__ == "__main__":
    main()
