"""Two proportions against R, metafor, published tables and identities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import binary, proportions
from trialkit.methods.categorical import _compare, _exact, _score
from trialkit.methods.categorical._score import TwoByTwo

Compare = Callable[..., float]
FOLDER = Path(__file__).parents[2] / "oracles" / "proportions"
R = "R 4.2.2, own data (tests/oracles/proportions)"
Z = _compare.quantile(0.95)
ROLES: dict[str, Any] = {"response": "Y", "group": "ARM", "reference": "Control"}
NUMBERS = ["estimate", "se", "statistic", "p", "lower", "upper"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "data.csv")


@pytest.fixture(scope="module")
def ours() -> dict[tuple[str, str], dict[str, float]]:
    out: dict[tuple[str, str], dict[str, float]] = {}
    for line in (FOLDER / "oracle.txt").read_text().splitlines():
        case, quantity, key, value = line.split(",")
        out.setdefault((case, quantity), {})[key] = float(value)
    return out


def row_of(table: pd.DataFrame, arm: str) -> pd.Series[Any]:
    return table[table["ARM"] == arm].iloc[0]


def frame(cells: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """Rows of participants from (x1, n1, x0, n0) of each stratum."""
    rows = []
    for stratum, (x1, n1, x0, n0) in enumerate(cells):
        for arm, x, n in (("t", x1, n1), ("c", x0, n0)):
            rows += [{"s": stratum, "g": arm, "y": int(i < x)} for i in range(n)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("kind", ["wilson", "clopper_pearson"])
def test_risks(
    data: pd.DataFrame,
    ours: dict[tuple[str, str], dict[str, float]],
    compare: Compare,
    kind: Any,
) -> None:
    risks = proportions(data, **ROLES, risk_interval=kind).risks
    got = risks[["lower", "upper"]].to_numpy().ravel()
    wanted = [ours[arm, kind][k] for arm in risks["ARM"] for k in ("lower", "upper")]
    compare("proportions", kind.replace("_", " "), f"{R} prop.test, binom.test", "limits", got,
            wanted, rel=1e-9)  # fmt: skip


@pytest.mark.parametrize("arm", ["Robot", "Usual"])
def test_unstratified(
    data: pd.DataFrame,
    ours: dict[tuple[str, str], dict[str, float]],
    compare: Compare,
    arm: str,
) -> None:
    for measure in ("difference", "ratio", "odds_ratio"):
        done = proportions(data, **ROLES, measure=measure, interval="miettinen_nurminen")
        row = row_of(done.table, arm)
        wanted = ours[arm, f"miettinen_nurminen {measure}"]
        compare("proportions", f"Miettinen-Nurminen, {measure}", f"{R} optimize", "limits",
                [row["lower"], row["upper"]], list(wanted.values()), rel=1e-6)  # fmt: skip
    done = proportions(data, **ROLES)
    row = row_of(done.table, arm)
    compare("proportions", "Newcombe", f"{R} prop.test", "limits", [row["lower"], row["upper"]],
            list(ours[arm, "newcombe"].values()), rel=1e-9)  # fmt: skip
    compare("proportions", "Newcombe", f"{R} prop.test", "Pearson p", row["p"],
            ours[arm, "pearson"]["p"], rel=1e-9)  # fmt: skip
    row = row_of(proportions(data, **ROLES, interval="wald").table, arm)
    compare("proportions", "Wald difference", f"{R} prop.test", "limits",
            [row["lower"], row["upper"]], list(ours[arm, "wald difference"].values()),
            rel=1e-9)  # fmt: skip
    for measure, key in (("ratio", "RR"), ("odds_ratio", "OR")):
        row = row_of(proportions(data, **ROLES, measure=measure, interval="wald").table, arm)
        compare("proportions", f"Wald {measure}", f"{R} metafor", "estimate, SE of log",
                [row["estimate"], row["se"]], list(ours[arm, f"wald {key}"].values()),
                rel=1e-9)  # fmt: skip
    tests = done.tests[done.tests["ARM"] == arm].set_index("test")
    for name, key in (
        ("Pearson chi-square", "pearson"),
        ("Pearson with Yates' correction", "yates"),
    ):
        got = tests.loc[name, ["statistic", "p"]].astype(float)
        compare("proportions", name, f"{R} prop.test", "statistic, p", got,
                list(ours[arm, key].values()), abs=1e-9)  # fmt: skip
    compare("proportions", "Fisher exact", f"{R} fisher.test", "p", tests.loc["Fisher exact", "p"],
            ours[arm, "fisher"]["p"], rel=1e-9)  # fmt: skip
    row = row_of(proportions(data, **ROLES, measure="odds_ratio", interval="exact").table, arm)
    got = row[["estimate", "lower", "upper"]].astype(float)
    compare("proportions", "conditional odds ratio", f"{R} fisher.test", "estimate, limits", got,
            [ours[arm, "fisher"][k] for k in ("estimate", "lower", "upper")], rel=1e-3)  # fmt: skip
    compare("proportions", "conditional odds ratio", f"{R} uniroot", "estimate, limits", got,
            list(ours[arm, "exact odds ratio"].values()), rel=1e-9)  # fmt: skip


@pytest.mark.parametrize("arm", ["Robot", "Usual"])
def test_stratified(
    data: pd.DataFrame,
    ours: dict[tuple[str, str], dict[str, float]],
    compare: Compare,
    arm: str,
) -> None:
    for measure, key in (("difference", "RD"), ("ratio", "RR"), ("odds_ratio", "OR")):
        done = proportions(data, **ROLES, strata="SITE", measure=measure, interval="wald")
        row = row_of(done.table, arm)
        got = row[["estimate", "se", "lower", "upper"]].to_numpy(dtype=float)
        if measure != "difference":
            got[[0, 2, 3]] = np.log(got[[0, 2, 3]])
        wanted = list(ours[arm, f"rma.mh {key}"].values())
        compare("proportions", f"Mantel-Haenszel, {measure}", f"{R} metafor rma.mh",
                "estimate, SE, limits", got, wanted, rel=1e-9)  # fmt: skip
    tests = done.tests[done.tests["ARM"] == arm].set_index("test")
    for name, key in (
        ("Cochran-Mantel-Haenszel", "mh odds ratio"),
        ("Cochran-Mantel-Haenszel with continuity correction", "cmh corrected"),
    ):
        got = tests.loc[name, ["statistic", "p"]].to_numpy(dtype=float)
        wanted = [ours[arm, key][k] for k in ("statistic", "p")]
        compare("proportions", name, f"{R} mantelhaen.test", "statistic, p", got, wanted, rel=1e-9)
    homogeneity = ours[arm, "homogeneity"]
    for name, key in (("Breslow-Day", "breslow_day"), ("Breslow-Day-Tarone", "tarone")):
        got = tests.loc[name, ["statistic", "p"]].to_numpy(dtype=float)
        wanted = [homogeneity[key], homogeneity[f"{key}_p"]]
        compare("proportions", name, f"{R} metafor rma.mh", "statistic, p", got, wanted, rel=1e-7)
    done = proportions(data, **ROLES, strata="SITE", measure="odds_ratio", interval="exact")
    row = row_of(done.table, arm)
    exact = ours[arm, "exact common odds ratio"]
    got = row[["estimate", "lower", "upper"]].to_numpy(dtype=float)
    args = ("proportions", "exact common odds ratio", f"{R} mantelhaen.test(exact)")
    compare(*args, "estimate, limits", got,
            [exact[k] for k in ("estimate", "lower", "upper")], rel=1e-3)  # fmt: skip
    compare("proportions", "exact common odds ratio", f"{R} uniroot", "estimate, limits", got,
            list(ours[arm, "exact odds ratio by site"].values()), rel=1e-9)  # fmt: skip
    compare(*args, "p", row["p"], exact["p"], rel=1e-9)


@pytest.mark.parametrize(
    ("case", "hybrid", "score"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339), (0.0528, 0.3382)),
        ((9, 10, 3, 10), (0.1705, 0.8090), (0.1700, 0.8406)),
        ((6, 7, 2, 7), (0.0582, 0.8062), None),
        ((5, 56, 0, 29), (-0.0381, 0.1926), None),
        ((0, 10, 0, 20), (-0.1611, 0.2775), None),
        ((0, 10, 0, 10), (-0.2775, 0.2775), None),
        ((10, 10, 0, 20), (0.6791, 1.0), (0.7156, 1.0)),
    ],
)
def test_newcombe_1998_table_ii(
    compare: Compare,
    case: tuple[int, int, int, int],
    hybrid: tuple[float, float],
    score: tuple[float, float] | None,
) -> None:
    data = frame([case])
    roles: dict[str, Any] = {"response": "y", "group": "g", "reference": "c"}
    row = proportions(data, **roles).table.iloc[0]
    paper = "Newcombe 1998, table II"
    compare("proportions", "Newcombe", paper, "limits", [row["lower"], row["upper"]], hybrid,
            abs=5.1e-5)  # fmt: skip
    if score:
        row = proportions(data, **roles, interval="miettinen_nurminen").table.iloc[0]
        compare("proportions", "Miettinen-Nurminen, difference", paper, "limits",
                [row["lower"], row["upper"]], score, abs=5.1e-5)  # fmt: skip


def test_stratified_newcombe_as_published(compare: Compare) -> None:
    data = pd.read_csv(FOLDER / "stratified.csv")
    row = proportions(
        data, response="y", group="arm", reference="B", strata=["f1", "f2"], interval="newcombe"
    ).table.iloc[0]
    compare("proportions", "stratified Newcombe", "tern (= SAS), 80 participants",
            "difference, limits", row[["estimate", "lower", "upper"]].astype(float),
            [0.25390590, 0.03467969, 0.44544132], abs=1e-8)  # fmt: skip


def test_sas_example_of_two_strata(compare: Compare) -> None:
    """The migraine data of SAS PROC FREQ's CMH example, as quoted by cardx."""
    data = frame([(16, 27, 5, 25), (12, 28, 7, 26)])
    row = proportions(
        data, response="y", group="g", reference="c", strata="s", measure="ratio"
    ).table.iloc[0]
    compare("proportions", "Mantel-Haenszel, ratio", "SAS PROC FREQ, migraine", "ratio, limits",
            row[["estimate", "lower", "upper"]].astype(float), [2.1636, 1.2336, 3.7948],
            abs=5.1e-5)  # fmt: skip


