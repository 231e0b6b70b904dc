"""Bayesian and approximate Bayesian imputation: rbmi within Monte Carlo error, seeds, chains."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import ancova, rubin
from trialkit.methods.missing.gibbs import Sampler
from trialkit.methods.missing.imputation import Imputation
from trialkit.methods.missing.impute import impute

SHORT = {"MAR": "mar", "JR": "j2r", "CR": "cr", "CIR": "cir", "LMCF": "lmcf"}
FILES = {
    "bayes": ("rbmi_antidepressant_bayes2000.json", 2000),
    "approximate_bayes": ("rbmi_antidepressant_approxbayes1000.json", 1000),
}
FORMULA = "CHANGE ~ BASVAL + THERAPY"


@cache
def drawn(folder: Path, strategy: str, method: str, n: int, seed: int = 20) -> Imputation:
    data = pd.read_csv(folder / "antidepressant_data.csv")
    events = pd.read_csv(folder / "antidepressant_ice.csv")
    return impute(
        data, outcome="CHANGE", subject="PATIENT", visit="VISIT", group="THERAPY",
        covariates=["BASVAL*VISIT"], ice=events, strategy=strategy, reference="PLACEBO",
        method=method, n=n, seed=seed,
    )  # fmt: skip


def small(method: str = "bayes", seed: int | None = 3, n: int = 4, **changes: Any) -> Imputation:
    random = np.random.default_rng(8)
    size, visits = 24, [1, 2, 3]
    y = random.normal(size=(size, 3)).cumsum(axis=1)
    y[random.random((size, 3)) < 0.2] = np.nan
    data = pd.DataFrame(
        {
            "ID": np.repeat(np.arange(size), 3),
            "V": np.tile(visits, size),
            "ARM": np.repeat(np.where(np.arange(size) < 12, "A", "B"), 3),
            "B": np.repeat(random.normal(size=size), 3),
            "Y": y.ravel(),
        }
    )
    options: dict[str, Any] = {
        "outcome": "Y", "subject": "ID", "visit": "V", "group": "ARM", "covariates": "B",
        "reference": "A", "method": method, "n": n, "seed": seed, "burn_in": 8,
    }  # fmt: skip
    return impute(data, **{**options, **changes})


def against_rbmi(shared: Path, method: str, n: int) -> None:
    """Compare estimates and SE within three Monte Carlo standard errors of both sides."""
    name, theirs = FILES[method]
    results = json.loads((shared / "oracles" / name).read_text())["results"]
    assert len(results) == 5
    first = drawn(shared / "oracles", "j2r", method, n)
    for key, result in results.items():
        imp = first.with_strategy(SHORT[key.split("|")[1]])
        pooled = {row["parameter"]: row for row in result["pooled"]}
        for at in (5, 6, 7):
            done = imp.pool(ancova, FORMULA, at=at)
            row, want = done.table.iloc[0], pooled[f"trt_{at}"]
            between = float(done.precision["between"].iloc[0])
            error = np.sqrt(between / n + between / theirs)
            assert abs(-row.estimate - want["est"]) < 3.0 * error, (key, at)
            # of the total variance: that of between (chi-square) and of the mean within
            spread = between * np.sqrt(2.0 / n + 2.0 / theirs) + 0.002
            assert abs(row.se**2 - want["se"] ** 2) < 3.0 * spread, (key, at)
            means = done.lsmeans.set_index("THERAPY")
            for arm, code in (("DRUG", "ref"), ("PLACEBO", "alt")):
                gap = float(means["estimate"][arm]) - pooled[f"lsm_{code}_{at}"]["est"]
                assert abs(gap) < 3.0 * error, (key, at, arm)


@pytest.mark.parametrize("method", FILES)
def test_rbmi_within_monte_carlo_error(shared: Path, method: str) -> None:
    against_rbmi(shared, method, 100)


@pytest.mark.slow
@pytest.mark.parametrize("method", FILES)
def test_rbmi_with_as_many_imputations(shared: Path, method: str) -> None:
    against_rbmi(shared, method, FILES[method][1])


@pytest.mark.slow
def test_published_quickstart(shared: Path) -> None:
    """The 150 posterior draws of rbmi's first vignette, and SAS with GENDER in the model."""
    published = json.loads((shared / "oracles" / "rbmi_published.json").read_text())
    imp = drawn(shared / "oracles", "j2r", "bayes", 2000)
    for at in (4, 5, 6, 7):
        done = imp.pool(ancova, FORMULA, at=at)
        want = published["rbmi_quickstart_JR_bayes150"]["rows"][f"trt_{at}"]
        between = float(done.precision["between"].iloc[0])
        error = 3.0 * np.sqrt(between / 150 + between / 2000) + 1e-6
        assert abs(-done.table.estimate[0] - want["estimate"]) < error


@pytest.mark.parametrize("method", FILES)
def test_same_seed_same_bytes_whatever_n(method: str) -> None:
    one, again, more = small(method, n=4), small(method, n=4), small(method, n=9)
    assert one.values.tobytes() == again.values.tobytes()
    assert one.values.tobytes() == more.values[:4].tobytes()
    assert one.values.tobytes() != small(method, seed=4).values.tobytes()
    if method == "bayes":
        across = small(method, n=70)
        assert across.values[:4].tobytes() == one.values.tobytes()


