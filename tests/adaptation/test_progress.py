from __future__ import annotations

import numpy as np
import pytest
from curves import COVARIANCE, ERROR, MEAN, TAU, cohort
from scipy import stats

from trialkit.adaptation import GrowthModel, fit_growth, predict_progress
from trialkit.adaptation.growth import Fit, basis
from trialkit.errors import UsageError

COLUMNS = {"outcome": "speed", "subject": "id", "time": "week"}


@pytest.fixture(scope="module")
def model() -> GrowthModel:
    return fit_growth(cohort(200, np.random.default_rng(21)), **COLUMNS)


def known(**moved: float) -> GrowthModel:
    """The model as it is in truth, at one or more time constants."""
    taus = moved or {"one": TAU}
    fits = tuple(
        Fit(tau, MEAN, np.zeros((2, 2)), COVARIANCE, ERROR**2, 0.0) for tau in taus.values()
    )
    return GrowthModel(fits[0], fits, np.full(len(fits), 1 / len(fits)), 0, 99, 0)


def test_with_known_parameters_it_is_the_conditional_normal() -> None:
    """Against the joint normal of what was and what will be seen, written out."""
    times, values, at = np.array([0.0, 2.0]), np.array([0.5, 0.62]), np.array([8.0, 12.0])
    z = basis(np.concatenate([times, at]), TAU)
    joint = z @ COVARIANCE @ z.T + ERROR**2 * np.eye(4)
    centre = z @ MEAN
    share = joint[2:, :2] @ np.linalg.inv(joint[:2, :2])
    mean = centre[2:] + share @ (values - centre[:2])
    sd = np.sqrt(np.diag(joint[2:, 2:] - share @ joint[:2, 2:]))
    table = predict_progress(known(), times, values, at).table
    assert table["expected"].to_numpy() == pytest.approx(mean, abs=1e-12)
    assert table["upper_95"].to_numpy() == pytest.approx(mean + stats.norm.ppf(0.975) * sd)
    assert table["lower_80"].to_numpy() == pytest.approx(mean + stats.norm.ppf(0.10) * sd)


def test_without_a_visit_it_is_the_population() -> None:
    table = predict_progress(known(), [], [], [0.0]).table
    assert table["expected"][0] == pytest.approx(MEAN[0])
    width = table["upper_95"][0] - table["lower_95"][0]
    assert width == pytest.approx(2 * 1.959964 * np.sqrt(COVARIANCE[0, 0] + ERROR**2), rel=1e-6)


def test_mixture_quantiles_hold_their_share() -> None:
    """Two time constants far apart: the quantiles are those of draws from the mixture."""
    model = known(fast=0.5, slow=40.0)
    table = predict_progress(model, [0.0], [0.45], [6.0]).table
    rng = np.random.default_rng(5)
    draws = []
    for fit in model.draws:
        one = predict_progress(
            GrowthModel(fit, (fit,), np.ones(1), 0, 99, 0), [0.0], [0.45], [6.0], levels=[95]
        ).table
        sd = (one["upper_95"][0] - one["expected"][0]) / stats.norm.ppf(0.975)
        draws.append(rng.normal(one["expected"][0], sd, 200_000))
    every = np.concatenate(draws)
    for level in (80, 95):
        inside = (every > table[f"lower_{level}"][0]) & (every < table[f"upper_{level}"][0])
        assert inside.mean() == pytest.approx(level / 100, abs=0.003)


def test_visits_narrow_the_interval_and_move_it(model: GrowthModel) -> None:
    widths = []
    for k in range(4):
        t, y = np.array([0.0, 2.0, 4.0])[:k], np.array([0.7, 0.8, 0.86])[:k]
        row = predict_progress(model, t, y, [12.0]).table.iloc[0]
        widths.append(row["upper_80"] - row["lower_80"])
        assert row["lower_95"] < row["lower_80"] < row["expected"] < row["upper_80"]
    assert np.all(np.diff(widths) < 0)
    assert row["expected"] > 0.85


def test_it_is_advisory_and_not_for_assessors(model: GrowthModel) -> None:
    progress = predict_progress(model, [0.0], [0.5], [12.0])
    assert progress.blind_safe is False
    with pytest.raises(AttributeError):
        progress.blind_safe = True  # type: ignore[misc]
    text = progress.advice("10MWT", "m/s")
    assert "Advisory" in text
    assert "not for outcome assessors" in text
    assert "potential" not in text
    assert "%" not in text


def coverage(cohorts: int, people: int, seed: int) -> dict[int, tuple[float, float]]:
    """Share of held-out virtual patients inside, with its standard error over cohorts."""
    rng = np.random.default_rng(seed)
    shares: dict[int, list[float]] = {80: [], 95: []}
    for _ in range(cohorts):
        fitted = fit_growth(cohort(120, rng), **COLUMNS)
        held_out = cohort(people, rng)["speed"].to_numpy().reshape(people, -1)
        inside: dict[int, list[bool]] = {80: [], 95: []}
        for speeds in held_out:
            row = predict_progress(fitted, [0.0, 2.0], speeds[:2], [12.0]).table.iloc[0]
            for level, found in inside.items():
                found.append(bool(row[f"lower_{level}"] < speeds[-1] < row[f"upper_{level}"]))
        for level, found in inside.items():
            shares[level].append(float(np.mean(found)))
    n = cohorts * people
    return {
        level: (float(np.mean(s)), float(np.sqrt(level * (100 - level) / n)) / 100)
        for level, s in shares.items()
    }


def test_calibration_on_held_out_patients() -> None:
    for level, (share, error) in coverage(cohorts=4, people=100, seed=31).items():
        assert abs(share - level / 100) < 3 * error


@pytest.mark.slow(seconds=75)
def test_calibration_over_many_cohorts() -> None:
    """4,000 held-out patients."""
    for level, (share, error) in coverage(cohorts=40, people=100, seed=32).items():
        assert abs(share - level / 100) < 3 * error


@pytest.mark.parametrize(
    ("times", "values", "at", "levels"),
    [
        ([0.0], [0.5, 0.6], [12.0], (80,)),
        ([0.0], [np.nan], [12.0], (80,)),
        ([0.0], [0.5], [], (80,)),
        ([0.0], [0.5], [-1.0], (80,)),
        ([0.0], [0.5], [12.0], (100,)),
        ([0.0], [0.5], [12.0], ()),
    ],
    ids=["lengths", "missing", "nothing", "before", "level", "no level"],
)
def test_what_cannot_be_predicted_is_refused(
    model: GrowthModel, times: object, values: object, at: object, levels: object
) -> None:
    with pytest.raises(UsageError):
        predict_progress(model, times, values, at, levels=levels)
