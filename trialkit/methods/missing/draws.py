"""Parameters of the imputation model for each imputation, and the imputed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing.gibbs import Sampler, stream
from trialkit.methods.missing.model import Model
from trialkit.methods.missing.refit import Fits
from trialkit.methods.missing.trial import Trial
from trialkit.methods.missing.values import Imputer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

METHODS = {
    "conditional_mean": "conditional mean",
    "bayes": "multiple imputation by posterior draws",
    "approximate_bayes": "multiple imputation by bootstrap draws (approximate Bayes)",
}
#: Sweeps of each chain.
BURN_IN = 50
#: Second and further bootstrap samples that may replace one whose model cannot be fitted.
ATTEMPTS = 20
#: Stream of the imputed values, apart from those of the parameters.
VALUES = 1_000_000
NOT_DEFINITE = "a covariance to impute from is not positive definite"


@dataclass(frozen=True)
class Draws:
    """Imputed values, one row an imputation.

    Parameters
    ----------
    values : ndarray, shape (M, number of missing values)
    gamma : ndarray, shape (M, p)
    sigma : ndarray, shape (M, G, m, m)
        Parameters of each imputation in reduced coordinates.
    diagnostics : DataFrame or None
        Of the chains.
    replaced : int
        Bootstrap samples that were drawn anew because their model could not be fitted.
    """

    values: Floats = field(repr=False)
    gamma: Floats = field(repr=False)
    sigma: Floats = field(repr=False)
    diagnostics: pd.DataFrame | None
    replaced: int


def strata_of(trial: Trial, strata: Sequence[str] | None) -> Ints:
    """Return the bootstrap stratum of each participant: the arm unless columns are given."""
    if strata is None:
        return trial.arm
    m = len(trial.visits)
    code = np.zeros(len(trial.subjects), dtype=np.intp)
    for name in strata:
        if name not in trial.frame.columns:
            raise UsageError(
                f"The data have no column {name!r}.",
                remedy=f"Columns are: {', '.join(map(str, trial.frame.columns))}.",
            )
        found = pd.factorize(trial.frame[name], sort=True, use_na_sentinel=False)[0].reshape(-1, m)
        if (found != found[:, :1]).any():
            raise UsageError(
                f"The bootstrap stratum {name} changes within a participant.",
                remedy="Name columns that are constant within a participant.",
            )
        code = np.unique(code * (found.max() + 1) + found[:, 0], return_inverse=True)[1]
    return np.asarray(code, dtype=np.intp)


def resample(strata: Ints, random: np.random.Generator) -> Floats:
    """Return how often each participant occurs in a bootstrap sample, within strata."""
    weights = np.zeros(len(strata))
    for stratum in range(int(strata.max()) + 1):
        who = np.flatnonzero(strata == stratum)
        if len(who):
            picked = random.integers(0, len(who), len(who))
            weights[who] += np.bincount(picked, minlength=len(who))
    return weights


def bootstrap(model: Model, n: int, seed: int, strata: Ints) -> tuple[Fits, Floats, int] | str:
    """Fit the model to ``n`` bootstrap samples; return fits, weights and how many were replaced.

    A sample whose model cannot be fitted is drawn anew, as rbmi does.
    """
    size = model.weighted.chunk
    padded = -(-n // size) * size
    weights = np.array([resample(strata, stream(seed, i)) for i in range(padded)])
    fits = model.weighted.fit(weights)
    replaced = 0
    for i in range(n):
        attempt = 0
        while fits.failed[i] is not None or fits.null[i] is not None:
            attempt += 1
            if attempt > ATTEMPTS:
                return (
                    f"{ATTEMPTS} bootstrap samples in a row could not be fitted; the last: "
                    f"{fits.failed[i] or 'not all coefficients can be estimated'}"
                )
            weights[i] = resample(strata, stream(seed, i, attempt))
            one = model.weighted.fit(weights[i][None])
            fits.gamma[i], fits.sigma[i] = one.gamma[0], one.sigma[0]
            fits.failed[i], fits.null[i] = one.failed[0], one.null[0]
            replaced += 1
    cut = Fits(fits.gamma[:n], fits.sigma[:n], fits.failed[:n], fits.null[:n])
    return cut, weights[:n], replaced


def draw(
    imputer: Imputer, method: str, *, n: int, seed: int, burn_in: int, strata: Ints
) -> Draws | str:
    """Draw parameters and impute, or say why that cannot be done."""
    try:
        done = drawn(imputer, method, n=n, seed=seed, burn_in=burn_in, strata=strata)
    except np.linalg.LinAlgError:
        return NOT_DEFINITE
    if not isinstance(done, str) and not np.isfinite(done.values).all():
        return "the strategy gives values that are not finite"
    return done


def drawn(
    imputer: Imputer, method: str, *, n: int, seed: int, burn_in: int, strata: Ints
) -> Draws | str:
    """Draw parameters and impute."""
    model = imputer.model
    if method == "conditional_mean":
        full = model.weighted.full
        return Draws(imputer.means(full.gamma, full.sigma), full.gamma, full.sigma, None, 0)
    diagnostics, replaced = None, 0
    if method == "bayes":
        chains = Sampler(model.weighted).draw(n, seed, burn_in)
        gamma, sigma = chains.gamma, chains.sigma
        diagnostics = named(chains.diagnostics, model)
    else:
        done = bootstrap(model, n, seed, strata)
        if isinstance(done, str):
            return done
        gamma, sigma, replaced = done[0].gamma, done[0].sigma, done[2]
    values = realise(imputer, gamma, sigma, seed)
    return Draws(values, gamma, sigma, diagnostics, replaced)


def realise(imputer: Imputer, gamma: Floats, sigma: Floats, seed: int) -> Floats:
    """Draw the missing values given parameters, shape (M, number of missing values)."""
    n = len(gamma)
    noise = np.array(
        [stream(seed, i, VALUES).standard_normal(len(imputer.where)) for i in range(n)]
    ).reshape(n, len(imputer.where))
    cuts = [slice(i, i + 200) for i in range(0, n, 200)]
    return np.concatenate([imputer.values(gamma[c], sigma[c], noise[c]) for c in cuts])


def named(table: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return diagnostics in the units of the data, with the names of arms and visits."""
    visits, arms = model.trial.visits, model.trial.arms
    out = table.copy()
    for key in ("row", "column"):
        out[key] = pd.Series([visits[i] for i in table[key]], dtype=object)
    one = len(model.weighted.start) == 1
    out["group"] = pd.Series([None if one else arms[i] for i in table["group"]], dtype=object)
    out[["mean", "sd"]] *= model.scale**2
    return out