@pytest.mark.parametrize("case", ["9 10 3 10", "5 12 1 9"])
def test_exact_unconditional(
    ours: dict[tuple[str, str], dict[str, float]], compare: Compare, case: str
) -> None:
    x1, n1, x0, n0 = (int(v) for v in case.split())
    row = proportions(
        frame([(x1, n1, x0, n0)]), response="y", group="g", reference="c", interval="exact"
    ).table.iloc[0]
    wanted = [ours[case, "chan_zhang"][k] for k in ("lower", "upper", "p")]
    compare("proportions", "Chan-Zhang exact", "R 4.2.2 brute force", "limits, p",
            row[["lower", "upper", "p"]].astype(float), wanted, abs=1e-4)  # fmt: skip


def test_one_stratum_equals_none() -> None:
    data = frame([(12, 30, 6, 28)])
    roles: dict[str, Any] = {"response": "y", "group": "g", "reference": "c"}
    for measure in ("difference", "ratio", "odds_ratio"):
        a = proportions(data, **roles, measure=measure, interval="wald").table.iloc[0]
        b = proportions(data, **roles, strata="s", measure=measure, interval="wald").table
        assert b.iloc[0]["estimate"] == pytest.approx(a["estimate"])
        if measure != "difference":  # Sato's variance is not the binomial one
            assert b.iloc[0]["se"] == pytest.approx(a["se"])
    a = proportions(data, **roles).table.iloc[0]
    b = proportions(data, **roles, strata="s", interval="newcombe").table.iloc[0]
    assert [b["lower"], b["upper"]] == pytest.approx([a["lower"], a["upper"]])


