"""Conditional mean imputation: rbmi, nlme::gls, and identities of the strategies."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trialkit.methods import ancova, mmrm
from trialkit.methods.missing import strategies
from trialkit.methods.missing.imputation import Imputation
from trialkit.methods.missing.impute import impute

Compare = Callable[..., float]
OWN = Path(__file__).parents[2] / "oracles" / "impute"
SHORT = {"MAR": "mar", "JR": "j2r", "CR": "cr", "CIR": "cir", "LMCF": "lmcf"}
FORMULA = "CHANGE ~ BASVAL + THERAPY"


@cache
def antidepressant(
    folder: Path, strategy: str, covariates: tuple[str, ...] = ("BASVAL*VISIT",)
) -> Imputation:
    data = pd.read_csv(folder / "antidepressant_data.csv")
    events = pd.read_csv(folder / "antidepressant_ice.csv")
    return impute(
        data, outcome="CHANGE", subject="PATIENT", visit="VISIT", group="THERAPY",
        covariates=covariates, ice=events, strategy=strategy, reference="PLACEBO",
    )  # fmt: skip


@cache
def own_data() -> tuple[pd.DataFrame, pd.DataFrame]:
    data = pd.read_csv(OWN / "data.csv")
    events = data[data["EVENT"].notna()].drop_duplicates("ID")[["ID", "EVENT"]]
    return data, events.rename(columns={"EVENT": "VISIT"})


def own(strategy: Any, **changes: Any) -> Imputation:
    data, events = own_data()
    options: dict[str, Any] = {
        "outcome": "CHG", "subject": "ID", "visit": "VISIT", "group": "ARM",
        "covariates": ["BASE*VISIT", "SITE"], "ice": events, "strategy": strategy,
        "reference": "Usual",
    }  # fmt: skip
    return impute(data, **{**options, **changes})


def test_rbmi_jackknife(shared: Path, compare: Compare) -> None:
    """All five strategies and all deltas, at four visits, with LS-means.

    rbmi stops its optimiser early: at the last visit under MAR its estimate lies 6e-5 (2.2e-5 of
    it) from the optimum, on which this method and nlme::gls agree (see the next tests).
    """
    file = shared / "oracles" / "rbmi_antidepressant_condmean_jackknife.json"
    results = json.loads(file.read_text())["results"]
    assert len(results) == 15
    mine: dict[str, list[float]] = {"estimate": [], "se": [], "p": [], "means": [], "mean se": []}
    theirs: dict[str, list[float]] = {name: [] for name in mine}
    for key, result in results.items():
        _, name, *delta = key.split("|")
        imp = antidepressant(shared / "oracles", SHORT[name])
        amount = float(delta[0].removeprefix("delta")) if delta else 0.0
        imp = imp.with_delta({"DRUG": amount})
        pooled = {row["parameter"]: row for row in result["pooled"]}
        for at in (4, 5, 6, 7):
            done = imp.pool(ancova, FORMULA, at=at)
            row, want = done.table.iloc[0], pooled[f"trt_{at}"]
            mine["estimate"].append(-row.estimate)
            theirs["estimate"].append(want["est"])
            mine["se"].append(row.se)
            theirs["se"].append(want["se"])
            mine["p"].append(row.p)
            theirs["p"].append(want["pval"])
            means = done.lsmeans.set_index("THERAPY")
            for arm, code in (("DRUG", "ref"), ("PLACEBO", "alt")):
                want = pooled[f"lsm_{code}_{at}"]
                mine["means"].append(float(means["estimate"][arm]))
                theirs["means"].append(want["est"])
                mine["mean se"].append(float(means["se"][arm]))
                theirs["mean se"].append(want["se"])
    oracle = "R rbmi 1.4.1 (mmrm 0.3.18, default stop), antidepressant"
    variant = "conditional mean, jackknife"
    compare("impute", variant, oracle, "p", mine["p"], theirs["p"], abs=4e-5)
    compare("impute", variant, oracle, "SE", mine["se"], theirs["se"], rel=1e-5)
    compare("impute", variant, oracle, "LS-means", mine["means"], theirs["means"], rel=1e-5)
    compare("impute", variant, oracle, "estimates", mine["estimate"], theirs["estimate"], abs=7e-5)
    compare("impute", variant, oracle, "SE of LS-means", mine["mean se"], theirs["mean se"], abs=4e-5)  # fmt: skip  # noqa: E501


def test_gls_at_the_optimum(shared: Path, compare: Compare) -> None:
    """The same fifteen rows from a program that finds the optimum, jackknife included."""
    got, wanted = [], []
    for _, strategy, delta, estimate, se in (r for r in rows() if r[0] == "antidepressant"):
        imp = antidepressant(shared / "oracles", strategy).with_delta({"DRUG": float(delta)})
        done = imp.pool(ancova, FORMULA, at=7)
        got.append([done.table.estimate[0], done.table.se[0], done.table.p[0]])
        p = 2.0 * stats.norm.sf(abs(float(estimate) / float(se)))
        wanted.append([float(estimate), float(se), p])
    assert len(got) == 15
    mine, theirs = np.array(got), np.array(wanted)
    oracle = "R nlme 3.1-162 gls and matrices, antidepressant"
    variant = "conditional mean, jackknife"
    compare("impute", variant, oracle, "estimates", mine[:, 0], theirs[:, 0], rel=1e-6)
    compare("impute", variant, oracle, "SE", mine[:, 1], theirs[:, 1], rel=5e-6)
    compare("impute", variant, oracle, "p", mine[:, 2], theirs[:, 2], abs=2e-6)


def rows() -> list[list[str]]:
    with (OWN / "oracle.txt").open() as file:
        return list(csv.reader(file))


def test_gls_with_outcomes_after_events(compare: Compare) -> None:
    got, wanted = [], []
    for _, strategy, _, estimate, se in (r for r in rows() if r[0] == "one covariance"):
        done = own(strategy).pool(ancova, "CHG ~ BASE + SITE + ARM", at="Week 24")
        got.append([done.table.estimate[0], done.table.se[0]])
        wanted.append([float(estimate), float(se)])
    mine, theirs = np.array(got) / np.array(wanted)[:, 1:], np.array(wanted)
    theirs = theirs / theirs[:, 1:]
    oracle = "R nlme 3.1-162 gls and matrices, own data"
    variant = "conditional mean, jackknife"
    compare("impute", variant, oracle, "estimates in SE", mine[:, 0], theirs[:, 0], abs=3e-6)
    compare("impute", variant, oracle, "SE", mine[:, 1], theirs[:, 1], rel=5e-6)


def test_gls_with_a_covariance_for_each_arm(compare: Compare) -> None:
    got, wanted = [], []
    for _, strategy, _, estimate, _ in (r for r in rows() if r[0] == "covariance by arm"):
        imp = own(strategy, covariates=["ARM*VISIT*BASE"], same_covariance=False)
        done = imp.pool(ancova, "CHG ~ BASE + ARM", at="Week 24")
        got.append(float(done.table.estimate[0]))
        wanted.append(float(estimate))
        assert set(imp.covariances) == {"Robot", "Usual"}
    oracle = "R nlme 3.1-162 gls and matrices, own data"
    compare("impute", "conditional mean, covariance by arm", oracle, "estimates", got, wanted, rel=5e-6)  # fmt: skip  # noqa: E501


def test_published_numbers(shared: Path) -> None:
    """SAS five macros and rbmi in CAMIS (M = 5000), model with GENDER; rbmi's vignettes."""
    published = json.loads((shared / "oracles" / "rbmi_published.json").read_text())
    error = 3.0 * np.sqrt(0.17 / 5000) + 0.0005  # 0.17: variance between imputations
    for name, short in SHORT.items():
        if name == "LMCF":
            continue
        imp = antidepressant(shared / "oracles", short, ("BASVAL*VISIT", "GENDER"))
        done = imp.pool(ancova, "CHANGE ~ BASVAL + GENDER + THERAPY", at=7)
        for source in ("sas_five_macros", "rbmi_camis"):
            row = published[source]["rows"][f"{name}|5000"]
            assert abs(float(done.table.estimate[0]) - row["estimate"]) < error
    imp = antidepressant(shared / "oracles", "jump_to_reference")
    for source, inference in (
        ("rbmi_condmean_JR_jackknife", "jackknife"),
        ("rbmi_condmean_JR_information_anchored", "jackknife_anchored"),
    ):
        for key, row in published[source]["rows"].items():
            done = imp.pool(ancova, FORMULA, at=int(key[-1]), inference=inference)
            mine = done.table.iloc[0]
            got = [-mine.estimate, mine.se, -mine.upper, -mine.lower, mine.p]
            want = [row[n] for n in ("estimate", "se", "lower", "upper", "p")]
            np.testing.assert_allclose(got, want, atol=0.00061)


