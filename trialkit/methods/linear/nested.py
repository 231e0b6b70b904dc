r"""Partially nested model: therapists, or groups, in one arm only.

.. math:: y_{ij} = x_{ij}'\beta + t_{ij} u_j + e_{ij}, \qquad u_j \sim N(0, \tau^2), \qquad
          e_{ij} \sim N(0, \sigma^2)

with t = 1 in the arm that has therapists and 0 elsewhere; the residual variance may differ
between the nested and the other arms (``residual="by_arm"``), which Candlish et al. recommend.
Fitted by restricted maximum likelihood. Degrees of freedom are Kenward and Roger's (1997,
Biometrics 53:983; for one contrast they are Satterthwaite's with the information of their paper,
the expected one, and an adjusted covariance) or Satterthwaite's with the observed information
(Fai and Cornelius 1996, J Stat Comput Simul 54:363).

Where the estimate of the therapists' variance is zero, the fit is that of the linear model, and a
note says so.

Sources: Roberts C, Roberts SA (2005), Design and analysis of clinical trials with clustering
effects due to treatment, Clin Trials 2:152; Baldwin SA, Bauer DJ, Stice E, Rohde P (2011),
Evaluating models for partially clustered designs, Psychol Methods 16:149; Candlish J et al.
(2018), Appropriate statistical methods for analysing partially nested randomised controlled
trials with continuous outcomes, BMC Med Res Methodol 18:105.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._design import Design, build_design
from trialkit.methods._linear_fit import FormulaFit
from trialkit.methods.linear._clusters import Clusters, State
from trialkit.methods.linear._rows import one_row_each

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

RESIDUALS = {"equal": "equal residual variances", "by_arm": "residual variances by arm"}
DF_METHODS = {
    "kenward_roger": "Kenward-Roger (expected information)",
    "satterthwaite": "Satterthwaite (observed information)",
}
BOUNDARY = "variance between therapists estimated at its bound 0: the fit is the linear model's"


@dataclass(frozen=True)
class NestedInference:
    """Estimates, standard errors and degrees of freedom of linear functions.

    Parameters
    ----------
    beta : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
        As standard errors use it: adjusted for Kenward-Roger.
    plain : ndarray, shape (p, p)
        Without the adjustment.
    slopes : ndarray, shape (k, p, p)
        Derivatives of `plain` in the variances.
    spread : ndarray, shape (k, k)
        Covariance of the variances.
    """

    beta: Floats
    covariance: Floats
    plain: Floats
    slopes: Floats
    spread: Floats

    def __call__(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and degrees of freedom of each row."""
        variance = np.einsum("li,ij,lj->l", rows, self.covariance, rows)
        plain = np.einsum("li,ij,lj->l", rows, self.plain, rows)
        slope = np.einsum("li,kij,lj->lk", rows, self.slopes, rows)
        df = 2.0 * plain**2 / np.einsum("lk,km,lm->l", slope, self.spread, slope)
        return rows @ self.beta, np.sqrt(variance), df


