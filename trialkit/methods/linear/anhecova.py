r"""Means of the arms standardised over the participants, with unconditional variance.

ANHECOVA (analysis of heterogeneous covariance) fits the covariates' slopes in each arm apart,
which is the linear model with centred covariates and all of their interactions with the arm.
The mean of an arm is the average of everybody's prediction under it. It never loses precision
against the unadjusted means and its inference needs no right model; see :mod:`.robust` for the
variance and the sources. ``standardised`` does the same with the formula's own model.

``small_sample`` is a variant of ANHECOVA for few participants: with the slopes b_a of an arm, the
residual variance s_a^2 on n_a - p_a degrees of freedom and the covariates' covariance S,

.. math:: \mathrm{Cov}(\hat\theta_a, \hat\theta_b) = [a = b]\, s_a^2\,\bar x'(X_a'X_a)^{-1}\bar x
          + b_a'Sb_b/n

and Satterthwaite's degrees of freedom from n_a - p_a and n - 1. Without covariates it is Welch's
t test. It tends to the published variance as n grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._design import Design, build_design, independent, levels_of, parse, tall_qr
from trialkit.methods.linear._adjusted import AdjustedFit
from trialkit.methods.linear.robust import (
    cell_means,
    residuals,
    unconditional_covariance,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

ADJUST = {
    "anhecova": "ANHECOVA: least squares with centred covariates by arm",
    "standardised": "least squares of the formula, predictions averaged over the participants",
}
SCHEMES = {
    "simple": "simple randomisation",
    "permuted_block": "stratified permuted blocks",
    "minimisation": "minimisation",
}


@dataclass(frozen=True)
class Working:
    """Everybody's predictions under each arm, and what the small-sample variance needs."""

    mu: Floats
    slopes: pd.DataFrame
    leverage: Floats | None = None
    room: Floats | None = None


def adjusted(
    formula: str,
    data: pd.DataFrame,
    *,
    adjust: str,
    arm: str,
    strata: Sequence[str],
    randomisation: str,
    small_sample: bool,
) -> AdjustedFit:
    """Fit standardised means; the arguments are those of :func:`.ancova`."""
    _check(adjust, strata, randomisation, small_sample)
    design = build_design(formula, data, also=[arm, *strata])
    covariates = _without_arm(formula, arm)
    values = design.columns[arm]
    levels = levels_of(data[arm], values)
    codes = pd.Index(levels).get_indexer(pd.Index(values)).astype(np.intp)
    notes: list[str] = []
    variant = f"{ADJUST[adjust]}; {_scheme(randomisation, strata)}, unconditional variance, "
    variant += "small-sample, Satterthwaite df" if small_sample else "normal quantiles"
    found: Working | str
    if adjust == "anhecova":
        smaller = build_design(covariates, data.iloc[design.rows])
        found = by_arm(smaller, codes, levels)
    else:
        found = as_written(design, arm, levels)
    k = len(levels)
    estimate, cov = np.full(k, np.nan), np.full((k, k), np.nan)
    parts = part_df = None
    reason = found if isinstance(found, str) else None
    if not isinstance(found, str):
        y, mu = design.y, found.mu
        stratum = _strata(design, strata)
        residual = residuals(y, mu, codes)
        reason = _no_spread(y, residual, codes, levels)
        if randomisation == "minimisation":
            _refuse_minimisation(residual, codes, stratum, strata, y)
        blocks = stratum if randomisation == "permuted_block" else None
        if reason is None:
            estimate = mu.mean(axis=0)
            cov = unconditional_covariance(y, mu, codes, blocks)
            if small_sample and found.leverage is not None and found.room is not None:
                parts, part_df = small_parts(residual, mu, codes, found.leverage, found.room)
                cov = parts.sum(axis=0)
            if blocks is not None:
                notes += _empty_cells(codes, blocks, k)
            reason = _not_positive(cov)
    slopes = pd.DataFrame() if isinstance(found, str) else found.slopes
    return AdjustedFit(
        formula=formula,
        failed=reason,
        n=len(design.rows),
        n_subjects=len(design.rows),
        n_missing=design.n_missing,
        variant=variant,
        notes=notes,
        arm=arm,
        levels=levels,
        estimate=estimate,
        covariance=cov,
        slopes=slopes,
        parts=parts,
        part_df=part_df,
    )


def _check(adjust: str, strata: Sequence[str], randomisation: str, small_sample: bool) -> None:
    for value, known, what in (
        (adjust, ADJUST, "adjustment"),
        (randomisation, SCHEMES, "randomisation"),
    ):
        if value not in known:
            raise UsageError(
                f"The {what} {value!r} is not available.",
                remedy=f"Use one of: {', '.join(known)}.",
            )
    if randomisation == "minimisation" and not strata:
        raise UsageError(
            "Minimisation needs the factors that it balanced.", remedy="Name them in `strata`."
        )
    if small_sample and adjust != "anhecova":
        raise UsageError(
            "The small-sample variance is that of ANHECOVA.",
            remedy="Use adjust='anhecova', or small_sample=False.",
        )


def _scheme(randomisation: str, strata: Sequence[str]) -> str:
    if randomisation == "simple":
        return SCHEMES["simple"]
    if not strata:
        return "permuted blocks without strata"
    return f"{SCHEMES[randomisation]} ({', '.join(strata)})"


