"""Proportional hazards regression.

The partial likelihood is our own (module ``_partial``), for all ways to treat ties: of the
packages at hand lifelines stops its iterations early, has no exact ties and wrong clustered
errors, and statsmodels is wrong for start-stop rows. The numbers are those of R's ``coxph``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level, names_of
from trialkit.methods._predictor import alias_notes
from trialkit.methods.survival._baseline import baseline_table
from trialkit.methods.survival._concordance import concordance
from trialkit.methods.survival._hazard_fit import ROBUST, HazardFit, codes, estimate, hazard_design
from trialkit.methods.survival._outcome import layers_of, one_of, outcome, times_of
from trialkit.methods.survival._partial import MONOTONE
from trialkit.methods.survival.proportionality import (
    Proportionality,
    Transform,
    check_proportionality,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

__all__ = ["MONOTONE", "CoxFit", "cox"]

TIES = {
    "efron": "ties by Efron",
    "breslow": "ties by Breslow",
    "exact": "exact ties (discrete likelihood)",
}


@dataclass
class CoxFit(HazardFit):
    """A proportional hazards regression."""

    ties: Literal["efron", "breslow", "exact"] = "efron"
    strata: tuple[str, ...] = ()
    layers: tuple[tuple[Any, ...], ...] = ((),)

    def proportionality(self, transform: Transform = "km") -> Proportionality:
        """Test proportional hazards by a score test for coefficients that vary with time.

        Parameters
        ----------
        transform : {"km", "rank", "identity", "log"}
            The function of time by which a coefficient may vary; see `Proportionality`.
        """
        return check_proportionality(self, transform)

    def baseline(
        self, at: Mapping[str, object] | None = None, *, level: float = 0.95
    ) -> pd.DataFrame:
        """Return the cumulative hazard and the survival of a participant, by stratum.

        Parameters
        ----------
        at : mapping, optional
            Values of the formula's columns. Columns not named take their first level, or their
            mean over the rows used.
        level : float
            Coverage of the intervals, which are symmetric on the scale of the log survival.

        Returns
        -------
        DataFrame
            The strata's columns, then time, at_risk, events, cumulative_hazard, se (of the
            cumulative hazard), survival, lower, upper; one row at each event time. The
            increments follow the ties of the fit (Breslow's for exact ties), as R's
            ``survfit``; the variance is that of Tsiatis AA (1981), Ann Stat 9:93.
        """
        check_level(level)
        return baseline_table(self, self.strata, self.layers, at, level)

    @property
    def concordance(self) -> float:
        """Share of comparable pairs in which the higher hazard had the earlier event.

        Harrell's C; pairs within a stratum, ties of the linear predictor count one half. NaN
        for a failed fit.
        """
        if self.failed or self.engine is None or self.engine.problem is None:
            return math.nan
        return concordance(self.design.x @ self.beta, self.engine.problem.sets)


def cox(
    formula: str,
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    ties: Literal["efron", "breslow", "exact"] = "efron",
    strata: str | Sequence[str] | None = None,
    start: str | None = None,
    cluster: str | None = None,
    robust: bool = False,
) -> CoxFit:
    """Fit a Cox regression.

    Parameters
    ----------
    formula : str
        Terms after ``~``; a left side is ignored.
    data : DataFrame
        One row a participant, or one an interval at risk where `start` is given.
    time, event : str
        Column of the time (one unit throughout), and of 1 for an event, 0 for censoring.
    ties : {"efron", "breslow", "exact"}
        ``exact`` is the discrete likelihood (R's ``ties="exact"``, SAS ``ties=discrete``).
    strata : str or sequence of str, optional
        Columns whose combinations have baseline hazards of their own.
    start : str, optional
        Column of the time after which a row is at risk; a row is at risk at its own `time`.
    cluster : str, optional
        Column of who a row belongs to; makes the covariance robust, summed over clusters.
    robust : bool
        A robust covariance without clusters (every row for itself).

    Returns
    -------
    CoxFit

    Raises
    ------
    UsageError
        For unknown columns, negative times, a start that is not before its time, an event
        column that is not 0 or 1, unknown ties, or a robust covariance with exact ties.
    """
    one_of(ties, tuple(TIES), "way to treat ties")
    robust = robust or cluster is not None
    if robust and ties == "exact":
        raise UsageError(
            "Exact ties have no score residuals, and so no robust covariance.",
            remedy="Use ties='efron' or 'breslow'.",
        )
    layers = names_of(strata)
    extra = [name for name in (start, cluster) if name is not None]
    design = hazard_design(formula, data, [time, event, *layers, *extra])
    stop, happened = outcome(design.columns[time], design.columns[event], time, event)
    begin = None if start is None else entry(design.columns[start], stop, start, time, design.rows)
    layer, levels = layers_of(design.columns, layers)
    group = None if cluster is None else codes(design.columns[cluster])
    p = design.x.shape[1]
    fit = CoxFit(
        method="cox",
        variant=describe(ties, layers, cluster, robust),
        design=design,
        beta=np.zeros(p),
        covariance=np.zeros((p, p)),
        n=len(stop),
        n_missing=design.n_missing,
        notes=alias_notes(design),
        robust=robust,
        ties=ties,
        strata=layers,
        layers=levels,
    )
    estimate(fit, stop, happened, start=begin, strata=layer, ties=ties, cluster=group)
    return fit


def describe(ties: str, strata: Sequence[str], cluster: str | None, robust: bool) -> str:
    """Say in words what is computed."""
    covariance = "observed information"
    if robust:
        covariance = ROBUST + (f" clustered by {cluster}" if cluster else "")
    layers = f", stratified by {', '.join(strata)}" if strata else ""
    return f"Cox partial likelihood, {TIES[ties]}, {covariance}, normal quantiles{layers}"


def entry(values: npt.NDArray[Any], stop: Floats, start: str, time: str, rows: Ints) -> Floats:
    """Return the starts as floats, or refuse those that are not before their stop."""
    begin = times_of(values, start)
    wrong = np.flatnonzero(begin >= stop)
    if len(wrong):
        where = ", ".join(str(rows[i]) for i in wrong[:5])
        raise UsageError(
            f"{start} is not before {time} in {len(wrong)} rows (positions {where}).",
            remedy="An interval must have a length: correct it, or leave the row out.",
        )
    return begin
