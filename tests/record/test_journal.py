from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit._canonical import sha256_file
from trialkit.errors import Duplicate, StorageRefused, TelemetryDamaged
from trialkit.record.journal import JournalWriter, read_journal, telemetry_schema
from trialkit.record.sealing import open_sealed, read_manifest, seal

SCHEMA = telemetry_schema(
    [("speed_m_s", "m/s", "float32"), ("device_state", "1", "int16")], {"session": "X-S01"}
)


def rows(first: int, n: int) -> tuple[Any, Any, Any, Any]:
    seq = np.arange(first, first + n, dtype=np.uint32)
    t = seq.astype(np.int64) * 10_000_000
    values = np.stack([seq * 0.25, np.full(n, 3)], axis=1).astype(np.float32)
    return seq, t, t + 5, values


def write(path: Path, frames: int = 6, each: int = 7) -> Path:
    writer = JournalWriter(path, SCHEMA)
    for frame in range(frames):
        writer.append(*rows(frame * each, each))
        writer.flush()
    writer.close()
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("journal") / "motion.tkj").read_bytes()


def assert_true_prefix(path: Path) -> int:
    """Whatever is returned must be rows 0 .. n-1 exactly as they were written."""
    content = read_journal(path)
    n = content.rows
    if n:
        table = content.table()
        seq, t_device, t_host, values = rows(0, n)
        assert np.array_equal(table["seq"].to_numpy(), seq)
        assert np.array_equal(table["t_device_ns"].to_numpy(), t_device)
        assert np.array_equal(table["t_host_ns"].to_numpy(), t_host)
        assert np.array_equal(table["speed_m_s"].to_numpy(), values[:, 0])
        assert set(table["device_state"].to_pylist()) == {3}
    return n


def test_everything_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "motion.tkj")
    content = read_journal(path)
    assert content.fault is None
    assert content.good_bytes == content.total_bytes == path.stat().st_size
    assert assert_true_prefix(path) == 42
    assert content.schema is not None
    assert content.schema.field("speed_m_s").metadata == {b"unit": b"m/s"}


# the frames end at these numbers of rows: nothing between two of them is ever returned
WHOLE = {0, 7, 14, 21, 28, 35, 42}
QUICK = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUICK
@given(data=st.data())
def test_a_changed_byte_keeps_the_good_prefix(
    journal: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(journal) - 1))
    mask = data.draw(st.integers(1, 255))
    damaged = bytearray(journal)
    damaged[at] ^= mask
    path = tmp_path / "motion.tkj"
    path.write_bytes(damaged)
    kept = assert_true_prefix(path)
    content = read_journal(path)
    assert kept in WHOLE - {42}
    assert content.fault is not None
    assert content.good_bytes <= at


@QUICK
@given(data=st.data())
def test_a_cut_keeps_the_good_prefix(journal: bytes, tmp_path: Path, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(journal)))
    path = tmp_path / "motion.tkj"
    path.write_bytes(journal[:end])
    assert assert_true_prefix(path) in WHOLE
    content = read_journal(path)
    assert (content.fault is None) == (content.good_bytes == end)


@QUICK
@given(data=st.data())
def test_a_zeroed_page_and_rubbish_at_the_end(
    journal: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(journal) - 1))
    n = data.draw(st.integers(1, 512))
    rubbish = data.draw(st.binary(max_size=64))
    damaged = journal[:at] + bytes(min(n, len(journal) - at)) + journal[at + n :] + rubbish
    path = tmp_path / "motion.tkj"
    path.write_bytes(damaged)
    assert assert_true_prefix(path) in WHOLE


def test_frames_cannot_be_left_out_or_swapped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tkj")
    ends = []
    for frames in range(1, 5):  # the same bytes, ever longer
        ends.append(write(tmp_path / f"{frames}.tkj", frames).stat().st_size)
    data = path.read_bytes()
    without = data[: ends[0]] + data[ends[1] :]
    swapped = data[: ends[0]] + data[ends[1] : ends[2]] + data[ends[0] : ends[1]] + data[ends[2] :]
    for damaged in (without, swapped):
        path.write_bytes(damaged)
        assert assert_true_prefix(path) == 7


def test_a_second_journal_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "motion.tkj")
    with pytest.raises(Duplicate):
        JournalWriter(tmp_path / "motion.tkj", SCHEMA)


def test_a_full_disk_is_refused_and_what_was_synced_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path / "motion.tkj", SCHEMA)
    writer.append(*rows(0, 7))
    assert writer.sync() == 7
    file = writer._file

    class Full:
        closed = False

        def write(self, data: memoryview) -> int:
            file.write(data[:20])  # a part still fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            file.close()

    monkeypatch.setattr(writer, "_file", Full())
    writer.append(*rows(7, 7))
    with pytest.raises(StorageRefused, match="disk is full"):
        writer.flush()
    file.close()
    assert assert_true_prefix(tmp_path / "motion.tkj") == 7


