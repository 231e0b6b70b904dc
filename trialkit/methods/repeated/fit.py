r"""MMRM: mixed model for repeated measures with an unstructured covariance.

The model is :math:`y_i = X_i\beta + \varepsilon_i` with :math:`\varepsilon_i` normal and one
unstructured covariance over the visits, fitted to the observed visits by REML or ML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, Floats, Ints, build_design, levels_of
from trialkit.methods.repeated import df as inference
from trialkit.methods.repeated import patterns as statistics
from trialkit.methods.repeated.likelihood import Optimum, UsLikelihood
from trialkit.methods.repeated.newton import maximise, nothing
from trialkit.methods.repeated.result import MMRMFit

#: Residual standard deviation of a visit, as a share of the overall one, that counts as none.
EXACT = 1e-9


@dataclass(frozen=True)
class Layout:
    """Codes of subject, visit and covariance group for the rows of a design."""

    subject: Ints
    visit: Ints
    visits: tuple[Any, ...]
    group: Ints | None
    groups: tuple[Any, ...]
    weights: Floats | None


def mmrm(
    formula: str,
    data: pd.DataFrame,
    *,
    subject: str,
    visit: str,
    covariance: str = "us",
    reml: bool = True,
    df: str = "satterthwaite",
    group: str | None = None,
    weights: str | None = None,
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
        Columns that identify a row.
    covariance : str
        ``us``: unstructured.
    reml : bool
        Restricted maximum likelihood, else maximum likelihood.
    df : str
        ``satterthwaite`` or ``kenward_roger_linear``.
    group : str, optional
        Column with a level constant within a subject; each level has its own covariance.
    weights : str, optional
        Column of positive weights; the variance of a row is divided by its weight.
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
        factor with one level, a non-numeric outcome, an option that does not exist.

    Notes
    -----
    Newton's method on sufficient statistics per missing-data pattern; see
    :mod:`trialkit.methods.repeated.likelihood` and :mod:`trialkit.methods.repeated.df` for sources.
    """
    check_options(covariance, reml, df)
    also = [name for name in (subject, visit, group, weights) if name is not None]
    design = build_design(formula, data, also=also, equal_at=equal_at, visit=visit)
    layout = lay_out(design, data, subject, visit, group, weights)
    likelihood, optimum = fit_arrays(design.x, design.y, layout, reml=reml)
    return MMRMFit.build(
        design,
        layout.visits,
        layout.groups,
        likelihood,
        optimum,
        df=df,
        options={"subject": subject, "visit": visit, "group": group, "weights": weights},
    )


def fit_arrays(
    x: Floats, y: Floats, layout: Layout, *, reml: bool = True
) -> tuple[UsLikelihood, Optimum]:
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

    Returns
    -------
    likelihood : UsLikelihood
    optimum : Optimum
    """
    patterns = statistics.collect(
        x,
        y,
        layout.subject,
        layout.visit,
        n_visits=len(layout.visits),
        group=layout.group,
        n_groups=max(1, len(layout.groups)),
        weights=layout.weights,
    )
    likelihood = UsLikelihood(patterns, reml)
    reason = unfit(patterns, layout)
    return likelihood, nothing(likelihood, reason) if reason else maximise(likelihood)


def check_options(covariance: str, reml: bool, df: str) -> None:
    """Refuse options that do not exist."""
    if covariance != "us":
        raise UsageError(
            f"The covariance structure {covariance!r} is not available.",
            remedy="Use covariance='us' (unstructured).",
        )
    if df not in inference.DF_METHODS:
        raise UsageError(
            f"The degrees of freedom {df!r} are not available.",
            remedy=f"Use one of: {', '.join(inference.DF_METHODS)}.",
        )
    if df == "kenward_roger_linear" and not reml:
        raise UsageError(
            "Kenward-Roger is defined for REML only.",
            remedy="Use reml=True, or df='satterthwaite'.",
        )


def lay_out(
    design: Design,
    data: pd.DataFrame,
    subject: str,
    visit: str,
    group: str | None,
    weights: str | None,
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
    return Layout(subjects.astype(np.intp), codes, visits, group_codes, groups, given)


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


def unfit(patterns: statistics.Patterns, layout: Layout) -> str | None:
    """Say why the data cannot support the model, or None."""
    if patterns.n_obs <= patterns.p:
        return f"{patterns.n_obs} observations cannot carry {patterns.p} coefficients"
    if patterns.exact():
        return "the model fits the outcome exactly; there is no residual variance"
    pairs = patterns.pair_counts()
    for g, a, b in np.argwhere(pairs == 0):
        where = f" in {layout.groups[g]}" if layout.groups else ""
        if a == b:
            return f"no subject has visit {layout.visits[a]}{where}"
        return (
            f"no subject{where} has both {layout.visits[a]} and {layout.visits[b]}, "
            "so their covariance cannot be estimated"
        )
    for g, a in np.argwhere(patterns.visit_variances() < EXACT**2):
        where = f" in {layout.groups[g]}" if layout.groups else ""
        return f"the model fits visit {layout.visits[a]}{where} exactly; it has no variance"
    return None
