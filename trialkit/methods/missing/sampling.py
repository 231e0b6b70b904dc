"""Resamples of participants: leave one out, and bootstrap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.missing import strategies
from trialkit.methods.missing.draws import bootstrap
from trialkit.methods.missing.evaluate import Evaluated, Resamples
from trialkit.methods.missing.refit import Fits
from trialkit.methods.missing.values import Imputer

if TYPE_CHECKING:
    from trialkit.methods.missing.imputation import Imputation

Floats = npt.NDArray[np.float64]

CONDITIONAL = {
    "jackknife": "jackknife, normal quantiles",
    "jackknife_anchored": "information-anchored: jackknife of MAR with a matching fixed delta, "
    "normal quantiles",
    "bootstrap": "bootstrap standard error, normal quantiles",
    "bootstrap_percentile": "percentile bootstrap",
}
MULTIPLE = {
    "rubin": "Rubin's rules, Barnard-Rubin df",
    "normal": "Rubin's variance, normal quantiles",
}
PRECISION = ("within", "between", "share", "fmi", "mc_se")


def words(inference: str, count: int) -> str:
    """Name the inference, with the number of samples."""
    if inference in MULTIPLE:
        return MULTIPLE[inference]
    what = "participants" if inference.startswith("jackknife") else "samples"
    return f"{CONDITIONAL[inference]} ({count} {what})"


def resamples(imp: Imputation, inference: str, count: int, seed: int | None) -> Resamples | str:
    """Refit the imputation model to every resample and impute, or say why that fails."""
    model = imp.imputer.model
    if inference.startswith("jackknife"):
        key: tuple[object, ...] = ("jackknife",)
        if key not in imp.cache:
            imp.cache[key] = (model.weighted.leave_one_out(), 1.0 - np.eye(imp.n_subjects), 0)
    else:
        chosen = imp.seed if seed is None else seed
        if chosen is None:
            raise UsageError("The bootstrap draws random numbers.", remedy="Give seed=...")
        if isinstance(count, bool) or not isinstance(count, int) or count < 20:
            raise UsageError(f"resamples={count!r} are too few.", remedy="Give 1000.")
        key = ("bootstrap", count, chosen)
        if key not in imp.cache:
            imp.cache[key] = bootstrap(model, count, chosen, imp.strata)
    found = imp.cache[key]
    if isinstance(found, str):
        return found
    fits, weights, replaced = found
    if reason := unfit(imp, fits, weights, inference):
        return reason
    imputer = at_random(imp.imputer) if inference == "jackknife_anchored" else imp.imputer
    values = imputer.means(fits.gamma, fits.sigma)
    if inference == "jackknife_anchored":
        full = model.weighted.full
        values = values + (imp.values[0] - imputer.means(full.gamma, full.sigma)[0])
    return Resamples(values, weights, replaced)


def unfit(imp: Imputation, fits: Fits, weights: Floats, inference: str) -> str | None:
    """Name the first resample without an estimate of what it must impute."""
    model = imp.imputer.model
    custom = any(not isinstance(s, str) for s in imp.trial.strategy)
    needed = imp.trial.missing.any(axis=1)
    for b, (reason, null) in enumerate(zip(fits.failed, fits.null, strict=True)):
        if reason is None and null is not None:
            who = np.flatnonzero(needed & (weights[b] > 0.0))
            for key in ("own", "reference") if custom else ("imputed",):
                gap = np.abs(model.x[key][who] @ model.back @ null)
                size = np.abs(model.x[key][who] @ model.back).max(initial=1.0)
                if gap.max(initial=0.0) > 1e-7 * size:
                    reason = "a mean to impute from cannot be estimated"
        if reason is not None:
            return (
                f"the imputation model cannot be fitted {imp.sample_name(inference, b)}: {reason}"
            )
    return None


def at_random(imputer: Imputer) -> Imputer:
    """Return the imputer under MAR, with the same fitted model."""
    model = imputer.model
    trial = replace(model.trial, strategy=tuple(strategies.MAR for _ in model.trial.strategy))
    return Imputer(replace(model, trial=trial, x={**model.x, "imputed": model.x["own"]}))


def resampled(imp: Imputation, found: Resamples, b: int) -> pd.DataFrame:
    """Return the completed data of a resample; repeated participants get new identifiers."""
    names, m = imp.trial.names, len(imp.trial.visits)
    frame = imp.filled(found.values[b])
    times = found.weights[b].astype(np.intp)
    picked = np.repeat(np.arange(len(times)), times)
    rows = (picked[:, None] * m + np.arange(m)).ravel()
    out = frame.iloc[rows].reset_index(drop=True)
    if (times > 1).any():
        out[names.subject] = np.repeat(np.arange(len(picked)), m)
    return out


def precision_table(done: Evaluated, inference: str, count: int) -> pd.DataFrame:
    """Return the Monte Carlo precision; empty where nothing is random."""
    keys = done.keys.iloc[: done.gaps].reset_index(drop=True)
    if done.precision is not None:
        numbers = pd.DataFrame(done.precision[0, : done.gaps], columns=list(PRECISION))
        return pd.concat([keys, numbers], axis=1)
    if inference.startswith("bootstrap"):
        se = done.numbers[0, : done.gaps, 1]
        return keys.assign(mc_se=se / np.sqrt(2.0 * (count - 1.0)))
    return pd.DataFrame()
