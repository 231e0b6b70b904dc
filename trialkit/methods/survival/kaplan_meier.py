"""Kaplan-Meier curves: limits, quantiles, differences at a time, the log-rank test, a figure.

The product limit and Greenwood's sum are computed here on the table of counts at risk that the
log-rank test and the restricted mean use too. lifelines gives the same curve; it takes some
fifty times as long, which a simulation feels, and gives limits of 0 and 0 where the curve has
reached 0 and R and SAS give none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level, names_of
from trialkit.methods.survival._outcome import (
    Groups,
    layers_of,
    moments_of,
    one_of,
    read_groups,
    z_of,
)
from trialkit.methods.survival._rank_test import compare_groups
from trialkit.methods.survival._risk import (
    INTERVALS,
    RiskTable,
    crossing,
    greenwood,
    limits,
    product_limit,
    risk_table,
)
from trialkit.methods.survival.milestone import compare_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
_LIMITS = ("estimate", "lower", "upper")


@dataclass(frozen=True)
class KaplanMeierFit:
    """Survival curves of groups.

    Parameters
    ----------
    group : str
        Column of the groups.
    levels : list
        The groups.
    curves : DataFrame
        time, group, survival, lower, upper, at_risk (just before the time), events, censored;
        one row at 0 and one at each time of an event or a censoring.
    n, n_missing : int
        Participants used, and rows left out because a column was missing.
    n_groups : DataFrame
        group, n, events.
    level : float
        Coverage of the intervals.
    interval : str
        Their scale.
    """

    group: str
    levels: list[Any]
    curves: pd.DataFrame
    n: int
    n_missing: int
    n_groups: pd.DataFrame
    level: float
    interval: str
    variant: str
    strata: tuple[str, ...] = ()
    method: str = "kaplan_meier"
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)
    _groups: Groups | None = field(default=None, repr=False)
    _sizes: tuple[int, ...] = field(default=(), repr=False)

    @property
    def n_subjects(self) -> int:
        """Participants used: one row each."""
        return self.n

    @property
    def median(self) -> pd.DataFrame:
        """Median time a group with its interval: group, estimate, lower, upper; NaN: not reached.

        See :meth:`quantile`.
        """
        return self.quantile(0.5).drop(columns="probability")

    def quantile(self, p: float | Sequence[float]) -> pd.DataFrame:
        """Return the time by which a share `p` has had the event.

        Parameters
        ----------
        p : float or sequence of float
            Shares in (0, 1).

        Returns
        -------
        DataFrame
            group, probability, estimate, lower, upper; NaN where the curve, or its limit, does
            not fall that low. Where it rests exactly there: the middle of that step, as R and
            SAS. The interval holds the times at which the limits of the curve cross (Brookmeyer
            R, Crowley J, 1982, Biometrics 38:29).
        """
        shares = np.atleast_1d(np.asarray(p, dtype=np.float64))
        if not ((shares > 0.0) & (shares < 1.0)).all():
            raise UsageError(f"{p!r} is not a share.", remedy="Give shares between 0 and 1.")
        rows = []
        for name, one in self._each():
            time = one["time"].to_numpy()
            for share in shares:
                found = [
                    crossing(time, one[c].to_numpy(), 1.0 - share)
                    for c in ("survival", "lower", "upper")
                ]
                key = {self.group: name, "probability": float(share)}
                rows.append(key | dict(zip(_LIMITS, found, strict=True)))
        return pd.DataFrame(rows)

    def at(self, t: float | Sequence[float]) -> pd.DataFrame:
        """Return the survival at times: group, time, estimate, se, lower, upper, at_risk.

        A time after a group's last one gives NaN unless the curve has reached 0. ``at_risk``
        counts those under observation just before the time.
        """
        moments = moments_of(t)
        tables = []
        for name, one in self._each():
            time, risk = one["time"].to_numpy(), one["at_risk"].to_numpy(dtype=np.float64)
            numbers = one[["survival", "survival", "lower", "upper"]].to_numpy(dtype=np.float64)
            total = greenwood(one["events"].to_numpy(dtype=np.float64), risk)
            numbers[:, 1] *= np.sqrt(total)
            found = numbers[np.searchsorted(time, moments, side="right") - 1]
            found[(moments > time[-1]) & (numbers[-1, 0] > 0.0)] = np.nan
            table = pd.DataFrame(found, columns=["estimate", "se", "lower", "upper"])
            table.insert(0, self.group, pd.Series([name] * len(table), dtype=object))
            table.insert(1, "time", moments)
            table["at_risk"] = np.append(risk, 0.0)[np.searchsorted(time, moments)]
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def milestone(
        self,
        at: float | Sequence[float],
        *,
        reference: Any,
        measure: str = "difference",
        interval: str = "plain",
    ) -> pd.DataFrame:
        """Compare the survival at fixed times with that of the reference group.

        Parameters
        ----------
        at : float or sequence of float
            Times; they should be written down before the data are seen.
        reference : object
            The group to subtract.
        measure : {"difference", "ratio", "cumulative_hazard_ratio"}
        interval : {"plain", "mover"}
            Of the difference: symmetric, or joined from the groups' own limits.

        Returns
        -------
        DataFrame
            group, reference, time, ``estimate se df statistic p lower upper`` and ``reason``
            (why there are no numbers, or None). Ratios: ``se`` is that of the logarithm.
            Formulas and sources: :mod:`trialkit.methods.survival.milestone`.
        """
        return compare_at(
            self.at(at),
            self.group,
            self.levels,
            reference=reference,
            measure=measure,
            interval=interval,
            level=self.level,
        )

    def logrank(self, strata: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Test equality of the curves, within strata if given: statistic (chi-square), df, p.

        One row; NaN where the test is not defined (:func:`trialkit.methods.logrank` gives the
        reason).
        """
        wanted = names_of(strata)
        unknown = [name for name in wanted if name not in self.strata]
        if unknown or self._groups is None:
            raise UsageError(
                f"{', '.join(unknown)} were not given to kaplan_meier.",
                remedy="Name them in kaplan_meier(..., strata=...).",
            )
        own = self._groups
        layer, layers = layers_of(own.columns, wanted)
        done = compare_groups(own.time, own.event, own.code, len(own.levels), layer, len(layers))
        chi2, df, p = (done.statistic, done.df, done.p) if done.failed is None else [math.nan] * 3
        return pd.DataFrame([{"statistic": chi2, "df": float(df), "p": p}])

    def plot(self, ax: Axes | None = None, *, xlabel: str = "Time") -> Axes:
        """Draw the curves with their intervals and the numbers at risk below the axis."""
        from trialkit.methods.survival._plot import Curve, step_curves

        drawn = []
        for name, one in self._each():
            time, value, low, high, risk, gone = (
                one[c].to_numpy(dtype=np.float64)
                for c in ("time", "survival", "lower", "upper", "at_risk", "censored")
            )
            drawn.append(Curve(str(name), time, value, low, high, risk, time[gone > 0.0]))
        return step_curves(drawn, ax, start=1.0, xlabel=xlabel, ylabel="Without an event")

    def summary(self) -> str:
        """Return method, counts and medians as text."""
        head = f"{self.method}: {self.variant}\nn {self.n}, missing {self.n_missing}"
        return "\n".join([head, self.n_groups.to_string(index=False), self.median.to_string()])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"

    def _each(self) -> list[tuple[Any, pd.DataFrame]]:
        """Return each group with its rows of the curves."""
        ends = np.cumsum(self._sizes)
        return [
            (name, self.curves.iloc[end - size : end])
            for name, size, end in zip(self.levels, self._sizes, ends, strict=True)
        ]