def test_wald_odds_ratio_is_that_of_logistic_regression(data: pd.DataFrame) -> None:
    table = proportions(data, **ROLES, measure="odds_ratio", interval="wald").table
    fit = binary("Y ~ ARM", data).odds_ratio("ARM", reference="Control")
    np.testing.assert_allclose(table[NUMBERS].astype(float), fit[NUMBERS].astype(float), rtol=1e-8)


def test_row_order_labels_and_reference_do_not_matter(data: pd.DataFrame) -> None:
    two = data[data["ARM"] != "Usual"]
    flipped = two.sample(frac=1.0, random_state=2)
    for strata in (None, "SITE"):
        for measure in ("difference", "odds_ratio"):
            a = proportions(two, **ROLES, strata=strata, measure=measure).table.iloc[0]
            b = proportions(
                flipped, response="Y", group="ARM", reference="Robot", strata=strata,
                measure=measure,
            ).table.iloc[0]  # fmt: skip
            if measure == "difference":
                got, wanted = [-b["estimate"], -b["upper"], -b["lower"]], NUMBERS
            else:
                got, wanted = [1 / b["estimate"], 1 / b["upper"], 1 / b["lower"]], NUMBERS
            assert got == pytest.approx([a["estimate"], a["lower"], a["upper"]]), wanted
            assert b["p"] == pytest.approx(a["p"])


def test_score_interval_and_p_agree() -> None:
    """The Miettinen-Nurminen interval at level 1 - p ends at no difference."""
    t = TwoByTwo(14.0, 30.0, 6.0, 29.0)
    for measure, value in (("difference", 0.0), ("ratio", 1.0), ("odds_ratio", 1.0)):
        choice = _compare.choose(measure, "miettinen_nurminen", False)
        p = _compare.compare([t], choice, 0.95).p
        assert _compare.compare([t], choice, 1.0 - p).lower == pytest.approx(value, abs=1e-8)


