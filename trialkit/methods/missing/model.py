"""The imputation model: an MMRM of the outcomes before intercurrent events.

Fixed effects are arm by visit and the covariates given, the covariance is unstructured (one
for all arms, or one an arm), fitted by REML or ML to the observed outcomes without those after
an event that is not imputed under MAR, as in the statistical specifications of R's rbmi
(section "The base imputation model").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design, parse, plain, variables_of
from trialkit.methods.missing import strategies
from trialkit.methods.missing.refit import Weighted
from trialkit.methods.missing.trial import Trial
from trialkit.methods.repeated.fit import Layout, fit_arrays

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """A fitted imputation model.

    Outcomes and coefficients are in reduced coordinates: the mean of a row ``x`` is
    ``x @ start + scale * (x @ back) @ gamma`` and covariances are in units of ``scale**2``.

    Parameters
    ----------
    trial : Trial
    design : Design
        Of the rows used.
    start : ndarray, shape (p,)
    back : ndarray, shape (p, p)
    scale : float
    x : dict
        Rows over the kept columns, shape (n, m, p): ``own`` arm, ``reference`` arm, and
        ``imputed``, those of the strategy's mean where it is linear in the other two.
    group : ndarray of int, shape (n,)
        Covariance group of each participant.
    reference_group : ndarray of int, shape (n,)
        Covariance group of the reference arm.
    weighted : Weighted
        The likelihood under weights.
    """

    trial: Trial
    design: Design = field(repr=False)
    start: Floats = field(repr=False)
    back: Floats = field(repr=False)
    scale: float
    x: dict[str, Floats] = field(repr=False)
    group: Ints = field(repr=False)
    reference_group: Ints = field(repr=False)
    weighted: Weighted = field(repr=False)

    @property
    def beta(self) -> Floats:
        """Coefficients of the kept columns of the design."""
        return np.asarray(self.start + self.scale * (self.back @ self.weighted.full.gamma[0]))

    @property
    def sigma(self) -> Floats:
        """Estimated covariances, shape (G, m, m)."""
        return np.asarray(self.weighted.start * self.scale**2)


def formula_of(trial: Trial, covariates: Sequence[str]) -> str:
    """Return the formula of the imputation model."""
    names = trial.names
    quoted = [
        name if name.isidentifier() else f"`{name}`"
        for name in (names.outcome, names.group, names.visit)
    ]
    return f"{quoted[0]} ~ " + " + ".join([f"{quoted[1]}*{quoted[2]}", *covariates])


def fit_model(
    trial: Trial, covariates: Sequence[str], *, same_covariance: bool, reml: bool
) -> Model | str:
    """Fit the imputation model, or say why it cannot be fitted.

    Raises
    ------
    UsageError
        For a covariate that is unknown or missing.
    """
    n, m = trial.y.shape
    formula = formula_of(trial, covariates)
    work = coded(trial)
    covariates_complete(formula, work, trial)
    used = trial.modelled.ravel()
    if not used.any():
        return "no outcome was observed before an intercurrent event"
    seen = pd.unique(trial.arm[trial.modelled.any(axis=1)])
    if len(seen) < len(trial.arms):
        empty = next(a for g, a in enumerate(trial.arms) if g not in set(seen.tolist()))
        return f"no outcome was observed in the arm {empty}"
    counts = trial.modelled.sum(axis=0)
    if not counts.all():
        return f"no outcome was observed at {trial.visits[int(np.argmin(counts))]}"
    design = build_design(formula, work[used])
    rows = grid_rows(design, work, trial)
    if isinstance(rows, str):
        return rows
    if reason := inestimable(design, rows, trial):
        return reason
    groups = tuple(range(len(trial.arms))) if not same_covariance else ()
    group = trial.arm if not same_covariance else np.zeros(n, dtype=np.intp)
    at = np.flatnonzero(used)
    layout = Layout(
        (at // m).astype(np.intp),
        (at % m).astype(np.intp),
        trial.visits,
        group[at // m] if groups else None,
        trial.arms if groups else (),
        None,
    )
    likelihood, optimum = fit_arrays(design.x, design.y, layout, reml=reml)
    if optimum.failed:
        return optimum.failed
    reduction = likelihood.patterns.reduction
    back: Floats = np.asarray(np.linalg.inv(reduction.r))
    x = {key: each[..., design.kept] for key, each in rows.items()}
    y = np.where(trial.modelled, trial.y, 0.0)
    z = np.concatenate(
        [x["own"] @ back, ((y - x["own"] @ reduction.start) / reduction.scale)[..., None]], axis=-1
    )
    z[~trial.modelled] = 0.0
    weighted = Weighted(z, trial.modelled, group, reml, optimum.point.sigma)
    return Model(
        trial=trial,
        design=design,
        start=reduction.start,
        back=back,
        scale=reduction.scale,
        x=x,
        group=group,
        reference_group=trial.reference[trial.arm] if groups else group,
        weighted=weighted,
    )


def coded(trial: Trial) -> pd.DataFrame:
    """Return the frame with arms and visits as factors in their order."""
    names, work = trial.names, trial.frame.copy()
    work[names.visit] = pd.Categorical(work[names.visit], categories=list(trial.visits))
    work[names.group] = pd.Categorical(work[names.group], categories=list(trial.arms))
    return work


def change_strategy(model: Model, trial: Trial) -> Model | str:
    """Return the same fit for a trial whose strategies differ, or say what cannot be estimated."""
    rows = grid_rows(model.design, coded(trial), trial)
    if isinstance(rows, str):
        return rows
    if reason := inestimable(model.design, rows, trial):
        return reason
    x = {key: each[..., model.design.kept] for key, each in rows.items()}
    group = model.group
    other = trial.reference[trial.arm] if len(model.weighted.start) > 1 else group
    return replace(model, trial=trial, x=x, reference_group=other)


def covariates_complete(formula: str, work: pd.DataFrame, trial: Trial) -> None:
    """Refuse covariates that are unknown or missing in some row."""
    names = trial.names
    _, terms = parse(formula)
    for expression in dict.fromkeys(name for term in terms for name in term):
        for column in variables_of(expression, work):
            if column not in work.columns:
                raise UsageError(
                    f"The data have no column {column!r}.",
                    remedy=f"Columns are: {', '.join(map(str, work.columns))}.",
                )
            lost = np.flatnonzero(work[column].isna().to_numpy())
            if len(lost):
                subject, visit = divmod(int(lost[0]), len(trial.visits))
                raise UsageError(
                    f"{column} is missing in {len(np.unique(lost // len(trial.visits)))} "
                    f"participants; the first is {names.subject} {trial.subjects[subject]} at "
                    f"{trial.visits[visit]}.",
                    remedy="A covariate of the imputation model must be known at every visit: "
                    "impute it, or leave the covariate or the participants out.",
                )


def grid_rows(design: Design, work: pd.DataFrame, trial: Trial) -> dict[str, Floats] | str:
    """Evaluate all columns of the design on the grid, under the own and the reference arm."""
    n, m = trial.y.shape
    every = np.arange(n * m)
    columns: dict[str, Any] = {}
    for factor in design.factors.values():
        for name in factor.variables:
            columns[name] = plain(work[name], every)
        if factor.categorical:
            known = pd.Index(factor.levels).get_indexer(pd.Index(columns[factor.variables[0]]))
            if (known < 0).any():
                level = columns[factor.variables[0]][int(np.argmin(known))]
                return f"no outcome was observed at {factor.variables[0]} = {level}"
    own = design.matrix(columns)
    arms = np.empty(len(trial.arms), dtype=object)
    arms[:] = trial.arms
    moved = {**columns, trial.names.group: arms[np.repeat(trial.reference[trial.arm], m)]}
    rows = {
        "own": own.reshape(n, m, -1),
        "reference": design.matrix(moved).reshape(n, m, -1),
    }
    out = rows["own"].copy()
    for i, strategy in enumerate(trial.strategy):
        if isinstance(strategy, str) and strategy != strategies.MAR:
            a, r = strategies.operators(strategy, int(trial.first[i]), m)
            out[i] = a @ rows["own"][i] + r @ rows["reference"][i]
    rows["imputed"] = out
    return rows


def inestimable(design: Design, rows: dict[str, Floats], trial: Trial) -> str | None:
    """Name the first mean that is needed and that the data cannot estimate."""
    needed = trial.missing.any(axis=1)
    for i in np.flatnonzero(needed):
        asked = ["imputed"] if isinstance(trial.strategy[i], str) else ["own", "reference"]
        for key in asked:
            bad = np.flatnonzero(~design.estimable(rows[key][i]))
            if len(bad):
                return (
                    f"the mean of {trial.names.subject} {trial.subjects[i]} "
                    f"({trial.arms[trial.arm[i]]}) at {trial.visits[bad[0]]} cannot be estimated: "
                    "no outcome was observed for such a participant"
                )
    return None