def kaplan_meier(
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    group: str,
    strata: str | Sequence[str] | None = None,
    level: float = 0.95,
    interval: str = "loglog",
) -> KaplanMeierFit:
    """Estimate a survival curve for every group.

    Parameters
    ----------
    data : DataFrame
        One row a participant.
    time, event, group : str
        Columns: time, 1 for an event and 0 for censoring, and the groups.
    strata : str or sequence of str, optional
        Columns that `KaplanMeierFit.logrank` may stratify by; rows without them are dropped.
    level : float
        Coverage of the intervals.
    interval : {"loglog", "log", "plain"}
        Scale on which the intervals are symmetric. Log-log is SAS's default and keeps its
        coverage best in small groups; log is R's default.

    Raises
    ------
    UsageError
        For unknown columns, negative times, an event column that is not 0 or 1, one group, or
        an interval that does not exist.
    """
    check_level(level)
    one_of(interval, tuple(INTERVALS), "interval")
    layers = names_of(strata)
    own = read_groups(data, time, event, group, layers)
    curves, counts = [], []
    for i, name in enumerate(own.levels):
        mine = own.code == i
        kinds = own.event[mine].astype(np.intp)
        table = risk_table(own.time[mine], np.zeros(len(kinds), dtype=np.intp), kinds, 1)
        curves.append(_curve(table, name, z_of(level), interval))
        counts.append((name, int(mine.sum()), int(kinds.sum())))
    n_groups = pd.DataFrame(counts, columns=["group", "n", "events"])
    n_groups["group"] = n_groups["group"].astype(object)
    return KaplanMeierFit(
        group=group,
        levels=list(own.levels),
        curves=pd.concat(curves, ignore_index=True),
        n=len(own.time),
        n_missing=own.n_missing,
        n_groups=n_groups,
        level=level,
        interval=interval,
        variant=f"product limit, Greenwood variance, {INTERVALS[interval]} intervals",
        strata=layers,
        _groups=own,
        _sizes=tuple(map(len, curves)),
    )


def _curve(table: RiskTable, name: Any, z: float, interval: str) -> pd.DataFrame:
    """Return the rows of one group."""
    events, at_risk = table.events[:, 0], table.at_risk[:, 0]
    time, censored = table.time, table.counts[:, 0, 0]
    if time[0] > 0.0:
        time, at_risk = np.append(0.0, time), np.append(at_risk[0], at_risk)
        events, censored = np.append(0.0, events), np.append(0.0, censored)
    survival = product_limit(events, at_risk)
    low, high = limits(survival, greenwood(events, at_risk), z, interval)
    return pd.DataFrame(
        {
            "time": time,
            "group": pd.Series([name] * len(time), dtype=object),
            "survival": survival,
            "lower": low,
            "upper": high,
            "at_risk": at_risk.astype(np.int64),
            "events": events.astype(np.int64),
            "censored": censored.astype(np.int64),
        }
    )
