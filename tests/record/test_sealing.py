"""Sealing a row group at a time: same bytes, values that are no numbers, crashes, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from trialkit.errors import TelemetryDamaged
from trialkit.record.journal import JournalWriter, telemetry_schema
from trialkit.record.sealing import MANIFEST, open_sealed, seal

CHANNELS = [(f"c{i}", "N", "float32") for i in range(4)]


def write(folder: Path, name: str, n: int, *, frame: int = 900) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    writer = JournalWriter(folder / f"{name}.tkj", telemetry_schema(CHANNELS, {"stream": name}))
    values = np.random.default_rng(n).standard_normal((n, len(CHANNELS))).astype(np.float32)
    values[::7, 1] = np.nan
    seq = np.arange(n, dtype=np.uint32)
    seq[n // 2 :] += 5
    t = np.arange(n, dtype=np.int64) * 1_000_000
    for at in range(0, n, frame):
        part = slice(at, at + frame)
        writer.append(seq[part], t[part], t[part], values[part])
        writer.flush()
    writer.close()
    return values


@pytest.mark.parametrize("n", [29_999, 30_000, 30_001, 75_000])
def test_rows_come_back_and_the_frames_do_not_matter(tmp_path: Path, n: int) -> None:
    values = write(tmp_path / "a", "motion", n)
    write(tmp_path / "b", "motion", n, frame=1777)
    a = seal(tmp_path / "a", session="S", status="completed")
    b = seal(tmp_path / "b", session="S", status="completed")
    assert a.manifest == b.manifest
    (entry,) = a.manifest["files"]
    assert (entry["rows"], entry["gaps"], entry["first_seq"], entry["last_seq"]) == (n, 1, 0, n + 4)
    table = open_sealed(tmp_path / "a", "motion")
    for at, (name, _, _) in enumerate(CHANNELS):
        assert np.array_equal(table.column(name).to_numpy(), values[:, at], equal_nan=True)


KILLED = """
import os, sys
from pathlib import Path
from trialkit.record.sealing import seal
left, unlink = [int(sys.argv[2])], Path.unlink
def stop(self, **options):
    if self.suffix == ".tkj":
        if not left[0]:
            os.kill(os.getpid(), 9)
        left[0] -= 1
    unlink(self, **options)
Path.unlink = stop
seal(Path(sys.argv[1]), session="S", status="completed")
"""


@pytest.mark.parametrize("removed", [0, 1])
def test_killed_while_the_journals_are_removed_nothing_is_left_out(
    tmp_path: Path, removed: int
) -> None:
    folder = tmp_path / "s"
    for name, n in (("motion", 3000), ("stride", 40)):
        write(folder, name, n)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(removed)])
    assert done.returncode == -9
    assert len(list(folder.glob("*.tkj"))) == 2 - removed
    sealed = seal(folder, session="S", status="recovered")
    assert [entry["name"] for entry in sealed.manifest["files"]] == [
        "motion.parquet",
        "stride.parquet",
    ]
    assert sealed.manifest["status"] == "completed"
    assert list(folder.glob("*.tkj")) == []
    assert open_sealed(folder, "motion").num_rows == 3000


def test_journals_stay_where_the_sealed_files_are_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write(folder, "motion", 3000)
    kept = (folder / "motion.tkj").read_bytes()
    seal(folder, session="S", status="completed")
    (folder / "motion.tkj").write_bytes(kept)
    path = folder / "motion.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(TelemetryDamaged, match="motion"):
        seal(folder, session="S", status="completed")
    assert (folder / "motion.tkj").read_bytes() == kept
    assert (folder / MANIFEST).is_file()


MEASURED = """
import sys
from pathlib import Path
import pyarrow as pa
from trialkit.record.sealing import seal
seal(Path(sys.argv[1]), session="S", status="completed")
print(pa.default_memory_pool().max_memory())
"""


def test_memory_is_that_of_a_row_group_and_not_of_the_session(tmp_path: Path) -> None:
    peak = {}
    for n in (60_000, 600_000):
        folder = tmp_path / f"s{n}"
        write(folder, "motion", n, frame=10_000)
        run = [sys.executable, "-c", MEASURED, str(folder)]
        peak[n] = int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    a_row = 20 + 4 * len(CHANNELS)
    assert peak[600_000] < 600_000 * a_row / 2
    assert peak[600_000] < 1.5 * peak[60_000]


def test_arrow_types_are_those_of_the_journal(tmp_path: Path) -> None:
    write(tmp_path / "s", "motion", 100)
    seal(tmp_path / "s", session="S", status="completed")
    table = open_sealed(tmp_path / "s", "motion")
    assert table.schema.field("c0").type == pa.float32()
