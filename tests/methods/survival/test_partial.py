"""The partial-likelihood engine from arrays: weights, residuals, its tree, awkward data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.methods.survival import _risk_sets
from trialkit.methods.survival._partial import PartialFit, fit_partial
from trialkit.methods.survival._risk_sets import RiskSets, snap

HERE = Path(__file__).parents[2] / "oracles" / "cox"
R = "R survival 3.5-3, made-up weeks"


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "a", "b", "value"]
    return pd.read_csv(HERE / "oracle.txt", names=names, keep_default_na=False)


def weighted_fit(form: str, ties: Any, weight: bool) -> tuple[PartialFit, npt.NDArray[np.intp]]:
    data = pd.read_csv(HERE / "data.csv")
    if form == "right":
        data = data.drop_duplicates("USUBJID", keep="last")
    data = data.dropna()
    x = [data["TRT01P"] == "Low", data["TRT01P"] == "High", data["AGE"], data["SPEED"]]
    fit = fit_partial(
        data["STOP"].to_numpy(dtype=float),
        data["EVENT"].to_numpy(dtype=float),
        np.column_stack(x).astype(np.float64),
        start=data["START"].to_numpy(dtype=float) if form == "entry" else None,
        weights=data["WEIGHT"].to_numpy(dtype=float) if weight else None,
        ties=ties,
    )
    return fit, np.asarray(pd.factorize(data["USUBJID"])[0], dtype=np.intp)


@pytest.mark.parametrize("form", ["right", "entry"])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_case_weights_equal_coxph(compare: Any, oracle: pd.DataFrame, form: str, ties: Any) -> None:
    fit, cluster = weighted_fit(form, ties, weight=True)
    assert fit.failed is None
    own = oracle[oracle["fit"] == f"{form}_{ties}"]
    got = {
        "weighted_estimate": fit.beta,
        "weighted_se": np.sqrt(np.diagonal(fit.covariance)),
        "weighted_robust_se": np.sqrt(np.diagonal(fit.robust(cluster))),
    }
    for quantity, mine in got.items():
        wanted = own[own["quantity"] == quantity]["value"].astype(float)
        compare("cox", f"{ties}, case weights", R, quantity, mine, wanted, rel=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_score_residuals_equal_coxph(compare: Any, oracle: pd.DataFrame, ties: Any) -> None:
    fit, _ = weighted_fit("entry", ties, weight=False)
    own = oracle[(oracle["fit"] == f"entry_{ties}") & (oracle["quantity"] == "score_residual")]
    wanted = own["value"].to_numpy(dtype=float).reshape(fit.score_residuals.shape)
    scale = np.abs(wanted).max(axis=0)
    compare("cox", f"{ties}, start-stop", R, "score residuals over their largest",
            fit.score_residuals / scale, wanted / scale, abs=1e-10)  # fmt: skip
    assert np.abs(fit.score_residuals.sum(axis=0) / scale).max() < 1e-11


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_tree_and_matrix_agree(ties: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, cluster = weighted_fit("entry", ties, weight=False)
    monkeypatch.setattr(_risk_sets, "DENSE", 0)
    tree, _ = weighted_fit("entry", ties, weight=False)
    assert tree.beta == pytest.approx(dense.beta, rel=1e-11)
    assert tree.covariance == pytest.approx(dense.covariance, rel=1e-11)
    if ties != "exact":
        assert tree.robust(cluster) == pytest.approx(dense.robust(cluster), rel=1e-10)


def test_sums_over_risk_sets_lose_nothing_to_rows_that_enter_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A running sum minus later entries would leave rounding of 1e12 where 2 is meant."""
    monkeypatch.setattr(_risk_sets, "DENSE", 0)
    start = np.array([0.0, 0.0, 5.0, 6.0])
    stop = np.array([1.0, 2.0, 8.0, 9.0])
    sets = RiskSets(start, stop, np.ones(4, dtype=bool), np.zeros(4, dtype=np.intp))
    values = np.array([[1.0], [1e-12], [1e12], [3e12]])
    assert sets.at_risk(values)[:, 0].tolist() == [1.0 + 1e-12, 1e-12, 4e12, 3e12]
    assert sets.over_time(np.array([[1.0], [2.0], [4.0], [8.0]]))[:, 0].tolist() == [1, 3, 4, 12]


def test_case_weights_are_repeated_rows_under_breslow_ties() -> None:
    rng = np.random.default_rng(11)
    n = 40
    x, stop = rng.normal(size=(n, 2)), rng.integers(1, 9, n).astype(float)
    event, weight = rng.random(n) < 0.6, rng.integers(1, 4, n)
    one = fit_partial(stop, event, x, weights=weight.astype(float), ties="breslow")
    many = [np.repeat(a, weight, axis=0) for a in (stop, event, x)]
    two = fit_partial(*many, ties="breslow")
    assert one.beta == pytest.approx(two.beta, rel=1e-10)
    assert one.information == pytest.approx(two.information, rel=1e-10)


def test_an_offset_moves_the_coefficient() -> None:
    rng = np.random.default_rng(2)
    x, stop = rng.normal(size=(50, 1)), rng.random(50)
    plain = fit_partial(stop, np.ones(50), x)
    moved = fit_partial(stop, np.ones(50), x, offset=0.7 * x[:, 0])
    assert moved.beta == pytest.approx(plain.beta - 0.7, abs=1e-12)
    assert moved.loglik == pytest.approx(plain.loglik, rel=1e-13)


def test_times_that_differ_by_rounding_are_tied() -> None:
    (times,) = snap(np.array([0.3 - 0.1, 0.2, 0.25, 0.1 + 0.2, 0.3]))
    assert times[0] == times[1]
    assert times[3] == times[4]
    assert len(np.unique(times)) == 3
    assert snap(np.array([1e-9, 2e-9]))[0].tolist() == [1e-9, 2e-9]


def test_weights_that_mean_nothing_are_refused() -> None:
    x, stop = np.ones((3, 1)), np.arange(1.0, 4.0)
    with pytest.raises(ValueError, match="positive"):
        fit_partial(stop, np.ones(3), x, weights=np.array([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="exact"):
        fit_partial(stop, np.ones(3), x, weights=np.array([1.0, 2.0, 1.0]), ties="exact")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    p=st.integers(1, 3),
    width=st.integers(1, 12),
    ties=st.sampled_from(["efron", "breslow", "exact"]),
    spread=st.sampled_from([1e-6, 1.0, 1e5]),
)
def test_any_data_give_a_maximum_or_a_reason(
    seed: int, n: int, p: int, width: int, ties: Any, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, width, n).astype(float)
    stop = start + rng.integers(1, width + 1, n).astype(float)
    x = rng.normal(size=(n, p)) * spread
    x[:, 0] = rng.random(n) < 0.5
    strata = rng.integers(0, 2, n)
    fit = fit_partial(stop, rng.random(n) < 0.5, x, start=start, strata=strata, ties=ties)
    if fit.failed is not None:
        assert fit.failed
        return
    assert fit.problem is not None
    assert fit.best is not None
    score = fit.best.score / np.sqrt(np.diagonal(fit.best.information))
    assert np.abs(score).max() < 1e-7
    assert np.isfinite(fit.beta).all()
    assert (np.linalg.eigvalsh(fit.best.information) > 0).all()
    assert fit.loglik >= fit.loglik_null - 1e-9
    if ties != "exact":
        assert (np.linalg.eigvalsh(fit.robust()) >= -1e-9 * np.abs(fit.robust()).max()).all()