def test_dropout_finds_the_events(shared: Path) -> None:
    data = pd.read_csv(shared / "oracles" / "antidepressant_data.csv")
    told = antidepressant(shared / "oracles", "cr")
    found = impute(
        data, outcome="CHANGE", subject="PATIENT", visit="VISIT", group="THERAPY",
        covariates="BASVAL*VISIT", ice="dropout", strategy="cr", reference="PLACEBO",
    )  # fmt: skip
    np.testing.assert_array_equal(told.values, found.values)


def test_mar_lies_near_the_mmrm(shared: Path) -> None:
    imp = antidepressant(shared / "oracles", "mar")
    done = imp.pool(ancova, FORMULA, at=7).table
    data = pd.read_csv(shared / "oracles" / "antidepressant_data.csv")
    fit = mmrm(
        "CHANGE ~ THERAPY*C(VISIT) + BASVAL*C(VISIT)", data, subject="PATIENT", visit="VISIT",
    )  # fmt: skip
    found = fit.contrast("THERAPY", reference="PLACEBO", by="C(VISIT)")
    last = found.iloc[-1]
    assert abs(done.estimate[0] - last.estimate) < 0.05 * last.se
    assert abs(done.se[0] / last.se - 1.0) < 0.03


def test_without_missing_outcomes_it_is_the_ancova() -> None:
    random = np.random.default_rng(11)
    n = 30
    long = pd.DataFrame(
        {
            "ID": np.repeat(np.arange(n), 2),
            "V": np.tile([1, 2], n),
            "ARM": np.repeat(np.where(np.arange(n) % 2 == 0, "A", "B"), 2),
            "B": np.repeat(random.normal(size=n), 2),
            "Y": random.normal(size=2 * n),
        }
    )
    imp = impute(
        long, outcome="Y", subject="ID", visit="V", group="ARM", covariates="B", reference="A"
    )
    assert imp.n_missing == 0
    done = imp.pool(ancova, "Y ~ B + ARM", at=2)
    direct = ancova("Y ~ B + ARM", long[long["V"] == 2])
    want = direct.contrast("ARM", reference="A")
    np.testing.assert_allclose(done.table.estimate, want.estimate)
    drawn = impute(
        long, outcome="Y", subject="ID", visit="V", group="ARM", covariates="B", reference="A",
        method="bayes", n=5, seed=1, burn_in=2,
    ).pool(ancova, "Y ~ B + ARM", at=2)  # fmt: skip
    np.testing.assert_allclose(drawn.table[["estimate", "se"]], want[["estimate", "se"]])
    assert (drawn.precision["between"] == 0.0).all()


