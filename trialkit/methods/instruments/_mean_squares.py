"""Two-way analysis of variance of a complete table of subjects by raters, and what it limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """A complete table of values, and how many subjects were left out.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        One row a subject, one column a rater (or occasion, or item).
    subjects, raters : tuple
    n_missing : int
        Subjects without all raters.
    """

    values: Floats
    subjects: tuple[Any, ...]
    raters: tuple[Any, ...]
    n_missing: int


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares: between subjects, between raters, residual, and within subjects."""

    n: int
    k: int
    subjects: float
    raters: float
    residual: float
    within: float


def read_ratings(data: pd.DataFrame, subject: str, rater: str, value: str) -> Ratings:
    """Return the table of the subjects whom all raters have rated.

    Raises
    ------
    UsageError
        For unknown columns, a subject rated twice by one rater, or values that are not finite
        numbers.
    """
    unknown = [c for c in (subject, rater, value) if c not in data.columns]
    if unknown:
        raise UsageError(f"The data have no column {unknown}.", remedy="Check the names.")
    rows = data[[subject, rater, value]].dropna()
    if rows[value].dtype.kind not in "biuf":
        raise UsageError(f"{value} is not numeric.", remedy=f"Convert {value} to numbers.")
    twice = rows.duplicated([subject, rater])
    if twice.any():
        first = rows[twice].iloc[0]
        raise UsageError(
            f"{subject} {first[subject]!r} has two values of {rater} {first[rater]!r}.",
            remedy="Give one row for each pair, or name the repetition as a rater of its own.",
        )
    if not np.isfinite(rows[value].to_numpy(dtype=np.float64)).all():
        raise UsageError(f"{value} holds infinite values.", remedy="Correct them.")
    wide = rows.pivot(index=subject, columns=rater, values=value)
    whole = wide.dropna()
    return Ratings(
        values=whole.to_numpy(dtype=np.float64),
        subjects=tuple(whole.index.tolist()),
        raters=tuple(whole.columns.tolist()),
        n_missing=int(data[subject].nunique()) - len(whole),
    )


def mean_squares(values: Floats) -> MeanSquares:
    """Return the mean squares of a complete table, shape (n, k)."""
    n, k = values.shape
    centred = values - values.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    between, raters = k * float(rows @ rows), n * float(columns @ columns)
    rest = centred - rows[:, None] - columns
    residual = float((rest * rest).sum())
    whole = float((centred * centred).sum())
    residual = residual if residual > 1e-24 * whole else 0.0
    return MeanSquares(
        n=n,
        k=k,
        subjects=between / (n - 1),
        raters=raters / (k - 1),
        residual=residual / ((n - 1) * (k - 1)),
        within=(raters + residual) / (n * (k - 1)),
    )


def icc_limits(ms: MeanSquares, level: float) -> list[tuple[float, float]]:
    """Return the limits of the six intra-class correlations, in the order of :func:`icc`.

    McGraw and Wong (1996), tables 7 and 8. Where the residual is 0 both limits are 1.
    """
    n, k, high = ms.n, ms.k, 0.5 + level / 2.0
    df1, within, df2 = n - 1.0, n * (k - 1.0), (n - 1.0) * (k - 1.0)
    one = _ratio_limits(ratio(ms.subjects, ms.within), df1, within, k, high)
    consistent = _ratio_limits(ratio(ms.subjects, ms.residual), df1, df2, k, high)
    agree = _agreement_limits(ms, high)
    single = [one, agree, consistent]
    return single + [(_spearman(low, k), _spearman(up, k)) for low, up in single]


def ratio(above: float, below: float) -> float:
    """Return above / below, infinite where below is 0."""
    return above / below if below > 0.0 else math.inf


def _ratio_limits(f: float, df1: float, df2: float, k: int, high: float) -> tuple[float, float]:
    """Return the limits that follow from those of a ratio of mean squares."""
    if math.isinf(f):
        return 1.0, 1.0
    low = f / float(special.fdtri(df1, df2, high))
    up = f * float(special.fdtri(df2, df1, high))
    return (low - 1.0) / (low + k - 1.0), (up - 1.0) / (up + k - 1.0)


def _agreement_limits(ms: MeanSquares, high: float) -> tuple[float, float]:
    """Return the limits of the correlation for absolute agreement."""
    n, k, msb, msj, mse = ms.n, ms.k, ms.subjects, ms.raters, ms.residual
    if mse == 0.0 and msj == 0.0:
        return 1.0, 1.0
    rho = (msb - mse) / (msb + (k - 1) * mse + k * (msj - mse) / n)
    a = k * rho / (n * (1.0 - rho))
    b = 1.0 + k * rho * (n - 1.0) / (n * (1.0 - rho))
    parts = (a * msj) ** 2 / (k - 1.0) + (b * mse) ** 2 / ((n - 1.0) * (k - 1.0))
    v = (a * msj + b * mse) ** 2 / parts
    f_low = float(special.fdtri(n - 1.0, v, high))
    f_up = float(special.fdtri(v, n - 1.0, high))
    rest = k * msj + (k * n - k - n) * mse
    low = n * (msb - f_low * mse) / (f_low * rest + n * msb)
    up = n * (f_up * msb - mse) / (rest + n * f_up * msb)
    return low, up


def _spearman(single: float, k: int) -> float:
    """Return the correlation of a mean of `k` from that of one (Spearman-Brown)."""
    room = 1.0 + single * (k - 1.0)
    return single * k / room if room > 0.0 else -math.inf
