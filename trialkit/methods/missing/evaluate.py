"""Analyses of imputations and resamples, pooled at one or many amounts added."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import build_design
from trialkit.methods._marginal import STATISTICS
from trialkit.methods.missing import pool as pooling
from trialkit.methods.missing.analysis import Request, run
from trialkit.methods.missing.linear import LinearAnalysis

if TYPE_CHECKING:
    from trialkit.methods.missing.impute import Imputation

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

RULES = {
    "jackknife": pooling.jackknife,
    "jackknife_anchored": pooling.jackknife,
    "bootstrap": pooling.bootstrap_normal,
    "bootstrap_percentile": pooling.bootstrap_percentile,
}


@dataclass(frozen=True)
class Resamples:
    """Conditional means under the parameters of each resample.

    Parameters
    ----------
    values : ndarray, shape (B, number of missing values)
    weights : ndarray, shape (B, n)
        How often each participant counts.
    """

    values: Floats = field(repr=False)
    weights: Floats = field(repr=False)
    replaced: int = 0


@dataclass(frozen=True)
class Evaluated:
    """Pooled numbers at each amount.

    Parameters
    ----------
    keys : DataFrame
        What each row is.
    numbers : ndarray, shape (amounts, k, 7)
        The columns of every table of estimates.
    precision : ndarray, shape (amounts, k, 5), or None
        Within, between, share, fraction of missing information, Monte Carlo standard error.
    gaps : int
        How many of the rows are differences; the rest are means.
    n, n_missing : int
        Rows of the analysis, and rows that it left out.
    """

    keys: pd.DataFrame
    numbers: Floats
    precision: Floats | None
    gaps: int
    n: int
    n_missing: int


def evaluate(
    imp: Imputation,
    request: Request,
    inference: str,
    resamples: Resamples | None,
    directions: Floats,
    amounts: Floats,
) -> Evaluated | str:
    """Analyse and pool.

    Parameters
    ----------
    directions : ndarray, shape (d, number of missing values)
        What is added to the imputed values for one unit of each amount.
    amounts : ndarray, shape (g, d)
    """
    if request.fast(imp.trial.names.outcome):
        return fast(imp, request, inference, resamples, directions, amounts)
    return slow(imp, request, inference, resamples, directions, amounts)


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of one visit, and what one unit of each amount adds to them.

    Parameters
    ----------
    base : ndarray, shape (n,)
        Observed outcomes; zero where missing.
    added : ndarray, shape (d, n)
    who, place : ndarray of int
        Participants without the outcome, and its position among the imputed values.
    amounts : ndarray
        The imputation's own delta of those values.
    rows : ndarray of int
        Participants of the analysis.
    """

    base: Floats
    added: Floats
    who: Ints
    place: Ints
    amounts: Floats
    rows: Ints

    @classmethod
    def build(cls, imp: Imputation, v: int, directions: Floats, rows: Ints) -> Outcomes:
        """Read the outcomes of visit ``v``."""
        trial, m = imp.trial, len(imp.trial.visits)
        place = np.flatnonzero(imp.imputer.where % m == v)
        who = imp.imputer.where[place] // m
        base = np.where(trial.missing[:, v], 0.0, trial.y[:, v])
        added = np.zeros((len(directions), len(base)))
        added[:, who] = directions[:, place]
        return cls(base, added, who, place, imp.amounts[place], rows)

    def of(self, values: Floats) -> Floats:
        """Return outcomes and additions of each set of values, shape (B, 1 + d, rows)."""
        y = np.broadcast_to(self.base, (len(values), len(self.base))).copy()
        y[:, self.who] = values[:, self.place] + self.amounts
        extra = np.broadcast_to(self.added, (len(y), *self.added.shape))
        return np.concatenate([y[:, None], extra], axis=1)[..., self.rows]


