"""The Aalen-Johansen estimate of one group and its variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialkit.methods.survival._risk import before, product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

VARIANCES = {"aalen": "Aalen variance", "delta": "delta-method variance"}


@dataclass(frozen=True)
class Incidence:
    """The incidence of one cause in one group; arrays of shape (m + 1,), first time 0."""

    cause: int
    time: Floats
    estimate: Floats
    variance: Floats
    at_risk: Floats
    events: Floats
    free: Floats


def incidence(times: Floats, kinds: Ints, causes: int, variance: str) -> list[Incidence]:
    """Estimate the cumulative incidence of every cause in one group.

    Parameters
    ----------
    times : ndarray, shape (n,)
    kinds : ndarray of int, shape (n,)
        0 for censoring, else 1 ... ``causes``.
    causes : int
    variance : str
        A key of :data:`VARIANCES`.
    """
    table = risk_table(times, np.zeros(len(times), np.intp), kinds, 1, causes + 1)
    counts, n, time = table.counts[:, 0], table.at_risk[:, 0], table.time
    if time[0] > 0.0:
        time, n = np.append(0.0, time), np.append(n[0], n)
        counts = np.vstack([np.zeros(causes + 1), counts])
    d = counts[:, 1:].sum(axis=1)
    free = product_limit(d, n)
    start = before(free, 1.0)
    out = []
    for cause in range(1, causes + 1):
        own = counts[:, cause]
        f = np.cumsum(start * own / n)
        if variance == "aalen":
            rest = d - own
            spread = own * (n - own) / _room(n - 1.0)
            both = spread + rest * (n - rest) / _room(n - 1.0)
            parts = (both / _room((n - d) ** 2), spread / n**2)
            cross = spread / _room(n * (n - d))
        else:
            parts = (d / _room(n * (n - d)), own * (n - own) / n**3)
            cross = own / n**2
        a, b = parts[0], start * cross
        total = np.cumsum(a * f * f + start**2 * parts[1] + 2.0 * f * b)
        total += f * f * np.cumsum(a) - 2.0 * f * np.cumsum(a * f + b)
        out.append(Incidence(cause, time, f, np.maximum(total, 0.0), n, own, free))
    return out


def _room(values: Floats) -> Floats:
    """Return divisors, infinite where nobody is left (the term is 0 there)."""
    return np.where(values > 0.0, values, np.inf)
