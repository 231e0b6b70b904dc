"""Virtual stroke survivors: who they are, and what would happen to them in an arm.

Every person has random streams of their own, so that a person is the same whatever the number
of people, the order of the calls or the worker; the two arms of a person share their streams.

Missing data are missing at random by construction: whether somebody leaves between two visits
depends on the walking speed that was last *measured*, visits, instruments and diaries are
missed by chance alone, and falls have no part in either. So the difference that a mixed model
for repeated measures estimates is the difference of the world, the exposure in the diary is
unrelated to the frailty behind the falls, and every truth in :mod:`trialkit.simulate.truth`
is well defined. Who leaves the training stays in the study and keeps the world's effect.

Every value is rounded at its instrument's resolution (stopwatch 0.01 s, corridor 1 m, ABC in
tens of a percent), so that the last bit of a processor's arithmetic cannot reach the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trialkit.protocol.forms import Status
from trialkit.simulate.worlds import COHORT, VISIT_DAYS, VISITS, Cohort, World, cholesky

Items = dict[str, float | int | str | None]
DAYS_PER_YEAR = 365.25
DIARY_TO_DAY = 182
DIARY_EVERY_DAYS = 28
_FACTOR = cholesky(COHORT.visit_correlation, 4)


@dataclass(frozen=True)
class Assessment:
    """One instrument as it is entered."""

    instrument: str
    status: Status
    items: Items
    code: str | None = None


@dataclass(frozen=True)
class VisitOutcome:
    """A visit on `day`, or missed for the reason `missed`."""

    visit: str
    day: int
    assessments: tuple[Assessment, ...] = ()
    missed: str | None = None


@dataclass(frozen=True)
class DiaryReturn:
    """Days `first` to `last` of the falls diary, both included; (day, grade) of each fall."""

    first: int
    last: int
    falls: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Person:
    """Somebody who was assessed for eligibility; `excluded` is the reason not to randomise.

    `draws` holds the person's standard normal and uniform numbers by purpose. They are what
    the courses are made of, and nothing that a site could know.
    """

    number: int
    site: str
    arrival_days: float
    attributes: dict[str, str | int | float]
    excluded: str | None
    baseline: VisitOutcome
    speed: float
    draws: Mapping[str, tuple[float, ...]] = field(repr=False)
    key: tuple[int, int] = field(repr=False)


@dataclass(frozen=True)
class Course:
    """What happens to a person after randomisation."""

    visits: tuple[VisitOutcome, ...]
    diaries: tuple[DiaryReturn, ...]
    withdrawn: tuple[int, str] | None
    discontinued: tuple[int, str] | None


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of `key` (trial, person, purpose) under `seed`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def pick(names: tuple[str, ...], weights: tuple[float, ...], uniform: float) -> str:
    """Return the name at `uniform` of the cumulative weights."""
    total = 0.0
    for name, weight in zip(names, weights, strict=True):
        total += weight
        if uniform < total:
            return name
    return names[-1]


_EXCLUSIONS = ("not_eligible", "declined", "other")
_EXCLUSION_WEIGHTS = (0.6, 0.3, 0.1)
_WITHDRAWALS = ("withdrew_consent", "lost_to_follow_up", "moved_away")
_WITHDRAWAL_WEIGHTS = (0.45, 0.4, 0.15)
_DISCONTINUATIONS = ("adverse_event", "travel", "preference")
_DISCONTINUATION_WEIGHTS = (0.35, 0.25, 0.4)
_MISSED_VISITS = ("illness", "transport", "other")
_MISSED_VISIT_WEIGHTS = (0.5, 0.35, 0.15)


def person(seed: int, number: int, *, trial: int = 0, cohort: Cohort = COHORT) -> Person:
    """Draw the person of that number.

    Parameters
    ----------
    seed : int
        Seed of the run.
    number : int
        Zero-based order of arrival.
    trial : int
        Which of many trials under one seed.
    cohort : Cohort
        What people are like.
    """
    rng = stream(seed, trial, number, 0)
    normal = rng.standard_normal(160).tolist()
    uniform = rng.random(80).tolist()
    candidates, rest = normal[:8], normal[8:]
    z = next((c for c in candidates if abs(c) <= cohort.speed_bound_sd), 0.0)
    draws = {
        "speed": tuple(rest[0:4]),
        "abc": (candidates[0], *rest[4:9]),
        "bbs": (z, *rest[9:14]),
        "trial": tuple(rest[14:29]),
        "items": tuple(rest[29:109]),
        "uniform": tuple(uniform[20:]),
    }
    speed = cohort.speed_mean + cohort.speed_sd * z
    site = pick(cohort.site_names, cohort.site_weights, uniform[0])
    excluded = (
        pick(_EXCLUSIONS, _EXCLUSION_WEIGHTS, uniform[2])
        if uniform[1] < cohort.excluded_probability
        else None
    )
    assessments = _assess(0, speed, _abc(0, 0.0, draws, cohort), _bbs(0, 0.0, draws, cohort), draws)
    return Person(
        number=number,
        site=site,
        arrival_days=(number + uniform[3]) * cohort.days_between_arrivals,
        attributes={
            "sex": "F" if uniform[4] < 0.45 else "M",
            "age_years": round(min(88.0, max(30.0, 62.0 + 11.0 * rest[110]))),
            "weight_kg": round(min(130.0, max(45.0, 78.0 + 14.0 * rest[111])), 1),
            "height_cm": round(min(198.0, max(148.0, 170.0 + 9.0 * rest[112]))),
            "months_since_stroke": round(1.0 + 5.0 * uniform[5], 1),
            "paretic_side": "left" if uniform[6] < 0.5 else "right",
        },
        excluded=excluded,
        baseline=VisitOutcome("BL", -1 - int(3.0 * uniform[7]), assessments),
        speed=speed,
        draws=draws,
        key=(seed, trial),
    )


def course(someone: Person, world: World | None, *, cohort: Cohort = COHORT) -> Course:
    """Return what happens to a randomised person.

    Parameters
    ----------
    someone : Person
        From :func:`person`.
    world : World or None
        The world's effect applies to the robot arm; None is the conventional arm.
    cohort : Cohort
        What people are like.
    """
    uniform = someone.draws["uniform"]
    speeds = _speeds(someone, world, cohort)
    visits: list[VisitOutcome] = []
    last_measured = someone.speed
    withdrawn: tuple[int, str] | None = None
    for k in range(1, len(VISITS)):
        chance = cohort.withdrawal_probability[k - 1]
        log_odds = math.log(chance / (1 - chance)) + cohort.withdrawal_log_odds_per_sd * (
            (last_measured - cohort.speed_mean) / cohort.speed_sd
        )
        u = uniform[10 * (k - 1) : 10 * k]
        if u[0] < 1.0 / (1.0 + math.exp(-log_odds)):
            first, last = VISIT_DAYS[k - 1] + 4, VISIT_DAYS[k] - 4
            day = first + int((last - first + 1) * u[1])
            withdrawn = (day, pick(_WITHDRAWALS, _WITHDRAWAL_WEIGHTS, u[2]))
            break
        visits.append(_visit(k, someone, world, speeds[k - 1], u, cohort))
        if visits[-1].assessments and visits[-1].assessments[0].status == "done":
            last_measured = speeds[k - 1]
    return Course(
        visits=tuple(visits),
        diaries=_diaries(someone, world, withdrawn[0] if withdrawn else None, cohort),
        withdrawn=withdrawn,
        discontinued=_discontinuation(uniform[40:44], withdrawn, cohort),
    )


def _visit(
    k: int, someone: Person, world: World | None, speed: float, u: tuple[float, ...], cohort: Cohort
) -> VisitOutcome:
    """Visit `k` (1 is W4): held with its assessments, or missed by chance."""
    day = VISIT_DAYS[k] - 3 + int(7 * u[3])
    if u[4] < cohort.missed_visit_probability:
        reason = pick(_MISSED_VISITS, _MISSED_VISIT_WEIGHTS, u[5])
        return VisitOutcome(VISITS[k], VISIT_DAYS[k], missed=reason)
    draws = someone.draws
    abc = _abc(k, world.abc[k - 1] if world else 0.0, draws, cohort)
    bbs = _bbs(k, world.bbs[k - 1] if world else 0.0, draws, cohort)
    able = u[6] >= cohort.unable_probability and speed >= cohort.unable_below
    blank = int(16 * u[8]) if u[7] < cohort.abc_blank_probability else None
    entries = list(_assess(k, speed if able else None, abc, bbs, draws, blank))
    lost = u[9] / cohort.missed_instrument_probability
    if lost < len(entries):
        i = int(lost)
        entries[i] = Assessment(entries[i].instrument, "not_done", {}, "no_time")
    return VisitOutcome(VISITS[k], day, tuple(entries))


def _speeds(someone: Person, world: World | None, cohort: Cohort) -> list[float]:
    """Comfortable walking speeds at the visits after baseline, m/s."""
    z = someone.draws["speed"]
    site = cohort.speed_site[cohort.site_names.index(someone.site)]
    deviation = cohort.speed_slope * (someone.speed - cohort.speed_mean)
    return [
        cohort.speed_mean
        + cohort.speed_gain[k]
        + (world.speed[k] if world else 0.0)
        + site
        + deviation
        + cohort.speed_residual_sd[k] * _correlated(z, k)
        for k in range(4)
    ]


def _correlated(z: tuple[float, ...], k: int) -> float:
    """Element `k` of the four correlated normals made of `z`."""
    return sum(_FACTOR[k][j] * z[j] for j in range(k + 1))


def _abc(
    k: int, shift: float, draws: Mapping[str, tuple[float, ...]], cohort: Cohort
) -> list[float]:
    """Latent scores of the 16 ABC items at visit `k`: normal, before the scale's ends."""
    z0, own, *later = draws["abc"]
    r = cohort.abc_speed_correlation
    base = r * z0 + math.sqrt(1 - r * r) * own
    if k == 0:
        level = cohort.abc_mean + cohort.abc_sd * base
    else:
        rho = cohort.abc_correlation
        noise = 0.3 * _correlated(draws["speed"], k - 1) + math.sqrt(0.91) * _correlated(
            tuple(later), k - 1
        )
        level = (
            cohort.abc_mean
            + cohort.abc_gain[k - 1]
            + shift
            + cohort.abc_sd * (rho * base + math.sqrt(1 - rho * rho) * noise)
        )
    items = draws["items"][16 * k : 16 * (k + 1)]
    return [
        level + offset + cohort.abc_item_sd * e
        for offset, e in zip(cohort.abc_offsets, items, strict=True)
    ]


