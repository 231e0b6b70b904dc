"""The recordings of people that nobody here made; known answers in facts and provenance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trialkit.gait import (
    emg_envelope,
    foot_contacts,
    mean_curve,
    pendulum_speed_m_s,
    strides,
    walking_rhythm,
)


@pytest.fixture(scope="module")
def insole(shared: Path) -> np.ndarray:
    return np.loadtxt(shared / "data" / "grf_gaitpdb_GaCo01_01.txt.gz")


def test_insole_crossings_of_20_n(insole: np.ndarray) -> None:
    """96 and 104 crossings, so 99 a minute and 1.26 s on the left: every one counted."""
    plain = {"strike_n": 20.0, "off_n": 20.0, "min_contact_s": 0.0, "min_swing_s": 0.0}
    left = foot_contacts(insole[:, 0], insole[:, 17], **plain)
    right = foot_contacts(insole[:, 0], insole[:, 18], **plain)
    assert (len(left.strikes_s), len(right.strikes_s)) == (96, 104)
    assert (96 + 104) / insole[-1, 0] * 60 == pytest.approx(99, abs=0.1)
    assert left.stride_times_s.mean() == pytest.approx(1.26, abs=0.005)


def test_insole_strides(insole: np.ndarray) -> None:
    """Nine of the right crossings and one of the left are flicker of 0.02 to 0.1 s."""
    found = strides(insole[:, 0], insole[:, 17], insole[:, 18], paretic="left")
    counts = [len(found.contacts[side].strikes_s) for side in ("left", "right")]
    assert counts == [95, 95]
    table = found.table
    assert len(table) + found.irregular == 94
    assert table["stride_time_s"].median() == pytest.approx(1.22, abs=0.01)
    assert table["cadence_steps_min"].median() == pytest.approx(98, abs=0.5)
    assert table["stance_l_fraction"].median() == pytest.approx(0.64, abs=0.02)
    assert table["double_support_fraction"].median() == pytest.approx(0.27, abs=0.02)
    assert table["paretic_load_share"].median() == pytest.approx(0.48, abs=0.01)
    assert found.gaps == 0


def test_insole_with_samples_taken_away(insole: np.ndarray) -> None:
    whole = strides(insole[:, 0], insole[:, 17], insole[:, 18])
    keep = np.ones(len(insole), dtype=bool)
    keep[2000:2050] = keep[7000:7010] = False
    cut = strides(insole[keep, 0], insole[keep, 17], insole[keep, 18])
    assert cut.gaps == 2
    before, after = whole.table.round(6), cut.table.round(6)
    assert after.merge(before).shape == after.shape  # no stride that was not there
    lost = before[~before["start_s"].isin(after["start_s"])]
    for begin, end in ((20.0, 20.5), (70.0, 70.1)):  # those that touch a gap, and no other
        lost = lost[(lost["end_s"] < begin) | (lost["start_s"] > end)]
    assert lost.empty


def test_treadmill_force_and_belt(shared: Path) -> None:
    force = pd.read_csv(shared / "data" / "grf_csu_vertical_right_left.csv", header=None)
    time, newton = force.to_numpy().T
    flicker = foot_contacts(time, newton, off_n=20.0, min_contact_s=0, min_swing_s=0)
    found = foot_contacts(time, newton)
    assert (len(flicker.strikes_s), len(found.strikes_s)) == (49, 46)
    assert np.median(found.stride_times_s) == pytest.approx(1.204, abs=0.003)
    assert found.stride_times_s.min() > 1.14
    assert found.stride_times_s.max() < 1.25
    belt = pd.read_csv(shared / "data" / "treadmill_speed_csu.csv", header=None).to_numpy()
    assert belt[:, 1].max() == pytest.approx(1.03, abs=0.005)


def test_imu_rhythm_against_the_reference(shared: Path) -> None:
    """Reference of the bout from 5.05 to 9.88 s: 100.5 steps/min, stride 1.264 m at 1.060 m/s."""
    data = pd.read_csv(shared / "data" / "imu_mobilised_HA001_straight_walk.csv")
    rhythm = walking_rhythm(data["acc_x"], 100.0, bout_s=(5.05, 9.88))
    assert rhythm.cadence_steps_min == pytest.approx(100.5, rel=0.02)
    assert rhythm.stride_time_s == pytest.approx(1.264 / 1.060, rel=0.02)
    people = json.loads((shared / "data" / "imu_mobilised_participants.json").read_text())
    height = people["HA"]["001"]["sensor_height_m"]
    # the pendulum is a model with a correction from healthy people: 5 % is what it can claim
    speed = pendulum_speed_m_s(
        data["acc_x"] * 9.81, 100.0, sensor_height_m=height, bout_s=(5.05, 9.88)
    )
    assert speed == pytest.approx(1.060, rel=0.05)
    assert speed * rhythm.stride_time_s == pytest.approx(1.264, rel=0.05)


def test_emg_of_a_c3d(shared: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    file = ezc3d.c3d(str(shared / "data" / "emg_btk_1123x01EMG.c3d"))
    analog = file["parameters"]["ANALOG"]
    rate = float(analog["RATE"]["value"][0])
    channels = file["data"]["analogs"][0]
    assert channels.shape == (8, 4564)
    assert rate == 1000.0
    for name, raw in zip(analog["LABELS"]["value"], channels, strict=True):
        envelope = emg_envelope(raw, rate)
        assert np.isfinite(envelope).all()
        # of the size of the rectified signal, smoother, and with bursts
        assert envelope.mean() == pytest.approx(np.abs(raw - raw.mean()).mean(), rel=0.25), name
        assert envelope.max() > 2 * envelope.mean(), name
        assert np.abs(np.diff(envelope)).max() < 0.05 * envelope.max(), name


def test_hip_and_knee_of_39_boys(shared: Path) -> None:
    data = pd.read_csv(shared / "data" / "gait_hip_knee_angles_39_boys.csv", index_col=0)
    hip, knee = (mean_curve(data.filter(like=j).to_numpy().T) for j in ("Hip", "Knee"))
    assert len(hip.range_of_motion) == len(knee.range_of_motion) == 39
    # flexion positive, in degrees: extension late in stance, knee peak in swing
    assert int(np.argmin(hip.mean)) == 10
    assert int(np.argmax(knee.mean)) == 14
    assert hip.mean.max() == pytest.approx(49.03, abs=0.01)
    assert knee.mean.max() == pytest.approx(73.92, abs=0.01)
    assert hip.range_of_motion.mean() == pytest.approx(49.4, abs=0.05)
    assert knee.range_of_motion.mean() == pytest.approx(66.7, abs=0.05)
    assert np.ptp(knee.mean) < knee.range_of_motion.mean()
