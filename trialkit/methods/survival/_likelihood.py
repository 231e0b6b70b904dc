"""The Cox partial likelihood and its derivatives at given coefficients.

Sources: Cox DR (1972), J R Stat Soc B 34:187; ties by Breslow N (1974), Biometrics 30:89, by
Efron B (1977), J Am Stat Assoc 72:557, or exact (module ``_exact_ties``); score residuals and
their use for clustered rows: Lin DY, Wei LJ (1989), J Am Stat Assoc 84:1074, and Therneau TM,
Grambsch PM (2000), Modeling survival data, chapters 4 and 7. With case weights the d events of
one time share their mean weight over Efron's d denominators, as there and in R.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._exact_ties import TiedSets
from trialkit.methods.survival._risk_sets import RiskSets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Ties = Literal["efron", "breslow", "exact"]


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
