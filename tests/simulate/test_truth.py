"""The truth of each world, computed twice."""

from __future__ import annotations

import math
import statistics

import pytest

from trialkit.protocol.forms import load_forms, score
from trialkit.simulate.patients import course, person
from trialkit.simulate.power import frail_hazard_ratio
from trialkit.simulate.truth import (
    CONFIDENT_FROM,
    abc_difference,
    confidence,
    hazard_ratio,
    truths,
)
from trialkit.simulate.worlds import WORLDS

ABC = load_forms()["ABC"]


@pytest.fixture(scope="module")
def seen_in_both_arms() -> list[tuple[float, float]]:
    """ABC at week 12 in the conventional and in the robot arm, of people seen in both."""
    found = []
    for number in range(2500):
        someone = person(5, number)
        pair = []
        for effect in (None, WORLDS["benefit"]):
            for outcome in course(someone, effect).visits:
                if outcome.visit == "W12" and outcome.assessments:
                    entry = outcome.assessments[4]
                    if entry.status == "done":
                        pair.append(score(ABC, entry.items, "done")["ABCMEAN"])
        if len(pair) == 2:
            found.append((pair[0], pair[1]))
    return found  # type: ignore[return-value]


def test_abc_difference_is_that_of_the_generator(seen_in_both_arms: list) -> None:  # type: ignore[type-arg]
    gains = [b - a for a, b in seen_in_both_arms]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    assert abs(statistics.mean(gains) - abc_difference(WORLDS["benefit"])) < 4 * error


def test_confidence_is_that_of_the_generator(seen_in_both_arms: list) -> None:  # type: ignore[type-arg]
    batch = confidence(WORLDS["benefit"])
    for arm in (0, 1):
        share = statistics.mean(pair[arm] >= CONFIDENT_FROM for pair in seen_in_both_arms)
        error = math.sqrt(share * (1 - share) / len(seen_in_both_arms))
        assert abs(share - batch.shares[arm]) < 4 * error
        spread = statistics.stdev(pair[arm] for pair in seen_in_both_arms)
        assert spread == pytest.approx(batch.sds[arm], rel=0.04)
    assert batch.risk_difference_se < 0.001


def test_two_ways_to_the_mean_of_abc_agree() -> None:
    batch = confidence(WORLDS["harm"])
    simulated = batch.means[1] - batch.means[0]
    assert simulated == pytest.approx(abc_difference(WORLDS["harm"]), abs=0.05)


def test_hazard_ratio_is_attenuated_by_frailty() -> None:
    value, error = hazard_ratio(WORLDS["benefit"])
    assert 0.65 < value < 1
    assert error < 0.002
    # without covariates, dropout and unreturned diaries it is nearly the same
    assert value == pytest.approx(frail_hazard_ratio(0.65, 1.75, 0.5, 1.1), abs=0.01)


def test_without_frailty_the_hazard_ratio_is_the_rate_ratio() -> None:
    assert frail_hazard_ratio(0.65, 1.75, 0.5, 1e-9) == pytest.approx(0.65, abs=1e-6)


def test_null_is_no_difference_and_harm_turns_every_sign() -> None:
    nothing = {name: truth.value for name, truth in truths(WORLDS["null"]).items()}
    assert nothing == pytest.approx(
        {"speed": 0, "falls": 1, "first_fall": 1, "abc": 0, "confident": 0}, abs=1e-12
    )
    good, bad = truths(WORLDS["benefit"]), truths(WORLDS["harm"])
    for name in ("speed", "abc", "confident"):
        assert bad[name].value < 0 < good[name].value
    for name in ("falls", "first_fall"):
        assert good[name].value < 1 < bad[name].value
