"""A fitted logistic regression: coefficients, odds ratios and standardised risks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._columns import place_of
from trialkit.methods._marginal import (
    Margins,
    check_level,
    empty_table,
    margins,
    names_of,
    statistics,
    tabulate,
)
from trialkit.methods._predictor import PredictorFit, exponentiate
from trialkit.methods.categorical import _logistic, _standardise
from trialkit.methods.categorical._firth import FirthFit
from trialkit.methods.categorical._logistic import Maximum
from trialkit.methods.categorical._standardise import MEASURES, VARIANCES, Measure, Variance

Floats = npt.NDArray[np.float64]


@dataclass
class BinaryFit(PredictorFit):
    """A logistic regression.

    Beside the fields of every fit: ``loglik`` (without the penalty), ``firth`` (the penalised
    likelihood, or None), ``strata`` (the columns conditioned on).
    """

    loglik: float = float("nan")
    firth: FirthFit | None = field(default=None, repr=False)
    strata: tuple[str, ...] = ()

    def coefficients_at(self, level: float) -> pd.DataFrame:
        """Return the coefficients with intervals of a given coverage.

        After Firth's method the statistic is the signed root of the penalised likelihood
        ratio, whose square has one degree of freedom, and the interval is that of the profile.
        """
        if self.firth is None:
            return super().coefficients_at(level)
        keys = pd.DataFrame({"term": pd.Series(self.design.names, dtype=object)})
        return self._profiles(keys, np.eye(len(self.beta)), level)

    def contrast(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return differences of log odds from those of `reference`."""
        if self.firth is None:
            return super().contrast(term, reference=reference, level=level)
        return self._functions(self._differences(term, reference), level)

    def means(self, term: str | Sequence[str], *, level: float = 0.95) -> pd.DataFrame:
        """Return LS-means on the log odds scale (equal weights)."""
        if self.firth is None:
            return super().means(term, level=level)
        return self._functions(margins(self.design, term), level)

    def odds_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return odds ratios given the covariates; ``se`` is that of the log odds ratio."""
        return exponentiate(self.contrast(term, reference=reference, level=level))

    def risks(
        self,
        term: str,
        *,
        variance: Variance = "ye",
        strata: str | Sequence[str] | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the standardised risk of each level of `term`; see :meth:`standardised`."""
        check_level(level)
        levels = list(self.design.categorical(term).levels)
        found = self._standardise(term, variance, strata)
        if found is None:
            return empty_table([term]).drop(columns=["statistic", "p"])
        risk, cov = found
        se = np.sqrt(np.diagonal(cov))
        table = _table(risk, se, level).drop(columns=["statistic", "p"])
        table.insert(0, term, pd.Series(levels, dtype=object))
        return table

    def standardised(
        self,
        term: str,
        *,
        reference: object,
        measure: Measure = "difference",
        variance: Variance = "ye",
        strata: str | Sequence[str] | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Compare standardised risks with those of `reference`.

        Parameters
        ----------
        term : str
            The treatment factor.
        reference
            Its reference level.
        measure : {"difference", "ratio", "odds_ratio"}
            Ratios have intervals symmetric on the log scale, and ``se`` of the log. The odds
            ratio is marginal: of the standardised risks, not given the covariates.
        variance : {"ye", "ge", "ge_hc1", "ge_hc3", "delta"}
            See :mod:`trialkit.methods.categorical._standardise`.
        strata : str or sequence of str, optional
            Columns by which permuted blocks were stratified; they must be in the formula.
            With ``ye`` only. None takes the randomisation as simple.

        Returns
        -------
        DataFrame
            `term`, reference, estimate, se, df, statistic, p, lower, upper. Empty when the
            fit failed, or when an arm has one response only and the variance needs both
            (possible after Firth's method; a note says so).
        """
        check_level(level)
        levels = list(self.design.categorical(term).levels)
        base = place_of(reference, levels, term)
        if measure not in MEASURES:
            raise UsageError(
                f"no measure {measure!r}.", remedy="Use difference, ratio or odds_ratio."
            )
        found = self._standardise(term, variance, strata)
        if found is None:
            return empty_table([term, "reference"])
        risk, cov = found
        value, slope = _standardise.on_scale(risk, measure)
        others = [i for i in range(len(levels)) if i != base]
        rows = np.zeros((len(others), len(levels)))
        rows[range(len(others)), others] = 1.0
        rows[:, base] = -1.0
        moved = cov * np.outer(slope, slope)
        se = np.sqrt(np.einsum("ij,jk,ik->i", rows, moved, rows))
        table = _table(rows @ value, se, level)
        table.insert(0, term, pd.Series([levels[i] for i in others], dtype=object))
        table.insert(1, "reference", pd.Series([reference] * len(others), dtype=object))
        return table if measure == "difference" else exponentiate(table)

    def _standardise(
        self, term: str, variance: str, strata: str | Sequence[str] | None
    ) -> tuple[Floats, Floats] | None:
        """Return standardised risks, shape (k,), and their covariance; None without numbers."""
        if variance not in VARIANCES:
            raise UsageError(f"no variance {variance!r}.", remedy=f"Use {', '.join(VARIANCES)}.")
        if self.strata:
            raise UsageError(
                "A conditional fit has no risks to standardise.",
                remedy="Put the strata into the formula instead of `strata=`.",
            )
        blocks = self._blocks(variance, names_of(strata))
        if self.failed:
            return None
        factor = self.design.categorical(term)
        name = factor.variables[0]
        levels = list(factor.levels)
        mu, jacobian = _standardise.predictions(self.design, self.beta, name, levels)
        y = self.design.y
        if variance == "ye":
            arm = self.design.columns[name]
            arms = [arm == level for level in levels]
            if self._one_sided(term, levels, arms):
                return None
            return mu.mean(axis=0), _standardise.ye_covariance(y, mu, arms, blocks)
        cov = self.covariance
        if variance != "delta":
            kind = variance.removeprefix("ge_") if variance != "ge" else "hc0"
            fitted = Maximum(self.beta, self.covariance, self.loglik)
            cov = _logistic.sandwich(self.design.x, y, fitted, kind)
        return mu.mean(axis=0), jacobian @ cov @ jacobian.T

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _one_sided(
        self, term: str, levels: list[object], arms: list[npt.NDArray[np.bool_]]
    ) -> bool:
        """Tell, and note, that an arm is too small or has one response only."""
        for level, rows in zip(levels, arms, strict=True):
            own = self.design.y[rows]
            if len(own) < 2 or own.min() == own.max():
                text = (
                    f"no Ye variance: {term} {level} has no spread of responses; "
                    "variance='delta' uses the model's covariance instead"
                )
                self._note(text)
                return True
        return False

    def _blocks(self, variance: str, strata: tuple[str, ...]) -> npt.NDArray[np.intp] | None:
        """Return the stratum of each participant as a number."""
        if not strata:
            return None
        if variance != "ye":
            raise UsageError(
                f"The variance {variance!r} takes no strata of the randomisation.",
                remedy="Use variance='ye', or leave strata out.",
            )
        missing = [name for name in strata if name not in self.design.columns]
        if missing:
            raise UsageError(
                f"The strata {missing} are not in the formula {self.design.formula!r}.",
                remedy="The analysis must contain the strata of the randomisation: add them.",
            )
        return strata_numbers({name: self.design.columns[name] for name in strata})

    def _functions(self, found: Margins, level: float) -> pd.DataFrame:
        """Return profile rows of linear functions; those that cannot be had hold NaN."""
        if self.failed or self.firth is None:
            return tabulate(self.design, found, None, level)
        check_level(level)
        can = self.design.estimable(found.rows)
        rows = np.where(can[:, None], found.rows[:, self.design.kept], np.nan)
        return self._profiles(found.keys, rows, level)

    def _profiles(self, keys: pd.DataFrame, rows: Floats, level: float) -> pd.DataFrame:
        check_level(level)
        if self.failed or self.firth is None:
            return empty_table(keys.columns)
        numbers = np.full((len(rows), 7), np.nan)
        for i, row in enumerate(rows):
            if np.isfinite(row).all() and row.any():
                estimate = float(row @ self.beta)
                se = math.sqrt(float(row @ self.covariance @ row))
                root, lower, upper = self.firth.profile(row, level)
                if not math.isfinite(root + lower + upper):
                    self._note("a profile of the penalised likelihood could not be followed")
                    continue
                p = math.erfc(abs(root) / math.sqrt(2.0))
                numbers[i] = (estimate, se, math.inf, root, p, lower, upper)
        columns = list(empty_table([]).columns)
        return pd.concat([keys, pd.DataFrame(numbers, columns=columns)], axis=1)


def strata_numbers(columns: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.intp]:
    """Number the combinations of the values of some columns, shape (n,)."""
    frame = pd.DataFrame(columns)
    found = frame.groupby(list(frame), sort=True).ngroup().to_numpy()
    return found.astype(np.intp)


def _table(estimate: Floats, se: Floats, level: float) -> pd.DataFrame:
    numbers = statistics(estimate, se, np.full(len(estimate), math.inf), level)
    return pd.DataFrame(numbers, columns=list(empty_table([]).columns))
