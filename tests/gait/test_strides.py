from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from walking import Walk, footfalls

from trialkit.errors import UsageError
from trialkit.gait import DEFINITIONS, gait_phase, strides, strides_from_telemetry


def walked(walk: Walk, **options: object) -> pd.DataFrame:
    made = {"belt_speed_m_s": walk.belt, "paretic": "left", **options}
    return strides(walk.time, walk.left, walk.right, **made).table


def test_every_measure_of_a_known_walk() -> None:
    walk = Walk()
    table = walked(walk)
    assert len(table) == 19
    # strike at 20 N, off at 15 N of half sines of 0.8 s and 800 N, 0.85 s and 900 N
    rise_l, fall_l = (0.8 / np.pi * np.arcsin(f / 800) for f in (20, 15))
    rise_r, fall_r = (0.85 / np.pi * np.arcsin(f / 900) for f in (20, 15))
    right_step = 0.5 + rise_r - rise_l
    stance_l, stance_r = 0.8 - fall_l - rise_l, 0.85 - fall_r - rise_r
    double = stance_l + stance_r - 1.2
    impulse_l, impulse_r = 800 * 0.8 * 2 / np.pi, 900 * 0.85 * 2 / np.pi
    expected = {
        "stride_time_s": 1.2,
        "cadence_steps_min": 100.0,
        "step_time_r_s": right_step,
        "step_time_l_s": 1.2 - right_step,
        "stance_l_fraction": stance_l / 1.2,
        "stance_r_fraction": stance_r / 1.2,
        "double_support_fraction": double / 1.2,
        "step_length_r_m": 0.8 * right_step,
        "step_length_l_m": 0.8 * (1.2 - right_step),
        "stride_length_m": 0.96,
        "belt_speed_m_s": 0.8,
        "paretic_load_share": impulse_l / (impulse_l + impulse_r),
        "step_time_symmetry": (1.2 - right_step) / right_step,
        "step_length_symmetry": (1.2 - right_step) / right_step,
        "stance_symmetry": stance_l / stance_r,
    }
    assert set(expected) == set(table) - {"start_s", "end_s"}
    for name, value in expected.items():
        assert np.allclose(table[name], value, rtol=2e-3), name


def test_symmetry_is_paretic_over_non_paretic() -> None:
    walk = Walk()
    left, right = walked(walk, paretic="left"), walked(walk, paretic="right")
    for name in ("step_time_symmetry", "stance_symmetry", "step_length_symmetry"):
        assert np.allclose(left[name] * right[name], 1.0)
    assert np.allclose(left["paretic_load_share"] + right["paretic_load_share"], 1.0)
    named = strides(walk.time, walk.left, walk.right, paretic="left")
    assert named.definitions["stance_symmetry"].startswith("paretic / non-paretic")
    assert "step_length_symmetry" not in named.table


def test_swapping_the_feet_swaps_the_columns() -> None:
    walk = Walk()
    here = walked(walk, start="left", paretic=None)
    there = strides(walk.time, walk.right, walk.left, start="right", belt_speed_m_s=walk.belt).table
    for name in here:
        other = name.replace("_l_", "_x_").replace("_r_", "_l_").replace("_x_", "_r_")
        assert np.allclose(here[name], there[other]), name


def test_lengths_follow_the_belt() -> None:
    walk = Walk()
    walk.belt = 0.5 + 0.02 * walk.time
    table = walked(walk)
    middle = 0.5 * (table["start_s"] + table["end_s"])
    assert np.allclose(table["belt_speed_m_s"], 0.5 + 0.02 * middle, rtol=1e-6)


def test_a_gap_costs_strides_and_is_counted() -> None:
    walk = Walk()
    hole = (walk.time > 5.9) & (walk.time < 6.0)
    found = strides(walk.time, np.where(hole, np.nan, walk.left), walk.right)
    assert found.gaps == 1
    assert len(found.table) == 18
    assert not ((found.table["start_s"] < 5.9) & (found.table["end_s"] > 6.0)).any()
    cut = strides(walk.time[~hole], walk.left[~hole], walk.right[~hole])
    assert len(cut.table) == 18


def test_a_stride_without_the_other_foot_is_irregular() -> None:
    walk = Walk()
    walk.right[(walk.time > 5.75) & (walk.time < 6.7)] = 0.0  # one right step is not there
    found = strides(walk.time, walk.left, walk.right)
    assert found.irregular == 1
    assert len(found.table) == 18
    assert found.steps == 39