def test_draws_do_not_depend_on_units_or_row_order() -> None:
    one = small()
    data = one.trial.frame
    options: dict[str, Any] = {
        "outcome": "Y", "subject": "ID", "visit": "V", "group": "ARM", "covariates": "B",
        "reference": "A", "method": "bayes", "n": 4, "seed": 3, "burn_in": 8,
    }  # fmt: skip
    shuffled = impute(data.sample(frac=1.0, random_state=2), **options)
    np.testing.assert_allclose(shuffled.values, one.values, rtol=1e-9)
    scaled = impute(data.assign(Y=100.0 * data["Y"] + 7.0, B=1e3 * data["B"]), **options)
    np.testing.assert_allclose(scaled.values, 100.0 * one.values + 7.0, rtol=1e-6, atol=1e-6)


def test_the_posterior_of_complete_data_has_its_closed_form() -> None:
    """With nothing missing and a saturated mean: inverse Wishart on nu + n - q df, exactly."""
    random = np.random.default_rng(9)
    n, m = 20, 2
    y = random.normal(size=(n, m)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    data = pd.DataFrame(
        {"ID": np.repeat(np.arange(n), m), "V": np.tile([1, 2], n), "Y": y.ravel()}
    ).assign(ARM=lambda d: np.where(d["ID"] % 2, "B", "A"))
    imp = impute(data, outcome="Y", subject="ID", visit="V", group="ARM")
    model = imp.imputer.model.weighted
    chains = Sampler(model).draw(3000, 5, 20)
    arms = np.arange(n) % 2
    rest = y - np.array([y[arms == g].mean(axis=0) for g in (0, 1)])[arms]
    scale = imp.imputer.model.scale
    squares = rest.T @ rest / scale**2
    df = (m + 2) + (n - 2)
    want = (squares + model.start[0]) / (df - m - 1)
    got = chains.sigma[:, 0]
    error = got.std(axis=0) / np.sqrt(len(got))
    assert (np.abs(got.mean(axis=0) - want) < 4.0 * error).all()
    variance = 2.0 * np.diag(want) ** 2 / (df - m - 3)
    np.testing.assert_allclose(got.var(axis=0)[np.diag_indices(m)], variance, rtol=0.15)
    # coefficients: the mean of an arm is multivariate t around the sample mean
    beta = imp.imputer.model.start + scale * chains.gamma @ imp.imputer.model.back.T
    assert abs(beta[:, 0].mean() - y[arms == 0, 0].mean()) < 4.0 * beta[:, 0].std() / np.sqrt(3000)
    np.testing.assert_allclose(beta[:, 0].var(), want[0, 0] * scale**2 / (n / 2), rtol=0.12)


def test_chains_report_how_they_mix() -> None:
    imp = small(n=150, burn_in=30)
    table = imp.diagnostics
    assert table is not None
    assert len(table) == 6
    assert (table["start"].abs() < 0.35).all()
    assert (table["autocorrelation"].abs() < 0.95).all()
    assert (table["shift"].abs() < 5.0).all()
    model = imp.imputer.model
    np.testing.assert_allclose(
        table["mean"], model.sigma[0][np.triu_indices(3)], rtol=0.6, atol=0.3
    )
    assert small("approximate_bayes").diagnostics is None


@pytest.mark.parametrize("method", ["conditional_mean", *FILES])
def test_another_strategy_is_what_imputing_anew_gives(method: str) -> None:
    one = small(method, ice="dropout", strategy="j2r")
    for name in ("cr", "mar"):
        again = small(method, ice="dropout", strategy=name)
        moved = one.with_strategy(name)
        assert moved.values.tobytes() == again.values.tobytes()
        assert moved.variant == again.variant


def test_a_covariance_for_each_arm() -> None:
    imp = small(n=3, same_covariance=False)
    assert imp.failed is None
    assert imp.diagnostics is not None
    assert set(imp.diagnostics["group"]) == {"A", "B"}


def test_pooling_is_rubin_over_completed_frames() -> None:
    imp = small(n=6)
    fits = [
        ancova("Y ~ B + ARM", f[f["V"] == 3]).contrast("ARM", reference="A") for f in imp.frames()
    ]
    q = np.array([f.estimate[0] for f in fits])
    u = np.array([f.se[0] ** 2 for f in fits])
    want = rubin(q, u, fits[0].df[0])
    done = imp.pool(ancova, "Y ~ B + ARM", at=3)
    names = list(want.table.columns)
    np.testing.assert_allclose(done.table[names], want.table, rtol=1e-10)
    np.testing.assert_allclose(done.precision["mc_se"], want.mc_se)
    normal = imp.pool(ancova, "Y ~ B + ARM", at=3, inference="normal").table
    np.testing.assert_allclose(normal["se"], done.table["se"])
    assert np.isinf(normal["df"][0])
    hc3 = imp.pool(ancova, "Y ~ B + ARM", at=3, se="hc3")
    assert hc3.failed is None
    np.testing.assert_allclose(hc3.table["estimate"], done.table["estimate"])
    assert hc3.table["se"][0] != done.table["se"][0]


def test_random_methods_need_a_seed() -> None:
    with pytest.raises(UsageError, match="draws random numbers"):
        small(seed=None)
    with pytest.raises(UsageError, match="no whole number"):
        small(seed=-1)
    with pytest.raises(UsageError, match="cannot be pooled"):
        small(n=1)
    with pytest.raises(UsageError, match="number of sweeps"):
        small(burn_in=0)
    with pytest.raises(UsageError, match="not known"):
        small(method="stan")
