"""Counts over unequal follow-up: negative binomial regression with an offset.

The model is NB2: ``E y = mu``, ``Var y = mu + k mu^2``, ``log mu = x'b + log(exposure)``.
Standard errors come from the joint observed information of (b, k), as SAS PROC GENMOD gives;
R's ``glm.nb`` treats k as known and gives smaller ones. Likelihood and information are those
of statsmodels' ``NegativeBinomial``, which agree with SAS to all printed digits.

Source: Lawless JF (1987), Negative binomial and mixed Poisson regression, Can J Stat 15:209.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design
from trialkit.methods._predictor import PredictorFit, alias_notes, exponentiate

Floats = npt.NDArray[np.float64]
VARIANT = "NB2 by maximum likelihood, joint observed information, normal quantiles"
POISSON_LIMIT = "dispersion estimated at its bound 0 (Poisson limit)"


@dataclass
class NegativeBinomialFit(PredictorFit):
    """A negative binomial regression.

    Parameters
    ----------
    dispersion : float
        k of ``Var y = mu + k mu^2``; 0 where the maximum lies on the bound.
    dispersion_se : float
        NaN at the bound.
    loglik : float
    """

    dispersion: float = float("nan")
    dispersion_se: float = float("nan")
    loglik: float = float("nan")

    def rate_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return rate ratios against `reference`; ``se`` is that of the log rate ratio."""
        return exponentiate(self.contrast(term, reference=reference, level=level))

    def rates(self, term: str, *, level: float = 0.95) -> pd.DataFrame:
        """Return rates a unit of exposure at equal weights of the other factors.

        Numeric covariates are at their means; ``se`` is that of the log rate.
        """
        return exponentiate(self.means(term, level=level)).drop(columns=["statistic", "p"])


def negative_binomial(
    formula: str, data: pd.DataFrame, *, exposure: str | None = None
) -> NegativeBinomialFit:
    """Fit a negative binomial regression.

    Parameters
    ----------
    formula : str
        ``COUNT ~ TERMS``.
    data : DataFrame
        One row a participant.
    exposure : str or None
        Column of follow-up; its log is the offset. Rows without follow-up (zero) tell nothing
        about a rate: they are dropped and counted as missing.

    Raises
    ------
    UsageError
        For unknown columns, counts that are not whole numbers from 0, or negative exposure.
    """
    used = data
    if exposure is not None:
        used = data[_positive(data, exposure)]
    design = build_design(formula, used, also=[exposure] if exposure else [])
    y = design.y
    if (y < 0).any() or (y != np.round(y)).any():
        raise UsageError(
            f"{design.response} holds values that are no counts.", remedy="Give whole numbers >= 0."
        )
    offset = np.zeros(len(y))
    if exposure is not None:
        offset = np.log(design.columns[exposure].astype(np.float64))
    fit = NegativeBinomialFit(
        method="negative_binomial",
        variant=VARIANT + (f", offset log({exposure})" if exposure else ""),
        design=design,
        beta=np.full(design.x.shape[1], np.nan),
        covariance=np.full((design.x.shape[1],) * 2, np.nan),
        n=len(y),
        n_missing=len(data) - len(y),
        notes=alias_notes(design),
    )
    reason = _hopeless(design)
    if reason is None:
        reason = _maximise(fit, offset)
    fit.failed, fit.converged = reason, reason is None
    return fit


def _positive(data: pd.DataFrame, exposure: str) -> npt.NDArray[np.bool_]:
    if exposure not in data.columns:
        raise UsageError(
            f"The data have no column {exposure!r}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    values = pd.to_numeric(data[exposure], errors="coerce")
    if (values < 0).any():
        raise UsageError(f"{exposure} is negative in some rows.", remedy="Correct the follow-up.")
    return np.asarray(values > 0)


def _hopeless(design: Design) -> str | None:
    """Say why no maximum exists, before trying: too few rows, no event, a level without one."""
    if len(design.y) <= design.x.shape[1]:
        return f"{len(design.y)} rows do not suffice for {design.x.shape[1]} coefficients"
    if not design.y.any():
        return "no event in these data"
    for factor in design.factors.values():
        if factor.categorical:
            raw = design.columns[factor.variables[0]]
            for level in factor.levels:
                if not design.y[raw == level].any():
                    return f"no event where {factor.expression} is {level}"
    return None


def _maximise(fit: NegativeBinomialFit, offset: Floats) -> str | None:
    """Fill the estimates, or return why there are none."""
    import statsmodels.api as sm
    from statsmodels.discrete.discrete_model import NegativeBinomial

    x, y = fit.design.x, fit.design.y
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            poisson = sm.GLM(y, x, family=sm.families.Poisson(), offset=offset).fit(tol=1e-12)
            mu = poisson.fittedvalues
            if float(((y - mu) ** 2 - y).sum()) <= 0.0:  # score of k at 0
                return _poisson_limit(fit, poisson)
            start = max(float(((y - mu) ** 2 - y).sum() / (mu**2).sum()), 0.01)
            model = NegativeBinomial(y, x, offset=offset)
            begin = np.append(np.asarray(poisson.params, dtype=np.float64), start)
            found = _newton(model, begin)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
            return f"the likelihood could not be maximised ({error})"
        if found is None:
            return "the likelihood could not be maximised"
        information = -np.asarray(model.hessian(found), dtype=np.float64)
        try:
            np.linalg.cholesky(information)
        except np.linalg.LinAlgError:
            return "the observed information is not positive definite"
        covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
        fit.loglik = float(model.loglike(found))
    fit.beta, fit.covariance = found[:-1], covariance[:-1, :-1]
    fit.dispersion, fit.dispersion_se = float(found[-1]), float(np.sqrt(covariance[-1, -1]))
    return None


def _newton(model: Any, start: Floats) -> Floats | None:
    """Return the maximum: Newton from `start`, or after a quasi-Newton search if that strays."""
    for first in (None, "bfgs"):
        at = start
        if first is not None:
            at = np.asarray(model.fit(start, method=first, maxiter=500, disp=0).params, np.float64)
        found = np.asarray(
            model.fit(at, method="newton", maxiter=100, disp=0, tol=1e-12).params, np.float64
        )
        if np.isfinite(found).all() and found[-1] > 0:
            score = np.asarray(model.score(found))
            information = -np.asarray(model.hessian(found))
            with np.errstate(all="ignore"):
                gain = float(score @ np.linalg.solve(information, score))
            if 0.0 <= gain < 1e-12:
                return found
    return None


def _poisson_limit(fit: NegativeBinomialFit, poisson: Any) -> str | None:
    """Take the maximum at k = 0: the Poisson regression with its observed information."""
    if not poisson.converged:
        return "the likelihood could not be maximised"
    fit.beta = np.asarray(poisson.params, dtype=np.float64)
    fit.covariance = np.asarray(poisson.normalized_cov_params, dtype=np.float64)
    fit.dispersion, fit.loglik = 0.0, float(poisson.llf)
    fit.variant = f"{fit.variant}, {POISSON_LIMIT}"
    fit.notes.append(POISSON_LIMIT)
    return None
