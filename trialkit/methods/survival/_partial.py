"""The Cox partial likelihood from plain arrays: one engine for every model of hazards and rates.

Own code, because the packages at hand do not give the numbers of SAS and R: lifelines stops
its iterations early, has no exact ties and gets clustered standard errors wrong, and
statsmodels counts a row as at risk at its own start. Rows are open at the start and closed at
the stop. Newton's method with analytic derivatives runs to the machine's precision; the
partial likelihood is concave, so that the maximum is the only one, or lies at infinity.

Sources: Cox DR (1972), J R Stat Soc B 34:187; ties by Breslow N (1974), Biometrics 30:89, by
Efron B (1977), J Am Stat Assoc 72:557, or exact (module ``_exact_ties``); score residuals and
their use for clustered rows: Lin DY, Wei LJ (1989), J Am Stat Assoc 84:1074, and Therneau TM,
Grambsch PM (2000), Modeling survival data, chapters 4 and 7. With case weights the d events of
one time share their mean weight over Efron's d denominators, as there and in R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._exact_ties import TiedSets
from trialkit.methods.survival._risk_sets import RiskSets, snap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Ties = Literal["efron", "breslow", "exact"]

MONOTONE = "monotone likelihood: a hazard ratio runs to zero or infinity"
NO_EVENT = "no event in these data"
NO_COLUMN = "the formula leaves no column to estimate"
#: Newton stops when no linear predictor moved by more than this in the last step.
STEP_TOLERANCE = 1e-8
MAX_ITERATIONS = 100


@dataclass
class Problem:
    """A partial likelihood: the rows, standardised covariates and risk sets.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Standardised covariates: ``(x - centre) / scale`` of those given.
    weight, offset : ndarray, shape (n,)
    strata : ndarray of int, shape (n,)
    sets : RiskSets
    ties : {"efron", "breslow", "exact"}
    """

    x: Floats
    weight: Floats
    offset: Floats
    strata: Ints
    sets: RiskSets
    ties: Ties
    centre: Floats
    scale: Floats
    basis: Floats = field(init=False, repr=False)
    #: Of each term (denominator) its event time, the share of the events taken off, its weight.
    term: Ints = field(init=False, repr=False)
    share: Floats = field(init=False, repr=False)
    term_weight: Floats = field(init=False, repr=False)
    tied: TiedSets | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        n, p = self.x.shape
        self.pairs = np.triu_indices(p)
        products = self.x[:, self.pairs[0]] * self.x[:, self.pairs[1]]
        self.basis = np.hstack([np.ones((n, 1)), self.x, products])
        sets = self.sets
        events = self.weight[sets.rows]
        mean_weight = np.add.reduceat(events, sets.first) / sets.count
        if self.ties == "exact":
            self.term = np.flatnonzero(sets.count == 1)
            several = np.flatnonzero(sets.count > 1)
            if len(several):
                members = [sets.members(int(d)) for d in several]
                self.tied = TiedSets.build(members, sets.count[several])
        else:
            self.term = sets.group
        self.share = np.zeros(len(self.term))
        if self.ties == "efron":
            within = np.arange(len(self.term)) - sets.first[self.term]
            self.share = within / sets.count[self.term]
        self.term_weight = mean_weight[self.term]

    def unpack(self, flat: Floats) -> Floats:
        """Return symmetric matrices (..., p, p) from their upper triangles."""
        p = self.x.shape[1]
        out = np.empty((*flat.shape[:-1], p, p))
        out[..., self.pairs[0], self.pairs[1]] = flat
        out[..., self.pairs[1], self.pairs[0]] = flat
        return out

    def predictor(self, beta: Floats) -> Floats:
        """Return the linear predictor, shape (n,), with each stratum's largest at 0."""
        eta: Floats = self.x @ beta + self.offset
        if not self.strata.any():
            return np.asarray(eta - eta.max())
        top = np.full(int(self.strata.max()) + 1, -np.inf)
        np.maximum.at(top, self.strata, eta)
        return np.asarray(eta - top[self.strata])

    def evaluate(self, beta: Floats) -> Point:
        """Return log-likelihood, score and information at ``beta`` (standardised)."""
        p = len(beta)
        eta = self.predictor(beta)
        risk = self.weight * np.exp(eta)
        values = risk[:, None] * self.basis
        sums = self.sets.at_risk(values)[self.term]
        if self.share.any():
            events = self.sets.over_events(values[self.sets.rows])
            sums -= self.share[:, None] * events[self.term]
        total = sums[:, 0]
        if not (total > 0.0).all():
            return Point(beta, -np.inf, np.full(p, np.nan), np.full((p, p), np.nan), eta)
        moments = sums[:, 1:] / total[:, None]
        mean = moments[:, :p]
        weighted = self.term_weight[:, None] * mean
        rows = self.sets.rows
        loglik = float(self.weight[rows] @ eta[rows] - self.term_weight @ np.log(total))
        score = self.weight[rows] @ self.x[rows] - weighted.sum(axis=0)
        information = self.unpack(self.term_weight @ moments[:, p:]) - weighted.T @ mean
        if self.tied is not None:
            log_sum, centre, spread = self.tied.evaluate(eta, self.x)
            loglik -= float(log_sum.sum())
            score = score - centre.sum(axis=0)
            information = information + spread.sum(axis=0)
        return Point(beta, loglik, score, information, eta, total, mean, moments[:, p:])

    def moments(self, point: Point) -> tuple[Floats, Floats]:
        """Return what the covariates of each event time's events are expected to sum to.

        Returns
        -------
        mean : ndarray, shape (D, p)
        covariance : ndarray, shape (D, p, p)
            Summed over the times it is the information.
        """
        p, size = len(point.beta), len(self.sets.time)
        flat = point.second - point.mean[:, self.pairs[0]] * point.mean[:, self.pairs[1]]
        both = self.term_weight[:, None] * np.hstack([point.mean, flat])
        sums = np.zeros((size, both.shape[1]))
        np.add.at(sums, self.term, both)
        mean, covariance = sums[:, :p], self.unpack(sums[:, p:])
        if self.tied is not None:
            several = self.sets.count > 1
            _, mean[several], covariance[several] = self.tied.evaluate(point.eta, self.x)
        return mean, covariance


