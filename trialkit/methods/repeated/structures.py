r"""Covariance structures of repeated measures: variances times correlations, with derivatives.

A structure gives :math:`\Sigma_{ab} = s_a s_b r_{ab}` from variances :math:`s_a^2` (one, or one a
visit where the name ends in ``h``) and correlations :math:`r_{ab}` with few parameters. The
parameters are those that SAS PROC MIXED prints (Wolfinger 1996, J Agric Biol Environ Stat 1:205,
lists the structures; ante-dependence is of Gabriel 1962, Ann Math Stat 33:201):

========  ==========================================  =======================================
name      correlation of visits a < b                 in SAS
========  ==========================================  =======================================
us        free                                        UN
toep(h)   :math:`\rho_{b-a}`                          TOEP, TOEPH
ar1(h)    :math:`\rho^{b-a}`                          AR(1), ARH(1)
ad(h)     :math:`\rho_a \rho_{a+1} \cdots \rho_{b-1}` ANTE(1) is adh
cs(h)     :math:`\rho`                                CS, CSH
sp_exp    :math:`e^{-d/\theta}`                       SP(EXP)
sp_gau    :math:`e^{-d^2/\theta^2}`                   SP(GAU)
========  ==========================================  =======================================

``d`` is the distance of the visits in time. The order of the visits counts for toep, ar1 and
ad; a missing visit keeps its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Correlations and their first and second derivatives, shapes (C, m, m), (C, r, m, m) and
#: (C, r, r, m, m), from the parameters, shape (r,), and the distances, shape (C, m, m).
Correlation = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]


def lags(m: int) -> Floats:
    """Return how many visits apart two visits are, shape (m, m)."""
    return np.abs(np.subtract.outer(np.arange(m), np.arange(m))).astype(np.float64)


def exchangeable(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Give every two visits one correlation."""
    m = d.shape[-1]
    slope = np.ones((m, m)) - np.eye(m)
    value = np.eye(m) + rho[0] * slope
    return value[None], slope[None, None], np.zeros((1, 1, 1, m, m))