def test_leaving_out_is_refitting_without() -> None:
    data, events = own_data()
    for strategy in ("j2r", "mar"):
        imp = own(strategy)
        whole = imp.imputer.model.weighted.leave_one_out()
        sigma = imp.imputer.model.scale**2 * whole.sigma
        for i in (0, 7, 30):
            gone = imp.trial.subjects[i]
            less = own_fit(data[data["ID"] != gone], events[events["ID"] != gone], strategy)
            np.testing.assert_allclose(sigma[i], less.imputer.model.sigma, rtol=1e-7)


def own_fit(data: pd.DataFrame, events: pd.DataFrame, strategy: str) -> Imputation:
    return impute(
        data, outcome="CHG", subject="ID", visit="VISIT", group="ARM",
        covariates=["BASE*VISIT", "SITE"], ice=events, strategy=strategy, reference="Usual",
    )  # fmt: skip


def test_any_weights_are_fitted_as_repeated_participants() -> None:
    data, _ = own_data()
    imp = own("mar")
    weights = np.random.default_rng(3).integers(0, 4, (3, imp.n_subjects)).astype(float)
    fits = imp.imputer.model.weighted.fit(weights)
    for b, row in enumerate(weights):
        parts = [
            data[data["ID"] == s].assign(ID=f"{s}-{k}")
            for s, times in zip(imp.trial.subjects, row, strict=True)
            for k in range(int(times))
        ]
        again = own("mar", ice=None)
        again = impute(
            pd.concat(parts), outcome="CHG", subject="ID", visit="VISIT", group="ARM",
            covariates=["BASE*VISIT", "SITE"], reference="Usual",
        )  # fmt: skip
        want = again.imputer.model.sigma
        np.testing.assert_allclose(imp.imputer.model.scale**2 * fits.sigma[b], want, rtol=1e-6)


