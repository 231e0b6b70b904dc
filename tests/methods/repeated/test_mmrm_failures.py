"""MMRM on data and input that cannot be used: named errors, failed states, never a number."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import mmrm
from trialkit.methods.repeated.result import MMRMFit
from trialkit.methods.repeated.structures import STRUCTURES

FORMULA = "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"
KEYS = {"subject": "USUBJID", "visit": "AVISIT"}
NUMBERS = ["estimate", "se", "df", "statistic", "p", "lower", "upper"]
DF = ["satterthwaite", "kenward_roger_linear", "kenward_roger", "residual", "between_within"]


def trial(seed: int, n: int = 60, visits: int = 4, missing: float = 0.15) -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(seed))
    sd = 1.0 + 0.5 * np.arange(visits)
    rho = 0.6 ** np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    y = rng.normal(size=(n, visits)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
    base, arm = rng.normal(size=n), np.arange(n) % 2
    y += base[:, None] + 0.4 * arm[:, None] * np.arange(visits)
    days = 7.0 * np.arange(visits) + rng.integers(-2, 3, size=(n, visits))
    frame = pd.DataFrame(
        {
            "USUBJID": np.repeat([f"S{i:04d}" for i in range(n)], visits),
            "AVISIT": np.tile([f"V{j}" for j in range(visits)], n),
            "TRT01P": np.repeat(np.array(["A", "B"])[arm], visits),
            "BASE": np.repeat(base, visits),
            "ADY": days.ravel(),
            "W": rng.uniform(0.5, 2.0, n * visits),
            "AVAL": y.ravel(),
        }
    )
    frame.loc[rng.random(len(frame)) < missing, "AVAL"] = np.nan
    return frame


def timed(name: str) -> dict[str, Any]:
    return {"time": "ADY"} if name.startswith("sp_") else {}


def sound(fit: MMRMFit) -> None:
    """Numbers that can be numbers, or a reason and nothing else."""
    table = pd.concat([fit.coefficients, fit.contrast("TRT01P", reference="A", by="AVISIT")])
    tests, parameters = fit.anova(), fit.covariance_parameters
    if fit.failed is not None:
        assert len(fit.failed) > 10
        assert table.empty
        assert tests.empty
        assert parameters.empty
        assert np.isnan(fit.minus2_loglik)
        assert fit.covariance.isna().to_numpy().all()
        assert fit.failed in fit.summary()
        return
    can = table["estimate"].notna()
    numbers = table.loc[can, NUMBERS].to_numpy(dtype=float)
    assert np.isfinite(numbers).all()
    assert (table.loc[can, "se"] > 0).all()
    assert (table.loc[can, "df"] > 0).all()
    assert table.loc[can, "p"].between(0, 1).all()
    assert tests.loc[tests.num_df > 0, "p"].between(0, 1).all()
    assert (tests.loc[tests.num_df > 0, "statistic"] >= 0).all()
    sigma = fit.covariance.to_numpy().reshape(-1, *[fit.covariance.shape[1]] * 2)
    assert np.linalg.eigvalsh(sigma).min() > 0
    assert np.isfinite(parameters[["estimate", "se"]].to_numpy()).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 40),
    visits=st.integers(2, 5),
    missing=st.floats(0.0, 0.6),
    structure=st.sampled_from(list(STRUCTURES)),
    df=st.sampled_from(DF),
    se=st.sampled_from(["model", "model", "cr0", "cr2", "cr3"]),
    reml=st.booleans(),
    group=st.sampled_from([None, "TRT01P"]),
    weights=st.sampled_from([None, "W"]),
)
def test_any_design_gives_sound_numbers_or_says_why(
    seed: int,
    n: int,
    visits: int,
    missing: float,
    structure: str,
    df: str,
    se: str,
    reml: bool,
    group: str | None,
    weights: str | None,
) -> None:
    if df.startswith("kenward") and (se != "model" or not reml):
        df = "satterthwaite"
    data = trial(seed, n=n, visits=visits, missing=missing)
    used = data.dropna()
    options: dict[str, Any] = {
        "se": se,
        "reml": reml,
        "group": group,
        "weights": weights,
        **timed(structure),
    }
    try:
        fit = mmrm(FORMULA, data, **KEYS, covariance=structure, df=df, **options)
    except UsageError:  # too few subjects left to have two arms or two visits
        assert used["TRT01P"].nunique() < 2 or used["AVISIT"].nunique() < 2
        return
    sound(fit)


def without(data: pd.DataFrame, gone: pd.Series[bool]) -> pd.DataFrame:
    return data.assign(AVAL=data["AVAL"].where(~gone))


@pytest.mark.parametrize("structure", list(STRUCTURES))
def test_empty_arm_at_a_visit_is_named_and_not_estimated(structure: str) -> None:
    data = trial(9)
    gone = (data.TRT01P == "B") & (data.AVISIT == "V2")
    fit = mmrm(FORMULA, without(data, gone), **KEYS, covariance=structure, **timed(structure))
    assert fit.failed is None
    assert fit.aliased == ["TRT01P[T.B]:AVISIT[T.V2]"]
    table = fit.contrast("TRT01P", reference="A", by="AVISIT").set_index("AVISIT")
    assert table.loc["V2", NUMBERS].isna().all()
    assert table.drop("V2")[NUMBERS].notna().to_numpy().all()
    assert "TRT01P[T.B]:AVISIT[T.V2]" in fit.summary()


@functools.cache
def failures() -> dict[str, tuple[pd.DataFrame, str, str]]:
    """Data, what the reason says of a free covariance, and of any other (empty: it may fit)."""
    data = trial(10, n=40)
    odd = data["USUBJID"].str[-1].isin(list("01234"))
    copies = data.assign(AVAL=data["USUBJID"].str[1:].astype(float) + (data["AVISIT"] == "V1"))
    first = data.dropna()["USUBJID"].value_counts().idxmax()
    lone = (data["AVISIT"] == "V3") & (data["USUBJID"] != first)
    alone = data.assign(AVAL=data.AVAL.where(data.AVISIT == "V0"))
    alone["AVAL"] = alone["AVAL"].where(data["USUBJID"] != first, data["AVAL"])
    return {
        "never together": (
            without(data, ((data.AVISIT == "V1") & odd) | ((data.AVISIT == "V2") & ~odd)),
            "both V1 and V2",
            "",
        ),
        "one value at a visit": (without(data, lone), "visit V3 exactly", ""),
        "constant outcome": (data.assign(AVAL=1.0), "exactly", "exactly"),
        "constant visit": (
            data.assign(AVAL=data.AVAL.where(data.AVISIT != "V0", 2.0)),
            "visit V0",
            "",
        ),
        "visits that repeat each other": (copies, "singular", ""),
        "more coefficients than rows": (
            data.iloc[:10].assign(AVAL=np.arange(10.0)),
            "cannot carry",
            "cannot carry",
        ),
        "all visits of one subject only": (alone, "exactly", ""),
    }


@pytest.mark.parametrize("structure", ["us", "toeph", "ar1", "ad", "csh", "sp_exp"])
@pytest.mark.parametrize("case", list(failures()))
def test_degenerate_data_have_a_reason_and_no_number(case: str, structure: str) -> None:
    data, free, other = failures()[case]
    fit = mmrm(FORMULA, data, **KEYS, covariance=structure, **timed(structure))
    sound(fit)
    if structure == "us" or other:
        assert fit.failed is not None
        assert (free if structure == "us" else other) in fit.failed
        assert not fit.converged
        assert list(fit.contrast("TRT01P", reference="A", by="AVISIT").columns) == [
            *("TRT01P", "reference", "AVISIT"),
            *NUMBERS,
        ]
        assert fit.lsmeans("TRT01P", by="AVISIT").empty
        assert fit.failed in fit._repr_html_()


@pytest.mark.parametrize("structure", ["toeph", "ar1h", "adh", "csh"])
def test_constant_visit_has_no_variance_of_its_own(structure: str) -> None:
    fit = mmrm(FORMULA, failures()["constant visit"][0], **KEYS, covariance=structure)
    assert fit.failed is not None
    assert "visit V0" in fit.failed


@pytest.mark.parametrize("structure", ["cs", "csh", "toep", "toeph", "ar1", "ad", "sp_exp"])
def test_perfect_correlation_is_a_failed_state(structure: str) -> None:
    """Each subject repeats one value at every visit: the correlation is one, on the boundary."""
    data = trial(16, n=30, missing=0.1)
    steady = data.groupby("USUBJID")["BASE"].transform("first") + data["USUBJID"].str[-2:].astype(
        float
    )
    data["AVAL"] = steady.where(data["AVAL"].notna())
    fit = mmrm("AVAL ~ TRT01P*AVISIT", data, **KEYS, covariance=structure, **timed(structure))
    assert fit.failed is not None
    assert fit.coefficients.empty


@pytest.mark.parametrize("structure", ["cs", "toep"])
def test_correlation_at_its_negative_bound_is_a_failed_state(structure: str) -> None:
    """Values that sum to nothing within a subject: compound symmetry at -1 / (visits - 1)."""
    data = trial(17, n=30, missing=0.0)
    centre = data.groupby("USUBJID")["AVAL"].transform("mean")
    data["AVAL"] = data["AVAL"] - centre
    fit = mmrm("AVAL ~ AVISIT", data, **KEYS, covariance=structure)
    assert fit.failed is not None
    assert "singular" in fit.failed


def test_no_correlation_in_time_is_a_failed_state() -> None:
    """Values that alternate: no range of an exponential correlation is small enough."""
    data = trial(18, n=40, missing=0.0)
    data["AVAL"] = data["BASE"] * np.where(data["AVISIT"].isin(["V0", "V2"]), 1.0, -1.0)
    data["AVAL"] += 0.3 * np.random.default_rng(1).normal(size=len(data))
    fit = mmrm("AVAL ~ AVISIT", data, **KEYS, covariance="sp_exp", time="ADY")
    assert fit.failed is not None
    assert "range" in fit.failed or "convergence" in fit.failed


def test_a_lag_that_nobody_has_is_named() -> None:
    data = trial(19, n=40)
    part = np.where(data["USUBJID"].str[-1].astype(int) % 2 == 0, "V0 V1", "V2 V3")
    keep = [v in p for v, p in zip(data["AVISIT"], part, strict=True)]
    fit = mmrm(FORMULA, data[keep], **KEYS, covariance="toep")
    assert fit.failed is not None
    assert "lag 2" in fit.failed
    fit = mmrm(FORMULA, data[keep], **KEYS, covariance="ad")
    assert fit.failed is not None
    assert "correlation V1, V2" in fit.failed
    assert mmrm(FORMULA, data[keep], **KEYS, covariance="ar1").failed is None


def test_one_subject() -> None:
    data = trial(20, n=30, missing=0.0)
    data = data[data["USUBJID"] == "S0001"]
    for structure in STRUCTURES:
        fit = mmrm("AVAL ~ 1", data, **KEYS, covariance=structure, **timed(structure))
        assert fit.failed == (
            "there is only one subject, and a covariance between visits needs several"
        )
        assert fit.coefficients.empty


def test_collinear_columns_are_dropped_and_named() -> None:
    data = trial(21).assign(TWICE=lambda t: 2.0 * t["BASE"])
    for structure in ("us", "cs"):
        fit = mmrm("AVAL ~ BASE + TWICE + TRT01P*AVISIT", data, **KEYS, covariance=structure)
        assert fit.failed is None
        assert fit.aliased == ["TWICE"]


@functools.cache
def bad_calls() -> dict[str, tuple[pd.DataFrame, dict[str, Any], str]]:
    data = trial(11, n=20)
    twice = pd.concat([data, data[data.AVISIT == "V1"]])
    infinite = data.assign(AVAL=data.AVAL.where(data.USUBJID != "S0001", np.inf))
    tied = data.assign(ADY=0.0)
    space = {"covariance": "sp_exp", "time": "ADY"}
    return {
        "repeated visit": (twice, {}, "repeat a visit"),
        "unknown column": (data, {"formula": "AVAL ~ NOPE*AVISIT"}, "NOPE"),
        "unknown subject": (data.drop(columns="USUBJID"), {}, "USUBJID"),
        "one arm": (data.assign(TRT01P="A"), {}, "TRT01P has only the level"),
        "one visit": (data[data.AVISIT == "V1"], {"formula": "AVAL ~ TRT01P"}, "only the visit"),
        "text outcome": (data.assign(AVAL=data.AVAL.astype(str)), {}, "not numeric"),
        "infinite": (infinite, {}, "infinite"),
        "no baseline": (data.assign(BASE=np.nan), {}, "No row"),
        "structure": (data, {"covariance": "ar2"}, "'ar2'"),
        "second structure": (data, {"covariance": ["us", "ar2"]}, "'ar2'"),
        "no structure": (data, {"covariance": []}, "none"),
        "structure twice": (data, {"covariance": ["us", "us"]}, "twice"),
        "df": (data, {"df": "exact"}, "'exact'"),
        "se": (data, {"se": "hc3"}, "'hc3'"),
        "fallback_se": (data, {"covariance": ["us", "cs"], "fallback_se": "x"}, "'x'"),
        "fallback_se alone": (data, {"fallback_se": "cr3"}, "only one"),
        "Kenward-Roger with ML": (data, {"df": "kenward_roger_linear", "reml": False}, "REML"),
        "Kenward-Roger with CR2": (data, {"df": "kenward_roger", "se": "cr2"}, "model-based"),
        "no outcome": (data, {"formula": "~ TRT01P"}, "no outcome"),
        "code": (data, {"formula": "AVAL ~ TRT01P + I(BASE.mean())"}, "not supported"),
        "negative weight": (data.assign(W=-1.0), {"weights": "W"}, "positive"),
        "group moves": (data, {"group": "AVISIT"}, "more than one level"),
        "no time": (data, {"covariance": "sp_exp"}, "needs the time"),
        "time for nothing": (data, {"covariance": "cs", "time": "ADY"}, "uses time"),
        "text time": (data.assign(ADY="x"), space, "finite numbers"),
        "infinite time": (data.assign(ADY=np.inf), space, "finite numbers"),
        "one time": (tied, space, "same time"),
        "one time for a subject": (
            data.assign(ADY=data.ADY.where(data.BASE > 0, 3.0)),
            space,
            "same",
        ),
    }


@pytest.mark.parametrize("case", list(bad_calls()))
def test_bad_input_is_refused_with_a_remedy(case: str) -> None:
    data, options, words = bad_calls()[case]
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        mmrm(**{"formula": FORMULA, **options}, data=data, **KEYS)
    assert caught.value.remedy


def test_too_many_different_times_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialkit.methods.repeated.spatial.MOST", 1000)
    with pytest.raises(UsageError, match="differ in the times") as caught:
        mmrm(FORMULA, trial(22), **KEYS, covariance="sp_exp", time="ADY")
    assert "Round" in str(caught.value.remedy)


def test_character_and_numeric_visits_give_the_same() -> None:
    data = trial(23)
    numeric = data.assign(AVISIT=data["AVISIT"].str[1:].astype(int))
    for structure in ("us", "ar1", "toeph"):
        one = mmrm(FORMULA, data, **KEYS, covariance=structure)
        two = mmrm(FORMULA.replace("AVISIT", "C(AVISIT)"), numeric, **KEYS, covariance=structure)
        np.testing.assert_allclose(two.coefficients[NUMBERS], one.coefficients[NUMBERS], rtol=1e-10)
