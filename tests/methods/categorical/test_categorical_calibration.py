"""Type I error and coverage over simulated trials; what is printed has its Monte Carlo error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from trialkit.methods.categorical import _compare, _firth, _logistic, _score, _wins
from trialkit.methods.categorical._cumulative import Cumulative, fit
from trialkit.methods.categorical._links import LINKS
from trialkit.methods.categorical._proportionality import score_test
from trialkit.methods.categorical._standardise import ye_covariance
from trialkit.methods.categorical.win_odds import _measures

Floats = npt.NDArray[np.float64]
TRIALS = 5_000
Z = _compare.quantile(0.95)
pytestmark = pytest.mark.slow


def shown(name: str, n: int, hits: list[bool], wanted: float) -> float:
    """Print a share with its Monte Carlo error, and return it."""
    share = float(np.mean(hits))
    error = math.sqrt(wanted * (1 - wanted) / len(hits))
    print(f"{name}, n = {n}: {share:.4f} (Monte Carlo SE {error:.4f}, {len(hits)} trials)")
    return share


def arms(n: int) -> Floats:
    return np.repeat([0.0, 1.0], [n - n // 2, n // 2])


@pytest.mark.parametrize(
    ("n", "low", "high"), [(20, 0.90, 0.97), (60, 0.93, 0.96), (200, 0.935, 0.962)]
)
def test_standardised_difference_covers(n: int, low: float, high: float) -> None:
    rng = np.random.default_rng(1_000 + n)
    g = arms(n)
    grid = special.expit(-0.2 + np.array([[0.0], [0.7]]) + 0.8 * _normal_grid())
    truth = float(np.diff(grid.mean(axis=1))[0])
    covered, rejected = [], []
    for trial in range(TRIALS):
        null = trial % 2 == 0
        x = np.column_stack([np.ones(n), g, rng.normal(size=n)])
        beta = np.array([-0.2, 0.0 if null else 0.7, 0.8])
        y = (rng.random(n) < special.expit(x @ beta)).astype(np.float64)
        done = _logistic.maximise(x, y)
        if isinstance(done, str):
            continue
        mu = np.column_stack([special.expit(x[:, [0, 2]] @ done.beta[[0, 2]] + a * done.beta[1])
                              for a in (0.0, 1.0)])  # fmt: skip
        cov = ye_covariance(y, mu, [g == 0, g == 1])
        gap = float(mu[:, 1].mean() - mu[:, 0].mean())
        se = math.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
        covered.append(abs(gap - (0.0 if null else truth)) <= Z * se)
        if null:
            rejected.append(abs(gap) > Z * se)
    assert low < shown("binary, Ye, coverage", n, covered, 0.95) < high
    assert 1 - high - 0.015 < shown("binary, Ye, type I", n, rejected, 0.05) < 1 - low + 0.015


def _normal_grid() -> Floats:
    return np.asarray(special.ndtri((np.arange(20_000) + 0.5) / 20_000))


@pytest.mark.parametrize("n", [20, 60])
def test_firth_keeps_its_level(n: int) -> None:
    """Profile tests of Firth's likelihood, also in trials whose maximum is infinite."""
    rng = np.random.default_rng(2_000 + n)
    g = arms(n)
    x = np.column_stack([np.ones(n), g])
    memory: dict[tuple[int, int], bool] = {}
    rejected = []
    for _ in range(TRIALS):
        y = (rng.random(n) < 0.2).astype(np.float64)
        if y.min() == y.max():
            continue
        key = int(y[g == 0].sum()), int(y[g == 1].sum())
        if key not in memory:
            done = _firth.fit_firth(x, y)
            assert not isinstance(done, str)
            memory[key] = abs(done.profile(np.array([0.0, 1.0]), 0.95)[0]) > Z
        rejected.append(memory[key])
    assert 0.02 < shown("binary, Firth, type I", n, rejected, 0.05) < 0.066


