"""Tipping-point analysis: how far imputed values must move until a result is lost.

An amount is added to all imputed values of an arm, on top of the imputation's own delta; the
imputation model is fitted, and values are drawn, once. For an ANCOVA at one visit the whole
surface comes from one analysis with the added values as further outcomes, since estimates are
linear and residual sums of squares quadratic in the amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import STATISTICS, empty_table, html
from trialkit.methods.missing.analysis import check_request
from trialkit.methods.missing.delta import number
from trialkit.methods.missing.sampling import words

if TYPE_CHECKING:
    from trialkit.methods.missing.evaluate import Evaluated
    from trialkit.methods.missing.imputation import Imputation

Floats = npt.NDArray[np.float64]

#: Each round of the search for a root divides its bracket into so many parts.
PARTS, ROUNDS = 24, 9


@dataclass(frozen=True)
class Tipping:
    """Results under deltas.

    Parameters
    ----------
    table : DataFrame
        One row a combination of deltas: a column ``delta_<arm>`` for each arm that moves, the
        level compared and its reference, ``estimate se df statistic p lower upper``.
    boundary : DataFrame
        Deltas at which p equals alpha: exact roots between neighbours of the grid where the
        analysis is an ANCOVA, else linear interpolation. The last arm's delta is the root, at
        each value of the others.
    arms : tuple
        The arms that move.
    alpha : float
    """

    table: pd.DataFrame
    boundary: pd.DataFrame
    arms: tuple[Any, ...]
    alpha: float
    at: Any
    variant: str
    failed: str | None
    n: int
    n_subjects: int
    n_missing: int
    notes: list[str] = field(default_factory=list)
    method: str = "impute"

    @property
    def converged(self) -> bool:
        """Whether there are numbers."""
        return self.failed is None

    @property
    def names(self) -> list[str]:
        """Names of the delta columns."""
        return [f"delta_{arm}" for arm in self.arms]

    @property
    def delta(self) -> float | None:
        """Tipping delta of one arm: the crossing nearest to zero; None without one."""
        if len(self.arms) != 1 or self.boundary.empty:
            return None
        roots = self.boundary[self.names[0]].to_numpy(dtype=np.float64)
        return float(roots[np.argmin(np.abs(roots))])

    def summary(self) -> str:
        """Return the result as text."""
        head = [f"tipping-point analysis at {self.at}", self.variant]
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])
        head += self.notes
        if len(self.arms) == 1:
            found = "none in the range" if self.delta is None else f"{self.delta:.5g}"
            head.append(f"p = {self.alpha:g} at delta {found}")
        table = self.table.to_string(index=False, float_format=lambda v: f"{v:.5g}")
        return "\n".join([*head, "", table])

    def _repr_html_(self) -> str:
        """Return the result for a notebook."""
        return html(self.summary(), self.table)

    def plot(self, ax: Any = None) -> Any:
        """Draw p over the delta of one arm, or the estimate over those of two, with p = alpha.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if self.failed:
            raise UsageError(f"There is nothing to draw: {self.failed}", remedy="See failed.")
        from trialkit.methods.missing._tipping_plot import draw

        return draw(self, ax)


def surface(
    imp: Imputation,
    analysis: Callable[..., Any],
    formula: str,
    *,
    at: Any,
    deltas: Mapping[Any, Sequence[float]],
    alpha: float,
    inference: str | None,
    keep: Any = None,
    resamples: int = 1000,
    seed: int | None = None,
    **how: Any,
) -> Tipping:
    """Return the tipping-point surface.

    Parameters
    ----------
    deltas : dict
        For one arm or two (or more), the amounts to add to its imputed values.
    alpha : float
        Two-sided level that counts as significant.
    how
        Other arguments of :meth:`Imputation.pool`.

    Raises
    ------
    UsageError
        For an unknown arm, no amount, or several contrasts without ``keep``.
    """
    grid, arms = read_grid(deltas, imp)
    if not 0.0 < alpha < 1.0:
        raise UsageError(f"alpha={alpha} is no level.", remedy="Give alpha=0.05.")
    request = imp.request(analysis, formula, at, 1.0 - alpha, how)
    chosen = imp.inference(inference)
    notes = [*imp.notes, *check_request(request, imp.trial, imp.conditional)]
    names = [f"delta_{a}" for a in arms]
    count = imp.n_subjects if chosen.startswith("jackknife") else resamples
    directions = towards(imp, arms)
    done = imp.evaluated(request, chosen, directions, grid, resamples, seed)
    failed = done if isinstance(done, str) else None
    table = empty_table([*names, request.term, "reference"])
    boundary = pd.DataFrame(columns=names, dtype=np.float64)
    if not isinstance(done, str):
        row = one_row(done.keys.iloc[: done.gaps], request.term, keep)
        table = tabulated(done, grid, names, row, request.ratio)

        def p_at(points: Floats) -> Floats | None:
            if not request.fast(imp.trial.names.outcome):
                return None
            again = imp.evaluated(request, chosen, directions, points, resamples, seed)
            return None if isinstance(again, str) else np.asarray(again.numbers[:, row, 4])

        roots = crossings(grid, done.numbers[:, row, 4], alpha, p_at)
        boundary = pd.DataFrame(roots, columns=names)
        notes += verdict(table, names, alpha, boundary)
    return Tipping(
        table=table,
        boundary=boundary,
        arms=arms,
        alpha=alpha,
        at=at,
        variant=f"{imp.variant}; {words(chosen, count)}",
        failed=failed,
        n=0 if isinstance(done, str) else done.n,
        n_subjects=imp.n_subjects,
        n_missing=0 if isinstance(done, str) else done.n_missing,
        notes=notes,
    )