def test_empty_cells() -> None:
    roles: dict[str, Any] = {"response": "y", "group": "g", "reference": "c"}
    none = frame([(0, 12, 0, 11)])
    done = proportions(none, **roles, measure="ratio")
    assert done.failed == "t: no events in either arm: a ratio is not defined"
    assert done.table.empty
    assert done.risks["estimate"].tolist() == [0.0, 0.0]
    assert proportions(none, **roles).failed is None
    assert proportions(none, **roles, interval="wald").failed is not None
    one = frame([(5, 12, 0, 11)])
    for measure, interval in (
        ("ratio", "miettinen_nurminen"),
        ("odds_ratio", "miettinen_nurminen"),
        ("odds_ratio", "exact"),
    ):
        done = proportions(one, **roles, measure=measure, interval=interval)
        row = done.table.iloc[0]
        assert row["estimate"] == np.inf
        assert row["upper"] == np.inf
        assert 0 < row["lower"] < np.inf
        assert done.notes
        other = proportions(one, **roles | {"reference": "t"}, measure=measure, interval=interval)
        assert other.table.iloc[0]["lower"] == 0.0
        assert other.table.iloc[0]["upper"] == pytest.approx(1 / row["lower"])
    assert "empty" in str(proportions(one, **roles, measure="ratio", interval="wald").failed)
    full = frame([(12, 12, 11, 11)])
    assert "every participant" in str(proportions(full, **roles, measure="odds_ratio").failed)


def test_strata_with_one_arm_are_left_out_and_said() -> None:
    data = pd.concat([frame([(4, 9, 2, 8), (5, 10, 3, 9)]), frame([(2, 4, 0, 0)]).assign(s=9)])
    done = proportions(data, response="y", group="g", reference="c", strata="s")
    assert any("one arm only" in note for note in done.notes)
    assert done.n == 40
    kept = proportions(data[data["s"] != 9], response="y", group="g", reference="c", strata="s")
    pd.testing.assert_frame_equal(done.table, kept.table)
    apart = pd.concat([frame([(4, 9, 0, 0)]), frame([(0, 0, 2, 8)]).assign(s=1)])
    done = proportions(apart, response="y", group="g", reference="c", strata="s")
    assert "no stratum holds both arms" in str(done.failed)
    alone = proportions(frame([(4, 9, 0, 0)]), response="y", group="g", reference="t")
    assert alone.failed == "every complete row is of g t"


def test_missing_rows_are_counted(data: pd.DataFrame) -> None:
    done = proportions(data, **ROLES)
    assert done.n_missing == int(data["Y"].isna().sum())
    assert done.n == done.n_subjects == len(data) - done.n_missing
    assert done.counts["n"].sum() == done.n
    assert "Newcombe" in done.summary()
    assert "<" in done._repr_html_()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"response": "ARM"}, "other than 0 and 1"),
        ({"response": "NO"}, "no column"),
        ({"reference": "Sham"}, "not a level"),
        ({"measure": "nnt"}, "measure"),
        ({"interval": "wilks"}, "interval"),
        ({"measure": "ratio", "interval": "newcombe"}, "interval"),
        ({"strata": "SITE", "interval": "miettinen_nurminen"}, "interval"),
        ({"risk_interval": "wald"}, "risk_interval"),
    ],
)
def test_bad_input_is_refused(data: pd.DataFrame, change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        proportions(data, **(ROLES | change))
    big = frame([(100, 300, 90, 300)])
    with pytest.raises(UsageError, match="too large"):
        proportions(big, response="y", group="g", reference="c", interval="exact")
    with pytest.raises(UsageError, match="other than 0"):
        proportions(data.assign(Y=np.inf), **ROLES)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_intervals_hold_the_estimate(data: st.DataObject) -> None:
    n1, n0 = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 25))
    t = TwoByTwo(
        float(data.draw(st.integers(0, n1))), float(n1), float(data.draw(st.integers(0, n0))),
        float(n0),
    )  # fmt: skip
    for measure, interval, stratified in _compare.VARIANTS:
        if (measure, interval) == ("difference", "exact"):
            continue
        tables = [t, TwoByTwo(t.x0, t.n0, t.x1, t.n1)] if stratified else [t]
        done = _compare.compare(tables, _compare.Choice(measure, interval, stratified), 0.9)
        if done.failed:
            continue
        assert done.lower <= done.estimate + 1e-9
        assert done.estimate <= done.upper + 1e-9 or done.upper == np.inf
        assert 0 <= done.p <= 1
        assert done.se >= 0
        if measure == "difference" and interval != "wald":
            assert done.lower >= -1 - 1e-9
            assert done.upper <= 1 + 1e-9
        for _, _, _, p in done.tests:
            assert 0 <= p <= 1


def test_conditional_distribution_of_a_single_table_is_hypergeometric() -> None:
    from scipy.stats import hypergeom

    found = _exact.conditional([TwoByTwo(5.0, 12.0, 3.0, 9.0)])
    assert found is not None
    wanted = hypergeom(21, 8, 12).pmf(found.values)
    assert found.probabilities(0.0) == pytest.approx(wanted)
    assert _score.wilson(0, 10, Z)[0] == 0.0
