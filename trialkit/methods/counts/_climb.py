"""From the rows of a count model to the maximum of its likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods._design import Design
from trialkit.methods._predictor import alias_notes
from trialkit.methods.counts._fit import CountFit
from trialkit.methods.counts._newton import Maximum
from trialkit.methods.counts._rows import Rows
from trialkit.methods.counts._separation import (
    direction,
    leaving,
    lost_levels,
    restrict,
    suspicious,
)

Floats = npt.NDArray[np.float64]
Fit = TypeVar("Fit", bound=CountFit)

#: Give the model's maximum, and those of the models within it, from matrix, counts and offset.
Climb = Callable[[Floats, Floats, Floats], tuple[Maximum, ...] | str]


def unfitted(kind: type[Fit], rows: Rows, *, method: str, variant: str) -> Fit:
    """Return a fit of the rows that has no numbers yet."""
    design = rows.design
    width = design.x.shape[1]
    return kind(
        method=method,
        variant=variant,
        design=design,
        beta=np.full(width, np.nan),
        covariance=np.full((width, width), np.nan),
        n=len(design.y),
        n_missing=rows.n_missing,
        notes=[*rows.notes, *alias_notes(design)],
    )


def climb(fit: CountFit, rows: Rows, up: Climb) -> tuple[Maximum, ...] | str:
    """Maximise a likelihood over the rows whose rate is not zero in the limit.

    Rows that leave are taken from ``fit.design`` (and ``fit.clusters``), and a note says so.

    Returns
    -------
    tuple of Maximum, or str
        What `up` gives, or why there is none.
    """
    design = rows.design
    failed = too_few(design)
    if failed is not None:
        return failed
    if not design.y.any():
        return "no event in these data"
    found = "separated" if suspicious(design) else up(design.x, design.y, rows.offset)
    if not isinstance(found, str) and not looks_separated(design, found[0]):
        return found
    failed, offset, keep = without_separated(fit, rows)
    failed = failed or too_few(fit.design)
    if failed is not None:
        return failed
    if fit.clusters is not None:
        fit.clusters = pd.factorize(fit.clusters[keep])[0].astype(np.intp)
    return up(fit.design.x, fit.design.y, offset)


def too_few(design: Design) -> str | None:
    """Say that the rows do not suffice, or None."""
    n, p = design.x.shape
    return f"{n} rows do not suffice for {p} coefficients" if n <= p else None


def without_separated(fit: CountFit, rows: Rows) -> tuple[str | None, Floats, npt.NDArray[Any]]:
    """Take from the fit's design the rows whose rate is zero in the limit.

    Returns
    -------
    failed : str or None
        Why nothing is left to estimate.
    offset : ndarray, shape (n,)
        Of the rows that stay.
    keep : ndarray of bool
    """
    design = rows.design
    everything = np.ones(len(design.y), dtype=bool)
    rising = direction(design)
    if rising is None:
        return None, rows.offset, everything
    keep = ~leaving(design.x @ rising)
    lost = lost_levels(design, keep)
    smaller = restrict(design, keep)
    told = "; ".join(f"no event where {n} is {v}" for n, gone in lost.items() for v in gone)
    had = [f for f in design.factors.values() if f.categorical]
    if lost and len(had) == 1 and smaller.x.shape[1] < 2:
        return told, rows.offset, everything
    number = int((~keep).sum())
    left = "their rate is zero in the limit, and the other coefficients are those without them"
    what = told or "a combination of covariates separates rows without an event"
    fit.notes.append(f"{what}: {number} rows left out ({left})")
    fit.notes += [note for note in alias_notes(smaller) if note not in fit.notes]
    fit.design, fit.everyone, fit.rising, fit.lost = smaller, design, rising, lost
    return None, rows.offset[keep], keep


def looks_separated(design: Design, found: Maximum) -> bool:
    """Tell whether a fit's end makes separation worth a look."""
    rate = found.mu / max(float(design.y.mean()), 1e-300)
    return bool((rate[design.y == 0.0] < 1e-4).any())
