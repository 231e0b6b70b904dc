from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from curves import cohort
from scipy import stats

from trialkit.adaptation import fit_growth, predict_progress
from trialkit.adaptation.growth import basis, fit_at
from trialkit.errors import UsageError

COLUMNS = {"outcome": "speed", "subject": "id", "time": "week"}


@pytest.fixture(scope="module")
def uneven() -> pd.DataFrame:
    """Sixty participants, one visit in seven missing."""
    rng = np.random.default_rng(11)
    return cohort(60, rng).sample(frac=0.85, random_state=1)


@pytest.mark.filterwarnings("ignore")
def test_likelihood_is_that_of_mixedlm(uneven: pd.DataFrame) -> None:
    t, y = uneven["week"].to_numpy(), uneven["speed"].to_numpy()
    codes = pd.factorize(uneven["id"])[0]
    for tau in (3.0, 5.0, 12.0, 24.0):
        fit = fit_at(tau, t, y, codes)
        z = basis(t, tau)
        other = sm.MixedLM(uneven["speed"], z, groups=uneven["id"], exog_re=z).fit(reml=False)
        assert fit.log_likelihood == pytest.approx(other.llf, abs=1e-6)
        assert fit.mean == pytest.approx(other.fe_params.to_numpy(), abs=1e-5)
        assert fit.covariance == pytest.approx(other.cov_re.to_numpy(), abs=1e-5)
        assert fit.variance == pytest.approx(other.scale, abs=1e-6)


@pytest.mark.parametrize("tau", [0.5, 4.0])
def test_likelihood_is_the_normal_density_also_at_the_boundary(
    uneven: pd.DataFrame, tau: float
) -> None:
    """At tau 0.5 the covariance is singular; MixedLM's own value is 2e-6 off its density there."""
    t, y = uneven["week"].to_numpy(), uneven["speed"].to_numpy()
    codes = pd.factorize(uneven["id"])[0]
    fit = fit_at(tau, t, y, codes)
    total = 0.0
    for person in range(60):
        z = basis(t[codes == person], tau)
        spread = z @ fit.covariance @ z.T + fit.variance * np.eye(len(z))
        total += stats.multivariate_normal.logpdf(y[codes == person], z @ fit.mean, spread)
    assert fit.log_likelihood == pytest.approx(total, abs=1e-8)
    assert (np.linalg.eigvalsh(fit.covariance).min() < 1e-9) == (tau == 0.5)


def test_the_best_tau_is_the_best(uneven: pd.DataFrame) -> None:
    t, y = uneven["week"].to_numpy(), uneven["speed"].to_numpy()
    codes = pd.factorize(uneven["id"])[0]
    model = fit_growth(uneven, **COLUMNS)
    for tau in np.geomspace(0.6, 20, 15):
        assert fit_at(tau, t, y, codes).log_likelihood <= model.best.log_likelihood + 1e-6
    assert model.n == len(uneven)
    assert model.n_participants == 60


def test_draws_are_those_of_the_likelihood(uneven: pd.DataFrame) -> None:
    """The share of tau below the median of the draws is that of the profile likelihood."""
    t, y = uneven["week"].to_numpy(), uneven["speed"].to_numpy()
    codes = pd.factorize(uneven["id"])[0]
    model = fit_growth(uneven, **COLUMNS)
    assert model.weights.sum() == pytest.approx(1.0)
    assert 1 / (model.weights**2).sum() > 50  # effective number of draws
    grid = np.geomspace(0.5, 24, 50)
    profile = np.array([fit_at(tau, t, y, codes).log_likelihood for tau in grid])
    mass = np.exp(profile - profile.max())
    share = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    taus = np.array([fit.tau for fit in model.draws])
    for limit in np.interp([0.1, 0.25, 0.5, 0.75, 0.9], share, grid):
        expected = float(np.interp(limit, grid, share))
        assert model.weights[taus <= limit].sum() == pytest.approx(expected, abs=0.08)


def test_a_large_cohort_gives_the_truth_back() -> None:
    model = fit_growth(cohort(1500, np.random.default_rng(2)), **COLUMNS)
    assert model.best.tau == pytest.approx(4.0, rel=0.1)
    assert model.best.mean == pytest.approx([0.45, 0.20], abs=0.02)
    assert model.best.covariance == pytest.approx(
        np.array([[0.04, 0.005], [0.005, 0.01]]), abs=0.004
    )
    assert np.sqrt(model.best.variance) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("scale", [100.0, 0.01])
def test_units_of_outcome_and_time_do_not_matter(uneven: pd.DataFrame, scale: float) -> None:
    one = fit_growth(uneven, **COLUMNS)
    days = uneven.assign(speed=scale * uneven["speed"], week=7 * uneven["week"])
    other = fit_growth(days, **COLUMNS)
    assert other.best.tau == pytest.approx(7 * one.best.tau, rel=1e-3)
    assert other.best.mean == pytest.approx(scale * one.best.mean, rel=1e-3)
    here = predict_progress(one, [0, 2], [0.4, 0.5], [12]).table
    there = predict_progress(other, [0, 14], [scale * 0.4, scale * 0.5], [84]).table
    assert there["upper_95"][0] == pytest.approx(scale * here["upper_95"][0], rel=1e-3)


def test_no_variation_between_participants_is_no_failure() -> None:
    rng = np.random.default_rng(3)
    rows = [(i, t, 1 - np.exp(-t / 4) + rng.normal(0, 0.1)) for i in range(30) for t in range(6)]
    model = fit_growth(pd.DataFrame(rows, columns=["id", "week", "speed"]), **COLUMNS)
    assert np.linalg.eigvalsh(model.best.covariance).min() >= -1e-12
    assert np.sqrt(model.best.variance) == pytest.approx(0.1, rel=0.15)


def test_missing_rows_are_counted(uneven: pd.DataFrame) -> None:
    holed = uneven.copy()
    holed.iloc[:5, holed.columns.get_loc("speed")] = np.nan
    model = fit_growth(holed, **COLUMNS)
    assert model.n_missing == 5
    assert model.n == len(uneven) - 5


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[f["id"] < 5],
        lambda f: f[f["week"] < 4],
        lambda f: f.assign(week=f["week"] - 1),
        lambda f: f.assign(speed=0.5),
    ],
    ids=["few people", "few times", "negative time", "constant"],
)
def test_what_no_curve_can_use_is_refused(uneven: pd.DataFrame, change: object) -> None:
    with pytest.raises(UsageError):
        fit_growth(change(uneven), **COLUMNS)
