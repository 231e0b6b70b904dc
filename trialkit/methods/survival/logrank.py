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
from trialkit.methods.survival._outcome import one_of, read_groups
from trialkit.methods.survival._risk import RiskTable, before, product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

WEIGHTS = {
    "logrank": "log-rank",
    "wilcoxon": "Gehan-Breslow Wilcoxon, weight n",
    "tarone_ware": "Tarone-Ware, weight sqrt(n)",
    "peto": "Peto-Peto Wilcoxon, weight S(t-)",
    "fleming_harrington": "Fleming-Harrington",
}
NO_EVENT = "no event in these data"
NO_RISK = "no event while more than one group was at risk"


@dataclass(frozen=True)
class LogrankResult:
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
    def converged(self) -> bool:
        """Whether the test is defined."""
        return self.failed is None

    @property
    def n_subjects(self) -> int:
        """Participants used: one row each."""
        return self.n

    @property
    def table(self) -> pd.DataFrame:
        """One row: statistic, df, p; no row if failed."""
        rows = [] if self.failed else [(self.statistic, self.df, self.p)]
        return pd.DataFrame(rows, columns=["statistic", "df", "p"], dtype=np.float64)

    def summary(self) -> str:
        """Return method, counts and the test as text."""
        head = f"{self.method}: {self.variant}\nn {self.n}, missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        test = f"chi-square {self.statistic:.5g} on {self.df} df, p {self.p:.5g}"
        return "\n".join([head, test, *self.notes, "", self.groups.to_string(index=False)])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.groups)


@dataclass(frozen=True)
class RankTest:
    """The numbers of one test; see :class:`LogrankResult`."""

    statistic: float
    df: int
    p: float
    z: float
    observed: Floats
    expected: Floats
    score: Floats
    covariance: Floats
    failed: str | None


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


def _scores(
    trend: Mapping[Any, float] | bool, levels: Sequence[Any], group: str
) -> Floats | None:
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


def compare_groups(
    times: Floats,
    events: Floats,
    codes: Ints,
    k: int,
    layer: Ints,
    n_layers: int = 1,
    weights: str = "logrank",
    power: tuple[float, float] = (0.0, 0.0),
    scores: Floats | None = None,
) -> RankTest:
    """Test equality of the hazards of `k` groups within strata.

    Parameters
    ----------
    times, events : ndarray, shape (n,)
    codes, layer : ndarray of int, shape (n,)
        Group in ``range(k)`` and stratum in ``range(n_layers)``.
    weights : str
        A key of :data:`WEIGHTS`.
    power : tuple of float
        rho and gamma of the Fleming-Harrington weights.
    scores : ndarray, shape (k,), optional
        For the test of a trend.
    """
    observed, expected, covariance = np.zeros(k), np.zeros(k), np.zeros((k, k))
    kinds = events.astype(np.intp)
    for j in range(n_layers):
        mine = layer == j if n_layers > 1 else slice(None)
        table = risk_table(times[mine], codes[mine], kinds[mine], k)
        parts = _one_layer(table, weights, power)
        for total, part in zip((observed, expected, covariance), parts, strict=True):
            total += part
    score = observed - expected
    statistic, df, z = _statistic(score, covariance, scores)
    if df == 0:
        failed = NO_RISK if kinds.any() else NO_EVENT
        nan = math.nan
        return RankTest(nan, 0, nan, nan, observed, expected, score, covariance, failed)
    from scipy.special import chdtrc

    p = float(chdtrc(df, statistic))
    return RankTest(statistic, df, p, z, observed, expected, score, covariance, None)


def _one_layer(
    table: RiskTable, weights: str, power: tuple[float, float]
) -> tuple[Floats, Floats, Floats]:
    """Return weighted observed and expected numbers and the covariance of one stratum."""
    events = table.events
    d, n = events.sum(axis=1), table.at_risk.sum(axis=1)
    if weights == "wilcoxon":
        w = n
    elif weights == "tarone_ware":
        w = np.sqrt(n)
    elif weights == "logrank":
        w = np.ones(len(n))
    else:
        survival = before(product_limit(d, n), 1.0)
        w = survival ** power[0] * (1.0 - survival) ** power[1]
    share = table.at_risk / n[:, None]
    tied = np.divide(n - d, n - 1.0, out=np.zeros(len(n)), where=n > 1.0)
    spread = w * w * d * tied
    covariance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    return w @ events, (w * d) @ share, covariance


def _statistic(
    score: Floats, covariance: Floats, trend: Floats | None
) -> tuple[float, int, float]:
    """Return chi-square, degrees of freedom (0: not defined) and the signed root."""
    if trend is not None:
        centred = trend - trend.mean()
        variance = float(centred @ covariance @ centred)
        if variance <= 1e-12 * float(centred @ centred) * max(np.trace(covariance), 1e-300):
            return math.nan, 0, math.nan
        z = float(centred @ score) / math.sqrt(variance)
        return z * z, 1, z
    own = np.diagonal(covariance)
    used = np.flatnonzero(own > 1e-12 * max(own.max(), 1e-300))
    if len(used) < 2:
        return math.nan, 0, math.nan
    inner = covariance[np.ix_(used, used)]
    values, vectors = np.linalg.eigh(inner)
    kept = values > 1e-10 * values[-1]
    parts = vectors[:, kept].T @ score[used]
    statistic = float((parts * parts / values[kept]).sum())
    z = math.copysign(math.sqrt(statistic), score[1]) if len(score) == 2 else math.nan
    return statistic, int(kept.sum()), z