def test_rows_reach_the_disk_within_half_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("trialkit.record.journal.time.monotonic", lambda: now[0])
    writer = JournalWriter(tmp_path / "motion.tkj", SCHEMA)
    writer.append(*rows(0, 7))
    assert writer.synced_rows == 0
    now[0] += 0.5
    writer.append(*rows(7, 1))
    assert writer.synced_rows == 8
    writer.append(*rows(8, 1))
    now[0] += 0.6
    writer.sync_if_due()
    assert writer.synced_rows == 9
    writer.close()


def test_sealing_is_deterministic_and_removes_the_journal(tmp_path: Path) -> None:
    hashes = set()
    for name, frames, each in (("a", 6, 7), ("b", 3, 14), ("c", 42, 1)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder / "motion.tkj", frames, each)
        sealed = seal(folder, session="X-S01", status="completed")
        hashes.add((sealed.files[0].sha256, sealed.manifest_sha256))
        assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "motion.parquet"]
        entry = sealed.files[0]
        assert (entry.rows, entry.first_seq, entry.last_seq, entry.gaps) == (42, 0, 41, 0)
        assert sha256_file(folder / "motion.parquet") == entry.sha256
    assert len(hashes) == 1  # the rows decide, not how they were framed


def test_gaps_are_counted_and_a_damaged_tail_is_left_out(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "motion.tkj", SCHEMA)
    for first, n in ((0, 5), (9, 5), (14, 5), (30, 2)):
        writer.append(*rows(first, n))
        writer.flush()
    writer.close()
    with (tmp_path / "motion.tkj").open("ab") as stream:
        stream.write(b"TKJ1 half a frame")
    sealed = seal(tmp_path, session="X-S01", status="recovered")
    assert sealed.files[0].gaps == 2
    assert sealed.files[0].rows == 17
    assert sealed.lost_bytes == 17


@pytest.mark.requirement("R16")
def test_sealed_rows_are_read_only_after_the_hash_was_checked(tmp_path: Path) -> None:
    write(tmp_path / "motion.tkj")
    sealed = seal(tmp_path, session="X-S01", status="completed")
    table = open_sealed(tmp_path, "motion", sha256=sealed.manifest_sha256)
    assert table.schema.field("seq").type == pa.uint32()
    assert np.array_equal(table["speed_m_s"].to_numpy(), rows(0, 42)[3][:, 0])
    path = tmp_path / "motion.parquet"
    good = path.read_bytes()
    for at in range(0, len(good), 97):
        damaged = bytearray(good)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(TelemetryDamaged):
            open_sealed(tmp_path, "motion")
    path.unlink()
    with pytest.raises(TelemetryDamaged):
        open_sealed(tmp_path, "motion")
    path.write_bytes(good)
    open_sealed(tmp_path, "motion")
    with pytest.raises(TelemetryDamaged):
        open_sealed(tmp_path, "force")


def test_the_manifest_must_be_the_one_that_the_record_names(tmp_path: Path) -> None:
    write(tmp_path / "motion.tkj")
    sealed = seal(tmp_path, session="X-S01", status="completed")
    assert read_manifest(tmp_path, sha256=sealed.manifest_sha256).manifest == sealed.manifest
    path = tmp_path / "manifest.json"
    altered = json.loads(path.read_text())
    altered["files"][0]["rows"] += 1
    path.write_text(json.dumps(altered))
    with pytest.raises(TelemetryDamaged):
        read_manifest(tmp_path, sha256=sealed.manifest_sha256)
    path.write_text("{")
    with pytest.raises(TelemetryDamaged):
        read_manifest(tmp_path)


def test_sealing_again_after_a_crash_between_manifest_and_journal(tmp_path: Path) -> None:
    data = write(tmp_path / "motion.tkj").read_bytes()
    first = seal(tmp_path, session="X-S01", status="completed")
    assert seal(tmp_path, session="X-S01", status="completed") == first
    (tmp_path / "motion.tkj").write_bytes(data)
    again = seal(tmp_path, session="X-S01", status="completed")
    assert again.manifest_sha256 == first.manifest_sha256


def test_an_empty_journal_seals_to_an_empty_table(tmp_path: Path) -> None:
    JournalWriter(tmp_path / "motion.tkj", SCHEMA).close()
    sealed = seal(tmp_path, session="X-S01", status="device_fault")
    assert sealed.files[0].rows == 0
    assert sealed.files[0].first_seq is None
    assert open_sealed(tmp_path, "motion").num_rows == 0
