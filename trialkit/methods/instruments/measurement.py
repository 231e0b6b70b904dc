r"""Measurement error of an instrument: standard error of measurement, least detectable change.

From the two-way analysis of variance of subjects by raters (or occasions):

- ``SEM_consistency`` :math:`= \sqrt{MS_E}`; a shift common to all subjects is no error. Its
  interval is exact (chi-square);
- ``SEM_agreement`` :math:`= \sqrt{\sigma^2_R + MS_E}` with :math:`\sigma^2_R = \max(0, (MS_R -
  MS_E)/n)`: the shift counts (de Vet HCW, Terwee CB, Knol DL, Bouter LM, 2006, J Clin Epidemiol
  59:1033). Interval by joining those of both variances (MOVER);
- ``SEM_icc`` :math:`= SD\,\sqrt{1 - ICC}`, with the SD of all values and an intra-class
  correlation that is named (Weir JP, 2005, J Strength Cond Res 19:231). It is given because
  papers give it; it has no interval, and depends on the spread of the sample.

The least detectable change with a confidence of 95 % is :math:`1.96\sqrt2\,SEM`, with 90 %
:math:`1.645\sqrt2\,SEM`; exact normal quantiles are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._marginal import as_text, check_level, html
from trialkit.methods._result import ByParticipant
from trialkit.methods.instruments._mean_squares import MeanSquares, mean_squares, read_ratings
from trialkit.methods.instruments.agreement import icc_table

ICC_TYPES = ("ICC(1,1)", "ICC(A,1)", "ICC(C,1)")


@dataclass(frozen=True)
class MeasurementError(ByParticipant):
    """Reliability and measurement error of an instrument.

    Parameters
    ----------
    table : DataFrame
        quantity, estimate, lower, upper: the intra-class correlation by its type,
        SEM_consistency, SEM_agreement, SEM_icc, and MDC90 and MDC95 of each. No row if failed.
    variance : DataFrame
        source (subject, rater, residual), df, mean_square, variance (component, not below 0).
    n, n_raters, n_missing : int
        Complete subjects, raters (occasions), subjects left out.
    sd : float
        Standard deviation of all values.
    """

    table: pd.DataFrame
    variance: pd.DataFrame
    n: int
    n_raters: int
    n_missing: int
    sd: float
    level: float
    variant: str
    failed: str | None = None
    method: str = "measurement_error"
    notes: list[str] = field(default_factory=list)

    def value(self, quantity: str) -> float:
        """Return the estimate of a quantity of the table, NaN if failed.

        Raises
        ------
        UsageError
            For a quantity that is not in the table.
        """
        if self.failed:
            return math.nan
        found = self.table[self.table["quantity"] == quantity]
        if found.empty:
            known = ", ".join(self.table["quantity"])
            raise UsageError(f"{quantity!r} is not in the table.", remedy=f"Use one of: {known}.")
        return float(found["estimate"].iloc[0])

    def summary(self) -> str:
        """Return method, counts and the quantities as text."""
        head = f"{self.method}: {self.variant}\nsubjects {self.n}, raters {self.n_raters}, "
        head += f"missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        tables = [as_text(table) for table in (self.table, self.variance)]
        return "\n".join([head, *self.notes, "", *tables])

    def _repr_html_(self) -> str:
        return html(self.summary(), self.table)


def measurement_error(
    data: pd.DataFrame,
    *,
    subject: str,
    rater: str,
    value: str,
    icc: str = "ICC(A,1)",
    level: float = 0.95,
) -> MeasurementError:
    """Return reliability, standard errors of measurement and least detectable changes.

    Parameters
    ----------
    data : DataFrame
        Long: one row a subject and rater (or occasion); subjects without all are left out.
    icc : {"ICC(A,1)", "ICC(C,1)", "ICC(1,1)"}
        The intra-class correlation of the table, and of ``SEM_icc``.
    level : float
        Coverage of the intervals.

    Returns
    -------
    MeasurementError
        ``failed`` for fewer than five complete subjects, fewer than two raters, or values that
        do not vary or agree perfectly (there is then no error to estimate).

    Raises
    ------
    UsageError
        For unknown columns, two values of a subject and rater, infinite values, or a type of
        intra-class correlation that does not exist.
    """
    check_level(level)
    if icc not in ICC_TYPES:
        raise UsageError(
            f"The intra-class correlation {icc!r} is not available.",
            remedy=f"Use one of: {', '.join(ICC_TYPES)}.",
        )
    ratings = read_ratings(data, subject, rater, value)
    n, k = ratings.values.shape
    failed = None
    table = pd.DataFrame(columns=["quantity", "estimate", "lower", "upper"])
    sources = pd.DataFrame(columns=["source", "df", "mean_square", "variance"])
    if n < 5 or k < 2:
        failed = f"{n} complete subjects and {k} raters do not suffice"
    else:
        ms = mean_squares(ratings.values)
        if ms.residual == 0.0:
            failed = "the values agree without error, or do not vary"
        else:
            found = icc_table(ratings, level).set_index("type").loc[icc]
            limits = tuple(float(found[name]) for name in ("estimate", "lower", "upper"))
            table = _table(ms, float(ratings.values.std(ddof=1)), icc, limits, level)
            sources = _sources(ms)
    return MeasurementError(
        table=table,
        variance=sources,
        n=n,
        n_raters=k,
        n_missing=ratings.n_missing,
        sd=float(ratings.values.std(ddof=1)) if failed is None else math.nan,
        level=level,
        variant=f"two-way analysis of variance, {icc}; intervals: ICC by F, SEM_consistency by "
        "chi-square, SEM_agreement by MOVER",
        failed=failed,
    )


def _table(
    ms: MeanSquares, sd: float, icc: str, limits: tuple[float, ...], level: float
) -> pd.DataFrame:
    """Return all quantities with their intervals."""
    df = (ms.n - 1.0) * (ms.k - 1.0)
    ends = [_limit(ms.residual, df, tail) for tail in (0.5 - level / 2.0, 0.5 + level / 2.0)]
    consistency = tuple(math.sqrt(v) for v in (ms.residual, *ends))
    rows: list[tuple[str, float, float, float]] = [
        (icc, limits[0], limits[1], limits[2]),
        ("SEM_consistency", consistency[0], consistency[1], consistency[2]),
        ("SEM_agreement", *_agreement(ms, level)),
        ("SEM_icc", sd * math.sqrt(max(1.0 - limits[0], 0.0)), math.nan, math.nan),
    ]
    for share in (90, 95):
        factor = math.sqrt(2.0) * float(special.ndtri(0.5 + share / 200.0))
        for name, sem, low, high in rows[1:4]:
            kind = name.removeprefix("SEM_")
            rows.append((f"MDC{share}_{kind}", factor * sem, factor * low, factor * high))
    return pd.DataFrame(rows, columns=["quantity", "estimate", "lower", "upper"])


def _limit(mean_square: float, df: float, tail: float) -> float:
    """Return the limit of a variance: tail .025 gives the lower one of a 95 % interval."""
    return mean_square * df / float(special.chdtri(df, tail))


def _agreement(ms: MeanSquares, level: float) -> tuple[float, float, float]:
    """Return the SEM for absolute agreement and its interval.

    The variance is a sum of mean squares, ``MS_R / n + (1 - 1/n) MS_E``; its limits join those
    of both (Zou GY, Donner A, 2008, Stat Med 27:1693).
    """
    n, k = ms.n, ms.k
    if ms.raters <= ms.residual:
        df = (n - 1.0) * (k - 1.0)
        ends = [_limit(ms.residual, df, tail) for tail in (0.5 - level / 2.0, 0.5 + level / 2.0)]
        return math.sqrt(ms.residual), math.sqrt(ends[0]), math.sqrt(ends[1])
    parts = ((ms.raters / n, k - 1.0), ((1.0 - 1.0 / n) * ms.residual, (n - 1.0) * (k - 1.0)))
    total = sum(part for part, _ in parts)
    off = []
    for tail in (0.5 - level / 2.0, 0.5 + level / 2.0):
        off.append(math.sqrt(sum((_limit(part, df, tail) - part) ** 2 for part, df in parts)))
    return math.sqrt(total), math.sqrt(max(total - off[0], 0.0)), math.sqrt(total + off[1])


def _sources(ms: MeanSquares) -> pd.DataFrame:
    """Return the analysis of variance with the components of variance."""
    n, k = ms.n, ms.k
    square = np.array([ms.subjects, ms.raters, ms.residual])
    component = [(ms.subjects - ms.residual) / k, (ms.raters - ms.residual) / n, ms.residual]
    return pd.DataFrame(
        {
            "source": pd.Series(["subject", "rater", "residual"], dtype=object),
            "df": [n - 1.0, k - 1.0, (n - 1.0) * (k - 1.0)],
            "mean_square": square,
            "variance": np.maximum(component, 0.0),
        }
    )
