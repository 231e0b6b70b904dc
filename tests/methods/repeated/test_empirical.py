"""Empirical covariance of an MMRM: its definition, identities and invariances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import ancova, mmrm
from trialkit.methods._design import build_design
from trialkit.methods.repeated.result import MMRMFit

OWN = Path(__file__).parent.parent.parent / "oracles" / "mmrm"
FORMULA = "AVAL ~ BASE + TRT01P*AVISIT"
KEYS = {"subject": "USUBJID", "visit": "AVISIT"}
NUMBERS = ["estimate", "se", "df", "statistic", "p", "lower", "upper"]
Floats = npt.NDArray[np.float64]


def data() -> pd.DataFrame:
    return pd.read_csv(OWN / "structures.csv").assign(W=lambda t: 0.5 + t["BASE"])


def fitted(frame: pd.DataFrame, **options: Any) -> MMRMFit:
    fit: MMRMFit = mmrm(FORMULA, frame, **KEYS, **options)
    assert fit.failed is None
    return fit


def by_definition(frame: pd.DataFrame, fit: MMRMFit, kind: str, c: Floats) -> tuple[Floats, float]:
    """Covariance and Bell-McCaffrey df written out with matrices of all rows."""
    design = build_design(FORMULA, frame, also=[*KEYS.values(), "W"])
    x, y = design.x, design.y
    subject = design.columns["USUBJID"]
    weight = design.columns["W"] if fit.options["weights"] else np.ones(len(y))
    visits = list(fit.covariance.columns)
    place = np.array([visits.index(v) for v in design.columns["AVISIT"]])
    v = fit.covariance.to_numpy()[np.ix_(place, place)] / np.sqrt(np.outer(weight, weight))
    v *= subject[:, None] == subject
    root = np.linalg.cholesky(np.linalg.inv(v)).T
    xt = root @ x
    a = np.linalg.inv(xt.T @ xt)
    e = root @ y - xt @ (a @ xt.T @ root @ y)
    annihilator = np.eye(len(y)) - xt @ a @ xt.T
    meat, p = np.zeros_like(a), []
    for name in dict.fromkeys(subject):
        mine = subject == name
        values, vectors = np.linalg.eigh(annihilator[np.ix_(mine, mine)])
        power = {"cr0": 0.0, "cr2": -0.5, "cr3": -1.0}[kind]
        k = vectors * values**power @ vectors.T
        score = xt[mine].T @ k @ e[mine]
        meat += np.outer(score, score)
        p.append(annihilator[:, mine] @ k @ xt[mine] @ a @ c)
    gram = np.array(p) @ np.array(p).T
    return a @ meat @ a, float(np.trace(gram) ** 2 / (gram**2).sum())


@pytest.mark.parametrize("kind", ["cr0", "cr2", "cr3"])
@pytest.mark.parametrize("options", [{}, {"covariance": "ar1h", "weights": "W"}])
def test_agrees_with_the_definition(kind: str, options: dict[str, Any]) -> None:
    frame = data().query("USUBJID < 'S030' or USUBJID > 'S059'")
    fit = fitted(frame, se=kind, **options)
    c = np.eye(len(fit.coefficients))[2]
    covariance, df = by_definition(frame, fit, kind, c)
    np.testing.assert_allclose(fit.coefficient_covariance, covariance, rtol=1e-7, atol=1e-12)
    assert fit.coefficients["df"].iloc[2] == pytest.approx(df, rel=1e-6)
    np.testing.assert_allclose(fit.coefficients["se"], np.sqrt(np.diagonal(covariance)), rtol=1e-7)


def test_paired_t_is_cr2_and_its_df() -> None:
    """Of complete pairs, CR2 gives the paired t test: SE, and n - 1 df."""
    rng = np.random.default_rng(4)
    wide = rng.normal(size=(12, 2)) + rng.normal(size=(12, 1))
    long = pd.DataFrame(
        {"id": np.repeat(np.arange(12), 2), "g": ["a", "b"] * 12, "y": wide.ravel()}
    )
    gap = wide[:, 1] - wide[:, 0]
    # a residual of a mean of 12 is sqrt(11 / 12) of an error: CR0 keeps it, CR3 turns it over
    for kind, factor in {"cr0": 11.0 / 12.0, "cr2": 1.0, "cr3": 12.0 / 11.0}.items():
        fit = mmrm("y ~ g", long, subject="id", visit="g", se=kind)
        row = fit.contrast("g", reference="a").iloc[0]
        assert row["se"] == pytest.approx(np.sqrt(factor * gap.var(ddof=1) / 12.0), rel=1e-9)
        assert row["df"] == pytest.approx(11.0, rel=1e-9)


def test_complete_data_give_hc3_of_each_visits_ancova() -> None:
    """With complete data and all effects by visit, the leverages are those of one visit."""
    frame = data()
    frame = frame[frame.groupby("USUBJID")["AVAL"].transform(lambda v: v.notna().all())]
    fit = mmrm("AVAL ~ BASE*AVISIT + TRT01P*AVISIT", frame, **KEYS, se="cr3")
    table = fit.contrast("TRT01P", reference="Control", by="AVISIT").set_index("AVISIT")
    for visit, part in frame.groupby("AVISIT"):
        alone = ancova("AVAL ~ BASE + TRT01P", part, se="hc3")
        want = alone.contrast("TRT01P", reference="Control").iloc[0]
        assert table.loc[visit, "estimate"] == pytest.approx(want["estimate"], rel=1e-8)
        assert table.loc[visit, "se"] == pytest.approx(want["se"], rel=1e-7)


@pytest.mark.parametrize("kind", ["cr0", "cr2", "cr3"])
def test_units_and_order_do_not_matter(kind: str) -> None:
    frame = data()
    options = {"se": kind, "covariance": "toeph", "group": "TRT01P"}
    usual = fitted(frame, **options).contrast("TRT01P", reference="Control", by="AVISIT")
    mixed = frame.sample(frac=1.0, random_state=2)
    other = fitted(mixed, **options).contrast("TRT01P", reference="Control", by="AVISIT")
    np.testing.assert_allclose(other[NUMBERS], usual[NUMBERS], rtol=1e-9)
    scaled = frame.assign(AVAL=frame["AVAL"] * 1e6 - 5e6, BASE=frame["BASE"] / 1e3)
    other = fitted(scaled, **options).contrast("TRT01P", reference="Control", by="AVISIT")
    np.testing.assert_allclose(other[["df", "statistic"]], usual[["df", "statistic"]], rtol=1e-6)


def test_corrections_grow_and_f_of_one_row_is_the_square_of_t() -> None:
    fits = [fitted(data(), se=kind) for kind in ("cr0", "cr2", "cr3")]
    se = np.array([fit.coefficients["se"] for fit in fits])
    assert (np.diff(se, axis=0) > 0).all()
    for fit in fits:
        row = fit.coefficients.iloc[2]
        done = fit.test(np.eye(len(fit.coefficients))[2])
        assert done is not None
        assert done.f == pytest.approx(row["statistic"] ** 2)
        assert done.den_df == pytest.approx(row["df"])
        assert fit.anova()["p"].between(0, 1).all()


def test_f_needs_as_many_subjects_as_contrasts() -> None:
    """Four subjects make a sandwich of rank four or less: five visits cannot be tested at once."""
    frame = data().query("USUBJID in ('S001', 'S003', 'S050', 'S055')")
    frame = frame.assign(AVAL=frame["AVAL"].fillna(0.3))
    fit = mmrm("AVAL ~ AVISIT", frame, **KEYS, covariance="cs", se="cr0")
    assert fit.failed is None
    row = fit.anova().set_index("term").loc["AVISIT"]
    assert row["num_df"] == 0
    assert row[["den_df", "statistic", "p"]].isna().all()


def test_other_df_with_an_empirical_se() -> None:
    fit = fitted(data(), se="cr2", df="residual")
    assert (fit.coefficients["df"] == fit.n - 11).all()
    fit = fitted(data(), se="cr2", df="between_within")
    assert set(fit.coefficients["df"]) == {fit.n_subjects - 3, fit.n - fit.n_subjects - 8}


def test_cr3_needs_more_than_one_subject_for_each_coefficient() -> None:
    frame = data().assign(SITE=lambda t: np.where(t["USUBJID"] == "S003", "B", "A"))
    one = "AVAL ~ SITE + TRT01P*AVISIT"
    fit = mmrm(one, frame, **KEYS, se="cr3")
    assert fit.failed is not None
    assert "one subject alone" in fit.failed
    assert fit.coefficients.empty
    for kind in ("cr0", "cr2"):
        kept = mmrm(one, frame, **KEYS, se=kind)
        assert kept.failed is None
        assert "one subject alone" in kept.notes[0]
        assert kept.notes[0] in kept.summary()
        assert (kept.coefficients["df"] > 0).all()


@pytest.mark.parametrize("df", ["kenward_roger_linear", "kenward_roger"])
def test_kenward_roger_with_a_sandwich_is_refused(df: str) -> None:
    with pytest.raises(UsageError, match="model-based") as caught:
        mmrm(FORMULA, data(), **KEYS, se="cr2", df=df)
    assert "satterthwaite" in str(caught.value.remedy)
