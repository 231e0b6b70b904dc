"""Yes/no outcomes: logistic regression and risks standardised over the participants.

`BinaryFit.standardised` predicts every participant's risk under each treatment, averages, and
compares (g-computation); the variances ``ye``, ``ge`` and ``delta`` and their sources are
described in :mod:`trialkit.methods.categorical._standardise`. Separated outcomes end in a
failed fit, or in Firth's penalised likelihood where that is asked for
(:mod:`trialkit.methods.categorical._firth`). Many small strata are conditioned out
(:mod:`trialkit.methods.categorical._conditional`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design, independent
from trialkit.methods._marginal import names_of
from trialkit.methods._predictor import alias_notes
from trialkit.methods.categorical import _conditional, _logistic
from trialkit.methods.categorical._binary_fit import BinaryFit, strata_numbers
from trialkit.methods.categorical._firth import fit_firth
from trialkit.methods.categorical._logistic import SEPARATION, Maximum

__all__ = ["SEPARATION", "BinaryFit", "binary"]

ML = "logistic regression by maximum likelihood, expected information, normal quantiles"
FIRTH = (
    "logistic regression by Firth's penalised likelihood, profile penalised-likelihood intervals "
    "and likelihood-ratio p"
)
CONDITIONAL = "conditional (exact partial likelihood) logistic regression, normal quantiles"


def binary(
    formula: str,
    data: pd.DataFrame,
    *,
    estimator: Literal["ml", "firth"] = "ml",
    separation: Literal["fail", "firth"] = "fail",
    strata: str | Sequence[str] | None = None,
) -> BinaryFit:
    """Fit a logistic regression.

    Parameters
    ----------
    formula : str
        ``RESPONSE ~ TERMS`` with an outcome of 0 and 1 (or False and True).
    data : DataFrame
        One row a participant; rows with a missing value are dropped and counted.
    estimator : {"ml", "firth"}
        Maximum likelihood, or Firth's penalised likelihood whatever the data.
    separation : {"fail", "firth"}
        What becomes of separated outcomes: a failed fit, or Firth's penalised likelihood,
        which the fit then reports in ``variant`` and ``notes``.
    strata : str or sequence of str, optional
        Columns of many small strata, to be conditioned out (no risks, no intercept).

    Raises
    ------
    UsageError
        For unknown columns or options, or an outcome that is not 0 or 1.
    """
    if estimator not in ("ml", "firth") or separation not in ("fail", "firth"):
        raise UsageError(
            f"no estimator {estimator!r} with separation {separation!r}.",
            remedy="Use estimator='ml' or 'firth', separation='fail' or 'firth'.",
        )
    by = names_of(strata)
    if by and (estimator, separation) != ("ml", "fail"):
        raise UsageError(
            "The conditional likelihood has no penalised form here.",
            remedy="Leave out `strata`, or use estimator='ml' with separation='fail'.",
        )
    design = build_design(formula, data, also=by)
    if not np.isin(design.y, (0.0, 1.0)).all():
        raise UsageError(
            f"{design.response} holds values other than 0 and 1.",
            remedy="Give the response as 0 and 1, or `response:` with a cut-off in the plan.",
        )
    if by:
        return _fit_conditional(design, by)
    fit = _unfitted(design, FIRTH if estimator == "firth" else ML)
    if estimator == "ml":
        found = _logistic.maximise(design.x, design.y)
        if isinstance(found, Maximum) or found != SEPARATION or separation == "fail":
            return _finish(fit, found)
        fit.notes.append("the outcomes are separated: Firth's penalised likelihood is used")
        fit.variant = f"{FIRTH}, because the outcomes are separated"
    penalised = fit_firth(design.x, design.y)
    if isinstance(penalised, str):
        return _finish(fit, penalised)
    fit.firth = penalised
    return _finish(fit, penalised.maximum)


def _unfitted(design: Design, variant: str) -> BinaryFit:
    p = design.x.shape[1]
    return BinaryFit(
        method="binary",
        variant=variant,
        design=design,
        beta=np.full(p, np.nan),
        covariance=np.full((p, p), np.nan),
        n=len(design.y),
        n_missing=design.n_missing,
        notes=alias_notes(design),
    )


def _finish(fit: BinaryFit, found: Maximum | str) -> BinaryFit:
    fit.failed = found if isinstance(found, str) else None
    fit.converged = fit.failed is None
    if isinstance(found, Maximum):
        fit.beta, fit.covariance, fit.loglik = found.beta, found.covariance, found.loglik
    return fit


def _fit_conditional(design: Design, by: tuple[str, ...]) -> BinaryFit:
    labels = strata_numbers({name: design.columns[name] for name in by})
    full = design.matrix(design.columns)
    inner = _conditional.centred(full, design.y, labels)
    inner[:, np.abs(inner).max(axis=0) <= 1e-10 * np.abs(full).max(axis=0)] = 0.0
    kept, alias = independent(inner)
    design = replace(design, x=np.ascontiguousarray(inner[:, kept]), kept=kept, alias=alias)
    fit = _unfitted(design, f"{CONDITIONAL}, strata {', '.join(by)}")
    fit.strata = by
    fit.notes = [
        f"constant within strata, or combinations of other columns: {', '.join(names)}"
        for names in [[name for name in design.aliased if name != "Intercept"]]
        if names
    ]
    _, empty = _conditional.split(design.x, design.y, labels)
    if empty:
        fit.notes.append(f"{empty} strata hold one response only and tell nothing")
    return _finish(fit, _conditional.maximise(design.x, design.y, labels))
