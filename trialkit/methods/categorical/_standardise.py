"""Risks standardised over the participants, and their covariances.

Every participant's risk is predicted under each treatment, and averaged (g-computation).

- ``ye``: unconditional, robust to a wrong model; counts the sampling of covariates.
  Ye T, Bannick M, Yi Y, Shao J (2023), Robust variance estimation for covariate-adjusted
  unconditional treatment effect in randomized clinical trials with binary outcomes,
  Stat Theory Relat Fields 7:159.
- ``ge``: delta method with the HC0 sandwich; covariates held fixed. Ge M et al. (2011),
  Covariate-adjusted difference in proportions from clinical trials using logistic regression
  and weighted risk differences, Drug Inf J 45:481. ``ge_hc1`` and ``ge_hc3`` take the HC1 or
  HC3 sandwich.
- ``delta``: delta method with the model's own covariance, as the SAS macro %margins.

Under randomisation in permuted blocks within strata, ``ye`` may take the strata in: the
residual means of the strata no longer vary, which lowers the variance.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Masks = list[npt.NDArray[np.bool_]]
Measure = Literal["difference", "ratio", "odds_ratio"]
Variance = Literal["ye", "ge", "ge_hc1", "ge_hc3", "delta"]

MEASURES = {
    "difference": "standardised risk difference",
    "ratio": "standardised risk ratio",
    "odds_ratio": "standardised (marginal) odds ratio",
}
VARIANCES = {
    "ye": "Ye variance (unconditional)",
    "ge": "Ge variance (HC0, covariates held fixed)",
    "ge_hc1": "Ge variance (HC1, covariates held fixed)",
    "ge_hc3": "Ge variance (HC3, covariates held fixed)",
    "delta": "delta method with the model's covariance",
}


def ye_covariance(y: Floats, mu: Floats, arms: Masks, strata: Any = None) -> Floats:
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
    strata : ndarray of int, shape (n,), optional
        Strata of a randomisation in permuted blocks; see :func:`block_correction`.
    """
    n, k = mu.shape
    within = np.empty((k, k))  # [a, b] = Cov_a(y, mu_b)
    spread = np.empty(k)
    overall = np.atleast_2d(np.cov(mu, rowvar=False))
    if any(rows.sum() < 2 for rows in arms):
        return np.full((k, k), np.nan)  # no variance within an arm of one
    for a, rows in enumerate(arms):
        gap = y[rows] - y[rows].mean()
        within[a] = gap @ mu[rows] / (rows.sum() - 1)
        residual = gap @ gap / (rows.sum() - 1) - 2.0 * within[a, a] + overall[a, a]
        spread[a] = residual * n / rows.sum()
    out = within + within.T - overall
    out[np.diag_indices(k)] += spread
    if strata is not None:
        out = out - block_correction(y, mu, arms, strata)
    return np.asarray(out / n)


def block_correction(y: Floats, mu: Floats, arms: Masks, strata: Any) -> Floats:
    """Return what permuted blocks within strata take off ``n V``, shape (k, k).

    ``E[R(Z) {diag(pi) - pi pi'} R(Z)]`` with ``R(z)`` the diagonal matrix of the mean residuals
    of an arm in stratum z, each divided by the arm's share. Bannick MS, Shao J, Liu J, Du Y,
    Yi Y, Ye T (2024), A general form of covariate adjustment in randomized clinical trials,
    arXiv:2306.10213, where ``Omega(Z) = 0`` for permuted blocks.
    """
    n, k = mu.shape
    share = np.array([rows.mean() for rows in arms])
    omega = np.diag(share) - np.outer(share, share)
    total = np.zeros((k, k))
    for stratum in np.unique(strata):
        here = strata == stratum
        scaled = np.zeros(k)
        for a, rows in enumerate(arms):
            both = here & rows
            if both.any():
                scaled[a] = (y[both] - mu[both, a]).mean() / share[a]
        total += here.sum() / n * np.outer(scaled, scaled) * omega
    return total


def predictions(design: Any, beta: Floats, name: str, levels: list[Any]) -> tuple[Floats, Floats]:
    """Return everybody's risk under each level, shape (n, k), and the gradients, (k, p)."""
    n = len(design.y)
    risks, gradients = [], []
    for level in levels:
        columns = dict(design.columns)
        columns[name] = np.full(n, level, dtype=object)
        x = design.matrix(columns)[:, design.kept]
        p = np.asarray(special.expit(x @ beta), dtype=np.float64)
        risks.append(p)
        gradients.append((p * (1.0 - p)) @ x / n)
    return np.column_stack(risks), np.vstack(gradients)


def on_scale(risk: Floats, measure: str) -> tuple[Floats, Floats]:
    """Return risks on the scale of the comparison, and the slope of the transformation."""
    if measure == "difference":
        return risk, np.ones_like(risk)
    if measure == "ratio":
        return np.log(risk), 1.0 / risk
    return np.log(risk / (1.0 - risk)), 1.0 / (risk * (1.0 - risk))
