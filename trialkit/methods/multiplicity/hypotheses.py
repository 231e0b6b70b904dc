"""What every procedure over several hypotheses reads and returns: p-values, alpha, the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]
#: p-values by hypothesis; None or NaN where the analysis failed.
PValues = Mapping[str, float | None] | pd.Series
#: An adjusted p-value counts as equal to alpha within this share (rounding of products).
ROUNDING = 1e-12


@dataclass(frozen=True)
class Hypotheses:
    """p-values as read.

    Parameters
    ----------
    names : tuple of str
    values : ndarray, shape (m,)
        p-values; 1 for a failed analysis.
    failed : ndarray of bool, shape (m,)
    """

    names: tuple[str, ...]
    values: Floats
    failed: npt.NDArray[np.bool_]


def read_p(
    p: PValues | Sequence[float | None] | Floats, names: Sequence[str] | None = None
) -> Hypotheses:
    """Read p-values, in the order given or in that of `names`.

    Parameters
    ----------
    p : mapping, Series or sequence
        A sequence needs `names`. None or NaN: the analysis failed; it counts as p = 1.
    names : sequence of str or None
        The hypotheses that must be there, all of them and no other.

    Raises
    ------
    UsageError
        For a value outside [0, 1], a name given twice, missing or unknown, or no value.
    """
    keys, raw = _pairs(p, names)
    if not keys:
        raise UsageError("there are no p-values.", remedy="Give at least one hypothesis.")
    doubled = sorted({str(k) for k in keys if keys.count(k) > 1})
    if doubled:
        raise UsageError(
            f"the hypotheses {', '.join(doubled)} are named twice.",
            remedy="Give one p-value a hypothesis.",
        )
    if names is not None and set(keys) != set(names):
        lost = [n for n in names if n not in keys]
        extra = [str(k) for k in keys if k not in names]
        raise UsageError(
            f"the p-values do not fit the hypotheses (missing {lost}, unknown {extra}).",
            remedy="Give one for each; None where the analysis failed.",
        )
    order = list(keys) if names is None else list(names)
    found = dict(zip(keys, raw, strict=True))
    failed = np.array([_missing(found[k]) for k in order], dtype=bool)
    values = np.array(
        [1.0 if bad else _number(found[k], k) for k, bad in zip(order, failed, strict=True)]
    )
    return Hypotheses(tuple(str(k) for k in order), values, failed)


def _pairs(
    p: PValues | Sequence[float | None] | Floats, names: Sequence[str] | None
) -> tuple[list[str], list[object]]:
    if isinstance(p, pd.Series):
        return p.index.tolist(), p.tolist()
    if isinstance(p, Mapping):
        return list(p), list(p.values())
    values = list(p)
    if names is None:
        return [f"H{i + 1}" for i in range(len(values))], values
    if len(values) != len(names):
        raise UsageError(
            f"there are {len(values)} p-values for {len(names)} hypotheses.",
            remedy="Give one for each; None where the analysis failed.",
        )
    return list(names), values


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _number(value: object, name: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise UsageError(
            f"the p-value of {name} is {value!r}; it must lie between 0 and 1.",
            remedy="Correct it, or give None where the analysis failed.",
        )
    return number


def check_alpha(alpha: float) -> None:
    """Refuse a significance level that is not between 0 and 1."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise UsageError(
            f"alpha must lie between 0 and 1, not {alpha!r}.",
            remedy="Give the familywise error, such as 0.025.",
        )


def decide(adjusted: Floats, alpha: float) -> npt.NDArray[np.bool_]:
    """Tell which adjusted p-values are at most `alpha`, rounding of products aside."""
    return np.asarray(adjusted <= alpha * (1.0 + ROUNDING))


def decision_table(read: Hypotheses, adjusted: Floats, alpha: float) -> pd.DataFrame:
    """Return the table test, p, p_adjusted, rejected."""
    return pd.DataFrame(
        {
            "test": pd.Series(list(read.names), dtype=object),
            "p": np.where(read.failed, np.nan, read.values),
            "p_adjusted": adjusted,
            "rejected": decide(adjusted, alpha) & ~read.failed,
        }
    )
