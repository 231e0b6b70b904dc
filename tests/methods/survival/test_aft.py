"""Accelerated failure time regression against R's survreg (tests/oracles/aft)."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import cox
from trialkit.methods.survival import _location_scale as engine
from trialkit.methods.survival import aft as module
from trialkit.methods.survival.aft import EXACT, NO_EVENT, RUNAWAY, AftFit, aft

HERE = Path(__file__).parents[2] / "oracles" / "aft"
FORMS = {
    "main": "~ TRT01P + STRATUM + AGE + SPEED",
    "cross": "~ TRT01P * STRATUM + AGE",
    "arm": "~ TRT01P",
    "none": "~ 1",
}
LAWS = ("weibull", "log_normal", "log_logistic", "exponential")
R = "R survival 3.5-3, made-up weeks"
WORDS = {
    "main": "arm, stratum, two covariates",
    "cross": "arm by stratum",
    "arm": "arm",
    "none": "intercept only",
}


@pytest.fixture(scope="module")
def weeks() -> pd.DataFrame:
    frame = pd.read_csv(HERE / "data.csv")
    levels = ["Control", "Low", "High"]
    return frame.assign(TRT01P=pd.Categorical(frame["TRT01P"], categories=levels))


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "term", "value"]
    return pd.read_csv(HERE / "oracle.txt", names=names, keep_default_na=False)


@pytest.fixture
def without_lifelines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin at our own start: the maximum is the same, and much sooner found."""
    monkeypatch.setattr(module, "lifelines_place", lambda problem, distribution: None)


def fitted(data: pd.DataFrame, law: Any, formula: str = FORMS["main"]) -> AftFit:
    fit = aft(formula, data, time="WEEK", event="EVENT", distribution=law)
    assert fit.failed is None
    assert fit.converged
    return fit


def agree(compare: Any, oracle: pd.DataFrame, fit: AftFit, form: str, law: str) -> None:
    own = oracle[oracle["fit"] == f"{form}-{law}"].set_index("quantity")["value"]
    variant = f"{law.replace('_', '-')}, {WORDS[form]}"
    got: dict[str, tuple[Any, float]] = {
        "estimate": (fit.coefficients["estimate"], 1e-9),
        "se": (fit.coefficients["se"], 1e-9),
        "loglik": (fit.loglik, 1e-12),
        "aic": (fit.aic, 1e-12),
    }
    if law != "exponential":
        got["scale"] = (fit.sigma, 1e-9)
        got["log_scale_se"] = (fit.scale["se"], 1e-9)
        got["cov_log_scale"] = (fit.joint_covariance[:-1, -1], 1e-8)
    if form == "main":
        got["p"] = (fit.coefficients["p"], 1e-7)
    for quantity, (value, rel) in got.items():
        wanted = own.loc[[quantity]].astype(float)
        words = quantity.replace("_", " ")
        compare("aft", variant, R, words, value, wanted, rel=rel)
    assert fit.n == int(own["n"])


@pytest.mark.parametrize("law", LAWS)
def test_fit_from_lifelines_equals_survreg(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, law: Any
) -> None:
    agree(compare, oracle, fitted(weeks, law), "main", law)


