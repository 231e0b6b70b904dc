"""What count models share: rate ratios, rates and rate differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._columns import place_of
from trialkit.methods._design import Design
from trialkit.methods._marginal import (
    STATISTICS,
    check_level,
    differences,
    empty_table,
    margins,
    names_of,
    statistics,
    tabulate,
)
from trialkit.methods._predictor import PredictorFit, exponentiate
from trialkit.methods.counts._newton import Maximum
from trialkit.methods.counts._separation import leaving

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Variance = Literal["unconditional", "robust", "delta"]

VARIANCES = {
    "unconditional": "unconditional variance (influence functions; covariates sampled)",
    "robust": "delta method, sandwich covariance, covariates fixed",
    "delta": "delta method, the fit's own covariance, covariates fixed",
}
PARTICIPANTS = "standardised: mean of the rows' predicted rates"
COVARIATES = "on the log scale at average covariates"


@dataclass
class CountFit(PredictorFit):
    """A log-linear model of counts.

    Parameters
    ----------
    maximum : Maximum or None
        Where the likelihood is largest; None if failed.
    everyone : Design or None
        The design of all complete rows; ``design`` lacks those whose rate is zero in the limit.
    rising : ndarray or None
        The combination of the columns of ``everyone`` that sends those rates to zero.
    clusters : ndarray or None
        For each row of the fit the number of its participant, where rows are not independent.
    lost : dict
        By variable, the levels without an event that left with those rows.
    """

    maximum: Maximum | None = field(default=None, repr=False)
    everyone: Design | None = field(default=None, repr=False)
    rising: Floats | None = field(default=None, repr=False)
    clusters: Ints | None = field(default=None, repr=False)
    lost: dict[str, list[Any]] = field(default_factory=dict)

    def means(
        self, term: str | Sequence[str], *, weights: str = "equal", level: float = 0.95
    ) -> pd.DataFrame:
        """Return LS-means of the log rate a unit of exposure.

        Parameters
        ----------
        term : str or sequence of str
        weights : str
            ``equal``, ``observed`` (SAS's OM) or ``counterfactual``: of the log rates.
        """
        check_level(level)
        names = names_of(term)
        if self.failed:
            return empty_table(names)
        if len(names) == 1 and names[0] not in self._factors():
            return self._inestimable(names[0], None)
        table = tabulate(self.design, margins(self.design, term, None, weights), self._infer, level)
        return self._with_lost(table, names, None)

    def contrast(
        self, term: str, *, reference: object, weights: str = "equal", level: float = 0.95
    ) -> pd.DataFrame:
        """Return differences of log rates from `reference`; see :meth:`means`."""
        check_level(level)
        factor = self._original.categorical(term)
        place_of(reference, factor.levels, term)
        if self.failed:
            return empty_table([term, "reference"])
        if term not in self._factors() or reference in self.lost.get(factor.variables[0], []):
            return self._inestimable(term, reference)
        found = margins(self.design, term, None, weights)
        rows = differences(found, self.design.categorical(term), term, reference)
        return self._with_lost(tabulate(self.design, rows, self._infer, level), (term,), reference)

    def rate_ratio(
        self, term: str, *, reference: object, weights: str = "equal", level: float = 0.95
    ) -> pd.DataFrame:
        """Return rate ratios against `reference` given the covariates.

        Parameters
        ----------
        term : str
            The treatment factor.
        reference
            Its reference level.
        weights : str
            Of the other factors, where `term` interacts with them; see :meth:`means`.

        Returns
        -------
        DataFrame
            `term`, reference, estimate, se (of the log), df, statistic, p, lower, upper; a
            level without an event gives a row without numbers.
        """
        table = self.contrast(term, reference=reference, weights=weights, level=level)
        return exponentiate(table)

    def rates(self, term: str, *, weights: str = "equal", level: float = 0.95) -> pd.DataFrame:
        """Return rates a unit of exposure at average covariates, averaged on the log scale.

        ``se`` is that of the log rate. `rate` gives the mean rate of the participants.
        """
        table = exponentiate(self.means(term, weights=weights, level=level))
        return table.drop(columns=["statistic", "p"])

    def rate(
        self,
        term: str,
        *,
        average: Literal["participants", "covariates"] = "participants",
        variance: Variance = "unconditional",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the rate a unit of exposure of each level of `term`.

        Parameters
        ----------
        term : str
        average : {"participants", "covariates"}
            ``participants``: everybody's rate predicted under the level, averaged (standardised
            or marginal rate). ``covariates``: the rate at average covariates, as `rates`.
        variance : {"unconditional", "robust", "delta"}
            Of standardised rates; see :meth:`rate_difference`.

        Returns
        -------
        DataFrame
            `term`, estimate, se (of the log rate), df, lower, upper; ``attrs["variant"]``
            says in words what was averaged.
        """
        if average not in ("participants", "covariates"):
            raise UsageError(
                f"no average {average!r}.", remedy="Use 'participants' or 'covariates'."
            )
        if average == "covariates":
            table = self.rates(term, level=level)
            table.attrs["variant"] = COVARIATES
            return table
        levels, found, cov = self._standardised(term, variance, level)
        with np.errstate(all="ignore"):
            se = np.sqrt(np.diagonal(cov)) / found
            table = _table({term: levels}, np.log(found), se, level)
        table = exponentiate(table).drop(columns=["statistic", "p"])
        table.attrs["variant"] = f"{PARTICIPANTS}; {VARIANCES[variance]}"
        return table

    def rate_difference(
        self,
        term: str,
        *,
        reference: object,
        variance: Variance = "unconditional",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return differences of standardised rates a unit of exposure.

        Everybody's rate is predicted under each level and averaged, each row with the same
        weight whatever its exposure.

        Parameters
        ----------
        term : str
            The treatment factor.
        reference
            Its reference level.
        variance : {"unconditional", "robust", "delta"}
            ``unconditional``: from each participant's influence function, which holds the
            spread of the predictions (covariates are sampled) and the sandwich of the
            coefficients; for the mean of the trial's population, as Ye et al. (2023, Stat Theory
            Relat Fields 7:159) have it for risks, here as an M-estimator (Stefanski and Boos
            2002, Am Stat 56:29) so that unequal exposure is allowed. ``robust``: delta method
            with the sandwich, covariates held fixed. ``delta``: with the fit's covariance.

        Returns
        -------
        DataFrame
            `term`, reference, estimate, se, df, statistic, p, lower, upper.
        """
        levels, found, cov = self._standardised(term, variance, level)
        known = self._original.categorical(term).levels
        place_of(reference, known, term)
        if not levels:
            return empty_table([term, "reference"])
        base = levels.index(reference)
        others = [i for i in range(len(levels)) if i != base]
        variances = np.diagonal(cov)[others] + cov[base, base] - 2.0 * cov[others, base]
        keys = {term: [levels[i] for i in others], "reference": [reference] * len(others)}
        table = _table(keys, found[others] - found[base], np.sqrt(variances), level)
        table.attrs["variant"] = f"{PARTICIPANTS}; {VARIANCES[variance]}"
        return table

    @property
    def _original(self) -> Design:
        return self.everyone if self.everyone is not None else self.design

    def _factors(self) -> set[str]:
        """Return the names by which the fit's factors are known."""
        found = [f for f in self.design.factors.values() if f.categorical]
        return {f.expression for f in found} | {f.variables[0] for f in found}

    def _inestimable(self, term: str, reference: object) -> pd.DataFrame:
        """Return rows without numbers for the levels of a factor that left the model."""
        levels = [v for v in self._original.categorical(term).levels if v != reference]
        keys = {term: levels}
        if reference is not None:
            keys["reference"] = [reference] * len(levels)
        return _table(keys, np.full(len(levels), np.nan), np.full(len(levels), np.nan), 0.95)

    def _with_lost(
        self, table: pd.DataFrame, names: tuple[str, ...], reference: object
    ) -> pd.DataFrame:
        """Add rows without numbers for levels without an event, in the order of the levels."""
        if len(names) != 1 or not self.lost.get(self._original.categorical(names[0]).variables[0]):
            return table
        levels = self._original.categorical(names[0]).levels
        bare = self._inestimable(names[0], reference)
        place = {level: i for i, level in enumerate(table[names[0]])}
        rows = [
            table.iloc[[place[v]]] if v in place else bare[bare[names[0]] == v]
            for v in levels
            if v != reference
        ]
        out = pd.concat(rows, ignore_index=True)
        out.attrs.update(table.attrs)
        return out

    def _standardised(
        self, term: str, variance: str, level: float
    ) -> tuple[list[Any], Floats, Floats]:
        """Return the levels, their standardised rates, and the rates' covariance."""
        check_level(level)
        if variance not in VARIANCES:
            raise UsageError(
                f"no variance {variance!r}.", remedy=f"Use one of: {', '.join(VARIANCES)}."
            )
        factor = self._original.categorical(term)
        if self.failed or self.maximum is None:
            return [], np.empty(0), np.empty((0, 0))
        predicted, slopes = [], []
        for value in factor.levels:
            rates, slope = self._predict(factor.variables[0], value)
            predicted.append(rates)
            slopes.append(slope)
        every, jacobian = np.column_stack(predicted), np.vstack(slopes)
        found = every.mean(axis=0)
        if variance == "delta":
            cov = jacobian @ self.covariance @ jacobian.T
        else:
            pull = self._influence() @ jacobian.T
            if variance == "unconditional":
                spread = (every - found) / len(every)
                kept = np.isin(self._original.rows, self.design.rows, assume_unique=True)
                spread[kept] += pull
                owner = self._owners(kept)
                pull = spread if owner is None else sums(spread, owner)
            elif self.clusters is not None:
                pull = sums(pull, self.clusters)
            cov = pull.T @ pull
        gone = ~(np.diagonal(cov) > 0.0) | ~(found > 0.0)
        found[gone] = np.nan
        return list(factor.levels), found, cov

    def _owners(self, kept: npt.NDArray[np.bool_]) -> Ints | None:
        """Return the participant of each row of everyone, rows that left included."""
        if self.clusters is None:
            return None
        owner = np.empty(len(kept), dtype=np.intp)
        owner[kept] = self.clusters
        owner[~kept] = self.clusters.max() + 1 + np.arange(int((~kept).sum()))
        return owner

    def _predict(self, name: str, value: Any) -> tuple[Floats, Floats]:
        """Return everybody's rate at a level, and the mean's slope in the coefficients."""
        original = self._original
        columns = dict(original.columns)
        columns[name] = np.full(len(original.rows), value, dtype=object)
        rates = np.zeros(len(original.rows))
        alive = np.ones(len(rates), dtype=bool)
        if self.rising is not None:
            along = original.matrix(columns)[:, original.kept] @ self.rising
            alive = ~leaving(along)
            rates[along > 1e-5] = np.nan
            if not alive.any():
                return rates, np.zeros(len(self.beta))
        full = self.design.matrix({n: v[alive] for n, v in columns.items()})
        x = full[:, self.design.kept]
        with np.errstate(over="ignore"):
            rates[alive] += np.exp(x @ self.beta)
        if not self.design.estimable(full).all():
            rates[:] = np.nan
        return rates, (rates[alive] @ x) / len(rates)

    def _influence(self) -> Floats:
        """Return each row's influence on the coefficients, shape (n, p)."""
        assert self.maximum is not None
        moved = np.linalg.solve(self.maximum.information, self.maximum.scores.T)
        return np.asarray(moved[: len(self.beta)].T)


def sums(values: Floats, owner: Ints) -> Floats:
    """Add the rows of each owner."""
    out = np.zeros((int(owner.max()) + 1, values.shape[1]))
    np.add.at(out, owner, values)
    return out


def _table(keys: dict[str, list[Any]], estimate: Floats, se: Floats, level: float) -> pd.DataFrame:
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in keys.items()})
    numbers = statistics(estimate, se, np.full(len(estimate), math.inf), level)
    numbers[~np.isfinite(estimate)] = np.nan
    return pd.concat([table, pd.DataFrame(numbers, columns=list(STATISTICS))], axis=1)
