"""The analysis frame of one registered analysis: population, filter, visit, derived columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from trialkit.analysis.rows import (
    DAY,
    START_STOP,
    SUBJECT,
    VISIT,
    aggregate,
    every_visit,
    imputation_terms,
    respond,
)
from trialkit.errors import UnknownName, UsageError
from trialkit.methods._design import parse, variables_of
from trialkit.plan.model import Analysis, Plan, Population
from trialkit.plan.words import (
    COUNT_METHODS,
    OPTIONS,
    TIME_METHODS,
    VISITS_METHODS,
    columns_of,
)


@dataclass
class Prepared:
    """What a method needs of one analysis.

    Parameters
    ----------
    frame : DataFrame
        Rows of the population; the treatment is Categorical with the reference first.
    people : Series
        Arm by USUBJID, of everybody in the population.
    used : ndarray of bool, shape (rows,)
        Rows that have every value that the method needs.
    baseline : Series
        Baseline value by USUBJID; empty where the frame has none.
    options : dict
        The plan's options of the method.
    terms : list of str
        Of the imputation model, beside arm and visit.
    """

    analysis: Analysis
    population: Population
    variable: str
    treatment: str
    reference: str
    level: float
    frame: pd.DataFrame
    people: pd.Series[Any]
    used: np.ndarray[Any, np.dtype[np.bool_]]
    baseline: pd.Series[float]
    options: dict[str, Any] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)

    @property
    def arms(self) -> list[str]:
        """Arms that occur, reference first."""
        return [str(a) for a in self.frame[self.variable].cat.categories]

    @property
    def analysed(self) -> set[str]:
        """USUBJID of everybody with at least one row used."""
        return set(self.frame[SUBJECT][self.used])

    @property
    def visits(self) -> dict[str, float]:
        """Visit code to planned day, in order; empty where the frame has no visits."""
        if VISIT not in self.frame.columns or DAY not in self.frame.columns:
            return {}
        rows = self.frame[[VISIT, DAY]].drop_duplicates(VISIT).sort_values(DAY)
        return {str(v): float(d) for v, d in zip(rows[VISIT], rows[DAY], strict=True)}


def prepare(plan: Plan, analysis: Analysis, frames: Mapping[str, pd.DataFrame]) -> Prepared:
    """Build the analysis frame.

    Rows are those of the dataset whose columns have the values of ``where``, of participants in
    the estimand's population. Where the frame has the columns: only ``ANL01FL == "Y"``, no
    baseline rows, and, except for ``mmrm`` and ``imputation``, only the registered visit.
    ``imputation`` gets one row for everybody and every visit, observed or not. Columns of the
    formula that the frame lacks come from ADSL.

    Raises
    ------
    UnknownName
        If a frame or a column is not there.
    UsageError
        If the arms are not known (blinded data), an option does not exist, or a participant
        has several rows where the method needs one.
    """
    adsl = frame_of(frames, "ADSL")
    population = population_of(plan, analysis)
    _check_options(analysis)
    people = arms_of(plan, adsl[adsl[column_of(adsl, population.flag, "ADSL")] == "Y"])
    rows = _rows(frame_of(frames, analysis.dataset), analysis, people)
    baseline = _baseline(rows)
    rows = _analysis_rows(rows, analysis)
    if analysis.method in COUNT_METHODS and set(START_STOP) <= set(rows.columns):
        rows = aggregate(rows, people)
    if analysis.method in TIME_METHODS and "CNSR" in rows.columns:
        rows = rows.assign(EVENT=1.0 - rows["CNSR"])
    if analysis.response is not None:
        rows = rows.assign(RESPONSE=respond(analysis, rows["AVAL"]))
    needed = _needed(plan, analysis, rows, adsl)
    imputed = analysis.method == "imputation"
    if imputed:
        rows = every_visit(rows, people, baseline, [n for n in needed if n not in adsl.columns])
        needed = [name for name in needed if name != parse(analysis.formula)[0]]
    frame = _complete(rows, adsl, people, needed, plan)
    one_row = analysis.method not in {*VISITS_METHODS, "recurrent"}
    if one_row and frame[SUBJECT].duplicated().any():
        raise _several(analysis)
    return Prepared(
        analysis=analysis,
        population=population,
        variable=plan.treatment.variable,
        treatment=plan.treatment.treatment,
        reference=plan.treatment.reference,
        level=1.0 - plan.alpha,
        frame=frame,
        people=people,
        used=_used(analysis, frame, needed),
        baseline=baseline,
        options={k: v for k, v in analysis.options.items() if k != "covariates" or not imputed},
        terms=imputation_terms(plan, analysis) if imputed else [],
    )


def _several(analysis: Analysis) -> UsageError:
    return UsageError(
        f"{analysis.id}: participants have several rows of {analysis.dataset}.",
        remedy="Register a visit, or a `where` that leaves one row a participant.",
    )


def _used(
    analysis: Analysis, frame: pd.DataFrame, needed: list[str]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which rows have every value; of imputed ones those of the visit that is analysed."""
    whole = frame[needed].notna().all(axis=1)
    if analysis.method == "imputation":
        whole = whole.groupby(frame[SUBJECT]).transform("all") & (frame[VISIT] == analysis.visit)
    return whole.to_numpy(dtype=bool)


