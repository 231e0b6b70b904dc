"""Many trials of one design: the MMRM of each, and one contrast, in one table.

The frame is read once. Unstructured covariances of few visits are fitted in stacks
(:mod:`trialkit.methods.repeated.stacked`), all others one by one, as
:func:`~trialkit.methods.mmrm` does. The bytes of a trial's numbers do not depend on the other
trials, on how many are handed out at once, or on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import reads
from trialkit.methods._marginal import STATISTICS, WEIGHTS, check_level, check_weights, names_of
from trialkit.methods.repeated.answers import Answer, answer_all
from trialkit.methods.repeated.choices import check_choices
from trialkit.methods.repeated.source import Request, Trials, read_frame, read_outcomes
from trialkit.methods.repeated.workers import share

NOT_ESTIMABLE = "the data of the trial cannot estimate this contrast"


def mmrm_batch(
    formula: str,
    data: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    subject: str,
    visit: str,
    contrast: tuple[str, Any],
    by: str | Sequence[str] | None = None,
    trial: str | None = None,
    outcomes: npt.ArrayLike | None = None,
    covariance: str | Sequence[str] = "us",
    reml: bool = True,
    df: str | None = None,
    group: str | None = None,
    weights: str | None = None,
    time: str | Sequence[str] | None = None,
    se: str = "model",
    fallback_se: str | None = None,
    equal_at: Mapping[str, Any] | None = None,
    margins: str = "equal",
    level: float = 0.95,
    workers: int = 1,
    batch_size: int = 200,
) -> pd.DataFrame:
    """Fit the same MMRM to many trials and return one contrast of each.

    The trials are given in one of three forms: one frame with a column that names the trial;
    several frames, one a trial, which are read as they come; or one frame of predictors and a
    matrix of outcomes, one row a trial, with NaN for a missing visit (the fastest).

    Parameters
    ----------
    formula : str
        As for :func:`~trialkit.methods.mmrm`.
    data : DataFrame or iterable of DataFrame
    subject, visit : str
        Columns that identify a row within a trial.
    contrast : tuple of str and object
        A factor, such as the arm, and the level with which the others are compared.
    by : str or sequence of str, optional
        Factors at each level of which they are compared, such as the visit.
    trial : str, optional
        Column that names the trial, ``TRIAL`` without; not for several frames and outcomes.
    outcomes : array_like, shape (trials, rows), optional
        Outcomes for the rows of `data`, in place of the outcome's column.
    covariance, reml, df, group, weights, time, se, fallback_se, equal_at
        As for :func:`~trialkit.methods.mmrm`.
    margins : str
        Weights of the LS-means: ``equal``, ``observed`` or ``counterfactual``.
    level : float
        Coverage of the intervals.
    workers : int
        Processes; 1 computes in this one. They are started by this call and end with it.
    batch_size : int
        Trials that a process is given at once. It does not change a byte of the result.

    Returns
    -------
    DataFrame
        ``trial`` (its name, or its place from 0), the levels, ``reference``, the levels of
        ``by``, ``estimate se df statistic p lower upper``, with several structures
        ``structure``, and ``failed``: None, or why the trial, or this contrast of it, has no
        numbers. A failed trial has one row. Trials are in the order of their names, contrasts
        as in :meth:`MMRMFit.contrast`. ``attrs`` hold ``variant`` and ``weights``.

    Raises
    ------
    UsageError
        For options and columns that do not exist, and for a visit twice in a subject. What is
        wrong with the data of one trial only (an arm or a visit without rows) makes that trial
        fail.
    """
    term, reference = contrast
    check_level(level)
    check_weights(margins, "conditional")
    for name, value in (("workers", workers), ("batch_size", batch_size)):
        if not (isinstance(value, int) and value > 0):
            raise UsageError(f"{name} must be a positive whole number.", remedy=f"Use {name}=1.")
    request = Request(
        formula=formula,
        options={"subject": subject, "visit": visit, "group": group, "weights": weights},
        choices=check_choices(covariance, reml, df, se, fallback_se, time),
        equal_at=equal_at,
        term=term,
        reference=reference,
        by=names_of(by),
        margins=margins,
        level=level,
    )
    parts = parts_of(data, trial, outcomes, request, batch_size)
    if workers == 1:
        answers = [answer for part in parts for answer in answer_all(part, request)]
    else:
        answers = share(parts, request, workers)
    if not answers:
        raise UsageError("There are no trials.", remedy="Give at least one frame.")
    return collect(answers, request)


def parts_of(
    data: pd.DataFrame | Iterable[pd.DataFrame],
    trial: str | None,
    outcomes: npt.ArrayLike | None,
    request: Request,
    batch_size: int,
) -> Iterator[list[Trials]]:
    """Read the trials, some at a time."""
    one = isinstance(data, pd.DataFrame)
    if trial is not None and (not one or outcomes is not None):
        raise UsageError(
            "trial= is for one frame that holds the rows of several trials.",
            remedy="Leave trial out, or give one frame and no outcomes.",
        )
    if outcomes is not None and not one:
        raise UsageError("Outcomes need one frame of predictors.", remedy="Give one frame.")
    if isinstance(data, pd.DataFrame):
        if outcomes is not None:
            whole = read_outcomes(data, outcomes, request)
        else:
            whole = read_frame(data, trial or "TRIAL", request)
        for first in range(0, len(whole), batch_size):
            yield [whole.part(first, first + batch_size)]
        return
    waiting: list[Trials] = []
    for place, frame in enumerate(data):
        waiting.append(read_one(frame, place, request))
        if len(waiting) == batch_size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def read_one(frame: pd.DataFrame, place: int, request: Request) -> Trials:
    """Read a frame as one trial, named by its place; one without complete rows is empty."""
    wanted = request.needed(reads(request.formula, frame))
    known = [name for name in wanted if name in frame.columns]
    if len(known) == len(wanted) and not frame[known].notna().all(axis=1).any():
        zero = np.zeros(2, dtype=np.intp)
        size = np.array([len(frame)], dtype=np.intp)
        return Trials([place], zero, size, {}, {}, {})
    found = read_frame(frame, None, request)
    found.names[:] = [place]
    return found


def collect(answers: list[Answer], request: Request) -> pd.DataFrame:
    """Put the answers into one table."""
    names = [request.term, *request.by]
    blank = (None,) * len(names)
    keys = [key for each in answers for key in (each.keys or [blank])]
    sizes = [max(1, len(each.keys)) for each in answers]
    gap = np.full((1, len(STATISTICS)), np.nan)
    numbers = np.concatenate([each.numbers if each.keys else gap for each in answers])
    lost = np.isnan(numbers[:, 0])
    reasons = np.repeat(objects([each.failed for each in answers]), sizes)
    open_ = lost & (reasons == None)  # noqa: E711
    reasons[open_] = NOT_ESTIMABLE
    columns: dict[str, Any] = {
        "trial": np.repeat(objects([each.trial for each in answers]), sizes),
        request.term: objects([key[0] for key in keys]),
        "reference": objects([request.reference] * len(keys)),
    }
    for place, name in enumerate(request.by, start=1):
        columns[name] = objects([key[place] for key in keys])
    columns.update(zip(STATISTICS, numbers.T, strict=True))
    if len(request.choices.structures) > 1:
        columns["structure"] = np.repeat(objects([e.structure or None for e in answers]), sizes)
    table = pd.DataFrame({**columns, "failed": reasons})
    table["trial"] = table["trial"].infer_objects()
    good = next((each.variant for each in answers if each.failed is None), "")
    table.attrs.update(variant=good, weights=request.margins, means=WEIGHTS[request.margins])
    return table


def objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values as an object array."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
