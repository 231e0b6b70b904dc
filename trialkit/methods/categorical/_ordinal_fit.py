"""A fitted cumulative link model: effects, odds ratios, probabilities, tests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._design import Design
from trialkit.methods._predictor import exponentiate
from trialkit.methods._result import ByParticipant
from trialkit.methods.categorical import _probabilities, _proportionality
from trialkit.methods.categorical._cumulative import Cumulative, Fitted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OrdinalFit(ByParticipant):
    """A fitted cumulative link model.

    Parameters
    ----------
    formula : str
        As given.
    failed : str or None
        Why there are no numbers; tables are then empty.
    n, n_subjects, n_missing : int
        Participants used (frequencies counted), and rows dropped for a missing value.
    variant : str
        Model, estimation and sign in words.
    notes : list of str
        Aliased columns, empty categories, floor and ceiling.
    levels : tuple
        Categories that occur, from low to high.
    link : str
        Distribution of the model.
    design : Design
        The model matrix, with an intercept that the thresholds replace.
    """

    formula: str
    failed: str | None
    n: int
    n_missing: int
    variant: str
    notes: list[str]
    levels: tuple[Any, ...]
    link: str
    design: Design = field(repr=False)
    response: str = field(repr=False)
    model: Cumulative = field(repr=False)
    common: npt.NDArray[np.int_] = field(repr=False)
    own: npt.NDArray[np.int_] = field(repr=False)
    fitted: Fitted | None = field(repr=False)
    method: str = "ordinal"

    @property
    def loglik(self) -> float:
        """Log-likelihood at the maximum, NaN for a failed fit."""
        return math.nan if self.fitted is None else self.fitted.loglik

    @property
    def minus2_loglik(self) -> float:
        """Minus twice the log-likelihood (the deviance of ``polr``)."""
        return -2.0 * self.loglik

    @property
    def threshold_names(self) -> list[str]:
        """Names of the thresholds, ``low|high`` by the categories on both sides."""
        names = [f"{v:g}" if isinstance(v, float) else str(v) for v in self.levels]
        return [f"{a}|{b}" for a, b in itertools.pairwise(names)]

    @property
    def thresholds(self) -> pd.DataFrame:
        """Thresholds ``alpha_k`` with 95 % intervals."""
        return self._rows(self.threshold_names, np.eye(self.model.size)[: self.model.k], 0.95)

    @property
    def coefficients(self) -> pd.DataFrame:
        """Effects with 95 % intervals; positive means higher categories."""
        return self.coefficients_at(0.95)

    def coefficients_at(self, level: float) -> pd.DataFrame:
        """Return the effects with intervals of a given coverage.

        Effects of their own at each threshold are named ``term (low|high)``.
        """
        names = self.design.names
        terms = [names[i] for i in self.common]
        terms += [f"{names[i]} ({t})" for t in self.threshold_names for i in self.own]
        return self._rows(terms, np.eye(self.model.size)[self.model.k :], level)

    def _rows(self, terms: list[str], rows: Floats, level: float) -> pd.DataFrame:
        _marginal.check_level(level)
        if self.fitted is None:
            return _marginal.empty_table(["term"])
        table = pd.DataFrame(self._infer(rows, level), columns=list(_marginal.STATISTICS))
        table.insert(0, "term", pd.Series(terms, dtype=object))
        return table

    def _infer(self, rows: Floats, level: float) -> Floats:
        assert self.fitted is not None
        variance = np.einsum("ij,jk,ik->i", rows, self.fitted.covariance, rows)
        return _marginal.statistics(
            rows @ self.fitted.phi, np.sqrt(variance), np.full(len(rows), math.inf), level
        )

    def contrast(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return differences from `reference` on the scale of the linear predictor.

        The key ``threshold`` is there when a term has effects of its own at each threshold.
        """
        _marginal.check_level(level)
        factor = self.design.categorical(term)
        means = _marginal.margins(self.design, term)
        found = _marginal.differences(means, factor, term, reference)
        keys = found.keys
        by_threshold = bool(len(self.own))
        if self.fitted is None:
            empty = _marginal.empty_table(keys.columns)
            if by_threshold:
                empty.insert(2, "threshold", pd.Series(dtype=object))
            return empty
        can = self.design.estimable(found.rows)
        kept = np.where(can[:, None], found.rows[:, self.design.kept], np.nan)
        k, p, q = self.model.k, len(self.common), len(self.own)
        thresholds = range(k) if by_threshold else range(1)
        blocks = []
        for row in kept:
            for j in thresholds:
                out = np.zeros(self.model.size)
                out[k : k + p] = row[self.common]
                out[k + p + j * q : k + p + (j + 1) * q] = row[self.own]
                blocks.append(out)
        table = pd.DataFrame(
            self._infer(np.array(blocks), level), columns=list(_marginal.STATISTICS)
        )
        keys = keys.loc[keys.index.repeat(len(thresholds))].reset_index(drop=True)
        if by_threshold:
            labels = self.threshold_names * len(found.keys)
            keys.insert(2, "threshold", pd.Series(labels, dtype=object))
        return pd.concat([keys, table], axis=1)

    def odds_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return ratios of the odds of a higher category; ``se`` is that of the log.

        Raises
        ------
        UsageError
            If the link is not the logit, or `reference` is not a level of `term`.
        """
        if self.link != "logit":
            raise UsageError(
                f"The {self.link} link has no odds ratios.", remedy="Use link='logit'."
            )
        return exponentiate(self.contrast(term, reference=reference, level=level))

    def proportional_odds_test(self) -> pd.DataFrame:
        """Test that effects are common to the thresholds.

        Returns
        -------
        DataFrame
            ``test`` (``score``, with the observed information; ``score_expected``, which keeps
            its level better; ``likelihood_ratio``, as ``nominal_test`` of R's ordinal),
            ``term`` (``all`` or a term), ``df statistic p``. Empty for a failed fit and for two
            categories; a test that cannot be done is left out with a note.
        """
        if self.fitted is None or self.model.k < 2:
            return pd.DataFrame(columns=list(_proportionality.COLUMNS))
        terms: dict[str, list[int]] = {}
        for i, column in enumerate(self.common):
            term = self.design.terms[self.design.assign[self.design.kept[column]]].name
            terms.setdefault(term, []).append(i)
        table, notes = _proportionality.table(self.model, self.fitted, terms)
        self.notes.extend(note for note in notes if note not in self.notes)
        return table

    def probabilities(
        self, term: str, *, cumulative: bool = False, level: float = 0.95
    ) -> pd.DataFrame:
        """Return the probability of each category under each level of `term`, standardised.

        Every participant's probabilities are predicted under each level and averaged; the
        standard error is that of the delta method, covariates held fixed, and the interval
        symmetric on the logit scale.

        Parameters
        ----------
        term : str
            The treatment factor.
        cumulative : bool
            Give the probability of a category or a higher one instead.

        Returns
        -------
        DataFrame
            `term`, category, estimate, se, df, lower, upper.
        """
        _marginal.check_level(level)
        factor = self.design.categorical(term)
        if self.fitted is None:
            return _probabilities.empty(term)
        return _probabilities.by_level(self, factor, term, cumulative, level)

    def predict(self, data: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return each row's probability of each category; None takes the rows of the fit.

        Raises
        ------
        UsageError
            If a row of `data` misses a covariate, or holds a level that the fit has not seen.
        """
        if self.fitted is None:
            return pd.DataFrame(columns=list(self.levels))
        return _probabilities.predict(self, data)

    def counts(self, by: str | Sequence[str]) -> pd.DataFrame:
        """Return participants in each category by the levels of one or more columns."""
        names = list(_marginal.names_of(by))
        unknown = [name for name in names if name not in self.design.columns]
        if unknown:
            raise UsageError(f"{unknown} are not in the formula.", remedy="Use its columns.")
        frame = pd.DataFrame({name: self.design.columns[name] for name in names})
        codes = list(range(len(self.levels)))
        frame["category"] = pd.Categorical(self.model.y.tolist(), categories=codes)
        frame["n"] = self.model.weight
        keys = [*names, "category"]
        out = frame.groupby(keys, observed=False, sort=True)["n"].sum().reset_index()
        out["category"] = pd.Series([self.levels[int(i)] for i in out["category"]], dtype=object)
        return out.astype({"n": "int64"})

    def summary(self) -> str:
        """Return model, counts, effects and thresholds as text."""
        head = [f"ordinal: {self.formula}", self.variant]
        head.append(f"n {self.n}, missing {self.n_missing}")
        if self.failed:
            return "\n".join([*head, *self.notes, f"failed: {self.failed}"])
        head.append(f"log-likelihood {self.loglik:.6g}")
        return _marginal.stacked([*head, *self.notes], [self.coefficients, self.thresholds])

    def _repr_html_(self) -> str:
        return _marginal.html(self.summary(), self.coefficients)
