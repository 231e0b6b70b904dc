"""Yes/no outcomes: logistic regression and risks standardised over the participants.

`BinaryFit.standardised` predicts every participant's risk under each treatment, averages, and
compares (g-computation). Three variances, all as in the literature that guidance cites:

- ``ye``: unconditional, robust to a wrong model; counts the sampling of covariates.
  Ye T, Bannick M, Yi Y, Shao J (2023), Robust variance estimation for covariate-adjusted
  unconditional treatment effect in randomized clinical trials with binary outcomes,
  Stat Theory Relat Fields 7:159.
- ``ge``: delta method with the HC0 sandwich; covariates held fixed. Ge M et al. (2011),
  Covariate-adjusted difference in proportions from clinical trials using logistic regression
  and weighted risk differences, Drug Inf J 45:481.
- ``delta``: delta method with the model's own covariance, as the SAS macro %margins.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import build_design
from trialkit.methods._marginal import check_level, empty_table, statistics
from trialkit.methods._predictor import PredictorFit, alias_notes, exponentiate

Floats = npt.NDArray[np.float64]
Measure = Literal["difference", "ratio", "odds_ratio"]
Variance = Literal["ye", "ge", "delta"]
SEPARATION = "complete or quasi-complete separation: no maximum-likelihood estimate exists"


@dataclass
class BinaryFit(PredictorFit):
    """A logistic regression."""

    loglik: float = float("nan")

    def odds_ratio(self, term: str, *, reference: object, level: float = 0.95) -> pd.DataFrame:
        """Return odds ratios given the covariates; ``se`` is that of the log odds ratio."""
        return exponentiate(self.contrast(term, reference=reference, level=level))

    def risks(self, term: str, *, variance: Variance = "ye", level: float = 0.95) -> pd.DataFrame:
        """Return the standardised risk of each level of `term`."""
        check_level(level)
        levels = list(self.design.categorical(term).levels)
        if self.failed:
            return empty_table([term])
        risk, cov = self._standardise(term, variance)
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
            Ratios have intervals symmetric on the log scale, and ``se`` of the log.
        variance : {"ye", "ge", "delta"}
            See the module.

        Returns
        -------
        DataFrame
            `term`, reference, estimate, se, df, statistic, p, lower, upper.
        """
        check_level(level)
        levels = list(self.design.categorical(term).levels)
        if reference not in levels:
            raise UsageError(
                f"{reference!r} is not a level of {term}.",
                remedy=f"Levels are: {', '.join(map(repr, levels))}.",
            )
        if measure not in ("difference", "ratio", "odds_ratio"):
            raise UsageError(
                f"no measure {measure!r}.", remedy="Use difference, ratio or odds_ratio."
            )
        if self.failed:
            return empty_table([term, "reference"])
        risk, cov = self._standardise(term, variance)
        value, slope = _scale(risk, measure)
        base = levels.index(reference)
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

    def _standardise(self, term: str, variance: Variance) -> tuple[Floats, Floats]:
        """Return standardised risks, shape (k,), and their covariance, shape (k, k)."""
        if variance not in ("ye", "ge", "delta"):
            raise UsageError(f"no variance {variance!r}.", remedy="Use ye, ge or delta.")
        factor = self.design.categorical(term)
        name = factor.variables[0]
        levels = list(factor.levels)
        predicted, gradients = [], []
        for level in levels:
            columns = dict(self.design.columns)
            columns[name] = np.full(self.n, level, dtype=object)
            x = self.design.matrix(columns)[:, self.design.kept]
            p = _expit(x @ self.beta)
            predicted.append(p)
            gradients.append((p * (1.0 - p)) @ x / self.n)
        mu = np.column_stack(predicted)
        if variance == "ye":
            arm = self.design.columns[name]
            return mu.mean(axis=0), ye_covariance(self.design.y, mu, [arm == v for v in levels])
        cov = self.covariance if variance == "delta" else self._hc0()
        jacobian = np.vstack(gradients)
        return mu.mean(axis=0), jacobian @ cov @ jacobian.T

    def _hc0(self) -> Floats:
        residual = self.design.y - _expit(self.design.x @ self.beta)
        meat = (self.design.x * residual[:, None] ** 2).T @ self.design.x
        return np.asarray(self.covariance @ meat @ self.covariance)


