"""Test of proportional hazards, and residuals that show how a coefficient moves with time.

A coefficient that changes as ``beta + theta g(t)`` is the coefficient of an added covariate
``x g(t)``. The score test of ``theta = 0`` at the maximum of the proportional model needs only
sums over the event times: the score ``sum g (x - xbar)`` and the information with blocks
``sum V``, ``sum g V`` and ``sum g^2 V``, V the covariance of the covariates at risk. It is the
test of R's ``cox.zph`` since survival 3.0 (Grambsch PM, Therneau TM, 1994, Biometrika 81:515,
give the approximation with a constant V that was used before; the score test is exact). With
exact ties V and xbar are those of the discrete likelihood; R takes Breslow's there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from trialkit.errors import UsageError
from trialkit.methods._marginal import as_text, objects
from trialkit.methods.survival._hazard_fit import HazardFit, quadratic
from trialkit.methods.survival._likelihood import Problem
from trialkit.methods.survival._outcome import one_of
from trialkit.methods.survival._risk_sets import RiskSets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Transform = Literal["km", "rank", "identity", "log"]

_TABLE = ("term", "statistic", "df", "p")


@dataclass(frozen=True)
class Proportionality:
    """A score test of proportional hazards.

    Parameters
    ----------
    table : DataFrame
        term, statistic (chi-square), df, p; a row for each term of the formula and ``GLOBAL``.
    residuals : DataFrame
        time, the strata's code, transformed time, and for each coefficient the scaled
        Schoenfeld residual plus the coefficient; one row an event. Their mean is the
        coefficient; a trend in time is a change of the coefficient.
    transform : str
        ``km``: one minus the Kaplan-Meier estimate just before the time (all strata together);
        ``rank``: the rank among the times of all rows, ties at their mean; ``identity``;
        ``log``. All as in R; where strata share a time they share its value.
    """

    table: pd.DataFrame
    residuals: pd.DataFrame
    transform: str
    n_events: int
    n: int
    n_subjects: int
    n_missing: int
    variant: str
    method: str = "cox"
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)

    def plot(self, term: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw one coefficient's scaled Schoenfeld residuals against transformed time.

        Parameters
        ----------
        term : str, optional
            A coefficient's name; the first without.
        """
        from matplotlib import pyplot

        names = list(self.residuals.columns[3:])
        chosen = term if term is not None or not names else names[0]
        if chosen not in names:
            raise UsageError(
                f"There are no residuals of {chosen!r}.", remedy=f"Coefficients: {names}."
            )
        axes = pyplot.subplots()[1] if ax is None else ax
        x = self.residuals["transformed"].to_numpy(dtype=np.float64)
        y = self.residuals[chosen].to_numpy(dtype=np.float64)
        axes.plot(x, y, ".", color="0.45")
        slope = np.polyfit(x, y, 1) if np.ptp(x) > 0 else np.array([0.0, y.mean()])
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, np.polyval(slope, ends), label="linear fit")
        axes.axhline(float(y.mean()), linestyle="--", color="0.7", label="proportional")
        axes.set_xlabel(f"Time ({self.transform})")
        axes.set_ylabel(f"Coefficient of {chosen}")
        axes.legend()
        return axes

    def summary(self) -> str:
        """Return the test as text."""
        head = f"{self.variant}\nevents {self.n_events}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        return f"{head}\n{as_text(self.table, 6)}"

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def check_proportionality(fit: HazardFit, transform: Transform) -> Proportionality:
    """Run the test; see `Proportionality`."""
    one_of(transform, get_args(Transform), "transformation of time")
    variant = f"score test of proportional hazards, time by {transform}"
    failed, numbers = fit.failed, None
    table = pd.DataFrame({name: pd.Series(dtype=object) for name in _TABLE})
    residuals = pd.DataFrame()
    if failed is None:
        assert fit.engine is not None
        assert fit.engine.problem is not None
        problem = fit.engine.problem
        if transform == "log" and (problem.sets.time <= 0.0).any():
            raise UsageError(
                "An event at time 0 has no logarithm.", remedy="Use another transformation."
            )
        g = transformed(problem, transform)
        failed, numbers = score_test(fit, problem, g)
    if numbers is not None:
        table, residuals = numbers
    return Proportionality(
        table=table,
        residuals=residuals,
        transform=transform,
        n_events=fit.n_events,
        n=fit.n,
        n_subjects=fit.n_subjects,
        n_missing=fit.n_missing,
        variant=variant,
        converged=failed is None,
        failed=failed,
    )


