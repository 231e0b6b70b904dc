"""Kaplan-Meier curves and the log-rank test.

- Curves by lifelines with log-log intervals (R's ``conf.type = "log-log"``); medians follow R
  and SAS: where the curve rests on 0.5, the middle of that step.
- Log-rank by statsmodels' ``survdiff``, with strata.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import complete_columns
from trialkit.methods._marginal import check_level, names_of
from trialkit.methods.survival._outcome import levels_in, outcome

Floats = npt.NDArray[np.float64]
_LIMITS = ("estimate", "lower", "upper")


@dataclass
class KaplanMeierFit:
    """Survival curves of groups.

    Parameters
    ----------
    curves : DataFrame
        time, group, survival, lower, upper (log-log), at_risk (just before the time), events,
        censored; one row at 0 and one at each time of an event or a censoring.
    n_groups : DataFrame
        group, n, events.
    """

    group: str
    levels: list[Any]
    curves: pd.DataFrame
    n: int
    n_missing: int
    n_groups: pd.DataFrame
    level: float
    method: str = "kaplan_meier"
    variant: str = "product limit, Greenwood variance, log-log intervals"
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)
    _frame: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def n_subjects(self) -> int:
        """Participants used: one row each."""
        return self.n

    @property
    def median(self) -> pd.DataFrame:
        """Median time a group with its interval: group, estimate, lower, upper; NaN: not reached.

        The interval holds the times at which the log-log limits cross 0.5 (Brookmeyer R,
        Crowley J, 1982, Biometrics 38:29).
        """
        rows = []
        for name in self.levels:
            one = self.curves[self.curves["group"] == name]
            time = one["time"].to_numpy()
            found = [_crossing(time, one[c].to_numpy()) for c in ("survival", "lower", "upper")]
            rows.append({self.group: name, **dict(zip(_LIMITS, found, strict=True))})
        return pd.DataFrame(rows)

    def at(self, t: float | Sequence[float]) -> pd.DataFrame:
        """Return the survival at times: group, time, estimate, se, lower, upper, at_risk.

        A time after a group's last one gives NaN unless the curve has reached 0. ``at_risk``
        counts those under observation just before the time.
        """
        rows = []
        for name in self.levels:
            one = self.curves[self.curves["group"] == name].reset_index(drop=True)
            hazard = _greenwood(one)
            time = one["time"].to_numpy()
            for moment in np.atleast_1d(np.asarray(t, dtype=np.float64)):
                i = int(np.searchsorted(time, moment, side="right")) - 1
                later = int(np.searchsorted(time, moment, side="left"))
                risk = float(one["at_risk"].iloc[later]) if later < len(one) else 0.0
                known = moment <= time[-1] or one["survival"].iloc[-1] == 0.0
                row = one.iloc[i]
                rows.append(
                    {
                        self.group: name,
                        "time": float(moment),
                        "estimate": row["survival"] if known else math.nan,
                        "se": row["survival"] * math.sqrt(hazard[i]) if known else math.nan,
                        "lower": row["lower"] if known else math.nan,
                        "upper": row["upper"] if known else math.nan,
                        "at_risk": risk,
                    }
                )
        return pd.DataFrame(rows)

    def logrank(self, strata: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Test equality of the curves, within strata if given: statistic (chi-square), df, p."""
        from statsmodels.duration.survfunc import survdiff

        layers = list(names_of(strata))
        unknown = [name for name in layers if name not in self._frame.columns]
        if unknown:
            raise UsageError(
                f"{', '.join(unknown)} were not given to kaplan_meier.",
                remedy="Name them in kaplan_meier(..., strata=...).",
            )
        frame = self._frame
        codes = None
        if layers:
            codes = frame[layers].astype(str).agg("|".join, axis=1).to_numpy()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                chi2, p = survdiff(
                    frame["_time"].to_numpy(),
                    frame["_event"].to_numpy(),
                    frame["_group"].to_numpy(),
                    strata=codes,
                )
            except (np.linalg.LinAlgError, ValueError, IndexError):
                chi2, p = math.nan, math.nan
        out = {"statistic": float(chi2), "df": float(len(self.levels) - 1), "p": float(p)}
        return pd.DataFrame([out])

    def summary(self) -> str:
        """Return method, counts and medians as text."""
        head = f"{self.method}: {self.variant}\nn {self.n}, missing {self.n_missing}"
        return "\n".join([head, self.n_groups.to_string(index=False), self.median.to_string()])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def kaplan_meier(
    data: pd.DataFrame,
    *,
    time: str,
    event: str,
    group: str,
    strata: str | Sequence[str] | None = None,
    level: float = 0.95,
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

    Raises
    ------
    UsageError
        For unknown columns, negative times, an event column that is not 0 or 1, or one group.
    """
    from lifelines import KaplanMeierFitter

    check_level(level)
    layers = list(names_of(strata))
    columns, rows = complete_columns(data, [time, event, group, *layers])
    times, events = outcome(columns[time], columns[event], time, event)
    levels = levels_in(data[group], columns[group])
    if len(levels) < 2:
        raise UsageError(f"{group} has only the level {levels}.", remedy="Check the population.")
    curves, counts = [], []
    for name in levels:
        own = columns[group] == name
        fitter = KaplanMeierFitter().fit(times[own], events[own], alpha=1.0 - level)
        curves.append(_curve(fitter, name))
        counts.append({"group": name, "n": int(own.sum()), "events": int(events[own].sum())})
    frame = pd.DataFrame({"_time": times, "_event": events})
    frame["_group"] = pd.Series(columns[group], dtype=object).map(levels.index)
    for name in layers:
        frame[name] = columns[name]
    return KaplanMeierFit(
        group=group,
        levels=levels,
        curves=pd.concat(curves, ignore_index=True),
        n=len(times),
        n_missing=len(data) - len(rows),
        n_groups=pd.DataFrame(counts),
        level=level,
        _frame=frame,
    )


def _curve(fitter: Any, name: Any) -> pd.DataFrame:
    events = fitter.event_table
    limits = fitter.confidence_interval_.to_numpy()
    return pd.DataFrame(
        {
            "time": events.index.to_numpy(dtype=np.float64),
            "group": pd.Series([name] * len(events), dtype=object),
            "survival": fitter.survival_function_.to_numpy()[:, 0],
            "lower": limits[:, 0],
            "upper": limits[:, 1],
            "at_risk": events["at_risk"].to_numpy(dtype=np.int64),
            "events": events["observed"].to_numpy(dtype=np.int64),
            "censored": events["censored"].to_numpy(dtype=np.int64),
        }
    )


def _greenwood(curve: pd.DataFrame) -> Floats:
    """Return Greenwood's sum of d/(n(n-d)) up to each time."""
    d = curve["events"].to_numpy(dtype=np.float64)
    n = curve["at_risk"].to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(d > 0, d / (n * (n - d)), 0.0)
    part[~np.isfinite(part)] = 0.0  # the curve is 0 from here
    return np.cumsum(part)


def _crossing(time: Floats, curve: Floats, probability: float = 0.5) -> float:
    """Return the first time at which a curve is at or below `probability`, NaN if never.

    Where it rests exactly there, the middle of that step, as R's ``survfit`` and SAS.
    """
    known = np.isfinite(curve)
    time, curve = time[known], curve[known]
    below = np.flatnonzero(curve <= probability + 1e-12)
    if not len(below):
        return math.nan
    i = int(below[0])
    if abs(curve[i] - probability) < 1e-12:
        under = np.flatnonzero(curve < probability - 1e-12)
        end = time[under[0]] if len(under) else time[-1]
        return float((time[i] + end) / 2.0)
    return float(time[i])
