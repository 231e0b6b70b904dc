"""The result of standardised means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._columns import place_of
from trialkit.methods._linear_fit import FormulaFit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AdjustedFit(FormulaFit):
    """Standardised means of the arms.

    Beside the fields of ``FormulaFit``:

    Parameters
    ----------
    variant : str
        Working model, scheme of randomisation, variance and quantiles in words.
    notes : list of str
    arm : str
        Column of the arms.
    levels : tuple
        The arms in order.
    estimate : ndarray, shape (k,)
    covariance : ndarray, shape (k, k)
    slopes : DataFrame
        Coefficients of the working model: ``term``, and a column for each arm (ANHECOVA), or
        ``estimate``.
    parts : ndarray, shape (k + 1, k, k), or None
        Parts of the small-sample covariance, one with each of `part_df`.
    """

    variant: str
    notes: list[str]
    arm: str
    levels: tuple[Any, ...]
    estimate: Floats
    covariance: Floats
    slopes: pd.DataFrame = field(repr=False)
    parts: Floats | None = field(default=None, repr=False)
    part_df: Floats | None = field(default=None, repr=False)
    method: str = "ancova"

    @property
    def coefficients(self) -> pd.DataFrame:
        """The arms' means, which are the arms' coefficients once covariates are centred."""
        table = self.lsmeans(self.arm)
        names = [f"{self.arm}[{level}]" for level in table[self.arm]]
        out = table.drop(columns=self.arm)
        out.insert(0, "term", pd.Series(names, dtype=object))
        return out

    def lsmeans(
        self,
        term: str,
        by: str | Sequence[str] | None = None,
        weights: str = "counterfactual",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the standardised mean of each arm; `term` is the arm's column."""
        self._refuse(term, by, weights)
        return self._table({term: self.levels}, np.eye(len(self.levels)), level)

    def contrast(
        self,
        term: str,
        reference: Any,
        by: str | Sequence[str] | None = None,
        weights: str = "counterfactual",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return differences of standardised means from the reference arm."""
        self._refuse(term, by, weights)
        base = place_of(reference, self.levels, term)
        others = [i for i in range(len(self.levels)) if i != base]
        rows = np.eye(len(self.levels))[others]
        rows[:, base] = -1.0
        keys = {term: [self.levels[i] for i in others], "reference": [reference] * len(others)}
        return self._table(keys, rows, level)

    def _refuse(self, term: str, by: object, weights: str) -> None:
        if term != self.arm or by is not None or weights != "counterfactual":
            raise UsageError(
                f"Means of {term!r} by {by!r} with weights {weights!r} are not standardised means.",
                remedy=f"Ask for {self.arm!r} alone with weights='counterfactual', or fit "
                "without `adjust`.",
            )

    def _table(self, keys: Mapping[str, Sequence[Any]], rows: Floats, level: float) -> pd.DataFrame:
        _marginal.check_level(level)
        if self.failed:
            return _marginal.empty_table(list(keys))
        variance = np.einsum("ij,jk,ik->i", rows, self.covariance, rows)
        df = np.full(len(rows), math.inf)
        if self.parts is not None and self.part_df is not None:
            shares = np.einsum("ij,cjk,ik->ci", rows, self.parts, rows)
            df = variance**2 / (shares**2 / self.part_df[:, None]).sum(axis=0)
        numbers = _marginal.statistics(rows @ self.estimate, np.sqrt(variance), df, level)
        table = pd.DataFrame({k: pd.Series(list(v), dtype=object) for k, v in keys.items()})
        table = pd.concat(
            [table, pd.DataFrame(numbers, columns=list(_marginal.STATISTICS))], axis=1
        )
        table.attrs.update(weights="counterfactual", variant=self.variant)
        return table

    def summary(self) -> str:
        """Return the fit as text."""
        head = [f"ANCOVA: {self.formula}", self.variant]
        head.append(f"{self.n} observations, {self.n_missing} rows missing")
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])
        table = _marginal.as_text(self.lsmeans(self.arm))
        return "\n".join([*head, *self.notes, "", table])

    def _repr_html_(self) -> str:
        """Return the fit for a notebook."""
        return _marginal.html(self.summary(), self.coefficients)
