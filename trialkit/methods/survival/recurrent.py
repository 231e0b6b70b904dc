"""Regression for events that recur, such as falls.

All models are partial likelihoods over intervals ``(start, stop]`` (module ``_partial``):

- ``lwyy``: proportional means and rates. The estimates of Andersen-Gill with a covariance that
  is robust to dependence within a participant (Lin DY, Wei LJ, Yang I, Ying Z, 2000, J R Stat
  Soc B 62:711).
- ``andersen_gill``: proportional intensities; the covariance assumes that events of one
  participant are independent given the covariates (Andersen PK, Gill RD, 1982, Ann Stat
  10:1100).
- ``pwp_total``, ``pwp_gap``: a participant is at risk of the k-th event after the one before,
  with a baseline hazard for every k, in time since the start or since the event before
  (Prentice RL, Williams BJ, Peterson AV, 1981, Biometrika 68:373).
- ``wlw``: times from the start to the first, second, ... event, a baseline hazard for each; all
  are at risk of all of them (Wei LJ, Lin DY, Weissfeld L, 1989, J Am Stat Assoc 84:1065), here
  with coefficients common to all.

All but ``andersen_gill`` have the robust covariance, summed over the participant's rows (Lin
DY, Wei LJ, 1989, J Am Stat Assoc 84:1074). lifelines gets it wrong, and statsmodels the
start of an interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._predictor import alias_notes
from trialkit.methods.survival._hazard_fit import ROBUST, HazardFit, codes, estimate, hazard_design
from trialkit.methods.survival._intervals import Gaps, read_intervals
from trialkit.methods.survival._outcome import one_of
from trialkit.methods.survival._recurrent_rows import (
    Model,
    Rows,
    conditional_rows,
    constant,
    given_rows,
    marginal_rows,
    order_table,
)

MODELS = {
    "lwyy": "proportional rates (Lin, Wei, Yang and Ying)",
    "andersen_gill": "proportional intensities (Andersen and Gill)",
    "pwp_total": "conditional on earlier events, total time (Prentice, Williams and Peterson)",
    "pwp_gap": "conditional on earlier events, gap time (Prentice, Williams and Peterson)",
    "wlw": "marginal times to each event (Wei, Lin and Weissfeld)",
}
#: Columns beside the covariates in the table of counts; no covariate has such a name.
_WHO, _EVENT, _TIME = "\0subject", "\0event", "\0time"
SURVIVORS = "death ends the time at risk: rates are those of participants while alive"


@dataclass
class RecurrentFit(HazardFit):
    """A regression of recurrent events.

    Parameters
    ----------
    model : str
    person_time : float
        Time at risk in the rows used, in the unit of the times.
    orders : DataFrame
        order, subjects at risk, events; one row a stratum of PWP and WLW, else empty.
    """

    model: str = "lwyy"
    person_time: float = 0.0
    orders: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    _counts: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def rate_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return rate ratios against `reference`; ``se`` is that of the log rate ratio.

        They are ratios of mean rates under ``lwyy``, of intensities or hazards otherwise (the
        same numbers as `hazard_ratio`).
        """
        return self.hazard_ratio(term, reference=reference, level=level)

    def counts(self, term: str) -> pd.DataFrame:
        """Return what was observed at each level of a factor.

        Returns
        -------
        DataFrame
            `term`, subjects, with_event, events, person_time, rate (events a unit of time).
        """
        factor = self.design.categorical(term)
        names = list(factor.levels)
        out = pd.DataFrame({term: pd.Series(names, dtype=object)})
        level = pd.Series(self._counts[factor.variables[0]], dtype=object)
        rows = [self._counts[level == name] for name in names]
        out["subjects"] = [own[_WHO].nunique() for own in rows]
        out["with_event"] = [own.loc[own[_EVENT], _WHO].nunique() for own in rows]
        out["events"] = [int(own[_EVENT].sum()) for own in rows]
        out["person_time"] = [float(own[_TIME].sum()) for own in rows]
        out["rate"] = out["events"] / out["person_time"]
        return out


