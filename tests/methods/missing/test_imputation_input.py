"""What an imputation must keep to: units, order, labels, bad input, failed states, frames."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import ancova, binary, mmrm, negative_binomial
from trialkit.methods.missing.imputation import Imputation
from trialkit.methods.missing.impute import impute

VISITS = ["Week 4", "Week 8", "Week 12"]
FORMULA = "Y ~ B + ARM"


def trial(
    n: int = 30, seed: int = 1, lost: float = 0.25, arms: tuple[str, ...] = ("U", "R")
) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    base = random.normal(size=n)
    y = random.normal(size=(n, 1)) + 0.7 * random.normal(size=(n, 3)) + 0.5 * base[:, None]
    stop = np.where(random.random(n) < lost, random.integers(1, 3, n), 3)
    y[np.arange(3) >= stop[:, None]] = np.nan
    return pd.DataFrame(
        {
            "ID": np.repeat([f"P{i:03d}" for i in range(n)], 3),
            "V": np.tile(VISITS, n),
            "ARM": np.repeat(np.array(arms)[np.arange(n) % len(arms)], 3),
            "B": np.repeat(base, 3),
            "SITE": np.repeat(np.where(random.random(n) < 0.5, "A", "B"), 3),
            "Y": y.ravel(),
        }
    )  # fmt: skip


def run(data: pd.DataFrame, **changes: Any) -> Imputation:
    options: dict[str, Any] = {
        "outcome": "Y", "subject": "ID", "visit": "V", "group": "ARM", "covariates": ["B*V"],
        "ice": "dropout", "strategy": "j2r", "reference": "U",
    }  # fmt: skip
    return impute(data, **{**options, **changes})


def numbers(imp: Imputation, formula: str = FORMULA, **options: Any) -> np.ndarray:
    done = imp.pool(ancova, formula, at="Week 12", **options)
    assert done.failed is None, done.failed
    return np.asarray(done.table[["estimate", "se", "p"]].to_numpy()[0])


def test_units_rows_and_labels_do_not_matter() -> None:
    data = trial()
    want = numbers(run(data))
    scaled = numbers(run(data.assign(Y=250.0 * data["Y"] - 9.0, B=1e-4 * data["B"])))
    np.testing.assert_allclose(scaled / [250.0, 250.0, 1.0], want, rtol=1e-6)
    shuffled = numbers(run(data.sample(frac=1.0, random_state=5)))
    np.testing.assert_allclose(shuffled, want, rtol=1e-9)
    dropped = numbers(run(data.dropna(subset=["Y"])))
    np.testing.assert_allclose(dropped, want, rtol=1e-9)
    labels = numbers(run(data.replace({"ARM": {"U": "zz", "R": "aa"}}), reference="zz"))
    np.testing.assert_allclose(labels, want, rtol=1e-7)
    names = data.replace({"ID": {s: f"x{1000 - i}" for i, s in enumerate(data["ID"].unique())}})
    np.testing.assert_allclose(numbers(run(names)), want, rtol=1e-7)
    renamed = data.rename(columns={"Y": "change m/s", "ARM": "TRT 01", "V": "A VISIT"})
    again = impute(
        renamed, outcome="change m/s", subject="ID", visit="A VISIT", group="TRT 01",
        covariates=["B*`A VISIT`"], ice="dropout", strategy="j2r", reference="U",
    ).pool(ancova, "`change m/s` ~ B + `TRT 01`", at="Week 12")  # fmt: skip
    np.testing.assert_allclose(again.table["estimate"][0], want[0], rtol=1e-7)


def test_the_other_reference_turns_the_sign() -> None:
    data = trial()
    mar = run(data, ice=None, strategy="mar")
    one = numbers(mar, reference="U")
    two = numbers(mar, reference="R")
    np.testing.assert_allclose(one * [-1, 1, 1], two, rtol=1e-9)


def test_visits_are_taken_in_time() -> None:
    """Week 12 comes after Week 8, whatever the alphabet says."""
    imp = run(trial())
    assert imp.trial.visits == ("Week 4", "Week 8", "Week 12")
    data = trial().assign(
        V=lambda d: d["V"].map(dict(zip(VISITS, ["Start", "Mid", "End"], strict=True)))
    )
    with pytest.raises(UsageError, match="order in time"):
        run(data, covariates=["B"])
    given_ = run(data, visits=["Start", "Mid", "End"])
    np.testing.assert_allclose(given_.values, imp.values, rtol=1e-9)
    ordered = pd.Categorical(data["V"], ["Start", "Mid", "End"], ordered=True)
    np.testing.assert_allclose(run(data.assign(V=ordered)).values, imp.values, rtol=1e-9)
    numbers_ = data.assign(V=data["V"].map({"Start": 4, "Mid": 8, "End": 12}))
    np.testing.assert_allclose(run(numbers_).values, imp.values, rtol=1e-9)


def test_slow_and_fast_analyses_agree() -> None:
    """An ANCOVA through a function of one's own takes the general path."""

    def mine(formula: str, data: pd.DataFrame) -> Any:
        return ancova(formula, data)

    formula = "Y ~ B*ARM + SITE"
    for method, inference in (
        ("conditional_mean", "jackknife"),
        ("conditional_mean", "bootstrap"),
        ("conditional_mean", "bootstrap_percentile"),
        ("conditional_mean", "jackknife_anchored"),
        ("bayes", "rubin"),
    ):
        imp = run(trial(24), method=method, n=5, seed=1)
        options: dict[str, Any] = {"at": "Week 12", "inference": inference, "resamples": 25}
        options["seed"] = 4
        fast = imp.pool(ancova, formula, **options)
        slow = imp.pool(mine, formula, **options)
        assert fast.failed is None
        columns = [c for c in fast.table.columns if c not in ("ARM", "reference")]
        np.testing.assert_allclose(
            slow.table[columns].to_numpy(float), fast.table[columns].to_numpy(float), rtol=1e-7
        )
        assert fast.n == slow.n == 24
        assert len(fast.lsmeans) == 2


