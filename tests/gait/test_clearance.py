from __future__ import annotations

import math

import numpy as np
import pytest

from trialkit.errors import UsageError
from trialkit.gait import Segments, minimum_toe_clearance_m, toe_heights

LEG = Segments(thigh_m=0.40, shank_m=0.42, ankle_height_m=0.08, toe_m=0.18, heel_m=0.06)


def leg(hip: float = 0.0, knee: float = 0.0, ankle: float = 0.0) -> dict[str, list[float]]:
    return {"hip": [hip], "knee": [knee], "ankle": [ankle]}


def test_standing_has_both_toes_on_the_ground() -> None:
    left, right = toe_heights(leg(), leg(), LEG)
    assert left[0] == pytest.approx(0.0, abs=1e-12)
    assert right[0] == pytest.approx(0.0, abs=1e-12)


def test_a_bent_knee_lifts_the_toe_as_geometry_says() -> None:
    hip, knee = math.radians(40), math.radians(60)
    left, _ = toe_heights(leg(hip, knee), leg(), LEG)
    hip_height = 0.40 + 0.42 + 0.08
    foot = hip - knee  # pointing down by 20 degrees
    expected = (
        hip_height - 0.40 * math.cos(hip) - 0.42 * math.cos(foot)
        - 0.08 * math.cos(foot) + 0.18 * math.sin(foot)
    )  # fmt: skip
    assert left[0] == pytest.approx(expected, rel=1e-12)
    assert left[0] > 0


def test_dorsiflexion_lifts_the_toe() -> None:
    hip, knee = math.radians(30), math.radians(50)
    toes = [toe_heights(leg(hip, knee, a), leg(), LEG)[0][0] for a in (-0.2, 0.0, 0.2)]
    assert toes[0] < toes[1] < toes[2]


def test_nothing_lies_below_the_ground() -> None:
    rng = np.random.default_rng(4)
    legs = [
        {"hip": rng.uniform(-0.4, 0.7, 500), "knee": rng.uniform(0, 1.1, 500),
         "ankle": rng.uniform(-0.4, 0.3, 500)}
        for _ in range(2)
    ]  # fmt: skip
    left, right = toe_heights(*legs, LEG)
    assert min(left.min(), right.min()) >= 0


def test_the_minimum_in_mid_swing() -> None:
    u = np.linspace(0, 1, 101)
    height = 0.05 * np.sin(2 * np.pi * u) ** 2 + 0.015
    assert minimum_toe_clearance_m(height) == pytest.approx(0.015, abs=1e-4)


@pytest.mark.parametrize(
    "height",
    [
        np.linspace(0, 0.1, 50),  # only rises
        np.sin(np.linspace(0, np.pi, 50)) * 0.08,  # one bump: no minimum inside
        np.full(50, 0.02),
        np.array([0.0, 0.1, 0.0]),
        np.where(np.arange(50) == 20, np.nan, 0.05),
        np.array([]),
    ],
    ids=["rise", "one bump", "flat", "short", "missing", "empty"],
)
def test_no_minimum_is_no_number(height: np.ndarray) -> None:
    assert math.isnan(minimum_toe_clearance_m(height))


def test_lengths_and_angles_are_checked() -> None:
    with pytest.raises(UsageError, match="segment length"):
        Segments(400, 420, 80, 180, 60)
    with pytest.raises(UsageError, match="angle is missing"):
        toe_heights({"hip": [0.0]}, leg(), LEG)