def ye_covariance(y: Floats, mu: Floats, arms: list[npt.NDArray[np.bool_]]) -> Floats:
    """Return the unconditional covariance of standardised means (Ye et al. 2023, eq. 5-6).

    With ``a`` an arm, ``pi_a`` its share and ``mu_a`` the predictions under it,
    ``n V_aa = (Var_a(y) - 2 Cov_a(y, mu_a) + Var(mu_a))/pi_a + 2 Cov_a(y, mu_a) - Var(mu_a)`` and
    ``n V_ab = Cov_a(y, mu_b) + Cov_b(y, mu_a) - Cov(mu_a, mu_b)``; ``Cov_a`` is within arm a,
    ``Cov`` over everybody (the predictions are known for everybody).

    Parameters
    ----------
    y : ndarray, shape (n,)
    mu : ndarray, shape (n, k)
    arms : list of k boolean arrays, shape (n,)
    """
    n, k = mu.shape
    within = np.empty((k, k))  # [a, b] = Cov_a(y, mu_b)
    spread = np.empty(k)
    overall = np.cov(mu, rowvar=False)
    if any(rows.sum() < 2 for rows in arms):
        return np.full((k, k), np.nan)  # no variance within an arm of one
    for a, rows in enumerate(arms):
        within[a] = [np.cov(y[rows], mu[rows, b])[0, 1] for b in range(k)]
        residual = np.var(y[rows], ddof=1) - 2.0 * within[a, a] + overall[a, a]
        spread[a] = residual * n / rows.sum()
    out = within + within.T - overall
    out[np.diag_indices(k)] += spread
    return np.asarray(out / n)


def binary(formula: str, data: pd.DataFrame) -> BinaryFit:
    """Fit a logistic regression by maximum likelihood.

    Parameters
    ----------
    formula : str
        ``RESPONSE ~ TERMS`` with an outcome of 0 and 1 (or False and True).
    data : DataFrame
        One row a participant; rows with a missing value are dropped and counted.

    Raises
    ------
    UsageError
        For unknown columns, or an outcome that is not 0 or 1.
    """
    design = build_design(formula, data)
    if not np.isin(design.y, (0.0, 1.0)).all():
        raise UsageError(
            f"{design.response} holds values other than 0 and 1.",
            remedy="Give the response as 0 and 1, or `response:` with a cut-off in the plan.",
        )
    p = design.x.shape[1]
    fit = BinaryFit(
        method="binary",
        variant="logistic regression by maximum likelihood, expected information, normal quantiles",
        design=design,
        beta=np.full(p, np.nan),
        covariance=np.full((p, p), np.nan),
        n=len(design.y),
        n_missing=design.n_missing,
        notes=alias_notes(design),
    )
    fit.failed = _maximise(fit)
    fit.converged = fit.failed is None
    return fit


def _maximise(fit: BinaryFit) -> str | None:
    import statsmodels.api as sm

    x, y = fit.design.x, fit.design.y
    if len(np.unique(y)) < 2:
        return f"every participant has the response {int(y[0])}"
    if len(y) <= x.shape[1]:
        return f"{len(y)} rows do not suffice for {x.shape[1]} coefficients"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found: Any = sm.GLM(y, x, family=sm.families.Binomial()).fit(maxiter=100, tol=1e-12)
        except (np.linalg.LinAlgError, ValueError) as error:
            return f"the likelihood could not be maximised ({error})"
    beta = np.asarray(found.params, dtype=np.float64)
    suspicious = not found.converged or not np.isfinite(beta).all()
    if (suspicious or np.abs(x @ beta).max() > 8.0) and separated(x, y):
        return SEPARATION
    if suspicious:
        return "the likelihood could not be maximised"
    fit.beta = beta
    fit.covariance = np.asarray(found.normalized_cov_params, dtype=np.float64)
    fit.loglik = float(found.llf)
    return None


def separated(x: Floats, y: Floats) -> bool:
    """Tell whether a hyperplane separates the outcomes, completely or nearly.

    A direction b with ``(2y - 1) x'b >= 0`` in all rows and ``> 0`` in one exists exactly when
    no maximum does; found by linear programming (Konis K, 2007, thesis, Oxford).
    """
    from scipy.optimize import linprog

    signed = (2.0 * y - 1.0)[:, None] * x / np.maximum(np.abs(x).max(axis=0), 1e-300)
    found = linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(y)), bounds=(-1.0, 1.0), method="highs"
    )
    return bool(found.status == 0 and -found.fun > 1e-6)


def _expit(eta: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(eta), dtype=np.float64)


def _scale(risk: Floats, measure: Measure) -> tuple[Floats, Floats]:
    """Return risks on the scale of the comparison, and the slope of the transformation."""
    if measure == "difference":
        return risk, np.ones_like(risk)
    if measure == "ratio":
        return np.log(risk), 1.0 / risk
    return np.log(risk / (1.0 - risk)), 1.0 / (risk * (1.0 - risk))


def _table(estimate: Floats, se: Floats, level: float) -> pd.DataFrame:
    numbers = statistics(estimate, se, np.full(len(estimate), math.inf), level)
    return pd.DataFrame(numbers, columns=list(empty_table([]).columns))