def test_intervals_of_the_bootstrap() -> None:
    imp = run(trial(40))
    with pytest.raises(UsageError, match="random numbers"):
        imp.pool(ancova, FORMULA, at="Week 12", inference="bootstrap")
    options: dict[str, Any] = {"at": "Week 12", "resamples": 200, "seed": 3}
    one = imp.pool(ancova, FORMULA, inference="bootstrap", **options)
    two = imp.pool(ancova, FORMULA, inference="bootstrap_percentile", **options)
    jack = imp.pool(ancova, FORMULA, at="Week 12")
    assert one.table["se"][0] == two.table["se"][0]
    assert abs(one.table["se"][0] / jack.table["se"][0] - 1.0) < 0.25
    assert any("Monte Carlo standard error" in note for note in one.notes)
    assert one.precision["mc_se"][0] == pytest.approx(one.table["se"][0] / np.sqrt(398.0))
    assert (two.table["lower"] < two.table["estimate"]).all()
    assert (two.table["estimate"] < two.table["upper"]).all()
    again = imp.pool(ancova, FORMULA, inference="bootstrap", **options)
    assert again.table.equals(one.table)
    assert one.n_resamples == 200
    strata = run(trial(40), strata=["ARM", "SITE"])
    done = strata.pool(ancova, FORMULA, inference="bootstrap", **options)
    assert done.table["se"][0] != one.table["se"][0]


