"""Probabilities of categories under a cumulative link model, standardised or by row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._design import Design, Factor, complete_columns
from trialkit.methods.categorical._cumulative import Cumulative

if TYPE_CHECKING:
    from trialkit.methods.categorical._ordinal_fit import OrdinalFit

Floats = npt.NDArray[np.float64]
COLUMNS = ["estimate", "se", "df", "lower", "upper"]


def empty(term: str) -> pd.DataFrame:
    """Return the table of a failed fit."""
    return _marginal.empty_table([term, "category"])[[term, "category", *COLUMNS]]


def by_level(
    fit: OrdinalFit, factor: Factor, term: str, cumulative: bool, level: float
) -> pd.DataFrame:
    """Return standardised probabilities; see :meth:`OrdinalFit.probabilities`."""
    assert fit.fitted is not None
    weight = fit.model.weight / fit.model.weight.sum()
    quantile = float(special.ndtri(0.5 + level / 2.0))
    rows, keys = [], []
    for value in factor.levels:
        changed = dict(fit.design.columns)
        changed[factor.variables[0]] = np.full(len(fit.model.y), value, dtype=object)
        model = model_at(fit, changed)
        if crosses(model, fit.fitted.phi):
            note = f"no probabilities: the thresholds cross where {term} is {value}"
            if note not in fit.notes:
                fit.notes.append(note)
            return empty(term)
        share, slope = average(model, fit.fitted.phi, weight, cumulative)
        se = np.sqrt(np.einsum("ij,jk,ik->i", slope, fit.fitted.covariance, slope))
        for i, category in enumerate(fit.levels[1:] if cumulative else fit.levels):
            p, logit = float(share[i]), float(special.logit(share[i]))
            half = quantile * float(se[i]) / (p * (1.0 - p))
            limits = special.expit(np.array([logit - half, logit + half]))
            rows.append((p, float(se[i]), math.inf, *limits))
            keys.append((value, category))
    table = pd.DataFrame(rows, columns=COLUMNS)
    for i, label in enumerate((term, "category")):
        table.insert(i, label, pd.Series([key[i] for key in keys], dtype=object))
    return table


def crosses(model: Cumulative, phi: Floats) -> bool:
    """Tell whether effects by threshold make a category's probability negative in some row."""
    steps = np.diff(model.predictors(phi), axis=1)
    return bool((steps < 0.0).any())


def model_at(fit: OrdinalFit, columns: dict[str, npt.NDArray[Any]]) -> Cumulative:
    """Return the model on other rows; their outcome does not matter."""
    x = fit.design.matrix(columns)[:, fit.design.kept]
    y = np.zeros(len(x), dtype=np.intp)
    return replace(fit.model, x=x[:, fit.common], z=x[:, fit.own], y=y, weight=np.ones(len(x)))


def average(
    model: Cumulative, phi: Floats, weight: Floats, cumulative: bool
) -> tuple[Floats, Floats]:
    """Return weighted mean probabilities and their gradients by the parameters."""
    eta = model.predictors(phi)
    above = weight @ model.link.tail(eta)
    slopes = np.array(
        [
            -(weight * model.link.density(eta[:, j])) @ model.rows(np.full(len(eta), j))
            for j in range(model.k)
        ]
    )
    if cumulative:
        return above, slopes
    edge = np.zeros((1, model.size))
    share = np.concatenate([[1.0], above]) - np.concatenate([above, [0.0]])
    return share, np.vstack([edge, slopes]) - np.vstack([slopes, edge])


def predict(fit: OrdinalFit, data: pd.DataFrame | None) -> pd.DataFrame:
    """Return probabilities by row; see :meth:`OrdinalFit.predict`."""
    assert fit.fitted is not None
    columns: dict[str, npt.NDArray[Any]] = fit.design.columns
    index: Any = fit.design.rows
    if data is not None:
        needed = sorted({v for f in fit.design.factors.values() for v in f.variables})
        columns, rows = complete_columns(data, needed)
        if len(rows) < len(data):
            raise UsageError(
                f"{len(data) - len(rows)} rows miss a covariate.", remedy="Complete them first."
            )
        refuse_new_levels(fit.design, columns)
        index = data.index
    model = model_at(fit, columns)
    above = model.link.tail(model.predictors(fit.fitted.phi))
    n = len(above)
    ends = np.column_stack([np.ones(n), above, np.zeros(n)])
    return pd.DataFrame(ends[:, :-1] - ends[:, 1:], columns=list(fit.levels), index=index)


def refuse_new_levels(design: Design, columns: dict[str, npt.NDArray[Any]]) -> None:
    """Refuse levels of a factor that the fit has not seen."""
    for factor in design.factors.values():
        if factor.categorical:
            name = factor.variables[0]
            new = sorted(map(str, set(columns[name].tolist()) - set(factor.levels)))
            if new:
                raise UsageError(
                    f"{name} holds {new[0]!r}, unknown to the fit.",
                    remedy=f"Levels are: {', '.join(map(repr, factor.levels))}.",
                )
