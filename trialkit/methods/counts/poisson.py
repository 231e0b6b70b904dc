"""Counts by Poisson regression with robust standard errors: a sensitivity analysis.

The coefficients are consistent for the log rate ratios whatever the distribution of the counts,
as long as the mean is right; the sandwich covariance then replaces the model's.

Sources: Gourieroux C, Monfort A, Trognon A (1984), Pseudo maximum likelihood methods:
applications to Poisson models, Econometrica 52:701 (consistency); Zou G (2004), A modified
Poisson regression approach to prospective studies with binary data, Am J Epidemiol 159:702 (the
sandwich in trials); MacKinnon JG, White H (1985), J Econometrics 29:305 (HC1 to HC3, here with
the leverages of the weighted least squares at convergence); Liang KY, Zeger SL (1986),
Biometrika 73:13 (participants with several rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.counts._climb import climb, unfitted
from trialkit.methods.counts._fit import CountFit, sums
from trialkit.methods.counts._newton import Maximum, poisson_maximum
from trialkit.methods.counts._rows import Rows, count_rows

Floats = npt.NDArray[np.float64]
StandardErrors = Literal["model", "pearson", "hc0", "hc1", "hc2", "hc3"]

SE_METHODS = {
    "model": "model-based SE (variance equals the mean)",
    "pearson": "SE scaled by the Pearson chi-square (SAS SCALE=PEARSON, R quasipoisson)",
    "hc0": "robust SE (HC0 sandwich)",
    "hc1": "robust SE (HC1, HC0 times n/(n - p))",
    "hc2": "robust SE (HC2, leverage)",
    "hc3": "robust SE (HC3, squared leverage)",
}
CLUSTERED = {
    "hc0": "cluster-robust SE (CR0)",
    "hc1": "cluster-robust SE (CR0 times G/(G - 1) (n - 1)/(n - p))",
}


@dataclass
class PoissonFit(CountFit):
    """A Poisson regression.

    Parameters
    ----------
    loglik : float
    pearson_dispersion : float
        Pearson chi-square over n - p; 1 for counts that vary as Poisson.
    """

    loglik: float = float("nan")
    pearson_dispersion: float = float("nan")
    people: int = 0

    @property
    def n_subjects(self) -> int:
        """Participants used: one row each, or as `subject` names them."""
        return self.people


def poisson(
    formula: str,
    data: pd.DataFrame,
    *,
    exposure: str | None = None,
    se: StandardErrors = "hc0",
    subject: str | None = None,
) -> PoissonFit:
    """Fit a Poisson regression.

    Parameters
    ----------
    formula : str
        ``COUNT ~ TERMS``.
    data : DataFrame
        One row a participant, or several with `subject`.
    exposure : str or None
        Column of follow-up; its log is the offset. Rows without follow-up (zero) and without
        events are left out and counted as missing.
    se : {"hc0", "hc1", "hc2", "hc3", "model", "pearson"}
        Standard errors; the leverages of ``hc2`` and ``hc3`` need one row a participant.
    subject : str or None
        Column that names the participant: rows of one participant are then a cluster, for
        ``hc0`` and ``hc1``.

    Returns
    -------
    PoissonFit
        With ``failed`` set, and empty tables, when the model cannot be fitted.

    Raises
    ------
    UsageError
        For unknown columns or options, counts that are not whole numbers from 0, or an exposure
        that is negative, infinite, or zero with events.
    """
    if se not in SE_METHODS:
        raise UsageError(
            f"The standard error {se!r} is not available.",
            remedy=f"Use one of: {', '.join(SE_METHODS)}.",
        )
    if subject is not None and se not in CLUSTERED:
        raise UsageError(
            f"The standard error {se!r} is not defined for clusters.",
            remedy=f"Use one of: {', '.join(CLUSTERED)}, or leave out `subject`.",
        )
    rows = count_rows(formula, data, exposure, (subject,) if subject else ())
    design = rows.design
    words = SE_METHODS[se] if subject is None else f"{CLUSTERED[se]} by {subject}"
    fit = unfitted(
        PoissonFit,
        rows,
        method="poisson",
        variant=f"Poisson by maximum likelihood, {words}, normal quantiles"
        + (f", offset log({exposure})" if exposure else ""),
    )
    fit.people = len(design.y)
    if subject is not None:
        fit.clusters = pd.factorize(design.columns[subject])[0].astype(np.intp)
        fit.people = int(fit.clusters.max()) + 1
    fit.failed = _maximise(fit, rows, se)
    fit.converged = fit.failed is None
    return fit


def _maximise(fit: PoissonFit, rows: Rows, se: str) -> str | None:
    """Fill the estimates, or return why there are none."""
    climbed = climb(fit, rows, _climb)
    if isinstance(climbed, str):
        return climbed
    design, (found,) = fit.design, climbed
    room = len(design.y) - design.x.shape[1]
    squares = (design.y - found.mu) ** 2
    fit.pearson_dispersion = float((squares / found.mu).sum()) / room
    covariance = _covariance(fit, found, se)
    if isinstance(covariance, str):
        return covariance
    fit.maximum, fit.beta, fit.covariance = found, found.beta, covariance
    fit.loglik = found.loglik
    return None


def _climb(x: Floats, y: Floats, offset: Floats) -> tuple[Maximum] | str:
    found = poisson_maximum(x, y, offset)
    return found if isinstance(found, str) else (found,)


def _covariance(fit: PoissonFit, found: Maximum, se: str) -> Floats | str:
    """Return the covariance of the coefficients, or why there is none."""
    x = fit.design.x
    n, p = x.shape
    try:
        bread = np.asarray(np.linalg.inv(found.information), dtype=np.float64)
    except np.linalg.LinAlgError:
        return "the observed information is not positive definite"
    if se == "model":
        return bread
    scores, factor = found.scores, 1.0
    if se == "pearson":
        if not fit.pearson_dispersion > 1e-24:
            return "the model fits the counts exactly; there is no spread to scale by"
        return bread * fit.pearson_dispersion
    if fit.clusters is not None:
        scores = sums(scores, fit.clusters)
        if len(scores) < 2:
            return "one participant: no variance between participants"
        if se == "hc1":
            factor = len(scores) / (len(scores) - 1.0) * (n - 1.0) / (n - p)
    elif se == "hc1":
        factor = n / (n - p)
    elif se in ("hc2", "hc3"):
        room = 1.0 - np.einsum("ij,jk,ik->i", x, bread, x) * found.mu
        if room.min() < 1e-10:
            return f"{se.upper()} is undefined: an observation is fitted exactly"
        scores = scores / (np.sqrt(room) if se == "hc2" else room)[:, None]
    pulled = scores @ bread
    covariance = factor * (pulled.T @ pulled)
    if not (np.diagonal(covariance) > 1e-24 * np.diagonal(bread)).all():
        return "the model fits the counts exactly; there is no spread for a robust variance"
    return np.asarray(covariance)
