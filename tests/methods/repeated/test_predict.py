"""Predictions, residuals, draws and the figure of a fitted MMRM."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import mmrm
from trialkit.methods.repeated.result import MMRMFit

FOLDER = Path(__file__).parent.parent.parent / "oracles" / "lsmeans"
FORMULA = "AVAL ~ BASE*AVISIT + SITEID + SEX + TRT01P*AVISIT + TRT01P:SEX"
KEYS: dict[str, Any] = {"subject": "USUBJID", "visit": "AVISIT"}
ORACLE = "R 4.2.2, nlme 3.1-162 gls, tests/oracles/lsmeans"
Compare = Callable[..., float]


def trial() -> pd.DataFrame:
    data = pd.read_csv(FOLDER / "data.csv")
    data["AVISIT"] = pd.Categorical(data["AVISIT"], ["W2", "W4", "W8", "W12"])
    data["TRT01P"] = pd.Categorical(data["TRT01P"], ["Control", "Low", "High"])
    return data.assign(W=np.where(data["SEX"] == "F", 0.8, 1.3))


def fitted(formula: str, data: pd.DataFrame, **options: Any) -> MMRMFit:
    fit: MMRMFit = mmrm(formula, data, **KEYS, **options)
    return fit


@pytest.fixture(scope="module")
def fit() -> MMRMFit:
    return fitted(FORMULA, trial(), df="satterthwaite")


def oracle(kind: str, quantity: str) -> pd.Series[float]:
    names = ["fit", "quantity", "weights", "subject", "visit", "value"]
    rows = pd.read_csv(FOLDER / "oracle.txt", names=names, keep_default_na=False)
    rows = rows[(rows["fit"] == kind) & (rows["quantity"] == quantity)]
    return rows.set_index(["subject", "visit"])["value"]


def numbers(table: pd.DataFrame | pd.Series[Any], name: str) -> npt.NDArray[np.float64]:
    return np.asarray(table[name], dtype=np.float64)


def keyed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({"USUBJID": str, "AVISIT": str}).set_index(["USUBJID", "AVISIT"])


@pytest.mark.parametrize("kind", ["marginal", "conditional"])
def test_predictions_agree_with_the_normal_distribution(
    fit: MMRMFit, kind: str, compare: Compare
) -> None:
    found = keyed(fit.predict(trial(), kind=kind))
    theirs = oracle("predict", kind)
    assert len(theirs) == 28
    mine = found.loc[theirs.index]
    gap = (numbers(mine, "estimate") - theirs.to_numpy()) / numbers(mine, "prediction_se")
    name = f"predict, {kind}"
    compare("mmrm", name, ORACLE, "prediction in SE", gap, 0.0 * gap, abs=1e-4)
    wide = oracle("predict", f"{kind}_prediction_se")
    compare("mmrm", name, ORACLE, "prediction SE", mine["prediction_se"], wide, rel=5e-5)
    if kind == "marginal":
        narrow = oracle("predict", "marginal_se")
        compare("mmrm", name, ORACLE, "SE of the mean", mine["se"], narrow, rel=5e-5)


@pytest.mark.parametrize("kind", ["response", "pearson", "normalized"])
def test_residuals_agree_with_gls(fit: MMRMFit, kind: str, compare: Compare) -> None:
    theirs = oracle("residual", kind)
    mine = keyed(fit.residuals(kind)).loc[theirs.index, "residual"]
    assert len(mine) == fit.n
    compare("mmrm", "residuals", ORACLE, f"{kind} residuals", mine, theirs, abs=1e-4)


def test_fitted_rows_are_predicted_without_new_data(fit: MMRMFit) -> None:
    table = fit.predict()
    assert len(table) == fit.n
    np.testing.assert_allclose(
        table["estimate"] + fit.residuals()["residual"], fit.design.y, rtol=1e-12
    )
    alone = fit.predict(kind="conditional")
    again = fit.predict(trial().dropna(), kind="conditional")
    np.testing.assert_allclose(alone["estimate"], again["estimate"], rtol=1e-12)
    assert alone["prediction_se"].mean() < table["prediction_se"].mean()


def test_conditional_predictions_read_the_outcomes_of_the_new_data(fit: MMRMFit) -> None:
    data = trial()
    known = data[data["USUBJID"] == "P001"].assign(AVAL=[1.0, np.nan, np.nan, np.nan])
    from_new = keyed(fit.predict(known, kind="conditional"))
    from_fit = keyed(fit.predict(known.drop(columns="AVAL"), kind="conditional"))
    plain = keyed(fit.predict(known))
    gap = 1.0 - float(plain["estimate"][("P001", "W2")])
    sigma = fit.covariance
    for visit in ("W4", "W8", "W12"):
        want = plain["estimate"][("P001", visit)]
        want += sigma["W2"][visit] / sigma["W2"]["W2"] * gap
        assert from_new.loc[("P001", visit), "estimate"] == pytest.approx(want, rel=1e-12)
    assert from_new.loc[("P001", "W2"), "estimate"] == plain.loc[("P001", "W2"), "estimate"]
    assert abs(from_fit["estimate"] - from_new["estimate"]).max() > 1e-3


def test_observed_visit_is_predicted_from_the_others_alone(fit: MMRMFit) -> None:
    data = trial()
    changed = data.assign(AVAL=data["AVAL"].where(data["AVISIT"] != "W8", data["AVAL"] + 5.0))
    one = fit.predict(data, kind="conditional")
    two = fit.predict(changed, kind="conditional")
    w8 = (data["AVISIT"] == "W8") & data["AVAL"].notna()
    pd.testing.assert_frame_equal(one[w8], two[w8])
    assert not np.allclose(one["estimate"][~w8], two["estimate"][~w8])


def test_rows_that_cannot_be_predicted_are_empty_and_keep_their_place(fit: MMRMFit) -> None:
    data = trial().set_axis(range(1000, 1380), axis=0)
    data.loc[1005, "BASE"] = np.nan
    table = fit.predict(data, kind="conditional")
    assert list(table.index) == list(data.index)
    assert table.loc[1005, "estimate":"prediction_upper"].isna().all()
    assert table.drop(index=1005)["estimate"].notna().all()
    with pytest.raises(UsageError, match="no column 'BASE'"):
        fit.predict(data.drop(columns="BASE"))
    without = fit.predict(data.drop(columns=["USUBJID", "AVAL"]))
    assert list(without.columns[:2]) == ["AVISIT", "estimate"]


def test_arm_empty_at_a_visit_is_not_predicted() -> None:
    data = trial()
    gone = (data["TRT01P"] == "High") & (data["AVISIT"] == "W12")
    part = mmrm("AVAL ~ TRT01P*AVISIT", data[~gone], **KEYS)
    table = part.predict(data)
    assert table.loc[gone, "estimate"].isna().all()
    assert table.loc[~gone, "estimate"].notna().all()


@pytest.mark.parametrize("kind", ["marginal", "conditional"])
def test_units_groups_and_weights(kind: str) -> None:
    data = trial()
    options: dict[str, Any] = {**KEYS, "group": "SEX", "weights": "W"}
    one = mmrm(FORMULA, data, **options).predict(data, kind=kind)
    other = data.assign(AVAL=100.0 * data["AVAL"], W=3.0 * data["W"])
    two = mmrm(FORMULA, other, **options).predict(other, kind=kind)
    columns = ["estimate", "lower", "upper", "prediction_se", "prediction_upper"]
    np.testing.assert_allclose(100.0 * one[columns], two[columns], rtol=1e-6)


def test_intervals_cover_new_visits() -> None:
    """Prediction intervals of the last visit, held out, hold 95 % of it (within 4 MC errors)."""
    rng = np.random.Generator(np.random.Philox(11))
    n, chol = 400, np.linalg.cholesky(np.full((4, 4), 0.6) + 0.4 * np.eye(4))
    y = rng.normal(size=(n, 4)) @ chol.T
    data = pd.DataFrame(
        {
            "USUBJID": np.repeat(np.arange(n), 4),
            "AVISIT": np.tile(["V1", "V2", "V3", "V4"], n),
            "AVAL": y.ravel(),
        }
    )
    held = (data["AVISIT"] == "V4") & (data["USUBJID"] % 2 == 0)
    seen = data.assign(AVAL=data["AVAL"].where(~held))
    part = mmrm("AVAL ~ AVISIT", seen, **KEYS)
    width = []
    for kind in ("marginal", "conditional"):
        table = part.predict(seen, kind=kind)[held]
        inside = data.loc[held, "AVAL"].between(table.prediction_lower, table.prediction_upper)
        assert abs(inside.mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / held.sum())
        width.append(float(table["prediction_se"].mean()))
    assert width[1] < 0.8 * width[0]


def test_draws_are_the_model_and_the_same_on_repeat(fit: MMRMFit) -> None:
    draws = fit.simulate(400, seed=3)
    assert draws.shape == (fit.n, 402)
    assert draws.equals(fit.simulate(400, seed=3))
    assert not draws.equals(fit.simulate(400, seed=4))
    values = draws.filter(like="draw_").to_numpy()
    error = values - fit.predict()["estimate"].to_numpy()[:, None]
    visit = draws["AVISIT"].to_numpy()
    sigma = fit.covariance
    for name in sigma.columns:
        spread = error[visit == name].var()
        size = error[visit == name].size
        assert spread == pytest.approx(sigma.loc[name, name], rel=5 * np.sqrt(2 / size))
    wide = pd.DataFrame(error[:, 0], index=[draws["USUBJID"], draws["AVISIT"]])[0].unstack()
    assert wide.isna().sum().sum() == 4 * fit.n_subjects - fit.n
    both = [error[visit == v][: 2 * 40] for v in ("W2", "W4")]
    assert len(both[0]) == len(both[1])


def test_draws_do_not_depend_on_the_order_of_the_rows() -> None:
    data = trial()
    mixed = data.sample(frac=1.0, random_state=1)
    one, two = (
        keyed(mmrm(FORMULA, d, **KEYS).simulate(3, seed=8)).sort_index() for d in (data, mixed)
    )
    np.testing.assert_allclose(one, two, rtol=1e-10)


def test_a_draw_fitted_again_gives_the_model_back(fit: MMRMFit) -> None:
    draws = fit.simulate(1, seed=5)
    data = trial()
    data = data.merge(draws.astype({"AVISIT": data["AVISIT"].dtype}), on=["USUBJID", "AVISIT"])
    again = mmrm(FORMULA.replace("AVAL", "draw_1"), data, **KEYS)
    assert again.n == fit.n
    gap = again.coefficients["estimate"] - fit.coefficients["estimate"]
    assert (gap.abs() < 5 * fit.coefficients["se"]).all()


def test_table_is_the_coefficients(fit: MMRMFit) -> None:
    pd.testing.assert_frame_equal(fit.table, fit.coefficients)


def test_figure_shows_means_intervals_and_numbers(fit: MMRMFit) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    axes = fit.plot("TRT01P", weights="observed")
    means = fit.lsmeans("TRT01P", by="AVISIT", weights="observed")
    data = trial().dropna()
    counts = data.groupby(["AVISIT", "TRT01P"], observed=True).size()
    texts = [text.get_text() for text in axes.texts]
    drawn: Any = axes.containers
    for line, arm in zip(drawn, ("Control", "Low", "High"), strict=True):
        own = means[means["TRT01P"] == arm]
        np.testing.assert_allclose(line.lines[0].get_ydata(), own["estimate"])
        assert f"n, {arm}" in texts
    assert sorted(t for t in texts if t.isdigit()) == sorted(map(str, counts))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["W2", "W4", "W8", "W12"]
    assert axes.get_xlabel() == "AVISIT"
    assert axes.get_ylabel().startswith("AVAL")
    starts = [line.lines[0].get_xdata()[0] for line in drawn]
    assert len(set(starts)) == 3
    own_axes = plt.subplots()[1]
    assert fit.plot("SEX", ax=own_axes) is own_axes
    plt.close("all")


def test_failed_fit_has_nothing_to_say() -> None:
    data = trial().assign(AVAL=1.0)
    fit = mmrm(FORMULA, data, **KEYS)
    assert fit.failed is not None
    assert fit.predict(data).empty
    assert fit.residuals().empty
    assert fit.simulate(2, seed=1).empty
    assert fit.table.empty
    with pytest.raises(UsageError, match="failed"):
        fit.plot("TRT01P")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f.predict(kind="both"), "'both'"),
        (lambda f: f.residuals("studentised"), "'studentised'"),
        (lambda f: f.simulate(0, seed=1), "positive"),
        (lambda f: f.predict(trial().assign(SITEID="S9")), "no SITEID 'S9'"),
        (lambda f: f.predict(trial().astype({"AVISIT": str}).assign(AVISIT="W99")), "'W99'"),
        (lambda f: f.predict(pd.concat([trial(), trial()]), kind="conditional"), "repeat a visit"),
        (lambda f: f.predict(trial().assign(BASE="x")), "holds text"),
        (lambda f: f.plot("BASE"), "not a factor"),
    ],
)
def test_bad_questions(fit: MMRMFit, call: Callable[[MMRMFit], object], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        call(fit)
    assert caught.value.remedy
