"""How long the demonstration takes, step by step, and how much memory: wall and processor time.

    python benchmarks/demo.py --participants 200 --full-rate 12

The aim of `trialkit demo` is 3 minutes on two cores and 2 GiB. Processor time counts this
process and the device processes that it started and that have ended.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from trialkit.cli._line import run_line  # noqa: E402


def processor_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_mib() -> float:
    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return (own + children) / 1024  # Linux counts in KiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="benefit")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--full-rate", type=int, default=12)
    given = parser.parse_args()
    last = [time.perf_counter(), processor_s()]

    def told(_: float, text: str) -> None:
        if text.endswith(": done"):
            now = [time.perf_counter(), processor_s()]
            wall, used = (b - a for a, b in zip(last, now, strict=True))
            sys.stdout.write(
                f"{text.removesuffix(': done'):<10} {wall:8.1f} s wall {used:8.1f} s processor "
                f"{peak_mib():8.0f} MiB at most\n"
            )
            sys.stdout.flush()
            last[:] = now

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_line(
            Path(folder),
            world=given.world,
            seed=given.seed,
            participants=given.participants,
            full_rate=given.full_rate,
            progress=told,
        )
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    sys.stdout.write(
        f"in all     {time.perf_counter() - began:8.1f} s wall, {size / 2**20:.0f} MiB on disk\n"
    )


if __name__ == "__main__":
    main()
