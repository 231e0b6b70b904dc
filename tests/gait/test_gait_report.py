"""What a recording's channels allow, and what they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from walking import Walk

from trialkit.errors import UsageError
from trialkit.gait import GaitReport, Segments, Signals, gait_report, strides

LEG = Segments(0.42, 0.41, 0.08, 0.18, 0.06)


def signals(name: str, time_s: np.ndarray, units: dict[str, str], **channels: object) -> Signals:
    frame = pd.DataFrame(
        {
            "seq": np.arange(7, 7 + len(time_s), dtype=np.uint32),
            "t_device_ns": np.round(time_s * 1e9).astype(np.int64) + 5_000_000_000,
            "t_host_ns": np.round(time_s * 1e9).astype(np.int64) + 900_000_000_000,
            **channels,
        }
    )
    return Signals(name, frame, units | {c: units.get(c, "1") for c in channels})


def motion(walk: Walk, **channels: object) -> Signals:
    forces = {"grf_vertical_l": walk.left, "grf_vertical_r": walk.right}
    return signals("motion", walk.time, {}, **forces, **channels)


def reported(rows: int = 10) -> Signals:
    end = 2.0 + 1.25 * np.arange(rows)
    return signals(
        "stride",
        end,
        {},
        stride_time_s=np.r_[0.0, np.full(rows - 1, 1.25)],
        step_length_l_m=np.full(rows, 0.30),
        step_length_r_m=np.full(rows, 0.50),
        stance_l_fraction=np.full(rows, 0.60),
        stance_r_fraction=np.full(rows, 0.66),
        toe_clearance_m=np.linspace(0.01, 0.02, rows),
    )


def mean(found: GaitReport, measure: str) -> float:
    return float(found.summary.set_index("measure").loc[measure, "mean"])


def test_forces_come_first_and_give_the_strides() -> None:
    walk = Walk()
    found = gait_report([reported(), motion(walk, belt_speed_m_s=walk.belt)], paretic="left")
    made = strides(walk.time, walk.left, walk.right, belt_speed_m_s=walk.belt, paretic="left").table
    assert found.source == "motion"
    assert found.computed
    assert found.steps == 40
    for column in made:
        assert np.allclose(found.table[column], made[column], atol=1e-9), column
    assert mean(found, "cadence_steps_min") == pytest.approx(100.0, rel=1e-6)
    assert mean(found, "step_asymmetry") == pytest.approx(0.2 / 1.2, abs=5e-3)
    # only the device told a clearance, for strides that are not those of the table
    assert found.summary.set_index("measure").loc["toe_clearance_m", "n"] == 9
    assert "toe_clearance_m" not in found.table
    assert set(found.missing) == {"EMG envelope"}
    assert all(found.summary["definition"])
    told = found.summary.set_index("measure")["definition"]
    assert told["stance_r_fraction"].startswith("time of the right foot")


def test_without_a_paretic_side_and_belt_it_says_so() -> None:
    found = gait_report([motion(Walk())])
    assert "name it" in found.missing["loading share"]
    assert "name it" in found.missing["stance symmetry"]
    assert "belt speed" in found.missing["step length"]
    assert "lengths of the leg" in found.missing["minimum toe clearance"]
    assert not [c for c in found.table if c.endswith("symmetry")]


def test_strides_that_the_device_reports() -> None:
    found = gait_report([reported()], paretic="right")
    assert (found.steps, len(found.table), found.computed) == (18, 9, False)
    assert found.table["start_s"].iloc[0] == pytest.approx(0.0)
    assert mean(found, "cadence_steps_min") == 96.0
    assert mean(found, "step_length_symmetry") == pytest.approx(0.5 / 0.3)
    assert mean(found, "stance_symmetry") == pytest.approx(1.1)
    assert mean(found, "step_asymmetry") == pytest.approx(0.25)
    assert found.summary.set_index("measure").loc["toe_clearance_m", "min"] > 0.01
    assert "ground reaction" in found.missing["loading share"]


def test_a_foreign_recording_without_either() -> None:
    time = np.arange(0, 5, 0.01)
    brace = signals("exo", time, {"ankle_torque_r": "N.m"}, ankle_torque_r=np.sin(time))
    found = gait_report([brace])
    assert found.steps is None
    assert len(found.table) == 0
    assert set(found.missing) == {
        *("steps and cadence", "step length", "stance share", "loading share"),
        *("step time symmetry", "step length symmetry", "stance symmetry"),
        *("minimum toe clearance", "EMG envelope"),
    }
    assert found.to_dict()["measures"] == []


def test_a_recording_of_nothing() -> None:
    walk = Walk()
    empty = Signals("motion", motion(walk).frame.iloc[:0], {"grf_vertical_l": "N"})
    found = gait_report([empty])
    assert (found.steps, len(found.table)) == (None, 0)
    assert found.missing["motion"] == "it has no two rows"
    standing = reported().frame.assign(stride_time_s=0.0)
    stood = gait_report([Signals("stride", standing, {})])
    assert (stood.steps, len(stood.table)) == (0, 0)
    assert stood.to_dict()["measures"][0]["mean"] is None


def test_emg_is_averaged_over_each_stride_by_the_clock_of_the_host() -> None:
    walk = Walk()
    time = np.arange(0.0, 25.0, 0.001)
    noise = np.random.default_rng(3).normal(size=len(time))
    strong = 1e-4 * noise * (1.0 + (time > 12.0))  # twice as strong in the second half
    emg = signals("emg", time, {"vastus_l": "V", "emg_clock_resets": "s"}, vastus_l=strong)
    found = gait_report([motion(walk), emg])
    values = found.table["vastus_l_envelope"]
    early = values[found.table["end_s"] < 11.5].mean()
    late = values[found.table["start_s"] > 12.5].mean()
    assert late / early == pytest.approx(2.0, rel=0.1)
    # a rectified normal has mean sqrt(2 / pi) SD; the band of 20 to 450 Hz passes 86 % of it
    assert early == pytest.approx(1e-4 * np.sqrt(2 / np.pi * 0.86), rel=0.1)
    assert "450 Hz" in found.summary.set_index("measure").loc["vastus_l_envelope", "definition"]
    alone = gait_report([emg])
    assert mean(alone, "vastus_l_envelope") == pytest.approx(1.5 * early, rel=0.1)
    slow = signals("emg", time[::50], {"vastus_l": "V"}, vastus_l=strong[::50])
    assert "too slowly" in gait_report([slow]).missing["EMG envelope of emg"]


def test_lost_rows_of_emg_are_missing_and_not_joined() -> None:
    time = np.arange(0.0, 10.0, 0.001)
    emg = signals("emg", time, {"vastus_l": "V"}, vastus_l=np.sin(2 * np.pi * 80 * time))
    cut = Signals("emg", emg.frame.drop(index=range(4000, 5000)), emg.units)
    found = gait_report([cut])
    row = found.summary.set_index("measure").loc["vastus_l_envelope"]
    assert row["n"] == 9000
    assert row["mean"] == pytest.approx(2 / np.pi, rel=0.05)


def test_toe_heights_from_joint_angles() -> None:
    walk = Walk()
    phase = 2 * np.pi * walk.time / 1.2
    angles = {
        f"{joint}_angle_{side}": mid + swing * np.cos(phase + shift)
        for side, shift in (("l", 0.0), ("r", np.pi))
        for joint, mid, swing in (("hip", 0.1, 0.35), ("knee", 0.5, -0.4), ("ankle", 0.0, 0.1))
    }
    found = gait_report([motion(walk, **angles)], segments=LEG)
    assert "minimum toe clearance" not in found.missing
    assert {"toe_clearance_l_m", "toe_clearance_r_m"} <= set(found.table)


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="side"):
        gait_report([], paretic="both")  # type: ignore[arg-type]
