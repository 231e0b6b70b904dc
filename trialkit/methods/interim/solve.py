"""Solves for the bounds of a group-sequential design."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from trialkit.errors import UsageError
from trialkit.methods.interim.recursion import (
    Paths,
    bound_above,
    bound_below,
    crossings,
    start,
)
from trialkit.methods.interim.spending import Rule, rule

if TYPE_CHECKING:
    from trialkit.methods.interim.design import SequentialDesign

Floats = npt.NDArray[np.float64]


class NoBounds(ValueError):
    """No bounds satisfy the errors asked for."""


def times_of(information: Sequence[float]) -> Floats:
    """Return information as rising positive numbers."""
    times = np.asarray(information, dtype=np.float64).reshape(-1)
    if not len(times) or not np.isfinite(times).all() or times[0] <= 0.0:
        raise UsageError(
            f"The information {list(information)} is not a list of positive numbers.",
            remedy="Give shares such as [0.5, 1].",
        )
    if (np.diff(times) <= 1e-9 * times[-1]).any():
        raise UsageError(
            f"The information {list(information)} does not rise.",
            remedy="Give the looks in order, each with more information than the one before.",
        )
    return times


def futility_of(
    futility: str | Sequence[object] | None, k: int
) -> tuple[tuple[float | None, ...] | None, Rule | None]:
    """Tell futility bounds that are given from a function that spends beta."""
    if futility is None:
        return None, None
    if isinstance(futility, str) or (len(futility) == 2 and isinstance(futility[0], str)):
        found = rule(futility, "futility")
        if found.classical:
            raise UsageError(
                f"{found} is no function that spends beta.",
                remedy="Use a spending function such as obrien_fleming.",
            )
        return None, found
    if len(futility) != k - 1:
        raise UsageError(
            f"{len(futility)} futility bounds were given for {k - 1} looks before the last.",
            remedy="Give one a look; None for a look without.",
        )
    if not all(each is None or isinstance(each, int | float) for each in futility):
        raise UsageError(f"futility {futility!r} cannot be read.", remedy="Give bounds of Z.")
    return tuple(None if each is None else float(each) for each in futility), None  # type: ignore[arg-type]


def looks_of(looks: Sequence[int] | None, k: int) -> npt.NDArray[np.bool_]:
    """Return which looks have a futility bound; the last always has."""
    if looks is None:
        return np.ones(k, dtype=bool)
    chosen = list(looks)
    if not all(isinstance(each, int) and 1 <= each <= k for each in chosen):
        raise UsageError(f"futility_looks {chosen} are not looks.", remedy=f"Use 1 to {k}.")
    out = np.zeros(k, dtype=bool)
    out[[each - 1 for each in chosen]] = True
    out[-1] = True
    return out


def bounds(plain: SequentialDesign, drift: float | None) -> dict[str, Any]:
    """Return ``upper lower spent lost drift`` of a design."""
    times = plain.information
    if plain.sided == 2:
        return two_sided(plain, drift)
    if plain.spending.classical:
        upper = classical(plain.spending, times, plain.alpha, two=False)
        spent = np.cumsum(crossings(times, np.full(len(times), -math.inf), upper, 0.0)[0])
    else:
        upper, spent = None, target(plain.spending, plain.alpha, times, plain.final)
    if plain.given is not None:
        return with_given(plain, upper, spent)
    if plain.futility is None:
        if upper is None:
            upper = efficacy(times, spent, None)
        none = np.full(len(times), -math.inf)
        made = {"upper": upper, "lower": none, "spent": spent, "lost": np.zeros(len(times))}
        return {**made, "drift": math.nan if drift is None else drift}
    return with_futility(plain, upper, spent, drift)


def target(spending: Rule, error: float, times: Floats, final: bool) -> Floats:
    """Return the cumulative error at the looks; the final one spends all."""
    spent = spending.spent(error, times)
    if final:
        spent[-1] = error
    return spent


def efficacy(times: Floats, spent: Floats, lower: Floats | None, two: bool = False) -> Floats:
    """Return upper bounds that spend an error under no effect.

    Parameters
    ----------
    lower : ndarray or None
        Binding futility bounds.
    two : bool
        Bounds are symmetrical and ``spent`` is that of one side.
    """
    paths, upper = start(), np.empty(len(times))
    before = 0.0
    for k, now in enumerate(times):
        upper[k] = bound_above(paths, spent[k] - before, now)
        before = spent[k]
        if k + 1 < len(times):
            low = -upper[k] if two else (-math.inf if lower is None else lower[k])
            paths = paths.go_on(low, upper[k], now, 0.0, times[k + 1])
    return upper


def classical(spending: Rule, times: Floats, error: float, two: bool) -> Floats:
    """Return bounds of a given shape that spend ``error`` (of one side) in all."""
    shape = spending.shape(times)

    def gap(constant: float) -> float:
        upper = constant * shape
        lower = -upper if two else np.full(len(times), -math.inf)
        return float(crossings(times, lower, upper, 0.0)[0].sum()) - error

    return np.asarray(optimize.brentq(gap, 0.01, 12.0, xtol=1e-13, rtol=1e-13) * shape)


def two_sided(plain: SequentialDesign, drift: float | None) -> dict[str, Any]:
    """Return symmetrical bounds, half of alpha on each side."""
    half, times = plain.alpha / 2.0, plain.information
    if plain.spending.classical:
        upper = classical(plain.spending, times, half, two=True)
        spent = np.cumsum(crossings(times, -upper, upper, 0.0)[0])
    else:
        spent = target(plain.spending, half, times, plain.final)
        upper = efficacy(times, spent, None, two=True)
    made = {"upper": upper, "lower": -upper, "spent": 2.0 * spent, "lost": np.zeros(len(times))}
    return {**made, "drift": math.nan if drift is None else drift}


def with_given(plain: SequentialDesign, upper: Floats | None, spent: Floats) -> dict[str, Any]:
    """Return bounds with futility bounds that were given for the looks before the last."""
    assert plain.given is not None
    low = [-math.inf if each is None else each for each in plain.given]
    lower = np.array([*low, -math.inf])
    if upper is None:
        upper = efficacy(plain.information, spent, lower if plain.binding else None)
    lower[-1] = upper[-1]
    if (lower[:-1] >= upper[:-1]).any():
        raise NoBounds("a futility bound lies above the efficacy bound of its look")
    return {"upper": upper, "lower": lower, "spent": spent, "lost": np.full(len(upper), np.nan)}


def with_futility(
    plain: SequentialDesign, upper: Floats | None, spent: Floats, drift: float | None
) -> dict[str, Any]:
    """Return bounds with a function that spends beta.

    The drift is that at which the two bounds of the last look meet; for a trial under way it is
    the design's, and the last bounds need not meet.
    """
    assert plain.futility is not None
    lost = target(plain.futility, plain.beta, plain.information, plain.final)
    if upper is None and not plain.binding:
        upper = efficacy(plain.information, spent, None)
    if drift is None:
        fixed = float(special.ndtri(1.0 - plain.alpha) + special.ndtri(1.0 - plain.beta))

        def gap(trial: float) -> float:
            _, lower, bound = meeting(plain, upper, spent, lost, trial)
            return lower - bound

        low, high = 0.5 * fixed, 4.0 * fixed
        if not gap(low) < 0.0 < gap(high):
            raise NoBounds("no effect gives these errors: the bounds of the last look never meet")
        drift = float(optimize.brentq(gap, low, high, xtol=1e-12, rtol=1e-13))
    pairs, last, bound = meeting(plain, upper, spent, lost, drift)
    lower = np.array([*(pair[0] for pair in pairs), bound if plain.final else last])
    tops = np.array([*(pair[1] for pair in pairs), bound])
    crossed = lower[:-1] >= tops[:-1]
    if crossed.any():
        raise NoBounds(f"the bounds cross at look {int(np.flatnonzero(crossed)[0]) + 1}")
    return {"upper": tops, "lower": lower, "spent": spent, "lost": lost, "drift": drift}


def meeting(
    plain: SequentialDesign, upper: Floats | None, spent: Floats, lost: Floats, drift: float
) -> tuple[list[tuple[float, float]], float, float]:
    """Return the pairs of bounds before the last look, and the two bounds of the last look."""
    times = plain.information
    null, other = start(), start()
    error, pairs = 0.0, []
    low = top = math.nan
    missed = 0.0
    for k, now in enumerate(times):
        top = bound_above(null, spent[k] - error, now) if upper is None else float(upper[k])
        error = spent[k]
        if plain.looks[k]:
            low = bound_below(other, lost[k] - missed, now, drift)
            missed = lost[k]
        else:
            low = -math.inf
        if k + 1 < len(times):
            pairs.append((low, top))
            floor = min(low, top)
            other = _next(other, floor, top, now, drift, times[k + 1])
            if upper is None:
                null = _next(null, floor, top, now, 0.0, times[k + 1])
    return pairs, low, top


def _next(paths: Paths, low: float, top: float, now: float, theta: float, then: float) -> Paths:
    return paths.go_on(low, top, now, theta, then)
