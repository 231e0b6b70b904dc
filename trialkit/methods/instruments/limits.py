r"""Limits of agreement of two ways to measure (Bland and Altman).

With :math:`\bar d` and :math:`s` the mean and standard deviation of the differences x - y, the
limits are :math:`\bar d \pm z s`. Their intervals:

- ``exact`` (default): each limit is a percentile of the differences; its limits follow from the
  noncentral t distribution (Carkeet A, 2015, Optom Vis Sci 92:e71, limits taken one by one;
  Shieh G, 2018, BMC Med Res Methodol 18:45);
- ``exact_pair``: the outer limits hold the stated share of all differences with the stated
  probability (two-sided tolerance factor; Carkeet 2015, limits taken as a pair), the inner ones
  with one minus it;
- ``approximate``: :math:`s\sqrt{1/n + z^2/(2(n-1))}` and Student's t (Bland JM, Altman DG, 1999,
  Stat Methods Med Res 8:135).

Several pairs a participant (``subject``): the variance of a single difference is that of the
participants' means plus :math:`(1 - 1/m_h)` times that within participants, :math:`m_h` being the
harmonic mean of the numbers of pairs; for equal numbers these are the limits of Bland and Altman
(2007, J Biopharm Stat 17:571) for a true value that varies. The intervals join those of the two
variances and of the mean (Zou GY, 2013, Stat Methods Med Res 22:630).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._marginal import STATISTICS, as_text, check_level, html, statistics
from trialkit.methods._result import Result
from trialkit.methods.instruments._noncentral import percentile_factor, tolerance_factor
from trialkit.methods.instruments.measurement import MeasurementError, measurement_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

__all__ = ["BlandAltmanResult", "MeasurementError", "bland_altman", "measurement_error"]

INTERVALS = {
    "exact": "exact intervals of each limit (noncentral t)",
    "exact_pair": "exact intervals of both limits together (tolerance factors)",
    "approximate": "approximate intervals (Bland and Altman 1999)",
}
QUANTITIES = ("bias", "lower_limit", "upper_limit")
_COLUMNS = ("quantity", "estimate", "se", "df", "lower", "upper")


@dataclass(frozen=True)
class BlandAltmanResult(Result):
    """Bias and limits of agreement.

    Parameters
    ----------
    table : DataFrame
        quantity (bias, lower_limit, upper_limit), estimate, se, df, lower, upper; no row if
        failed. ``se`` and ``df`` are NaN where the interval does not use them.
    proportional : DataFrame
        Slope of the difference on the mean of the two: term, ``estimate se df statistic p lower
        upper``; p is also that of Pitman's test that both spread alike. No row with several
        pairs a participant, whose differences are not independent.
    differences, means : ndarray, shape (n,)
        x - y and (x + y) / 2 of the complete pairs.
    sd : float
        Standard deviation of a single difference; NaN if failed.
    n, n_subjects, n_missing : int
        Pairs, participants, and pairs left out.
    """

    table: pd.DataFrame
    proportional: pd.DataFrame
    differences: Floats = field(repr=False)
    means: Floats = field(repr=False)
    sd: float
    agreement: float
    level: float
    n: int
    n_subjects: int
    n_missing: int
    variant: str
    failed: str | None = None
    method: str = "bland_altman"
    notes: list[str] = field(default_factory=list)

    def plot(
        self, ax: Axes | None = None, *, xlabel: str = "Mean of both", ylabel: str = "Difference"
    ) -> Axes:
        """Draw the differences over the means, with the bias, the limits and their intervals."""
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
        ax.plot(self.means, self.differences, "o", color="#0072B2", alpha=0.6, markersize=4)
        for row in self.table.to_dict("records"):
            colour = "#000000" if row["quantity"] == "bias" else "#D55E00"
            ax.axhline(row["estimate"], color=colour, linestyle="-", linewidth=1)
            ax.axhspan(row["lower"], row["upper"], color=colour, alpha=0.1, linewidth=0)
            ax.annotate(
                f"{str(row['quantity']).replace('_', ' ')} {row['estimate']:.3g}",
                xy=(1.0, row["estimate"]),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.spines[["top", "right"]].set_visible(False)
        return ax

    def summary(self) -> str:
        """Return method, counts and limits as text."""
        head = f"{self.method}: {self.variant}\npairs {self.n}, participants {self.n_subjects}, "
        head += f"missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        tables = [as_text(table) for table in (self.table, self.proportional) if len(table)]
        return "\n".join([head, *self.notes, "", *tables])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.table)


def bland_altman(
    x: object,
    y: object,
    *,
    subject: Sequence[Any] | None = None,
    agreement: float = 0.95,
    interval: str = "exact",
    level: float = 0.95,
) -> BlandAltmanResult:
    """Estimate bias and limits of agreement of two measurements of the same thing.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        Pairs in one unit; pairs with a missing value are left out.
    subject : sequence, shape (n,), optional
        Whom a pair belongs to, where a participant has several.
    agreement : float
        Share of the differences between the limits.
    interval : {"exact", "exact_pair", "approximate"}
        Without effect where `subject` is given.
    level : float
        Coverage of the intervals.

    Returns
    -------
    BlandAltmanResult
        ``failed`` for fewer than three pairs (or participants), or differences that do not vary.

    Raises
    ------
    UsageError
        For x, y and subject of different lengths, infinite values, or options that do not exist.
    """
    check_level(level)
    if not 0.0 < agreement < 1.0:
        raise UsageError(f"agreement {agreement!r} is not a share.", remedy="Give 0.95, say.")
    if interval not in INTERVALS:
        raise UsageError(
            f"The interval {interval!r} is not available.",
            remedy=f"Use one of: {', '.join(INTERVALS)}.",
        )
    first, second, who, missing = _pairs(x, y, subject)
    d, means = first - second, (first + second) / 2.0
    z = float(special.ndtri(0.5 + agreement / 2.0))
    spread = float(np.abs(np.concatenate([first, second])).max(initial=0.0))
    people = len(d) if who is None else int(who.max(initial=-1)) + 1
    failed = None
    if people < 3:
        failed = f"{people} participants with complete pairs do not suffice"
    elif np.ptp(d) <= 1e-12 * spread:
        failed = "the differences do not vary"
    if failed:
        sd, table, slope = math.nan, _table([]), _slope(d[:0], means[:0], level)
    elif who is None:
        sd, table = _independent(d, z, agreement, interval, level)
        slope = _slope(d, means, level)
    else:
        sd, table = _repeated(d, who, z, level)
        slope = _slope(d[:0], means[:0], level)
    words = INTERVALS[interval]
    if who is not None:
        words = "several pairs a participant, true value varies; intervals by MOVER (Zou 2013)"
    return BlandAltmanResult(
        table=table,
        proportional=slope,
        differences=d,
        means=means,
        sd=sd,
        agreement=agreement,
        level=level,
        n=len(d),
        n_subjects=people,
        n_missing=missing,
        variant=f"{agreement:.4g} limits of agreement (z = {z:.6g}), {words}",
        failed=failed,
    )


def _pairs(
    x: object, y: object, subject: Sequence[Any] | None
) -> tuple[Floats, Floats, npt.NDArray[np.intp] | None, int]:
    """Return the complete pairs, whom they belong to, and how many were left out."""
    try:
        first, second = (np.asarray(v, dtype=np.float64).ravel() for v in (x, y))
    except (TypeError, ValueError) as error:
        raise UsageError("the values are not numbers.", remedy="Convert them.") from error
    if len(first) != len(second) or (subject is not None and len(subject) != len(first)):
        raise UsageError("x, y and subject differ in length.", remedy="Give one value a pair.")
    if np.isinf(first).any() or np.isinf(second).any():
        raise UsageError("the values hold infinite ones.", remedy="Correct them.")
    whole = ~(np.isnan(first) | np.isnan(second))
    who = None
    if subject is not None:
        names = pd.Series(list(subject), dtype=object)
        whole &= names.notna().to_numpy()
        who = np.asarray(pd.factorize(names[whole])[0], dtype=np.intp)
    return first[whole], second[whole], who, int((~whole).sum())


def _table(rows: list[tuple[float, float, float, float, float]]) -> pd.DataFrame:
    """Return the rows of bias and limits: estimate, se, df, lower, upper."""
    out = pd.DataFrame(np.reshape(rows, (-1, 5)), columns=list(_COLUMNS[1:]))
    out.insert(0, "quantity", pd.Series(QUANTITIES[: len(rows)], dtype=object))
    return out


def _independent(
    d: Floats, z: float, agreement: float, interval: str, level: float
) -> tuple[float, pd.DataFrame]:
    """Return the SD and the table for one pair a participant."""
    n, mean, sd = len(d), float(d.mean()), float(d.std(ddof=1))
    df = n - 1.0
    t = float(special.stdtrit(df, 0.5 + level / 2.0))
    se = sd / math.sqrt(n)
    rows = [(mean, se, df, mean - t * se, mean + t * se)]
    if interval == "approximate":
        wide = sd * math.sqrt(1.0 / n + z * z / (2.0 * df))
        for limit in (mean - z * sd, mean + z * sd):
            rows.append((limit, wide, df, limit - t * wide, limit + t * wide))
        return sd, _table(rows)
    if interval == "exact":
        inner, outer = (percentile_factor(z, n, 0.5 + s * level / 2.0) for s in (-1.0, 1.0))
    else:
        inner, outer = (tolerance_factor(agreement, n, 0.5 + s * level / 2.0) for s in (-1.0, 1.0))
    nan = math.nan
    rows.append((mean - z * sd, nan, df, mean - outer * sd, mean - inner * sd))
    rows.append((mean + z * sd, nan, df, mean + inner * sd, mean + outer * sd))
    return sd, _table(rows)


def _repeated(
    d: Floats, who: npt.NDArray[np.intp], z: float, level: float
) -> tuple[float, pd.DataFrame]:
    """Return the SD of a single difference and the table for several pairs a participant."""
    m = np.bincount(who).astype(np.float64)
    n, rest = len(m), float(m.sum() - len(m))
    own = np.bincount(who, d) / m
    mean, between = float(own.mean()), float(own.var(ddof=1))
    within = float(((d - own[who]) ** 2).sum()) / rest if rest else 0.0
    part = (1.0 - float((1.0 / m).mean())) * within
    total = between + part
    sd, df = math.sqrt(total), n - 1.0
    high = 0.5 + level / 2.0
    q = float(special.ndtri(high))

    def bound(tail: float) -> float:
        """Return the square root of the variance's limit; tail is the chi-square's upper one."""
        off = (between * (df / float(special.chdtri(df, tail)) - 1.0)) ** 2
        if rest:
            off += (part * (rest / float(special.chdtri(rest, tail)) - 1.0)) ** 2
        return math.sqrt(max(total + math.copysign(math.sqrt(off), tail - 0.5), 0.0))

    up, down = bound(high), bound(1.0 - high)
    se = math.sqrt(between / n)
    t = float(special.stdtrit(df, high))
    outer = math.hypot(q * se, z * (up - sd))
    inner = math.hypot(q * se, z * (sd - down))
    low, top, nan = mean - z * sd, mean + z * sd, math.nan
    rows = [
        (mean, se, df, mean - t * se, mean + t * se),
        (low, nan, nan, low - outer, low + inner),
        (top, nan, nan, top - inner, top + outer),
    ]
    return sd, _table(rows)


def _slope(d: Floats, means: Floats, level: float) -> pd.DataFrame:
    """Return the slope of the difference on the mean; no row where the means do not vary."""
    centred = means - means.mean() if len(means) else means
    square = float(centred @ centred)
    rows = np.empty((0, len(STATISTICS)))
    if len(d) > 2 and square > 1e-24 * float(means @ means):
        slope = float(centred @ d) / square
        rest = d - d.mean() - slope * centred
        df = len(d) - 2.0
        se = math.sqrt(float(rest @ rest) / df / square)
        if se > 1e-12 * max(abs(slope), 1e-300):
            rows = statistics(np.array([slope]), np.array([se]), np.array([df]), level)
    out = pd.DataFrame(rows, columns=list(STATISTICS))
    out.insert(0, "term", pd.Series(["slope"] * len(rows), dtype=object))
    return out