def fast(
    imp: Imputation,
    request: Request,
    inference: str,
    resamples: Resamples | None,
    directions: Floats,
    amounts: Floats,
) -> Evaluated | str:
    """Pool an ANCOVA at one visit: estimates are linear, residual sums quadratic in amounts."""
    trial = imp.trial
    v = trial.visits.index(request.at)
    frame = imp.completed(0)
    frame = frame[(frame[trial.names.visit] == request.at).to_numpy()].reset_index(drop=True)
    design = build_design(request.formula, frame)
    if not any(
        f.categorical and request.term in (f.variables[0], f.expression)
        for f in design.factors.values()
    ):
        return slow(imp, request, inference, resamples, directions, amounts)
    linear = LinearAnalysis.build(design, request.term, request.reference)
    if isinstance(linear, str):
        return linear
    keys, functions = linear.margins(), linear.functions()
    if not linear.estimable(keys).all():
        return "the analysis cannot estimate the contrast"
    gaps = len(keys.keys) - len(design.categorical(request.term).levels)
    outcomes = Outcomes.build(imp, v, directions, design.rows)

    mix = np.column_stack([np.ones(len(amounts)), amounts])
    coefficients, cross = linear.imputed(outcomes.of(imp.values))
    loads = coefficients @ functions[0].T  # imputation, outcome, function
    estimate = np.einsum("go,iok->gik", mix, loads)
    if resamples is None:
        rss = np.einsum("go,iop,gp->gi", mix, cross, mix)
        if not (rss > 1e-24 * (outcomes.base @ outcomes.base)).all():
            return "the model fits the outcome exactly; there is no residual variance"
        spread = (functions[0] ** 2).sum(axis=1)
        variance = rss[..., None] / linear.df * spread
        done = [pooling.rubin(q, u, linear.df) for q, u in zip(estimate, variance, strict=True)]
        numbers, precision = rubin_numbers(done, inference, request.level)
    else:
        y, weights = outcomes.of(resamples.values), resamples.weights[:, design.rows]
        solved, poor = linear.weighted(y, weights)
        part = solved @ linear.functions(weights).swapaxes(-1, -2)
        for b in poor:
            again = refactor(request, frame.iloc[design.rows], y[b], weights[b], keys.keys)
            if isinstance(again, str):
                return f"{imp.sample_name(inference, int(b))}: {again}"
            part[b] = again
        samples = np.einsum("go,bok->gbk", mix, part)
        rule = RULES[inference]
        numbers = np.stack(
            [rule(e[0], s, request.level) for e, s in zip(estimate, samples, strict=True)]
        )
        precision = None
    return Evaluated(keys.keys, numbers, precision, gaps, len(design.rows), design.n_missing)


def refactor(
    request: Request, frame: pd.DataFrame, y: Floats, weights: Floats, keys: pd.DataFrame
) -> Floats | str:
    """Analyse one resample whose model matrix has lost a column, shape (outcomes, k)."""
    times = weights.astype(np.intp)
    picked = np.repeat(np.arange(len(times)), times)
    try:
        design = build_design(request.formula, frame.iloc[picked])
        design.categorical(request.term)
    except UsageError as error:
        return error.message
    linear = LinearAnalysis.build(design, request.term, request.reference)
    if isinstance(linear, str):
        return linear
    found, rows = linear.margins(), linear.functions()
    if not found.keys.equals(keys) or not linear.estimable(found).all():
        return "the analysis cannot estimate the contrast"
    return np.asarray(linear.imputed(y[None][..., picked])[0][0] @ rows[0].T)


def slow(
    imp: Imputation,
    request: Request,
    inference: str,
    resamples: Resamples | None,
    directions: Floats,
    amounts: Floats,
) -> Evaluated | str:
    """Pool any analysis, one completed frame after the other."""
    numbers, precision = [], []
    first: tuple[pd.DataFrame, Any] | None = None
    for amount in amounts:
        moved = replace(imp, amounts=imp.amounts + amount @ directions)
        tables = []
        for i in range(len(imp.values)):
            got = run(request, moved.completed(i), imp.trial.names.visit)
            if isinstance(got, str):
                return f"imputation {i + 1}: {got}" if len(imp.values) > 1 else got
            first = first or got
            tables.append(got[0])
        q = np.array([t["estimate"].to_numpy(dtype=np.float64) for t in tables])
        u = np.array([t["se"].to_numpy(dtype=np.float64) ** 2 for t in tables])
        df = np.array([t["df"].to_numpy(dtype=np.float64) for t in tables])
        if resamples is None:
            one, more = rubin_numbers([pooling.rubin(q, u, df)], inference, request.level)
            numbers.append(one[0])
            precision.append(more[0])
            continue
        samples = []
        for b in range(len(resamples.weights)):
            frame = moved.resampled(resamples, b)
            try:
                got = run(request, frame, imp.trial.names.visit)
            except UsageError as error:  # a level may be lost
                got = error.message
            if isinstance(got, str):
                return f"{imp.sample_name(inference, b)}: {got}"
            if len(got[0]) != q.shape[1]:
                return f"{imp.sample_name(inference, b)}: a level of the contrast is lost"
            samples.append(got[0]["estimate"].to_numpy(dtype=np.float64))
        numbers.append(RULES[inference](q[0], np.array(samples), request.level))
    assert first is not None
    table, fit = first
    keys = table[[name for name in table.columns if name not in STATISTICS]]
    return Evaluated(
        keys,
        np.stack(numbers),
        np.stack(precision) if precision else None,
        len(keys),
        int(getattr(fit, "n", len(imp.trial.subjects))),
        int(getattr(fit, "n_missing", 0)),
    )


def rubin_numbers(
    done: list[pooling.RubinResult], inference: str, level: float
) -> tuple[Floats, Floats]:
    """Return pooled tables, shape (g, k, 7), and their precision, shape (g, k, 5)."""
    if inference == "normal":
        done = [replace(each, df=np.full(len(each.df), np.inf)) for each in done]
    numbers = np.stack([each.table_at(level).to_numpy() for each in done])
    precision = np.stack(
        [
            np.column_stack([each.within, each.between, each.share, each.fmi, each.mc_se])
            for each in done
        ]
    )
    return numbers, precision
