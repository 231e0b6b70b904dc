"""Strength and fatigue of the day: a Kalman filter on a local linear trend and what fades.

Only additions, multiplications and divisions, in a fixed order: the same bytes from the same
inputs, so that a decision can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

PRIOR_LEVEL = 1.0
PRIOR_SLOPE = 1e-4
"""Variances before the first bout; ability is a tracking error in rad, so both are wide."""


class DailyState(NamedTuple):
    """Ability, its trend and fatigue, with their covariance, after a bout.

    Attributes
    ----------
    level : float
        Ability when rested.
    slope : float
        Its change a bout.
    fatigue : float
        What is missing from the level now; it fades between bouts.
    p_ll, p_ls, p_lf, p_ss, p_sf, p_ff : float
        Covariances.
    """

    level: float
    slope: float
    fatigue: float
    p_ll: float
    p_ls: float
    p_lf: float
    p_ss: float
    p_sf: float
    p_ff: float


def begin(process_fatigue: float) -> DailyState:
    """Return the state before the first bout: nothing known, rested."""
    return DailyState(0.0, 0.0, 0.0, PRIOR_LEVEL, 0.0, 0.0, PRIOR_SLOPE, 0.0, process_fatigue)


def kept_fatigue(rest_s: float, recovery_s: float) -> float:
    """Return the share of fatigue that is left after a rest, ``r / (r + rest)``.

    The implicit Euler step of an exponential decay with time constant r: 1 without rest, a half
    after r, near 0 by the next day. `rest_s` below 0 counts as 0.
    """
    rest = max(0.0, rest_s)
    return recovery_s / (recovery_s + rest) if recovery_s > 0 else 0.0


def predict(
    state: DailyState,
    *,
    process_level: float,
    process_slope: float,
    process_fatigue: float,
    kept: float,
) -> DailyState:
    """Return the state before the next bout.

    ``level' = level + slope + e1, slope' = slope + e2, fatigue' = kept * fatigue + e3``.

    Parameters
    ----------
    state : DailyState
    process_level, process_slope, process_fatigue : float
        Variances of e1, e2, e3 a bout.
    kept : float
        See `kept_fatigue`.
    """
    return DailyState(
        level=state.level + state.slope,
        slope=state.slope,
        fatigue=kept * state.fatigue,
        p_ll=state.p_ll + 2.0 * state.p_ls + state.p_ss + process_level,
        p_ls=state.p_ls + state.p_ss,
        p_lf=kept * (state.p_lf + state.p_sf),
        p_ss=state.p_ss + process_slope,
        p_sf=kept * state.p_sf,
        p_ff=kept * kept * state.p_ff + process_fatigue,
    )


def update(state: DailyState, ability: float, measurement: float) -> tuple[DailyState, float]:
    """Return the state after a bout, and the variance of the prediction.

    ``ability = level - fatigue + e`` with variance `measurement`.
    """
    # covariance of each component with level - fatigue
    c_l = state.p_ll - state.p_lf
    c_s = state.p_ls - state.p_sf
    c_f = state.p_lf - state.p_ff
    variance = c_l - c_f + measurement
    if variance <= 0.0:
        return state, variance
    gap = ability - (state.level - state.fatigue)
    g_l, g_s, g_f = c_l / variance, c_s / variance, c_f / variance
    after = DailyState(
        level=state.level + g_l * gap,
        slope=state.slope + g_s * gap,
        fatigue=state.fatigue + g_f * gap,
        p_ll=max(0.0, state.p_ll - g_l * c_l),
        p_ls=state.p_ls - g_l * c_s,
        p_lf=state.p_lf - g_l * c_f,
        p_ss=max(0.0, state.p_ss - g_s * c_s),
        p_sf=state.p_sf - g_s * c_f,
        p_ff=max(0.0, state.p_ff - g_f * c_f),
    )
    return after, variance


def log_likelihood(
    abilities: Iterable[float],
    *,
    process_level: float,
    process_slope: float,
    process_fatigue: float,
    measurement: float,
    kept: float,
) -> float:
    """Return the Gaussian log-likelihood of a series of bouts, for fitting the variances.

    Parameters
    ----------
    abilities : iterable of float
        One a bout.
    process_level, process_slope, process_fatigue, measurement : float
        Variances.
    kept : float
        Share of fatigue left from bout to bout.
    """
    state, total = begin(process_fatigue), 0.0
    for ability in abilities:
        gap = ability - (state.level - state.fatigue)
        after, variance = update(state, ability, measurement)
        total -= 0.5 * (math.log(2.0 * math.pi * variance) + gap * gap / variance)
        state = predict(
            after,
            process_level=process_level,
            process_slope=process_slope,
            process_fatigue=process_fatigue,
            kept=kept,
        )
    return total
