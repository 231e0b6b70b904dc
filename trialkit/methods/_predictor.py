"""What fits with a linear predictor and normal inference share: coefficients, means, ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design
from trialkit.methods._marginal import (
    Margins,
    as_text,
    differences,
    empty_table,
    margins,
    names_of,
    statistics,
    tabulate,
)

Floats = npt.NDArray[np.float64]


@dataclass
class PredictorFit:
    """A fit whose coefficients are asymptotically normal.

    Parameters
    ----------
    method, variant : str
        Name, and what was computed in words (estimator, information, ties ...).
    design : Design
        The model matrix.
    beta : ndarray, shape (p,)
        Coefficients of the kept columns of the design.
    covariance : ndarray, shape (p, p)
    n, n_missing : int
        Rows used, and rows dropped because a value was missing.
    failed : str or None
        Why there are no numbers; tables are then empty.
    notes : list of str
        What a reader must know (aliased columns, a parameter at its bound).
    """

    method: str
    variant: str
    design: Design
    beta: Floats
    covariance: Floats
    n: int
    n_missing: int
    converged: bool = True
    failed: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n_subjects(self) -> int:
        """Participants used: one row each."""
        return self.n

    @property
    def coefficients(self) -> pd.DataFrame:
        """Coefficients with 95 % intervals: term, estimate, se, df, statistic, p, lower, upper."""
        return self.coefficients_at(0.95)

    def coefficients_at(self, level: float) -> pd.DataFrame:
        """Return the coefficients with intervals of another coverage."""
        if self.failed:
            return empty_table(["term"])
        se = np.sqrt(np.diagonal(self.covariance))
        numbers = statistics(self.beta, se, np.full(len(self.beta), math.inf), level)
        table = pd.DataFrame(numbers, columns=list(empty_table([]).columns))
        table.insert(0, "term", pd.Series(self.design.names, dtype=object))
        return table

    def _infer(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, SE and (infinite) df of linear functions of the coefficients."""
        variance = np.einsum("ij,jk,ik->i", rows, self.covariance, rows)
        return rows @ self.beta, np.sqrt(variance), np.full(len(rows), math.inf)

    def means(self, term: str | Sequence[str], *, level: float = 0.95) -> pd.DataFrame:
        """Return LS-means on the scale of the linear predictor (equal weights)."""
        found = margins(self.design, term)
        return tabulate(self.design, found, None if self.failed else self._infer, level)

    def contrast(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return differences to `reference` on the scale of the linear predictor."""
        found = self._differences(term, reference)
        return tabulate(self.design, found, None if self.failed else self._infer, level)

    def _differences(self, term: str, reference: object) -> Margins:
        factor = self.design.categorical(names_of(term)[0])
        return differences(margins(self.design, term), factor, term, reference)

    def _ratio(
        self, kind: str, term: str, reference: object, level: float, numeric: Sequence[str]
    ) -> pd.DataFrame:
        """Return ratios to the reference level, or of one unit of a numeric coefficient."""
        if reference is not None:
            return exponentiate(self.contrast(term, reference=reference, level=level))
        if term not in numeric:
            raise UsageError(
                f"A {kind} for {term!r} needs a reference level.",
                remedy=f"Give reference=, or name a numeric coefficient of: {numeric}.",
            )
        table = self.coefficients_at(level)
        return exponentiate(table[table["term"] == term].reset_index(drop=True))

    def summary(self) -> str:
        """Return method, counts and coefficients as text."""
        head = f"{self.method}: {self.variant}\nn {self.n}, missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        body = as_text(self.coefficients, 6)
        return "\n".join([head, *self.notes, body])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def exponentiate(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table on the ratio scale: estimate and interval are ratios, ``se`` is of the log."""
    out = table.copy()
    with np.errstate(over="ignore"):
        for name in ("estimate", "lower", "upper"):
            out[name] = np.exp(out[name].to_numpy(dtype=np.float64))
    return out


def alias_notes(design: Design) -> list[str]:
    """Return a note that names columns dropped as combinations of others."""
    if not design.aliased:
        return []
    return [f"dropped as combinations of other columns: {', '.join(design.aliased)}"]
