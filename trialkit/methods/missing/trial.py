"""The data of a trial as a complete grid of participants by visits, with intercurrent events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing import strategies
from trialkit.methods.missing.events import check_first, needs_reference, read_events, references
from trialkit.methods.missing.strategies import Strategy

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

#: Column of a completed frame that tells imputed values.
IMPUTED = "imputed"


@dataclass(frozen=True)
class Names:
    """Names of the columns."""

    outcome: str
    subject: str
    visit: str
    group: str


@dataclass(frozen=True)
class Trial:
    """Participants by visits.

    Parameters
    ----------
    names : Names
    frame : DataFrame, n * m rows
        One row a participant and visit, in the order of ``subjects`` and ``visits``.
    subjects, visits, arms : tuple
        Identifiers in order.
    arm : ndarray of int, shape (n,)
        Position of each participant's arm.
    y : ndarray, shape (n, m)
        Outcomes; NaN where missing.
    first : ndarray of int, shape (n,)
        First visit that an intercurrent event affects; m where there is none.
    strategy : tuple of Strategy, length n
    reference : ndarray of int, shape (number of arms,)
        Reference arm of each arm; its own where none is given.
    has_reference : bool
        Whether reference arms are given.
    added : int
        Rows that the data did not hold.
    """

    names: Names
    frame: pd.DataFrame = field(repr=False)
    subjects: tuple[Any, ...] = field(repr=False)
    visits: tuple[Any, ...]
    arms: tuple[Any, ...]
    arm: Ints = field(repr=False)
    y: Floats = field(repr=False)
    first: Ints = field(repr=False)
    strategy: tuple[Strategy, ...] = field(repr=False)
    reference: Ints
    has_reference: bool
    added: int

    @property
    def missing(self) -> Bools:
        """Which outcomes are missing, shape (n, m)."""
        return np.isnan(self.y)

    @property
    def after(self) -> Bools:
        """Which visits an intercurrent event affects, shape (n, m)."""
        return np.arange(len(self.visits)) >= self.first[:, None]

    @property
    def modelled(self) -> Bools:
        """Which outcomes the imputation model is fitted to, shape (n, m).

        Outcomes observed after an event that is not imputed under MAR are left out.
        """
        other = np.array([s != strategies.MAR for s in self.strategy], dtype=bool)
        return np.asarray(~self.missing & ~(self.after & other[:, None]))

    def counts(self) -> pd.DataFrame:
        """Count participants and imputed values: group, visit, n, imputed."""
        mine = self.arm == np.arange(len(self.arms))[:, None]
        pairs = np.empty((len(self.arms), len(self.visits), 2), dtype=object)
        for v, visit in enumerate(self.visits):
            for g, arm in enumerate(self.arms):
                pairs[g, v, 0], pairs[g, v, 1] = arm, visit
        return pd.DataFrame(
            {
                self.names.group: pairs[..., 0].ravel(),
                self.names.visit: pairs[..., 1].ravel(),
                "n": np.repeat(mine.sum(axis=1), len(self.visits)),
                "imputed": (mine.astype(np.intp) @ self.missing.astype(np.intp)).ravel(),
            }
        )


def read_trial(
    data: pd.DataFrame,
    names: Names,
    *,
    visits: Sequence[Any] | None,
    ice: pd.DataFrame | str | None,
    strategy: Any,
    reference: Any,
) -> Trial:
    """Arrange the data as a grid and read the intercurrent events.

    Raises
    ------
    UsageError
        For an unknown or incomplete key, a visit twice, an arm that changes within a
        participant, an outcome that is no finite number, or an event that does not fit the data.
    """
    frame = checked(data, names)
    order = visit_order(frame[names.visit], visits)
    subjects = sorted_unique(frame[names.subject])
    group = frame[names.group]
    arms = sorted_unique(group)
    if len(arms) < 2:
        raise UsageError(
            f"The column {names.group} has only the level {arms[0]!r}.",
            remedy="Check the population.",
        )
    i = pd.Index(subjects).get_indexer(pd.Index(frame[names.subject]))
    j = pd.Index(order).get_indexer(pd.Index(frame[names.visit]))
    check_keys(frame, names, i, j, len(order))
    n, m = len(subjects), len(order)
    arm = np.zeros(n, dtype=np.intp)
    arm[i] = pd.Index(arms).get_indexer(pd.Index(group))
    if (arms_of(group, arms) != arm[i]).any():
        bad = frame[names.subject].to_numpy(dtype=object)[arms_of(group, arms) != arm[i]][0]
        raise UsageError(
            f"{names.subject} {bad} has more than one level of {names.group}.",
            remedy="The arm must be constant within a participant.",
        )
    grid = expand(frame, names, i * m + j, subjects, order)
    y = grid[names.outcome].to_numpy(dtype=np.float64).reshape(n, m)
    first, chosen = read_events(ice, strategy, names, subjects, order, y)
    return Trial(
        names=names,
        frame=grid,
        subjects=subjects,
        visits=order,
        arms=arms,
        arm=arm,
        y=y,
        first=first,
        strategy=chosen,
        reference=references(reference, arms, chosen),
        has_reference=reference is not None,
        added=len(grid) - len(frame),
    )


def change(trial: Trial, strategy: Strategy) -> Trial:
    """Return the trial with one strategy for every intercurrent event.

    Raises
    ------
    UsageError
        Where other outcomes would enter the imputation model, or a reference arm is missing.
    """
    m = len(trial.visits)
    chosen = tuple(strategy if first < m else strategies.MAR for first in trial.first)
    check_first(trial.first, chosen, trial.names, trial.subjects)
    found = replace(trial, strategy=chosen)
    if (found.modelled != trial.modelled).any():
        raise UsageError(
            "Outcomes observed after an event count in the imputation model under MAR only; the "
            "model must be fitted again.",
            remedy="Call impute with this strategy.",
        )
    if needs_reference(chosen) and not trial.has_reference:
        raise UsageError("No reference arm was given.", remedy="Call impute with reference=...")
    return found


def checked(data: pd.DataFrame, names: Names) -> pd.DataFrame:
    """Return the data with a float outcome, or refuse them."""
    wanted = [names.subject, names.visit, names.group, names.outcome]
    unknown = [name for name in wanted if name not in data.columns]
    if unknown:
        raise UsageError(
            f"The data have no column {', '.join(map(repr, unknown))}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    if IMPUTED in data.columns:
        raise UsageError(
            f"The data have a column {IMPUTED!r}, which completed frames use.",
            remedy="Rename it.",
        )
    for name in wanted[:3]:
        if data[name].isna().any():
            raise UsageError(
                f"{int(data[name].isna().sum())} rows have no {name}.",
                remedy="Give subject, visit and arm in every row.",
            )
    if not len(data):
        raise UsageError("The data have no row.", remedy="Check the population.")
    outcome = data[names.outcome]
    if not pd.api.types.is_numeric_dtype(outcome.dtype) or pd.api.types.is_bool_dtype(outcome):
        raise UsageError(f"The outcome {names.outcome} is not numeric.", remedy="Give numbers.")
    values = outcome.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise UsageError(
            f"The outcome {names.outcome} holds infinite values.", remedy="Correct the data."
        )
    return data.assign(**{names.outcome: values})


def check_keys(frame: pd.DataFrame, names: Names, i: Ints, j: Ints, m: int) -> None:
    """Refuse a visit that is not in the given order, or twice in a participant."""
    if (j < 0).any():
        raise UsageError(
            f"The visit {frame[names.visit].to_numpy(dtype=object)[j < 0][0]!r} is not among "
            "those named in visits.",
            remedy="Name every visit in order, or leave its rows out.",
        )
    again = pd.Series(i * m + j).duplicated().to_numpy()
    if again.any():
        at = int(np.flatnonzero(again)[0])
        raise UsageError(
            f"{int(again.sum())} rows repeat a visit of a subject; the first is {names.subject} "
            f"{frame[names.subject].iloc[at]}, {names.visit} {frame[names.visit].iloc[at]}.",
            remedy="Keep one row a subject and visit.",
        )


def arms_of(group: pd.Series[Any], arms: tuple[Any, ...]) -> Ints:
    """Return the position of each row's arm."""
    return np.asarray(pd.Index(arms).get_indexer(pd.Index(group)), dtype=np.intp)


