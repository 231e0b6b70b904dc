"""Imputation of missing outcomes under stated assumptions, and analysis of the completed data.

Missing outcomes are imputed from a multivariate normal model of the visits
(:mod:`trialkit.methods.missing.model`) under missing at random or a reference-based strategy
(:mod:`trialkit.methods.missing.strategies`); completed data are analysed and pooled
(:mod:`trialkit.methods.missing.pool`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing.delta import read_delta
from trialkit.methods.missing.draws import BURN_IN, METHODS, draw, strata_of
from trialkit.methods.missing.imputation import Imputation
from trialkit.methods.missing.model import Model, fit_model
from trialkit.methods.missing.trial import Names, Trial, read_trial
from trialkit.methods.missing.values import Imputer

Floats = npt.NDArray[np.float64]

__all__ = ["Imputation", "impute"]


def impute(
    data: pd.DataFrame,
    *,
    outcome: str,
    subject: str,
    visit: str,
    group: str,
    covariates: Sequence[str] | str = (),
    ice: pd.DataFrame | str | None = None,
    strategy: Any = "mar",
    reference: Any = None,
    method: str = "conditional_mean",
    n: int = 100,
    seed: int | None = None,
    delta: Any = None,
    same_covariance: bool = True,
    reml: bool = True,
    visits: Sequence[Any] | None = None,
    strata: Sequence[str] | None = None,
    burn_in: int = BURN_IN,
) -> Imputation:
    """Impute missing outcomes.

    Parameters
    ----------
    data : DataFrame
        One row a participant and visit; visits without a row are added.
    outcome, subject, visit, group : str
        Columns. The arm must be constant within a participant.
    covariates : sequence of str or str
        Terms of the imputation model beside arm by visit, such as ``BASE*AVISIT``. They must be
        known at every visit.
    ice : DataFrame, "dropout" or None
        Intercurrent events: ``subject``, ``visit`` (the first visit affected) and, where it
        differs, ``strategy``. ``"dropout"``: everybody whose outcomes end before the last visit
        has an event at the first visit without one. Participants without an event are imputed
        under MAR.
    strategy : str or callable
        For events without a strategy of their own; see
        :mod:`trialkit.methods.missing.strategies`. Outcomes observed from the event on are left
        out of the imputation model unless the strategy is ``mar``; the analysis keeps them.
    reference : object or dict
        Reference arm, or one for each arm; also the reference of the default contrast.
    method : str
        ``conditional_mean`` (no random numbers), ``bayes`` (posterior draws) or
        ``approximate_bayes`` (bootstrap within strata, then REML).
    n : int
        Imputations of the random methods.
    seed : int
        Needed by the random methods. Imputation i depends on the seed and i, not on ``n``.
    delta : number, dict or DataFrame
        Added to imputed values: one amount, amounts by arm or visit (or arm, then visit), or a
        table of subject, visit, ``delta``.
    same_covariance : bool
        One covariance for all arms, else one an arm.
    reml : bool
        REML, else maximum likelihood.
    visits : sequence
        The visits in order of time; needed where names do not tell it.
    strata : sequence of str
        Bootstrap strata; the arm unless given.
    burn_in : int
        Sweeps of each chain of ``bayes``.

    Returns
    -------
    Imputation
        With ``failed`` set when the model cannot be fitted.

    Raises
    ------
    UsageError
        For input that no imputation could use.
    """
    check_options(method, n, seed, burn_in)
    trial = read_trial(
        data,
        Names(outcome, subject, visit, group),
        visits=visits,
        ice=ice,
        strategy=strategy,
        reference=reference,
    )
    terms = [covariates] if isinstance(covariates, str) else list(covariates)
    amounts = read_delta(delta, trial, np.flatnonzero(trial.missing.ravel()))
    shared: dict[str, Any] = {
        "trial": trial,
        "imputing": method,
        "model_variant": describe(method, n, same_covariance, reml),
        "seed": seed,
        "reference": first_reference(reference, trial),
        "strata": strata_of(trial, strata),
        "notes": notes_of(trial),
    }
    model = fit_model(trial, terms, same_covariance=same_covariance, reml=reml)
    if isinstance(model, str):
        return Imputation.nothing(model, **shared)
    return filled(model, amounts, method, n, seed, burn_in, shared)


def filled(
    model: Model,
    amounts: Floats,
    method: str,
    n: int,
    seed: int | None,
    burn_in: int,
    shared: dict[str, Any],
) -> Imputation:
    """Draw the missing values from the fitted model."""
    imputer = Imputer(model)
    number = 0 if seed is None else seed
    drawn = draw(imputer, method, n=n, seed=number, burn_in=burn_in, strata=shared["strata"])
    if isinstance(drawn, str):
        return Imputation.nothing(drawn, **shared)
    if drawn.replaced:
        shared["notes"].append(
            f"{drawn.replaced} bootstrap samples were drawn anew: their model could not be fitted"
        )
    return Imputation(
        failed=None,
        imputer=imputer,
        values=drawn.values,
        parameters=(drawn.gamma, drawn.sigma),
        amounts=amounts,
        diagnostics=drawn.diagnostics,
        **shared,
    )


def check_options(method: str, n: int, seed: int | None, burn_in: int) -> None:
    """Refuse options that do not exist."""
    if method not in METHODS:
        raise UsageError(
            f"The imputation method {method!r} is not known.",
            remedy=f"Use one of: {', '.join(METHODS)}.",
        )
    if method == "conditional_mean":
        return
    if seed is None:
        raise UsageError(f"The method {method} draws random numbers.", remedy="Give seed=...")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"The seed {seed!r} is no whole number from 0.", remedy="Give seed=1.")
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise UsageError(f"n={n!r} imputations cannot be pooled.", remedy="Give at least 2.")
    if isinstance(burn_in, bool) or not isinstance(burn_in, int) or burn_in < 1:
        raise UsageError(f"burn_in={burn_in!r} is no number of sweeps.", remedy="Give 50.")


def first_reference(given: Any, trial: Trial) -> Any:
    """Return the reference of the default contrast."""
    if given is None:
        return trial.arms[0]
    if isinstance(given, dict):
        used = [v for v in given.values() if v in trial.arms]
        return used[0] if used else trial.arms[0]
    return given


def describe(method: str, n: int, same: bool, reml: bool) -> str:
    """Name method and model."""
    how = METHODS[method] + (f", {n} imputations" if method != "conditional_mean" else "")
    if method == "bayes":
        how += ", inverse-Wishart prior on m + 2 df with the estimate as scale, one chain each"
    kind = "one unstructured covariance" if same else "an unstructured covariance for each arm"
    return f"{how}; MMRM with {kind} by {'REML' if reml else 'ML'}"


def notes_of(trial: Trial) -> list[str]:
    """Say what a reader must know about the data."""
    notes = []
    if isinstance(trial.visits[0], str):
        notes.append(f"visits in order: {', '.join(trial.visits)}")
    excluded = int((~trial.missing & ~trial.modelled).sum())
    if excluded:
        notes.append(
            f"{excluded} outcomes observed after an intercurrent event are left out of the "
            "imputation model and kept in the analysis"
        )
    none = int(trial.missing.all(axis=1).sum())
    if none:
        notes.append(f"{none} participants have no outcome at any visit; all theirs are imputed")
    if trial.added:
        notes.append(f"{trial.added} visits had no row in the data and were added")
    return notes
