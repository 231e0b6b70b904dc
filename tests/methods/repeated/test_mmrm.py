"""MMRM: oracles of R and SAS, identities, invariances, bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import ancova, mmrm
from trialkit.methods._design import build_design
from trialkit.methods.repeated.fit import fit_arrays, lay_out
from trialkit.methods.repeated.result import MMRMFit

OWN = Path(__file__).parent.parent.parent / "oracles" / "mmrm"
FORMULA = "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"
KEYS = {"subject": "USUBJID", "visit": "AVISIT"}
DF = {"Satterthwaite": "satterthwaite", "Kenward-Roger": "kenward_roger_linear"}
FEV = [
    "fev|nobl|us|REML|Satterthwaite|default",
    "fev|bl|us|REML|Satterthwaite|default",
    "fev|nobl|us|REML|Kenward-Roger|Kenward-Roger-Linear",
    "fev|bl|us|REML|Kenward-Roger|Kenward-Roger-Linear",
    "fev|nobl|us|ML|Satterthwaite|default",
    "fev|nobl|us grouped by ARMCD|REML|Satterthwaite|default",
    "fev|nobl|us weighted|REML|Satterthwaite|default",
]
BCVA = [
    "bcva|us|REML|Satterthwaite|default",
    "bcva|us|REML|Kenward-Roger|Kenward-Roger-Linear",
]


def r_name(name: str) -> str:
    return re.sub(r"\[T\.([^\]]*)\]", r"\1", name).replace("Intercept", "(Intercept)")


def parts(name: str) -> str:
    """An interaction's name without the order of its factors."""
    return ":".join(sorted(name.split(":")))


def check_against_mmrm(fit: MMRMFit, oracle: dict[str, Any]) -> None:
    """R mmrm with a tightened optimiser: all within 1e-6 relative, -2RLL within 1e-8."""
    assert fit.failed is None
    assert (fit.n, fit.n_subjects) == (oracle["n_obs"], oracle["n_subjects"])
    assert fit.minus2_loglik == pytest.approx(oracle["deviance"], abs=1e-8, rel=0)
    close = {"rtol": 1e-6, "atol": 0.0}
    if fit.reml:  # for ML, SAS counts the coefficients too and mmrm does not
        np.testing.assert_allclose([fit.aic, fit.bic], [oracle["AIC"], oracle["BIC"]], rtol=1e-10)
    mine = fit.coefficients.assign(term=lambda t: t["term"].map(r_name)).set_index("term")
    theirs = pd.DataFrame(oracle["coef"]).set_index("term")
    np.testing.assert_allclose(
        mine.loc[theirs.index, ["estimate", "se", "df"]], theirs[["estimate", "se", "df"]], **close
    )
    np.testing.assert_allclose(mine.loc[theirs.index, "p"], theirs["p"], rtol=1e-4)
    if isinstance(oracle["varcor"].get("values"), list):
        visits = oracle["varcor"]["names"]
        np.testing.assert_allclose(
            fit.covariance.loc[visits, visits], oracle["varcor"]["values"], rtol=1e-5
        )
    means = fit.lsmeans("ARMCD", by="AVISIT").set_index(["ARMCD", "AVISIT"])
    for row in oracle["lsmeans"]:
        np.testing.assert_allclose(
            means.loc[(row["ARMCD"], row["AVISIT"]), ["estimate", "se", "df"]].astype(float),
            [row["emmean"], row["SE"], row["df"]],
            **close,
        )
    for row in oracle["diffs"]:
        level, reference = row["contrast"].split(" - ")
        found = fit.contrast("ARMCD", reference=reference, by="AVISIT")
        found = found.set_index(["ARMCD", "AVISIT"]).loc[(level, row["AVISIT"])]
        np.testing.assert_allclose(
            found[["estimate", "se", "df", "statistic", "lower", "upper"]].astype(float),
            [row[k] for k in ("estimate", "SE", "df", "t.ratio", "lower.CL", "upper.CL")],
            **close,
        )
    tests = fit.anova().set_index("term")
    for row in oracle["f_tests"]:
        found = tests.loc["RACE" if "RACE" in row["pattern"] else "ARMCD:AVISIT"]
        np.testing.assert_allclose(
            found[["num_df", "den_df", "statistic"]].astype(float),
            [row["num_df"], row["denom_df"], row["F"]],
            **close,
        )


