"""The result of a comparison by wins."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from trialkit.methods import _marginal
from trialkit.methods._result import ByParticipant


@dataclass(frozen=True)
class WinResult(ByParticipant):
    """Wins of each arm against the reference.

    Parameters
    ----------
    failed : str or None
        Why there is no comparison; ``table`` is then empty.
    n, n_subjects, n_missing : int
        Rows used (one a participant), and rows dropped because a value was missing.
    variant : str
        Variance, scale of the intervals, strata and covariates in words.
    notes : list of str
        Strata left out, measures that are not defined.
    table : DataFrame
        Group, reference, measure (``win_odds``, ``win_ratio``, ``net_benefit``,
        ``win_probability``), estimate, se, df, statistic, p, lower, upper. ``se`` is of the log
        for odds and ratio, of the measure itself for the others, whose statistic and
        interval are those of the logit (win probability) and of the win probability's logit
        carried over (net benefit).
    counts : DataFrame
        Group, reference, pairs, wins, losses, ties (over the strata).
    tests : DataFrame
        Group, reference, test, statistic, df, p: Wilcoxon-Mann-Whitney with the correction for
        ties, over strata van Elteren's.
    """

    failed: str | None
    n: int
    n_missing: int
    variant: str
    notes: list[str]
    table: pd.DataFrame = field(repr=False)
    counts: pd.DataFrame = field(repr=False)
    tests: pd.DataFrame = field(repr=False)
    method: str = "win_odds"

    def summary(self) -> str:
        """Return method, counts and comparison as text."""
        tables = [self.counts, self.table, self.tests]
        return _marginal.stacked([self._head, *self.notes], tables, 6)

    def _repr_html_(self) -> str:
        return _marginal.html(self.summary(), self.table)