@pytest.mark.parametrize("n", [20, 60, 200])
def test_two_proportions_cover(n: int) -> None:
    """Newcombe and Miettinen-Nurminen at risks of 0.3 and 0.55; exact never falls short."""
    rng = np.random.default_rng(3_000 + n)
    n1 = n0 = n // 2
    kinds: list[tuple[str, str, float]] = [
        ("difference", "newcombe", 0.25),
        ("difference", "miettinen_nurminen", 0.25),
        ("ratio", "miettinen_nurminen", 0.55 / 0.3),
        ("odds_ratio", "miettinen_nurminen", (0.55 / 0.45) / (0.3 / 0.7)),
        ("odds_ratio", "exact", (0.55 / 0.45) / (0.3 / 0.7)),
    ]
    x1, x0 = rng.binomial(n1, 0.55, TRIALS), rng.binomial(n0, 0.3, TRIALS)
    pairs, index = np.unique(np.column_stack([x1, x0]), axis=0, return_inverse=True)
    for measure, interval, truth in kinds:
        choice = _compare.choose(measure, interval, False)
        held = []
        for a, b in pairs.tolist():
            table = _score.TwoByTwo(float(a), float(n1), float(b), float(n0))
            done = _compare.compare([table], choice, 0.95)
            held.append(bool(done.failed) or done.lower <= truth <= done.upper)
        share = shown(f"proportions, {measure}, {interval}, coverage", n,
                      np.array(held)[index].tolist(), 0.95)  # fmt: skip
        assert (0.945 if interval == "exact" else 0.93) < share < 1.0


@pytest.mark.parametrize(
    ("n", "low", "high"), [(20, 0.90, 0.97), (60, 0.932, 0.962), (200, 0.937, 0.962)]
)
def test_proportional_odds_cover(n: int, low: float, high: float) -> None:
    rng = np.random.default_rng(4_000 + n)
    g = arms(n)
    cuts = np.array([-1.5, -0.2, 1.2])
    covered: list[bool] = []
    rejected: list[bool] = []
    score: list[bool] = []
    expected: list[bool] = []
    crit = float(special.chdtri(2, 0.05))
    for trial in range(TRIALS):
        effect = 0.0 if trial % 2 == 0 else 0.9
        x = np.column_stack([g, rng.normal(size=n)])
        y = np.searchsorted(cuts, x @ np.array([effect, 0.5]) + rng.logistic(size=n))
        present = np.unique(y)
        if len(present) < 4:
            continue
        model = Cumulative(x, np.empty((n, 0)), y.astype(np.intp), np.ones(n), 3, LINKS["logit"])
        done = fit(model)
        if isinstance(done, str):
            continue
        beta, se = done.phi[3], math.sqrt(done.covariance[3, 3])
        covered.append(abs(beta - effect) <= Z * se)
        if effect == 0.0:
            rejected.append(abs(beta) > Z * se)
        if n > 20 and trial % 20 == 0:
            for found, out in ((score_test(model, done.phi, [0], False), score),
                               (score_test(model, done.phi, [0], True), expected)):  # fmt: skip
                out.append(found is not None and found > crit)
    assert low < shown("ordinal, coverage", n, covered, 0.95) < high
    assert 1 - high - 0.015 < shown("ordinal, type I", n, rejected, 0.05) < 1 - low + 0.015
    if n > 20:
        shown("ordinal, score test of proportionality, type I", n, score, 0.05)
        share = shown("ordinal, score test with expected information, type I", n, expected, 0.05)
        assert share < 0.11


@pytest.mark.parametrize(
    ("n", "df", "low", "high"),
    [
        (20, "normal", 0.94, 0.975),
        (20, "satterthwaite", 0.95, 0.985),
        (60, "normal", 0.938, 0.962),
        (200, "normal", 0.94, 0.962),
    ],
)
def test_win_odds_cover(n: int, df: str, low: float, high: float) -> None:
    """On the log scale the normal interval is on the safe side in small trials."""
    rng = np.random.default_rng(5_000 + n)
    n1 = n0 = n // 2
    null = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    better = np.array([0.05, 0.1, 0.25, 0.3, 0.3])
    none = np.empty((n1, 0))
    covered, rejected = [], []
    for trial in range(TRIALS):
        p = null if trial % 2 == 0 else better
        one = rng.choice(5, n1, p=p).astype(np.float64)
        zero = rng.choice(5, n0, p=null).astype(np.float64)
        rows = _measures(_wins.pool([_wins.compare(one, zero, none, none)]), df, 0.95)
        if isinstance(rows, str):
            continue
        below = np.cumsum(null) - null
        theta = float(p @ (below + null / 2))
        row = rows[0]
        assert row is not None
        covered.append(row[5] <= theta / (1 - theta) <= row[6])
        if trial % 2 == 0:
            rejected.append(row[4] < 0.05)
    assert low < shown(f"win odds, {df}, coverage", n, covered, 0.95) < high
    assert 1 - high - 0.015 < shown(f"win odds, {df}, type I", n, rejected, 0.05) < 1 - low + 0.015


def test_shown_is_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    report: Callable[..., float] = shown
    assert report("x", 3, [True, False], 0.5) == 0.5
    assert "Monte Carlo SE" in capsys.readouterr().out