@pytest.mark.parametrize("label", FEV)
def test_fev_agrees_with_r_mmrm(shared: Path, label: str) -> None:
    oracle = json.loads((shared / "oracles/mmrm_fev_r.json").read_text())["fits"][label]
    data = pd.read_csv(shared / "oracles/fev_data.csv")
    data["SEX"] = pd.Categorical(data["SEX"], categories=["Male", "Female"])
    fit = mmrm(
        oracle["formula"].split(" + us(")[0],
        data,
        **KEYS,
        reml=oracle["reml"],
        df=DF[oracle["df_method"]],
        group="ARMCD" if "grouped" in label else None,
        weights="WEIGHT" if "weighted" in label else None,
    )
    check_against_mmrm(fit, oracle)
    assert fit.n_missing == 263


@pytest.mark.parametrize("label", BCVA)
def test_bcva_agrees_with_r_mmrm(shared: Path, label: str) -> None:
    oracle = json.loads((shared / "oracles/mmrm_bcva_r.json").read_text())["fits"][label]
    data = pd.read_csv(shared / "oracles/bcva_data.csv")
    formula = oracle["formula"].split(" + us(")[0]
    check_against_mmrm(mmrm(formula, data, **KEYS, df=DF[oracle["df_method"]]), oracle)


def own_data() -> pd.DataFrame:
    data = pd.read_csv(OWN / "data.csv")
    data["TRT01P"] = pd.Categorical(data["TRT01P"], ["Control", "Low", "High"])
    data["AVISIT"] = pd.Categorical(data["AVISIT"], ["W2", "W4", "W8", "W12"])
    return data


def own_oracle(folder: Path = OWN) -> pd.DataFrame:
    names = ["fit", "quantity", "first", "second", "value"]
    return pd.read_csv(folder / "oracle.txt", names=names, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_agrees_with_gls(method: str) -> None:
    """tests/oracles/mmrm: nlme::gls, whose optimiser stops 3e-8 above the least -2RLL.

    That leaves its standard errors good to 1e-5 and estimates to 1e-4 of a standard error.
    """
    formula = "AVAL ~ BASE*AVISIT + SITEID + TRT01P*AVISIT"
    fit = mmrm(formula, own_data(), **KEYS, reml=method == "REML", df="satterthwaite")
    oracle = own_oracle().query("fit == @method")
    table = fit.coefficients.assign(term=lambda t: t["term"].map(r_name).map(parts))
    table = table.set_index("term")
    means = fit.lsmeans("TRT01P", by="AVISIT").set_index(["TRT01P", "AVISIT"])
    against = fit.contrast("TRT01P", reference="Control", by="AVISIT")
    against = against.set_index(["TRT01P", "AVISIT"])
    seen = set()
    for row in oracle.itertuples():
        value = float(row.value)
        close = {"rel": 2e-5}
        seen.add(row.quantity)
        match row.quantity:
            case "minus2_loglik":
                assert fit.minus2_loglik == pytest.approx(value, abs=1e-7)
                assert fit.minus2_loglik <= value + 1e-9
            case "estimate":
                found = table.loc[parts(row.first)]
                assert found["estimate"] == pytest.approx(value, abs=1e-4 * found["se"])
            case "se":
                assert table.loc[parts(row.first), "se"] == pytest.approx(value, **close)
            case "covariance":
                found = fit.covariance.loc[row.first, row.second]
                assert found == pytest.approx(value, rel=1e-4)
            case "lsmean":
                found = means.loc[(row.first, row.second)]
                assert found["estimate"] == pytest.approx(value, abs=1e-4 * found["se"])
            case "lsmean_se":
                assert means.loc[(row.first, row.second), "se"] == pytest.approx(value, **close)
            case "difference":
                found = against.loc[(row.first.split(" - ")[0], row.second)]
                assert found["estimate"] == pytest.approx(value, abs=1e-4 * found["se"])
            case "difference_se":
                found = against.loc[(row.first.split(" - ")[0], row.second), "se"]
                assert found == pytest.approx(value, **close)
            case other:
                pytest.fail(other)
    assert len(seen) == (8 if method == "REML" else 4)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward_roger_linear"])
def test_paired_t_identity(df: str) -> None:
    """tests/oracles/mmrm: t.test(paired = TRUE) on R's sleep data."""
    oracle = own_oracle().query("fit == 'sleep'")
    rows = oracle.query("quantity == 'row'")
    data = pd.DataFrame(
        {"ID": rows["first"], "group": "g" + rows["second"], "extra": rows["value"].astype(float)}
    )
    fit = mmrm("extra ~ group", data, subject="ID", visit="group", df=df)
    found = fit.contrast("group", reference="g1").iloc[0]
    for name in ("estimate", "se", "df", "p"):
        value = float(oracle.query("quantity == @name")["value"].iloc[0])
        assert found[name] == pytest.approx(value, rel=1e-9)


def trial(
    seed: int, n: int = 60, visits: int = 4, missing: float = 0.15, arms: int = 2
) -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(seed))
    sd = 1.0 + 0.5 * np.arange(visits)
    rho = 0.6 ** np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    y = rng.normal(size=(n, visits)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
    base, arm = rng.normal(size=n), np.arange(n) % arms
    y += base[:, None] + 0.4 * arm[:, None] * np.arange(visits)
    frame = pd.DataFrame(
        {
            "USUBJID": np.repeat([f"S{i:04d}" for i in range(n)], visits),
            "AVISIT": np.tile([f"V{j}" for j in range(visits)], n),
            "TRT01P": np.repeat(np.array(list("ABCDE"))[arm], visits),
            "BASE": np.repeat(base, visits),
            "AVAL": y.ravel(),
        }
    )
    frame.loc[rng.random(len(frame)) < missing, "AVAL"] = np.nan
    return frame


def contrast(data: pd.DataFrame, **options: Any) -> pd.DataFrame:
    fit = mmrm(FORMULA, data, **KEYS, **options)
    assert fit.failed is None
    return fit.contrast("TRT01P", reference="A", by="AVISIT").sort_values(["TRT01P", "AVISIT"])


NUMBERS = ["estimate", "se", "df", "statistic", "p", "lower", "upper"]


@pytest.mark.parametrize("df", ["satterthwaite", "kenward_roger_linear"])
@pytest.mark.parametrize("scale", [1e-6, 3.6, 1e6])
def test_units_do_not_matter(scale: float, df: str) -> None:
    data = trial(1)
    plain = contrast(data, df=df)
    other = contrast(
        data.assign(AVAL=data.AVAL * scale + 40 * scale, BASE=data.BASE / scale), df=df
    )
    np.testing.assert_allclose(other[["df", "statistic"]], plain[["df", "statistic"]], rtol=1e-8)
    same = ["estimate", "se", "lower", "upper"]
    np.testing.assert_allclose(other[same], plain[same] * scale, rtol=1e-8)


def test_row_order_does_not_change_a_byte() -> None:
    data = trial(2)
    mixed = data.sample(frac=1.0, random_state=3)
    one, two = contrast(data), contrast(mixed)
    assert one[NUMBERS].to_numpy().tobytes() == two[NUMBERS].to_numpy().tobytes()


THREADS = """
import sys, hashlib
sys.path.insert(0, sys.argv[1])
from test_mmrm import contrast, trial, NUMBERS
table = contrast(trial(15, n=300), df="kenward_roger_linear")
print(hashlib.sha256(table[NUMBERS].to_numpy().tobytes()).hexdigest())
"""


def test_threads_do_not_change_a_byte() -> None:
    found = set()
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", THREADS, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
        )
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == 64


