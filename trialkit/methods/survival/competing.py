r"""Cumulative incidence where one event keeps another from happening, and Gray's test.

The Aalen-Johansen estimate :math:`\hat F_c(t) = \sum_{t_i\le t} \hat S(t_i-)\,d_{ci}/n_i`, with
:math:`\hat S` the product limit for any cause. Its variance:

- ``aalen`` (default): :math:`\sum (\hat S(t_i-)/n_i - g_i)^2 v_{ci} + g_i^2 v_{oi}` with
  :math:`g_i = (\hat F_c(t) - \hat F_c(t_i))/(n_i - d_i)` and the hypergeometric
  :math:`v = d\,(n-d)/(n-1)` of the cause and of all other causes together (Aalen O, 1978, Ann
  Stat 6:534). These are the numbers of R's cmprsk, which SAS PROC LIFETEST also gives; where
  events of different causes are tied, SAS documents a first term that differs a little.
- ``delta``: by the delta method (Marubini E, Valsecchi MG, 1995, as written out in the SAS/STAT
  documentation, The LIFETEST Procedure); with one cause only it is Greenwood's variance.

Intervals are symmetric for :math:`\log(-\log F)`.
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
from trialkit.methods._design import complete_columns, levels_of
from trialkit.methods._marginal import check_level, html, names_of
from trialkit.methods._result import ByParticipant
from trialkit.methods.survival._gray import gray_test
from trialkit.methods.survival._incidence import VARIANCES, Incidence, incidence
from trialkit.methods.survival._outcome import (
    codes_of,
    layers_of,
    moments_of,
    one_of,
    times_of,
    z_of,
)
from trialkit.methods.survival.milestone import compare_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

INTERVALS = {"loglog": "log-log", "plain": "plain"}
CURVES = ["group", "cause", "time", "estimate", "se", "lower", "upper", "at_risk", "events", "free"]


@dataclass(frozen=True)
class CompetingRisksFit(ByParticipant):
    """Cumulative incidence of each cause in each group.

    Parameters
    ----------
    group : str
        Column of the groups.
    levels, causes : tuple
        The groups and the causes.
    curves : DataFrame
        group, cause, time, estimate, se, lower, upper, at_risk (just before the time), events
        (of the cause), free (share without any event); one row at 0 and one at each time of
        leaving. The limits are NaN where the incidence is 0 or 1.
    n_groups : DataFrame
        group, n, censored, and the number of events of each cause.
    """

    group: str
    levels: tuple[Any, ...]
    causes: tuple[Any, ...]
    curves: pd.DataFrame
    n_groups: pd.DataFrame
    n: int
    n_missing: int
    level: float
    variant: str
    failed: str | None = None
    method: str = "competing_risks"
    notes: list[str] = field(default_factory=list)
    _data: tuple[Floats, Ints, Ints, Ints, int] = field(
        default=(np.empty(0), *(np.empty(0, np.intp),) * 3, 1), repr=False
    )

    def at(self, times: float | Sequence[float], *, cause: Any = None) -> pd.DataFrame:
        """Return the incidence at times: group, cause, time, estimate, se, lower, upper.

        A time after a group's last one gives NaN unless nobody is left without an event.

        Parameters
        ----------
        times : float or sequence of float
        cause : object, optional
            One cause; None gives all.
        """
        moments = moments_of(times)
        wanted = self.causes if cause is None else (self._cause(cause),)
        columns = ["estimate", "se", "lower", "upper"]
        tables = []
        for (name, kind), one in self.curves.groupby(["group", "cause"], sort=False):
            if kind not in wanted:
                continue
            time = one["time"].to_numpy()
            numbers = one[columns].to_numpy(dtype=np.float64)
            found = numbers[np.searchsorted(time, moments, side="right") - 1]
            found[(moments > time[-1]) & (float(one["free"].iloc[-1]) > 0.0)] = np.nan
            table = pd.DataFrame(found, columns=columns)
            for place, (key, value) in enumerate(((self.group, name), ("cause", kind))):
                table.insert(place, key, pd.Series([value] * len(table), dtype=object))
            table.insert(2, "time", moments)
            tables.append(table)
        if not tables:
            return pd.DataFrame(columns=[self.group, "cause", "time", *columns])
        return pd.concat(tables, ignore_index=True)

    def difference(
        self,
        at: float | Sequence[float],
        *,
        reference: Any,
        cause: Any,
        measure: str = "difference",
    ) -> pd.DataFrame:
        """Compare the incidence of a cause at fixed times with that of the reference group.

        Parameters
        ----------
        at : float or sequence of float
        reference, cause : object
        measure : {"difference", "ratio"}

        Returns
        -------
        DataFrame
            group, reference, time, ``estimate se df statistic p lower upper`` and ``reason``
            (why there are no numbers, or None). Ratios: ``se`` is that of the logarithm.
        """
        one_of(measure, ("difference", "ratio"), "measure")
        points = self.at(at, cause=self._cause(cause)).drop(columns="cause")
        return compare_at(
            points,
            self.group,
            self.levels,
            reference=reference,
            measure=measure,
            interval="plain",
            level=self.level,
        )

    def gray(self, *, rho: float = 0.0) -> pd.DataFrame:
        """Test, for each cause, that its incidence is the same in all groups (Gray 1988).

        Within the strata given to :func:`competing_risks`.

        Parameters
        ----------
        rho : float
            Power of the weight (1 - F)^rho; 0 weighs all times alike.

        Returns
        -------
        DataFrame
            cause, statistic (chi-square), df, p, reason (why there is no test, or None).
        """
        if not (math.isfinite(rho) and rho >= 0.0):
            raise UsageError(f"rho {rho!r} is negative.", remedy="Give 0 or more.")
        times, codes, kinds, layer, layers = self._data
        rows = []
        for i, name in enumerate(self.causes):
            done = gray_test(times, codes, kinds, i + 1, len(self.levels), layer, layers, rho)
            rows.append((name, done.statistic, float(done.df), done.p, done.failed))
        out = pd.DataFrame(rows, columns=["cause", "statistic", "df", "p", "reason"])
        return out.astype({"cause": object, "reason": object})

    def plot(self, ax: Axes | None = None, *, cause: Any = None, xlabel: str = "Time") -> Axes:
        """Draw the incidence of a cause (the first if None) with the numbers at risk."""
        from trialkit.methods.survival._plot import Curve, step_curves

        wanted = self.causes[0] if cause is None else self._cause(cause)
        drawn = []
        for (name, kind), one in self.curves.groupby(["group", "cause"], sort=False):
            if kind == wanted:
                numbers = (
                    one[c].to_numpy(dtype=np.float64)
                    for c in ("time", "estimate", "lower", "upper", "at_risk")
                )
                drawn.append(Curve(str(name), *numbers))
        label = f"Cumulative incidence of {wanted}"
        return step_curves(drawn, ax, start=0.0, xlabel=xlabel, ylabel=label)

    def _cause(self, cause: Any) -> Any:
        if cause not in self.causes:
            raise UsageError(
                f"{cause!r} is not a cause.",
                remedy=f"Causes are: {', '.join(map(repr, self.causes))}.",
            )
        return cause

    def summary(self) -> str:
        """Return method, counts and the tests as text."""
        counts = self.n_groups.to_string(index=False)
        if self.failed:
            return f"{self._head}\n\n{counts}"
        tests = self.gray().to_string(index=False)
        return "\n".join([self._head, *self.notes, "", counts, "", tests])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.n_groups)


@dataclass(frozen=True)
class Causes:
    """The causes of leaving, as indices: 0 for censoring."""

    kind: Ints
    names: tuple[Any, ...]


def read_causes(
    series: pd.Series[Any], values: npt.NDArray[Any], cause: str, censored: Any
) -> Causes:
    """Return the cause of each row.

    Raises
    ------
    UsageError
        For a text column in which the value for censoring does not occur.
    """
    names = levels_of(series, values)
    if censored not in names and values.dtype.kind not in "biuf":
        raise UsageError(
            f"{cause} holds no {censored!r}, the value for censoring.",
            remedy=f"Name it in censored=; {cause} holds {', '.join(map(repr, names))}.",
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UsageError(f"{cause} holds infinite values.", remedy="Correct them.")
    causes = tuple(name for name in names if name != censored)
    place = {censored: 0, **{name: i + 1 for i, name in enumerate(causes)}}
    kind = np.fromiter((place[value] for value in values.tolist()), np.intp, len(values))
    return Causes(kind, causes)


def competing_risks(
    data: pd.DataFrame,
    *,
    time: str,
    cause: str,
    group: str,
    censored: Any = 0,
    strata: str | Sequence[str] | None = None,
    variance: str = "aalen",
    interval: str = "loglog",
    level: float = 0.95,
) -> CompetingRisksFit:
    """Estimate the cumulative incidence of each cause in every group.

    Parameters
    ----------
    data : DataFrame
        One row a participant.
    time, cause, group : str
        Columns: time of the first event or of censoring, which of them it was, and the groups.
    censored : object
        Value of `cause` for censoring; all other values are causes.
    strata : str or sequence of str, optional
        Columns that Gray's test is stratified by; they do not change the curves.
    variance : {"aalen", "delta"}
    interval : {"loglog", "plain"}
    level : float
        Coverage of the intervals.

    Returns
    -------
    CompetingRisksFit
        ``failed`` when nobody has an event.

    Raises
    ------
    UsageError
        For unknown columns, negative times, one group, options that do not exist, or a text
        column of causes without the value for censoring.
    """
    check_level(level)
    one_of(variance, tuple(VARIANCES), "variance")
    one_of(interval, tuple(INTERVALS), "interval")
    layers = names_of(strata)
    columns, rows = complete_columns(data, list(dict.fromkeys([time, cause, group, *layers])))
    times = times_of(columns[time], time)
    levels = levels_of(data[group], columns[group])
    if len(levels) < 2:
        raise UsageError(
            f"{group} has only the level {levels[0]!r}.", remedy="Check the population."
        )
    found = read_causes(data[cause], columns[cause], cause, censored)
    codes = codes_of(columns[group], levels)
    layer, strata_found = layers_of(columns, layers)
    curves = []
    for i, name in enumerate(levels):
        mine = codes == i
        for one in incidence(times[mine], found.kind[mine], len(found.names), variance):
            curves.append(_curve(one, name, found.names[one.cause - 1], z_of(level), interval))
    counts = np.zeros((len(levels), len(found.names) + 1), dtype=np.int64)
    np.add.at(counts, (codes, found.kind), 1)
    n_groups = pd.DataFrame({"group": pd.Series(levels, dtype=object), "n": counts.sum(axis=1)})
    for j, name in enumerate(("censored", *found.names)):
        n_groups[str(name)] = counts[:, j]
    return CompetingRisksFit(
        group=group,
        levels=levels,
        causes=found.names,
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=CURVES),
        n_groups=n_groups,
        n=len(times),
        n_missing=len(data) - len(rows),
        level=level,
        variant=f"Aalen-Johansen, {VARIANCES[variance]}, {INTERVALS[interval]} intervals; "
        "Gray's test" + (f" stratified by {', '.join(layers)}" if layers else ""),
        failed=None if found.names else "no event in these data",
        _data=(times, codes, found.kind, layer, len(strata_found)),
    )


def _curve(one: Incidence, name: Any, cause: Any, z: float, interval: str) -> pd.DataFrame:
    se = np.sqrt(one.variance)
    f = one.estimate
    inside = (f > 0.0) & (f < 1.0)
    if interval == "plain":
        low, high = np.maximum(f - z * se, 0.0), np.minimum(f + z * se, 1.0)
    else:
        log = np.log(np.where(inside, f, 0.5))
        wide = z * se / np.abs(f * log + ~inside)
        low, high = np.exp(log * np.exp(wide)), np.exp(log * np.exp(-wide))
    return pd.DataFrame(
        {
            "group": pd.Series([name] * len(f), dtype=object),
            "cause": pd.Series([cause] * len(f), dtype=object),
            "time": one.time,
            "estimate": f,
            "se": se,
            "lower": np.where(inside, low, np.nan),
            "upper": np.where(inside, high, np.nan),
            "at_risk": one.at_risk.astype(np.int64),
            "events": one.events.astype(np.int64),
            "free": one.free,
        }
    )
