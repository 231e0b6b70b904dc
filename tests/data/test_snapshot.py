"""Snapshots: bytes from the record alone, and every alteration found."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_trial import lock, new_study

from trialkit._canonical import sha256_file, sha256_json
from trialkit.data import Snapshot, build_snapshot, collect, snapshots
from trialkit.errors import (
    NotLocked,
    NotPermitted,
    SnapshotAltered,
    StorageRefused,
    UnknownName,
)
from trialkit.study import Study


@pytest.fixture(scope="session")
def finished(read_only: Study) -> Snapshot:
    """A blinded snapshot that nobody changes."""
    return build_snapshot(read_only.as_user("stat"))


@pytest.fixture
def folder(finished: Snapshot, tmp_path: Path) -> Path:
    """A copy of the snapshot's folder, to be altered."""
    return Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))


def test_rebuilt_from_the_same_record_it_has_the_same_bytes(trial: Study) -> None:
    stat = trial.as_user("stat")
    first = build_snapshot(stat)
    files = {p.name: p.read_bytes() for p in first.folder.iterdir()}
    shutil.rmtree(first.folder)
    second = build_snapshot(stat)  # by now the record holds an event of the first
    assert second.hash == first.hash
    again = {p.name: p.read_bytes() for p in second.folder.iterdir()}
    assert {n: b for n, b in again.items() if n != "manifest.json"} == {
        n: b for n, b in files.items() if n != "manifest.json"
    }
    assert [p.name for p in snapshots(trial)] == [first.hash[:12]]  # one event a snapshot


@pytest.mark.requirement("R09")
def test_unblinding_needs_permission_and_a_lock(trial: Study) -> None:
    with pytest.raises(NotPermitted):
        build_snapshot(trial.as_user("asa"))
    with pytest.raises(NotPermitted):
        build_snapshot(trial.as_user("cora"), unblind=True)
    stat = trial.as_user("stat")
    with pytest.raises(NotLocked):
        build_snapshot(stat, unblind=True)
    assert not trial.state.revealed


def test_blinded_and_unblinded(trial: Study) -> None:
    stat = trial.as_user("stat")
    before = build_snapshot(stat)
    assert not before.unblinded
    assert before.frames["ADSL"]["TRT01P"].isna().all()
    assert "ADEX" not in before.frames
    lock(trial)
    shown = build_snapshot(stat, unblind=True)
    assert shown.unblinded
    assert set(shown.frames["ADSL"]["TRT01P"].dropna()) == {"Robotic", "Conventional"}
    assert len(shown.frames["ADEX"]) == 8
    assert shown.frames["DI"]["DIVAL"].tolist() == ["simulated", "SIM-1"]
    again = build_snapshot(stat, unblind=True)
    assert again.hash == shown.hash
    reveals = list(trial.record.read(kinds=["allocation.revealed"]))
    assert len(reveals) == 1
    # after the unblinding a blinded snapshot is still what it was
    assert build_snapshot(stat).hash == before.hash


def test_the_record_alone_gives_the_unblinded_snapshot(trial: Study) -> None:
    lock(trial)
    built = build_snapshot(trial.as_user("stat"), unblind=True)
    (trial.folder / "allocation.db").unlink()
    pd.testing.assert_frame_equal(
        collect(list(trial.record.read()), trial.design, unblind=True)["DM"], built.frames["DM"]
    )


def test_manifest_is_what_it_says(finished: Snapshot) -> None:
    built = finished
    manifest = json.loads((built.folder / "manifest.json").read_text())
    assert built.hash == manifest["hash"] == sha256_json(manifest["files"])
    assert built.folder.name == built.hash[:12]
    for name, entry in manifest["files"].items():
        assert sha256_file(built.folder / name) == entry["sha256"]
        meta = pq.read_metadata(built.folder / name)
        assert meta.num_rows == entry["rows"]
        assert not meta.metadata  # no pandas or arrow schema, which hold versions


def test_frames_come_back_as_they_went_in(finished: Snapshot, read_only: Study) -> None:
    for name, frame in collect(read_only).items():
        pd.testing.assert_frame_equal(finished.frames[name], frame)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("name", ["ADSL.parquet", "FT.parquet", "manifest.json"])
def test_a_changed_byte_is_found_and_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(SnapshotAltered) as caught:
        Snapshot.open(folder)
    assert name == "manifest.json" or name in str(caught.value)


def test_removed_and_added_files_are_named(folder: Path) -> None:
    (folder / "note.txt").write_text("x")
    with pytest.raises(SnapshotAltered, match=r"note\.txt was added"):
        Snapshot.open(folder)
    (folder / "note.txt").unlink()
    (folder / "QS.parquet").unlink()
    with pytest.raises(SnapshotAltered, match=r"QS\.parquet was removed"):
        Snapshot.open(folder)


def test_an_altered_snapshot_is_not_mended_silently(trial: Study) -> None:
    stat = trial.as_user("stat")
    (build_snapshot(stat).folder / "QS.parquet").unlink()
    with pytest.raises(SnapshotAltered):
        build_snapshot(stat)


def test_a_manifest_that_lies_about_blinding_is_found(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"unblinded": True}))
    with pytest.raises(SnapshotAltered, match="manifest"):
        Snapshot.open(folder)


def test_no_snapshot_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        Snapshot.open(tmp_path)


def test_a_refused_disk_leaves_nothing(trial: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from trialkit.data import snapshot as room

    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        if len(written) == 5:
            raise OSError(28, os.strerror(28))
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(room, "write_durably", full)
    head = trial.record.head
    with pytest.raises(StorageRefused):
        build_snapshot(trial.as_user("stat"))
    assert list((trial.folder / "snapshots").iterdir()) == []
    assert trial.record.head == head


def test_an_empty_study_has_a_snapshot(tmp_path: Path) -> None:
    with new_study(tmp_path) as study:
        lock(study)
        built = build_snapshot(study.as_user("stat"), unblind=True)
        assert {name: len(frame) for name, frame in built.frames.items() if len(frame)} == {}
        assert built.unblinded