@pytest.mark.parametrize("form", ["cross", "arm", "none"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.usefixtures("without_lifelines")
def test_fit_from_our_own_start_equals_survreg(
    compare: Any, oracle: pd.DataFrame, weeks: pd.DataFrame, law: Any, form: str
) -> None:
    agree(compare, oracle, fitted(weeks, law, FORMS[form]), form, law)


@pytest.mark.parametrize("law", LAWS[:3])
def test_lifelines_stops_near_the_maximum_and_has_the_same_likelihood(
    weeks: pd.DataFrame, law: str
) -> None:
    import lifelines

    rows = weeks.dropna()
    x = np.column_stack([np.ones(len(rows)), rows["TRT01P"] == "High", rows["AGE"]])
    time, event = rows["WEEK"].to_numpy(dtype=float), rows["EVENT"].to_numpy() == 1
    problem = engine.LocationScale(time, event, x.astype(float), module.LAWS[law])
    place = module.lifelines_place(problem, law)
    assert place is not None
    theirs, best = problem.evaluate(place), engine.maximise(problem)
    assert best is not None
    assert 0.0 <= best.loglik - theirs.loglik < 1e-3
    assert theirs.loglik > problem.evaluate(problem.start()).loglik + 1.0
    frame = pd.DataFrame({"a": x[:, 1], "b": x[:, 2], "t": time, "e": event}).astype(float)
    name, location, shape, sign = module.FITTERS[law]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = getattr(lifelines, name)().fit(frame, "t", "e")
    beta = fit.params_[location].reindex(["Intercept", "a", "b"]).to_numpy()
    log_scale = sign * fit.params_[shape]["Intercept"]
    own = module.LAWS[law]((np.log(time) - x @ beta) / math.exp(log_scale), event)[0].sum()
    own -= event.sum() * log_scale + np.log(time[event]).sum()
    assert fit.log_likelihood_ == pytest.approx(own, rel=1e-12)


def test_a_failure_of_lifelines_does_not_show(
    weeks: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lifelines

    def refuse(*args: Any, **options: Any) -> None:
        raise lifelines.exceptions.ConvergenceError("no")

    whole = fitted(weeks, "log_normal")
    monkeypatch.setattr(lifelines.LogNormalAFTFitter, "fit", refuse)
    again = fitted(weeks, "log_normal")
    assert again.beta == pytest.approx(whole.beta, rel=1e-10)
    assert again.covariance == pytest.approx(whole.covariance, rel=1e-9)


@pytest.mark.parametrize("law", ["extreme_value", "logistic", "normal"])
def test_derivatives_are_those_of_the_value(law: str) -> None:
    u = np.r_[-30.0, np.linspace(-6.0, 5.0, 23)]
    for event in (np.ones(24, dtype=bool), np.zeros(24, dtype=bool)):
        value, first, second = getattr(engine, law)(u, event)
        up, down = (getattr(engine, law)(u + h, event) for h in (1e-5, -1e-5))
        assert first == pytest.approx((up[0] - down[0]) / 2e-5, rel=1e-6, abs=1e-8)
        assert second == pytest.approx((up[1] - down[1]) / 2e-5, rel=1e-6, abs=1e-8)
        assert np.isfinite(value).all()
        assert (second <= 0.0).all()


@pytest.mark.parametrize(
    ("law", "name"), [("extreme_value", "gumbel_l"), ("logistic", "logistic"), ("normal", "norm")]
)
def test_values_are_the_laws_of_scipy(law: str, name: str) -> None:
    from scipy import stats

    u = np.linspace(-8.0, 3.0, 12)
    known, own = getattr(stats, name), getattr(engine, law)
    assert own(u, np.ones(12, dtype=bool))[0] == pytest.approx(known.logpdf(u), rel=1e-12)
    assert own(u, np.zeros(12, dtype=bool))[0] == pytest.approx(known.logsf(u), rel=1e-9)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.usefixtures("without_lifelines")
def test_unit_of_time_shifts_only_the_intercept(weeks: pd.DataFrame, law: Any) -> None:
    plain = fitted(weeks, law)
    for factor in (7.0, 1e-9, 1e12):
        moved = fitted(weeks.assign(WEEK=weeks["WEEK"] * factor), law)
        assert moved.beta[0] == pytest.approx(plain.beta[0] + math.log(factor), rel=1e-9)
        assert moved.beta[1:] == pytest.approx(plain.beta[1:], rel=1e-8)
        assert moved.joint_covariance == pytest.approx(plain.joint_covariance, rel=1e-7)
        assert moved.sigma == pytest.approx(plain.sigma, rel=1e-10)
        gap = plain.n_events * math.log(factor)
        assert moved.loglik == pytest.approx(plain.loglik - gap, rel=1e-11)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.usefixtures("without_lifelines")
def test_row_order_units_and_reference_level_do_not_matter(weeks: pd.DataFrame, law: Any) -> None:
    plain = fitted(weeks, law)
    shuffled = fitted(weeks.sample(frac=1.0, random_state=4), law)
    assert shuffled.beta == pytest.approx(plain.beta, rel=1e-9)
    other = weeks.assign(AGE=weeks["AGE"] * 1e6)
    ours, theirs = (fitted(data, law).time_ratio("AGE") for data in (weeks, other))
    for name in ("statistic", "p"):
        assert theirs[name].tolist() == pytest.approx(ours[name].tolist(), rel=1e-8)
    levels = ["High", "Low", "Control"]
    arms = pd.Categorical(weeks["TRT01P"].astype(str), categories=levels)
    turned = fitted(weeks.assign(TRT01P=arms), law)
    assert turned.loglik == pytest.approx(plain.loglik, rel=1e-12)
    numbers = ["estimate", "se", "p", "lower", "upper"]
    for reference in levels:
        both = [
            f.time_ratio("TRT01P", reference=reference).set_index("TRT01P")[numbers]
            for f in (plain, turned)
        ]
        pd.testing.assert_frame_equal(both[0].sort_index(), both[1].sort_index(), rtol=1e-8)


@pytest.mark.usefixtures("without_lifelines")
def test_time_ratio_is_the_exponential_of_its_coefficient(weeks: pd.DataFrame) -> None:
    fit = fitted(weeks, "log_logistic")
    numbers = ["estimate", "lower", "upper", "se"]
    log, arms = fit.coefficients, fit.time_ratio("TRT01P", reference="Control")
    wanted = log.loc[log["term"] == "TRT01P[T.High]", numbers].to_numpy(dtype=float)[0]
    got = arms.loc[arms["TRT01P"] == "High", numbers].to_numpy(dtype=float)[0]
    assert got[:3] == pytest.approx(np.exp(wanted[:3]), rel=1e-12)
    assert got[3] == pytest.approx(wanted[3], rel=1e-12)
    age = log.loc[log["term"] == "AGE", numbers].to_numpy(dtype=float)[0]
    wide = fit.time_ratio("AGE", level=0.99)[numbers].to_numpy(dtype=float)[0]
    assert wide[0] == pytest.approx(math.exp(age[0]), rel=1e-12)
    assert wide[2] > math.exp(age[2])
    for name in ("TRT01P", "TRT01P[T.High]", "HEIGHT", "Intercept"):
        with pytest.raises(UsageError, match="reference"):
            fit.time_ratio(name)
    with pytest.raises(UsageError, match="not a level"):
        fit.time_ratio("TRT01P", reference="Medium")


def test_a_log_linear_model_without_censoring_is_least_squares() -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=60)
    data = pd.DataFrame({"x": x, "t": np.exp(1.0 + 0.4 * x + rng.normal(size=60)), "e": 1})
    fit = aft("~ x", data, time="t", event="e", distribution="log_normal")
    design = np.column_stack([np.ones(60), x])
    beta, rest = np.linalg.lstsq(design, np.log(data["t"]), rcond=None)[:2]
    assert fit.beta == pytest.approx(beta, rel=1e-10)
    assert fit.sigma == pytest.approx(math.sqrt(rest[0] / 60), rel=1e-10)
    spread = np.linalg.inv(design.T @ design) * fit.sigma**2
    assert fit.covariance == pytest.approx(spread, rel=1e-8)
    assert fit.scale["se"].item() == pytest.approx(1.0 / math.sqrt(120), rel=1e-8)


def test_exponential_rates_are_events_over_time(weeks: pd.DataFrame) -> None:
    fit = fitted(weeks, "exponential", FORMS["arm"])
    sums = weeks.groupby("TRT01P", observed=True)[["EVENT", "WEEK"]].sum()
    mean = sums["WEEK"] / sums["EVENT"]
    got = fit.means("TRT01P")["estimate"].to_numpy(dtype=float)
    assert np.exp(got) == pytest.approx(mean.to_numpy(), rel=1e-12)
    low = fit.contrast("TRT01P", reference="Control")["se"].iloc[0]
    wanted = math.sqrt(1 / sums["EVENT"]["Low"] + 1 / sums["EVENT"]["Control"])
    assert low == pytest.approx(wanted, rel=1e-10)
    assert fit.scale.empty
    assert (fit.sigma, fit.n_parameters) == (1.0, 3)


@pytest.mark.usefixtures("without_lifelines")
def test_weibull_hazards_are_proportional_and_near_cox() -> None:
    rng = np.random.default_rng(2)
    n = 1200
    arm = rng.permutation(np.repeat(["a", "b"], n // 2))
    time = 10.0 * np.exp(0.5 * (arm == "b")) * rng.weibull(1.6, n)
    end = rng.uniform(5.0, 30.0, n)
    data = pd.DataFrame({"t": np.minimum(time, end), "e": time <= end, "arm": arm})
    fit = aft("~ arm", data, time="t", event="e")
    hazard = cox("~ arm", data, time="t", event="e").coefficients.iloc[0]
    assert -fit.beta[1] / fit.sigma == pytest.approx(hazard["estimate"], abs=0.2 * hazard["se"])
    assert fit.beta[1] == pytest.approx(0.5, abs=4 * math.sqrt(fit.covariance[1, 1]))
    better = [
        aft("~ arm", data, time="t", event="e", distribution=law).aic
        for law in ("log_normal", "log_logistic", "exponential")
    ]
    assert fit.aic < min(better)


@pytest.mark.parametrize("law", LAWS)
def test_no_event_fails(weeks: pd.DataFrame, law: Any) -> None:
    fit = aft("~ TRT01P", weeks.assign(EVENT=0), time="WEEK", event="EVENT", distribution=law)
    assert fit.failed == NO_EVENT
    assert not fit.converged
    tables = (fit.coefficients, fit.scale, fit.time_ratio("TRT01P", reference="Low"))
    assert all(table.empty for table in tables)
    assert math.isnan(fit.sigma)
    assert math.isnan(fit.aic)
    assert "failed" in fit.summary()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("arm", ["Control", "High"])
def test_an_arm_without_an_event_is_named(weeks: pd.DataFrame, law: Any, arm: str) -> None:
    data = weeks.assign(EVENT=weeks["EVENT"] * (weeks["TRT01P"] != arm))
    fit = aft(FORMS["main"], data, time="WEEK", event="EVENT", distribution=law)
    assert fit.failed == f"{RUNAWAY}: no event where TRT01P = {arm!r}"
    assert fit.time_ratio("AGE").empty


@pytest.mark.usefixtures("without_lifelines")
def test_a_covariate_that_separates_the_events_is_named() -> None:
    data = pd.DataFrame({"t": [3.0, 5, 4, 8, 9, 7], "e": [1, 1, 1, 0, 0, 0]})
    data["z"] = [0.0, 0, 0, 1, 2, 3]
    fit = aft("~ z", data, time="t", event="e")
    assert fit.failed == f"{RUNAWAY} (z)"
    data["z"] = [0.0, 0, 0, 1, -2, 3]  # events stand still, censored rows pull both ways
    assert aft("~ z", data, time="t", event="e").failed is None


@pytest.mark.parametrize(
    ("rows", "formula"),
    [
        ({"t": [4.0], "e": [1], "x": [1.0]}, "~ 1"),
        ({"t": [4.0, 4, 4], "e": [1, 1, 1], "x": [1.0, 2, 4]}, "~ 1"),
        ({"t": [4.0, 2, 4], "e": [1, 0, 1], "x": [1.0, 2, 4]}, "~ 1"),
        ({"t": [1.0, 2, 4], "e": [1, 1, 1], "x": [1.0, 2, 3]}, "~ x"),
        ({"t": [4.0, 2, 1], "e": [1, 0, 0], "x": [1.0, 2, 3]}, "~ 1"),
    ],
)
@pytest.mark.parametrize("law", LAWS[:3])
def test_events_fitted_exactly_fail(rows: dict[str, Any], formula: str, law: Any) -> None:
    fit = aft(formula, pd.DataFrame(rows), time="t", event="e", distribution=law)
    assert fit.failed == EXACT
    assert fit.coefficients.empty
    rate = aft("~ 1", pd.DataFrame(rows), time="t", event="e", distribution="exponential")
    wanted = math.log(sum(rows["t"]) / sum(rows["e"]))
    assert rate.beta[0] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.usefixtures("without_lifelines")
def test_one_event_before_a_censored_row_has_a_maximum() -> None:
    data = pd.DataFrame({"t": [2.0, 2.0, 4.0], "e": [1, 1, 0]})
    for law in LAWS[:3]:
        fit = aft("~ 1", data, time="t", event="e", distribution=law)  # type: ignore[arg-type]
        assert fit.failed is None
        assert 0.0 < fit.sigma < 10.0


@pytest.mark.usefixtures("without_lifelines")
def test_constant_and_collinear_covariates_are_dropped_and_named(weeks: pd.DataFrame) -> None:
    data = weeks.assign(SAME=3.0, AGAIN=weeks["AGE"] * 12.0 + 1.0)
    fit = fitted(data, "weibull", f"{FORMS['main']} + SAME + AGAIN")
    assert fit.notes == ["dropped as combinations of other columns: SAME, AGAIN"]
    assert fit.beta == pytest.approx(fitted(weeks, "weibull").beta, rel=1e-8)
    with pytest.raises(UsageError, match="SAME"):
        fit.time_ratio("SAME")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"t": [0.0, 2, 0, 4]}, r"zero in 2 rows \(positions 0, 2\)"),
        ({"t": [-1.0, 2, 3, 4]}, "negative"),
        ({"t": [np.inf, 2, 3, 4]}, "infinite"),
        ({"t": list("abcd")}, "not numeric"),
        ({"e": [2, 0, 1, 1]}, "other than 0 and 1"),
        ({"e": list("abcd")}, "not numeric"),
        ({"x": [np.inf, 2, 3, 4]}, "infinite"),
        ({"g": list("aaaa")}, "only the level"),
        ({"t": [np.nan] * 4}, "complete"),
    ],
)
def test_bad_input_is_refused(change: dict[str, list[Any]], word: str) -> None:
    good = {"t": [1.0, 2, 3, 4], "e": [1, 0, 1, 1], "g": list("aabb"), "x": [1.0, 3, 2, 5]}
    with pytest.raises(UsageError, match=word) as caught:
        aft("~ g + x", pd.DataFrame({**good, **change}), time="t", event="e")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"distribution": "gamma"}, "gamma"),
        ({"formula": "~ 0 + TRT01P"}, "intercept"),
        ({"formula": "~ NOWHERE"}, "NOWHERE"),
        ({"time": "NOWHERE"}, "NOWHERE"),
    ],
)
def test_impossible_options_are_refused(
    weeks: pd.DataFrame, options: dict[str, Any], word: str
) -> None:
    given_options = {"formula": "~ TRT01P", "time": "WEEK", "event": "EVENT", **options}
    with pytest.raises(UsageError, match=word):
        aft(given_options.pop("formula"), weeks, **given_options)


