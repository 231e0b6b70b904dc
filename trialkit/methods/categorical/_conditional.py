"""Logistic regression conditional on the number of events of each stratum.

The likelihood of a stratum is the probability that those with the event had it, given how many
did: ``exp(sum x_i'b over events) / sum over all subsets of that size``. The denominator is an
elementary symmetric function, built one participant at a time (Gail MH, Lubin JH, Rubinstein
LV 1981, Likelihood calculations for matched case-control studies and survival studies with
tied death times, Biometrika 68:703); its derivatives follow from the same recursion.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trialkit.methods._design import tall_qr
from trialkit.methods.categorical._logistic import SEPARATION, UNSOLVED, Maximum, recedes

Floats = npt.NDArray[np.float64]
Strata = list[tuple[Floats, Floats]]


def split(x: Floats, y: Floats, strata: npt.NDArray[Any]) -> tuple[Strata, int]:
    """Return columns and responses of each stratum with both responses, and how many lack one."""
    out: Strata = []
    empty = 0
    for stratum in np.unique(strata):
        rows = strata == stratum
        if 0 < y[rows].sum() < rows.sum():
            out.append((x[rows], y[rows]))
        else:
            empty += 1
    return out, empty


def centred(x: Floats, y: Floats, strata: npt.NDArray[Any]) -> Floats:
    """Return the columns less their means in strata with both responses; 0 in the others."""
    out = np.zeros_like(x)
    for stratum in np.unique(strata):
        rows = strata == stratum
        if 0 < y[rows].sum() < rows.sum():
            out[rows] = x[rows] - x[rows].mean(axis=0)
    return out


def subsets(x: Floats, beta: Floats, m: int) -> tuple[float, Floats, Floats]:
    """Return log of the sum over subsets of ``m`` rows, its gradient and its Hessian."""
    n, p = x.shape
    eta = x @ beta
    shift = float(eta.max())
    weight = np.exp(eta - shift)
    total, first, second = np.zeros(m + 1), np.zeros((m + 1, p)), np.zeros((m + 1, p, p))
    total[0] = 1.0
    scale = 0.0
    for i in range(n):
        lead, row, w = min(i + 1, m), x[i], weight[i]
        t, f, s = total[:lead].copy(), first[:lead].copy(), second[:lead].copy()
        second[1 : lead + 1] += w * (
            s
            + f[:, :, None] * row[None, None, :]
            + row[None, :, None] * f[:, None, :]
            + t[:, None, None] * np.outer(row, row)[None]
        )
        first[1 : lead + 1] += w * (f + t[:, None] * row)
        total[1 : lead + 1] += w * t
        largest = float(total.max())
        if largest > 1e100:
            total, first, second = total / largest, first / largest, second / largest
            scale += math.log(largest)
    gradient = first[m] / total[m]
    hessian = second[m] / total[m] - np.outer(gradient, gradient)
    return math.log(total[m]) + scale + m * shift, gradient, hessian


def derivatives(strata: Strata, beta: Floats) -> tuple[float, Floats, Floats]:
    """Return the conditional log-likelihood, its score and its information."""
    p = len(beta)
    loglik, score, information = 0.0, np.zeros(p), np.zeros((p, p))
    for x, y in strata:
        m = int(y.sum())
        seen = y @ x
        # the smaller of events and others: subsets and complements correspond
        if 2 * m <= len(y):
            log, gradient, hessian = subsets(x, beta, m)
        else:
            log, gradient, hessian = subsets(-x, beta, len(y) - m)
            log, gradient = log + float(x.sum(axis=0) @ beta), gradient + x.sum(axis=0)
        loglik += float(seen @ beta) - log
        score += seen - gradient
        information += hessian
    return loglik, score, information


def maximise(x: Floats, y: Floats, strata: npt.NDArray[Any]) -> Maximum | str:
    """Maximise the conditional likelihood, or say why it cannot be.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Columns that are independent within strata.
    y : ndarray, shape (n,)
        0 and 1.
    strata : ndarray, shape (n,)
        Labels.
    """
    if not x.shape[1]:
        return "no column of the model varies within strata that hold both responses"
    r = tall_qr(x)[1]
    back = np.linalg.inv(r)
    parts, _ = split(x @ back, y, strata)
    gamma = np.zeros(x.shape[1])
    try:
        loglik, score, information = derivatives(parts, gamma)
        for _ in range(60):
            step = np.linalg.solve(information, score)
            gain = float(score @ step)
            if gain < 1e-18:
                break
            size = 1.0
            found = derivatives(parts, gamma + step)
            while not found[0] >= loglik - 1e-12 * abs(loglik) and size > 1e-6:
                size /= 2.0
                found = derivatives(parts, gamma + size * step)
            gamma = gamma + size * step
            loglik, score, information = found
        else:
            gain = math.inf
        core = np.linalg.inv(information)
    except (np.linalg.LinAlgError, FloatingPointError, ValueError):
        gain = math.inf
    steep = not gain < 1e-18 or max(float(np.ptp(xs @ gamma)) for xs, _ in parts) > 12.0
    if steep and _separated(parts):
        return SEPARATION
    if not gain < 1e-18:
        return UNSOLVED
    return Maximum(back @ gamma, back @ core @ back.T, loglik)


def _separated(parts: Strata) -> bool:
    """Tell whether a direction ranks every event above every other of its stratum."""
    pairs = [
        (x[y == 1.0][:, None, :] - x[y == 0.0][None, :, :]).reshape(-1, x.shape[1])
        for x, y in parts
    ]
    return recedes(np.vstack(pairs))
