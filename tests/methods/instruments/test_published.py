"""Published tables: those that reproduce, those that cannot be right, and rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trialkit.errors import UsageError
from trialkit.methods import check_published
from trialkit.methods.instruments.printed import is_mean_of_integers, read_number, read_reported
from trialkit.methods.instruments.recompute import Change, ancova

Compare = Callable[..., float]
PAPERS = "published tables (papers_tables.csv)"


@pytest.fixture
def papers(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "data" / "papers_tables.csv", dtype=str)


def one(**cells: object) -> pd.DataFrame:
    blank = dict.fromkeys(("id", "test", "n1", "x1", "s1", "n2", "x2", "s2", "reported"), "")
    return pd.DataFrame([{**blank, "id": "row", **cells}])


def verdict(**cells: object) -> str:
    return str(check_published(one(**cells)).table["verdict"].iloc[0])


def test_ratuls_reproduces_to_rounding(papers: pd.DataFrame, compare: Compare) -> None:
    found = check_published(papers)
    ids = [i for i in papers["id"] if i.startswith("ratuls")]
    assert len(ids) == 5
    table = found.table.set_index("id").loc[ids]
    assert (table["verdict"] == "consistent").all()
    rows = found.details[found.details["id"].isin(ids) & found.details["reported"].notna()]
    assert len(rows) == 15
    variant = "odds ratio with 98.3 % Wald interval"
    got, theirs = rows["recomputed"], rows["reported"]
    compare("check_published", variant, "RATULS 2019", "printed numbers", got, theirs, abs=0.005)


def test_xie_reproduces_but_for_one_row(papers: pd.DataFrame, compare: Compare) -> None:
    found = check_published(papers)
    table = found.table.set_index("id")
    good = ["xie_fma", "xie_bbs", "xie_speed"]
    assert (table.loc[good, "verdict"] == "consistent").all()
    rows = found.details[found.details["id"].isin(good)]
    amd = rows[rows["quantity"] == "AMD"]
    variant = "ANCOVA from summary data"
    got, theirs = amd["recomputed"], amd["reported"]
    compare("check_published", variant, "Xie 2025", "adjusted differences", got, theirs, abs=0.005)
    bad = table.loc["xie_fac"]
    assert bad["verdict"] == "inconsistent"
    for words in ("AMD is reported as 0.37", "0.77", "4.02", "not the mean of 30"):
        assert words in bad["reason"]


def test_the_inverted_rate_ratio_is_flagged(papers: pd.DataFrame) -> None:
    table = check_published(papers).table.set_index("id")
    best = table.loc["best_home_counts"]
    assert best["verdict"] == "inconsistent"
    assert "exchanged" in best["reason"]
    # printed the right way round, the row is no longer flagged
    turned = papers[papers["id"] == "best_home_counts"].assign(reported="IRR 1.10 (0.78-1.56)")
    assert check_published(turned).flagged.empty


def test_every_other_row_is_consistent_or_says_why_not(papers: pd.DataFrame) -> None:
    result = check_published(papers)
    assert result.n == len(result.table) == 32
    assert set(result.flagged["id"]) == {"xie_fac", "best_home_counts", "stent30"}
    open_rows = result.table[result.table["verdict"] == "cannot be checked"]
    assert set(open_rows["id"]) == {"views_speed", "views_6mwt", "batchelor_falls"}
    assert open_rows["reason"].str.len().min() > 10
    assert "26 consistent, 3 inconsistent, 3 cannot be checked" in result.summary()
    assert "xie_fac" in result._repr_html_()


def test_recomputed_numbers_of_the_papers(papers: pd.DataFrame, compare: Compare) -> None:
    details = check_published(papers).details
    p = details[details["quantity"] == "p"].set_index("id")["recomputed"]
    known = {
        "louie_days_at": 0.0304,
        "louie_days_pp": 0.0498,
        "louie_speed_pp_6m": 0.0956,
        "louie_6mwt_pp_dc": 0.1408,
        "armassist_bi": 0.2903,
        "pmc10389716_tug": 0.4521,
        "views_speed": 0.0042,
        "views_6mwt": 0.0040,
        "indo_rct": 0.00468,
        "ist_6m": 0.0723,
        "ist_14d": 0.352,
    }
    got, theirs = p[list(known)].to_numpy(), list(known.values())
    compare("check_published", "t and chi-square tests", PAPERS, "p in R", got, theirs, abs=5e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_a_true_t_test_printed_with_few_digits_is_never_flagged(seed: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 40, size=2)
    x, y = rng.normal(10, 3, n[0]), rng.normal(11, 3, n[1])
    p = stats.ttest_ind(x, y).pvalue
    cells = {"n1": str(n[0]), "n2": str(n[1]), "test": "t_pooled", "reported": f"p={p:.3f}"}
    for i, v in enumerate((x, y), start=1):
        cells |= {f"x{i}": f"{v.mean():.{digits}f}", f"s{i}": f"{v.std(ddof=1):.{digits}f}"}
    if f"{x.std(ddof=1):.{digits}f}" == f"{y.std(ddof=1):.{digits}f}" == "0":
        return
    assert verdict(**cells) == "consistent"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_true_ancova_printed_with_two_digits_is_never_flagged(seed: int) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(seed)
    n = 20
    base = rng.normal(22, 2.5, 2 * n)
    arm = np.repeat([1.0, 0.0], n)
    post = 5 + 0.8 * base + arm + rng.normal(0, 2, 2 * n)
    fit = sm.OLS(post, np.column_stack([np.ones(2 * n), arm, base])).fit()
    cells = {"test": "ancova_summary", "n1": "20", "n2": "20"}
    for i, rows in ((1, arm == 1), (2, arm == 0)):
        sds = [np.std(v[rows], ddof=1) for v in (base, post, post - base)]
        cells[f"x{i}"] = f"{base[rows].mean():.2f}->{post[rows].mean():.2f}"
        cells[f"s{i}"] = "{:.2f}/{:.2f}/chg {:.2f}".format(*sds)
    cells["reported"] = f"AMD {fit.params[1]:.2f} p={fit.pvalues[1]:.3f}"
    assert verdict(**cells) == "consistent"


def test_ancova_from_summary_is_least_squares() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    base, arm = rng.normal(size=31), np.repeat([1.0, 0.0], [14, 17])
    post = 0.6 * base + 0.4 * arm + rng.normal(size=31)
    # the same slope in both arms is not needed: the model has one slope
    fit = sm.OLS(post, np.column_stack([np.ones(31), arm, base])).fit()

    def printed(value: float) -> object:
        return read_number(f"{value:.12f}")

    arms = []
    for rows in (arm == 1, arm == 0):
        values = [base[rows].mean(), post[rows].mean()]
        values += [np.std(v[rows], ddof=1) for v in (base, post, post - base)]
        arms.append(Change(int(rows.sum()), *map(printed, values)))  # type: ignore[arg-type]
    found = ancova(*arms)
    assert found is not None
    assert found["AMD"].value == pytest.approx(fit.params[1], rel=1e-9)
    assert found["p"].value == pytest.approx(fit.pvalues[1], rel=1e-8)
    assert found["eta2"].value == pytest.approx(fit.tvalues[1] ** 2 / (fit.tvalues[1] ** 2 + 28))


@pytest.mark.parametrize(
    ("cells", "expected", "words"),
    [
        ({"test": "t_pooled", "n1": 30, "x1": "5.0", "s1": "1.0", "n2": 30, "x2": "4.0",
          "s2": "1.0", "reported": "p=.20"}, "inconsistent", "must lie between"),
        ({"test": "t_pooled", "n1": 5, "x1": "5.00", "s1": "4.00", "n2": 40, "x2": "2.00",
          "s2": "1.00", "reported": "p=.169"}, "consistent", "Welch"),
        ({"test": "t_pooled", "n1": 30, "x1": "5.0", "s1": "1.0", "n2": 30, "x2": "4.0",
          "s2": "1.0", "reported": "p<.001"}, "consistent", ""),
        ({"test": "t_pooled", "n1": 1, "x1": "5.0", "s1": "1.0", "n2": 30, "x2": "4.0",
          "s2": "1.0", "reported": "p=.2"}, "cannot be checked", "at least 2"),
        ({"test": "or_wald", "n1": 10, "x1": 12, "n2": 10, "x2": 3,
          "reported": "2.0 (1.0-4.0)"}, "inconsistent", "more events"),
        ({"test": "or_wald_95", "n1": 10, "x1": 0, "n2": 10, "x2": 3,
          "reported": "2.0 (1.0-4.0)"}, "cannot be checked", "zero"),
        ({"test": "rr_wald", "n1": 70, "x1": 34, "n2": 70, "x2": 39,
          "reported": "RR 0.97 (0.63-1.20)"}, "inconsistent", "estimate"),
        ({"test": "rate_ratio", "n1": "71.5 py", "x1": 62, "n2": "70.4 py", "x2": 78,
          "reported": "IRR 0.78 (0.70-0.88)"}, "inconsistent", "too narrow"),
        ({"test": "ancova_summary", "n1": 30, "x1": "5.0->6.0", "s1": "1.0/1.0/chg 5.0", "n2": 30,
          "x2": "5.0->6.0", "s2": "1.0/1.0/chg 1.0", "reported": "AMD 0.0"}, "inconsistent",
         "contradict"),
        ({"test": "nb_counts", "n1": 20, "x1": "10/5/5 total 9", "s1": "sd 1.0", "n2": 20,
          "x2": "10/5/5 total 15", "s2": "", "reported": "IRR 0.6 (0.2-2.0)"}, "inconsistent",
         "15 events or more"),
        ({"test": "nb_counts", "n1": 21, "x1": "10/5/5 total 15", "s1": "", "n2": 20,
          "x2": "10/5/5 total 15", "s2": "", "reported": "IRR 1.0 (0.2-2.0)"}, "inconsistent",
         "sum to 20"),
        ({"test": "nb_counts", "n1": 20, "x1": "10/5/5 total 15", "s1": "sd 3.9", "n2": 20,
          "x2": "10/5/5 total 15", "s2": "", "reported": "IRR 1.0 (0.2-2.0)"}, "inconsistent",
         "SD of arm 1"),
        ({"test": "descriptive", "n1": 10, "x1": "33% a; 67% b"}, "inconsistent", "no counts"),
        ({"test": "wilcoxon", "reported": "p=.2"}, "cannot be checked", "no recomputation"),
        ({"test": "t_pooled", "n1": 30, "x1": "", "reported": "p=.2"}, "cannot be checked",
         "no number"),
        ({"test": "nb_counts", "n1": 20, "x1": "many", "n2": 20, "x2": "few"},
         "cannot be checked", "not written"),
    ],
)  # fmt: skip
def test_verdicts(cells: dict[str, object], expected: str, words: str) -> None:
    row = check_published(one(**cells)).table.iloc[0]
    assert row["verdict"] == expected, row["reason"]
    assert words in row["reason"]


def test_means_of_whole_numbers() -> None:
    def possible(mean: str, n: int) -> bool:
        found = read_number(mean)
        assert found is not None
        return is_mean_of_integers(found, n)

    assert possible("3.13", 30)
    assert not possible("4.02", 30)
    assert possible("4.0", 30)
    for n in (7, 19, 28):
        for total in range(200):
            assert possible(f"{total / n:.2f}", n)
    cells = {"test": "t_pooled", "n1": 20, "x1": "2.53", "s1": "0.80", "n2": 20, "x2": "2.50",
             "s2": "0.80", "reported": "p=.9"}  # fmt: skip
    assert verdict(outcome="FAC at discharge", **cells) == "inconsistent"
    assert verdict(outcome="walking speed", **cells) == "consistent"


def test_reading_of_reported_results() -> None:
    found = read_reported("IRR 0.91 (0.64-1.29) p=.604; fallers RR 0.2 (0.1-0.3)")
    assert {k: v.value for k, v in found.items()} == {
        "estimate": 0.91,
        "lower": 0.64,
        "upper": 1.29,
        "p": 0.604,
    }
    assert read_reported("1.5 (-0.2 to 3.2)")["lower"].value == -0.2
    assert (found["p"].low, found["p"].high) == pytest.approx((0.6035, 0.6045))
    assert read_reported("p<.001")["p"].high == 0.001
    assert read_reported("p>0.05")["p"].low == 0.05
    assert read_reported("groups differ (no p in abstract)") == {}


def test_numbers_instead_of_text_are_read_with_the_wider_rounding() -> None:
    result = check_published(
        one(test="t_pooled", n1=14, x1=0.7, s1=0.5, n2=17, x2=0.42, s2=0.3, reported="p=0.07")
    )
    assert result.table["verdict"].iloc[0] == "consistent"
    assert "zeros are lost" in result.notes[0]
    low, high = result.details.loc[0, ["lower", "upper"]]
    assert low < result.details.loc[0, "recomputed"] < high


def test_row_order_does_not_matter(papers: pd.DataFrame) -> None:
    a = check_published(papers).table.set_index("id")
    b = check_published(papers.iloc[::-1]).table.set_index("id")
    pd.testing.assert_frame_equal(a, b.loc[a.index])


def test_bad_tables_are_refused() -> None:
    with pytest.raises(UsageError, match="reported"):
        check_published(one().drop(columns="reported"))
    with pytest.raises(UsageError, match="twice"):
        check_published(pd.concat([one(), one()]))
    empty = check_published(one().iloc[:0])
    assert empty.n == 0
    assert empty.flagged.empty
    assert math.isnan(check_published(one(test="x")).table["difference"].iloc[0])
