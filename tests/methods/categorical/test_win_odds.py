"""Wins against a loop over all pairs in R, scipy, and a case worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trialkit.errors import UsageError
from trialkit.methods import win_odds

Compare = Callable[..., float]
FOLDER = Path(__file__).parents[2] / "oracles" / "win"
R = "R 4.2.2 loop over pairs, own data (tests/oracles/win)"
ROLES: dict[str, Any] = {"group": "ARM", "reference": "Control"}
NUMBERS = ["estimate", "se", "statistic", "p", "lower", "upper"]
Ours = dict[tuple[str, str], dict[str, float]]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "data.csv")


@pytest.fixture(scope="module")
def ours() -> Ours:
    out: Ours = {}
    for line in (FOLDER / "oracle.txt").read_text().splitlines():
        case, quantity, key, value = line.split(",")
        out.setdefault((case, quantity), {})[key] = float(value)
    return out


@pytest.mark.parametrize("arm", ["Robot", "Usual"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FAC", {}),
        ("FAC by SITE", {"strata": "SITE"}),
        ("FAC adjusted", {"covariates": "BASE"}),
        ("FAC by SITE adjusted", {"strata": "SITE", "covariates": "BASE"}),
        ("priority", {"value": ["DEAD", "FAC", "SPEED"], "higher": ["worse", "better", "better"]}),
    ],
)
def test_equals_the_loop_over_pairs(
    data: pd.DataFrame, ours: Ours, compare: Compare, arm: str, name: str, options: dict[str, Any]
) -> None:
    done = win_odds(data, **(ROLES | {"value": "FAC"} | options))
    case = f"{arm} {name}"
    variant = {"FAC": "unstratified", "priority": "outcomes by priority"}.get(name, name[4:])
    counts = done.counts.set_index("ARM").loc[arm, ["wins", "losses", "ties"]].astype(float)
    args = ("win_odds", variant, R)
    compare(*args, "wins, losses, ties", counts, list(ours[case, "counts"].values()), abs=0.0)
    table = done.table[done.table["ARM"] == arm].set_index("measure")
    for measure in ("win_odds", "win_ratio", "net_benefit", "win_probability"):
        wanted = ours[case, measure]
        got = table.loc[measure, ["estimate", "se"]].astype(float)
        compare(*args, f"{measure}: estimate, SE", got, [wanted["estimate"], wanted["se"]],
                rel=1e-10)  # fmt: skip
    if (case, "df") in ours:
        other = win_odds(data, **(ROLES | {"value": "FAC"} | options), df="satterthwaite").table
        got = other[(other["ARM"] == arm) & (other["measure"] == "win_odds")]["df"].iloc[0]
        compare(*args, "Satterthwaite df", got, ours[case, "df"][""], rel=1e-10)


@pytest.mark.parametrize("arm", ["Robot", "Usual"])
def test_equals_scipy_and_wilcox_test(
    data: pd.DataFrame, ours: Ours, compare: Compare, arm: str
) -> None:
    known = data[data["FAC"].notna()]
    one = known[known["ARM"] == arm]["FAC"]
    zero = known[known["ARM"] == "Control"]["FAC"]
    done = win_odds(data, value="FAC", **ROLES, df="satterthwaite")
    row = done.table[(done.table["ARM"] == arm)].set_index("measure").loc["win_probability"]
    u = stats.mannwhitneyu(one, zero, use_continuity=False, method="asymptotic")
    bm = stats.brunnermunzel(zero, one)
    compare("win_odds", "Mann-Whitney", "scipy mannwhitneyu", "U / pairs", row["estimate"],
            u.statistic / (len(one) * len(zero)), rel=1e-12)  # fmt: skip
    compare("win_odds", "Brunner-Munzel", "scipy brunnermunzel", "statistic",
            (row["estimate"] - 0.5) / row["se"], bm.statistic, rel=1e-10)  # fmt: skip
    p = 2 * stats.t.sf(abs(bm.statistic), row["df"])
    assert p == pytest.approx(bm.pvalue, rel=1e-9)
    test = done.tests[done.tests["ARM"] == arm].iloc[0]
    wanted = ours[f"{arm} FAC", "wilcoxon"]
    compare("win_odds", "Wilcoxon-Mann-Whitney", f"{R}: wilcox.test", "p", test["p"], wanted["p"],
            rel=1e-10)  # fmt: skip
    assert wanted["w"] == u.statistic
    assert test["p"] == pytest.approx(u.pvalue, rel=1e-10)


def test_a_case_worked_by_hand() -> None:
    """Robot 3, 2, 5 against control 1, 2, 4.

    Wins: 3 beats 1, 2; 2 beats 1; 5 beats all three: 6. Ties: 2 with 2: 1. Losses: 3 and 2 to 4: 2.
    Win odds (6 + 1/2) / (2 + 1/2) = 2.6; win ratio 3; net benefit 4/9; win probability 13/18.
    Placements of the robot arm 2/3, 1/2, 1: mean 13/18, variance 7/108; of the control arm 1,
    5/6, 1/3: variance 13/108. Variance of the win probability (7 + 13)/324 = 20/324.
    """
    data = pd.DataFrame({"g": list("tttccc"), "y": [3, 2, 5, 1, 2, 4]})
    done = win_odds(data, value="y", group="g", reference="c")
    assert done.counts[["pairs", "wins", "losses", "ties"]].iloc[0].tolist() == [9, 6, 2, 1]
    table = done.table.set_index("measure")
    assert table["estimate"].tolist() == pytest.approx([2.6, 3.0, 4 / 9, 13 / 18])
    se = np.sqrt(20 / 324)
    assert table.loc["win_probability", "se"] == pytest.approx(se)
    assert table.loc["net_benefit", "se"] == pytest.approx(2 * se)
    assert table.loc["win_odds", "se"] == pytest.approx(se / (13 / 18 * 5 / 18))


def test_van_elteren_of_one_stratum_is_wilcoxon(data: pd.DataFrame) -> None:
    one = win_odds(data.assign(S="all"), value="FAC", **ROLES, strata="S").tests
    none = win_odds(data, value="FAC", **ROLES).tests
    assert one["statistic"].tolist() == pytest.approx(none["statistic"].tolist())
    assert one["test"].unique().tolist() == ["van Elteren"]


def test_swapping_the_reference_inverts(data: pd.DataFrame) -> None:
    two = data[data["ARM"] != "Usual"]
    for options in ({}, {"strata": "SITE", "covariates": "BASE"}):
        a = win_odds(two, value="FAC", **ROLES, **options).table.set_index("measure")
        b = win_odds(two, value="FAC", group="ARM", reference="Robot", **options).table
        b = b.set_index("measure")
        for measure in ("win_odds", "win_ratio"):
            assert 1 / b.loc[measure, "estimate"] == pytest.approx(a.loc[measure, "estimate"])
            assert 1 / b.loc[measure, "upper"] == pytest.approx(a.loc[measure, "lower"])
        assert -b.loc["net_benefit", "upper"] == pytest.approx(a.loc["net_benefit", "lower"])
        assert 1 - b.loc["win_probability", "upper"] == pytest.approx(
            a.loc["win_probability", "lower"]
        )
        assert b.loc["win_odds", "p"] == pytest.approx(a.loc["win_odds", "p"])


def test_monotone_changes_units_and_order_do_not_matter(data: pd.DataFrame) -> None:
    a = win_odds(data, value="SPEED", **ROLES, covariates="BASE").table
    moved = data.assign(SPEED=np.exp(data["SPEED"]), BASE=data["BASE"] * 1e6 + 1e8)
    b = win_odds(
        moved.sample(frac=1.0, random_state=3), value="SPEED", **ROLES, covariates="BASE"
    ).table
    np.testing.assert_allclose(a[NUMBERS].astype(float), b[NUMBERS].astype(float), rtol=1e-7)
    c = win_odds(data.assign(SPEED=-data["SPEED"]), value="SPEED", higher="worse", **ROLES).table
    d = win_odds(data, value="SPEED", **ROLES).table
    np.testing.assert_allclose(c[NUMBERS].astype(float), d[NUMBERS].astype(float))


def test_priority_only_breaks_ties(data: pd.DataFrame) -> None:
    plain = win_odds(data, value="FAC", **ROLES).counts
    ranked = win_odds(data.dropna(), value=["FAC", "SPEED"], **ROLES).counts
    full = win_odds(data.dropna(), value="FAC", **ROLES).counts
    assert (ranked["wins"] >= full["wins"]).all()
    assert (ranked["ties"] < full["ties"]).all()
    assert (plain["pairs"] == plain[["wins", "losses", "ties"]].sum(axis=1)).all()


def test_missing_where_all_miss_is_no_gap(data: pd.DataFrame) -> None:
    done = win_odds(
        data, value=["DEAD", "FAC", "SPEED"], higher=["worse", "better", "better"], **ROLES
    )
    dead = int(data["DEAD"].sum())
    assert dead > 0
    alive = data[data["DEAD"] == 0]
    assert done.n == dead + int(alive[["FAC", "SPEED"]].notna().all(axis=1).sum())
    assert done.n + done.n_missing == len(data)
    assert win_odds(data, value="FAC", **ROLES).n == int(data["FAC"].notna().sum())


def test_an_ordered_categorical_is_an_outcome(data: pd.DataFrame) -> None:
    names = ["none", "little", "some", "much", "most", "all"]
    text = data["FAC"].map(dict(enumerate(names)))
    ordered = data.assign(FAC=pd.Categorical(text, categories=names, ordered=True))
    a, b = (win_odds(d, value="FAC", **ROLES).table for d in (data, ordered))
    pd.testing.assert_frame_equal(a, b)
    with pytest.raises(UsageError, match="no order"):
        win_odds(data.assign(FAC=pd.Categorical(text)), value="FAC", **ROLES)
    with pytest.raises(UsageError, match="text has no order"):
        win_odds(data.assign(FAC=text), value="FAC", **ROLES)


@pytest.mark.parametrize(
    ("one", "zero", "word"),
    [
        ([4, 5, 6], [1, 2, 3], "wins every comparison"),
        ([1, 1, 2], [4, 5, 3], "loses every comparison"),
        ([2, 2, 2], [2, 2, 2], "do not vary"),
        ([2], [1, 2, 3], "has one participant"),
    ],
)
def test_fails_with_a_reason(one: list[int], zero: list[int], word: str) -> None:
    data = pd.DataFrame({"g": ["t"] * len(one) + ["c"] * len(zero), "y": one + zero})
    done = win_odds(data, value="y", group="g", reference="c")
    assert done.failed is not None
    assert word in done.failed
    assert not done.converged
    assert done.table.empty
    assert word in done.summary()


def test_strata() -> None:
    rng = np.random.default_rng(6)
    data = pd.DataFrame(
        {"g": ["t", "c"] * 20 + ["t"] * 3, "s": [1] * 20 + [2] * 20 + [3] * 3}
    ).assign(y=rng.integers(0, 6, 43))
    done = win_odds(data, value="y", group="g", reference="c", strata="s")
    assert any("one arm only" in note for note in done.notes)
    kept = win_odds(data[data["s"] < 3], value="y", group="g", reference="c", strata="s")
    pd.testing.assert_frame_equal(done.table, kept.table)
    lone = data[(data["s"] != 2) | (data["g"] == "t")]
    lone = pd.concat([lone, data[(data["s"] == 2) & (data["g"] == "c")].head(1)])
    done = win_odds(lone, value="y", group="g", reference="c", strata="s")
    assert "one participant" in str(done.failed)
    apart = data.assign(s=data["g"])
    done = win_odds(apart, value="y", group="g", reference="c", strata="s")
    assert "no stratum holds both arms" in str(done.failed)
    alone = win_odds(data[data["g"] == "t"], value="y", group="g", reference="t")
    assert "every complete row" in str(alone.failed)


def test_no_win_or_no_loss_leaves_the_win_ratio_out() -> None:
    data = pd.DataFrame({"g": list("tttttccccc"), "y": [1, 1, 2, 2, 3, 1, 1, 1, 1, 1]})
    done = win_odds(data, value="y", group="g", reference="c")
    assert done.failed is None
    assert "win_ratio" not in done.table["measure"].tolist()
    assert any("no win_ratio" in note for note in done.notes)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"value": "NO"}, "no column"),
        ({"value": []}, "No outcome"),
        ({"reference": "Sham"}, "not a level"),
        ({"higher": "good"}, "does not fit"),
        ({"higher": ["better", "better"]}, "does not fit"),
        ({"df": "welch"}, "no df"),
        ({"covariates": "SITE"}, "not numeric"),
        ({"strata": "CLINIC"}, "no column"),
    ],
)
def test_bad_input_is_refused(data: pd.DataFrame, change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        win_odds(data, **(ROLES | {"value": "FAC"} | change))


def test_more_bad_input(data: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="infinite"):
        win_odds(data.assign(FAC=data["FAC"].replace(3.0, np.inf)), value="FAC", **ROLES)
    with pytest.raises(UsageError, match="infinite"):
        win_odds(data.assign(BASE=np.inf), value="FAC", covariates="BASE", **ROLES)
    with pytest.raises(UsageError, match="one value only"):
        win_odds(data.assign(BASE=1.0), value="FAC", covariates="BASE", **ROLES)
    with pytest.raises(UsageError, match="No row"):
        win_odds(data.assign(FAC=np.nan), value="FAC", **ROLES)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_noise_is_passed_off_as_a_result(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 24))
    frame = pd.DataFrame(
        {
            "g": data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n)),
            "s": data.draw(st.lists(st.sampled_from("xy"), min_size=n, max_size=n)),
            "y": data.draw(
                st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=n, max_size=n)
            ),
        }
    )
    strata = data.draw(st.sampled_from([None, "s"]))
    df: Any = data.draw(st.sampled_from(["normal", "satterthwaite"]))
    try:
        done = win_odds(frame, value="y", group="g", reference="a", strata=strata, df=df)
    except UsageError:
        return
    if done.failed is not None:
        assert done.table.empty
        return
    assert (done.table["se"] > 0).all()
    assert done.table["p"].between(0, 1).all()
    assert (done.table["lower"] <= done.table["estimate"]).all()
    assert (done.table["estimate"] <= done.table["upper"]).all()
