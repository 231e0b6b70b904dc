"""Effect size and intra-class correlation against published numbers and formulas."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trialkit
from trialkit.errors import UsageError
from trialkit.methods import hedges_g, icc

# Shrout PE, Fleiss JL (1979), Intraclass correlations, Psychol Bull 86:420, tables 2 and 4
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)
PUBLISHED = [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]


def long(ratings: np.ndarray) -> pd.DataFrame:
    rows = [(i, j, v) for i, row in enumerate(ratings) for j, v in enumerate(row)]
    return pd.DataFrame(rows, columns=["person", "judge", "score"]).astype(float)


def test_icc_equals_shrout_and_fleiss() -> None:
    table = icc(long(RATINGS), subject="person", rater="judge", value="score")
    assert table["estimate"].round(2).tolist() == PUBLISHED
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_icc_leaves_out_incomplete_subjects() -> None:
    extra = pd.DataFrame({"person": [99.0], "judge": [0.0], "score": [1.0]})
    both = pd.concat([long(RATINGS), extra])
    table = icc(both, subject="person", rater="judge", value="score")
    assert table["estimate"].round(2).tolist() == PUBLISHED


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


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="fewer than two"):
        hedges_g([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match="do not vary"):
        hedges_g([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(UsageError, match="do not suffice"):
        icc(long(RATINGS[:3]), subject="person", rater="judge", value="score")


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