def _bbs(k: int, shift: float, draws: Mapping[str, tuple[float, ...]], cohort: Cohort) -> int:
    """Berg total at visit `k`, 0 to 56."""
    z, own, *later = draws["bbs"]
    level = cohort.bbs_mean + cohort.bbs_sd * (0.5 * z + math.sqrt(0.75) * own)
    if k:
        level += cohort.bbs_gain[k - 1] + shift + 2.0 * later[k - 1]
    return min(56, max(0, round(level)))


def _assess(
    k: int,
    speed: float | None,
    abc: list[float],
    bbs: int,
    draws: Mapping[str, tuple[float, ...]],
    blank: int | None = None,
) -> tuple[Assessment, ...]:
    """The five instruments at visit `k`; without a speed the person could not walk that day."""
    answers: Items = {
        f"ABC{i + 1:02d}": min(100, max(0, 10 * round(value / 10))) for i, value in enumerate(abc)
    }
    if blank is not None:
        del answers[f"ABC{blank + 1:02d}"]
    level, extra = divmod(bbs, 14)
    berg: Items = {f"BBS{i + 1:02d}": level + (1 if i < extra else 0) for i in range(14)}
    balance = Assessment("BBS", "done", berg)
    confidence = Assessment("ABC", "done", answers)
    if speed is None:
        unable = [Assessment(name, "unable", {}) for name in ("10MWT", "6MWT", "TUG")]
        return (*unable, balance, confidence)
    pace, walk, rise = draws["trial"][3 * k : 3 * k + 3]
    near = min(0.09, max(-0.09, 0.03 * pace))
    comfortable, fast = 6.0 / speed, 6.0 / (1.3 * speed)
    timed: Items = {
        "TIMED_M": 6,
        "C1_S": round(comfortable * (1 + near), 2),
        "C2_S": round(comfortable * (1 - near), 2),
        "F1_S": round(fast * (1 + near), 2),
        "F2_S": round(fast * (1 - near), 2),
    }
    metres = max(1, round(360 * speed * min(1.2, max(0.5, 0.85 + 0.08 * walk))))
    seconds = round(min(180.0, max(6.0, 10.0 / speed * (1 + 0.12 * min(3.0, max(-3.0, rise))))), 1)
    return (
        Assessment("10MWT", "done", timed),
        Assessment("6MWT", "done", {"DISTANCE_M": metres}),
        Assessment("TUG", "done", {"TIME_S": seconds}),
        balance,
        confidence,
    )