def test_visit_order_and_labels_do_not_matter() -> None:
    data = trial(4)
    order = ["V2", "V0", "V3", "V1"]
    other = data.assign(AVISIT=pd.Categorical(data["AVISIT"], order))
    np.testing.assert_allclose(contrast(other)[NUMBERS], contrast(data)[NUMBERS], rtol=1e-8)
    renamed = data.assign(AVISIT=data["AVISIT"].map({"V0": "z", "V1": "b", "V2": "y", "V3": "a"}))
    back = mmrm(FORMULA, renamed, **KEYS).contrast("TRT01P", reference="A", by="AVISIT")
    back["AVISIT"] = back["AVISIT"].map({"z": "V0", "b": "V1", "y": "V2", "a": "V3"})
    np.testing.assert_allclose(
        back.sort_values("AVISIT")[NUMBERS], contrast(data)[NUMBERS], rtol=1e-8
    )


def test_reference_level_only_flips_the_sign() -> None:
    data = trial(5, arms=3)
    fit = mmrm(FORMULA, data, **KEYS)
    one = fit.contrast("TRT01P", reference="A", by="AVISIT").query("TRT01P == 'C'")
    two = fit.contrast("TRT01P", reference="C", by="AVISIT").query("TRT01P == 'A'")
    np.testing.assert_allclose(one["estimate"], -two["estimate"], rtol=1e-10)
    np.testing.assert_allclose(one[["se", "df", "p"]], two[["se", "df", "p"]], rtol=1e-10)
    recoded = data.assign(TRT01P=pd.Categorical(data["TRT01P"], ["C", "A", "B"]))
    three = mmrm(FORMULA, recoded, **KEYS).contrast("TRT01P", reference="A", by="AVISIT")
    three = three.query("TRT01P == 'C'")
    np.testing.assert_allclose(three[NUMBERS], one[NUMBERS], rtol=1e-8)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward_roger_linear"])
