r"""Unconditional variance of standardised means, by the scheme of randomisation.

With arm a of share :math:`\pi_a`, outcome :math:`Y` and predictions :math:`\mu_a` under the arm,
the covariance of :math:`\sqrt n\,\hat\theta` under simple randomisation is

.. math:: V_{aa} = \mathrm{Var}_a(Y - \mu_a)/\pi_a + 2\,\mathrm{Cov}_a(Y, \mu_a)
          - \mathrm{Var}(\mu_a), \qquad
          V_{ab} = \mathrm{Cov}_a(Y, \mu_b) + \mathrm{Cov}_b(Y, \mu_a)
          - \mathrm{Cov}(\mu_a, \mu_b)

(:math:`\mathrm{Cov}_a` within the arm, :math:`\mathrm{Cov}` over everybody). The residual variance
is taken apart, :math:`\mathrm{Var}_a(Y) - 2\mathrm{Cov}_a(Y,\mu_a) + \mathrm{Var}(\mu_a)`, since
predictions are known for everybody. Stratified permuted blocks fix the shares within a stratum Z,
which takes off

.. math:: E\big[R(Z)\,\{\mathrm{diag}(\pi) - \pi\pi'\}\,R(Z)\big], \qquad
          R(Z) = \mathrm{diag}\{E_a(Y - \mu_a \mid Z)/\pi_a\}

Sources: Ye T, Shao J, Yi Y, Zhao Q (2023), Toward better practice of covariate adjustment in
analyzing randomized clinical trials, J Am Stat Assoc 118:2370 (linear models, ANHECOVA); Bannick
M, Shao J, Liu J, Du Y, Yi Y, Ye T (2025), A general form of covariate adjustment in clinical
trials under covariate-adaptive randomization, Biometrika 112 (doi 10.1093/biomet/asaf029).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def unconditional_covariance(
    y: Floats, mu: Floats, arm: Ints, stratum: Ints | None = None
) -> Floats:
    """Return the covariance of standardised means.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Outcome.
    mu : ndarray, shape (n, k)
        Everybody's prediction under each arm.
    arm : ndarray of int, shape (n,)
        Own arm, 0 to k - 1; each with two participants at least.
    stratum : ndarray of int, shape (n,), optional
        Stratum of the permuted blocks; None for simple randomisation.

    Returns
    -------
    ndarray, shape (k, k)
    """
    n, k = mu.shape
    share = np.bincount(arm, minlength=k) / n
    centred = mu - mu.mean(axis=0)
    overall = centred.T @ centred / (n - 1.0)
    within, spread = np.empty((k, k)), np.empty(k)
    for a in range(k):
        own = arm == a
        deviation = y[own] - y[own].mean()
        within[a] = deviation @ (mu[own] - mu[own].mean(axis=0)) / (own.sum() - 1.0)
        variance = deviation @ deviation / (own.sum() - 1.0)
        spread[a] = (variance - 2.0 * within[a, a] + overall[a, a]) / share[a]
    out = within + within.T - overall
    out[np.diag_indices(k)] += spread
    if stratum is not None:
        out -= block_gain(residuals(y, mu, arm), arm, stratum, share)
    return np.asarray(out / n, dtype=np.float64)


def residuals(y: Floats, mu: Floats, arm: Ints) -> Floats:
    """Return the outcome less the prediction under the own arm."""
    return np.asarray(y - mu[np.arange(len(y)), arm], dtype=np.float64)


def cell_means(residual: Floats, arm: Ints, stratum: Ints, arms: int) -> Floats:
    """Return the mean residual of each stratum and arm, zero in an empty cell."""
    cell = stratum * arms + arm
    size = (int(stratum.max()) + 1) * arms
    number = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=residual, minlength=size)
    return (total / np.maximum(number, 1)).reshape(-1, arms)


def block_gain(residual: Floats, arm: Ints, stratum: Ints, share: Floats) -> Floats:
    """Return what stratified permuted blocks take off n times the covariance."""
    weight = np.bincount(stratum) / len(stratum)
    pull = cell_means(residual, arm, stratum, len(share)) / share
    moment = (pull * weight[:, None]).T @ pull
    return np.asarray(moment * (np.diag(share) - np.outer(share, share)))
