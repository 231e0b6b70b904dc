from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from device_interface.foreign import channel_names, si_unit
from device_interface.replay import RecordedStream, Recording, read_recording
from device_interface.replay.counting import unwrap
from trialkit.errors import MappingFindings, UnknownName, UsageError

MAPPING = """
schema: trialkit.recording/1
format: csv
title: a test
vendor: v
model: m
family: wearable_brace
streams:
  - name: leg
    clock: {column: t, unit: ms}
    channels:
      - {column: angle, name: knee_angle_l, unit: deg, sign: -1, zero: 10, full_scale: 100}
"""


def only(recording: Recording) -> RecordedStream:
    (stream,) = recording.streams
    return stream


def column(stream: RecordedStream, name: str) -> np.ndarray:
    return stream.values[:, stream.stream.index(name)]


def test_the_short_openexo_file(shared: Path) -> None:
    recording = read_recording(shared / "data" / "exo_openexo_ankle_84s.csv")
    stream, counts = only(recording), only(recording).counts
    assert recording.mapping == "openexo"
    assert len(stream) == 5542
    times = stream.times()
    assert times["host_rate_hz"] == pytest.approx(66, abs=0.1)
    assert times["host_span_s"] == pytest.approx(84, abs=0.05)
    assert counts.clock_wraps == counts.gaps == counts.clock_resets == 0
    assert counts.repeated_host_times == 2154  # 38.9 %
    assert counts.repeated_names == ("Ankle Angle",)
    assert counts.saturated["pwm_r"] == 0
    assert counts.overflowed["pwm_r"] == 86
    first, second = (column(stream, f"ankle_angle_{n}_r") for n in ("first", "second"))
    assert not first.any()
    assert np.degrees([second.min(), second.max()]) == pytest.approx([0.67, 86.87])


def test_the_openexo_file_whose_clock_wraps(shared: Path) -> None:
    recording = read_recording(shared / "data" / "exo_openexo_ankle_clockwrap_299s.csv.gz")
    stream, counts = only(recording), only(recording).counts
    assert len(stream) == 19_736
    times = stream.times()
    assert times["host_span_s"] == pytest.approx(298.9, abs=0.05)
    assert times["device_span_naive_s"] == pytest.approx(655.3, abs=0.05)
    assert times["device_span_s"] == pytest.approx(298.87, abs=0.005)
    assert counts.clock_wraps == 1
    assert counts.repeated_host_times / len(stream) == pytest.approx(0.39, abs=0.01)
    raw = stream.t_raw_ns / 1e9
    assert [raw.min(), raw.max()] == [-327.67, 327.67]
    at = int(np.argmin(np.diff(raw)))
    assert [raw[at], raw[at + 1]] == [327.67, -327.67]
    assert np.diff(stream.t_device_ns).min() == 0
    assert np.diff(stream.t_device_ns).max() <= 40_000_000
    assert counts.saturated["pwm_r"] == 0
    assert counts.overflowed["pwm_r"] == 638
    assert counts.gaps == counts.unreadable == counts.out_of_order == 0
    assert recording.identity()["counted_clock_wraps"] == 1


def test_markers_and_plates_of_a_c3d_file(shared: Path) -> None:
    pytest.importorskip("ezc3d")
    recording = read_recording(shared / "data" / "gait_btk_Gait.c3d")
    points, analog = recording.streams
    assert (len(points), points.stream.rate_hz) == (487, 100.0)
    assert len(points.stream.channels) == 3 * 33
    assert (len(analog), analog.stream.rate_hz) == (4870, 1000.0)
    assert {"RKNE x", "LFOO z"} <= set(points.counts.repeated_names)
    assert points.counts.not_finite["rsho_x"] == 293
    # 12 bits, signed: both ends of the converter's range
    assert analog.counts.saturated["lrec"] == 5
    assert analog.counts.saturated["rvas"] == 2
    assert {c.unit for c in analog.stream.channels} == {"N", "N.m", "V"}
    assert {c.unit for c in points.stream.channels} == {"m"}


def test_emg_of_a_c3d_file(shared: Path) -> None:
    pytest.importorskip("ezc3d")
    recording = read_recording(shared / "data" / "emg_btk_1123x01EMG.c3d")
    emg = only(recording)
    assert len(emg.stream.channels) == 8
    assert {c.unit for c in emg.stream.channels} == {"V"}
    assert emg.values.max() == pytest.approx(1.02050781e-3)
    assert recording.totals() == {}


def test_an_xdf_file_whose_clock_began_again(shared: Path) -> None:
    pytest.importorskip("pyxdf")
    recording = read_recording(shared / "data" / "xdf_clock_resets.xdf")
    stream, counts = only(recording), only(recording).counts
    assert len(stream) == 27_815
    assert counts.clock_resets == 1
    assert counts.gaps == 1
    assert counts.clock_wraps == counts.out_of_order == 0
    assert np.diff(stream.t_raw_ns).min() < -653_000e9
    assert stream.t_host_ns is not None
    assert (np.diff(stream.t_host_ns) > 0).all()
    assert np.diff(stream.t_device_ns).min() > 0
    assert np.diff(stream.t_device_ns).max() == pytest.approx(273.556e9, rel=1e-4)
    assert len(recording.left_out) == 1  # the texts


