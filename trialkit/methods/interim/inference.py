r"""Conditional and predictive power, and estimates that allow for the looks.

- *Conditional power*: the probability to cross an efficacy bound at a later look, given Z now
  and an effect (Lan, Simon and Halperin 1982, Commun Stat C 1:207; Jennison and Turnbull 2000,
  chapter 10).
- *Predictive power*: conditional power averaged over the posterior of the effect (Spiegelhalter,
  Freedman and Blackburn 1986, Control Clin Trials 7:8), with a flat or a normal prior.
- *Repeated intervals*: estimate plus and minus the bound of the look times the standard error;
  they hold whether or not the rule to stop is followed (Jennison and Turnbull 1989, J R Stat Soc
  B 51:305).
- *Median-unbiased estimate*, p-value and interval by the *stagewise ordering* of the results
  (Tsiatis, Rosner and Mehta 1984, Biometrics 40:797): a trial that stopped for efficacy earlier
  has the more extreme result.

In estimates the futility bounds of a non-binding design are left out, as in its type I error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from trialkit.errors import UsageError
from trialkit.methods.interim.recursion import crossings, start

if TYPE_CHECKING:
    from trialkit.methods.interim.design import SequentialDesign

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def conditional_power(design: SequentialDesign, look: int, z: float, drift: float) -> float:
    """Return the probability to cross an efficacy bound later, given ``z`` at ``look``.

    Parameters
    ----------
    drift : float
        Mean of Z at the planned final information. (The information is in shares of it, so that
        this is also the effect per unit of information.)
    """
    times = design.information[look:]
    passed = design.information[look - 1]
    score = z * math.sqrt(passed)
    rest = times - passed
    upper = (design.upper[look:] * np.sqrt(times) - score) / np.sqrt(rest)
    lower = (design.lower[look:] * np.sqrt(times) - score) / np.sqrt(rest)
    lower[-1] = -math.inf
    return float(crossings(rest, lower, upper, drift)[0].sum())


def predictive_power(
    design: SequentialDesign, look: int, z: float, prior: tuple[float, float] | None
) -> float:
    """Return the conditional power averaged over the posterior of the drift.

    Parameters
    ----------
    prior : (mean, sd) or None
        Of the drift; None is flat.
    """
    passed = float(design.information[look - 1])
    mean, precision = z / math.sqrt(passed), passed
    if prior is not None:
        own = 1.0 / prior[1] ** 2
        mean = (mean * precision + prior[0] * own) / (precision + own)
        precision += own
    sd = 1.0 / math.sqrt(precision)
    points = 9.0 * _NODES
    weights = 9.0 * _WEIGHTS * np.exp(-0.5 * points**2) / math.sqrt(2.0 * math.pi)
    found = [conditional_power(design, look, z, mean + sd * point) for point in points]
    return float(weights @ np.array(found))


def look_of(design: SequentialDesign, look: int, z: float, last: bool) -> None:
    """Refuse a look or a statistic that the design does not have."""
    if design.failed is not None:
        raise UsageError(f"The design has no bounds: {design.failed}.", remedy="Change it.")
    most = len(design.information) if last else len(design.information) - 1
    if not 1 <= look <= most:
        raise UsageError(
            f"The design has no look {look} to ask this of.", remedy=f"Use 1 to {most}."
        )
    if not math.isfinite(z):
        raise UsageError(f"Z is {z}.", remedy="Give the statistic of the look.")


def stagewise(design: SequentialDesign, look: int, z: float, drift: float) -> float:
    """Return the probability of a result at least as extreme, by stagewise ordering.

    Between the bounds, at the last look, the ordering is by Z. A trial stopped for futility
    is less extreme the earlier it stopped.
    """
    times, upper = design.information[:look], design.upper[:look].copy()
    lower = np.full(look, -math.inf)
    futile = look < len(design.information) and z <= design.lower[look - 1]
    if design.binding or design.sided == 2 or futile:
        lower = design.lower[:look].copy()
    paths, over = start(), 0.0
    under = 0.0
    for k in range(look - 1):
        over += paths.above(upper[k], times[k], drift)
        under += paths.below(lower[k], times[k], drift)
        paths = paths.go_on(lower[k], upper[k], times[k], drift, times[k + 1])
    if futile:
        return 1.0 - (under + paths.below(z, times[-1], drift))
    return over + paths.above(z, times[-1], drift)


def adjusted(
    design: SequentialDesign, look: int, estimate: float, se: float, level: float
) -> pd.DataFrame:
    """Return the estimates of a trial that stopped at a look, one row a kind.

    Returns
    -------
    DataFrame
        ``kind`` (naive, repeated, stagewise), ``estimate se p lower upper``; p is one-sided, and
        for ``sided=2`` two-sided. The estimate of the kind *stagewise* is median-unbiased.
    """
    z = estimate / se
    per_unit = se * math.sqrt(float(design.information[look - 1]))  # effect of drift 1
    tail = (1.0 - level) / 2.0
    normal = float(special.ndtri(1.0 - tail))

    def solve(probability: float) -> float:
        middle = z / math.sqrt(float(design.information[look - 1]))

        def gap(drift: float) -> float:
            return stagewise(design, look, z, drift) - probability

        width = 8.0 / math.sqrt(float(design.information[0]))
        low, high = middle - width, middle + width
        if gap(low) > 0.0 or gap(high) < 0.0:
            return math.nan
        return float(optimize.brentq(gap, low, high, xtol=1e-11, rtol=1e-12))

    bound = float(design.upper[look - 1])
    naive_p, p = float(special.ndtr(-z)), stagewise(design, look, z, 0.0)
    if design.sided == 2:
        naive_p = 2.0 * float(special.ndtr(-abs(z)))
        p = 2.0 * min(p, 1.0 - p)
    rows = [
        ("naive", estimate, se, naive_p, estimate - normal * se, estimate + normal * se),
        (
            "repeated",
            estimate,
            se,
            design.repeated_p(look, z),
            estimate - bound * se,
            estimate + bound * se,
        ),
        (
            "stagewise",
            per_unit * solve(0.5),
            se,
            p,
            per_unit * solve(tail),
            per_unit * solve(1.0 - tail),
        ),
    ]
    return pd.DataFrame(rows, columns=["kind", "estimate", "se", "p", "lower", "upper"])
