"""MMRM: oracles of R and SAS, identities, invariances, bad input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.methods import ancova, mmrm
from trialkit.methods._design import build_design
from trialkit.methods.repeated.fit import fit_arrays, lay_out

OWN = Path(__file__).parent.parent.parent / "oracles" / "mmrm"
FORMULA = "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"
KEYS = {"subject": "USUBJID", "visit": "AVISIT"}


def r_name(name: str) -> str:
    return re.sub(r"\[T\.([^\]]*)\]", r"\1", name).replace("Intercept", "(Intercept)")


def parts(name: str) -> str:
    """An interaction's name without the order of its factors."""
    return ":".join(sorted(name.split(":")))


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