def frame_of(frames: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """Return a frame, or raise `UnknownName`."""
    if name not in frames:
        raise UnknownName(f"there is no frame {name}.", remedy=f"Frames: {', '.join(frames)}.")
    return frames[name]


def column_of(frame: pd.DataFrame, column: str, name: str) -> str:
    """Return `column` if the frame has it, or raise `UnknownName`."""
    if column not in frame.columns:
        raise UnknownName(
            f"{name} has no column {column}.",
            remedy=f"Columns: {', '.join(map(str, frame.columns))}.",
        )
    return column


def population_of(plan: Plan, analysis: Analysis) -> Population:
    """Return the population of the analysis' estimand, or raise `UnknownName`."""
    estimand = plan.estimand(analysis.estimand)
    code = estimand.population if estimand else analysis.estimand
    found = next((p for p in plan.populations if p.code == code), None)
    if estimand is None or found is None:
        raise UnknownName(
            f"{analysis.id}: no {'population' if estimand else 'estimand'} {code}.",
            remedy="Check the plan with `trialkit check`.",
        )
    return found


def arms_of(plan: Plan, adsl: pd.DataFrame) -> pd.Series[Any]:
    """Return the arm by USUBJID; UsageError where arms are hidden or one of the two is empty."""
    column_of(adsl, plan.treatment.variable, "ADSL")
    arms = adsl.set_index(SUBJECT)[plan.treatment.variable]
    if arms.isna().any():
        raise UsageError(
            f"{int(arms.isna().sum())} participants of the population have no arm.",
            remedy="Use an unblinded snapshot: `trialkit snapshot --unblind`.",
        )
    for name in (plan.treatment.treatment, plan.treatment.reference):
        if name not in set(arms):
            raise UsageError(
                f"nobody in the population has the arm {name!r}.",
                remedy=f"Arms are {sorted(set(arms))}; check `treatment` in the plan.",
            )
    return arms


def _check_options(analysis: Analysis) -> None:
    unknown = set(analysis.options) - set(OPTIONS[analysis.method])
    if unknown:
        raise UsageError(
            f"{analysis.id}: {analysis.method} has no option {', '.join(sorted(unknown))}.",
            remedy=f"Options: {', '.join(sorted(OPTIONS[analysis.method]))}.",
        )


def _rows(frame: pd.DataFrame, analysis: Analysis, people: pd.Series[Any]) -> pd.DataFrame:
    keep = frame[SUBJECT].isin(people.index)
    for name, value in analysis.where.items():
        keep &= frame[column_of(frame, name, analysis.dataset)].astype(str) == value
    return frame[keep]


def _baseline(rows: pd.DataFrame) -> pd.Series[float]:
    if not {"ABLFL", "AVAL"} <= set(rows.columns):
        return pd.Series(dtype=np.float64)
    found = rows[rows["ABLFL"] == "Y"]
    return found.drop_duplicates(SUBJECT).set_index(SUBJECT)["AVAL"]


def _analysis_rows(rows: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    if "ANL01FL" in rows.columns:
        rows = rows[rows["ANL01FL"] == "Y"]
    if "ABLFL" in rows.columns:
        rows = rows[rows["ABLFL"] != "Y"]
    if analysis.visit is not None and analysis.method not in VISITS_METHODS:
        rows = rows[rows[column_of(rows, VISIT, analysis.dataset)] == analysis.visit]
    return rows


def _needed(plan: Plan, analysis: Analysis, rows: pd.DataFrame, adsl: pd.DataFrame) -> list[str]:
    """Return the columns that must not be missing, each found in the frame or in ADSL."""
    both = pd.DataFrame(columns=list(dict.fromkeys([*rows.columns, *adsl.columns])))
    formula, outcomes = analysis.formula, []
    if analysis.method in TIME_METHODS:
        formula, outcomes = formula.rpartition("~")[2], ["AVAL", "EVENT"]
    elif analysis.method == "recurrent":
        formula, outcomes = formula.rpartition("~")[2], [*START_STOP]
    left, terms = parse(formula)
    if analysis.method == "imputation" and (extra := imputation_terms(plan, analysis)):
        terms = (*terms, *parse("~ " + " + ".join(extra))[1])
    expressions = [*([left] if left else []), *(name for term in terms for name in term)]
    names = [column for name in expressions for column in variables_of(name, both)]
    names += columns_of(analysis.method, analysis.options)
    if analysis.method in VISITS_METHODS:
        names.append(VISIT)
    if analysis.method in COUNT_METHODS and "PYEARS" in rows.columns:
        names.append("PYEARS")
    wanted = list(dict.fromkeys([SUBJECT, plan.treatment.variable, *outcomes, *names]))
    for name in wanted:
        if name not in both.columns:
            raise UnknownName(
                f"{analysis.id}: neither {analysis.dataset} nor ADSL has a column {name}.",
                remedy="Mend the formula, the options or the dataset of the analysis.",
            )
    return wanted


def _complete(
    rows: pd.DataFrame,
    adsl: pd.DataFrame,
    people: pd.Series[Any],
    needed: Sequence[str],
    plan: Plan,
) -> pd.DataFrame:
    """Add the columns of ADSL, make treatment and visit categorical, fix the row order."""
    facts = adsl.set_index(SUBJECT)
    variable = plan.treatment.variable
    added: dict[str, Any] = {
        name: rows[SUBJECT].map(facts[name])
        for name in needed
        if name not in rows.columns and name != variable
    }
    others = sorted(set(people) - {plan.treatment.reference, plan.treatment.treatment})
    order = [plan.treatment.reference, plan.treatment.treatment, *others]
    added[variable] = pd.Categorical(rows[SUBJECT].map(people), categories=order)
    frame = rows.assign(**added)
    if {VISIT, DAY} <= set(frame.columns):
        visits = frame[[VISIT, DAY]].drop_duplicates(VISIT).sort_values(DAY)[VISIT]
        frame[VISIT] = pd.Categorical(frame[VISIT], categories=list(visits))
    by = [SUBJECT, *(name for name in (DAY, "TSTART") if name in frame.columns)]
    return frame.sort_values(by, kind="stable").reset_index(drop=True)