def score_test(
    fit: HazardFit, problem: Problem, g: Floats
) -> tuple[str | None, tuple[pd.DataFrame, pd.DataFrame] | None]:
    """Return why the test failed, or its table and the residuals."""
    assert fit.engine is not None
    best = fit.engine.best
    assert best is not None
    sets, p = problem.sets, problem.x.shape[1]
    spread = float(np.ptp(g))
    if spread <= 0.0:
        return "all events have the same time", None
    events = problem.weight[sets.rows]
    centred = (g - np.average(g[sets.group], weights=events)) / spread
    mean, covariance = problem.moments(best)
    seen = np.add.reduceat(events[:, None] * problem.x[sets.rows], sets.first, axis=0)
    score = centred @ (seen - mean)
    cross = np.einsum("d,dij->ij", centred, covariance)
    inner = np.einsum("d,dij->ij", centred**2, covariance)
    information = np.block([[best.information, cross], [cross, inner]])
    owner = fit.design.assign[fit.design.kept][fit.estimated]
    rows: list[tuple[str, float, float, float]] = []
    for i, term in enumerate(fit.design.terms):
        own = np.flatnonzero(owner == i)
        if len(own):
            rows.append((term.name, *one_test(score, information, own, p)))
    rows.append(("GLOBAL", *one_test(score, information, np.arange(p), p)))
    if not all(math.isfinite(row[1]) for row in rows):
        return "the information about a change with time is singular", None
    return None, (pd.DataFrame(rows, columns=list(_TABLE)), scaled(fit, problem, mean, g))


def one_test(
    score: Floats, information: Floats, own: npt.NDArray[np.intp], p: int
) -> tuple[float, float, float]:
    """Return chi-square, df and p of the coefficients ``own``, the others held constant."""
    pick = np.concatenate([np.arange(p), p + own])
    part = information[np.ix_(pick, pick)]
    root = np.sqrt(np.maximum(np.diagonal(part), 0.0))
    if not (root > 0.0).all():
        return math.nan, float(len(own)), math.nan
    if np.linalg.eigvalsh(part / np.outer(root, root))[0] < 1e-12:
        return math.nan, float(len(own)), math.nan
    value = quadratic(np.concatenate([np.zeros(p), score[own]]), part)
    return value, float(len(own)), float(special.chdtrc(len(own), max(value, 0.0)))


def scaled(fit: HazardFit, problem: Problem, mean: Floats, g: Floats) -> pd.DataFrame:
    """Return the scaled Schoenfeld residuals plus the coefficients, one row an event."""
    sets = problem.sets
    weight = np.add.reduceat(problem.weight[sets.rows], sets.first)
    raw = (problem.x[sets.rows] - (mean / weight[:, None])[sets.group]) * problem.scale
    keep = fit.estimated
    cov = fit.naive_covariance[np.ix_(keep, keep)]
    values = raw @ cov * fit.n_events + fit.beta[keep]
    out = pd.DataFrame({"time": sets.time[sets.group], "stratum": sets.stratum[sets.group]}).assign(
        transformed=g[sets.group]
    )
    for j, i in enumerate(keep):
        out[fit.design.names[i]] = values[:, j]
    out.columns = pd.Index(objects(list(out.columns)))
    return out.sort_values(["time", "stratum"], kind="stable", ignore_index=True)


def transformed(problem: Problem, transform: Transform) -> Floats:
    """Return the function of time at each event time of each stratum."""
    sets = problem.sets
    if transform == "identity":
        return sets.time
    if transform == "log":
        return np.asarray(np.log(sets.time))
    if transform == "rank":
        ranks = stats.rankdata(sets.stop)
        return np.asarray(ranks[sets.rows[sets.first]])
    return before(sets)


def before(sets: RiskSets) -> Floats:
    """Return one minus the Kaplan-Meier estimate, of all strata, just before each time."""
    pooled = RiskSets(sets.start, sets.stop, sets.event, np.zeros(sets.n, dtype=np.intp))
    risk = pooled.at_risk(np.ones((sets.n, 1)))[:, 0]
    curve = np.cumprod(1.0 - pooled.count / risk)
    left = np.concatenate([[1.0], curve[:-1]])
    return np.asarray(1.0 - left[np.searchsorted(pooled.time, sets.time)])
