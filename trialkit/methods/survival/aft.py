"""Accelerated failure time regression: ratios of times, where hazards are not proportional.

The log time is ``x'beta + sigma * e``; an effect stretches or shortens times by the factor
``exp(beta)``, whatever the shape of the hazard. ``e`` follows the minimum extreme value law
(Weibull times, exponential with sigma 1), the normal law (log-normal times) or the logistic law
(log-logistic times).

lifelines fits the first three (``WeibullAFTFitter``, ``LogNormalAFTFitter``,
``LogLogisticAFTFitter``), here on standardised log times and orthonormal covariates. Its
likelihood and its information (automatic second derivatives) are right, but its optimisers stop
early: in the tests' data its estimates are off by up to 2e-3 of their size and its standard
errors by 2e-4 (log-logistic), and with a tighter tolerance the log-normal fit gives up. So its
result is where our own Newton steps begin (module ``_location_scale``), which run to the
machine's precision: estimates, observed information and log-likelihood are those of the maximum,
and equal R's ``survreg``. Where lifelines gives up, the steps begin at a simple start; the
maximum is the only one. The exponential regression, which lifelines lacks, is our own throughout.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design
from trialkit.methods._marginal import STATISTICS, as_text, empty_table, statistics
from trialkit.methods._predictor import PredictorFit, alias_notes, exponentiate
from trialkit.methods.survival._hazard_fit import hazard_design
from trialkit.methods.survival._location_scale import (
    LocationScale,
    extreme_value,
    logistic,
    maximise,
    normal,
    recession,
)
from trialkit.methods.survival._outcome import one_of, outcome

Floats = npt.NDArray[np.float64]
Distribution = Literal["weibull", "log_normal", "log_logistic", "exponential"]

LAWS = {
    "weibull": extreme_value,
    "log_normal": normal,
    "log_logistic": logistic,
    "exponential": extreme_value,
}
#: lifelines' class, its location and shape, and the sign of the log shape in the log scale.
FITTERS = {
    "weibull": ("WeibullAFTFitter", "lambda_", "rho_", -1.0),
    "log_normal": ("LogNormalAFTFitter", "mu_", "sigma_", 1.0),
    "log_logistic": ("LogLogisticAFTFitter", "alpha_", "beta_", -1.0),
}
NO_EVENT = "no event in these data"
RUNAWAY = "a time ratio runs to zero or infinity"
EXACT = "the scale runs to zero: the model fits the time of every event exactly"
NO_MAXIMUM = "the likelihood could not be maximised"


@dataclass
class AftFit(PredictorFit):
    """An accelerated failure time regression.

    ``coefficients``, ``contrast`` and ``means`` are of the log time; a mean is the log of the
    median of log-normal and log-logistic times, else of the time by which 63 % had the event.

    Parameters
    ----------
    distribution : str
    sigma : float
        The scale of the log time: 1 / shape for Weibull and log-logistic times; 1 for
        exponential times; NaN for a failed fit.
    loglik : float
        Log-likelihood of the times, not of their logs, in the unit of time given, as R's
        ``survreg`` and lifelines count it.
    n_events : int
    joint_covariance : ndarray, shape (p + 1, p + 1)
        Of the coefficients and the log scale; (p, p) for exponential times.
    """

    distribution: str = "weibull"
    sigma: float = float("nan")
    loglik: float = float("nan")
    n_events: int = 0
    joint_covariance: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    @property
    def n_parameters(self) -> int:
        """Coefficients, and the scale where it is estimated."""
        return len(self.beta) + (self.distribution != "exponential")

    @property
    def aic(self) -> float:
        """Akaike's criterion, to compare distributions on the same rows; NaN for a failed fit."""
        return 2.0 * self.n_parameters - 2.0 * self.loglik

    @property
    def scale(self) -> pd.DataFrame:
        """The scale with a 95 % interval, one row; ``se`` is that of the log scale.

        Statistic and p test a scale of 1, which for Weibull times is the exponential law. Empty
        for exponential times and for a failed fit.
        """
        if self.failed or self.distribution == "exponential":
            return empty_table(["term"])
        log_scale, se = np.log([self.sigma]), np.sqrt(self.joint_covariance[-1:, -1])
        numbers = statistics(log_scale, se, np.array([math.inf]), 0.95)
        table = pd.DataFrame(numbers, columns=list(STATISTICS))
        table.insert(0, "term", pd.Series(["scale"], dtype=object))
        return exponentiate(table)

    def time_ratio(
        self, term: str, *, reference: object = None, level: float = 0.95
    ) -> pd.DataFrame:
        """Return ratios of times: above 1, events come later; ``se`` is that of the log ratio.

        Parameters
        ----------
        term : str
            A factor of the formula, or the name of a numeric column's coefficient.
        reference
            The factor's level to compare with; none for a numeric column, whose ratio is for
            one unit.
        level : float
            Coverage of the intervals.

        Raises
        ------
        UsageError
            For a factor without a reference, or a level or name that does not exist.
        """
        return self._ratio("time ratio", term, reference, level, numeric_names(self.design))

    def summary(self) -> str:
        """Return the fit as text."""
        head = [
            f"{self.method}: {self.variant}",
            f"n {self.n}, events {self.n_events}, missing {self.n_missing}",
        ]
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])
        tables = [as_text(table, 6) for table in (self.coefficients, self.scale) if not table.empty]
        fit = f"log-likelihood {self.loglik:.6f}, AIC {self.aic:.6f}"
        return "\n".join([*head, *self.notes, *tables, fit])


