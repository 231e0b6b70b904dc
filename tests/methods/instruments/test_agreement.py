"""Intra-class correlation, Cronbach's alpha and effect sizes against psych and formulas."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trialkit
from trialkit.errors import UsageError
from trialkit.methods import cronbach_alpha, hedges_g, icc
from trialkit.methods.instruments.effects import KINDS, effect_size

ORACLE = Path(__file__).parents[2] / "oracles" / "agreement"
PSYCH = "R psych 2.2.9, tests/oracles/agreement"

# Shrout PE, Fleiss JL (1979), Intraclass correlations, Psychol Bull 86:420, tables 2 and 4
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)
PUBLISHED = [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]
KEYS = {"subject": "person", "rater": "judge", "value": "score"}
ALPHA = {"subject": "person", "item": "judge", "value": "score"}


def long(ratings: np.ndarray) -> pd.DataFrame:
    rows = [(i, j, v) for i, row in enumerate(ratings) for j, v in enumerate(row)]
    return pd.DataFrame(rows, columns=["person", "judge", "score"]).astype(float)


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "key", "value"]
    return pd.read_csv(ORACLE / "oracle.txt", header=None, names=names, dtype={"key": str})


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return pd.read_csv(ORACLE / "ratings.csv")


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_icc_equals_psych(
    compare: Callable[..., float], oracle: pd.DataFrame, ratings: pd.DataFrame, level: float
) -> None:
    table = icc(ratings, subject="USUBJID", rater="RATER", value="SCORE", level=level)
    wanted = oracle[oracle["fit"] == f"icc{1 - level:.2g}"]
    for mine, theirs in (
        ("estimate", "ICC"),
        ("statistic", "F"),
        ("df", "df1"),
        ("df2", "df2"),
        ("p", "p"),
        ("lower", "lower bound"),
        ("upper", "upper bound"),
    ):
        values = wanted[wanted["quantity"] == theirs]["value"].to_numpy()
        compare(
            "icc", "six forms, McGraw-Wong intervals", PSYCH, theirs, table[mine], values, rel=1e-9
        )


def test_icc_equals_shrout_and_fleiss() -> None:
    table = icc(long(RATINGS), **KEYS)
    assert table["estimate"].round(2).tolist() == PUBLISHED
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_icc_leaves_out_incomplete_subjects() -> None:
    extra = pd.DataFrame({"person": [99.0], "judge": [0.0], "score": [1.0]})
    both = pd.concat([long(RATINGS), extra])
    assert icc(both, **KEYS)["estimate"].round(2).tolist() == PUBLISHED


def test_icc_does_not_depend_on_units_or_order() -> None:
    table = icc(long(RATINGS), **KEYS)
    moved = long(RATINGS).assign(score=lambda f: 1e6 * f["score"])
    moved["judge"] = moved["judge"].map({0.0: "d", 1.0: "a", 2.0: "c", 3.0: "b"})
    again = icc(moved.sample(frac=1.0, random_state=3), **KEYS)
    for name in ("estimate", "lower", "upper", "p"):
        assert again[name].to_numpy() == pytest.approx(table[name].to_numpy(), rel=1e-9)


def test_raters_that_agree_perfectly() -> None:
    table = icc(long(np.repeat(np.arange(6.0)[:, None], 3, axis=1)), **KEYS)
    for name in ("estimate", "lower", "upper"):
        assert table[name].tolist() == pytest.approx([1.0] * 6)
    assert table["p"].tolist() == [0.0] * 6


def test_alpha_equals_psych(
    compare: Callable[..., float], oracle: pd.DataFrame, ratings: pd.DataFrame
) -> None:
    found = cronbach_alpha(ratings, subject="USUBJID", item="RATER", value="SCORE")
    wanted = oracle[oracle["fit"] == "alpha"].set_index("quantity")["value"]
    assert (found.n, found.n_items, found.n_missing) == (23, 4, 3)
    got = [found.estimate, found.lower, found.upper]
    variant = "raw, Feldt interval"
    expected = wanted[["estimate", "lower", "upper"]]
    compare("cronbach_alpha", variant, PSYCH, "alpha and interval", got, expected, rel=1e-12)
    for mine, theirs in (("item_rest", "item_rest"), ("alpha_without", "without")):
        values = wanted[[theirs]].to_numpy()
        compare("cronbach_alpha", variant, PSYCH, mine, found.items[mine], values, rel=1e-12)
    assert len(found.table) == 1


def test_alpha_is_the_mean_rating_consistency() -> None:
    """Alpha is ICC(C,k), as the same mean squares show."""
    table = icc(long(RATINGS), **KEYS).set_index("type")
    found = cronbach_alpha(long(RATINGS), **ALPHA)
    assert found.estimate == pytest.approx(table.loc["ICC(C,k)", "estimate"], rel=1e-12)
    assert found.lower == pytest.approx(table.loc["ICC(C,k)", "lower"], rel=1e-10)


def test_alpha_that_cannot_be_had_says_why() -> None:
    flat = cronbach_alpha(long(np.tile([[1.0, 2.0]], (6, 1))), **ALPHA)
    assert flat.failed is not None
    assert "does not vary" in flat.failed
    assert flat.table.empty
    assert flat.items.empty
    assert np.isnan(flat.estimate)
    one = cronbach_alpha(long(RATINGS[:1]), **ALPHA)
    assert one.failed is not None
    assert "do not suffice" in one.failed
    turned = RATINGS.astype(float).copy()
    turned[:, 0] = -turned[:, 0]
    assert any("wrong way" in note for note in cronbach_alpha(long(turned[:, :2]), **ALPHA).notes)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: pd.concat([f, f.iloc[:1]]), "two values"),
        (lambda f: f.assign(score=f["score"].replace(9.0, np.inf)), "infinite"),
        (lambda f: f.assign(score="high"), "not numeric"),
        (lambda f: f.drop(columns="judge"), "no column"),
        (lambda f: f[f["person"] < 4], "do not suffice"),
        (lambda f: f.assign(score=3.0), "do not vary"),
    ],
)
def test_bad_ratings_are_refused(change: Callable[[pd.DataFrame], pd.DataFrame], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        icc(change(long(RATINGS)), **KEYS)


def test_effect_sizes_equal_noncentral_t(
    compare: Callable[..., float], oracle: pd.DataFrame, ratings: pd.DataFrame
) -> None:
    wanted = oracle[oracle["fit"] == "effect"].set_index("quantity")["value"]
    a = ratings[ratings["RATER"] == "A"]["SCORE"]
    b = ratings[ratings["RATER"] == "B"]["SCORE"].iloc[:20]
    wide = ratings.pivot(index="USUBJID", columns="RATER", values="SCORE").dropna()
    for kind in ("cohen_d", "hedges_g", "glass_delta", "d_z"):
        pair = (wide["A"], wide["B"]) if kind == "d_z" else (a, b)
        row = effect_size(*pair, kind=kind).iloc[0]
        got = [row["estimate"], row["lower"], row["upper"]]
        expected = wanted[[kind, f"{kind}_lower", f"{kind}_upper"]]
        compare("effect_size", kind, "R 4.2.2 pt(ncp=)", "effect, limits", got, expected, rel=1e-9)
    row = effect_size(wide["A"], wide["B"], kind="d_av").iloc[0]
    assert row["estimate"] == pytest.approx(wanted["d_av"], rel=1e-12)
    assert "approximate" in row["variant"]
    exact = hedges_g(a, b, interval="exact").iloc[0]
    assert exact["lower"] == pytest.approx(wanted["hedges_g_lower"], rel=1e-3)


def test_hedges_g_is_the_corrected_standardised_difference() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.5, 1, 24), rng.normal(0, 1, 30)
    pooled = np.sqrt((23 * x.var(ddof=1) + 29 * y.var(ddof=1)) / 52)
    wanted = (x.mean() - y.mean()) / pooled * (1 - 3 / (4 * 54 - 9))
    row = hedges_g(x, np.append(y, np.nan)).iloc[0]
    assert row["estimate"] == pytest.approx(wanted, rel=1e-9)
    assert row["lower"] < row["estimate"] < row["upper"]
    assert row["n"] == 54
    assert hedges_g(y, x)["estimate"].iloc[0] == pytest.approx(-wanted)
    scaled = hedges_g(1e-7 * x, 1e-7 * y).iloc[0]
    assert scaled["upper"] == pytest.approx(row["upper"], rel=1e-9)
    wide = hedges_g(x, y, level=0.99).iloc[0]
    assert wide["lower"] < row["lower"]


@pytest.mark.parametrize("kind", KINDS)
def test_effects_turn_with_their_sign(kind: str) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(0.4, 1, 20), rng.normal(0, 1, 20)
    row, moved = (effect_size(*v, kind=kind).iloc[0] for v in ((x, y), (3.0 - 2 * x, 3.0 - 2 * y)))
    assert moved["estimate"] == pytest.approx(-row["estimate"], rel=1e-12)
    assert moved["lower"] == pytest.approx(-row["upper"], rel=1e-9)
    assert row["lower"] < row["estimate"] < row["upper"]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="fewer than two"):
        hedges_g([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match="do not vary"):
        hedges_g([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(UsageError, match="infinite"):
        hedges_g([1.0, np.inf], [2.0, 2.0])
    with pytest.raises(UsageError, match="interval"):
        hedges_g([1.0, 2.0], [2.0, 2.5], interval="bootstrap")
    with pytest.raises(UsageError, match="effect size"):
        effect_size([1.0, 2.0], [2.0, 2.5], kind="r")
    with pytest.raises(UsageError, match="length"):
        effect_size([1.0, 2.0], [2.0, 2.5, 3.0], kind="d_z")
    with pytest.raises(UsageError, match="do not vary"):
        effect_size([1.0, 2.0, 4.0], [2.0, 3.0, 5.0], kind="d_z")
    with pytest.raises(UsageError, match="do not vary"):
        effect_size([1.0, 2.0, 4.0], [2.0, 2.0, 2.0], kind="glass_delta")


def test_pingouin_is_imported_in_one_module_only() -> None:
    root = Path(trialkit.__file__).parent
    users = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(n.split(".")[0] == "pingouin" for n in names):
                users.add(path.name)
    assert users == {"agreement.py"}