@pytest.mark.parametrize("name", strategies.NAMES)
@pytest.mark.parametrize("same", [True, False])
def test_a_custom_strategy_can_be_any_of_the_named(name: str, same: bool) -> None:
    def custom(
        mean: Any, cov: Any, ref_mean: Any, ref_cov: Any, first: int
    ) -> tuple[np.ndarray, np.ndarray]:
        a, r = strategies.operators(name, first, len(mean))
        return a @ mean + r @ ref_mean, strategies.covariance(name, cov, ref_cov, first)

    options: dict[str, Any] = {} if same else {
        "covariates": ["ARM*VISIT*BASE"], "same_covariance": False
    }  # fmt: skip
    named = own(name, **options)
    ours = own(custom, **options)
    if name != strategies.MAR:  # a custom strategy leaves outcomes after events out of the model
        np.testing.assert_allclose(ours.values, named.values, rtol=1e-9)
        if not same and name != strategies.J2R:
            return
        one = ours.pool(ancova, "CHG ~ BASE + ARM", at="Week 24").table
        two = named.pool(ancova, "CHG ~ BASE + ARM", at="Week 24").table
        np.testing.assert_allclose(one[["estimate", "se"]], two[["estimate", "se"]], rtol=1e-8)
    assert "custom strategy custom" in ours.variant


def test_strategies_agree_where_they_must() -> None:
    """Without a difference between own and reference mean all reference-based ones are MAR."""
    mean = np.array([1.0, 2.0, 4.0, 3.0])
    for name in (strategies.J2R, strategies.CR, strategies.CIR, strategies.MAR):
        for first in range(4):
            a, r = strategies.operators(name, first, 4)
            np.testing.assert_allclose(a @ mean + r @ mean, mean)
    a, r = strategies.operators(strategies.LMCF, 2, 4)
    np.testing.assert_allclose(a @ mean + r @ mean, [1.0, 2.0, 2.0, 2.0])
    a, r = strategies.operators(strategies.CIR, 2, 4)
    np.testing.assert_allclose(a @ mean + r @ (3 * mean), [1.0, 2.0, 2 + 3 * 2, 2 + 3 * 1])
    random = np.random.default_rng(5)
    own_cov, ref_cov = (np.cov(random.normal(size=(4, 40))) for _ in range(2))
    for first in (1, 2, 3):
        mixed = strategies.covariance(strategies.J2R, own_cov, ref_cov, first)
        assert np.linalg.eigvalsh(mixed).min() > 0.0
        np.testing.assert_allclose(mixed[:first, :first], own_cov[:first, :first])
        slope = mixed[first:, :first] @ np.linalg.inv(mixed[:first, :first])
        want = ref_cov[first:, :first] @ np.linalg.inv(ref_cov[:first, :first])
        np.testing.assert_allclose(slope, want)


def test_the_reference_arm_is_imputed_under_mar() -> None:
    mar, j2r = own("mar", ice=own_data()[1].assign(strategy="mar")), own("j2r")
    assert mar.n > j2r.n  # outcomes after events count in the model under MAR only
    for imp in (j2r, own("cr"), own("cir")):
        at_random = own(lambda m, c, rm, rc, f: (m, c))
        usual = (imp.trial.arm == imp.trial.arms.index("Usual"))[imp.imputer.where // 4]
        np.testing.assert_allclose(imp.values[:, usual], at_random.values[:, usual], rtol=1e-9)
        assert np.abs(imp.values[:, ~usual] - at_random.values[:, ~usual]).max() > 1e-3
