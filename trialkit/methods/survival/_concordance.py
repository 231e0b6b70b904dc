"""Harrell's C for right-censored and start-stop rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._risk_sets import RiskSets

Floats = npt.NDArray[np.float64]

#: Cells compared at a time.
_BLOCK = 2_000_000


def concordance(eta: Floats, sets: RiskSets) -> float:
    """Return the share of concordant pairs, ties of ``eta`` counting one half.

    A row with an event makes a pair with every row of its stratum that is at risk then and
    goes on later, or is censored at that time (Harrell FE, Califf RM, Pryor DB, Lee KL, Rosati
    RA, 1982, JAMA 247:2543). Linear predictors that differ by rounding only are tied.

    Parameters
    ----------
    eta : ndarray, shape (n,)
    sets : RiskSets
        The rows.
    """
    stop, event, layer = sets.stop, sets.event, sets.strata
    rounded = np.round((eta - eta.mean()) / max(float(np.ptp(eta)), 1e-300), 12)
    good = tied = pairs = 0.0
    rows = np.flatnonzero(event)
    size = max(1, _BLOCK // len(stop))
    for i in range(0, len(rows), size):
        own = rows[i : i + size, None]
        later = (stop > stop[own]) | ((stop == stop[own]) & ~event)
        later &= layer == layer[own]
        if sets.start is not None:
            later &= sets.start < stop[own]
        pairs += float(later.sum())
        good += float((later & (rounded < rounded[own])).sum())
        tied += float((later & (rounded == rounded[own])).sum())
    return (good + tied / 2.0) / pairs if pairs else math.nan
