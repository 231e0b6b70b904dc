"""Limits of agreement and measurement error against R, formulas and identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import bland_altman, measurement_error
from trialkit.methods.instruments._noncentral import tolerance_factor

ORACLE = Path(__file__).parents[2] / "oracles" / "agreement"
R = "R 4.2.2, tests/oracles/agreement"
KEYS = {"subject": "USUBJID", "rater": "RATER", "value": "SCORE"}

mpl.use("Agg")


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "key", "value"]
    return pd.read_csv(ORACLE / "oracle.txt", header=None, names=names, dtype={"key": str})


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return pd.read_csv(ORACLE / "pairs.csv")


def one_each(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.dropna().drop_duplicates("USUBJID")


def numbers(oracle: pd.DataFrame, fit: str) -> dict[str, float]:
    rows = oracle[oracle["fit"] == fit]
    return dict(zip(rows["quantity"], rows["value"], strict=True))


def test_limits_equal_r(
    compare: Callable[..., float], oracle: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    want, data = numbers(oracle, "ba"), one_each(pairs)
    fit = bland_altman(data["WALKWAY"], data["STOPWATCH"])
    table = fit.table.set_index("quantity")
    names = ["bias", "lower_limit", "upper_limit"]
    got = [*table.loc[names, "estimate"], fit.sd, *table.loc["bias", ["lower", "upper"]]]
    expected = [want[k] for k in (*names, "sd", "bias_lower", "bias_upper")]
    compare("bland_altman", "95 % limits", R, "bias, limits, SD", got, expected, rel=1e-10)
    ends = [
        want["bias"] + sign * want[f"exact_{end}"] * want["sd"]
        for sign, end in ((-1, "outer"), (-1, "inner"), (1, "inner"), (1, "outer"))
    ]
    got = table.loc[["lower_limit", "upper_limit"], ["lower", "upper"]].to_numpy().ravel()
    compare("bland_altman", "exact (noncentral t)", R, "limits' intervals", got, ends, rel=1e-8)
    slope = fit.proportional.iloc[0]
    got = [slope["estimate"], slope["se"], slope["p"]]
    expected = [want[k] for k in ("slope", "slope_se", "slope_p")]
    compare("bland_altman", "proportional bias", "R 4.2.2 lm", "slope", got, expected, rel=1e-8)


def test_other_intervals_equal_r(
    compare: Callable[..., float], oracle: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    want, data = numbers(oracle, "ba"), one_each(pairs)
    x, y = data["WALKWAY"], data["STOPWATCH"]
    table = bland_altman(x, y, interval="approximate").table.set_index("quantity")
    got = table.loc["upper_limit", "se"]
    variant = "approximate (Bland-Altman 1999)"
    compare("bland_altman", variant, R, "SE of a limit", got, want["approximate_se"], rel=1e-12)
    table = bland_altman(x, y, interval="exact_pair").table.set_index("quantity")
    got = (table.loc["upper_limit", ["lower", "upper"]].to_numpy(float) - want["bias"]) / want["sd"]
    expected = [want["pair_inner"], want["pair_outer"]]
    variant = "exact, both limits together"
    compare("bland_altman", variant, R, "tolerance factors", got, expected, rel=1e-6)


def test_tolerance_factor_of_a_printed_table() -> None:
    """n = 20, 95 % of the population with 95 % confidence: 2.760 (exact two-sided factor)."""
    assert tolerance_factor(0.95, 20, 0.95) == pytest.approx(2.760, abs=5e-4)


def test_repeated_pairs_equal_r(
    compare: Callable[..., float], oracle: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    want = numbers(oracle, "rep")
    fit = bland_altman(pairs["WALKWAY"], pairs["STOPWATCH"], subject=pairs["USUBJID"])
    top = fit.table.set_index("quantity").loc["upper_limit"]
    bias = fit.table["estimate"].iloc[0]
    got = [bias, fit.sd, top["estimate"], top["lower"], top["upper"]]
    expected = [want[k] for k in ("bias", "sd", "upper_limit", "upper_lower", "upper_upper")]
    compare(
        "bland_altman", "repeated pairs, MOVER", R, "limits, intervals", got, expected, rel=1e-10
    )
    assert (fit.n, fit.n_subjects, fit.n_missing) == (len(pairs) - 2, 22, 2)
    assert fit.proportional.empty
    whole = pairs.dropna()
    size = whole.groupby("USUBJID")["VISIT"].transform("size")
    two = whole[size >= 2].groupby("USUBJID").head(2)
    again = bland_altman(two["WALKWAY"], two["STOPWATCH"], subject=two["USUBJID"])
    want = numbers(oracle, "ba2007")
    got = [again.sd, again.table["estimate"].iloc[0]]
    oracle_name = "R 4.2.2 aov, balanced pairs"
    variant = "repeated pairs (Bland-Altman 2007)"
    compare(
        "bland_altman", variant, oracle_name, "SD, bias", got, [want["sd"], want["bias"]], rel=1e-10
    )


def test_one_pair_each_with_subjects_is_the_plain_analysis(pairs: pd.DataFrame) -> None:
    data = one_each(pairs)
    plain = bland_altman(data["WALKWAY"], data["STOPWATCH"])
    named = bland_altman(data["WALKWAY"], data["STOPWATCH"], subject=data["USUBJID"])
    assert named.sd == pytest.approx(plain.sd, rel=1e-12)
    assert named.table["estimate"].to_numpy() == pytest.approx(plain.table["estimate"].to_numpy())
    assert named.table["lower"].iloc[0] == pytest.approx(plain.table["lower"].iloc[0])


def test_limits_turn_with_the_order_and_scale_with_units(pairs: pd.DataFrame) -> None:
    x, y = pairs["WALKWAY"], pairs["STOPWATCH"]
    plain, turned = bland_altman(x, y).table, bland_altman(100.0 * y, 100.0 * x).table
    assert turned["estimate"].to_numpy()[[0, 2, 1]] == pytest.approx(
        -100.0 * plain["estimate"].to_numpy(), rel=1e-9
    )
    assert turned["lower"].to_numpy()[[0, 2, 1]] == pytest.approx(
        -100.0 * plain["upper"].to_numpy(), rel=1e-9
    )


@pytest.mark.slow
def test_exact_intervals_cover_the_limits() -> None:
    rng = np.random.default_rng(20260804)
    runs, n, hit = 5000, 12, 0
    plain = bland_altman(np.arange(12.0) ** 1.5, np.zeros(12)).table.iloc[2]
    mean, sd = (np.arange(12.0) ** 1.5).mean(), (np.arange(12.0) ** 1.5).std(ddof=1)
    inner, outer = (plain["lower"] - mean) / sd, (plain["upper"] - mean) / sd
    for _ in range(runs):
        d = rng.normal(0.0, 1.0, n)
        low, high = d.mean() + inner * d.std(ddof=1), d.mean() + outer * d.std(ddof=1)
        hit += low <= 1.959963984540054 <= high
    error = math.sqrt(0.95 * 0.05 / runs)
    print(f"coverage {hit / runs:.4f}, Monte Carlo error {error:.4f}")
    assert abs(hit / runs - 0.95) < 4 * error


def test_limits_that_cannot_be_had_say_why() -> None:
    for x, y, word in (
        ([1.0, 2.0], [1.0, 3.0], "do not suffice"),
        ([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5], "do not vary"),
        ([np.nan] * 4, [1.0] * 4, "do not suffice"),
    ):
        fit = bland_altman(x, y)
        assert fit.failed is not None
        assert word in fit.failed
        assert fit.table.empty
        assert fit.proportional.empty
        assert word in fit.summary()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"interval": "bootstrap"}, "interval"),
        ({"agreement": 1.0}, "share"),
        ({"subject": ["a"]}, "length"),
        ({"x": [1.0, np.inf, 2.0]}, "infinite"),
        ({"x": ["a", "b", "c"]}, "not numbers"),
        ({"x": [1.0, 2.0]}, "length"),
    ],
)
def test_bad_pairs_are_refused(options: dict[str, Any], word: str) -> None:
    given_values: dict[str, Any] = {"x": [1.0, 2.0, 4.0], "y": [1.5, 2.0, 3.0]} | options
    with pytest.raises(UsageError, match=word):
        bland_altman(**given_values)


def test_the_figure_shows_pairs_and_limits(pairs: pd.DataFrame) -> None:
    fit = bland_altman(pairs["WALKWAY"], pairs["STOPWATCH"])
    ax = fit.plot()
    assert len(ax.lines[0].get_xdata()) == fit.n
    heights = sorted(float(line.get_ydata()[0]) for line in ax.lines[1:])
    assert heights == pytest.approx(sorted(fit.table["estimate"]))
    assert "limits of agreement" in fit.summary()
    mpl.pyplot.close(ax.figure)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=12), st.booleans())
def test_any_pairs_give_numbers_or_a_reason(
    values: list[tuple[float, float]], repeated: bool
) -> None:
    x, y = [v[0] for v in values], [v[1] for v in values]
    fit = bland_altman(x, y, subject=[i // 2 for i in range(len(x))] if repeated else None)
    if fit.failed is None:
        table = fit.table
        assert np.isfinite(table[["estimate", "lower", "upper"]].to_numpy()).all()
        assert (table["lower"] <= table["estimate"]).all()
        assert fit.sd > 0
        assert fit.proportional["p"].between(0, 1).all()
    else:
        assert fit.table.empty


def test_measurement_error_equals_aov(compare: Callable[..., float], oracle: pd.DataFrame) -> None:
    want = numbers(oracle, "sem")
    fit = measurement_error(pd.read_csv(ORACLE / "ratings.csv"), **KEYS)
    rows = fit.table.set_index("quantity")
    ends = rows.loc["SEM_consistency", ["lower", "upper"]]
    got = [
        *fit.variance["mean_square"],
        fit.value("SEM_consistency"),
        fit.value("SEM_agreement"),
        fit.sd,
        fit.value("MDC95_consistency"),
        fit.value("MDC90_agreement"),
        *ends,
    ]
    expected = [
        want[k]
        for k in (
            "ms_subject",
            "ms_rater",
            "ms_residual",
            "consistency",
            "agreement",
            "sd",
            "mdc95_consistency",
            "mdc90_agreement",
            "consistency_lower",
            "consistency_upper",
        )
    ]
    compare(
        "measurement_error", "SEM, MDC", "R 4.2.2 aov, own data", "all", got, expected, rel=1e-11
    )
    icc = fit.value("ICC(A,1)")
    assert fit.value("SEM_icc") == pytest.approx(fit.sd * math.sqrt(1 - icc), rel=1e-12)
    assert (rows["lower"].dropna() < rows["estimate"][rows["lower"].notna()]).all()
    assert (fit.n, fit.n_raters, fit.n_missing) == (23, 4, 3)


def test_two_occasions_are_the_spread_of_differences(pairs: pd.DataFrame) -> None:
    """With two raters the SEM for consistency is SD(differences) / sqrt 2 (Bland and Altman)."""
    ratings = pd.read_csv(ORACLE / "ratings.csv")
    two = ratings[ratings["RATER"].isin(["B", "C"])]
    wide = two.pivot(index="USUBJID", columns="RATER", values="SCORE")
    fit = measurement_error(two, **KEYS)
    spread = (wide["B"] - wide["C"]).std(ddof=1)
    assert fit.value("SEM_consistency") == pytest.approx(spread / math.sqrt(2), rel=1e-12)
    limits = bland_altman(wide["B"], wide["C"])
    half = (limits.table["estimate"].iloc[2] - limits.table["estimate"].iloc[1]) / 2
    assert fit.value("MDC95_consistency") == pytest.approx(half, rel=1e-10)


def test_measurement_error_that_cannot_be_had_says_why() -> None:
    ratings = pd.read_csv(ORACLE / "ratings.csv")
    few = measurement_error(ratings[ratings["USUBJID"] < "S03"], **KEYS)
    assert few.failed is not None
    assert "do not suffice" in few.failed
    flat = measurement_error(ratings.assign(SCORE=3.0), **KEYS)
    assert flat.failed is not None
    assert "agree without error" in flat.failed
    assert flat.table.empty
    assert math.isnan(flat.value("SEM_icc"))
    with pytest.raises(UsageError, match="two values"):
        measurement_error(pd.concat([ratings, ratings.iloc[:1]]), **KEYS)
    with pytest.raises(UsageError, match="not available"):
        measurement_error(ratings, **KEYS, icc="ICC(2,k)")
    with pytest.raises(UsageError, match="not in the table"):
        measurement_error(ratings, **KEYS).value("SEM")
