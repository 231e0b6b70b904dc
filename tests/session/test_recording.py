from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from device_interface.contract import Block, Stream
from device_interface.link import InProcessLink, Link
from trialkit._clock import SimulatedClock
from trialkit.record.kinds import DeviceChecked
from trialkit.record.sealing import open_sealed, read_manifest
from trialkit.session import Progress, replay, run_session
from trialkit.session.recording import CLOCK_EVERY_S, ClockOffsets, make_folder
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
S01 = f"{USUBJID}-S01"


class SplitLink(InProcessLink):
    """The simulated trainer with its heart rate as a stream of its own, at 1 Hz.

    After `silent_after` rows it says nothing more.
    """

    silent_after = 10**9
    required = False

    def __init__(self, name: str, options: Any, clock: Any) -> None:
        super().__init__(name, {**options, "rate": "full"}, clock)
        whole = self.capability.streams[0]
        self._heart = whole.index("heart_rate_bpm")
        rest = tuple(c for c in whole.channels if c.name != "heart_rate_bpm")
        physio = Stream("physio", 1.0, (whole.channels[self._heart],), self.required)
        streams = (Stream(whole.name, whole.rate_hz, rest), physio)
        object.__setattr__(self.capability, "streams", streams)

    def wait(self, seconds: float) -> tuple[float, list[Block]]:
        passed, blocks = super().wait(seconds)
        split: list[Block] = []
        for b in blocks:
            rest = np.delete(b.values, self._heart, axis=1)
            split.append(Block(b.stream, b.seq, b.t_device_ns, b.t_host_ns, rest))
            due = (b.seq % 100 == 99) & (b.seq // 100 < self.silent_after)
            if due.any():
                heart = b.values[due][:, [self._heart]]
                seq = b.seq[due] // 100
                split.append(Block("physio", seq, b.t_device_ns[due], b.t_host_ns[due], heart))
        return passed, split


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> type[SplitLink]:
    def link(name: str, options: Any, clock: Any, **_: Any) -> Link:
        return SplitLink(name, options, clock)

    monkeypatch.setattr("trialkit.session.runner.open_link", link)
    monkeypatch.setattr(SplitLink, "silent_after", 10**9)
    return SplitLink


def events(study: Study, kind: str) -> list[dict[str, Any]]:
    return [event.payload for event in study.record.read(kinds=[kind])]


def test_every_stream_has_a_journal_counts_and_a_clock(
    study: Study, split: type[SplitLink]
) -> None:
    seen: list[Progress] = []
    outcome = run_session(study, USUBJID, number=1, day=1, progress=seen.append)
    assert outcome.completed
    (sealed,) = events(study, "session.telemetry_sealed")
    files = {f["name"]: f for f in sealed["files"]}
    assert set(files) == {"motion.parquet", "physio.parquet", "inputs.jsonl"}
    folder = study.folder / sealed["folder"]
    assert "heart_rate_bpm" not in open_sealed(folder, "motion").column_names
    heart = open_sealed(folder, "physio")
    assert (
        heart.num_rows == files["physio.parquet"]["rows"] == files["motion.parquet"]["rows"] // 100
    )
    assert files["physio.parquet"]["gaps"] == 0
    shown = {stream.name: stream for stream in seen[-1].streams}
    assert shown["physio"].rows == heart.num_rows
    assert seen[30].streams[0].rate_hz == pytest.approx(100, rel=0.05)
    assert seen[30].streams[1].rate_hz == pytest.approx(1, abs=0.5)
    assert any("heart_rate_bpm" in p.measures for p in seen)
    clock = read_manifest(folder).manifest["clock"]
    assert [set(record) for record in (clock[0], clock[-1])] == [{"wall", "t_host_ns"}] * 2
    for name in ("motion", "physio"):
        own = [record for record in clock if record.get("stream") == name]
        table = open_sealed(folder, name)
        assert own[0]["seq"] == table["seq"][0].as_py()
        assert own[-1]["seq"] == table["seq"][-1].as_py()
        times = [record["t_host_ns"] for record in own]
        assert max(np.diff(times)) <= 60e9
        assert len({record["offset_ns"] for record in own}) == 1
    assert replay(study, S01).same


@pytest.mark.parametrize("required", [True, False])
def test_a_stream_that_falls_silent_ends_the_session_or_is_named(
    study: Study, split: type[SplitLink], monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    monkeypatch.setattr(split, "silent_after", 20)
    monkeypatch.setattr(split, "required", required)
    course = study.protocols["ROBOTIC"]
    rules = [r for r in course.stop_rules if r.sign != "heart_rate_bpm"]
    changed = course.model_copy(update={"stop_rules": rules})
    monkeypatch.setitem(study.protocols, "ROBOTIC", changed)  # type: ignore[arg-type]
    outcome = run_session(study, USUBJID, number=1, day=1)
    named = [d for d in events(study, "deviation.raised") if d["category"] == "stream_silent"]
    if required:
        assert (outcome.status, outcome.code) == ("stopped_safety", "telemetry-gap")
        assert not named
    else:
        assert outcome.completed
        assert [d["detail"].partition(":")[0] for d in named] == ["physio"]


# --- clocks and folders ----------------------------------------------------------------------


def test_offsets_follow_a_clock_that_drifts() -> None:
    clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
    offsets = ClockOffsets(clock)
    offsets.wall()
    for start in range(0, 200, 2):
        device = (np.arange(200, dtype=np.int64) + 100 * start) * 10_000_000
        host = device + device // 1000 + 7  # 1 ms a second
        seq = np.arange(100 * start, 100 * start + 200, dtype=np.uint32)
        offsets.see(Block("motion", seq, device, host, np.zeros((200, 1), np.float32)))
    offsets.ends()
    own = [r for r in offsets.records if "stream" in r]
    assert (own[0]["seq"], own[-1]["seq"]) == (0, 19_999)
    assert len(own) == 6
    assert CLOCK_EVERY_S < 60
    assert max(np.diff([r["t_host_ns"] for r in own])) <= 60e9
    for record in own:
        device = record["t_host_ns"] - record["offset_ns"]
        assert record["offset_ns"] == device // 1000 + 7


def test_a_folder_that_is_there_goes_aside(tmp_path: Any) -> None:
    folder = tmp_path / "X-S01"
    for n in range(3):
        make_folder(folder)
        (folder / f"{n}").write_text("")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["X-S01", "X-S01.orphan-1", "X-S01.orphan-2"]


# --- the conformance record -------------------------------------------------------------------


def checked(device: dict[str, Any]) -> DeviceChecked:
    return DeviceChecked(
        driver="simulated",
        package="trialkit",
        package_version="0.1.0",
        device=device,
        descriptor_sha256="0" * 64,
        kit="1",
        groups=["identity"],
        quick=True,
        passed=1,
        failed=0,
        not_applicable=0,
        failures=[],
        file="conformance.json",
        digest="0" * 64,
    )


@pytest.mark.requirement("R10")
def test_a_session_names_the_newest_conformance_record_of_its_device(study: Study) -> None:
    assert run_session(study, USUBJID, number=1, day=1, rate="stride").completed
    (opened,) = events(study, "session.opened")
    assert opened["conformance"] is None
    device = opened["device"]
    others = (device, device, {**device, "serial": "another"})
    hashes = [study.append(checked(one)).hash for one in others]
    run_session(study, USUBJID, number=2, day=2, rate="stride")
    assert events(study, "session.opened")[1]["conformance"] == hashes[1]
    assert replay(study, f"{USUBJID}-S02").same
