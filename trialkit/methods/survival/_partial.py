"""The Cox partial likelihood from plain arrays: one engine for every model of hazards and rates.

Own code, because the packages at hand do not give the numbers of SAS and R: lifelines stops
its iterations early, has no exact ties and gets clustered standard errors wrong, and
statsmodels counts a row as at risk at its own start. Rows are open at the start and closed at
the stop. Newton's method with analytic derivatives (module ``_likelihood``, with the sources)
runs to the machine's precision; the partial likelihood is concave, so that the maximum is the
only one, or lies at infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._likelihood import Point, Problem, Ties, score_residuals
from trialkit.methods.survival._risk_sets import RiskSets, snap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

MONOTONE = "monotone likelihood: a hazard ratio runs to zero or infinity"
NO_EVENT = "no event in these data"
NO_COLUMN = "the formula leaves no column to estimate"
#: Newton stops when no linear predictor moved by more than this in the last step.
STEP_TOLERANCE = 1e-8
MAX_ITERATIONS = 100


@dataclass
class PartialFit:
    """A maximised partial likelihood, on the scale of the covariates given.

    Parameters
    ----------
    failed : str or None
        Why there is no maximum; the numbers are then NaN.
    iterations : int
    n_events : int
    problem, null, best : internals
        The likelihood, and its points at zero and at the maximum (standardised covariates).
    """

    failed: str | None
    iterations: int = 0
    n_events: int = 0
    problem: Problem | None = field(default=None, repr=False)
    null: Point | None = field(default=None, repr=False)
    best: Point | None = field(default=None, repr=False)

    def _at(self) -> tuple[Problem, Point]:
        if self.problem is None or self.best is None:
            raise ValueError(f"no fit: {self.failed}")
        return self.problem, self.best

    @property
    def beta(self) -> Floats:
        """Coefficients, shape (p,)."""
        problem, best = self._at()
        return np.asarray(best.beta / problem.scale)

    @property
    def loglik(self) -> float:
        """Log partial likelihood at the maximum."""
        return self._at()[1].loglik

    @property
    def loglik_null(self) -> float:
        """Log partial likelihood at zero coefficients."""
        self._at()
        assert self.null is not None
        return self.null.loglik

    @property
    def information(self) -> Floats:
        """Observed information, shape (p, p)."""
        problem, best = self._at()
        return np.asarray(best.information * np.outer(problem.scale, problem.scale))

    @cached_property
    def covariance(self) -> Floats:
        """Inverse of the observed information, shape (p, p)."""
        problem, best = self._at()
        return np.asarray(inverse(best.information) / np.outer(problem.scale, problem.scale))

    @cached_property
    def score_residuals(self) -> Floats:
        """Score residual of each row, shape (n, p); times the case weights they sum to 0."""
        problem, best = self._at()
        return np.asarray(score_residuals(problem, best) * problem.scale)

    def robust(self, cluster: Ints | None = None) -> Floats:
        """Return the sandwich covariance, shape (p, p), with rows summed over clusters.

        Parameters
        ----------
        cluster : ndarray of int, shape (n,), optional
            Codes from 0; None: every row for itself.
        """
        problem, _ = self._at()
        weighted = self.score_residuals * problem.weight[:, None]
        dfbeta = collapse(weighted, cluster) @ self.covariance
        return np.asarray(dfbeta.T @ dfbeta)


def collapse(values: Floats, cluster: Ints | None) -> Floats:
    """Sum rows (n, p) over clusters."""
    if cluster is None:
        return values
    out = np.zeros((int(cluster.max()) + 1, values.shape[1]))
    np.add.at(out, cluster, values)
    return out


def inverse(matrix: Floats) -> Floats:
    """Invert a positive definite matrix after scaling its diagonal to 1."""
    root = np.sqrt(np.diagonal(matrix))
    found = np.linalg.inv(matrix / np.outer(root, root))
    return np.asarray((found + found.T) / 2.0 / np.outer(root, root))


def fit_partial(
    stop: Floats,
    event: npt.NDArray[np.bool_] | Floats,
    x: Floats,
    *,
    start: Floats | None = None,
    strata: Ints | None = None,
    weights: Floats | None = None,
    offset: Floats | None = None,
    ties: Ties = "efron",
    names: Sequence[str] | None = None,
) -> PartialFit:
    """Maximise a partial likelihood.

    Parameters
    ----------
    stop : ndarray, shape (n,)
        End of each row, at which it is still at risk.
    event : ndarray, shape (n,)
        Whether the row ends with an event.
    x : ndarray, shape (n, p)
        Covariates, without an intercept.
    start : ndarray, shape (n,), optional
        The row is at risk after it.
    strata : ndarray of int, shape (n,), optional
        Codes from 0; each has a baseline hazard of its own.
    weights : ndarray, shape (n,), optional
        Case weights, positive; not with exact ties.
    offset : ndarray, shape (n,), optional
        Added to the linear predictor.
    ties : {"efron", "breslow", "exact"}
    names : sequence of str, optional
        Names of the covariates, for the reason of a failure.

    Returns
    -------
    PartialFit
        With ``failed`` set where no maximum exists: no event, a covariate that does not vary
        within the risk sets, collinear covariates, or a monotone likelihood.
    """
    n, p = x.shape
    happened = np.asarray(event, dtype=bool)
    labels = list(names) if names is not None else [f"column {i}" for i in range(p)]
    weight = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (weight > 0.0).all():
        raise ValueError("case weights must be positive; leave out rows of weight 0")
    if ties == "exact" and weights is not None and (weight != 1.0).any():
        raise ValueError("case weights have no meaning with exact ties")
    total = int(happened.sum())
    if not total:
        return PartialFit(NO_EVENT)
    if not p:
        return PartialFit(NO_COLUMN, n_events=total)
    end, *rest = snap(stop) if start is None else snap(stop, start)
    codes = np.zeros(n, dtype=np.intp) if strata is None else np.asarray(strata, dtype=np.intp)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    problem = Problem(
        x=(x - centre) / scale,
        weight=weight,
        offset=np.zeros(n) if offset is None else np.asarray(offset, dtype=np.float64),
        strata=codes,
        sets=RiskSets(rest[0] if rest else None, end, happened, codes),
        ties=ties,
        centre=centre,
        scale=scale,
    )
    return maximise(problem, labels, total)


def maximise(problem: Problem, names: Sequence[str], n_events: int) -> PartialFit:
    """Run Newton's method from zero with step halving."""
    unit = float(problem.weight[problem.sets.rows].mean())
    null = point = problem.evaluate(np.zeros(problem.x.shape[1]))
    failed = unidentified(point.information / (unit * n_events), names)
    iterations = 0
    while failed is None:
        if iterations == MAX_ITERATIONS:
            failed = "the partial likelihood could not be maximised"
            break
        iterations += 1
        step = solve(point)
        if step is None:
            failed = "the partial likelihood could not be maximised"
            break
        moved = problem.x @ step
        size = float(np.ptp(moved))
        if size > 0.1 and float(point.score @ step) < 1e-7 * unit:
            failed = f"{MONOTONE} ({runaway(step, problem, names)})"
            break
        step *= min(1.0, 8.0 / max(size, 1e-300))
        slack = 1e-13 * abs(point.loglik)
        for _ in range(40):
            new = problem.evaluate(point.beta + step)
            if new.loglik >= point.loglik - slack:
                break
            step = step / 2.0
        point = new
        if size < STEP_TOLERANCE:
            break
    if failed is not None:
        return PartialFit(failed, iterations, n_events)
    return PartialFit(None, iterations, n_events, problem, null, point)


