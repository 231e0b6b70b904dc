"""Proportional hazards regression by lifelines.

Efron's ties, with lifelines' stopping rule tightened from about 1e-6 to the machine's
precision, where it equals R's ``coxph``. Start-stop data and clustered errors are not offered
here: those of lifelines are wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import build_design
from trialkit.methods._marginal import names_of
from trialkit.methods._predictor import PredictorFit, alias_notes, exponentiate
from trialkit.methods.survival._outcome import outcome

_STRICT = {"precision": 1e-14, "r_precision": 1e-14, "max_steps": 200}
MONOTONE = "monotone likelihood: a hazard ratio runs to zero or infinity"


@dataclass
class CoxFit(PredictorFit):
    """A proportional hazards regression; its linear predictor has no intercept."""

    loglik: float = float("nan")
    n_events: int = 0

    def hazard_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return hazard ratios against `reference`; ``se`` is that of the log hazard ratio."""
        return exponentiate(self.contrast(term, reference=reference, level=level))


def cox(
    formula: str,
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    ties: str = "efron",
    strata: str | Sequence[str] | None = None,
) -> CoxFit:
    """Fit a Cox regression.

    Parameters
    ----------
    formula : str
        Terms after ``~``; a left side is ignored.
    data : DataFrame
        One row a participant.
    time, event : str
        Column of the time (one unit throughout), and of 1 for an event, 0 for censoring.
    ties : {"efron"}
    strata : str or sequence of str, optional
        Columns whose combinations have baseline hazards of their own.

    Raises
    ------
    UsageError
        For unknown columns, negative times, an event column that is not 0 or 1, other ties.
    """
    if ties != "efron":
        raise UsageError(f"ties {ties!r} are not available.", remedy="Use ties='efron'.")
    layers = list(names_of(strata))
    right = formula.rpartition("~")[2]
    design = build_design(f"~ {right}", data, also=[time, event, *layers], response=False)
    times, events = outcome(design.columns[time], design.columns[event], time, event)
    keep = np.array(
        [i for i, name in enumerate(design.names) if name != "Intercept"], dtype=np.intp
    )
    p = design.x.shape[1]
    fit = CoxFit(
        method="cox",
        variant="Cox partial likelihood, ties by Efron, observed information, normal quantiles"
        + (f", stratified by {', '.join(layers)}" if layers else ""),
        design=design,
        beta=np.zeros(p),
        covariance=np.zeros((p, p)),
        n=len(times),
        n_missing=design.n_missing,
        notes=alias_notes(design),
        n_events=int(events.sum()),
    )
    frame = pd.DataFrame(design.x[:, keep], columns=[f"x{i}" for i in range(len(keep))])
    frame["_time"], frame["_event"] = times, events
    for i, name in enumerate(layers):
        frame[f"_s{i}"] = pd.Series(design.columns[name], dtype=object).astype(str)
    fit.failed = _maximise(fit, frame, keep, [f"_s{i}" for i in range(len(layers))])
    fit.converged = fit.failed is None
    return fit


def _maximise(
    fit: CoxFit, frame: pd.DataFrame, keep: npt.NDArray[np.intp], strata: list[str]
) -> str | None:
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    if not fit.n_events:
        return "no event in these data"
    if not len(keep):
        return "the formula leaves no column to estimate"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = CoxPHFitter().fit(
                frame, "_time", "_event", strata=strata or None, fit_options=dict(_STRICT)
            )
        except (ConvergenceError, np.linalg.LinAlgError, ValueError, ZeroDivisionError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else "no detail"
            return f"the partial likelihood could not be maximised ({first})"
    beta = np.asarray(found.params_, dtype=np.float64)
    covariance = np.asarray(found.variance_matrix_, dtype=np.float64)
    se = np.sqrt(np.diagonal(covariance))
    if not (np.isfinite(beta).all() and np.isfinite(se).all() and (se > 0).all()):
        return "the partial likelihood could not be maximised"
    spread = fit.design.x[:, keep].std(axis=0)
    if (np.abs(beta * spread) > 5.0).any() and (se * spread > 20.0).any():
        return MONOTONE
    fit.beta[keep] = beta
    fit.covariance[np.ix_(keep, keep)] = covariance
    fit.loglik = float(found.log_likelihood_)
    return None