def sorted_unique(series: pd.Series[Any]) -> tuple[Any, ...]:
    """Return the values that occur: category order for a Categorical, else sorted."""
    found = series.unique()
    if isinstance(series.dtype, pd.CategoricalDtype):
        present = set(found.tolist())
        return tuple(v for v in series.cat.categories.tolist() if v in present)
    try:
        return tuple(sorted(found.tolist()))
    except TypeError as error:
        raise UsageError(
            f"The column {series.name} mixes types.",
            remedy="Make all of its values text, or all numbers.",
        ) from error


def visit_order(series: pd.Series[Any], given: Sequence[Any] | None) -> tuple[Any, ...]:
    """Return the visits in order of time.

    Text is ordered by the number in it when all visits are written alike (Week 4, Week 12).

    Raises
    ------
    UsageError
        Where the order of text visits cannot be told.
    """
    if given is not None:
        order = tuple(given)
        if len(set(order)) < len(order):
            raise UsageError(f"visits repeats a visit: {order}.", remedy="Name each visit once.")
        found = set(series.unique().tolist())
        if absent := [v for v in order if v not in found]:
            raise UsageError(
                f"The visit {absent[0]!r} of visits is not in the data.",
                remedy="Check how visits are written.",
            )
    else:
        order = sorted_unique(series)
        if not isinstance(series.dtype, pd.CategoricalDtype) and isinstance(order[0], str):
            order = by_number(order, str(series.name))
    if len(order) < 2:
        raise UsageError(
            f"There is only the visit {order[0]!r}.", remedy="Give at least two visits."
        )
    return order


