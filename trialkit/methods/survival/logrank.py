r"""The log-rank test and its weighted relatives, within strata, and for a trend.

At each time :math:`t` of an event, with :math:`d` events among :math:`n` at risk, group
:math:`g` has the expected number :math:`d\,n_g/n` and the hypergeometric covariance
:math:`d\,(n-d)/(n-1)\;(n_g/n)(\delta_{gh} - n_h/n)`. Weighted by :math:`w(t)` (the covariance
by :math:`w^2`) and summed over times, and over strata, they give the score :math:`U` and its
covariance :math:`V`; :math:`U' V^- U` is a chi-square with one degree of freedom less than
there are groups.

Sources: Mantel N (1966) Cancer Chemother Rep 50:163; weights of Gehan E (1965) Biometrika
52:203, Tarone RE, Ware J (1977) Biometrika 64:156, and Harrington DP, Fleming TR (1982)
Biometrika 69:553, whose :math:`\rho = 1` is the Peto and Peto form of the Wilcoxon test; trend:
Tarone RE (1975) Biometrika 62:679.

The arithmetic is ours: statsmodels' ``survdiff`` gives the same chi-square, but not the
observed and expected numbers, the covariance, the signed statistic that an interim analysis
needs, or a trend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import html, names_of
from trialkit.methods._result import ByParticipant
from trialkit.methods.survival._outcome import one_of, read_groups
from trialkit.methods.survival._rank_test import WEIGHTS, compare_groups

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogrankResult(ByParticipant):
    """A test that the hazards of groups are equal.

    Parameters
    ----------
    statistic, df, p : float
        Chi-square, its degrees of freedom, two-sided p; NaN if failed.
    z : float
        Two groups, or a trend: the signed root of the statistic, positive where the second
        group (those of higher score) has more events than expected; NaN otherwise.
    groups : DataFrame
        group, n, events (observed), expected; unweighted except for the weights of the test.
    score : ndarray, shape (k,)
        Weighted observed minus expected.
    covariance : ndarray, shape (k, k)
        Covariance of the score.
    """

    statistic: float
    df: int
    p: float
    z: float
    groups: pd.DataFrame
    score: Floats = field(repr=False)
    covariance: Floats = field(repr=False)
    n: int
    n_missing: int
    variant: str
    failed: str | None = None
    method: str = "logrank"
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """One row: statistic, df, p; no row if failed."""
        rows = [] if self.failed else [(self.statistic, self.df, self.p)]
        return pd.DataFrame(rows, columns=["statistic", "df", "p"], dtype=np.float64)

    def summary(self) -> str:
        """Return method, counts and the test as text."""
        if self.failed:
            return self._head
        test = f"chi-square {self.statistic:.5g} on {self.df} df, p {self.p:.5g}"
        return "\n".join([self._head, test, *self.notes, "", self.groups.to_string(index=False)])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.groups)


def logrank(
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    group: str,
    strata: str | Sequence[str] | None = None,
    weights: str = "logrank",
    rho: float = 0.0,
    gamma: float = 0.0,
    trend: Mapping[Any, float] | bool = False,
) -> LogrankResult:
    """Test equality of the survival of groups.

    Parameters
    ----------
    data : DataFrame
        One row a participant.
    time, event, group : str
        Columns: time, 1 for an event and 0 for censoring, and the groups.
    strata : str or sequence of str, optional
        Columns; participants are compared within each of their combinations.
    weights : {"logrank", "wilcoxon", "tarone_ware", "peto", "fleming_harrington"}
        Weight of an event time; survival in it is that of all groups of the stratum just
        before the time, as in R's ``survdiff(rho=)``.
    rho, gamma : float
        For ``fleming_harrington``: the weight is S^rho (1 - S)^gamma.
    trend : bool or mapping
        True tests a trend over the groups in their order (scores 0, 1, 2 ...); a mapping gives
        a score for each group.

    Raises
    ------
    UsageError
        For unknown columns, negative times, an event column that is not 0 or 1, one group,
        weights that do not exist, or scores that are not one number for each group.
    """
    one_of(weights, tuple(WEIGHTS), "weight")
    if (rho or gamma) and weights != "fleming_harrington":
        raise UsageError(
            f"rho and gamma have no meaning with weights={weights!r}.",
            remedy="Use weights='fleming_harrington'.",
        )
    if not (math.isfinite(rho) and math.isfinite(gamma) and min(rho, gamma) >= 0.0):
        raise UsageError("rho and gamma must not be negative.", remedy="Give 0 or more.")
    layers = names_of(strata)
    own = read_groups(data, time, event, group, layers)
    k = len(own.levels)
    scores = _scores(trend, own.levels, group)
    power = (1.0, 0.0) if weights == "peto" else (rho, gamma)
    done = compare_groups(
        own.time, own.event, own.code, k, own.layer, len(own.layers), weights, power, scores
    )
    words = WEIGHTS[weights]
    if weights == "fleming_harrington":
        words += f" rho {rho:g} gamma {gamma:g}"
    if scores is not None:
        words += ", trend"
    if layers:
        words += f", stratified by {', '.join(layers)}"
    groups = pd.DataFrame(
        {
            "group": pd.Series(own.levels, dtype=object),
            "n": np.bincount(own.code, minlength=k),
            "events": np.bincount(own.code, own.event, minlength=k).astype(np.int64),
            "expected": done.expected,
        }
    )
    if weights != "logrank":
        groups.insert(3, "weighted", done.observed)
    return LogrankResult(
        statistic=done.statistic,
        df=done.df,
        p=done.p,
        z=done.z,
        groups=groups,
        score=done.score,
        covariance=done.covariance,
        n=len(own.time),
        n_missing=own.n_missing,
        variant=f"{words}, hypergeometric variance",
        failed=done.failed,
    )


def _scores(trend: Mapping[Any, float] | bool, levels: Sequence[Any], group: str) -> Floats | None:
    if trend is False:
        return None
    if trend is True:
        return np.arange(len(levels), dtype=np.float64)
    if set(trend) != set(levels):
        raise UsageError(
            f"The trend has scores for {sorted(map(str, trend))}.",
            remedy=f"Give one for each level of {group}: {', '.join(map(repr, levels))}.",
        )
    scores = np.array([float(trend[name]) for name in levels])
    if not np.isfinite(scores).all() or np.ptp(scores) == 0.0:
        raise UsageError("The scores of the trend are all equal.", remedy="Let them differ.")
    return scores
