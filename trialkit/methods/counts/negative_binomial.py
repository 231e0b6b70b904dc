"""Counts over unequal follow-up: negative binomial regression with an offset.

The model is NB2: ``E y = mu``, ``Var y = mu + k mu^2``, ``log mu = x'b + log(exposure)``, fitted
by maximum likelihood in (b, k) together. Standard errors come from the joint observed
information of (b, k), as SAS PROC GENMOD gives. ``information="conditional"`` gives the smaller
ones of R's ``glm.nb``: expected information of b with k taken as known.

A level without a single event has a coefficient of minus infinity. Its rows are left out, which
gives the limits of all other coefficients; a note names the level and the rows. Standardised
rates count these participants with a rate of zero.

Source: Lawless JF (1987), Negative binomial and mixed Poisson regression, Can J Stat 15:209.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods.counts._climb import climb, unfitted
from trialkit.methods.counts._fit import CountFit
from trialkit.methods.counts._newton import (
    Maximum,
    negative_binomial_maximum,
    poisson_maximum,
)
from trialkit.methods.counts._rows import Rows, count_rows
from trialkit.methods.linear._rows import one_row_each

Floats = npt.NDArray[np.float64]
Information = Literal["joint", "conditional"]

VARIANT = "NB2 by maximum likelihood, joint observed information, normal quantiles"
INFORMATION = {
    "joint": VARIANT,
    "conditional": (
        "NB2 by maximum likelihood, expected information given the dispersion (as R glm.nb), "
        "normal quantiles"
    ),
}
POISSON_LIMIT = "dispersion estimated at its bound 0 (Poisson limit)"


@dataclass
class NegativeBinomialFit(CountFit):
    """A negative binomial regression.

    Parameters
    ----------
    dispersion : float
        k of ``Var y = mu + k mu^2``; 0 where the maximum lies on the bound.
    dispersion_se : float
        NaN at the bound.
    loglik, poisson_loglik : float
        Of this model, and of the Poisson model of the same rows.
    """

    dispersion: float = float("nan")
    dispersion_se: float = float("nan")
    loglik: float = float("nan")
    poisson_loglik: float = float("nan")

    def dispersion_test(self) -> pd.DataFrame:
        """Test dispersion 0 (Poisson) by the likelihood ratio.

        The bound halves the tail of chi-square with one degree of freedom: the statistic is 0
        with probability one half (Self SG, Liang KY, 1987, J Am Stat Assoc 82:605).

        Returns
        -------
        DataFrame
            One row: statistic, df, p; empty for a failed fit.
        """
        if self.failed:
            return pd.DataFrame({n: pd.Series(dtype=np.float64) for n in ("statistic", "df", "p")})
        ratio = max(2.0 * (self.loglik - self.poisson_loglik), 0.0)
        p = 0.5 * float(special.chdtrc(1.0, ratio)) if ratio > 0.0 else 1.0
        return pd.DataFrame({"statistic": [ratio], "df": [1.0], "p": [p]})


def negative_binomial(
    formula: str,
    data: pd.DataFrame,
    *,
    exposure: str | None = None,
    information: Information = "joint",
    subject: str | None = None,
) -> NegativeBinomialFit:
    """Fit a negative binomial regression.

    Parameters
    ----------
    formula : str
        ``COUNT ~ TERMS``.
    data : DataFrame
        One row a participant.
    exposure : str or None
        Column of follow-up; its log is the offset. Rows without follow-up (zero) and without
        events tell nothing about a rate: they are left out and counted as missing.
    information : {"joint", "conditional"}
        ``joint``: observed information of coefficients and dispersion (SAS). ``conditional``:
        expected information of the coefficients at the estimated dispersion (R ``glm.nb``).
    subject : str or None
        Column that names the participant; one with several rows is refused.

    Returns
    -------
    NegativeBinomialFit
        With ``failed`` set, and empty tables, when the model cannot be fitted.

    Raises
    ------
    UsageError
        For unknown columns, counts that are not whole numbers from 0, an exposure that is
        negative, infinite or zero with events, or a participant with several rows.
    """
    if information not in INFORMATION:
        raise UsageError(
            f"The information {information!r} is not available.",
            remedy=f"Use one of: {', '.join(INFORMATION)}.",
        )
    one_row_each(data, subject)
    rows = count_rows(formula, data, exposure)
    fit = unfitted(
        NegativeBinomialFit,
        rows,
        method="negative_binomial",
        variant=INFORMATION[information] + (f", offset log({exposure})" if exposure else ""),
    )
    fit.failed = _maximise(fit, rows, information)
    fit.converged = fit.failed is None
    return fit


def _maximise(fit: NegativeBinomialFit, rows: Rows, information: Information) -> str | None:
    """Fill the estimates, or return why there are none."""
    found = climb(fit, rows, _climb)
    if isinstance(found, str):
        return found
    fit.maximum, poisson = found
    return _fill(fit, fit.maximum, poisson, information)


def _climb(x: Floats, y: Floats, offset: Floats) -> tuple[Maximum, Maximum] | str:
    """Return the maximum and the Poisson model's."""
    poisson = poisson_maximum(x, y, offset)
    if isinstance(poisson, str):
        return poisson
    if float(((y - poisson.mu) ** 2 - y).sum()) <= 0.0:  # score of k at 0
        return poisson, poisson
    found = negative_binomial_maximum(x, y, offset, poisson)
    return found if isinstance(found, str) else (found, poisson)


def _fill(
    fit: NegativeBinomialFit, found: Maximum, poisson: Maximum, information: Information
) -> str | None:
    """Write a maximum into the fit, or say why it carries no standard errors."""
    p = len(found.beta)
    try:
        np.linalg.cholesky(found.information)
        covariance = np.asarray(np.linalg.inv(found.information), dtype=np.float64)
    except np.linalg.LinAlgError:
        return "the observed information is not positive definite"
    fit.beta, fit.covariance = found.beta, covariance[:p, :p]
    if information == "conditional":
        fit.covariance = np.asarray(np.linalg.inv(found.expected), dtype=np.float64)
    fit.dispersion, fit.loglik = found.dispersion, found.loglik
    fit.poisson_loglik = poisson.loglik
    if found is poisson:
        fit.variant = f"{fit.variant}, {POISSON_LIMIT}"
        fit.notes.append(POISSON_LIMIT)
    else:
        fit.dispersion_se = float(np.sqrt(covariance[p, p]))
    return None
