"""What is true in a virtual trial: the people, and what training does to them in each world.

The parameters describe adults who walk slowly in the first months after a stroke. Those with
a source keep it beside them; the others are invented and say so. None is evidence about any
device: a world is a scenario. ``benefit`` favours the robot arm about as much as the better
published trials did, ``null`` has no difference, ``harm`` favours the therapist, as Hidler
2009 and Hornby 2008 found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trialkit.errors import UnknownName

VISITS = ("BL", "W4", "W8", "W12", "W26")
VISIT_DAYS = (0, 28, 56, 84, 182)
POST = VISITS[1:]


@dataclass(frozen=True)
class Cohort:
    """The people, whatever the arm.

    Speeds in m/s, Activities-specific Balance Confidence (ABC) and Berg Balance Scale (BBS)
    in points, rates per person-year, probabilities per person unless said.
    """

    # comfortable walking speed: baseline from Xie 2025; the follow-up SD and the correlation
    # with baseline lie between those of its two arms (.53 and .77)
    speed_mean: float = 0.43
    speed_sd: float = 0.12
    speed_bound_sd: float = 2.75  # eligibility: symmetric, so that the mean stays as it is
    speed_gain: tuple[float, ...] = (0.05, 0.08, 0.10, 0.10)
    speed_slope: float = 0.87  # of follow-up speed on baseline speed: .65 * .16 / .12
    speed_residual_sd: tuple[float, ...] = (0.095, 0.110, 0.122, 0.130)
    visit_correlation: tuple[float, ...] = (0.75, 0.65, 0.55)  # by distance in visits; invented
    speed_site: tuple[float, ...] = (0.02, 0.0, -0.02, -0.01)  # invented; weighted mean 0
    unable_probability: float = 0.004  # per visit after baseline, whatever the arm; invented
    unable_below: float = 0.05
    # ABC 62 (24); item difficulties and item noise invented
    abc_mean: float = 62.0
    abc_sd: float = 24.0
    abc_correlation: float = 0.8  # with baseline
    abc_speed_correlation: float = 0.4
    abc_gain: tuple[float, ...] = (3.0, 5.0, 6.0, 6.0)
    abc_offsets: tuple[float, ...] = (
        *(10.0, 4.0, 8.0, 6.0, -4.0, -14.0, -12.0, 6.0),
        *(8.0, 8.0, 2.0, 0.0, -4.0, 6.0, -10.0, -14.0),
    )
    abc_item_sd: float = 10.0
    abc_blank_probability: float = 0.02  # of an assessment with one unanswered item; invented
    # BBS 39.6 (4.6), gain 2.9 conventional
    bbs_mean: float = 39.6
    bbs_sd: float = 4.6
    bbs_gain: tuple[float, ...] = (1.5, 2.4, 2.9, 2.9)
    # falls: 1.75 a person-year, overdispersion 1.1 (LEAPS, Batchelor); slopes invented
    falls_rate: float = 1.75
    falls_alpha: float = 1.1
    falls_log_bbs: float = -0.02
    falls_log_fast: float = 0.3  # from a baseline speed of 0.4 m/s: more walking, more exposure
    falls_site: tuple[float, ...] = (1.0, 1.1, 0.9, 0.95)  # weighted mean 1
    fast_from: float = 0.4
    # who stays: 5 to 15 % leave in published trials; how it depends on speed is invented
    withdrawal_probability: tuple[float, ...] = (0.030, 0.025, 0.020, 0.030)
    withdrawal_log_odds_per_sd: float = -0.35  # of the last speed that was measured
    missed_visit_probability: float = 0.02
    missed_instrument_probability: float = 0.004
    missed_diary_probability: float = 0.02
    excluded_probability: float = 0.12
    never_started_probability: float = 0.015
    discontinued_probability: float = 0.05
    missed_session_probability: float = 0.06
    # sites
    site_names: tuple[str, ...] = ("01", "02", "03", "04")
    site_weights: tuple[float, ...] = (0.3, 0.3, 0.2, 0.2)
    days_between_arrivals: float = 2.0


COHORT = Cohort()


@dataclass(frozen=True)
class World:
    """The difference that robotic training makes, at W4, W8, W12 and W26.

    Parameters
    ----------
    name, title : str
        Its name, and what it is in one line.
    speed : tuple of float
        Difference in comfortable walking speed, m/s.
    falls_rate_ratio : float
        Ratio of fall rates from randomisation on.
    abc : tuple of float
        Shift of balance confidence before the scale's ends are applied, points.
    bbs : tuple of float
        Shift of the Berg Balance Scale, points.
    device_events : float
        Factor on the rates of events that a device causes.
    """

    name: str
    title: str
    speed: tuple[float, ...]
    falls_rate_ratio: float
    abc: tuple[float, ...]
    bbs: tuple[float, ...]
    device_events: float = 1.0


_NOTHING = (0.0, 0.0, 0.0, 0.0)
WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        World(
            "benefit",
            "robotic training helps: +0.07 m/s at week 12, a third fewer falls",
            speed=(0.03, 0.055, 0.07, 0.06),
            falls_rate_ratio=0.65,
            abc=(4.0, 7.0, 9.0, 8.0),
            bbs=(0.9, 1.5, 1.8, 1.6),
        ),
        World(
            "null",
            "robotic and conventional training do the same",
            speed=_NOTHING,
            falls_rate_ratio=1.0,
            abc=_NOTHING,
            bbs=_NOTHING,
        ),
        World(
            "harm",
            "therapists do better: -0.10 m/s at week 12, a third more falls",
            speed=(-0.05, -0.08, -0.10, -0.09),
            falls_rate_ratio=1.35,
            abc=(-3.0, -5.0, -6.0, -5.0),
            bbs=(-0.8, -1.2, -1.4, -1.2),
            device_events=2.0,
        ),
    )
}
PLANNED = WORLDS["benefit"]
"""The world that the size of the demonstration was planned on."""


def find_world(name: str) -> World:
    """Return the world of that name.

    Raises
    ------
    UnknownName
        If there is none.
    """
    if name not in WORLDS:
        raise UnknownName(
            f"no world is called {name!r}.", remedy=f"Use one of: {', '.join(WORLDS)}."
        )
    return WORLDS[name]


def cholesky(correlation: tuple[float, ...], n: int) -> tuple[tuple[float, ...], ...]:
    """Return the lower Cholesky factor of an n x n Toeplitz correlation matrix.

    Plain floating point (additions, products, square roots), so that it is the same on every
    processor.
    """
    rows = [[1.0 if i == j else correlation[abs(i - j) - 1] for j in range(n)] for i in range(n)]
    lower = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = rows[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = math.sqrt(rest) if i == j else rest / lower[j][j]
    return tuple(tuple(row) for row in lower)
