"""The robot's side in one run: telemetry on disk, the loops of sessions, the physical body.

    python benchmarks/device.py [--long] [--json]
        [--seconds 20] [--loop-seconds 5] [--walk-minutes 1] [--long-minutes 45]

Four participants of 40 channels at 1 kHz are journalled at the pace of real time by one
process. Then the same rows are sealed, read, and written as MCAP and HDF5. Then one, three
and six simulated devices, each in a process of its own with its own host loop in another, run
at 50 and 100 Hz, and the body of the driver ``mujoco`` walks. ``--long`` adds a session of 45
minutes for the four at once, as fast as the machine can: every 0.5 s of its own time is synced,
then all is sealed and the dose's columns are read. Processor seconds for each second of the
session are its share of one core. It needs 4 GB of disk and some minutes.

Wall times on a busy machine compare nothing: take ratios from one run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from trialkit.record.journal import SYNC_S, JournalWriter, telemetry_schema
from trialkit.record.sealing import open_sealed, seal

PARTICIPANTS, CHANNELS, RATE_HZ, BLOCK = 4, 40, 1000, 50
DOSE_COLUMNS = ["t_device_ns", "c00", "c01", "c02"]
RAW_ROW = 20 + 4 * CHANNELS


def rows(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Noisy sinusoids: sequence, times in ns, values."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / RATE_HZ
    phase = 2 * np.pi * (t[:, None] * (0.7 + 0.01 * np.arange(CHANNELS)))
    values = np.sin(phase) + 0.01 * rng.standard_normal((n, CHANNELS))
    return np.arange(n, dtype=np.uint32), (t * 1e9).astype(np.int64), values.astype(np.float32)


def writers(folder: Path) -> list[JournalWriter]:
    names = [(f"c{at:02d}", "N", "float32") for at in range(CHANNELS)]
    made = []
    for at in range(PARTICIPANTS):
        (folder / f"p{at}").mkdir()
        schema = telemetry_schema(names, {"stream": "motion"})
        made.append(JournalWriter(folder / f"p{at}" / "motion.tkj", schema))
    return made


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def journal(folder: Path, seconds: float) -> dict[str, float]:
    """Journal at the pace of real time; CPU is of this process, the making of rows left out."""
    n = int(seconds * RATE_HZ)
    data = rows(n, 1)
    made = writers(folder)
    before_mb, worst = resident_mb(), 0.0
    cpu, begin = time.process_time(), time.monotonic()
    for at in range(0, n, BLOCK):
        part = slice(at, at + BLOCK)
        time.sleep(max(0.0, begin + (at + BLOCK) / RATE_HZ - time.monotonic()))
        for writer in made:
            called = time.monotonic()
            writer.append(data[0][part], data[1][part], data[1][part], data[2][part])
            worst = max(worst, time.monotonic() - called)
    cpu, wall = time.process_time() - cpu, time.monotonic() - begin
    for writer in made:
        writer.close()
    return {
        "journal: CPU share of one core, %": 100 * cpu / wall,
        "journal: worst stall of one append, ms": 1e3 * worst,
        "journal: memory above the start, MB": resident_mb() - before_mb,
    }


def status_mb(name: str) -> float:
    """Return a line of ``/proc/self/status``, such as VmHWM: the largest VmRSS so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024 / 1e6