def test_complete_data_equal_ancova_at_each_visit(df: str) -> None:
    """With complete data and all effects by visit, REML gives each visit's own ANCOVA."""
    data = trial(6, missing=0.0)
    found = contrast(data, df=df)
    for row in found.itertuples():
        alone = ancova("AVAL ~ BASE + TRT01P", data[data.AVISIT == row.AVISIT])
        want = alone.contrast("TRT01P", reference="A").iloc[0]
        assert row.estimate == pytest.approx(want.estimate, rel=1e-9)
        assert row.se == pytest.approx(want.se, rel=1e-9)
        assert row.df == pytest.approx(want.df, rel=1e-7)


def test_weights_of_one_and_doubled_weights() -> None:
    data = trial(7).assign(W=1.0)
    plain, ones = contrast(data), contrast(data, weights="W")
    np.testing.assert_allclose(ones[NUMBERS], plain[NUMBERS], rtol=1e-10)
    twice = mmrm(FORMULA, data.assign(W=2.0), **KEYS, weights="W")
    np.testing.assert_allclose(
        twice.covariance, 2.0 * mmrm(FORMULA, data, **KEYS).covariance, rtol=1e-8
    )


def test_gradient_vanishes_and_hessian_is_the_derivative() -> None:
    data = trial(8, n=40)
    design = build_design(FORMULA, data, also=["USUBJID", "AVISIT"])
    layout = lay_out(design, data, "USUBJID", "AVISIT", None, None)
    for reml in (True, False):
        likelihood, best = fit_arrays(design.x, design.y, layout, reml=reml)
        assert np.abs(best.gradient).max() < 1e-9
        sigma = best.point.sigma * 1.3 + 0.1 * np.eye(4)
        at = likelihood.point(sigma)
        assert at is not None
        gradient, hessian, _, _ = likelihood.derivatives(at)
        for i in range(10):
            step = likelihood.matrices(np.eye(10)[i] * 1e-5)
            up, down = likelihood.point(sigma + step), likelihood.point(sigma - step)
            assert up is not None
            assert down is not None
            assert gradient[i] == pytest.approx((up.value - down.value) / 2e-5, abs=1e-5)
            slope = likelihood.derivatives(up)[0] - likelihood.derivatives(down)[0]
            np.testing.assert_allclose(hessian[i], slope / 2e-5, rtol=1e-6, atol=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 40),
    visits=st.integers(2, 5),
    missing=st.floats(0.0, 0.6),
    df=st.sampled_from(["satterthwaite", "kenward_roger_linear"]),
)
def test_any_design_gives_sound_numbers_or_says_why(
    seed: int, n: int, visits: int, missing: float, df: str
) -> None:
    data = trial(seed, n=n, visits=visits, missing=missing)
    try:
        fit = mmrm(FORMULA, data, **KEYS, df=df)
    except UsageError:
        return  # too few subjects left to have two arms or two visits
    table = pd.concat([fit.coefficients, fit.contrast("TRT01P", reference="A", by="AVISIT")])
    tests = fit.anova()
    if fit.failed is not None:
        assert table.empty
        assert tests.empty
        assert np.isnan(fit.minus2_loglik)
        return
    can = table["estimate"].notna()
    numbers = table.loc[can, NUMBERS].to_numpy(dtype=float)
    assert np.isfinite(numbers).all()
    assert (table.loc[can, "se"] > 0).all()
    assert table.loc[can, "p"].between(0, 1).all()
    assert tests.loc[tests.num_df > 0, "p"].between(0, 1).all()
    assert np.linalg.eigvalsh(fit.covariance.to_numpy()).min() > 0


def without(data: pd.DataFrame, gone: pd.Series[bool]) -> pd.DataFrame:
    return data.assign(AVAL=data["AVAL"].where(~gone))


def test_empty_arm_at_a_visit_is_named_and_not_estimated() -> None:
    data = trial(9)
    fit = mmrm(FORMULA, without(data, (data.TRT01P == "B") & (data.AVISIT == "V2")), **KEYS)
    assert fit.failed is None
    assert fit.aliased == ["TRT01P[T.B]:AVISIT[T.V2]"]
    table = fit.contrast("TRT01P", reference="A", by="AVISIT").set_index("AVISIT")
    assert table.loc["V2", NUMBERS].isna().all()
    assert table.drop("V2")[NUMBERS].notna().to_numpy().all()
    assert "TRT01P[T.B]:AVISIT[T.V2]" in fit.summary()