def falls_rate(someone: Person, world: World | None, *, cohort: Cohort = COHORT) -> float:
    """Expected falls per person-year of somebody with average frailty.

    Scaled so that people in the conventional arm fall ``cohort.falls_rate`` times a year on
    average over baseline speed and balance.
    """
    cut = (cohort.fast_from - cohort.speed_mean) / cohort.speed_sd
    share_fast = 0.5 * math.erfc(cut / math.sqrt(2.0))
    average = (1 - share_fast) + share_fast * math.exp(cohort.falls_log_fast)
    berg = _bbs(0, 0.0, someone.draws, cohort)
    log_rate = cohort.falls_log_bbs * (berg - cohort.bbs_mean)
    if someone.speed >= cohort.fast_from:
        log_rate += cohort.falls_log_fast
    site = cohort.falls_site[cohort.site_names.index(someone.site)]
    ratio = world.falls_rate_ratio if world else 1.0
    return cohort.falls_rate / average * site * ratio * math.exp(log_rate)


def _diaries(
    someone: Person, world: World | None, withdrawn: int | None, cohort: Cohort
) -> tuple[DiaryReturn, ...]:
    """Falls from randomisation to day 182, and the returns that report them.

    Given the frailty, which is gamma distributed with mean 1 and variance alpha, falls are a
    Poisson process. A second fall on one day is written down on the next.
    """
    rng = stream(someone.key[0], someone.key[1], someone.number, 1)
    frailty = rng.gamma(1.0 / cohort.falls_alpha, cohort.falls_alpha)
    missed = rng.random(8).tolist()
    per_day = frailty * falls_rate(someone, world, cohort=cohort) / DAYS_PER_YEAR
    falls: dict[int, int] = {}
    day, last = 0.0, -1
    while per_day > 0 and len(falls) <= DIARY_TO_DAY:
        day += float(rng.standard_exponential()) / per_day
        whole = max(int(min(day, 1e6)), last + 1)
        if whole > DIARY_TO_DAY:
            break
        u = float(rng.random())
        falls[whole] = 2 if u < 0.72 else 3 if u < 0.94 else 4
        last = whole
    end = DIARY_TO_DAY if withdrawn is None else withdrawn - 1
    returns = []
    for i, first in enumerate(range(0, DIARY_TO_DAY + 1, DIARY_EVERY_DAYS)):
        final = min(first + DIARY_EVERY_DAYS - 1, end)
        if final < first or missed[i] < cohort.missed_diary_probability:
            continue
        inside = tuple((d, grade) for d, grade in falls.items() if first <= d <= final)
        returns.append(DiaryReturn(first, final, inside))
    return tuple(returns)


def _discontinuation(
    u: tuple[float, ...], withdrawn: tuple[int, str] | None, cohort: Cohort
) -> tuple[int, str] | None:
    """Day and reason of leaving the training early while staying in the study."""
    if u[0] < cohort.never_started_probability:
        day, code = 1, "never_started"
    elif u[0] < cohort.never_started_probability + cohort.discontinued_probability:
        day = 7 + int(70 * u[1])
        code = pick(_DISCONTINUATIONS, _DISCONTINUATION_WEIGHTS, u[2])
    else:
        return None
    return None if withdrawn and withdrawn[0] <= day else (day, code)
