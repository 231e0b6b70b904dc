r"""Restricted mean survival time: the area under the survival curve up to a fixed time.

:math:`\hat\mu(\tau) = \int_0^\tau \hat S(t)\,dt` with the sampling variance
:math:`\sum_{t_i \le \tau} \{\int_{t_i}^{\tau} \hat S(u)\,du\}^2\, d_i / \{n_i (n_i - d_i)\}`
(Greenwood's, plugged in). Source: Uno H, Claggett B, Tian L, et al. (2014) J Clin Oncol
32:2380, and R's survRM2, whose numbers these are. With strata the mean of a group is that of
its strata, weighted by the share of all participants who are in the stratum; the weights are
taken as fixed.

lifelines' ``restricted_mean_survival_time(return_variance=True)`` gives the variance of the
restricted times themselves, not the sampling variance of their mean: it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._columns import place_of
from trialkit.methods._marginal import (
    STATISTICS,
    as_text,
    check_level,
    empty_table,
    html,
    names_of,
    objects,
    statistics,
)
from trialkit.methods._result import ByParticipant
from trialkit.methods.survival._outcome import Groups, one_of, read_groups
from trialkit.methods.survival._risk import greenwood, product_limit, risk_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

QUANTITIES = {"rmst": "restricted mean survival time", "rmtl": "restricted mean time lost"}


@dataclass(frozen=True)
class RmstFit(ByParticipant):
    """Restricted mean survival times of groups.

    Parameters
    ----------
    group : str
        Column of the groups.
    levels : tuple
        The groups.
    tau : float
        Where the area ends; NaN if failed for want of one.
    mean, variance : ndarray, shape (k,)
        Restricted mean of each group and its sampling variance; empty if failed.
    n_groups : DataFrame
        group, n, events up to tau, last (the longest time).
    """

    group: str
    levels: tuple[Any, ...]
    tau: float
    mean: Floats = field(repr=False)
    variance: Floats = field(repr=False)
    n_groups: pd.DataFrame
    n: int
    n_missing: int
    variant: str
    level: float = 0.95
    failed: str | None = None
    method: str = "rmst"
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """Restricted mean of each group: group, ``estimate se df statistic p lower upper``.

        A group without an event before tau has no sampling variance: no test, no interval.
        """
        if self.failed:
            return empty_table([self.group])
        out = _frame(self.mean, np.sqrt(self.variance), self.level)
        out.insert(0, self.group, objects(self.levels))
        return out

    def difference(self, *, reference: Any) -> pd.DataFrame:
        """Return differences of the restricted means from that of the reference group."""
        base = place_of(reference, self.levels, self.group)
        if self.failed:
            return empty_table([self.group, "reference"])
        others = [i for i in range(len(self.levels)) if i != base]
        se = np.sqrt(self.variance[others] + self.variance[base])
        out = _frame(self.mean[others] - self.mean[base], se, self.level)
        return self._keys(out, others, reference)

    def ratio(self, *, reference: Any, of: str = "rmst") -> pd.DataFrame:
        """Return ratios to the reference group; ``se`` is that of the logarithm.

        Parameters
        ----------
        reference : object
            The group to divide by.
        of : {"rmst", "rmtl"}
            Restricted mean survival time, or time lost (tau minus it). Where no time is lost in
            a group the row has no numbers.
        """
        one_of(of, tuple(QUANTITIES), "quantity")
        base = place_of(reference, self.levels, self.group)
        if self.failed:
            return empty_table([self.group, "reference"])
        others = [i for i in range(len(self.levels)) if i != base]
        value = self.mean if of == "rmst" else self.tau - self.mean
        value = np.where(value > 1e-12 * self.tau, value, np.nan)
        part = self.variance / value**2
        se = np.sqrt(part[others] + part[base])
        out = _frame(np.log(value[others] / value[base]), se, self.level)
        for name in ("estimate", "lower", "upper"):
            out[name] = np.exp(out[name])
        return self._keys(out, others, reference)

    def _keys(self, table: pd.DataFrame, others: list[int], reference: Any) -> pd.DataFrame:
        table.insert(0, self.group, objects([self.levels[i] for i in others]))
        table.insert(1, "reference", objects([reference] * len(others)))
        return table

    def summary(self) -> str:
        """Return method, counts and the means as text."""
        if self.failed:
            return self._head
        counts = self.n_groups.to_string(index=False)
        body = as_text(self.table)
        return "\n".join([self._head, *self.notes, "", counts, "", body])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.table)


def rmst(
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    group: str,
    tau: float | None = None,
    strata: str | Sequence[str] | None = None,
    level: float = 0.95,
) -> RmstFit:
    """Estimate the restricted mean survival time of every group.

    Parameters
    ----------
    data : DataFrame
        One row a participant.
    time, event, group : str
        Columns: time, 1 for an event and 0 for censoring, and the groups.
    tau : float, optional
        Time up to which the area is taken, in the unit of `time`. It should be written down
        before the data are seen. None takes the smallest of the groups' longest times, as
        survRM2 does, and says so in ``notes``.
    strata : str or sequence of str, optional
        Columns; see the head of this module.
    level : float
        Coverage of the intervals (normal).

    Returns
    -------
    RmstFit
        ``failed`` where a group (of a stratum) is not observed up to tau: its longest time is
        shorter, and the curve has not reached 0 there.

    Raises
    ------
    UsageError
        For unknown columns, negative times, an event column that is not 0 or 1, one group, or a
        tau that is not a positive number.
    """
    check_level(level)
    if tau is not None and not (math.isfinite(tau) and tau > 0.0):
        raise UsageError(f"tau {tau!r} is not a positive time.", remedy="Give a time above 0.")
    layers = names_of(strata)
    own = read_groups(data, time, event, group, layers)
    k = len(own.levels)
    last = np.array([own.time[own.code == i].max() for i in range(k)])
    end = float(last.min()) if tau is None else float(tau)
    mean, variance, failed = _means(own, end, layers)
    early = own.event * (own.time <= end)
    return RmstFit(
        group=group,
        levels=own.levels,
        tau=end,
        mean=mean,
        variance=variance,
        n_groups=pd.DataFrame(
            {
                "group": pd.Series(own.levels, dtype=object),
                "n": np.bincount(own.code, minlength=k),
                "events": np.bincount(own.code, early, minlength=k).astype(np.int64),
                "last": last,
            }
        ),
        n=len(own.time),
        n_missing=own.n_missing,
        variant=f"area under the product limit up to {end:g}, Greenwood plug-in variance, "
        "normal quantiles"
        + (f", standardised over {', '.join(layers)} (shares as weights)" if layers else ""),
        level=level,
        failed=failed,
        notes=[] if tau is not None else ["tau was taken from the data: the shortest follow-up"],
    )


def _means(own: Groups, tau: float, layers: tuple[str, ...]) -> tuple[Floats, Floats, str | None]:
    """Return means and variances, or empty arrays and why there are none."""
    k = len(own.levels)
    mean, variance, none = np.zeros(k), np.zeros(k), np.empty(0)
    if tau <= 0.0:
        return none, none, "a group is not followed beyond time 0"
    for j, stratum in enumerate(own.layers):
        inside = own.layer == j
        share = float(inside.mean())
        for i, name in enumerate(own.levels):
            mine = inside & (own.code == i)
            where = f"{name}, {', '.join(map(str, stratum))}" if layers else str(name)
            if not mine.any():
                return none, none, f"no participant in {where}"
            area, spread, reached = restricted_mean(own.time[mine], own.event[mine], tau)
            if not reached:
                most = own.time[mine].max()
                return none, none, f"tau {tau:g} is beyond the last follow-up of {where}: {most:g}"
            mean[i] += share * area
            variance[i] += share**2 * spread
    if not (variance > 0.0).any():
        return none, none, f"no event before tau {tau:g}: the means have no sampling variance"
    return mean, variance, None


def restricted_mean(times: Floats, events: Floats, tau: float) -> tuple[float, float, bool]:
    """Return the area under one survival curve, its variance, and whether tau is reached.

    Parameters
    ----------
    times, events : ndarray, shape (n,)
    tau : float
        In the unit of the times.
    """
    table = risk_table(times, np.zeros(len(times), np.intp), events.astype(np.intp), 1)
    d, n = table.events[:, 0], table.at_risk[:, 0]
    survival = product_limit(d, n)
    reached = bool(tau <= table.time[-1] or survival[-1] == 0.0)
    m = int(np.searchsorted(table.time, tau, side="right"))
    knots = np.concatenate([[0.0], table.time[:m], [tau]])
    pieces = np.diff(knots) * np.append(1.0, survival[:m])
    ahead = pieces[:0:-1].cumsum()[::-1]  # area from each time of leaving to tau
    steps = np.diff(greenwood(d[:m], n[:m]), prepend=0.0)
    return float(pieces.sum()), float((ahead * ahead * steps).sum()), reached


def _frame(estimate: Floats, se: Floats, level: float) -> pd.DataFrame:
    """Return the statistics; where there is no sampling variance, no test and no interval."""
    numbers = statistics(estimate, se, np.full(len(estimate), math.inf), level)
    numbers[~(se > 0.0), 3:] = np.nan
    return pd.DataFrame(numbers, columns=list(STATISTICS))