def aft(
    formula: str,
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    distribution: Distribution = "weibull",
) -> AftFit:
    """Fit an accelerated failure time regression to right-censored times.

    Parameters
    ----------
    formula : str
        Terms after ``~``; a left side is ignored.
    data : DataFrame
        One row a participant.
    time, event : str
        Column of the time (positive, one unit throughout), and of 1 for an event, 0 for
        censoring. Another unit changes the intercept and the log-likelihood only.
    distribution : {"weibull", "log_normal", "log_logistic", "exponential"}
        Law of the times.

    Returns
    -------
    AftFit
        With ``failed`` set where no maximum exists: no event, a level without one (its time
        ratio runs away), or every event fitted exactly.

    Raises
    ------
    UsageError
        For unknown columns, times that are zero, negative or infinite, an event column that is
        not 0 or 1, an unknown distribution, or a formula without intercept.
    """
    one_of(distribution, tuple(LAWS), "distribution")
    design = hazard_design(formula, data, [time, event])
    stop, happened = outcome(design.columns[time], design.columns[event], time, event)
    refuse_zero(stop, time, design)
    p = design.x.shape[1]
    name = "Weibull" if distribution == "weibull" else distribution.replace("_", "-")
    fixed = ", scale fixed at 1" if distribution == "exponential" else ""
    fit = AftFit(
        method="aft",
        variant=f"{name} accelerated failure time by maximum likelihood{fixed}, "
        "observed information, normal quantiles",
        design=design,
        beta=np.zeros(p),
        covariance=np.zeros((p, p)),
        n=len(stop),
        n_missing=design.n_missing,
        notes=alias_notes(design),
        distribution=distribution,
        n_events=int(happened.sum()),
    )
    with np.errstate(all="ignore"):
        fit.failed = estimate(fit, stop, happened == 1.0)
    fit.converged = fit.failed is None
    return fit


def estimate(fit: AftFit, time: Floats, event: npt.NDArray[np.bool_]) -> str | None:
    """Fill in the fit, or return why there is no maximum."""
    if not fit.n_events:
        return NO_EVENT
    law, fixed = LAWS[fit.distribution], fit.distribution == "exponential"
    problem = LocationScale(time, event, fit.design.x, law, fixed=fixed)
    away = recession(problem)
    if away is not None:
        exact, direction = away
        return EXACT if exact else f"{RUNAWAY}{culprit(fit.design, event, direction)}"
    best = maximise(problem, None if fixed else lifelines_place(problem, fit.distribution))
    covariance = None if best is None else problem.covariance(best)
    if best is None or covariance is None:
        return NO_MAXIMUM
    beta, log_scale, loglik = problem.outer(best)
    if not (np.isfinite(beta).all() and (np.diagonal(covariance) > 0.0).all()):
        return NO_MAXIMUM
    fit.beta, fit.joint_covariance = beta, covariance
    fit.covariance = covariance[: len(beta), : len(beta)]
    fit.sigma, fit.loglik = math.exp(log_scale), loglik
    return None


def lifelines_place(problem: LocationScale, distribution: str) -> Floats | None:
    """Return where lifelines stops, on the problem's inner scale; None where it gives up."""
    import lifelines

    name, location, shape, sign = FITTERS[distribution]
    columns = [f"c{i}" for i in range(1, problem.q.shape[1])]
    frame = pd.DataFrame(problem.q[:, 1:], columns=columns)
    frame["time"], frame["event"] = np.exp(problem.y), problem.event
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = getattr(lifelines, name)().fit(frame, "time", "event").params_
        except Exception:  # of many kinds; our own steps then begin elsewhere
            return None
    beta = found[location].reindex(["Intercept", *columns]).to_numpy(dtype=np.float64)
    beta[0] /= problem.q[0, 0]
    return problem.inner(beta, sign * float(found[shape]["Intercept"]))


def culprit(design: Design, event: npt.NDArray[np.bool_], direction: Floats) -> str:
    """Name the levels without an event, or the coefficients that run away."""
    empty = [
        f"{factor.variables[0]} = {level!r}"
        for factor in design.factors.values()
        for level in factor.levels
        if not (event & (design.columns[factor.variables[0]] == level)).any()
    ]
    if empty:
        return f": no event where {', '.join(empty)}"
    size = np.abs(direction) * np.ptp(design.x, axis=0)
    names = [n for n, s in zip(design.names, size, strict=True) if s > 0.05 * size.max()]
    return f" ({', '.join(names)})"


def numeric_names(design: Design) -> list[str]:
    """Return the coefficients whose terms hold no factor with levels, without the intercept."""
    numeric = [
        bool(term.factors) and not any(design.factors[f].categorical for f in term.factors)
        for term in design.terms
    ]
    return [design.full_names[i] for i in design.kept if numeric[design.assign[i]]]


def refuse_zero(time: Floats, name: str, design: Design) -> None:
    """Refuse times of zero, whose logarithm does not exist."""
    wrong = np.flatnonzero(time == 0.0)
    if len(wrong):
        where = ", ".join(str(design.rows[i]) for i in wrong[:5])
        raise UsageError(
            f"{name} is zero in {len(wrong)} rows (positions {where}); log time needs more than 0.",
            remedy="Give them the time that the plan names for the first day (such as half a "
            "day), or leave out those censored at zero.",
        )
