"""The answers of trials: one fit and one contrast of each.

Unstructured covariances of few visits are fitted in stacks, all others one by one, as
:func:`~trialkit.methods.mmrm` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError
from trialkit.methods._design import Design
from trialkit.methods._marginal import STATISTICS, compared, mean_functions, statistics
from trialkit.methods.repeated import patterns as pattern
from trialkit.methods.repeated.df import MmrmInference
from trialkit.methods.repeated.fit import Layout, first_that_converges
from trialkit.methods.repeated.layout import MOST_VISITS
from trialkit.methods.repeated.likelihood import UsLikelihood
from trialkit.methods.repeated.patterns import Patterns
from trialkit.methods.repeated.reading import tied_words
from trialkit.methods.repeated.result import unusable, variant
from trialkit.methods.repeated.source import Request, Trials
from trialkit.methods.repeated.stacked import fit_stack
from trialkit.methods.repeated.support import unfit
from trialkit.methods.repeated.threads import in_one_thread

Floats = npt.NDArray[np.float64]
Model = tuple[Design, Layout]


@dataclass(frozen=True)
class Answer:
    """The contrasts of one trial, or why there are none.

    Parameters
    ----------
    trial : object
        Its name.
    keys : list of tuple
        Levels of the term and of ``by``, one tuple a contrast; none for a failed trial.
    numbers : ndarray, shape (k, 7)
        Columns of :data:`~trialkit.methods._marginal.STATISTICS`.
    structure : str
        The covariance structure used.
    variant : str
        What was computed in words.
    failed : str or None
    """

    trial: Any
    keys: list[tuple[Any, ...]]
    numbers: Floats
    structure: str
    variant: str
    failed: str | None


def answer_all(parts: list[Trials], request: Request) -> list[Answer]:
    """Fit every trial of some parts."""
    return [answer for part in parts for answer in answer_part(part, request)]


def answer_part(part: Trials, request: Request) -> list[Answer]:
    """Fit the trials of one part: together where that can be done, the others singly."""
    found: list[Answer | None] = [None] * len(part)
    models: dict[int, Model] = {}
    for i in range(len(part)):
        try:
            if not part.columns:
                raise UsageError("No row of the trial is complete.", remedy="Check its outcomes.")
            design, layout = part.design(i, request)
        except UsageError as error:
            found[i] = lost(part.names[i], error)
        else:
            models[i] = design, layout
    for i, done in together(models, request).items():
        found[i] = answer(part.names[i], *models[i], request, done)
    return [
        answer(part.names[i], *models[i], request, None) if each is None else each
        for i, each in enumerate(found)
    ]


@in_one_thread
def together(models: dict[int, Model], request: Request) -> dict[int, MmrmInference]:
    """Fit unstructured covariances of few visits in stacks; leave out what is not regular."""
    choices = request.choices
    df, se = choices.precision(0)
    plain = choices.structures[0] == "us" and request.options["group"] is None and se == "model"
    if not (plain and df in ("kenward_roger_linear", "satterthwaite")):
        return {}
    stacks: dict[tuple[int, int], dict[int, Patterns]] = {}
    for i, (design, layout) in models.items():
        m = len(layout.visits)
        if m <= MOST_VISITS:
            each = pattern.collect(
                design.x, design.y, layout.subject, layout.visit, n_visits=m, weights=layout.weights
            )
            if unfit(each, layout.visits, ()) is None:
                stacks.setdefault((m, each.p), {})[i] = each
    out = {}
    for alike in stacks.values():
        fits = fit_stack(list(alike.values()), choices.reml)
        for (i, patterns), fit in zip(alike.items(), fits, strict=True):
            if fit is not None:
                inference = MmrmInference(UsLikelihood(patterns, choices.reml), fit, df)
                if unusable(inference) is None:
                    out[i] = inference
    return out


def answer(
    name: Any, design: Design, layout: Layout, request: Request, done: MmrmInference | None
) -> Answer:
    """Answer for one trial, with its fit if there is one."""
    choices = request.choices
    inference, failed = done, None
    try:
        if done is not None:
            structure = choices.structures[0]
            words = variant(choices.reml, choices.precision(0)[0], request.options, structure)
            words += tied_words(design)
        else:
            fit = first_that_converges(design, layout, choices, request.options)
            structure, failed, inference = fit.structure, fit.failed, fit.inference
            words = fit.variant
        keys, numbers = contrasts(design, inference, request)
    except UsageError as error:
        return lost(name, error)
    return Answer(name, keys, numbers, structure, words, failed)


def lost(name: Any, error: UsageError) -> Answer:
    """Answer for a trial whose data cannot make the model."""
    return Answer(name, [], np.empty((0, len(STATISTICS))), "", "", error.message)


def contrasts(
    design: Design, inference: MmrmInference | None, request: Request
) -> tuple[list[tuple[Any, ...]], Floats]:
    """Return the levels and the numbers of the contrasts of one fit."""
    labels, means, _ = mean_functions(
        design,
        request.term,
        request.by,
        request.margins,
        unit=request.subject,
        occasion=request.visit,
    )
    factor = design.categorical(request.term)
    pick, against = compared(means, factor, request.term, request.reference)
    rows = means[pick] - means[against]
    if inference is None:
        return [], np.empty((0, len(STATISTICS)))
    numbers = np.full((len(rows), len(STATISTICS)), np.nan)
    can = design.estimable(rows)
    if can.any():
        numbers[can] = statistics(*inference(rows[can][:, design.kept]), request.level)
    columns = list(labels.values())
    return [tuple(column[k] for column in columns) for k in pick], numbers