def recurrent(
    data: pd.DataFrame,
    *,
    start: str | None = None,
    stop: str,
    event: str,
    subject: str,
    formula: str = "~ TRT01P",
    model: Model = "lwyy",
    ties: Literal["breslow", "efron"] = "breslow",
    order: str | None = None,
    max_order: int | None = None,
    death: str | None = None,
    gaps: Gaps = "refuse",
) -> RecurrentFit:
    """Fit a regression of recurrent events.

    Parameters
    ----------
    data : DataFrame
        One row an interval at risk: an event, a change of a covariate or the end of
        follow-up closes it.
    start, stop : str
        Columns of the times after which, and up to which, the row is at risk.
    event, subject : str
        Columns of 1 for an event at `stop`, else 0, and of the participant.
    formula : str
        Terms after ``~``.
    model : {"lwyy", "andersen_gill", "pwp_total", "pwp_gap", "wlw"}
        See the module. ``pwp_gap`` counts from the start of the first interval at risk of
        each event. ``wlw`` takes the covariates to be constant, and builds its rows: each
        participant is at risk of every event from entry to that event or the end.
    ties : {"breslow", "efron"}
    order : str, optional
        Column of which event a row is at risk of (1, 2, ...), for PWP instead of counting the
        participant's events, and for ``wlw`` when the data already have one row a participant
        and event; `start` may then be left out.
    max_order : int, optional
        PWP: higher orders share the last stratum. WLW: later events are left out; without it
        as many as anybody had.
    death : str, optional
        Column of 1 where death ends the interval. It is checked and noted; the models treat
        death as the end of the time at risk.
    gaps : {"refuse", "allow"}
        Whether time between a participant's intervals, when nobody was at risk, is an error.

    Returns
    -------
    RecurrentFit

    Raises
    ------
    UsageError
        For intervals without length, twice there, overlapping, with gaps, or after death
        (named by participant and row), a covariate that changes under ``wlw``, and unknown
        columns or options.
    """
    one_of(model, get_args(Model), "model")
    one_of(ties, ("breslow", "efron"), "way to treat ties")
    one_of(gaps, get_args(Gaps), "way to treat gaps")
    if max_order is not None and max_order < 1:
        raise UsageError(f"max_order is {max_order}.", remedy="Give 1 or more.")
    if model in ("lwyy", "andersen_gill") and (order, max_order) != (None, None):
        raise UsageError(
            f"The model {model} does not tell events by their order.",
            remedy="Leave order and max_order out, or use pwp_total, pwp_gap or wlw.",
        )
    if model == "wlw" and order is not None:
        rows, missing = given_rows(data, start, stop, event, subject, order, max_order)
    else:
        if start is None:
            raise UsageError("start is not given.", remedy="Name the column.")
        spans = read_intervals(
            data, start=start, stop=stop, event=event, subject=subject, death=death,
            also=[] if order is None else [order], gaps=gaps,
        )  # fmt: skip
        frame = data.iloc[spans.rows]
        if model == "wlw":
            if gaps == "allow":
                raise UsageError(
                    "wlw counts all time from entry as at risk.", remedy="Leave gaps= out."
                )
            constant(hazard_design(formula, frame, []), data, frame, spans, subject)
            rows = marginal_rows(frame, spans, max_order)
        else:
            rows = conditional_rows(frame, spans, model, order, max_order)
        missing = spans.n_missing
    return fit_rows(rows, missing, formula, model, ties, deaths=death is not None)


def fit_rows(
    rows: Rows, missing: int, formula: str, model: Model, ties: str, *, deaths: bool
) -> RecurrentFit:
    """Fit the rows of a model."""
    frame = rows.frame.reset_index(drop=True)
    design = hazard_design(formula, frame, [])
    rows = rows.take(design.rows)
    robust = model != "andersen_gill"
    covariance = f"{ROBUST} clustered by participant" if robust else "observed information"
    p = design.x.shape[1]
    people = codes(rows.subject)
    fit = RecurrentFit(
        method="recurrent",
        variant=f"{MODELS[model]}, ties by {ties.capitalize()}, {covariance}, normal quantiles",
        design=design,
        beta=np.zeros(p),
        covariance=np.zeros((p, p)),
        n=len(rows.stop),
        n_missing=missing + design.n_missing,
        notes=[*alias_notes(design), *([SURVIVORS] if deaths else [])],
        robust=robust,
        model=model,
        person_time=float(rows.time.sum()),
        orders=order_table(rows),
        _counts=pd.DataFrame(
            {**design.columns, _WHO: people, _EVENT: rows.event, _TIME: rows.time}
        ),
    )
    strata = None if rows.order is None else codes(rows.order)
    estimate(
        fit, rows.stop, rows.event.astype(np.float64), start=rows.start, strata=strata,
        ties=ties, cluster=people,
    )  # fmt: skip
    return fit
