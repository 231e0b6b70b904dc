"""Covariance structures: derivatives, nlme::gls, identities, invariances, fallbacks."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from trialkit.methods import mmrm
from trialkit.methods._design import build_design
from trialkit.methods.repeated.fit import fit_arrays, lay_out
from trialkit.methods.repeated.structured import StructuredLikelihood
from trialkit.methods.repeated.structures import STRUCTURES

OWN = Path(__file__).parent.parent.parent / "oracles" / "mmrm"
FORMULA = "AVAL ~ BASE + TRT01P*AVISIT"
KEYS = {"subject": "USUBJID", "visit": "AVISIT"}
NUMBERS = ["estimate", "se", "df", "statistic", "p", "lower", "upper"]
STRUCTURED = [name for name in STRUCTURES if name != "us"]
PLAIN = [name for name in STRUCTURED if not name.startswith("sp_")]
Compare = Callable[..., float]


@functools.cache
def stored() -> pd.DataFrame:
    return pd.read_csv(OWN / "structures.csv")


def data() -> pd.DataFrame:
    """70 subjects, five visits, 14 % missing, visit days that differ within a visit."""
    return stored().copy()


def timed(name: str) -> dict[str, Any]:
    return {"time": "ADY"} if name.startswith("sp_") else {}


def contrast(frame: pd.DataFrame, name: str, **options: Any) -> pd.DataFrame:
    fit = mmrm(FORMULA, frame, **KEYS, covariance=name, **timed(name), **options)
    assert fit.failed is None
    table: pd.DataFrame = fit.contrast("TRT01P", reference="Control", by="AVISIT")
    return table


def numeric_slope(f: Callable[[Any], Any], x: npt.NDArray[Any], i: int) -> Any:
    step = np.eye(len(x))[i] * 1e-5
    return (f(x + step) - f(x - step)) / 2e-5


@pytest.mark.parametrize("name", STRUCTURED)
def test_derivatives_of_a_structure(name: str) -> None:
    structure = STRUCTURES[name]
    v, r = structure.n_variances(4), structure.n_correlations(4)
    theta = np.concatenate([np.linspace(0.8, 1.7, v), np.linspace(0.5, 0.3, r)])
    days = np.array([[0.0, 0.4, 1.3, 2.0], [0.1, 0.5, 1.0, 2.5]])
    d = np.abs(days[:, :, None] - days[:, None, :])
    sigma, first, second = structure.evaluate(theta, d)
    assert len(structure.names(["a", "b", "c", "d"])) == v + r == len(theta)
    np.testing.assert_allclose(sigma, sigma.swapaxes(1, 2), rtol=1e-14)
    for i in range(v + r):
        slope = numeric_slope(lambda t: structure.evaluate(t, d)[0], theta, i)
        np.testing.assert_allclose(first[:, i], slope, atol=1e-9)
        bend = numeric_slope(lambda t: structure.evaluate(t, d)[1], theta, i)
        np.testing.assert_allclose(second[:, i], bend, atol=1e-8)


@pytest.mark.parametrize("name", ["toeph", "ar1", "adh", "csh", "sp_exp"])
@pytest.mark.parametrize("reml", [True, False])
def test_gradient_and_hessian_are_derivatives(name: str, reml: bool) -> None:
    frame = data().assign(W=lambda t: 0.5 + t["BASE"])
    design = build_design(FORMULA, frame, also=[*KEYS.values(), "ADY", "W"])
    layout = lay_out(design, frame, "USUBJID", "AVISIT", "TRT01P", "W", ["ADY"])
    likelihood, best = fit_arrays(design.x, design.y, layout, reml=reml, covariance=name)
    assert isinstance(likelihood, StructuredLikelihood)
    assert best.failed is None
    assert np.abs(best.gradient * likelihood.scale(best.point)).max() < 1e-9
    theta = best.point.theta * (1.0 + 0.05 * np.sin(np.arange(likelihood.n_parameters)))
    at = likelihood.point(theta)
    assert at is not None
    gradient, hessian, expected, _ = likelihood.derivatives(at)
    assert np.linalg.eigvalsh(expected).min() > 0

    def value(t: npt.NDArray[np.float64]) -> float:
        found = likelihood.point(t)
        assert found is not None
        return found.value

    def slope(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found = likelihood.point(t)
        assert found is not None
        return likelihood.derivatives(found)[0]

    for i in range(len(theta)):
        assert gradient[i] == pytest.approx(numeric_slope(value, theta, i), rel=1e-5, abs=1e-4)
        np.testing.assert_allclose(hessian[i], numeric_slope(slope, theta, i), rtol=1e-5, atol=1e-3)


def gls() -> pd.DataFrame:
    names = ["structure", "method", "quantity", "name", "value"]
    return pd.read_csv(OWN / "structures.txt", names=names, dtype=str, keep_default_na=False)


def plain(name: str) -> str:
    """Name a coefficient without brackets, an interaction without its order."""
    bare = name.replace("[T.", "").replace("]", "").replace("(", "").replace(")", "")
    return ":".join(sorted(bare.split(":")))


@pytest.mark.parametrize("name", ["cs", "csh", "ar1", "ar1h", "sp_exp", "sp_gau"])
def test_agrees_with_gls(name: str, compare: Compare) -> None:
    """tests/oracles/mmrm: nlme::gls, and clubSandwich on it.

    gls stops up to 3e-8 above the least -2 log-likelihood; that leaves its standard errors and
    parameters good to 2e-5 and its estimates to 5e-5 of a standard error.
    """
    oracle = gls().query("structure == @name")
    gathered: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (method, kind), rows in oracle.groupby(
        ["method", oracle["quantity"].str.extract(r"_(CR\d)", expand=False).fillna("model")]
    ):
        fit = mmrm(
            FORMULA,
            data(),
            **KEYS,
            covariance=name,
            **timed(name),
            reml=method == "REML",
            df="satterthwaite",
            se=str(kind).lower(),
        )
        table = fit.coefficients.assign(term=lambda t: t["term"].map(plain)).set_index("term")
        found = dict(
            zip(
                fit.covariance_parameters["parameter"],
                np.r_[fit.covariance_parameters["estimate"]],
                strict=True,
            )
        )
        for row in rows.itertuples():
            want = float(str(row.value))
            quantity = str(row.quantity).split("_CR")[0]
            if quantity == "minus2_loglik":
                assert fit.minus2_loglik <= want + 1e-9
                gathered[quantity].append((fit.minus2_loglik, want))
            elif quantity == "parameter":
                sigma = float(np.sqrt(next(iter(found.values()))))
                last = float(list(found.values())[-1])
                if row.name == "correlation":
                    gathered["correlation or range"].append((last, want))
                elif not STRUCTURES[name].heterogeneous:
                    gathered["residual SD"].append((sigma, want))
            elif quantity == "estimate":
                mine = table.loc[plain(str(row.name))]
                gathered["estimate, in SE"].append(((mine["estimate"] - want) / mine["se"], 0.0))
            else:
                label = quantity if kind == "model" else f"{quantity}, {kind}"
                gathered[label].append((table.loc[plain(str(row.name)), quantity], want))
    assert len(gathered) >= 4
    tolerance = {"minus2_loglik": {"abs": 1e-7}, "estimate, in SE": {"abs": 5e-5}}
    for quantity, both in gathered.items():
        got, want = np.asarray(both, dtype=float).T
        size = tolerance.get(quantity, {"rel": 2e-5})
        who = "clubSandwich 0.5.8 on nlme 3.1-162" if "CR" in quantity else "nlme::gls 3.1-162"
        compare("mmrm", name, f"{who}, own data", quantity, got, want, **size)


def test_structures_are_nested() -> None:
    value = {
        name: mmrm(FORMULA, data(), **KEYS, covariance=name, df="satterthwaite").minus2_loglik
        for name in ["us", *PLAIN]
    }
    for narrow, wide in [
        ("cs", "csh"),
        ("cs", "toep"),
        ("ar1", "ar1h"),
        ("ar1", "ad"),
        ("ar1", "toep"),
        ("ad", "adh"),
        ("toep", "toeph"),
        ("ar1h", "adh"),
        ("csh", "toeph"),
        ("toeph", "us"),
        ("adh", "us"),
    ]:
        assert value[wide] <= value[narrow] + 1e-9


def test_two_visits_leave_two_structures() -> None:
    frame = data().query("AVISIT in ('W01', 'W12')")
    for group in [None, "TRT01P"]:
        for same in [["toep", "ar1", "ad", "cs"], ["us", "toeph", "ar1h", "adh", "csh"]]:
            tables = [contrast(frame, name, group=group)[NUMBERS] for name in same]
            for other in tables[1:]:
                np.testing.assert_allclose(other, tables[0], rtol=1e-7)


def test_exponential_on_even_days_is_autoregressive() -> None:
    frame = data()
    frame["ADY"] = frame["AVISIT"].map({"W01": 1, "W02": 8, "W04": 15, "W08": 22, "W12": 29})
    np.testing.assert_allclose(
        contrast(frame, "sp_exp")[NUMBERS], contrast(frame, "ar1")[NUMBERS], rtol=1e-7
    )
    fit = mmrm(FORMULA, frame, **KEYS, covariance="sp_exp", time="ADY")
    ar1 = mmrm(FORMULA, frame, **KEYS, covariance="ar1")
    rho = ar1.covariance_parameters["estimate"].iloc[-1]
    assert fit.covariance_parameters["estimate"].iloc[-1] == pytest.approx(-7.0 / np.log(rho))
    np.testing.assert_allclose(fit.covariance, ar1.covariance, rtol=1e-7)
    assert fit.notes == []


def test_times_of_each_row_count_and_their_unit_does_not() -> None:
    frame = data()
    fit = mmrm(FORMULA, frame, **KEYS, covariance="sp_exp", time="ADY")
    assert "times differ" in fit.notes[0]
    weeks = frame.assign(ADY=frame["ADY"] / 7.0 + 1000.0)
    np.testing.assert_allclose(
        contrast(weeks, "sp_exp")[NUMBERS], contrast(frame, "sp_exp")[NUMBERS], rtol=1e-6
    )
    planned = frame.assign(ADY=frame.groupby("AVISIT")["ADY"].transform("median"))
    other = mmrm(FORMULA, planned, **KEYS, covariance="sp_exp", time="ADY")
    assert abs(other.minus2_loglik - fit.minus2_loglik) > 1e-3
    plane = mmrm(FORMULA, frame.assign(Z=3.0), **KEYS, covariance="sp_exp", time=["ADY", "Z"])
    assert plane.minus2_loglik == pytest.approx(fit.minus2_loglik, abs=1e-9)


@pytest.mark.parametrize("name", [*PLAIN, "sp_exp"])
def test_groups_with_all_effects_are_separate_fits(name: str) -> None:
    """Arms with their own means and covariances share nothing, whatever the structure."""
    frame = data()
    both = mmrm(
        "AVAL ~ TRT01P*AVISIT", frame, **KEYS, covariance=name, group="TRT01P", **timed(name)
    )
    assert both.failed is None
    alone = [
        mmrm("AVAL ~ AVISIT", part, **KEYS, covariance=name, **timed(name))
        for _, part in frame.groupby("TRT01P")
    ]
    assert both.minus2_loglik == pytest.approx(sum(f.minus2_loglik for f in alone), abs=1e-7)
    means = both.lsmeans("AVISIT", by="TRT01P").sort_values("TRT01P", kind="stable")
    each = pd.concat([fit.lsmeans("AVISIT") for fit in alone])
    np.testing.assert_allclose(means[NUMBERS], each[NUMBERS], rtol=1e-6)
    table = both.covariance_parameters
    assert list(table.columns) == ["TRT01P", "parameter", "estimate", "se"]
    np.testing.assert_allclose(
        table["estimate"],
        np.r_[tuple(f.covariance_parameters["estimate"] for f in alone)],
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", STRUCTURED)
def test_units_labels_and_row_order_do_not_matter(name: str) -> None:
    frame = data()
    usual = contrast(frame, name)
    mixed = contrast(frame.sample(frac=1.0, random_state=1), name)
    assert mixed[NUMBERS].to_numpy().tobytes() == usual[NUMBERS].to_numpy().tobytes()
    scaled = frame.assign(AVAL=frame["AVAL"] * 1e5 + 3e5, BASE=frame["BASE"] / 1e4)
    other = contrast(scaled, name)
    np.testing.assert_allclose(other[["df", "statistic"]], usual[["df", "statistic"]], rtol=1e-6)
    np.testing.assert_allclose(other["estimate"], usual["estimate"] * 1e5, rtol=1e-6)
    arms = {"Control": "z", "Robot": "a"}
    fit = mmrm(
        FORMULA,
        frame.assign(TRT01P=frame["TRT01P"].map(arms)),
        **KEYS,
        covariance=name,
        **timed(name),
    )
    back = fit.contrast("TRT01P", reference="z", by="AVISIT")
    np.testing.assert_allclose(back[NUMBERS], usual[NUMBERS], rtol=1e-6)
    doubled = contrast(frame.assign(W=2.0), name, weights="W")
    np.testing.assert_allclose(doubled[NUMBERS], usual[NUMBERS], rtol=1e-6)


def test_visit_order_counts_where_it_should() -> None:
    frame = data()
    mixed = frame.assign(
        AVISIT=pd.Categorical(frame["AVISIT"], ["W04", "W12", "W01", "W08", "W02"])
    )
    for name in ["cs", "csh", "sp_exp"]:
        one = contrast(frame, name).set_index("AVISIT")
        two = contrast(mixed, name).set_index("AVISIT").loc[one.index]
        np.testing.assert_allclose(two[NUMBERS], one[NUMBERS], rtol=1e-6)
    one, two = contrast(frame, "ar1"), contrast(mixed, "ar1")
    assert abs(one["se"].sum() - two["se"].sum()) > 1e-6


def test_degrees_of_freedom_and_their_words() -> None:
    frame = data()
    seen = {}
    for df in [
        "satterthwaite",
        "kenward_roger_linear",
        "kenward_roger",
        "residual",
        "between_within",
    ]:
        fit = mmrm(FORMULA, frame, **KEYS, covariance="ar1h", df=df)
        seen[df] = fit.contrast("TRT01P", reference="Control", by="AVISIT")
        assert fit.df == df
        assert len(fit.anova()) == 4
    n, subjects = fit.n, fit.n_subjects
    assert (seen["residual"]["df"] == n - 11).all()
    # the arm alone at the first visit, with visits between subjects at the others
    assert (seen["between_within"]["df"] == subjects - 3).all()
    test = fit.anova().set_index("term")
    assert test.loc["TRT01P:AVISIT", "den_df"] == n - subjects - 8
    assert test.loc["BASE", "den_df"] == subjects - 3
    assert seen["satterthwaite"]["se"].tolist() == seen["residual"]["se"].tolist()
    assert (seen["kenward_roger_linear"]["se"] > seen["satterthwaite"]["se"]).all()
    assert (seen["kenward_roger"]["se"] != seen["kenward_roger_linear"]["se"]).all()
    for name in ["us", "cs", "toep"]:  # linear in the parameters of SAS
        one, two = (contrast(frame, name, df=d) for d in ("kenward_roger", "kenward_roger_linear"))
        np.testing.assert_array_equal(one[NUMBERS], two[NUMBERS])


def test_defaults() -> None:
    fits = [mmrm(FORMULA, data(), **KEYS, **o) for o in ({}, {"reml": False}, {"se": "cr2"})]
    assert [fit.df for fit in fits] == ["kenward_roger_linear", "satterthwaite", "satterthwaite"]
    assert fits[0].variant == "unstructured covariance, REML, Kenward-Roger-Linear df"
    assert "ML, Satterthwaite df" in fits[1].variant
    assert fits[2].variant.endswith("empirical SE, bias-reduced (CR2)")


def test_fallback_is_named_with_its_reason() -> None:
    frame = data()
    odd = frame["USUBJID"].str[-1].astype(int) % 2 == 0
    gone = (odd & (frame["AVISIT"] == "W01")) | (~odd & (frame["AVISIT"] == "W02"))
    frame["AVAL"] = frame["AVAL"].where(~gone)
    fit = mmrm(FORMULA, frame, **KEYS, covariance=["us", "toeph", "cs"], fallback_se="cr3")
    assert fit.failed is None
    assert fit.structure == "toeph"
    assert [name for name, _ in fit.fallbacks] == ["us"]
    assert "both W01 and W02" in fit.fallbacks[0][1]
    assert (fit.se, fit.df) == ("cr3", "satterthwaite")
    assert "both W01 and W02" in fit.summary()
    assert "CR3" in fit.summary()
    same = mmrm(FORMULA, frame, **KEYS, covariance="toeph", se="cr3")
    pd.testing.assert_frame_equal(fit.coefficients, same.coefficients)
    kept = mmrm(FORMULA, frame, **KEYS, covariance=("us", "toeph"))
    assert (kept.se, kept.df) == ("model", "kenward_roger_linear")


def test_first_structure_that_converges_is_used() -> None:
    fit = mmrm(FORMULA, data(), **KEYS, covariance=["us", "cs"], fallback_se="cr3")
    assert (fit.structure, fit.se, fit.fallbacks, fit.notes) == ("us", "model", (), [])


def test_all_structures_may_fail() -> None:
    fit = mmrm(FORMULA, data().assign(AVAL=1.0), **KEYS, covariance=["us", "toeph"])
    assert fit.failed is not None
    assert fit.failed.startswith("no structure converged (us: ")
    assert "toeph: " in fit.failed
    assert fit.coefficients.empty
    assert fit.covariance_parameters.empty
    assert fit.anova().empty
    assert fit.failed in fit.summary()