def failures() -> dict[str, tuple[pd.DataFrame, str]]:
    data = trial(10, n=40)
    odd = data["USUBJID"].str[-1].isin(list("01234"))
    copies = data.assign(AVAL=data["USUBJID"].str[1:].astype(float) + (data["AVISIT"] == "V1"))
    first = data.dropna()["USUBJID"].value_counts().idxmax()
    lone = (data["AVISIT"] == "V3") & (data["USUBJID"] != first)
    return {
        "never together": (
            without(data, ((data.AVISIT == "V1") & odd) | ((data.AVISIT == "V2") & ~odd)),
            "both V1 and V2",
        ),
        "one value at a visit": (without(data, lone), "visit V3 exactly"),
        "constant outcome": (data.assign(AVAL=1.0), "exactly"),
        "constant visit": (data.assign(AVAL=data.AVAL.where(data.AVISIT != "V0", 2.0)), "visit V0"),
        "visits that repeat each other": (copies, "singular"),
        "more coefficients than rows": (
            data.iloc[:10].assign(AVAL=np.arange(10.0)),
            "cannot carry",
        ),
    }


@pytest.mark.parametrize("case", list(failures()))
def test_failed_fit_has_a_reason_and_no_number(case: str) -> None:
    data, reason = failures()[case]
    fit = mmrm(FORMULA, data, **KEYS)
    assert fit.failed is not None
    assert reason in fit.failed
    assert not fit.converged
    assert fit.coefficients.empty
    assert fit.lsmeans("TRT01P", by="AVISIT").empty
    assert list(fit.contrast("TRT01P", reference="A", by="AVISIT").columns) == [
        "TRT01P",
        "reference",
        "AVISIT",
        *NUMBERS,
    ]
    assert fit.anova().empty
    assert fit.covariance.isna().to_numpy().all()
    assert fit.failed in fit.summary()
    assert fit.failed in fit._repr_html_()


def bad_calls() -> dict[str, tuple[pd.DataFrame, dict[str, Any], str]]:
    data = trial(11, n=20)
    twice = pd.concat([data, data[data.AVISIT == "V1"]])
    infinite = data.assign(AVAL=data.AVAL.where(data.USUBJID != "S0001", np.inf))
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
        "df": (data, {"df": "exact"}, "'exact'"),
        "Kenward-Roger with ML": (data, {"df": "kenward_roger_linear", "reml": False}, "REML"),
        "no outcome": (data, {"formula": "~ TRT01P"}, "no outcome"),
        "code": (data, {"formula": "AVAL ~ TRT01P + I(BASE.mean())"}, "not supported"),
        "negative weight": (data.assign(W=-1.0), {"weights": "W"}, "positive"),
        "group moves": (data, {"group": "AVISIT"}, "more than one level"),
    }


@pytest.mark.parametrize("case", list(bad_calls()))
def test_bad_input_is_refused_with_a_remedy(case: str) -> None:
    data, options, words = bad_calls()[case]
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        mmrm(**{"formula": FORMULA, **options}, data=data, **KEYS)
    assert caught.value.remedy


def test_missing_rows_are_counted() -> None:
    data = trial(12)
    data.loc[data.USUBJID == "S0003", "BASE"] = np.nan
    fit = mmrm(FORMULA, data, **KEYS)
    complete = data.dropna()
    assert fit.n == len(complete)
    assert fit.n_missing == len(data) - len(complete)
    assert fit.n_subjects == complete["USUBJID"].nunique()


def test_variant_and_summary_name_what_was_done() -> None:
    fit = mmrm(FORMULA, trial(13), **KEYS, df="kenward_roger_linear", group="TRT01P")
    assert fit.variant == "unstructured covariance by TRT01P, REML, Kenward-Roger-Linear df"
    assert fit.covariance.index.names[0] == "TRT01P"
    assert fit.covariance.shape == (8, 4)
    assert fit.variant in fit.summary()
    assert "<table" in fit._repr_html_()


def test_f_test_of_one_row_is_the_square_of_t() -> None:
    fit = mmrm(FORMULA, trial(14), **KEYS)
    row = fit.coefficients.iloc[3]
    done = fit.test(np.eye(len(fit.coefficients))[3])
    assert done is not None
    assert done.f == pytest.approx(row.statistic**2)
    assert done.p == pytest.approx(row.p, rel=1e-8)