def toeplitz(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Give each lag its correlation."""
    m = d.shape[-1]
    lag = lags(m)
    slope = np.stack([(lag == k).astype(np.float64) for k in range(1, m)])
    value = np.eye(m) + np.tensordot(rho, slope, axes=1)
    return value[None], slope[None], np.zeros((1, m - 1, m - 1, m, m))


def autoregressive(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Let the correlation fall by one factor a visit."""
    r, lag = float(rho[0]), lags(d.shape[-1])
    value = r**lag
    slope = lag * r ** np.maximum(lag - 1.0, 0.0)
    bend = lag * (lag - 1.0) * r ** np.maximum(lag - 2.0, 0.0)
    return value[None], slope[None, None], bend[None, None, None]


def antedependence(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Multiply the correlations of the neighbours between two visits."""
    m = d.shape[-1]
    a, b, k = np.ogrid[:m, :m, : m - 1]
    between = (np.minimum(a, b) <= k) & (k < np.maximum(a, b))  # (m, m, r)
    eye = np.eye(m - 1, dtype=bool)
    some = np.where(between, rho, 1.0)
    value = some.prod(axis=-1)
    one = np.where(eye[:, None, None, :], 1.0, some).prod(axis=-1)
    either = eye[:, None, None, None, :] | eye[None, :, None, None, :]
    two = np.where(either, 1.0, some).prod(axis=-1)
    inside = np.moveaxis(between, -1, 0)
    slope = np.where(inside, one, 0.0)
    both = inside[:, None] & inside[None, :] & ~eye[:, :, None, None]
    return value[None], slope[None], np.where(both, two, 0.0)[None]


def exponential(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Let the correlation fall with the distance."""
    t = float(rho[0])
    value = np.exp(-d / t)
    slope = value * d / t**2
    bend = value * (d**2 / t**4 - 2.0 * d / t**3)
    return value, slope[:, None], bend[:, None, None]


def gaussian(rho: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Let the correlation fall with the squared distance."""
    t = float(rho[0])
    value = np.exp(-((d / t) ** 2))
    slope = value * 2.0 * d**2 / t**3
    bend = value * (4.0 * d**4 / t**6 - 6.0 * d**2 / t**4)
    return value, slope[:, None], bend[:, None, None]


@dataclass(frozen=True)
class Structure:
    """A covariance structure.

    Parameters
    ----------
    name, words : str
        As given, and in words.
    heterogeneous : bool
        One variance a visit, else one in all.
    correlation : callable or None
        None for an unstructured covariance.
    kind : str
        How many correlations there are: ``one``, ``neighbours`` (visits less one), ``lags``
        (the same number), ``range`` (one distance).
    linear : bool
        Whether the covariance is linear in some parameters, those of SAS.
    """

    name: str
    words: str
    heterogeneous: bool = False
    correlation: Correlation | None = None
    kind: str = "one"
    linear: bool = False

    @property
    def spatial(self) -> bool:
        """Whether the structure needs distances."""
        return self.kind == "range"

    def n_variances(self, m: int) -> int:
        """Return the number of variances for ``m`` visits."""
        return m if self.heterogeneous else 1

    def n_correlations(self, m: int) -> int:
        """Return the number of further parameters for ``m`` visits."""
        return m - 1 if self.kind in {"lags", "neighbours"} else 1

    def names(self, visits: Sequence[Any]) -> list[str]:
        """Name the parameters, in order."""
        if self.correlation is None:
            upper = combinations_with_replacement(visits, 2)
            return [f"variance {a}" if a == b else f"covariance {a}, {b}" for a, b in upper]
        pairs = [f"{a}, {b}" for a, b in pairwise(visits)]
        own = {
            "one": ["correlation"],
            "lags": [f"correlation at lag {k}" for k in range(1, len(visits))],
            "neighbours": [f"correlation {pair}" for pair in pairs],
            "range": ["range"],
        }[self.kind]
        variances = [f"variance {v}" for v in visits] if self.heterogeneous else ["variance"]
        return [*variances, *own]

    def evaluate(self, theta: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
        """Return covariance, first and second derivatives.

        Parameters
        ----------
        theta : ndarray, shape (t,)
            Variances, then correlations.
        d : ndarray, shape (C, m, m)
            Distances of the visits, one matrix a class of subjects; only its shape counts
            for structures without distances.

        Returns
        -------
        sigma : ndarray, shape (C or 1, m, m)
        first : ndarray, shape (C or 1, t, m, m)
        second : ndarray, shape (C or 1, t, t, m, m)
        """
        assert self.correlation is not None
        m = d.shape[-1]
        v = self.n_variances(m)
        r0, r1, r2 = self.correlation(theta[v:], d)
        s0, s1, s2 = self.scales(theta[:v], m)
        t = len(theta)
        first = np.empty((len(r0), t, m, m))
        second = np.empty((len(r0), t, t, m, m))
        first[:, :v], first[:, v:] = s1 * r0[:, None], s0 * r1
        second[:, :v, :v] = s2 * r0[:, None, None]
        second[:, :v, v:] = s1[:, None] * r1[:, None]
        second[:, v:, :v] = second[:, :v, v:].swapaxes(1, 2)
        second[:, v:, v:] = s0 * r2
        return s0 * r0, first, second

    def scales(self, variances: Floats, m: int) -> tuple[Floats, Floats, Floats]:
        """Return the products of two standard deviations and their derivatives."""
        ones = np.ones((m, m))
        if not self.heterogeneous:
            return variances[0] * ones, ones[None], np.zeros((1, 1, m, m))
        sd = np.sqrt(variances)
        eye = np.eye(m)
        slope, bend = eye * (0.5 / sd), eye * (-0.25 / sd**3)
        s1 = slope[:, :, None] * sd + sd[:, None] * slope[:, None, :]
        mixed = slope[:, None, :, None] * slope[None, :, None, :]
        s2 = mixed + mixed.swapaxes(0, 1)
        own = bend[:, :, None] * sd + sd[:, None] * bend[:, None, :]
        s2[np.arange(m), np.arange(m)] += own
        return np.outer(sd, sd), s1, s2


STRUCTURES: dict[str, Structure] = {
    each.name: each
    for each in (
        Structure("us", "unstructured", linear=True),
        Structure("toep", "Toeplitz", False, toeplitz, "lags", linear=True),
        Structure("toeph", "heterogeneous Toeplitz", True, toeplitz, "lags"),
        Structure("ar1", "first-order autoregressive", False, autoregressive),
        Structure("ar1h", "heterogeneous first-order autoregressive", True, autoregressive),
        Structure("ad", "first-order ante-dependence", False, antedependence, "neighbours"),
        Structure(
            "adh", "heterogeneous first-order ante-dependence", True, antedependence, "neighbours"
        ),
        Structure("cs", "compound symmetry", False, exchangeable, linear=True),
        Structure("csh", "heterogeneous compound symmetry", True, exchangeable),
        Structure("sp_exp", "spatial exponential", False, exponential, "range"),
        Structure("sp_gau", "spatial Gaussian", False, gaussian, "range"),
    )
}