@dataclass(frozen=True)
class NestedFit(FormulaFit):
    """A fitted partially nested model.

    Beside the fields of ``FormulaFit``:

    Parameters
    ----------
    n_therapists : int
    variant : str
        Estimation, residual variances and degrees of freedom in words.
    notes : list of str
    components : DataFrame
        ``component variance sd se``: ``therapist`` and ``residual``, or ``residual, nested`` and
        ``residual, other``; se of the variance from the observed information, NaN at the bound.
    icc : float
        Share of the therapists in the variance of the nested arm; NaN if failed.
    minus2_loglik : float
        -2 REML log-likelihood with its constant.
    design : Design
    inference : NestedInference or None
    """

    n_therapists: int
    variant: str
    notes: list[str]
    components: pd.DataFrame
    icc: float
    minus2_loglik: float
    design: Design = field(repr=False)
    inference: NestedInference | None = field(repr=False)
    method: str = "partially_nested"

    @property
    def coefficients(self) -> pd.DataFrame:
        """Coefficients with 95 % intervals, one row a column of the model matrix."""
        return _marginal.coefficients(self.design, self.inference)

    def lsmeans(
        self,
        term: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        weights: str = "equal",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return LS-means of ``term`` at each level of ``by``."""
        means = _marginal.margins(self.design, term, by, weights)
        return _marginal.tabulate(self.design, means, self.inference, level)

    def contrast(
        self,
        term: str,
        reference: Any,
        by: str | Sequence[str] | None = None,
        weights: str = "equal",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return differences of LS-means from the reference level of ``term``."""
        means = _marginal.margins(self.design, term, by, weights)
        rows = _marginal.differences(means, self.design.categorical(term), term, reference)
        return _marginal.tabulate(self.design, rows, self.inference, level)

    def summary(self) -> str:
        """Return the fit as text."""
        head = [f"Partially nested: {self.formula}", self.variant]
        head.append(
            f"{self.n} observations, {self.n_therapists} therapists, {self.n_missing} rows missing"
        )
        if self.inference is None:
            return "\n".join([*head, f"failed: {self.failed}"])
        head += [*self.notes, f"ICC {self.icc:.5g}"]
        tables = [_marginal.as_text(t) for t in (self.components, self.coefficients)]
        return "\n".join([*head, "", *tables])

    def _repr_html_(self) -> str:
        """Return the fit for a notebook."""
        return _marginal.html(self.summary(), self.coefficients)


def partially_nested(
    formula: str,
    data: pd.DataFrame,
    *,
    therapist: str,
    arm: str,
    nested: Any,
    residual: str = "equal",
    df: str = "kenward_roger",
    subject: str | None = None,
) -> NestedFit:
    """Fit a linear model with a random therapist effect in the arm that has therapists.

    Parameters
    ----------
    formula : str
        Such as ``AVAL ~ BASE + TRT01P``; it holds the fixed effects.
    data : DataFrame
        One row a participant.
    therapist : str
        Column of the therapist, read in the nested arm only; a participant there without one
        is left out and counted as missing.
    arm : str
        Column of the arm, in the formula.
    nested
        The level of `arm` that has therapists, or a list of several.
    residual : str
        ``equal``, or ``by_arm``: one variance in the nested arm and one elsewhere.
    df : str
        ``kenward_roger`` or ``satterthwaite``.
    subject : str, optional
        Column that names the participant; one with several rows is refused.

    Returns
    -------
    NestedFit
        With ``failed`` set, and empty tables, when the model cannot be fitted.

    Raises
    ------
    UsageError
        For unknown columns, levels or options, an infinite value, a non-numeric outcome, a
        participant with several rows, or a formula without the arm.
    """
    for value, known, what in ((residual, RESIDUALS, "residual"), (df, DF_METHODS, "df")):
        if value not in known:
            raise UsageError(
                f"{what}={value!r} is not available.", remedy=f"Use one of: {', '.join(known)}."
            )
    one_row_each(data, subject)
    used, without = _with_therapist(data, therapist, arm, nested)
    design = build_design(formula, used, also=[arm])
    design.categorical(arm)
    notes = [f"{without} participants of the nested arm without a therapist left out"]
    if design.aliased:
        notes.append(f"dropped as aliased: {', '.join(design.aliased)}")
    inside = np.isin(design.columns[arm], _levels(nested))
    names = used[therapist].iloc[design.rows].to_numpy()
    cluster = np.full(len(inside), -1, dtype=np.intp)
    cluster[inside] = pd.factorize(names[inside])[0]
    found = _fit(design, cluster, residual, df)
    fitted = None if isinstance(found, str) else found
    if fitted is not None and fitted.bound:
        notes.append(BOUNDARY)
    return NestedFit(
        formula=formula,
        failed=found if isinstance(found, str) else None,
        n=len(design.rows),
        n_subjects=len(design.rows),
        n_missing=len(data) - len(design.rows),
        n_therapists=int(cluster.max()) + 1,
        variant=f"REML, random therapist in {nested}, {RESIDUALS[residual]}, {DF_METHODS[df]}"
        + (f"; {BOUNDARY}" if fitted is not None and fitted.bound else ""),
        notes=notes if without else notes[1:],
        components=pd.DataFrame() if fitted is None else fitted.components,
        icc=math.nan if fitted is None else fitted.icc,
        minus2_loglik=math.nan if fitted is None else fitted.minus2_loglik,
        design=design,
        inference=None if fitted is None else fitted.inference,
    )


def _levels(nested: Any) -> list[Any]:
    return list(nested) if isinstance(nested, (list, tuple, set)) else [nested]


def _with_therapist(
    data: pd.DataFrame, therapist: str, arm: str, nested: Any
) -> tuple[pd.DataFrame, int]:
    """Return the rows without participants of the nested arm who lack a therapist."""
    for name in (therapist, arm):
        if name not in data.columns:
            raise UsageError(
                f"The data have no column {name!r}.",
                remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
            )
    present = data[arm].dropna().unique().tolist()
    unknown = [level for level in _levels(nested) if level not in present]
    if unknown or not _levels(nested):
        raise UsageError(
            f"{unknown[0] if unknown else nested!r} is not a level of {arm}.",
            remedy=f"Levels are: {', '.join(map(repr, present))}.",
        )
    without = data[arm].isin(_levels(nested)) & data[therapist].isna()
    return data[~without], int(without.sum())


@dataclass(frozen=True)
class _Fitted:
    inference: NestedInference
    components: pd.DataFrame
    icc: float
    minus2_loglik: float
    bound: bool


def _fit(design: Design, cluster: Ints, residual: str, df: str) -> _Fitted | str:
    """Maximise the restricted likelihood, or say why it cannot be done."""
    n, p = design.x.shape
    sizes = np.bincount(cluster[cluster >= 0])
    if n <= p + 2:
        return f"{n} observations cannot carry {p} coefficients and the variances"
    if len(sizes) < 2:
        return f"{len(sizes)} therapists: no variance between therapists can be estimated"
    if sizes.max() < 2:
        return "no therapist treated two participants; therapist and residual are one"
    if residual == "by_arm" and not (cluster < 0).any():
        return "every participant is in the nested arm; there is no other residual variance"
    model = Clusters(design.x, design.y, cluster, by_arm=residual == "by_arm")
    if not model.unit > 1e-24 * float(design.y @ design.y) / n:
        return "the model fits the outcome exactly; there is no residual variance"
    if residual == "by_arm":
        for part, name in ((cluster < 0, "other arms"), (cluster >= 0, "nested arm")):
            if part.sum() <= np.linalg.matrix_rank(design.x[part]):
                return f"too few participants for a residual variance of the {name}"
    try:
        found = model.optimum()
    except np.linalg.LinAlgError:
        found = None
    if found is None:
        return "the restricted likelihood could not be maximised"
    theta, state = found
    if theta[:-1].min(initial=theta[0]) < 1e-10:
        return "a residual variance goes to zero"
    return _finish(model, theta, state, df)


def _finish(model: Clusters, theta: Floats, state: State, df: str) -> _Fitted | str:
    """Turn the optimum into estimates in the units of the data."""
    unit = model.unit
    try:
        observed = np.linalg.inv(state.hessian) * 2.0
        expected = np.linalg.inv(state.expected) * 2.0
        np.linalg.cholesky(observed)
        np.linalg.cholesky(expected)
    except np.linalg.LinAlgError:
        return "the information of the variances is not positive definite"
    phi, slopes = state.phi, state.slopes
    adjusted, spread = phi, observed
    if df == "kenward_roger":
        spread = expected
        inner = np.einsum("kl,klij->ij", spread, state.bends)
        inner -= np.einsum("kl,kia,ab,lbj->ij", spread, slopes, phi, slopes)
        adjusted = phi + 2.0 * phi @ inner @ phi
    back = np.linalg.inv(model.r)
    move = back * math.sqrt(unit)
    inference = NestedInference(
        beta=back @ (model.start + math.sqrt(unit) * state.delta),
        covariance=move @ adjusted @ move.T,
        plain=move @ phi @ move.T,
        slopes=np.stack([move @ phi @ s @ phi @ move.T for s in slopes]),
        spread=np.asarray(spread, dtype=np.float64),
    )
    outside, inside, between = model.variances(theta)
    bound = len(theta) < len(model.basis)
    se = np.sqrt(np.diagonal(observed))
    names = ["residual"] if len(model.basis) == 2 else ["residual, other", "residual, nested"]
    values = [inside] if len(model.basis) == 2 else [outside, inside]
    table = pd.DataFrame(
        {
            "component": pd.Series(["therapist", *names[::-1]], dtype=object),
            "variance": np.array([between, *values[::-1]]) * unit,
            "se": np.array([math.nan if bound else se[-1], *se[: len(names)][::-1]]) * unit,
        }
    )
    table.insert(2, "sd", np.sqrt(table["variance"]))
    sign = np.linalg.slogdet(model.r)[1]
    room = model.n - model.p
    constant = room * (math.log(2.0 * math.pi) + math.log(unit)) + 2.0 * float(sign)
    return _Fitted(inference, table, between / (between + inside), state.value + constant, bound)