def test_standing_still_is_no_stride() -> None:
    walk = Walk()
    pause = (walk.time > 6.9) & (walk.time < 14.0)
    walk.left[pause], walk.right[pause] = 400.0, 400.0
    found = strides(walk.time, walk.left, walk.right)
    assert found.table["stride_time_s"].max() < 1.3


def test_nothing_comes_out_of_nothing() -> None:
    time = np.arange(0.0, 5.0, 0.01)
    for force in (np.zeros(500), np.full(500, 400.0), np.full(500, np.nan)):
        found = strides(time, force, force, paretic="right", belt_speed_m_s=np.ones(500))
        assert len(found.table) == 0
        assert list(found.table) == list(walked(Walk()))
        assert found.steps == 0


def test_toe_clearance_of_each_swing() -> None:
    walk = Walk()
    toe = np.full(len(walk.time), 0.0)
    for strike in walk.left_at[1:]:  # the swing of the left foot ends here
        u = (walk.time - (strike - 0.4)) / 0.4
        bump = 0.06 * np.sin(3 * np.pi * u) ** 2 + 0.02 * np.sin(np.pi * np.clip(u, 0, 1))
        toe += np.where((u > 0) & (u < 1), bump, 0.0)
    table = strides(walk.time, walk.left, walk.right, toe_l_m=toe).table
    u = np.linspace(0.2, 0.8, 2001)
    least = (0.06 * np.sin(3 * np.pi * u) ** 2 + 0.02 * np.sin(np.pi * u)).min()
    assert np.allclose(table["toe_clearance_l_m"], least, atol=2e-4)
    assert "toe_clearance_r_m" not in table


def test_telemetry_columns_are_found() -> None:
    walk = Walk()
    frame = pd.DataFrame(
        {
            "seq": np.arange(len(walk.time), dtype="uint32"),
            "t_device_ns": np.round(walk.time * 1e9).astype("int64") + 10**15,
            "grf_vertical_l": walk.left.astype("float32"),
            "grf_vertical_r": walk.right.astype("float32"),
            "belt_speed_m_s": walk.belt.astype("float32"),
        }
    )
    found = strides_from_telemetry(frame, paretic="left")
    assert np.allclose(found.table.to_numpy(), walked(walk).to_numpy(), atol=1e-4)
    lost = strides_from_telemetry(frame.drop(index=range(3000, 3010)))
    assert lost.gaps == 1
    with pytest.raises(UsageError, match="grf_vertical_r"):
        strides_from_telemetry(frame.drop(columns="grf_vertical_r"))


def test_definitions_and_summary() -> None:
    walk = Walk()
    found = strides(walk.time, walk.left, walk.right, belt_speed_m_s=walk.belt, paretic="left")
    assert set(found.definitions) == set(found.table) - {"start_s", "end_s"}
    assert all("_" in name or name == "symmetry" for name in DEFINITIONS)
    assert found.summary().loc["stride_time_s", "count"] == 19


def test_walking_without_double_support() -> None:
    """On much unloading a foot may leave before the other is counted as loaded."""
    walk = Walk()
    walk.left = footfalls(walk.time, walk.left_at, 0.45)
    walk.right = footfalls(walk.time, walk.right_at, 0.60)
    found = strides(walk.time, walk.left, walk.right)
    assert len(found.table) == 19
    assert np.allclose(found.table["double_support_fraction"], 0.0)
    assert np.allclose(found.table["stance_l_fraction"], 0.45 / 1.2, atol=0.01)
    assert np.allclose(found.table["stance_r_fraction"], 0.60 / 1.2, atol=0.01)


def test_unknown_side_and_lengths() -> None:
    walk = Walk()
    with pytest.raises(UsageError, match="no side"):
        strides(walk.time, walk.left, walk.right, paretic="lefft")
    with pytest.raises(UsageError, match="force_r_n"):
        strides(walk.time, walk.left, walk.right[:-1])


def test_phase_of_the_same_walk() -> None:
    walk = Walk()
    found = strides(walk.time, walk.left, walk.right)
    at = found.contacts["left"].strikes_s
    phase = gait_phase(walk.time, at)
    assert np.isnan(phase[walk.time < at[0]]).all()
    assert np.isnan(phase[walk.time >= at[-1]]).all()
    inside = phase[(walk.time >= at[0]) & (walk.time < at[-1])]
    assert inside.min() >= 0
    assert inside.max() < 1
    assert np.allclose(np.diff(inside)[np.diff(inside) > 0], 0.002 / 1.2, rtol=0.01)
