r"""MMRM: mixed model for repeated measures.

The model is :math:`y_i = X_i\beta + \varepsilon_i` with :math:`\varepsilon_i` normal and one
covariance over the visits (or one a group), fitted to the observed visits by REML or ML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, Floats, Ints, build_design, levels_of
from trialkit.methods.repeated import patterns as statistics
from trialkit.methods.repeated.choices import Choices, check_choices
from trialkit.methods.repeated.empirical import Rows
from trialkit.methods.repeated.likelihood import Likelihood, Optimum, UsLikelihood
from trialkit.methods.repeated.newton import maximise, nothing
from trialkit.methods.repeated.result import MMRMFit
from trialkit.methods.repeated.spatial import Classes, classes_of
from trialkit.methods.repeated.structured import StructuredLikelihood
from trialkit.methods.repeated.structures import STRUCTURES
from trialkit.methods.repeated.support import unfit, unfit_structure
from trialkit.methods.repeated.threads import in_one_thread


@dataclass(frozen=True)
class Layout:
    """Codes of subject, visit and covariance group for the rows of a design.

    ``times`` are the coordinates of the rows for a spatial structure, shape (n, k).
    """

    subject: Ints
    visit: Ints
    visits: tuple[Any, ...]
    group: Ints | None
    groups: tuple[Any, ...]
    weights: Floats | None
    times: Floats | None = None


def mmrm(
    formula: str,
    data: pd.DataFrame,
    *,
    subject: str,
    visit: str,
    covariance: str | Sequence[str] = "us",
    reml: bool = True,
    df: str | None = None,
    group: str | None = None,
    weights: str | None = None,
    time: str | Sequence[str] | None = None,
    se: str = "model",
    fallback_se: str | None = None,
    equal_at: Mapping[str, Any] | None = None,
) -> MMRMFit:
    """Fit a mixed model for repeated measures.

    Rows with a missing outcome, covariate, subject or visit are left out and counted in
    ``n_missing``; no subject is left out for a missing visit.

    Parameters
    ----------
    formula : str
        Such as ``AVAL ~ BASE*AVISIT + STRATUM + TRT01P*AVISIT``.
    data : DataFrame
        One row a subject and visit.
    subject, visit : str
        Columns that identify a row. The order of the visits (sorted, or that of a
        Categorical) counts for the structures toep, ar1 and ad.
    covariance : str or sequence of str
        ``us`` (unstructured), ``toep``, ``toeph``, ``ar1``, ``ar1h``, ``ad``, ``adh``, ``cs``,
        ``csh`` (``h``: one variance a visit, else one in all), ``sp_exp`` or ``sp_gau``
        (correlations that fall with the distance in ``time``). Of several, the first that
        converges is used; the result tells which (``structure``), and why others were not
        (``fallbacks``, ``notes``).
    reml : bool
        Restricted maximum likelihood, else maximum likelihood.
    df : str, optional
        ``kenward_roger_linear`` (the default for REML), ``satterthwaite`` (the default for
        maximum likelihood and for empirical standard errors), ``kenward_roger`` (with second
        derivatives of the covariance in the parameters of SAS), ``residual`` or
        ``between_within``.
    group : str, optional
        Column with a level constant within a subject; each level has its own covariance.
    weights : str, optional
        Column of positive weights; the variance of a row is divided by its weight.
    time : str or sequence of str, optional
        Numeric column, or columns, with the coordinates of a row for ``sp_exp`` and
        ``sp_gau``; the distance is Euclidean. Rows without it are left out.
    se : str
        ``model``, or an empirical (sandwich) covariance of the coefficients: ``cr0``, ``cr2``
        (bias-reduced) or ``cr3`` (jackknife).
    fallback_se : str, optional
        The same for a structure that is not the first of ``covariance``. With an empirical
        one, degrees of freedom that would be Kenward-Roger's are Satterthwaite's.
    equal_at : mapping of str to object, optional
        ``{"TRT01P": "Baseline"}``: the arms share one mean at that visit, as randomised arms
        do before treatment. With the baseline value as an outcome this is the constrained
        longitudinal data analysis (cLDA). Contrasts at that visit are zero by the model and
        are left out of the tables.

    Returns
    -------
    MMRMFit
        With ``failed`` set, and empty tables, when the model cannot be fitted.

    Raises
    ------
    UsageError
        For input that no fit could use: an unknown column, a visit twice in a subject, a
        factor with one level, a non-numeric outcome, an option that does not exist,
        Kenward-Roger with maximum likelihood or with an empirical covariance.

    Notes
    -----
    Newton's method on sufficient statistics per missing-data pattern. Sources stand in the
    modules of :mod:`trialkit.methods.repeated`: ``likelihood``, ``structures``, ``df`` and
    ``empirical``.
    """
    choices = check_choices(covariance, reml, df, se, fallback_se, time)
    names = [name for name in (subject, visit, group, weights) if name is not None]
    design = build_design(
        formula, data, also=[*names, *choices.time], equal_at=equal_at, visit=visit
    )
    layout = lay_out(design, data, subject, visit, group, weights, choices.time)
    options = {"subject": subject, "visit": visit, "group": group, "weights": weights}
    return first_that_converges(design, layout, choices, options)


@in_one_thread
def first_that_converges(
    design: Design, layout: Layout, choices: Choices, options: dict[str, str | None]
) -> MMRMFit:
    """Try the structures in their order."""
    tried: list[tuple[str, str]] = []
    terms = np.asarray(design.assign[design.kept])
    for turn, structure in enumerate(choices.structures):
        df, se = choices.precision(turn)
        classes = classes_of(layout, structure, design.x.shape[1])
        rows = Rows(
            design.x,
            design.y,
            layout.subject,
            layout.visit,
            classes.codes,
            layout.weights,
            terms,
        )
        likelihood, optimum = fit_classes(
            design.x, design.y, layout, structure, classes, reml=choices.reml
        )
        fit = MMRMFit.build(
            design,
            layout.visits,
            layout.groups,
            likelihood,
            optimum,
            df=df,
            options=options,
            structure=structure,
            se=se,
            rows=rows,
        )
        if fit.failed is None or turn == len(choices.structures) - 1:
            break
        tried.append((structure, fit.failed))
    notes = [f"the structure {name} was tried first and failed: {why}" for name, why in tried]
    if fit.failed is None:
        notes += choices.notes(turn) + classes.notes
    elif tried:
        each = "; ".join(f"{name}: {why}" for name, why in [*tried, (structure, fit.failed)])
        fit = replace(fit, failed=f"no structure converged ({each})")
    return replace(fit, fallbacks=tuple(tried), notes=[*fit.notes, *notes])


@overload
def fit_arrays(
    x: Floats, y: Floats, layout: Layout, *, reml: bool = True, covariance: Literal["us"] = "us"
) -> tuple[UsLikelihood, Optimum]: ...


@overload
def fit_arrays(
    x: Floats, y: Floats, layout: Layout, *, reml: bool = True, covariance: str
) -> tuple[Likelihood, Optimum]: ...


def fit_arrays(
    x: Floats, y: Floats, layout: Layout, *, reml: bool = True, covariance: str = "us"
) -> tuple[Likelihood, Optimum]:
    """Fit from plain arrays.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Model matrix of full column rank.
    y : ndarray, shape (n,)
        Outcome.
    layout : Layout
        Codes of the rows.
    reml : bool
        Restricted likelihood.
    covariance : str
        The covariance structure.

    Returns
    -------
    likelihood : UsLikelihood or StructuredLikelihood
    optimum : Optimum
    """
    classes = classes_of(layout, covariance, x.shape[1])
    return fit_classes(x, y, layout, covariance, classes, reml=reml)


@in_one_thread
def fit_classes(
    x: Floats, y: Floats, layout: Layout, covariance: str, classes: Classes, *, reml: bool
) -> tuple[UsLikelihood | StructuredLikelihood, Optimum]:
    """Fit one structure to subjects of given classes."""
    patterns = statistics.collect(
        x,
        y,
        layout.subject,
        layout.visit,
        n_visits=len(layout.visits),
        group=classes.codes if len(classes.owner) > 1 else None,
        n_groups=len(classes.owner),
        weights=layout.weights,
    )
    if covariance == "us":
        free = UsLikelihood(patterns, reml)
        reason = unfit(patterns, layout.visits, layout.groups)
        return free, nothing(free, reason) if reason else maximise(free)
    likelihood = StructuredLikelihood(
        patterns, reml, STRUCTURES[covariance], classes.owner, classes.distances, classes.typical
    )
    reason = unfit_structure(likelihood, layout.visits, layout.groups)
    return likelihood, nothing(likelihood, reason) if reason else maximise(likelihood)


def lay_out(
    design: Design,
    data: pd.DataFrame,
    subject: str,
    visit: str,
    group: str | None,
    weights: str | None,
    time: Sequence[str] = (),
) -> Layout:
    """Code subjects, visits and groups, and check that they identify rows."""
    subjects, _ = pd.factorize(design.columns[subject], sort=True)
    visits = levels_of(data[visit], design.columns[visit])
    codes = code(design.columns[visit], visits)
    if len(visits) < 2:
        raise UsageError(
            f"There is only the visit {visits[0]!r}.",
            remedy="Use ancova for one visit.",
        )
    key = subjects * len(visits) + codes
    if len(np.unique(key)) < len(key):
        again = pd.Series(key).duplicated().to_numpy()
        first = int(np.flatnonzero(again)[0])
        raise UsageError(
            f"{int(again.sum())} rows repeat a visit of a subject; the first is {subject} "
            f"{design.columns[subject][first]}, {visit} {design.columns[visit][first]}.",
            remedy="Keep one row a subject and visit.",
        )
    groups: tuple[Any, ...] = ()
    group_codes = None
    if group is not None:
        groups = levels_of(data[group], design.columns[group])
        group_codes = code(design.columns[group], groups)
        if len(np.unique(subjects * len(groups) + group_codes)) > subjects.max() + 1:
            raise UsageError(
                f"A subject has more than one level of {group}.",
                remedy="A covariance group must be constant within a subject.",
            )
    given = None if weights is None else positive(design.columns[weights], weights)
    times = [coordinate(design.columns[name], name) for name in time]
    return Layout(
        subjects.astype(np.intp),
        codes,
        visits,
        group_codes,
        groups,
        given,
        np.column_stack(times) if times else None,
    )


def code(values: npt.NDArray[Any], levels: tuple[Any, ...]) -> Ints:
    """Return the position of each value among the levels."""
    return np.asarray(pd.Index(levels).get_indexer(pd.Index(values)), dtype=np.intp)


def positive(values: npt.NDArray[Any], name: str) -> Floats:
    """Return weights as positive finite numbers."""
    if values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values > 0)).all():
        raise UsageError(
            f"The weights {name} are not all positive numbers.",
            remedy="Leave out rows of weight zero.",
        )
    return values.astype(np.float64)


def coordinate(values: npt.NDArray[Any], name: str) -> Floats:
    """Return times as finite numbers."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise UsageError(
            f"The times {name} are not all finite numbers.",
            remedy="Give the time of a visit as a number, such as the study day.",
        )
    return values.astype(np.float64)