def long_session(folder: Path, minutes: float) -> dict[str, float]:
    """A whole session of all participants as fast as the machine can; run it in a new process.

    A minute of rows is made beforehand and used again and again with its own numbers and
    times: their making is no part of the cost. Each participant begins elsewhere in it.
    """
    pool = rows(60 * RATE_HZ, 2)[2]
    made = writers(folder)
    n, each = int(minutes * 60 * RATE_HZ), int(SYNC_S * RATE_HZ)
    before_mb, cpu = resident_mb(), time.process_time()
    for at in range(0, n, BLOCK):
        seq = np.arange(at, at + BLOCK, dtype=np.uint32)
        t = seq.astype(np.int64) * (1_000_000_000 // RATE_HZ)
        for person, writer in enumerate(made):
            place = (at + person * len(pool) // PARTICIPANTS) % len(pool)
            writer.append(seq, t, t, pool[place : place + BLOCK])
            if (at + BLOCK) % each == 0:
                writer.sync()
    for writer in made:
        writer.close()
    written, written_mb = time.process_time(), status_mb("VmHWM")
    for person in range(PARTICIPANTS):
        seal(folder / f"p{person}", session=f"S{person}", status="completed")
    sealed, sealed_mb = time.process_time(), status_mb("VmHWM")
    for person in range(PARTICIPANTS):
        assert open_sealed(folder / f"p{person}", "motion", columns=DOSE_COLUMNS).num_rows == n
    read = time.process_time()
    share, name = 100 / (60 * minutes), f"{minutes:g} min for {PARTICIPANTS}"
    return {
        f"{name}: journal, % of one core": share * (written - cpu),
        f"{name}: sealing, % of one core": share * (sealed - written),
        f"{name}: reading the dose, % of one core": share * (read - sealed),
        f"{name}: all, % of one core": share * (read - cpu),
        f"{name}: memory before, MB": before_mb,
        f"{name}: peak memory while journalling, MB": written_mb,
        f"{name}: peak memory with sealing, MB": sealed_mb,
        f"{name}: peak memory with reading, MB": status_mb("VmHWM"),
    }


def apart(minutes: float) -> dict[str, float]:
    """Return `long_session` of a process in which nothing else ran."""
    begin = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        found = pool.submit(long_session, Path(name), minutes).result()
    return found | {f"{minutes:g} min for {PARTICIPANTS}: took, s": time.perf_counter() - begin}


def sealing(folder: Path, n: int) -> dict[str, float]:
    raw_mb = n * RAW_ROW / 1e6
    begin = time.perf_counter()
    seal(folder / "p0", session="S", status="completed")
    sealed = time.perf_counter()
    table = open_sealed(folder / "p0", "motion")
    read = time.perf_counter()
    size = (folder / "p0" / "motion.parquet").stat().st_size
    assert table.num_rows == n
    return {
        "sealing: raw MB/s, read back and hashed": raw_mb / (sealed - begin),
        "reading sealed: raw MB/s, hash and page checksums": raw_mb / (read - sealed),
        "sealed: bytes a row": size / n,
    }


def as_mcap(folder: Path, n: int) -> dict[str, float]:
    from mcap.reader import make_reader
    from mcap.writer import Writer

    seq, t, values = rows(n, 1)
    path = folder / "rows.mcap"
    begin = time.perf_counter()
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        channel = writer.register_channel("/motion", "raw", 0)
        for at in range(0, n, BLOCK):
            part = slice(at, at + BLOCK)
            data = seq[part].tobytes() + t[part].tobytes() + values[part].tobytes()
            writer.add_message(channel, log_time=int(t[at]), publish_time=int(t[at]), data=data)
        writer.finish()
        os.fsync(stream.fileno())
    written = time.perf_counter()
    with path.open("rb") as stream:
        got = sum(
            len(m.data) for _, _, m in make_reader(stream, validate_crcs=True).iter_messages()
        )
    read = time.perf_counter()
    assert got == n * (12 + 4 * CHANNELS)
    return figures("MCAP", n, path, written - begin, read - written)


def as_hdf5(folder: Path, n: int) -> dict[str, float]:
    import h5py

    seq, t, values = rows(n, 1)
    path = folder / "rows.h5"
    begin = time.perf_counter()
    with h5py.File(path, "w") as file:
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
        options |= {"fletcher32": True, "shuffle": True}
        file.create_dataset("seq", data=seq, chunks=(min(6000, n),), **options)
        file.create_dataset("t", data=t, chunks=(min(6000, n),), **options)
        file.create_dataset("values", data=values, chunks=(min(6000, n), 1), **options)
        file.flush()
    written = time.perf_counter()
    with h5py.File(path) as file:
        got = file["values"][:]
        file["t"][:], file["seq"][:]
    read = time.perf_counter()
    assert np.array_equal(got, values)
    return figures("HDF5", n, path, written - begin, read - written)


def figures(name: str, n: int, path: Path, wrote_s: float, read_s: float) -> dict[str, float]:
    raw_mb = n * RAW_ROW / 1e6
    return {
        f"{name}: writing raw MB/s": raw_mb / wrote_s,
        f"{name}: reading raw MB/s": raw_mb / read_s,
        f"{name}: bytes a row": path.stat().st_size / n,
    }


LOOP = """
import json, sys, time
from device_interface import DeviceLink, Setpoints
from trialkit._clock import RealClock
period, seconds = 1 / float(sys.argv[1]), float(sys.argv[2])
link = DeviceLink("simulated", {}, RealClock())
link.apply(Setpoints({"speed_m_s": 0.5}, {"speed_m_s": 0.25}, link.arm()))
late, rows, due = [], 0, time.monotonic() + period
end = due + seconds
while due < end:
    _, blocks = link.wait(max(0.0, due - time.monotonic()))
    rows += sum(map(len, blocks))
    late.append(max(0.0, time.monotonic() - due))
    due += period
print(json.dumps({"late": late, "rows": rows, "state": link.state.name}))
link.close()
"""


def lateness(hz: int, sessions: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-c", LOOP, str(hz), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(sessions)]
    told = [json.loads(process.communicate()[0]) for process in running]
    assert all(one["state"] == "RUNNING" for one in told), [one["state"] for one in told]
    late = 1e3 * np.concatenate([one["late"] for one in told])
    name = f"loop at {hz} Hz, {sessions} session(s)"
    return {
        f"{name}: late p50, ms": float(np.quantile(late, 0.5)),
        f"{name}: late p99, ms": float(np.quantile(late, 0.99)),
        f"{name}: late max, ms": float(late.max()),
    }


def physical(minutes: float) -> dict[str, float]:
    """Walk the body of the driver ``mujoco`` with a controller every 1 ms."""
    from biped import STANDING_S, walk

    from device_interface.mujoco.model import STEP_S

    values = {"speed_m_s": 0.5, "support_fraction": 0.3, "guidance": 1.0}
    wall, cpu = time.perf_counter(), time.process_time()
    passed, _, how = walk({"strength": 0.8}, values, minutes)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert how == "RUNNING", how
    simulated = STANDING_S + passed
    return {
        "MuJoCo: steps of 1 ms a second": simulated / STEP_S / wall,
        "MuJoCo: times real time": simulated / wall,
        "MuJoCo: times real time by processor time": simulated / cpu,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of journalling")
    parser.add_argument("--loop-seconds", type=float, default=5.0)
    parser.add_argument("--walk-minutes", type=float, default=1.0, help="of the physical body")
    parser.add_argument("--long", action="store_true", help="the session of 45 minutes as well")
    parser.add_argument("--long-minutes", type=float, default=45.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    n = int(given.seconds * RATE_HZ)
    found: dict[str, float] = {"load before the start": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found |= journal(folder, given.seconds)
        found |= sealing(folder, n) | as_mcap(folder, n) | as_hdf5(folder, n)
    found["peak memory of this process, MB"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    )
    for hz in (50, 100):
        for sessions in (1, 3, 6):
            found |= lateness(hz, sessions, given.loop_seconds)
    found |= physical(given.walk_minutes)
    if given.long:
        found |= apart(given.long_minutes)
    if given.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for what, value in found.items():
        sys.stdout.write(f"{what:<56}{value:>12.2f}\n")


if __name__ == "__main__":
    main()
