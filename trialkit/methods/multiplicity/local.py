"""Tests of one intersection of hypotheses, each a p-value that is compared with alpha.

Sources: weighted Bonferroni and Simes, Hochberg and Liberman (1994, Stat Probab Lett 21:99) and
Lu (2016, Stat Med 35:4041) for mixtures of groups; Hochberg's test with equal weights, Xi and
Bretz (2019, Stat Med 38:5268); parametric tests, Xi, Glimm, Maurer and Bretz (2017, Biom J
59:918): with ``q = min p_i / w_i`` the group's p-value is ``P(some p_i <= q w_i) / sum w_i``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from trialkit.methods.multiplicity.normal import orthant

Floats = npt.NDArray[np.float64]
Kind = Literal["bonferroni", "simes", "hochberg", "parametric"]
KINDS: tuple[Kind, ...] = ("bonferroni", "simes", "hochberg", "parametric")


@dataclass(frozen=True)
class Group:
    """Hypotheses that are tested together by one kind of test.

    Parameters
    ----------
    members : tuple of int
        Positions of the hypotheses.
    kind : {"bonferroni", "simes", "hochberg", "parametric"}
    correlation : ndarray, shape (m, m), or None
        Correlation of all test statistics; parametric tests only.
    """

    members: tuple[int, ...]
    kind: Kind
    correlation: Floats | None = None


def intersection_p(
    p: Floats, weights: Floats, inside: tuple[int, ...], groups: list[Group]
) -> float:
    """Return the p-value of the intersection of the hypotheses `inside`, at most 1.

    Parameters
    ----------
    p, weights : ndarray, shape (m,)
        p-values, and the weights of this intersection.
    inside : tuple of int
    groups : list of Group
    """
    found = [1.0]
    for group in groups:
        here = np.array([i for i in group.members if i in inside], dtype=np.intp)
        if len(here) and weights[here].sum() > 0.0:
            found.append(_group_p(p[here], weights[here], here, group))
    return min(found)


def _group_p(p: Floats, weights: Floats, here: npt.NDArray[np.intp], group: Group) -> float:
    if group.kind == "hochberg":  # equal weights: the number of p-values as large decides
        larger = np.array([(p > value).sum() + 1 for value in p])
        return float((p * larger).min() / weights.sum())
    live = weights > 0.0
    p, weights, here = p[live], weights[live], here[live]
    if group.kind == "bonferroni":
        return float((p / weights).min())
    if group.kind == "simes":
        shared = np.array([weights[p <= value].sum() for value in p])
        return float((p / shared).min())
    assert group.correlation is not None
    level = np.minimum(float((p / weights).min()) * weights, 1.0)
    return union_probability(level, group.correlation[np.ix_(here, here)]) / float(weights.sum())


def union_probability(levels: Floats, correlation: Floats) -> float:
    """Return P(some p_i <= level_i) of one-sided p-values of correlated normal statistics."""
    if (levels >= 1.0).any():
        return 1.0
    if len(levels) == 1:
        return float(levels[0])
    return 1.0 - orthant(-special.ndtri(levels), correlation)[0]


def parametric_factor(weights: Floats, correlation: Floats, alpha: float) -> float:
    """Return c with ``P(some p_i <= c w_i alpha) = alpha sum w_i``; at least 1.

    Parameters
    ----------
    weights : ndarray, shape (k,)
        Positive.
    correlation : ndarray, shape (k, k)
    alpha : float
    """
    total = float(weights.sum())
    highest = total / float(weights.max())
    if highest - 1.0 < 1e-12:
        return 1.0

    def excess(c: float) -> float:
        return union_probability(np.minimum(c * weights * alpha, 1.0), correlation) - alpha * total

    if excess(highest) <= 0.0:
        return highest
    if excess(1.0) >= 0.0:
        return 1.0
    return float(optimize.brentq(excess, 1.0, highest, xtol=1e-14, rtol=4.0 * math.ulp(1.0)))
