"""ANCOVA at one visit for many imputations or resamples at once.

The model matrix holds no imputed value, so that one factorisation serves every imputation, and
resamples need only weighted sums. Estimates are those that :func:`trialkit.methods.ancova` gives
for each completed frame, with LS-means at the covariate means of the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.methods import _marginal
from trialkit.methods._design import Design, tall_qr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LinearAnalysis:
    """An analysis of covariance whose outcome varies over imputations or resamples.

    Parameters
    ----------
    design : Design
        Built on one completed frame.
    term : str
        Factor to compare.
    reference : object
        Its reference level.
    """

    design: Design
    term: str
    reference: Any
    q: Floats = field(repr=False)
    back: Floats = field(repr=False)

    @classmethod
    def build(cls, design: Design, term: str, reference: Any) -> LinearAnalysis | str:
        """Factorise the model matrix, or say why there is no analysis."""
        n, p = design.x.shape
        if n <= p:
            return f"{n} observations cannot carry {p} coefficients and a variance"
        q, r = tall_qr(design.x)
        return cls(design, term, reference, q, np.asarray(np.linalg.inv(r)))

    @property
    def df(self) -> float:
        """Residual degrees of freedom."""
        return float(self.design.x.shape[0] - self.design.x.shape[1])

    def functions(self, weights: Floats | None = None) -> Floats:
        """Return the differences and LS-means of the term as rows.

        Returns
        -------
        ndarray, shape (B, k, p)
            In the coordinates of ``q``, one set a sample (one without weights).
        """
        design = self.design
        table = np.ones((1, len(design.rows))) if weights is None else weights
        factors = _marginal.grid_factors(design)
        own = design.categorical(self.term)
        name = own.variables[0]
        levels = [own.levels, *(v for key, v in factors.items() if key != name)]
        size = math.prod(len(each) for each in levels)
        columns: dict[str, Any] = {}
        inner = size
        for key, values in zip([name, *(k for k in factors if k != name)], levels, strict=True):
            inner //= len(values)
            codes = np.tile(np.repeat(np.arange(len(values)), inner), size // inner // len(values))
            columns[key] = np.tile(_marginal.objects(values)[codes], len(table))
        for factor in design.factors.values():
            if not factor.categorical:
                for key in factor.variables:
                    mean = table @ design.columns[key].astype(np.float64) / table.sum(axis=1)
                    columns.setdefault(key, np.repeat(mean, size))
        full = design.matrix(columns)[:, design.kept] @ self.back
        means = full.reshape(len(table), len(own.levels), -1, full.shape[1]).mean(axis=2)
        base = own.levels.index(self.reference)
        others = [i for i in range(len(own.levels)) if i != base]
        gaps = means[:, others] - means[:, [base]]
        return np.concatenate([gaps, means], axis=1)

    def margins(self) -> _marginal.Margins:
        """Return the differences, then the means, as functions of the coefficients."""
        means = _marginal.margins(self.design, self.term)
        factor = self.design.categorical(self.term)
        gaps = _marginal.differences(means, factor, self.term, self.reference)
        keys = pd.concat([gaps.keys, means.keys], ignore_index=True)
        return _marginal.Margins(keys, np.vstack([gaps.rows, means.rows]))

    def estimable(self, margins: _marginal.Margins) -> npt.NDArray[np.bool_]:
        """Tell which functions the data can estimate."""
        return self.design.estimable(margins.rows)

    def imputed(self, y: Floats) -> tuple[Floats, Floats]:
        """Return coefficients and residual cross-products of several outcomes.

        Parameters
        ----------
        y : ndarray, shape (B, k, n)
            ``k`` outcomes of each of ``B`` imputations.

        Returns
        -------
        coefficients : ndarray, shape (B, k, p)
        cross : ndarray, shape (B, k, k)
        """
        coefficients = y @ self.q
        rest = y - coefficients @ self.q.T
        return coefficients, rest @ rest.swapaxes(-1, -2)

    def weighted(self, y: Floats, weights: Floats) -> tuple[Floats, Ints]:
        """Return coefficients under weights, and the samples that do not estimate them all.

        Parameters
        ----------
        y : ndarray, shape (B, k, n)
        weights : ndarray, shape (B, n)
        """
        p = self.q.shape[1]
        i, j = np.triu_indices(p)
        packed = weights @ (self.q[:, i] * self.q[:, j])
        gram = np.empty((len(weights), p, p))
        gram[:, i, j] = packed
        gram[:, j, i] = packed
        values = np.linalg.eigvalsh(gram)
        poor = (values[:, 0] < 1e-9) | ((weights > 0.0).sum(axis=1) < p)
        gram[poor] = np.eye(p)
        right = (y * weights[:, None]) @ self.q
        solved = np.linalg.solve(gram, right.swapaxes(-1, -2)).swapaxes(-1, -2)
        return np.asarray(solved), np.flatnonzero(poor).astype(np.intp)
