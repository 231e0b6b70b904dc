"""Familywise error over several tests: Holm, Hochberg, Hommel, fixed sequence, fallback.

Sources: Holm S (1979), Scand J Stat 6:65; Hochberg Y (1988), Biometrika 75:800; Hommel G (1988),
Biometrika 75:383; Maurer W, Hothorn LA, Lehmacher W (1995), Biometrie in der
chemisch-pharmazeutischen Industrie 6:3; Wiens BL (2003), Pharm Stat 2:211; Wiens BL, Dmitrienko A
(2005), J Biopharm Stat 15:929. Hochberg and Hommel control the error under independence and the
positive dependence for which Simes' inequality holds; Holm, the fixed sequence and the fallback
always.

A test without a p-value (its analysis failed) counts as p = 1: it is never rejected, in a fixed
sequence nothing after it is, and it makes the others no easier to reject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.multiplicity.hypotheses import (
    Floats,
    PValues,
    check_alpha,
    decision_table,
    read_p,
)


def holm(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Apply Holm's step-down procedure.

    Parameters
    ----------
    p : mapping or Series of test to p-value (None or NaN: failed)
    alpha : float
        Familywise error.

    Returns
    -------
    DataFrame
        test, p, p_adjusted, rejected; in the order given.

    Raises
    ------
    UsageError
        For a p-value outside [0, 1], a test named twice, or no test.
    """
    check_alpha(alpha)
    read = read_p(p)
    m = len(read.values)
    order = np.argsort(read.values, kind="stable")
    stepped = np.maximum.accumulate(read.values[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return decision_table(read, adjusted, alpha)


def hochberg(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Apply Hochberg's step-up procedure; parameters and table as :func:`holm`."""
    check_alpha(alpha)
    read = read_p(p)
    m = len(read.values)
    order = np.argsort(read.values, kind="stable")[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum.accumulate(read.values[order] * (1.0 + np.arange(m)))
    return decision_table(read, np.minimum(adjusted, 1.0), alpha)


def hommel(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Apply Hommel's procedure: the closed test with Simes' test of every intersection.

    Among the sets of k hypotheses that hold a given one, Simes' p-value is largest for the set
    with the k - 1 largest other p-values, so that m sets a hypothesis suffice. Parameters and
    table as :func:`holm`.
    """
    check_alpha(alpha)
    read = read_p(p)
    return decision_table(read, np.minimum(_hommel(read.values), 1.0), alpha)


def _hommel(values: Floats) -> Floats:
    m = len(values)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    adjusted = np.empty(m)
    for i in range(m):
        others = np.delete(ranked, i)
        worst = ranked[i]
        for k in range(2, m + 1):
            chosen = np.sort(np.append(others[m - k :], ranked[i]))
            worst = max(worst, float((k * chosen / np.arange(1.0, k + 1.0)).min()))
        adjusted[order[i]] = worst
    return adjusted


def fixed_sequence(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Test in the order of `p`, each at `alpha`, and stop at the first that is not rejected.

    Returns
    -------
    DataFrame
        test, p, p_adjusted (the largest p so far), rejected; in the order given.
    """
    check_alpha(alpha)
    read = read_p(p)
    return decision_table(read, np.maximum.accumulate(read.values), alpha)


def fallback(
    p: PValues, weights: Mapping[str, float] | Sequence[float], *, alpha: float = 0.05
) -> pd.DataFrame:
    """Test in the order of `p`; a rejected test hands its share of alpha to the next.

    Parameters
    ----------
    p : mapping or Series of test to p-value (None or NaN: failed)
        In the order of testing.
    weights : mapping of test to weight, or sequence in the order of `p`
        Shares of alpha, at most 1 together.
    alpha : float
        Familywise error.

    Returns
    -------
    DataFrame
        test, p, p_adjusted, rejected; in the order given.

    Notes
    -----
    Wiens' procedure as the chain graph of Bretz et al. (2009): the closed test of Wiens and
    Dmitrienko (2005) with these weights. The last test hands its share to nobody.
    """
    from trialkit.methods.multiplicity.graph import graph

    read = read_p(p)
    m = len(read.names)
    if isinstance(weights, Mapping):
        if set(weights) != set(read.names):
            raise UsageError(
                f"the weights name {sorted(map(str, weights))}, the p-values {list(read.names)}.",
                remedy="Give one weight for each test.",
            )
        weights = [float(weights[name]) for name in read.names]
    transitions = np.eye(m, k=1)
    tested = graph(weights, transitions, alpha=alpha, names=read.names).test(p)
    return decision_table(read, tested.table["p_adjusted"].to_numpy(dtype=np.float64), alpha)


def unadjusted(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Test each at `alpha` without an adjustment; same table."""
    check_alpha(alpha)
    read = read_p(p)
    return decision_table(read, read.values, alpha)