def solve(point: Point) -> Floats | None:
    """Return Newton's step, or None where the information is not positive definite."""
    diagonal = np.diagonal(point.information)
    if not (np.isfinite(point.information).all() and (diagonal > 0.0).all()):
        return None
    root = np.sqrt(diagonal)
    try:
        found = np.linalg.solve(point.information / np.outer(root, root), point.score / root)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(found / root)


def unidentified(information: Floats, names: Sequence[str]) -> str | None:
    """Say which coefficients the risk sets cannot tell apart, from the information at zero."""
    diagonal = np.diagonal(information)
    if not np.isfinite(information).all():
        return "the partial likelihood could not be evaluated"
    flat = [name for name, value in zip(names, diagonal, strict=True) if value < 1e-12]
    if flat:
        return f"{', '.join(flat)}: no variation among those at risk at any event"
    root = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(information / np.outer(root, root))
    if values[0] > 1e-10 * len(root):
        return None
    part = [name for name, v in zip(names, vectors[:, 0], strict=True) if abs(v) > 1e-4]
    return f"{', '.join(part)}: collinear among those at risk at the events"


def runaway(step: Floats, problem: Problem, names: Sequence[str]) -> str:
    """Name the covariates whose coefficients run away along ``step``."""
    size = np.abs(step) * np.ptp(problem.x, axis=0)
    return ", ".join(n for n, s in zip(names, size, strict=True) if s > 0.05 * size.max())
