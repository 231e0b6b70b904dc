"""Mean cumulative count of events that recur, with death as a competing event.

Without death the estimate is the sum of events over participants at risk, with the robust
variance of Lawless JF, Nadeau C (1995), Technometrics 37:158. With death it is the mean number
of events by a time when nobody has events after death: events over participants at risk, times
the Kaplan-Meier estimate of being alive just before (Cook RJ, Lawless JF, 1997, Stat Med 16:911;
Ghosh D, Lin DY, 2000, Biometrics 56:554). Counting death as censoring would estimate the count
in a world without death, which is larger.

The variance sums the squares of each participant's influence on the estimate,

``sum over u <= t of S(u-) dM(u) / Y(u) - sum over v <= t of (m(t) - m(v)) dD(v) / (Y(v) - d(v))``

with m the estimate, S the survival, Y at risk, d deaths, and dM and dD the participant's events
and deaths minus those expected. It is the infinitesimal jackknife (the exact derivative in the
participants' weights), with the same limit as the influence functions of Ghosh and Lin, which
are derived for continuous times.
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
from trialkit.methods._columns import place_of
from trialkit.methods._design import levels_of
from trialkit.methods._marginal import (
    STATISTICS,
    as_text,
    check_level,
    empty_table,
    objects,
    statistics,
)
from trialkit.methods.survival._intervals import Gaps, read_intervals
from trialkit.methods.survival._mean_curve import CURVE, Part
from trialkit.methods.survival._outcome import codes_of, moments_of
from trialkit.methods.survival._partial import NO_EVENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class MeanCountFit:
    """Mean cumulative counts of groups.

    Parameters
    ----------
    group : str or None
        The column of groups.
    levels : tuple
    curves : DataFrame
        group, time, estimate (mean count up to and including the time), se, lower, upper,
        at_risk (just before the time), events, deaths; one row at 0 and one at each time of
        an event or a death. Intervals are symmetric on the log scale.
    n_groups : DataFrame
        group, subjects, with_event, events, deaths, person_time, last (end of follow-up).
    """

    group: str | None
    levels: tuple[Any, ...]
    curves: pd.DataFrame
    n_groups: pd.DataFrame
    n: int
    n_subjects: int
    n_missing: int
    n_events: int
    level: float
    variant: str
    method: str = "mean_cumulative_count"
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)
    _parts: tuple[Part, ...] = field(default=(), repr=False)

    @property
    def _key(self) -> str:
        return "group" if self.group is None else self.group

    def at(self, times: float | Sequence[float]) -> pd.DataFrame:
        """Return the mean counts at times: group, time, estimate, se, lower, upper, at_risk.

        A time after the end of a group's follow-up gives NaN. ``at_risk`` counts those under
        observation just before the time of the last step.
        """
        moments = moments_of(times)
        names = [self._key, *CURVE[:6]]
        if self.failed:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in names})
        rows = []
        for name, part in zip(self.levels, self._parts, strict=True):
            last = float(part.stop.max())
            own = self.curves[self.curves[self._key] == name]
            known = own["time"].to_numpy()
            for moment in moments:
                row = own.iloc[int(np.searchsorted(known, moment, side="right")) - 1]
                values = [row[c] if moment <= last else math.nan for c in CURVE[1:5]]
                at_risk = (part.start < moment) & (moment <= part.stop)
                risk = int(at_risk.sum()) if moment > 0.0 else part.subjects
                rows.append([name, float(moment), *values, risk])
        return pd.DataFrame(rows, columns=names)

    def difference(
        self, *, reference: Any, at: float | Sequence[float], level: float = 0.95
    ) -> pd.DataFrame:
        """Compare mean counts with those of the reference group at times.

        Returns
        -------
        DataFrame
            group, reference, time, then estimate se df statistic p lower upper; NaN for a time
            after the end of either group's follow-up.
        """
        check_level(level)
        if self.group is None:
            raise UsageError("There is one group.", remedy="Give group=.")
        place_of(reference, self.levels, self.group)
        if self.failed:
            return empty_table([self.group, "reference", "time"])
        table = self.at(at)
        base = table[table[self.group] == reference]
        frames = []
        for name in self.levels:
            if name == reference:
                continue
            own = table[table[self.group] == name]
            gap = own["estimate"].to_numpy() - base["estimate"].to_numpy()
            se = np.hypot(own["se"].to_numpy(), base["se"].to_numpy())
            numbers = statistics(gap, se, np.full(len(gap), math.inf), level)
            frame = pd.DataFrame(numbers, columns=list(STATISTICS))
            frame.insert(0, self.group, objects([name] * len(gap)))
            frame.insert(1, "reference", objects([reference] * len(gap)))
            frame.insert(2, "time", own["time"].to_numpy())
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def plot(self, ax: Axes | None = None, *, xlabel: str = "Time") -> Axes:
        """Draw the mean counts with their intervals and the numbers at risk below the axis."""
        from trialkit.methods.survival._plot import Curve, step_curves

        drawn = []
        for name in self.levels if self.failed is None else ():
            own = self.curves[self.curves[self._key] == name]
            columns = ("time", "estimate", "lower", "upper", "at_risk")
            drawn.append(Curve(str(name), *(own[c].to_numpy(dtype=np.float64) for c in columns)))
        return step_curves(drawn, ax, start=0.0, xlabel=xlabel, ylabel="Mean number of events")

    def summary(self) -> str:
        """Return method, counts and the mean counts at the end of follow-up as text."""
        head = f"{self.method}: {self.variant}\nrows {self.n}, participants {self.n_subjects}"
        head += f", events {self.n_events}, missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        last = self.curves.groupby(self._key, sort=False, observed=True).tail(1)
        tables = [self.n_groups, last[[self._key, *CURVE[:5]]]]
        shown = [as_text(t, 6) for t in tables]
        return "\n".join([head, *self.notes, *shown])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def mean_cumulative_count(
    data: pd.DataFrame,
    *,
    start: str,
    stop: str,
    event: str,
    subject: str,
    group: str | None = None,
    death: str | None = None,
    gaps: Gaps = "refuse",
    level: float = 0.95,
) -> MeanCountFit:
    """Estimate the mean number of events of a participant up to each time.

    Parameters
    ----------
    data : DataFrame
        One row an interval at risk ``(start, stop]``.
    start, stop, event, subject : str
        Columns of the interval's times, of 1 for an event at `stop`, else 0, and of the
        participant.
    group : str, optional
        Column of groups, constant within a participant.
    death : str, optional
        Column of 1 where the participant dies at `stop`, else 0. An event at the time of death
        counts. Without it the end of the last interval is censoring.
    gaps : {"refuse", "allow"}
        Whether time between a participant's intervals is an error.
    level : float
        Coverage of the intervals.

    Raises
    ------
    UsageError
        For intervals without length, twice there, overlapping, with gaps, or after death
        (named by participant and row), and a group that changes within a participant.
    """
    check_level(level)
    also = [] if group is None else [group]
    spans = read_intervals(
        data,
        start=start,
        stop=stop,
        event=event,
        subject=subject,
        death=death,
        also=also,
        gaps=gaps,
    )
    levels: tuple[Any, ...] = ("all",)
    code = np.zeros(len(spans.stop), dtype=np.intp)
    if group is not None:
        values = data[group].iloc[spans.rows]
        levels = levels_of(data[group], np.asarray(values.to_numpy(), dtype=object))
        code = codes_of(np.asarray(values.to_numpy(), dtype=object), levels)
        own = np.repeat(code[spans.first], np.diff(np.append(spans.first, len(code))))
        if (own != code).any():
            i = int(np.flatnonzero(own != code)[0])
            who = data[subject].iloc[spans.rows[i]]
            raise UsageError(
                f"{group} changes within {who} (row {spans.rows[i]}).",
                remedy="A participant belongs to one group.",
            )
    parts = [Part.build(spans, code == k) for k in range(len(levels))]
    few = [str(name) for name, part in zip(levels, parts, strict=True) if part.subjects < 2]
    failed = None
    if not spans.event.any():
        failed = NO_EVENT
    elif few:
        failed = f"one participant only in {', '.join(few)}: no variance between participants"
    key = "group" if group is None else group
    curves = [part.curve(key, name, level) for name, part in zip(levels, parts, strict=True)]
    counts = [part.counts(key, name) for name, part in zip(levels, parts, strict=True)]
    kind = "Lawless and Nadeau (1995)" if death is None else "death competing, Ghosh and Lin (2000)"
    table = pd.concat(curves, ignore_index=True)
    return MeanCountFit(
        group=group,
        levels=levels,
        curves=table if failed is None else table.iloc[:0],
        n_groups=pd.DataFrame(counts),
        n=len(spans.stop),
        n_subjects=len(spans.first),
        n_missing=spans.n_missing,
        n_events=int(spans.event.sum()),
        level=level,
        variant=f"mean cumulative count, {kind}, robust variance, intervals on the log scale",
        converged=failed is None,
        failed=failed,
        _parts=tuple(parts),
    )
