"""Whether data can support a repeated-measures model, before it is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.methods.repeated.patterns import Patterns
from trialkit.methods.repeated.structured import StructuredLikelihood

Floats = npt.NDArray[np.float64]

#: Residual standard deviation of a visit, as a share of the overall one, that counts as none.
EXACT = 1e-9


def unfit_at_all(patterns: Patterns) -> str | None:
    """Say why no covariance structure can be fitted, or None."""
    if patterns.n_obs <= patterns.p:
        return f"{patterns.n_obs} observations cannot carry {patterns.p} coefficients"
    if patterns.n_subjects < 2:
        return "there is only one subject, and a covariance between visits needs several"
    if patterns.exact():
        return "the model fits the outcome exactly; there is no residual variance"
    return None


def unfit(patterns: Patterns, visits: tuple[Any, ...], groups: tuple[Any, ...]) -> str | None:
    """Say why the data cannot support an unstructured covariance, or None."""
    reason = unfit_at_all(patterns)
    if reason is not None:
        return reason
    pairs = patterns.pair_counts()
    for g, a, b in np.argwhere(pairs == 0):
        where = f" in {groups[g]}" if groups else ""
        if a == b:
            return f"no subject has visit {visits[a]}{where}"
        return (
            f"no subject{where} has both {visits[a]} and {visits[b]}, "
            "so their covariance cannot be estimated"
        )
    return exact_visit(patterns.visit_variances(), visits, groups)


def exact_visit(variances: Floats, visits: tuple[Any, ...], groups: tuple[Any, ...]) -> str | None:
    """Name a visit that the model fits exactly, or None."""
    for g, a in np.argwhere(variances < EXACT**2):
        where = f" in {groups[g]}" if groups else ""
        return f"the model fits visit {visits[a]}{where} exactly; it has no variance"
    return None


def unfit_structure(
    likelihood: StructuredLikelihood, visits: tuple[Any, ...], groups: tuple[Any, ...]
) -> str | None:
    """Say why the data cannot support a structured covariance, or None."""
    patterns, structure = likelihood.patterns, likelihood.structure
    reason = unfit_at_all(patterns)
    if reason is not None:
        return reason
    squares = np.diagonal(likelihood.group_products(), axis1=1, axis2=2)
    for g in np.flatnonzero(squares.max(axis=1) < EXACT**2):
        return (
            f"the model fits {groups[g] if groups else 'every visit'} exactly; it has no variance"
        )
    at = likelihood.start()
    if at is None:
        return "the model cannot be evaluated at its starting values"
    gap = likelihood.uninformed(at)
    if gap is not None:
        group, i = divmod(gap, likelihood.per_group)
        where = f" in {groups[group]}" if groups else ""
        name = structure.names(visits)[i]
        return f"no subject{where} has visits that tell the {name}, so it cannot be estimated"
    return exact_visit(squares, visits, groups) if structure.heterogeneous else None