def _without_arm(formula: str, arm: str) -> str:
    """Return the formula of the covariates: every term without the arm."""
    outcome, terms = parse(formula)
    own = {arm, f"C({arm})"}
    if not any(own & set(term) for term in terms):
        raise UsageError(f"{formula!r} has no term {arm}.", remedy=f"Write {arm} into the formula.")
    left = dict.fromkeys(tuple(f for f in term if f not in own) for term in terms)
    return f"{outcome} ~ " + " + ".join(["1", *(":".join(term) for term in left if term)])


def _strata(design: Design, strata: Sequence[str]) -> Ints | None:
    if not strata:
        return None
    joint = pd.MultiIndex.from_arrays([design.columns[name] for name in strata])
    return np.asarray(joint.factorize()[0], dtype=np.intp)


def by_arm(design: Design, codes: Ints, levels: Sequence[Any]) -> Working | str:
    """Fit the covariates in each arm apart, or say why an arm cannot carry them."""
    x, y = design.x, design.y
    mu = np.empty((len(y), len(levels)))
    slopes = pd.DataFrame({"term": pd.Series(design.names, dtype=object)})
    leverage, room = np.empty(len(levels)), np.empty(len(levels))
    for a, level in enumerate(levels):
        own = codes == a
        p = x.shape[1]
        if own.sum() <= p:
            return f"{own.sum()} participants of {level} cannot carry {p} coefficients"
        if len(independent(x[own])[0]) < p:
            kept = set(independent(x[own])[0].tolist())
            lost = [name for i, name in enumerate(design.names) if i not in kept]
            return f"the participants of {level} cannot estimate {', '.join(lost)}"
        q, r = tall_qr(x[own])
        beta = np.linalg.solve(r, q.T @ y[own])
        mu[:, a] = x @ beta
        slopes[level] = beta
        far = np.linalg.solve(r.T, x.mean(axis=0))
        leverage[a], room[a] = float(far @ far), float(own.sum() - p)
    return Working(mu, slopes, leverage, room)


def as_written(design: Design, arm: str, levels: Sequence[Any]) -> Working | str:
    """Fit the formula's model and predict under each arm."""
    n, p = design.x.shape
    if n <= p:
        return f"{n} observations cannot carry {p} coefficients and a variance"
    q, r = tall_qr(design.x)
    beta = np.linalg.solve(r, q.T @ design.y)
    own = np.asarray(design.x @ beta)
    mu = np.empty((n, len(levels)))
    for a, level in enumerate(levels):
        columns = dict(design.columns)
        columns[arm] = _marginal.objects([level])[np.zeros(n, dtype=np.intp)]
        full = design.matrix(columns)
        if not design.estimable(full).all():
            return f"predictions under {level} cannot be estimated for everybody"
        inside = design.columns[arm] == level
        mu[:, a] = full[:, design.kept] @ beta + (design.y - own)[inside].mean()
    return Working(mu, pd.DataFrame({"term": design.names, "estimate": beta}))


def small_parts(
    residual: Floats, mu: Floats, codes: Ints, leverage: Floats, room: Floats
) -> tuple[Floats, Floats]:
    """Return the parts of the small-sample covariance and their degrees of freedom."""
    k = len(leverage)
    parts = np.zeros((k + 1, k, k))
    for a in range(k):
        own = residual[codes == a]
        parts[a, a, a] = own @ own / room[a] * leverage[a]
    parts[k] = np.cov(mu, rowvar=False) / len(mu)
    return parts, np.append(room, len(mu) - 1.0)


def _no_spread(y: Floats, residual: Floats, codes: Ints, levels: Sequence[Any]) -> str | None:
    """Say which arm has too few participants, or no residual variance."""
    for a, level in enumerate(levels):
        own = codes == a
        if own.sum() < 2:
            return f"one participant of {level}: no variance within the arm"
        if not residual[own] @ residual[own] > 1e-24 * float(y @ y) * own.mean():
            return f"the model fits {level} exactly; there is no residual variance"
    return None


def _refuse_minimisation(
    residual: Floats, codes: Ints, stratum: Ints | None, strata: Sequence[str], y: Floats
) -> None:
    assert stratum is not None
    means = cell_means(residual, codes, stratum, int(codes.max()) + 1)
    if np.abs(means).max() > 1e-8 * float(np.abs(y - y.mean()).max()):
        raise UsageError(
            "Under minimisation the variance is known only where the model holds every "
            f"combination of {', '.join(strata)} in each arm.",
            remedy=f"Use adjust='anhecova' and write {'*'.join(strata)} into the formula.",
        )


def _empty_cells(codes: Ints, stratum: Ints, k: int) -> list[str]:
    cells = (int(stratum.max()) + 1) * k
    empty = int((np.bincount(stratum * k + codes, minlength=cells) == 0).sum())
    if not empty:
        return []
    return [
        f"{empty} combinations of stratum and arm are empty; they take nothing off the variance"
    ]


def _not_positive(cov: Floats) -> str | None:
    variance = np.diagonal(cov)
    between = variance[:, None] + variance - 2.0 * cov
    between = between[~np.eye(len(cov), dtype=bool)]
    if (variance > 0.0).all() and (between > 0.0).all():
        return None
    return "the variance estimate is not positive; there are too few participants for it"
