"""Effect sizes and agreement, through pingouin.

pingouin is under GPL-3: this is the only module that imports it, and only inside functions.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]


def hedges_g(x: object, y: object, *, level: float = 0.95) -> pd.DataFrame:
    """Return Hedges' g, the standardised mean difference of two groups corrected for bias.

    Parameters
    ----------
    x, y : array-like, shape (n,), (m,)
        Values of the two groups; missing ones are left out. g is positive where x is higher.
    level : float
        Coverage of the interval (normal, with the standard error of Hedges and Olkin, 1985).

    Returns
    -------
    DataFrame
        One row: estimate, lower, upper, n (both groups together).

    Raises
    ------
    UsageError
        For fewer than two values in a group, or no variation at all.
    """
    import pingouin

    first, second = _finite(x), _finite(y)
    if min(len(first), len(second)) < 2:
        raise UsageError("a group has fewer than two values.", remedy="Check the population.")
    if np.ptp(first) == 0.0 and np.ptp(second) == 0.0:
        raise UsageError("the values do not vary.", remedy="A standardised effect needs variation.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        g = float(pingouin.compute_effsize(first, second, eftype="hedges"))
        interval = pingouin.compute_esci(
            stat=g,
            nx=len(first),
            ny=len(second),
            eftype="hedges",
            confidence=level,
            decimals=12,
        )
    row = {"estimate": g, "lower": float(interval[0]), "upper": float(interval[1])}
    return pd.DataFrame([{**row, "n": len(first) + len(second)}])


def icc(data: pd.DataFrame, *, subject: str, rater: str, value: str) -> pd.DataFrame:
    """Return the intra-class correlations of Shrout and Fleiss (1979) with 95 % intervals.

    Parameters
    ----------
    data : DataFrame
        Long: one row a subject and rater (or occasion); subjects without all raters are left out.

    Returns
    -------
    DataFrame
        type (ICC(1,1), ICC(A,1), ICC(C,1) and their means over raters), estimate, statistic (F),
        df, df2, p, lower, upper.

    Raises
    ------
    UsageError
        For unknown columns, or fewer than five complete subjects.
    """
    import pingouin

    unknown = [c for c in (subject, rater, value) if c not in data.columns]
    if unknown:
        raise UsageError(f"The data have no column {unknown}.", remedy="Check the names.")
    wide = data.pivot_table(index=subject, columns=rater, values=value, observed=True).dropna()
    if len(wide) < 5 or wide.shape[1] < 2:
        raise UsageError(
            f"{len(wide)} complete subjects and {wide.shape[1]} raters do not suffice.",
            remedy="Give at least five subjects rated by at least two raters.",
        )
    long = wide.reset_index().melt(id_vars=subject, var_name="_rater", value_name="_value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pingouin.intraclass_corr(
            data=long, targets=subject, raters="_rater", ratings="_value"
        )
    limits = np.vstack([np.asarray(v, dtype=np.float64) for v in _column(found, "CI95")])
    return pd.DataFrame(
        {
            "type": found["Type"].astype(object).to_numpy(),
            "estimate": found["ICC"].to_numpy(dtype=np.float64),
            "statistic": found["F"].to_numpy(dtype=np.float64),
            "df": found["df1"].to_numpy(dtype=np.float64),
            "df2": found["df2"].to_numpy(dtype=np.float64),
            "p": found["pval"].to_numpy(dtype=np.float64),
            "lower": limits[:, 0],
            "upper": limits[:, 1],
        }
    )


def _column(frame: pd.DataFrame, name: str) -> Any:
    """Return the column whose name starts with `name` (pingouin renames them at times)."""
    return frame[next(c for c in frame.columns if str(c).startswith(name))]


def _finite(values: object) -> Floats:
    plain = np.asarray(values, dtype=np.float64).ravel()
    return np.asarray(plain[np.isfinite(plain)])
