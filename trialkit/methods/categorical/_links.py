"""Distributions of cumulative link models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Link:
    """A distribution F with its upper tail, density and slope of the density."""

    name: str
    cdf: Callable[[Floats], Floats]
    tail: Callable[[Floats], Floats]
    density: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    quantile: Callable[[Floats], Floats]


def _logit_density(eta: Floats) -> Floats:
    return np.asarray(special.expit(eta) * special.expit(-eta))


def _logit_slope(eta: Floats) -> Floats:
    return np.asarray(-_logit_density(eta) * np.tanh(eta / 2.0))


def _normal_density(eta: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * eta * eta) / math.sqrt(2.0 * math.pi))


def _gumbel_density(eta: Floats) -> Floats:
    low = np.minimum(eta, 700.0)
    return np.asarray(np.exp(low - np.exp(low)))


LINKS = {
    "logit": Link(
        "logit",
        special.expit,
        lambda eta: special.expit(-eta),
        _logit_density,
        _logit_slope,
        special.logit,
    ),
    "probit": Link(
        "probit",
        special.ndtr,
        lambda eta: special.ndtr(-eta),
        _normal_density,
        lambda eta: -eta * _normal_density(eta),
        special.ndtri,
    ),
    "cloglog": Link(
        "cloglog",
        lambda eta: -np.expm1(-np.exp(np.minimum(eta, 700.0))),
        lambda eta: np.exp(-np.exp(np.minimum(eta, 700.0))),
        _gumbel_density,
        lambda eta: _gumbel_density(eta) * -np.expm1(np.minimum(eta, 700.0)),
        lambda p: np.log(-np.log1p(-p)),
    ),
}