def test_nothing_is_printed_or_warned(
    weeks: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fitted(weeks, "log_logistic")
    assert capfd.readouterr() == ("", "")
    assert "log-likelihood" in fit.summary()
    assert "AIC" in fit._repr_html_()
    assert (fit.n, fit.n_missing, fit.n_subjects) == (140, 10, 140)
    again = fitted(weeks, "log_logistic")
    assert again.beta.tobytes() == fit.beta.tobytes()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    arms=st.integers(2, 4),
    share=st.floats(0.0, 1.0),
    tied=st.booleans(),
    law=st.sampled_from(LAWS),
)
def test_random_designs_give_numbers_or_a_reason(
    seed: int, n: int, arms: int, share: float, tied: bool, law: Any
) -> None:
    rng = np.random.default_rng(seed)
    time = rng.weibull(0.8, n) * 20.0 + 1e-3
    data = pd.DataFrame({"t": np.ceil(time / 8.0) if tied else time})
    data["e"] = rng.random(n) < share
    data["g"] = pd.Categorical(rng.choice(list("abcd")[:arms], n))
    data["x"] = np.where(rng.random(n) < 0.15, np.nan, rng.normal(size=n))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(module, "lifelines_place", lambda problem, distribution: None)
        warnings.simplefilter("error")
        try:
            fit = aft("~ g + x", data, time="t", event="e", distribution=law)
        except UsageError:
            return
    if fit.failed is not None:
        assert fit.failed == NO_EVENT or fit.failed.startswith((RUNAWAY, EXACT))
        assert fit.coefficients.empty
        return
    table = fit.coefficients
    numbers = table[["estimate", "se", "statistic", "p", "lower", "upper"]].to_numpy()
    assert np.isfinite(numbers).all()
    assert (table["se"] > 0.0).all()
    assert table["p"].between(0.0, 1.0).all()
    assert 0.0 < fit.sigma < math.inf
    assert math.isfinite(fit.aic)


@pytest.mark.parametrize("seed", range(30))
def test_without_a_maximum_the_likelihood_never_falls_along_the_direction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 14
    x = np.column_stack([np.ones(n), rng.integers(0, 2, (n, 2)), rng.normal(size=n)])
    event = rng.random(n) < 0.3
    event[0] = True
    problem = engine.LocationScale(rng.weibull(1.0, n) + 0.1, event, x, engine.logistic)
    found = engine.recession(problem)
    best = engine.maximise(problem)
    if found is None:
        assert best is not None
        assert np.abs(best.score).max() < 1e-6
    elif not found[0]:
        step = np.append(np.linalg.solve(problem.back, found[1]), 0.0)
        assert np.abs(problem.z[event] @ step).max() < 1e-9
        begin = problem.start()
        climb = [problem.evaluate(begin + far * step).loglik for far in (0.0, 1.0, 10.0, 100.0)]
        assert (np.diff(climb) >= 0.0).all()
        assert climb[-1] > climb[0]
