"""Family-wise error over several tests: Holm, and the fixed sequence.

Sources: Holm S (1979), Scand J Stat 6:65; Maurer W, Hothorn LA, Lehmacher W (1995), Biometrie in
der chemisch-pharmazeutischen Industrie 6:3. A test without a p-value (its analysis failed)
counts as p = 1: it is never rejected, and in a fixed sequence nothing after it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

PValues = Mapping[str, float | None]
Floats = npt.NDArray[np.float64]


def holm(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Apply Holm's step-down procedure.

    Parameters
    ----------
    p : mapping of test to p-value (None or NaN: failed)
    alpha : float
        Family-wise error.

    Returns
    -------
    DataFrame
        test, p, p_adjusted, rejected; in the order given.
    """
    values = _values(p, alpha)
    order = np.argsort(values, kind="stable")
    m = len(values)
    stepped = np.maximum.accumulate(values[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return _table(p, values, adjusted, alpha)


def fixed_sequence(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Test in the order of `p`, each at `alpha`, and stop at the first that is not rejected.

    Returns
    -------
    DataFrame
        test, p, p_adjusted (the largest p so far), rejected; in the order given.
    """
    values = _values(p, alpha)
    return _table(p, values, np.maximum.accumulate(values), alpha)


def unadjusted(p: PValues, *, alpha: float = 0.05) -> pd.DataFrame:
    """Test each at `alpha` without an adjustment; same table."""
    values = _values(p, alpha)
    return _table(p, values, values, alpha)


def _values(p: PValues, alpha: float) -> Floats:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    values = np.array(
        [1.0 if v is None or math.isnan(v) else float(v) for v in p.values()], dtype=np.float64
    )
    if ((values < 0.0) | (values > 1.0)).any():
        raise ValueError("p-values must lie between 0 and 1")
    return values


def _table(p: PValues, values: Floats, adjusted: Floats, alpha: float) -> pd.DataFrame:
    failed = np.array([v is None or math.isnan(v) for v in p.values()], dtype=bool)
    return pd.DataFrame(
        {
            "test": pd.Series(list(p), dtype=object),
            "p": np.where(failed, np.nan, values),
            "p_adjusted": adjusted,
            "rejected": (adjusted <= alpha) & ~failed,
        }
    )
