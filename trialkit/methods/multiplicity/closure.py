"""The closed test: a hypothesis is rejected when every intersection that holds it is.

Source: Marcus R, Peritz E, Gabriel KR (1976), Biometrika 63:655. Any test of level alpha of each
intersection gives familywise error at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.multiplicity.hypotheses import (
    PValues,
    check_alpha,
    decision_table,
    read_p,
)

Floats = npt.NDArray[np.float64]
#: More hypotheses than this have too many intersections to list.
LARGEST = 14


@dataclass(frozen=True)
class ClosedTest:
    """The result of a closed test.

    Parameters
    ----------
    table : DataFrame
        test, p, p_adjusted, rejected.
    intersections : DataFrame
        hypotheses (tuple of names), p, rejected; the full set first.
    alpha : float
    variant : str
    """

    table: pd.DataFrame
    intersections: pd.DataFrame
    alpha: float
    variant: str
    method: str = "closed_test"
    failed: str | None = None

    @property
    def consonant(self) -> bool:
        """Whether each intersection that the closed test rejects holds a rejected hypothesis."""
        return consonant(self.intersections, self.table.loc[self.table["rejected"], "test"])

    def summary(self) -> str:
        """Return what was done and the table as text."""
        head = f"{self.method}: {self.variant}, familywise error {self.alpha:g}"
        return f"{head}\n{self.table.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def closed_test(
    p: PValues, local: Callable[[pd.Series], float], *, alpha: float = 0.025
) -> ClosedTest:
    """Apply a closed test with any test of the intersections.

    Parameters
    ----------
    p : mapping or Series of hypothesis to p-value (None or NaN: failed, counts as 1)
    local : callable
        Takes the p-values of an intersection (a Series by hypothesis) and returns the p-value of
        the intersection; that must be valid at level alpha.
    alpha : float
        Familywise error.

    Raises
    ------
    UsageError
        For more than 14 hypotheses, or a `local` that returns no probability.
    """
    check_alpha(alpha)
    read = read_p(p)
    refuse_many(len(read.names))
    series = pd.Series(read.values, index=list(read.names), dtype=np.float64)
    adjusted = np.zeros(len(series))
    rows = []
    for inside in subsets(len(series)):
        value = float(local(series.iloc[np.array(inside)]))
        names = tuple(read.names[i] for i in inside)
        if math.isnan(value) or value < 0.0:
            raise UsageError(
                f"the local test of {', '.join(names)} returned {value}.",
                remedy="It must return a p-value between 0 and 1.",
            )
        value = min(value, 1.0)
        adjusted[list(inside)] = np.maximum(adjusted[list(inside)], value)
        rows.append((names, value))
    table = decision_table(read, adjusted, alpha)
    return ClosedTest(
        table, intersection_table(rows, alpha), alpha, "closed test, given local test"
    )


def intersection_table(rows: list[tuple[tuple[str, ...], float]], alpha: float) -> pd.DataFrame:
    """Return the intersections with their p-values and decisions."""
    values = np.array([value for _, value in rows], dtype=np.float64)
    return pd.DataFrame(
        {
            "hypotheses": pd.Series([names for names, _ in rows], dtype=object),
            "p": values,
            "rejected": values <= alpha * (1.0 + 1e-12),
        }
    )


def consonant(intersections: pd.DataFrame, rejected: Iterable[str]) -> bool:
    """Tell whether each intersection rejected with all that hold it has a rejected member.

    Parameters
    ----------
    intersections : DataFrame
        hypotheses and rejected, larger sets of the same members first.
    rejected : iterable of str
        Hypotheses that the closed test rejects.
    """
    single = set(rejected)
    every = {name for names in intersections["hypotheses"] for name in names}
    lost: set[frozenset[str]] = set()
    for names, own in zip(intersections["hypotheses"], intersections["rejected"], strict=True):
        here = frozenset(names)
        if own and all(here | {other} in lost for other in every - here):
            lost.add(here)
    return all(here & single for here in lost)


def subsets(m: int) -> Iterator[tuple[int, ...]]:
    """Yield all non-empty sets of positions, the full set first."""
    for code in range((1 << m) - 1, 0, -1):
        yield tuple(i for i in range(m) if code >> i & 1)


def refuse_many(m: int) -> None:
    """Refuse a closed test with too many intersections."""
    if m > LARGEST:
        raise UsageError(
            f"a closed test of {m} hypotheses has {2**m - 1} intersections.",
            remedy=f"Use at most {LARGEST} hypotheses, or test='bonferroni', which needs no list.",
        )
