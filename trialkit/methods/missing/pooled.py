"""The result of pooling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import STATISTICS, empty_table, html
from trialkit.methods._predictor import exponentiate
from trialkit.methods.missing import sampling

if TYPE_CHECKING:
    from trialkit.methods.missing.analysis import Request
    from trialkit.methods.missing.evaluate import Evaluated
    from trialkit.methods.missing.imputation import Imputation


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


def pack(
    imp: Imputation,
    done: Evaluated | str,
    request: Request,
    inference: str,
    resamples: int,
    keep: Any,
    notes: list[str],
) -> Pooled:
    """Make the result of numbers, or of the reason why there are none."""
    failed = done if isinstance(done, str) else None
    means, precision = empty_table([request.term]), pd.DataFrame()
    if isinstance(done, str):
        table = empty_table([request.term, "reference"])
    else:
        frame = pd.DataFrame(done.numbers[0], columns=list(STATISTICS))
        whole = pd.concat([done.keys, frame], axis=1)
        table = whole.iloc[: done.gaps].reset_index(drop=True)
        if done.gaps < len(whole):
            means = whole.iloc[done.gaps :].drop(columns="reference").reset_index(drop=True)
        precision = sampling.precision_table(done, inference, resamples)
        if keep is not None:
            table = one_level(table, request.term, keep)
            precision = one_level(precision, request.term, keep) if len(precision) else precision
        table = exponentiate(table) if request.ratio else table
        if len(precision):
            of = "standard error" if imp.conditional else "estimate"
            largest = float(precision["mc_se"].max())
            notes = [*notes, f"Monte Carlo standard error of the {of}: {largest:.2g}"]
    count = imp.n_subjects if inference.startswith("jackknife") else resamples
    return Pooled(
        formula=request.formula,
        analysis=request.name,
        table=table,
        lsmeans=means,
        precision=precision,
        failed=failed,
        n=0 if isinstance(done, str) else done.n,
        n_subjects=imp.n_subjects,
        n_missing=0 if isinstance(done, str) else done.n_missing,
        n_imputed=imp.n_imputed,
        n_imputations=imp.n_imputations,
        n_resamples=count if imp.conditional else 0,
        variant=f"{imp.variant}; {sampling.words(inference, count)}",
        notes=notes,
    )


def one_level(table: pd.DataFrame, term: str, level: Any) -> pd.DataFrame:
    """Keep the rows of one level of the term."""
    mine = (table[term] == level).to_numpy()
    if not mine.any():
        raise UsageError(
            f"{level!r} is not compared with the reference.",
            remedy=f"Levels are: {', '.join(map(repr, table[term].tolist()))}.",
        )
    kept: pd.DataFrame = table[mine].reset_index(drop=True)
    return kept
