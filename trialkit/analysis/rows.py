"""Rows that an analysis makes from those of a dataset: counts, responses, every visit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import parse
from trialkit.plan.model import Analysis, Plan

SUBJECT, VISIT, DAY = "USUBJID", "AVISIT", "AVISITN"
DAYS_A_YEAR = 365.25
START_STOP = ("TSTART", "TSTOP", "EVENT")


def aggregate(rows: pd.DataFrame, people: pd.Series[Any]) -> pd.DataFrame:
    """Return one row a participant: NEVENTS and PYEARS at risk, from start-stop rows.

    Participants without a row, or without time at risk, are left out: they tell nothing about
    a rate, and are counted as missing.
    """
    time = (rows["TSTOP"] - rows["TSTART"]).groupby(rows[SUBJECT]).sum() / DAYS_A_YEAR
    events = rows["EVENT"].groupby(rows[SUBJECT]).sum()
    order = [u for u in people.index if time.get(u, 0.0) > 0.0]
    return pd.DataFrame(
        {
            SUBJECT: order,
            "NEVENTS": events.reindex(order).to_numpy(dtype=np.float64),
            "PYEARS": time.reindex(order).to_numpy(dtype=np.float64),
        }
    )


def respond(analysis: Analysis, values: pd.Series[float]) -> pd.Series[float]:
    """Return RESPONSE: 1 inside the bounds, 0 outside, missing where the value is missing."""
    rule = analysis.response
    inside = pd.Series(True, index=values.index)
    if rule is not None and rule.at_least is not None:
        inside &= values >= rule.at_least
    if rule is not None and rule.at_most is not None:
        inside &= values <= rule.at_most
    return inside.astype(np.float64).where(values.notna())


def every_visit(
    rows: pd.DataFrame, people: pd.Series[Any], baseline: pd.Series[float], kept: list[str]
) -> pd.DataFrame:
    """Return one row for everybody and every visit that anybody has.

    Visits that were not held have no outcome, and the baseline value of the participant.

    Parameters
    ----------
    rows : DataFrame
        What was observed after baseline.
    people, baseline : Series
        Arm, and baseline value, by USUBJID.
    kept : list of str
        Columns that are kept beside participant, visit and day.
    """
    days = rows[[VISIT, DAY]].drop_duplicates(VISIT).sort_values(DAY)
    keys = pd.MultiIndex.from_product([people.index, days[VISIT]], names=[SUBJECT, VISIT])
    columns = [n for n in kept if n in rows.columns and n not in {SUBJECT, VISIT, DAY}]
    own = rows.set_index([SUBJECT, VISIT])[columns]
    if own.index.duplicated().any():
        who, visit = own.index[own.index.duplicated()][0]
        raise UsageError(
            f"{who} has several values at {visit}.",
            remedy="Give a `where` that leaves one row a participant and visit.",
        )
    grid = own.reindex(keys).reset_index()
    grid[DAY] = grid[VISIT].map(days.set_index(VISIT)[DAY])
    if "BASE" in columns:
        known = rows.dropna(subset=["BASE"]).drop_duplicates(SUBJECT).set_index(SUBJECT)["BASE"]
        start = known.reindex(people.index)
        start = start.fillna(baseline.reindex(people.index)) if len(baseline) else start
        grid["BASE"] = grid[SUBJECT].map(start).astype(np.float64)
    return grid


def imputation_terms(plan: Plan, analysis: Analysis) -> list[str]:
    """Return the terms of the imputation model beside arm and visit.

    Those of the option ``covariates``, else those of the analysis without the treatment.
    """
    given = analysis.options.get("covariates")
    if given is not None:
        return [str(term) for term in given]
    terms = [factors for factors in parse(analysis.formula)[1] if factors]
    return [":".join(factors) for factors in terms if plan.treatment.variable not in factors]