@dataclass(frozen=True)
class Point:
    """The partial likelihood at one coefficient vector (standardised covariates).

    ``total``, ``mean`` and ``second`` are, of each term, the weighted sum of relative hazards
    over the rows at risk, and the first and second moments of the covariates under it.
    """

    beta: Floats
    loglik: float
    score: Floats
    information: Floats
    eta: Floats
    total: Floats = field(default_factory=lambda: np.empty(0), repr=False)
    mean: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    second: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)


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


def score_residuals(problem: Problem, point: Point) -> Floats:
    """Return the rows' score residuals for standardised covariates, shape (n, p).

    Each row's observed minus expected contribution: at its own event the covariate minus its
    mean (over the terms of a tied time), and at every term at which it is at risk minus its
    share of the hazard times the same difference. Under Efron's ties a row with an event
    is at risk with the weight ``1 - share``.
    """
    if problem.ties == "exact":
        raise ValueError("score residuals are not defined for exact ties")
    sets, size = problem.sets, len(problem.sets.time)
    hazard = problem.term_weight / point.total
    both = hazard[:, None] * np.column_stack([np.ones(len(hazard)), point.mean])
    spread = np.add.reduceat(both, sets.first, axis=0)
    passed = sets.over_time(spread)
    rows = sets.rows
    if problem.share.any():
        off = np.add.reduceat(problem.share[:, None] * both, sets.first, axis=0)
        passed[rows] -= off[sets.group]
    risk = np.exp(point.eta)[:, None]
    out = risk * (passed[:, 1:] - passed[:, :1] * problem.x)
    mean = np.add.reduceat(point.mean, sets.first, axis=0) / sets.count[:size, None]
    out[rows] += problem.x[rows] - mean[sets.group]
    return np.asarray(out)


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
