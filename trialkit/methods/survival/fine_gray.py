r"""Proportional hazards of the subdistribution (Fine and Gray).

The hazard of the cumulative incidence of one cause: whoever has a competing event stays in the
risk set, with the weight :math:`\hat G(t-)/\hat G(T_i-)`, the chance of not having been censored
since. :math:`\hat G` is the product limit of the censoring times; where events and censoring
share a time, the events come first, as in R's ``survival::finegray``. Ties by Breslow.

Because a weight is a function of the time over one of the participant, every sum over the risk
set is a cumulative sum: nobody's record is split, and an iteration takes O(n).

Variance: the sandwich that also counts that the weights are estimated (default, ``fine_gray``:
terms :math:`\eta_i + \psi_i` of Fine JP, Gray RJ, 1999, J Am Stat Assoc 94:496, as in R's
cmprsk), or ``robust``, which takes the weights as known (as ``coxph`` on the rows of
``finegray``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._design import levels_of
from trialkit.methods._predictor import alias_notes
from trialkit.methods.survival._hazard_fit import TESTS, HazardFit, hazard_design, quadratic
from trialkit.methods.survival._outcome import codes_of, one_of, times_of
from trialkit.methods.survival._subdistribution import Subdistribution
from trialkit.methods.survival.competing import read_causes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

VARIANCES = {
    "fine_gray": "sandwich variance with estimated weights (Fine-Gray)",
    "robust": "sandwich variance, weights taken as known",
}


@dataclass
class FineGrayFit(HazardFit):
    """A Fine-Gray regression: hazards, and their ratios, are those of the subdistribution.

    Parameters
    ----------
    cause : object
        The cause of interest; ``n_events`` counts it.
    n_competing : int
        Events of other causes.
    """

    cause: Any = None
    n_competing: int = 0

    @property
    def tests(self) -> pd.DataFrame:
        """Overall Wald test of all coefficients: test, statistic (chi-square), df, p.

        The weighted likelihood is not that of a model, so that twice its gain is no chi-square.
        """
        if self.failed:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in TESTS})
        keep = self.estimated
        value = quadratic(self.beta[keep], self.covariance[np.ix_(keep, keep)])
        p = float(special.chdtrc(len(keep), value))
        return pd.DataFrame([("wald", value, float(len(keep)), p)], columns=list(TESTS))


def fine_gray(
    formula: str,
    data: pd.DataFrame,
    *,
    time: str,
    cause: str,
    of: Any,
    censored: Any = 0,
    censoring_by: str | None = None,
    variance: str = "fine_gray",
) -> FineGrayFit:
    """Fit a proportional subdistribution hazards regression.

    Parameters
    ----------
    formula : str
        Terms after ``~``; a left side is ignored.
    data : DataFrame
        One row a participant.
    time, cause : str
        Columns: time of the first event or of censoring, and which of them it was.
    of : object
        The cause of interest.
    censored : object
        Value of `cause` for censoring.
    censoring_by : str, optional
        Column; the censoring distribution is estimated in each of its levels (advised where
        the arms are censored differently).
    variance : {"fine_gray", "robust"}

    Returns
    -------
    FineGrayFit
        ``failed`` with the reason where the likelihood has no maximum or there is no event.

    Raises
    ------
    UsageError
        For unknown columns, negative times, a factor with one level, options that do not exist,
        or `of` equal to `censored`.
    """
    one_of(variance, tuple(VARIANCES), "variance")
    if of == censored:
        raise UsageError(f"{of!r} is the value for censoring.", remedy="Name a cause in of=.")
    also = [time, cause] if censoring_by is None else [time, cause, censoring_by]
    design = hazard_design(formula, data, also)
    times = times_of(design.columns[time], time)
    found = read_causes(data[cause], design.columns[cause], cause, censored)
    target = found.names.index(of) + 1 if of in found.names else -1
    kind = np.where(found.kind == 0, 0, np.where(found.kind == target, 1, 2)).astype(np.intp)
    pool = np.zeros(len(times), dtype=np.intp)
    if censoring_by is not None:
        values = design.columns[censoring_by]
        pool = codes_of(values, levels_of(data[censoring_by], values))
    p = design.x.shape[1]
    weights = "" if censoring_by is None else f" within {censoring_by}"
    fit = FineGrayFit(
        method="fine_gray",
        variant="Fine-Gray partial likelihood, ties by Breslow, inverse probability of censoring "
        f"weights (Kaplan-Meier{weights}), {VARIANCES[variance]}, normal quantiles",
        design=design,
        beta=np.zeros(p),
        covariance=np.zeros((p, p)),
        n=len(times),
        n_missing=design.n_missing,
        notes=alias_notes(design),
        cause=of,
        n_events=int((kind == 1).sum()),
        n_competing=int((kind == 2).sum()),
    )
    model = Subdistribution.of(times, kind, pool, design.x[:, fit.estimated])
    fit.failed = _solve(fit, model, variance)
    fit.converged = fit.failed is None
    return fit


def _solve(fit: FineGrayFit, model: Subdistribution, variance: str) -> str | None:
    """Fill the fit, or say why it cannot be."""
    keep = fit.estimated
    if not fit.n_events:
        return f"no event of cause {fit.cause!r} in these data"
    if not len(keep):
        return "the formula leaves no column to estimate"
    beta = model.maximise()
    if isinstance(beta, str):
        return beta
    value, _, information = model.evaluate(beta)
    inverse = np.linalg.inv(information)
    score = model.residuals(beta, psi=variance == "fine_gray")
    covariance = inverse @ (score.T @ score) @ inverse / np.outer(model.scale, model.scale)
    if not (np.isfinite(covariance).all() and (np.diagonal(covariance) > 0.0).all()):
        return "the sandwich variance is not positive"
    fit.beta[keep] = beta / model.scale
    fit.covariance[np.ix_(keep, keep)] = covariance
    fit.naive_covariance = np.zeros_like(fit.covariance)
    fit.naive_covariance[np.ix_(keep, keep)] = inverse / np.outer(model.scale, model.scale)
    fit.robust, fit.loglik = True, value
    fit.loglik_null = model.evaluate(0.0 * beta)[0]
    return None
