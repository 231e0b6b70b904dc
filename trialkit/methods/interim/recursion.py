r"""Probabilities that a sequence of test statistics leaves its continuation region.

With information :math:`I_1 < I_2 < \dots` the score statistics :math:`S_k = Z_k\sqrt{I_k}` have
independent increments :math:`N(\theta\,\Delta_k, \Delta_k)` for an effect :math:`\theta`. The
density of :math:`S_k` on the paths that have not stopped follows from that of :math:`S_{k-1}`
by one integral (Armitage, McPherson and Rowe 1969, J R Stat Soc A 132:235; Jennison and
Turnbull 2000, Group Sequential Methods, chapter 19). The integral is a Gauss-Legendre rule on
panels not wider than the standard deviation of the increments on both of their sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Floats = npt.NDArray[np.float64]

#: Half width, in standard deviations, of the range that is integrated.
REACH = 10.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_PANELS = 4000


@dataclass(frozen=True)
class Paths:
    """The paths that go on after a look, as masses on nodes of the score scale.

    Parameters
    ----------
    information : float
        Information so far.
    score, mass : ndarray, shape (n,)
        Nodes, and the probability that each stands for.
    """

    information: float
    score: Floats
    mass: Floats

    def above(self, z: float, information: float, theta: float) -> float:
        """Return the probability to go on to a look and to exceed ``z`` there."""
        step = information - self.information
        gap = (z * math.sqrt(information) - self.score - theta * step) / math.sqrt(step)
        return float(self.mass @ special.ndtr(-gap))

    def below(self, z: float, information: float, theta: float) -> float:
        """Return the probability to go on to a look and to fall below ``z`` there."""
        step = information - self.information
        gap = (z * math.sqrt(information) - self.score - theta * step) / math.sqrt(step)
        return float(self.mass @ special.ndtr(gap))

    def go_on(
        self, lower: float, upper: float, information: float, theta: float, following: float
    ) -> Paths:
        """Return the paths that stay between two bounds (z scale) at a look.

        Parameters
        ----------
        following : float
            Information of the look after this one; it sets the fineness of the nodes.
        """
        step, root = information - self.information, math.sqrt(information)
        middle = theta * information
        low = max(lower * root, middle - REACH * root)
        high = min(upper * root, middle + REACH * root)
        if not high > low:
            return Paths(information, np.empty(0), np.empty(0))
        width = min(math.sqrt(step), math.sqrt(max(following - information, 1e-8 * information)))
        panels = min(max(2, math.ceil((high - low) / width)), _PANELS)
        half = (high - low) / (2 * panels)
        middles = low + half * (2 * np.arange(panels) + 1)
        score = (middles[:, None] + half * _NODES).ravel()
        weight = np.tile(half * _WEIGHTS, panels)
        size = math.sqrt(step)
        gap = (score[:, None] - (self.score + theta * step)) / size
        density = np.exp(-0.5 * gap * gap) @ self.mass / (size * math.sqrt(2.0 * math.pi))
        return Paths(information, score, weight * density)


def start() -> Paths:
    """Return the paths before any look."""
    return Paths(0.0, np.zeros(1), np.ones(1))


def crossings(
    information: Floats, lower: Floats, upper: Floats, theta: float
) -> tuple[Floats, Floats]:
    """Return the probabilities to cross first the upper, and first the lower, bound at each look.

    Parameters
    ----------
    information : ndarray, shape (k,)
        Increasing.
    lower, upper : ndarray, shape (k,)
        Bounds on the z scale; infinite where there is none.
    theta : float
        Effect in the unit that the information belongs to: the mean of ``Z`` is
        ``theta * sqrt(information)``.
    """
    paths = start()
    over, under = np.zeros(len(information)), np.zeros(len(information))
    for k, now in enumerate(information):
        over[k] = paths.above(upper[k], now, theta)
        under[k] = paths.below(lower[k], now, theta)
        if k + 1 < len(information):
            paths = paths.go_on(lower[k], upper[k], now, theta, information[k + 1])
    return over, under


def bound_above(paths: Paths, target: float, information: float, theta: float = 0.0) -> float:
    """Return the bound that is exceeded with probability ``target``, infinite for nothing."""
    return _solve(
        lambda z: paths.above(z, information, theta), target, paths, information, theta, 1
    )


def bound_below(paths: Paths, target: float, information: float, theta: float) -> float:
    """Return the bound that is fallen short of with probability ``target``."""
    return _solve(
        lambda z: paths.below(z, information, theta), target, paths, information, theta, -1
    )


def _solve(
    tail: Callable[[float], float],
    target: float,
    paths: Paths,
    information: float,
    theta: float,
    sign: int,
) -> float:
    if target <= 1e-300:
        return math.inf * sign
    middle = theta * math.sqrt(information)
    if target >= float(paths.mass.sum()) * (1.0 - 1e-15):
        return -math.inf * sign

    def gap(distance: float) -> float:
        found = tail(middle + sign * distance)
        return math.log(max(found, 1e-320)) - math.log(target)

    distance = optimize.brentq(gap, -REACH - 2.0, 38.0, xtol=1e-14, rtol=1e-14)
    return float(middle + sign * distance)
