"""What fits of a linear model answer: coefficients, LS-means and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trialkit.methods._design import Design
from trialkit.methods._marginal import (
    Inference,
    Margins,
    coefficients,
    differences,
    margins,
    tabulate,
)
from trialkit.methods._result import Result

Names = str | Sequence[str]


@dataclass(frozen=True)
class FormulaFit(Result):
    """A fit of a formula.

    Parameters
    ----------
    formula : str
        As given.
    failed : str or None
        Why there are no numbers; None otherwise.
    n, n_subjects, n_missing : int
        Rows used, participants with at least one of them, and rows left out because a used
        column was missing.
    """

    formula: str
    failed: str | None
    n: int
    n_subjects: int
    n_missing: int


class LinearFit(FormulaFit):
    """A fit whose answers are linear functions of its coefficients."""

    design: Design
    inference: Inference | None

    @property
    def coefficients(self) -> pd.DataFrame:
        """Coefficients with 95 % intervals, one row a column of the model matrix."""
        return coefficients(self.design, self.inference)

    def lsmeans(
        self,
        term: Names,
        by: Names | None = None,
        weights: str = "equal",
        level: float = 0.95,
        variance: str = "conditional",
    ) -> pd.DataFrame:
        """Return LS-means of ``term`` at each level of ``by``.

        Parameters
        ----------
        term, by : str or sequence of str
            Factors of the formula.
        weights : str
            ``equal``: every combination of the other factors counts the same. ``observed``:
            as often as it occurs in the rows of the fit (SAS OBSMARGINS, emmeans
            ``proportional``). ``counterfactual``: each participant of the fit, counting once,
            is set to each level (and visit) in turn and the predictions are averaged.
        level : float
            Coverage of the intervals.
        variance : str
            For counterfactual means: ``conditional`` on the participants' covariates, or
            ``unconditional``, which adds what their sampling contributes.

        Returns
        -------
        DataFrame
            Levels, ``estimate se df statistic p lower upper``; ``attrs`` name the weights.
        """
        means = self._means(term, by, weights, variance)
        return tabulate(self.design, means, self.inference, level)

    def contrast(
        self,
        term: str,
        reference: Any,
        by: Names | None = None,
        weights: str = "equal",
        level: float = 0.95,
        variance: str = "conditional",
    ) -> pd.DataFrame:
        """Return differences of LS-means from the reference level of ``term``.

        Differences that the model fixes at zero (``equal_at`` of
        :func:`~trialkit.methods.mmrm`) are left out.

        Returns
        -------
        DataFrame
            ``term``'s level, ``reference``, levels of ``by``, then
            ``estimate se df statistic p lower upper``; ``attrs`` name the weights.
        """
        means = self._means(term, by, weights, variance)
        rows = differences(means, self.design.categorical(term), term, reference)
        return tabulate(self.design, rows, self.inference, level)

    def _means(self, term: Names, by: Names | None, weights: str, variance: str) -> Margins:
        """Build the means; each row of the fit is a participant."""
        return margins(self.design, term, by, weights, variance=variance)