def by_number(order: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Sort text visits by their one number."""
    parts = [re.fullmatch(r"(\D*)(\d+(?:\.\d+)?)(\D*)", v) for v in order]
    shapes = {(p.group(1), p.group(3)) for p in parts if p is not None}
    if None in parts or len(shapes) > 1:
        raise UsageError(
            f"The order in time of the visits {', '.join(order)} cannot be told from their names.",
            remedy=f"Give visits=[...] in order, or make {name} an ordered Categorical.",
        )
    return tuple(sorted(order, key=lambda v: float(re.sub(r"[^\d.]", "", v))))


def expand(
    frame: pd.DataFrame, names: Names, at: Ints, subjects: tuple[Any, ...], visits: tuple[Any, ...]
) -> pd.DataFrame:
    """Return one row a participant and visit; added rows take what does not vary."""
    n, m = len(subjects), len(visits)
    grid = frame.iloc[np.argsort(at, kind="stable")].reset_index(drop=True)
    if len(grid) == n * m:
        return grid
    keys = np.sort(at)
    grid.index = pd.Index(keys)
    grid = grid.reindex(np.arange(n * m))
    rows_of = {names.subject: np.arange(n * m) // m, names.visit: np.arange(n * m) % m}
    for name in grid.columns:
        if name == names.outcome:
            continue
        for key in (names.subject, names.visit):
            code = rows_of[key]
            known = frame[name].to_numpy(dtype=object)[np.argsort(at, kind="stable")]
            filled = constant_within(known, code[keys], int(code.max()) + 1)
            if filled is not None:
                values = pd.Series(filled[code], index=grid.index, dtype=object)
                grid[name] = values.astype(frame[name].dtype) if whole(values) else values
                break
    for name, levels in ((names.subject, subjects), (names.visit, visits)):
        column = pd.Series(list(levels), dtype=frame[name].dtype)
        grid[name] = column.iloc[rows_of[name]].array
    return grid.reset_index(drop=True)


def whole(values: pd.Series[Any]) -> bool:
    """Tell whether no value is missing."""
    return bool(values.notna().all())


def constant_within(values: npt.NDArray[Any], code: Ints, size: int) -> npt.NDArray[Any] | None:
    """Return the one value of each code, or None where a code has several."""
    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    seen = np.full(size, -2, dtype=np.intp)
    seen[code] = codes
    if (seen[code] != codes).any():
        return None
    out = np.full(size, np.nan, dtype=object)
    known = seen >= 0
    out[known] = np.asarray(uniques, dtype=object)[seen[known]]
    return out