def test_the_smallest_xdf_file(shared: Path) -> None:
    pytest.importorskip("pyxdf")
    stream = only(read_recording(shared / "data" / "xdf_minimal.xdf"))
    assert stream.values[0].tolist() == [192, 255, 238]
    assert stream.t_host_ns is not None
    assert (stream.t_host_ns - stream.t_raw_ns)[0] == pytest.approx(-0.1e9, abs=1)


def written(folder: Path, text: str, mapping: str = MAPPING) -> RecordedStream:
    (folder / "map.yaml").write_text(mapping)
    (folder / "r.csv").write_text(text)
    return only(read_recording(folder / "r.csv", str(folder / "map.yaml")))


def test_sign_zero_and_unit_of_a_mapping(tmp_path: Path) -> None:
    stream = written(tmp_path, "t,angle\n0,10\n10,40\n20,-20\n")
    assert np.degrees(stream.values[:, 0]) == pytest.approx([0, -30, 30])
    (channel,) = stream.stream.channels
    assert (channel.name, channel.unit) == ("knee_angle_l", "rad")
    assert np.degrees([channel.minimum, channel.maximum]) == pytest.approx([-90, 110])
    assert stream.stream.rate_hz == 100


def test_everything_that_is_wrong_is_counted(tmp_path: Path) -> None:
    lines = ["t,angle"]
    lines += [f"{10 * k},{k}" for k in range(20)]
    lines += ["200,100", "210,-100"]  # saturated, then overflowed
    lines += ["220,-"]  # not a number
    lines += ["230,1,2", "x,1"]  # two unreadable lines
    lines += ["240,1", "240,2", "235,3"]  # repeated, back
    lines += ["400,4"]  # a gap
    counts = written(tmp_path, "\n".join(lines)).counts
    assert counts.unreadable == 2
    assert counts.saturated["knee_angle_l"] == 2
    assert counts.overflowed["knee_angle_l"] == 1
    assert counts.not_finite["knee_angle_l"] == 1
    assert counts.repeated_device_times == 1
    assert counts.out_of_order == 1
    assert counts.gaps == 1
    assert counts.missing >= 10


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(MappingFindings) as caught:
        written(tmp_path, "t,knee\n0,1\n")
    assert [finding.where for finding in caught.value.findings] == ["angle"]


@pytest.mark.parametrize(
    "change", ["sign: 2", "name: Knee", "nonsense: 1", "full_scale: -1", "unit: [deg"]
)
def test_faults_of_a_mapping_are_listed(tmp_path: Path, change: str) -> None:
    key = change.partition(":")[0]
    old = {"sign": "sign: -1", "name": "name: knee_angle_l", "full_scale": "full_scale: 100"}
    old["unit"] = "unit: deg"
    text = MAPPING.replace(old.get(key, "zero: 10"), change)
    with pytest.raises(MappingFindings):
        written(tmp_path, "t,angle\n0,1\n", text)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        read_recording(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError):
        read_recording(tmp_path / "other.csv")
    with pytest.raises(UnknownName):
        read_recording(tmp_path / "other.csv", "nonsense")
    with pytest.raises(UsageError):
        read_recording(tmp_path / "other.csv", "trainer")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 10_000)[:-9])
    with pytest.raises(UsageError):
        read_recording(tmp_path / "cut.csv.gz", "openexo")
    with pytest.raises(UsageError):
        read_recording(tmp_path)


def test_a_clock_wraps_forth_and_back() -> None:
    true = np.array([0, 40, 60, 45, 80, 110], np.int64)
    wrapped = (true + 50) % 100 - 50
    found = unwrap(wrapped, 100, None, 10)
    assert found.t_ns.tolist() == true.tolist()
    assert found.wraps == 3
    assert unwrap(np.array([0, 30, -40, -10], np.int64), 100, None, 10).t_ns.tolist() == [
        0, 30, 60, 90,
    ]  # fmt: skip


def test_names_and_units() -> None:
    assert channel_names(["Right Rectus", "Right Rectus", "  ", "Fz (N)"]) == [
        "right_rectus", "right_rectus_2", "channel", "fz_n",
    ]  # fmt: skip
    assert channel_names(["a b", "a-b", "a_b_2"]) == ["a_b", "a_b_2", "a_b_2_2"]
    assert channel_names(["TA"], "emg") == ["emg_ta"]
    assert si_unit("microvolts") == ("V", 1e-6)
    assert si_unit("furlong") == ("furlong", 1.0)