def read_grid(
    deltas: Mapping[Any, Sequence[float]], imp: Imputation
) -> tuple[Floats, tuple[Any, ...]]:
    """Return all combinations of deltas, the last arm varying fastest, and the arms."""
    if not isinstance(deltas, Mapping) or not deltas:
        raise UsageError("No deltas are given.", remedy="Give deltas={arm: [0, 1, 2, ...]}.")
    arms = tuple(deltas)
    for arm in arms:
        if arm not in imp.trial.arms:
            raise UsageError(
                f"{arm!r} is not an arm of the data.",
                remedy=f"Arms are: {', '.join(map(repr, imp.trial.arms))}.",
            )
    axes = [sorted({number(v) for v in deltas[arm]}) for arm in arms]
    if any(not axis for axis in axes):
        raise UsageError("An arm has no deltas.", remedy="Give deltas={arm: [0, 1, 2, ...]}.")
    return np.array(list(product(*axes)), dtype=np.float64), arms


def towards(imp: Imputation, arms: tuple[Any, ...]) -> Floats:
    """Return what one unit of each arm's delta adds to the imputed values."""
    out = np.zeros((len(arms), imp.n_missing))
    if not imp.failed:
        who = imp.imputer.where // len(imp.trial.visits)
        for d, each in enumerate(arms):
            out[d] = imp.trial.arm[who] == imp.trial.arms.index(each)
    return out


def tabulated(
    done: Evaluated, grid: Floats, names: list[str], row: int, ratio: bool
) -> pd.DataFrame:
    """Return one row a combination of deltas."""
    numbers = done.numbers[:, row].copy()
    if ratio:
        numbers[:, [0, 5, 6]] = np.exp(numbers[:, [0, 5, 6]])
    table = pd.DataFrame(grid, columns=names)
    for key in done.keys.columns:
        table[key] = pd.Series([done.keys[key].iloc[row]] * len(table), dtype=object)
    return pd.concat([table, pd.DataFrame(numbers, columns=list(STATISTICS))], axis=1)


def one_row(keys: pd.DataFrame, term: str, keep: Any) -> int:
    """Return the contrast that is followed."""
    if keep is not None:
        found = np.flatnonzero((keys[term] == keep).to_numpy())
        if len(found) == 1:
            return int(found[0])
    elif len(keys) == 1:
        return 0
    raise UsageError(
        f"The analysis gives {len(keys)} contrasts.",
        remedy="Name the level of one with keep=...",
    )


def crossings(
    grid: Floats, p: Floats, alpha: float, p_at: Callable[[Floats], Floats | None]
) -> Floats:
    """Return the deltas at which p crosses alpha, along the last arm, shape (k, arms).

    Between neighbours of the grid the bracket is divided again and again by ``PARTS`` where
    ``p_at`` gives values, else p is interpolated linearly.
    """
    same = (grid[1:, :-1] == grid[:-1, :-1]).all(axis=1)
    at = np.flatnonzero(same & ((p[:-1] < alpha) != (p[1:] < alpha)))
    low, high = grid[at].copy(), grid[at + 1].copy()
    share = ((alpha - p[at]) / (p[at + 1] - p[at]))[:, None]
    if not len(at):
        return low
    rising = p[at] < alpha
    steps = np.linspace(0.0, 1.0, PARTS + 1)
    for _ in range(ROUNDS):
        points = low[:, None] + steps[:, None] * (high - low)[:, None]
        values = p_at(points.reshape(-1, grid.shape[1]))
        if values is None:
            return np.asarray(low + share * (high - low))
        before = (values.reshape(len(at), -1) < alpha) == rising[:, None]
        before[:, 0], before[:, -1] = True, False
        last = np.argmin(before, axis=1)
        rows = np.arange(len(at))
        low, high = points[rows, last - 1], points[rows, last]
    return np.asarray(0.5 * (low + high))


def verdict(
    table: pd.DataFrame, names: list[str], alpha: float, boundary: pd.DataFrame
) -> list[str]:
    """Say whether there is a tipping point in the range."""
    at_zero = table[(table[names] == 0.0).all(axis=1).to_numpy()]
    if len(at_zero) and float(at_zero["p"].iloc[0]) >= alpha:
        return [f"without a delta p is not below {alpha:g}: there is nothing to tip"]
    if boundary.empty:
        return [f"p does not cross {alpha:g} in the range of deltas"]
    return []
