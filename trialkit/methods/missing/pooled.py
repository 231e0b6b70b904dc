"""The result of pooling."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from trialkit.methods._marginal import html


@dataclass(frozen=True)
class Pooled:
    """An analysis pooled over imputations or resamples.

    Parameters
    ----------
    formula, analysis : str
        As given, and the name of the analysis.
    table : DataFrame
        Arm (level of the term), reference, ``estimate se df statistic p lower upper``; ratios
        have the ``se`` of their logarithm. Empty if failed.
    lsmeans : DataFrame
        LS-means of the arms, where the analysis is an ANCOVA at one visit; else empty.
    precision : DataFrame
        For multiple imputation: keys, ``within between share fmi mc_se`` (Rubin's variances,
        share of the variance and fraction of information that is missing, Monte Carlo standard
        error of the estimate). For the bootstrap: keys and ``mc_se``, that of the standard
        error. Empty where nothing is random.
    failed : str or None
        Why there are no numbers.
    n, n_subjects, n_missing : int
        Rows of the analysis, participants, and rows that the analysis left out because a
        covariate was missing.
    n_imputed : DataFrame
        Imputed values by arm and visit: arm, visit, n, imputed.
    n_imputations : int
        1 for conditional means.
    n_resamples : int
        Samples of the jackknife or bootstrap; 0 for Rubin's rules.
    variant : str
        Strategy, method and inference in words.
    """

    formula: str
    analysis: str
    table: pd.DataFrame
    lsmeans: pd.DataFrame
    precision: pd.DataFrame
    failed: str | None
    n: int
    n_subjects: int
    n_missing: int
    n_imputed: pd.DataFrame
    n_imputations: int
    n_resamples: int
    variant: str
    notes: list[str] = field(default_factory=list)
    method: str = "impute"

    @property
    def converged(self) -> bool:
        """Whether there are numbers."""
        return self.failed is None

    def summary(self) -> str:
        """Return the result as text."""
        imputed = int(self.n_imputed["imputed"].sum()) if len(self.n_imputed) else 0
        head = [f"{self.analysis}: {self.formula}", self.variant]
        head.append(f"{self.n} rows analysed, {self.n_missing} left out; {imputed} values imputed")
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])

        def show(frame: pd.DataFrame) -> str:
            return frame.to_string(index=False, float_format=lambda v: f"{v:.5g}")

        parts = ["\n".join([*head, *self.notes]), show(self.table)]
        parts += [show(each) for each in (self.lsmeans, self.precision) if len(each)]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        """Return the result for a notebook."""
        return html(self.summary(), self.table)
