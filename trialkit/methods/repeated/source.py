"""The rows of many trials, read once from a frame, from several frames or from drawn outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._columns import Kind, complete_columns, kind_of, levels_in
from trialkit.methods._design import Design, assemble, reads
from trialkit.methods._expression import is_categorical
from trialkit.methods.repeated.choices import Choices
from trialkit.methods.repeated.fit import Layout, code, coordinate, positive

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Request:
    """What every trial is asked.

    Parameters
    ----------
    formula : str
    options : dict
        Columns of subject, visit, group and weights.
    choices : Choices
    equal_at : mapping, optional
    term, reference : str, object
        The contrast.
    by : tuple of str
    margins : str
        Weights of the LS-means.
    level : float
    """

    formula: str
    options: dict[str, str | None]
    choices: Choices
    equal_at: Mapping[str, Any] | None
    term: str
    reference: Any
    by: tuple[str, ...]
    margins: str
    level: float

    @property
    def subject(self) -> str:
        """Column of the participants."""
        return str(self.options["subject"])

    @property
    def visit(self) -> str:
        """Column of the visits."""
        return str(self.options["visit"])

    def needed(self, read: Mapping[str, tuple[str, ...]]) -> list[str]:
        """Return the columns that a row must have."""
        also = [name for name in self.options.values() if name is not None]
        right = [name for names in read.values() for name in names]
        return list(dict.fromkeys([*right, *also, *self.choices.time]))


@dataclass(frozen=True)
class Column:
    """A column of few different values as codes, or of numbers as they are."""

    values: npt.NDArray[Any]
    levels: npt.NDArray[Any] | None = None

    def at(self, rows: slice | npt.NDArray[np.bool_] | Ints) -> npt.NDArray[Any]:
        """Return the values of some rows."""
        found = self.values[rows]
        return np.asarray(found if self.levels is None else self.levels[found])


@dataclass(frozen=True)
class Trials:
    """Complete rows of several trials, sorted by trial, subject and visit.

    Parameters
    ----------
    names : list
        One name a trial.
    starts : ndarray of int, shape (trials + 1,)
        Where each trial's rows begin, and the end.
    sizes : ndarray of int, shape (trials,)
        Rows of each trial before incomplete ones were left out.
    columns : dict of str to Column
        The participants as whole numbers in their order.
    kinds, read : dict
        As for :func:`~trialkit.methods._design.assemble`.
    outcomes : ndarray, shape (trials, rows), optional
        Outcomes of trials that share all rows; NaN for a missing one.
    """

    names: list[Any]
    starts: Ints
    sizes: Ints
    columns: dict[str, Column]
    kinds: dict[str, Kind]
    read: dict[str, tuple[str, ...]]
    outcomes: Floats | None = None

    def __len__(self) -> int:
        return len(self.names)

    def part(self, first: int, last: int) -> Trials:
        """Return some of the trials."""
        names, sizes = self.names[first:last], self.sizes[first:last]
        if self.outcomes is not None:
            return replace(self, names=names, sizes=sizes, outcomes=self.outcomes[first:last])
        low, high = int(self.starts[first]), int(self.starts[min(last, len(self))])
        columns = {
            name: replace(column, values=column.values[low:high])
            for name, column in self.columns.items()
        }
        starts = self.starts[first : last + 1] - low
        return replace(self, names=names, sizes=sizes, starts=starts, columns=columns)

    def rows_of(self, i: int) -> dict[str, npt.NDArray[Any]]:
        """Return the complete rows of one trial."""
        if self.outcomes is None:
            at = slice(int(self.starts[i]), int(self.starts[i + 1]))
            return {name: column.at(at) for name, column in self.columns.items()}
        seen = ~np.isnan(self.outcomes[i])
        rows = {name: column.at(seen) for name, column in self.columns.items()}
        rows[next(reversed(self.read))] = self.outcomes[i][seen]
        return rows

    def design(self, i: int, request: Request) -> tuple[Design, Layout]:
        """Build the model of one trial.

        Raises
        ------
        UsageError
            If the rows left cannot carry the model.
        """
        columns = self.rows_of(i)
        subject = columns[request.subject]
        if not len(subject):
            raise UsageError("No row of the trial is complete.", remedy="Check its outcomes.")
        design = assemble(
            request.formula,
            self.read,
            columns,
            self.kinds,
            rows=np.arange(len(subject)),
            n_missing=int(self.sizes[i]) - len(subject),
            equal_at=request.equal_at,
            visit=request.visit,
        )
        visits = levels_in(self.kinds[request.visit], columns[request.visit], request.visit)
        if len(visits) < 2:
            raise UsageError(f"There is only the visit {visits[0]!r}.", remedy="Use ancova.")
        group, weights = request.options["group"], request.options["weights"]
        groups = levels_in(self.kinds[group], columns[group], group) if group else ()
        times = [coordinate(columns[name], name) for name in request.choices.time]
        return design, Layout(
            np.cumsum(np.r_[False, subject[1:] != subject[:-1]]).astype(np.intp),
            code(columns[request.visit], visits),
            visits,
            code(columns[group], groups) if group else None,
            groups,
            positive(columns[weights], weights) if weights else None,
            np.column_stack(times) if times else None,
        )


def read_frame(
    data: pd.DataFrame, trial: str | None, request: Request, keep: Sequence[str] = ()
) -> Trials:
    """Read the trials of one frame, or the frame as one trial.

    Raises
    ------
    UsageError
        For an unknown column, a visit twice in a subject, a group that changes within one.
    """
    read = reads(request.formula, data)
    wanted = [*request.needed(read), *keep]
    if trial is not None and (trial not in data.columns or trial in wanted):
        raise UsageError(
            f"{trial!r} does not name a column of the trials.",
            remedy="Give trial= a column that the model does not use, or give several frames.",
        )
    columns, rows = complete_columns(data, wanted)
    kinds = {name: kind_of(data[name]) for name in wanted}
    check_factors(request, read, kinds)
    every, names = np.zeros(len(data), dtype=np.intp), [0]
    if trial is not None:
        every, names = trial_codes(data[trial])
    trials = every[rows]
    subject = pd.factorize(columns[request.subject], sort=True)[0].astype(np.intp)
    levels = levels_in(kinds[request.visit], columns[request.visit], request.visit)
    visit = code(columns[request.visit], levels)
    if request.subject not in {name for names_ in read.values() for name in names_}:
        columns[request.subject], kinds[request.subject] = subject, Kind(True)
    person = trials * (int(subject.max()) + 1) + subject
    key = person * len(levels) + visit
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(again):
        first = order[again[0]]
        where = "" if trial is None else f" of the trial {names[trials[first]]}"
        raise UsageError(
            f"{len(again)} rows repeat a visit of a subject; the first is {request.subject} "
            f"{data[request.subject].iloc[rows[first]]}, {request.visit} {levels[visit[first]]}"
            f"{where}.",
            remedy="Keep one row a subject and visit in each trial.",
        )
    group = request.options["group"]
    if group is not None:
        refuse_moving(person[order], columns[group][order], group)
    return Trials(
        names=list(names),
        starts=np.searchsorted(trials[order], np.arange(len(names) + 1)).astype(np.intp),
        sizes=np.bincount(every, minlength=len(names)).astype(np.intp),
        columns={name: coded(values[order]) for name, values in columns.items()},
        kinds=kinds,
        read=read,
    )


def read_outcomes(data: pd.DataFrame, outcomes: npt.ArrayLike, request: Request) -> Trials:
    """Read one frame and the outcomes of each trial in its rows."""
    values = np.asarray(outcomes, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(data) or not len(values):
        raise UsageError(
            f"The outcomes have the shape {values.shape}, the data {len(data)} rows.",
            remedy="Give one row a trial and one column a row of the data.",
        )
    if np.isinf(values).any():
        raise UsageError("The outcomes hold infinite values.", remedy="Use NaN for missing ones.")
    left = request.formula.partition("~")[0].strip()
    if not left.isidentifier():
        raise UsageError(
            f"The outcome {left!r} of the formula is no plain name.",
            remedy="Write AVAL ~ ..., and transform the numbers beforehand.",
        )
    place = "row of the data"
    frame = data.copy(deep=False)
    frame[left], frame[place] = 0.0, np.arange(len(data))
    whole = read_frame(frame, None, request, keep=(place,))
    order = whole.columns.pop(place).at(slice(None))
    return replace(
        whole,
        names=list(range(len(values))),
        sizes=np.full(len(values), len(data), dtype=np.intp),
        outcomes=np.ascontiguousarray(values[:, order]),
    )


def check_factors(
    request: Request, read: Mapping[str, tuple[str, ...]], kinds: Mapping[str, Kind]
) -> None:
    """Refuse a contrast of what is no factor of the formula."""
    factors = [
        (name, names[0])
        for name, names in list(read.items())[:-1]
        if is_categorical(name) or (names == (name,) and not kinds[name].number)
    ]
    for wanted in (request.term, *request.by):
        if not any(wanted in each for each in factors):
            raise UsageError(
                f"{wanted!r} is not a factor of {request.formula!r}.",
                remedy=f"Use one of {sorted({column for _, column in factors})}.",
            )


def trial_codes(series: pd.Series[Any]) -> tuple[Ints, list[Any]]:
    """Return codes and names of the trials in their order."""
    if series.isna().any():
        raise UsageError(f"{series.name} is missing in some rows.", remedy="Name every trial.")
    levels = levels_in(kind_of(series), series.to_numpy(), str(series.name))
    return code(series.to_numpy(), levels), list(levels)


def coded(values: npt.NDArray[Any]) -> Column:
    """Keep text as codes, numbers as they are."""
    if values.dtype != object:
        return Column(values)
    codes, levels = pd.factorize(values)
    return Column(codes.astype(np.int32), np.asarray(levels, dtype=object))


def refuse_moving(person: Ints, group: npt.NDArray[Any], name: str) -> None:
    """Refuse a covariance group that changes within a subject; rows are sorted by subject."""
    if ((person[1:] == person[:-1]) & (group[1:] != group[:-1])).any():
        raise UsageError(
            f"A subject has more than one level of {name}.",
            remedy="A covariance group must be constant within a subject.",
        )
