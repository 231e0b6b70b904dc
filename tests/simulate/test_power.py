"""Power at a size, against the figures of the trial anchors."""

from __future__ import annotations

import math

import pytest

from trialkit.simulate.power import (
    power_of,
    power_statement,
    rate_ratio_variance,
    size_for,
    staying,
)
from trialkit.simulate.worlds import WORLDS


@pytest.mark.parametrize(("weeks", "per_arm"), [(12, 353), (26, 213), (52, 153)])
def test_falls_need_the_known_sizes(weeks: int, per_arm: int) -> None:
    """Rate 1.8, ratio 0.65, alpha 1.1: 353, 213 and 153 an arm for 80 %."""
    variance = rate_ratio_variance(0.65, 1.8, 7 * weeks / 365.25, 1.1)
    assert size_for(math.log(0.65), variance) == per_arm


def test_falls_over_twelve_weeks_have_32_percent() -> None:
    variance = rate_ratio_variance(0.65, 1.8, 84 / 365.25, 1.1)
    assert power_of(math.log(0.65), math.sqrt(variance / 100)) == pytest.approx(0.32, abs=0.005)


@pytest.mark.parametrize(("difference", "power"), [(0.042, 0.38), (0.089, 0.94)])
def test_two_readings_of_42_percent(difference: float, power: float) -> None:
    """SD of change 0.18, 100 an arm."""
    assert power_of(difference, 0.18 * math.sqrt(2 / 100)) == pytest.approx(power, abs=0.005)


def test_statement_says_that_falls_are_underpowered() -> None:
    statement = power_statement(200)
    rows = {row.analysis: row for row in statement.rows}
    assert list(rows) == ["speed", "falls", "first_fall", "abc", "confident"]
    assert rows["speed"].power > 0.9
    assert 0.40 < rows["falls"].power < 0.50
    assert rows["falls"].per_arm_for_80 > 200
    assert "Falls are underpowered at this size: 46 % over 26 weeks" in statement.remarks[0]
    assert "0.042 m/s" in statement.remarks[1]


def test_statement_at_a_size_that_suffices_says_nothing_of_the_kind() -> None:
    statement = power_statement(600)
    assert not any("underpowered" in remark for remark in statement.remarks)


def test_power_grows_with_size_and_is_alpha_without_effect() -> None:
    small, large = power_statement(60), power_statement(300)
    for a, b in zip(small.rows, large.rows, strict=True):
        assert a.power < b.power
    assert power_of(0.0, 1.0) == pytest.approx(0.05)
    harm = {row.analysis: row for row in power_statement(200, world=WORLDS["harm"]).rows}
    assert harm["speed"].power > 0.99
    assert 0.85 < staying() < 0.95
