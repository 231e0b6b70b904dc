"""Model matrices, reference grids and the tables of estimates."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from formulaic import Formula
from scipy import stats

from trialkit.errors import UsageError
from trialkit.methods import _marginal, ancova, mmrm
from trialkit.methods._design import build_design


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(7))
    return pd.DataFrame(
        {
            "Y": rng.normal(size=n),
            "X": rng.uniform(1.0, 3.0, n),
            "Z": rng.normal(size=n),
            "A": rng.choice(["a1", "a2", "a3"], n),
            "B": rng.choice(["b1", "b2"], n),
            "G": rng.choice([1, 2, 3], n),
        }
    )


@pytest.mark.parametrize(
    "formula",
    [
        "Y ~ X*A + B",
        "Y ~ A*B + X:A",
        "Y ~ A:B - 1",
        "Y ~ A + B - 1",
        "Y ~ X:A",
        "Y ~ A*B*X",
        "Y ~ log(X) + I(Z**2) + A",
        "Y ~ C(G)*B",
    ],
)
def test_columns_span_those_of_formulaic(formula: str) -> None:
    data = frame()
    design = build_design(formula, data)
    other = Formula(formula).get_model_matrix(data).rhs.to_numpy(dtype=float)
    assert np.linalg.matrix_rank(design.x) == design.x.shape[1] == np.linalg.matrix_rank(other)
    both = np.hstack([design.x, other])
    assert np.linalg.matrix_rank(both, tol=1e-8) == design.x.shape[1]


def test_names_are_those_of_formulaic() -> None:
    data = frame()
    for formula in ("Y ~ X*A + B", "Y ~ A*B", "Y ~ C(G) + log(X)"):
        design = build_design(formula, data)
        other = Formula(formula).get_model_matrix(data).rhs
        assert set(design.names) == set(other.columns)
        np.testing.assert_array_equal(design.x, other[design.names].to_numpy(dtype=float))


def test_aliased_columns_are_named_and_combinations_known() -> None:
    data = frame().assign(X2=lambda d: 2 * d.X + 1, ZERO=0.0)
    design = build_design("Y ~ X + X2 + ZERO + A", data)
    assert design.aliased == ["X2", "ZERO"]
    full = design.matrix(design.columns)
    np.testing.assert_allclose(full, design.x @ design.alias, atol=1e-10)


def test_levels_are_sorted_unless_categorical_and_unused_ones_go() -> None:
    data = frame()
    assert build_design("Y ~ A", data).categorical("A").levels == ("a1", "a2", "a3")
    given = data.assign(A=pd.Categorical(data["A"], ["a3", "none", "a1", "a2"]))
    assert build_design("Y ~ A", given).categorical("A").levels == ("a3", "a1", "a2")
    flag = data.assign(A=data["X"] > 2.0)
    assert build_design("Y ~ A", flag).categorical("A").levels == (False, True)


def test_means_average_the_grid_with_equal_weights() -> None:
    data = frame()
    fit = ancova("Y ~ A*B + X + log(X)", data)
    table = fit.lsmeans("A").set_index("A")
    beta = dict(zip(fit.design.names, fit.coefficients["estimate"], strict=True))
    mean = data["X"].mean()
    for level in ("a1", "a2", "a3"):
        cells = []
        for b in ("b1", "b2"):
            value = beta["Intercept"] + beta["X"] * mean + beta["log(X)"] * np.log(mean)
            value += beta.get(f"A[T.{level}]", 0.0) + beta.get(f"B[T.{b}]", 0.0)
            cells.append(value + beta.get(f"A[T.{level}]:B[T.{b}]", 0.0))
        assert table.loc[level, "estimate"] == pytest.approx(np.mean(cells), rel=1e-10)


def test_contrasts_are_differences_of_means() -> None:
    fit = ancova("Y ~ A*B + X", frame())
    means = fit.lsmeans("A", by="B").set_index(["A", "B"])["estimate"]
    table = fit.contrast("A", reference="a2", by="B")
    assert list(table.columns[:3]) == ["A", "reference", "B"]
    assert set(table["A"]) == {"a1", "a3"}
    for row in table.itertuples():
        want = means[(row.A, row.B)] - means[("a2", row.B)]
        assert row.estimate == pytest.approx(want, abs=1e-12)


def test_numeric_factor_and_several_factors() -> None:
    fit = ancova("Y ~ C(G)*B + A", frame())
    assert fit.lsmeans("G")["G"].tolist() == [1, 2, 3]
    both = fit.lsmeans(["A", "B"], by="G")
    assert len(both) == 18
    assert list(both.columns[:3]) == ["A", "B", "G"]
    one = fit.contrast("A", reference="a1", by=["G", "B"])
    assert list(one.columns[:4]) == ["A", "reference", "G", "B"]
    assert len(one) == 12


def test_level_and_normal_limits() -> None:
    fit = ancova("Y ~ A", frame())
    row = fit.contrast("A", reference="a1", level=0.9).iloc[0]
    assert row.upper - row.estimate == pytest.approx(stats.t.ppf(0.95, row.df) * row.se)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.statistic), row.df))
    infinite = _marginal.statistics(np.array([1.0]), np.array([0.5]), np.array([np.inf]), 0.95)
    assert infinite[0, 4] == pytest.approx(2 * stats.norm.sf(2.0))
    assert infinite[0, 6] == pytest.approx(1.0 + stats.norm.ppf(0.975) * 0.5)
    with pytest.raises(ValueError, match="level"):
        fit.lsmeans("A", level=95)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f.lsmeans("X"), "not a factor"),
        (lambda f: f.lsmeans("A", by="A"), "named twice"),
        (lambda f: f.lsmeans("A", weights="outer"), "'outer'"),
        (lambda f: f.contrast("A", reference="zz"), "not a level"),
    ],
)
def test_bad_questions(call: object, words: str) -> None:
    fit = ancova("Y ~ A + X", frame())
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        call(fit)  # type: ignore[operator]
    assert caught.value.remedy


@pytest.mark.parametrize(
    "factor", ["I(X if X else 1)", "X[0]", "open(X)", "(lambda: X)()", "C(X, 1)"]
)
def test_formulas_run_no_code(factor: str) -> None:
    with pytest.raises(UsageError):
        build_design(f"Y ~ A + {factor}", frame())


def test_type_three_tests_do_not_depend_on_coding() -> None:
    data = frame(120)
    one = ancova("Y ~ X*A + A*B", data).anova().set_index("term")
    recoded = data.assign(
        A=pd.Categorical(data["A"], ["a3", "a1", "a2"]), B=pd.Categorical(data["B"], ["b2", "b1"])
    )
    two = ancova("Y ~ X*A + A*B", recoded).anova().set_index("term")
    pd.testing.assert_frame_equal(one, two, rtol=1e-9)


def test_methods_stay_functions_after_their_modules_are_imported() -> None:
    import trialkit.methods
    import trialkit.methods.linear.ancova
    import trialkit.methods.repeated.fit

    assert trialkit.methods.mmrm is mmrm
    assert callable(trialkit.methods.ancova)
    assert set(trialkit.methods.VERSIONS) >= {"mmrm", "ancova"}