def test_completed_frames() -> None:
    data = trial()
    imp = run(data, method="bayes", n=3, seed=2)
    frames = list(imp.frames())
    assert len(frames) == 3
    for frame in frames:
        assert not frame["Y"].isna().any()
        assert len(frame) == 90
        seen = frame[~frame["imputed"]].merge(data, on=["ID", "V"], suffixes=("", "_was"))
        np.testing.assert_array_equal(seen["Y"], seen["Y_was"])
    assert (frames[0]["Y"] != frames[1]["Y"]).sum() == imp.n_missing
    counts = imp.n_imputed
    assert counts["imputed"].sum() == imp.n_missing == int(data["Y"].isna().sum())
    assert set(counts["ARM"]) == {"U", "R"}
    with pytest.raises(UsageError, match="no imputation 3"):
        imp.completed(3)
    assert "values imputed" in imp.summary()
    assert "<table" in imp._repr_html_()
    assert len(imp.coefficients) == len(imp.imputer.model.design.names)


def test_analyses_other_than_ancova() -> None:
    data = trial(32)
    imp = run(data, method="bayes", n=4, seed=2, burn_in=8)

    def responder(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(
            R=(frame["Y"] > 0.0).astype(float), N=frame["Y"].mul(2).round().clip(lower=0.0)
        )

    rd = imp.pool(
        binary, "R ~ ARM", at="Week 12", transform=responder, estimate="standardised",
        estimate_options={"measure": "difference"},
    )  # fmt: skip
    rates = [
        f[f["V"] == "Week 12"].assign(R=lambda d: d["Y"] > 0).groupby("ARM")["R"].mean()
        for f in imp.frames()
    ]
    want = np.mean([r["R"] - r["U"] for r in rates])
    np.testing.assert_allclose(rd.table["estimate"][0], want, rtol=1e-7)
    ratio = imp.pool(binary, "R ~ ARM", at="Week 12", transform=responder, estimate="odds_ratio")
    log = imp.pool(binary, "R ~ ARM", at="Week 12", transform=responder)
    np.testing.assert_allclose(np.log(ratio.table["estimate"]), log.table["estimate"])
    np.testing.assert_allclose(np.log(ratio.table["upper"]), log.table["upper"])
    counts = imp.pool(
        negative_binomial, "N ~ ARM", at="Week 12", transform=responder, estimate="rate_ratio"
    )
    assert counts.failed is None
    assert counts.table["estimate"][0] > 0.0
    whole = imp.pool(mmrm, "Y ~ B*V + ARM*V", subject="ID", visit="V", by="V")
    assert whole.failed is None
    assert len(whole.table) == 3
    slope = imp.pool(ancova, FORMULA, at="Week 12", term="B")
    assert slope.table["term"].tolist() == ["B"]
    robust = imp.pool(ancova, FORMULA, at="Week 12", adjust="anhecova", arm="ARM")
    assert robust.failed is None
    custom = imp.pool(
        ancova, FORMULA, at="Week 12",
        estimate=lambda fit: fit.coefficients.query("term == 'ARM[T.U]'"),
    )  # fmt: skip
    plain = imp.pool(ancova, FORMULA, at="Week 12", reference="R")
    np.testing.assert_allclose(custom.table["estimate"], plain.table["estimate"])
    conditional = run(data).pool(mmrm, "Y ~ B*V + ARM*V", subject="ID", visit="V", by="V")
    assert conditional.failed is None
    assert conditional.n_resamples == 32


def test_three_arms_and_a_reference_for_each() -> None:
    data = trial(45, arms=("U", "R", "S"))
    imp = run(data, reference={"R": "U", "S": "R", "U": "U"})
    done = imp.pool(ancova, FORMULA, at="Week 12", reference="U")
    assert done.table["ARM"].tolist() == ["R", "S"]
    kept = imp.pool(ancova, FORMULA, at="Week 12", reference="U", keep="S")
    assert kept.table["ARM"].tolist() == ["S"]
    with pytest.raises(UsageError, match="not compared"):
        imp.pool(ancova, FORMULA, at="Week 12", keep="T")
    with pytest.raises(UsageError, match="2 contrasts"):
        imp.tipping(ancova, FORMULA, at="Week 12", deltas={"R": [0, 1]})
    assert imp.tipping(ancova, FORMULA, at="Week 12", deltas={"R": [0, 1]}, keep="R").failed is None


def test_a_level_that_one_participant_carries() -> None:
    """Leaving out the only participant of a site must not stop the jackknife."""
    data = trial(24)
    data.loc[data["ID"] == "P003", "SITE"] = "C"
    data.loc[(data["ID"] == "P003"), "Y"] = [0.1, 0.4, 0.2]
    imp = run(data, covariates=["B*V", "SITE"])
    done = imp.pool(ancova, "Y ~ B + ARM + SITE", at="Week 12")
    assert done.failed is None, done.failed
    gone = run(data[data["ID"] != "P003"], covariates=["B*V", "SITE"])
    less = gone.pool(ancova, "Y ~ B + ARM + SITE", at="Week 12").table["estimate"][0]
    whole = imp.imputer.model.weighted.leave_one_out()
    assert whole.null[3] is not None
    got = imp.imputer.means(whole.gamma[3:4], whole.sigma[3:4])[0]
    want = dict(zip(zip(*key(gone), strict=True), gone.values[0], strict=True))
    for where, value in zip(zip(*key(imp), strict=True), got, strict=True):
        assert value == pytest.approx(want[where], rel=1e-6)
    assert np.isfinite(less)


def key(imp: Imputation) -> tuple[list[Any], list[Any]]:
    rows = imp.trial.frame.iloc[imp.imputer.where]
    return rows["ID"].tolist(), rows["V"].tolist()


FAILING: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "one visit is never seen": (lambda d: d.assign(Y=d["Y"].where(d["V"] != "Week 8")), "Week 8"),
    "an arm without outcomes": (lambda d: d.assign(Y=d["Y"].where(d["ARM"] != "R")), "the arm R"),
    "an arm empty at a visit": (
        lambda d: d.assign(Y=d["Y"].where((d["ARM"] != "U") | (d["V"] != "Week 12"))),
        "cannot be estimated",
    ),
    "a constant outcome": (lambda d: d.assign(Y=d["Y"] * 0.0 + 3.0), "exactly"),
    "visits that repeat each other": (
        lambda d: d.assign(Y=d.groupby("ID")["Y"].transform("first")), "singular",
    ),
    "no outcome at all": (lambda d: d.assign(Y=np.nan), "no outcome was observed"),
    "two participants": (
        lambda d: d[d["ID"].isin(["P000", "P001"])].assign(SITE=lambda e: e["ARM"]), "cannot carry"
    ),
    "a site without outcomes": (
        lambda d: d.assign(
            SITE=d["SITE"].where(d["ID"] != "P002", "C"), Y=d["Y"].where(d["ID"] != "P002")
        ),
        "SITE = C",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.parametrize("method", ["conditional_mean", "bayes", "approximate_bayes"])
def test_data_that_cannot_support_the_model(what: str, method: str) -> None:
    spoil, reason = FAILING[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imp = run(spoil(trial()), covariates=["B*V", "SITE"], method=method, n=3, seed=1)
    assert imp.failed is not None
    assert reason in imp.failed
    assert not imp.converged
    done = imp.pool(ancova, FORMULA, at="Week 12")
    assert done.failed == imp.failed
    assert done.table.empty
    assert "failed" in done.summary()
    assert imp.tipping(ancova, FORMULA, at="Week 12", deltas={"R": [0, 1]}).failed == imp.failed
    with pytest.raises(UsageError, match="failed"):
        imp.completed(0)


def test_an_arm_that_always_drops_out_can_jump() -> None:
    """Reference-based means need no outcome of the arm after the event."""
    data = trial().assign(Y=lambda d: d["Y"].where((d["ARM"] != "R") | (d["V"] != "Week 12")))
    imp = run(data)
    assert imp.failed is None
    assert run(data, strategy="mar").failed is not None
    assert np.isfinite(numbers(imp)).all()


def test_custom_strategies_that_give_nothing_usable() -> None:
    def indefinite(mean: Any, cov: Any, *rest: Any) -> tuple[Any, Any]:
        return mean, -cov

    def nowhere(mean: Any, cov: Any, *rest: Any) -> tuple[Any, Any]:
        return mean * np.nan, cov

    drawn = run(trial(), strategy=indefinite, method="bayes", n=2, seed=1)
    assert drawn.failed is not None
    assert "not positive definite" in drawn.failed
    lost = run(trial(), strategy=nowhere)
    assert lost.failed is not None
    assert "not finite" in lost.failed


def test_analyses_that_fail_say_why() -> None:
    imp = run(trial(), method="bayes", n=3, seed=1)
    flat = imp.pool(
        binary, "R ~ ARM", at="Week 12",
        transform=lambda f: f.assign(R=(f["ARM"] == "R").astype(float)),
    )  # fmt: skip
    assert flat.failed is not None
    assert "imputation 1" in flat.failed
    assert flat.table.empty
    tiny = run(trial()).pool(ancova, "Y ~ C(ID)", at="Week 12", term="B")
    assert tiny.failed is not None


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (lambda d: d.assign(B=d["B"].where(d["ID"] != "P004")), {}, "B is missing in 1 participants"),
    (lambda d: pd.concat([d, d.iloc[[4]]]), {}, "repeat a visit"),
    (lambda d: d, {"strategy": "copy_all"}, "not known"),
    (lambda d: d, {"reference": None}, "No reference arm"),
    (lambda d: d, {"reference": "Q"}, "is not an arm"),
    (lambda d: d, {"ice": None}, "needs the intercurrent events"),
    (lambda d: d, {"ice": "stop"}, "is not known"),
    (lambda d: d, {"ice": 3}, "no table"),
    (lambda d: d, {"ice": pd.DataFrame({"ID": ["P999"], "V": ["Week 8"]})}, "not in the data"),
    (lambda d: d, {"ice": pd.DataFrame({"ID": ["P001"], "V": ["Week 9"]})}, "not in the data"),
    (lambda d: d, {"ice": pd.DataFrame({"ID": ["P001"]})}, "no column 'V'"),
    (
        lambda d: d,
        {"ice": pd.DataFrame({"ID": ["P001"] * 2, "V": ["Week 8", "Week 12"]})},
        "two intercurrent events",
    ),
    (
        lambda d: d,
        {"ice": pd.DataFrame({"ID": ["P001"], "V": ["Week 4"]}), "strategy": "lmcf"},
        "no mean to carry",
    ),
    (lambda d: d.assign(Y=d["Y"].replace(d["Y"].iloc[0], np.inf)), {}, "infinite"),
    (lambda d: d.assign(B=d["B"].replace(d["B"].iloc[0], np.inf)), {}, "infinite"),
    (lambda d: d.assign(Y=d["Y"].astype(str)), {}, "not numeric"),
    (lambda d: d.drop(columns="Y"), {}, "no column 'Y'"),
    (lambda d: d, {"covariates": ["Z"]}, "no column"),
    (lambda d: d.assign(ID=d["ID"].where(d["ID"] != "P004")), {}, "have no ID"),
    (lambda d: d.assign(ARM="U"), {}, "only the level"),
    (lambda d: d[d["V"] == "Week 4"], {}, "only the visit"),
    (lambda d: d.iloc[:0], {}, "no row"),
    (lambda d: d.assign(imputed=1), {}, "Rename|completed frames use"),
    (lambda d: d.assign(ARM=np.where(d.index == 1, "R", d["ARM"])), {}, "more than one level"),
    (lambda d: d, {"visits": ["Week 4", "Week 12"]}, "not among"),
    (lambda d: d, {"visits": [*VISITS, "Week 24"]}, "not in the data"),
    (lambda d: d, {"visits": ["Week 4", "Week 4"]}, "repeats a visit"),
    (lambda d: d, {"strata": ["Z"]}, "no column"),
    (lambda d: d, {"strata": ["V"]}, "changes within"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "options", "message"), BAD, ids=[b[2] + str(i) for i, b in enumerate(BAD)])  # fmt: skip  # noqa: E501
def test_bad_input(spoil: Any, options: dict[str, Any], message: str) -> None:
    data = trial()
    data.loc[data["ID"] == "P001", "ARM"] = "R"
    with pytest.raises(UsageError, match=message):
        run(spoil(data), **options)


def test_bad_analyses() -> None:
    imp = run(trial())
    with pytest.raises(UsageError, match="no visit"):
        imp.pool(ancova, FORMULA, at="Week 13")
    with pytest.raises(UsageError, match="one row a participant"):
        imp.pool(ancova, FORMULA)
    with pytest.raises(UsageError, match="does not fit the method"):
        imp.pool(ancova, FORMULA, at="Week 12", inference="rubin")
    with pytest.raises(UsageError, match="no plausible values"):
        imp.pool(binary, "R ~ ARM", at="Week 12")
    with pytest.raises(UsageError, match="no plausible values"):
        imp.pool(ancova, FORMULA, at="Week 12", transform=lambda f: f)
    with pytest.raises(UsageError, match="no estimate"):
        imp.pool(ancova, FORMULA, at="Week 12", estimate="risk")
    with pytest.raises(UsageError, match="too few"):
        imp.pool(ancova, FORMULA, at="Week 12", inference="bootstrap", seed=1, resamples=2)
    with pytest.raises(UsageError, match="not a level"):
        imp.pool(ancova, FORMULA, at="Week 12", reference="Q")
    drawn = run(trial(), method="bayes", n=2, seed=1)

    def column(frame: pd.DataFrame) -> Any:
        return frame["Y"]

    with pytest.raises(UsageError, match="does not fit the method"):
        drawn.pool(ancova, FORMULA, at="Week 12", inference="jackknife")
    with pytest.raises(UsageError, match="no DataFrame"):
        drawn.pool(ancova, FORMULA, at="Week 12", transform=cast(Any, column))


def test_another_strategy_that_would_change_the_model_is_refused() -> None:
    data = trial()
    seen = data.dropna(subset=["Y"]).query("V == 'Week 12'")["ID"].iloc[0]
    events = pd.DataFrame({"ID": [seen], "V": ["Week 8"]})
    imp = run(data, ice=events)
    assert any("left out of the imputation model" in note for note in imp.notes)
    with pytest.raises(UsageError, match="fitted again"):
        imp.with_strategy("mar")
    assert imp.with_strategy("cr").failed is None
    alone = run(data, ice="dropout", strategy="mar", reference=None)
    with pytest.raises(UsageError, match="No reference"):
        alone.with_strategy("cr")


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(4, 16),
    st.integers(0, 10_000),
    st.floats(0.0, 0.7),
    st.sampled_from(["mar", "j2r", "cr", "cir"]),
    st.sampled_from(["conditional_mean", "bayes"]),
)
def test_any_small_trial(n: int, seed: int, lost: float, strategy: str, method: str) -> None:
    """Numbers, or a failed state with its reason; never NaN, a negative variance, a bad p."""
    data = trial(n, seed, lost)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imp = run(data, covariates=["B"], strategy=strategy, method=method, n=2, seed=1, burn_in=3)
        done = imp.pool(ancova, FORMULA, at="Week 12")
    if done.failed:
        assert done.table.empty
        return
    row = done.table.iloc[0]
    assert np.isfinite([row.estimate, row.se, row.lower, row.upper]).all()
    assert row.se > 0.0
    assert 0.0 <= row.p <= 1.0
    assert row.lower <= row.estimate <= row.upper
    for frame in imp.frames():
        assert np.isfinite(frame["Y"]).all()
