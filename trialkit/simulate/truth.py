"""The truth of a world in the terms of each registered analysis.

A mean difference follows from the generator; so does the ratio of fall rates, because a ratio
of means is the same with and without covariates when arms are random. A hazard ratio is not:
under frailty, hazards are not proportional, and what a Cox model estimates in a large trial
(its least-false value, Struthers & Kalbfleisch 1986, Biometrika 73:363) depends on covariates
and censoring. It is computed here as the solution of the expected score equation of that
model. The marginal risk difference comes from a very large simulation in which everybody is
seen in both arms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from trialkit.simulate.patients import (
    DAYS_PER_YEAR,
    DIARY_EVERY_DAYS,
    DIARY_TO_DAY,
    course,
    falls_rate,
    person,
    stream,
)
from trialkit.simulate.worlds import COHORT, POST, Cohort, World

Floats = npt.NDArray[np.float64]
CONFIDENT_FROM = 81.1
_CHUNK = 50_000


@dataclass(frozen=True)
class Truth:
    """The value that an analysis estimates; `how` says where it comes from.

    Ratios are on their natural scale. `mc_se` is the Monte Carlo standard error, 0 if exact.
    """

    analysis: str
    quantity: str
    value: float
    how: str
    mc_se: float = 0.0


def truths(world: World, *, visit: str = "W12") -> dict[str, Truth]:
    """Return the truth of the analyses speed, falls, first_fall, abc and confident."""
    arms = confidence(world, visit)
    ratio, error = hazard_ratio(world)
    found = (
        Truth("speed", "difference", speed_difference(world, visit), "generator"),
        Truth("falls", "rate_ratio", world.falls_rate_ratio, "generator"),
        Truth("first_fall", "hazard_ratio", ratio, "expected score equation", error),
        Truth("abc", "difference", abc_difference(world, visit), "generator"),
        Truth(
            "confident",
            "risk_difference",
            arms.risk_difference,
            "everybody in both arms",
            arms.risk_difference_se,
        ),
    )
    return {truth.analysis: truth for truth in found}


def speed_difference(world: World, visit: str = "W12", *, cohort: Cohort = COHORT) -> float:
    """Return the difference in mean speed, m/s.

    The probability of being unable on the day (0 m/s) is the same in both arms, so that it
    shrinks the difference by its own share. The walkers below ``unable_below`` are left out:
    they change the difference by less than 0.0002 m/s.
    """
    return (1 - cohort.unable_probability) * world.speed[POST.index(visit)]


def normal_cdf(z: Floats | float) -> Floats:
    """Return the standard normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), dtype=np.float64)


def abc_difference(world: World, visit: str = "W12", *, cohort: Cohort = COHORT) -> float:
    """Return the difference in the mean ABC score, points.

    An item is a normal score rounded to tens and held between 0 and 100. Its mean is the sum
    of ten points times the probability of reaching each of 10, 20 ... 100.
    """
    k = POST.index(visit)
    sd = math.hypot(cohort.abc_sd, cohort.abc_item_sd)
    steps = np.arange(5.0, 100.0, 10.0)

    def mean(shift: float) -> float:
        levels = cohort.abc_mean + cohort.abc_gain[k] + shift + np.array(cohort.abc_offsets)
        return float((10.0 * normal_cdf((levels[:, None] - steps) / sd)).sum(axis=1).mean())

    return mean(world.abc[k]) - mean(0.0)


@dataclass(frozen=True)
class Confidence:
    """ABC at a visit, from a large simulation: arms are (conventional, robot)."""

    shares: tuple[float, float]
    risk_difference: float
    risk_difference_se: float
    means: tuple[float, float]
    sds: tuple[float, float]
    correlations: tuple[float, float]


@cache
def confidence(
    world: World, visit: str = "W12", *, people: int = 300_000, seed: int = 81
) -> Confidence:
    """Simulate ABC at baseline and at `visit`, everybody in both arms.

    Written apart from :mod:`trialkit.simulate.patients` and in batches; a test compares both.

    Returns
    -------
    Confidence
        Shares at or above 81.1, their difference with its Monte Carlo standard error, and
        mean, SD and correlation with baseline of the score.
    """
    k, c = POST.index(visit), COHORT
    offsets = np.array(c.abc_offsets)
    levels = np.array([c.abc_mean, c.abc_mean + c.abc_gain[k], 0.0])
    levels[2] = levels[1] + world.abc[k]
    sums = np.zeros((3, 3))
    counts, squares = np.zeros(3), 0.0
    for chunk in range(people // _CHUNK):
        rng = stream(seed, k, chunk)
        base = rng.standard_normal(_CHUNK)
        later = c.abc_correlation * base + math.sqrt(
            1 - c.abc_correlation**2
        ) * rng.standard_normal(_CHUNK)
        noise = rng.standard_normal((2, _CHUNK, 16))
        scores = np.empty((3, _CHUNK))
        for row, (latent, e) in enumerate(((base, 0), (later, 1), (later, 1))):
            items = levels[row] + c.abc_sd * latent[:, None] + offsets + c.abc_item_sd * noise[e]
            scores[row] = np.clip(np.rint(items / 10.0) * 10.0, 0.0, 100.0).mean(axis=1)
        sums += scores @ scores.T
        counts += scores.sum(axis=1)
        reached = (scores >= CONFIDENT_FROM).astype(float)
        squares += float(((reached[2] - reached[1]) ** 2).sum())
        if chunk == 0:
            shares = np.zeros(3)
        shares += reached.sum(axis=1)
    n = float(_CHUNK * (people // _CHUNK))
    means = counts / n
    spread = sums / n - np.outer(means, means)
    sds = np.sqrt(np.diag(spread))
    difference = float(shares[2] - shares[1]) / n
    return Confidence(
        shares=(float(shares[1]) / n, float(shares[2]) / n),
        risk_difference=difference,
        risk_difference_se=math.sqrt(max(squares / n - difference**2, 0.0) / n),
        means=(float(means[1]), float(means[2])),
        sds=(float(sds[1]), float(sds[2])),
        correlations=(
            float(spread[0, 1] / sds[0] / sds[1]),
            float(spread[0, 2] / sds[0] / sds[2]),
        ),
    )


@cache
def hazard_ratio(
    world: World, *, people: int = 2000, seed: int = 182, cohort: Cohort = COHORT
) -> tuple[float, float]:
    """Return the least-false hazard ratio of the first fall, and its Monte Carlo error.

    The model is ``arm + site + speed band`` with censoring by the end of the diary, by
    withdrawal and by the first diary that was not returned. `people` are drawn for their
    covariates and withdrawals; the chance of a fall on each day is then exact: with gamma
    frailty of variance a and rate r, nobody has fallen by t with probability
    ``(1 + a r t) ** (-1 / a)``. The error comes from five fifths of the people.
    """
    cells = [_expected(world, part, people // 5, seed, cohort) for part in range(5)]
    both = (sum(c[0] for c in cells), sum(c[1] for c in cells))
    whole = _solve(np.asarray(both[0]), np.asarray(both[1]))
    parts = np.array([_solve(*cell) for cell in cells])
    return math.exp(whole), math.exp(whole) * float(parts.std(ddof=1)) / math.sqrt(5)


def _expected(
    world: World, part: int, people: int, seed: int, cohort: Cohort
) -> tuple[Floats, Floats]:
    """Expected people at risk (mid-day) and first falls, by cell (arm, site, band) and day."""
    days = np.arange(DIARY_TO_DAY + 2)
    returned = (1 - cohort.missed_diary_probability) ** (1 + days[:-1] // DIARY_EVERY_DAYS)
    at_risk = np.zeros((2, len(cohort.site_names), 2, DIARY_TO_DAY + 1))
    events = np.zeros_like(at_risk)
    for number in range(people):
        someone = person(seed, number, trial=part, cohort=cohort)
        site = cohort.site_names.index(someone.site)
        band = int(someone.speed >= cohort.fast_from)
        for arm, effect in enumerate((None, world)):
            rate = falls_rate(someone, effect, cohort=cohort) / DAYS_PER_YEAR
            free = (1 + cohort.falls_alpha * rate * days) ** (-1 / cohort.falls_alpha)
            path = course(someone, effect, cohort=cohort)
            seen = returned.copy()
            if path.withdrawn is not None:
                seen[path.withdrawn[0] :] = 0.0
            at_risk[arm, site, band] += seen * (free[:-1] + free[1:]) / 2
            events[arm, site, band] += seen * (free[:-1] - free[1:])
    return at_risk, events


def _solve(at_risk: Floats, events: Floats) -> float:
    """Solve the score equation of the Cox model on expected counts; return the log ratio."""
    arms, sites, bands, days = at_risk.shape
    design = np.array(
        [
            [arm, *[site == s for s in range(1, sites)], band]
            for arm in range(arms)
            for site in range(sites)
            for band in range(bands)
        ],
        dtype=float,
    )
    y, d = at_risk.reshape(-1, days), events.reshape(-1, days)
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        weight = np.exp(design @ beta)[:, None] * y
        share = weight / weight.sum(axis=0)
        mean = design.T @ share
        total = d.sum(axis=0)
        score = design.T @ d.sum(axis=1) - mean @ total
        second = np.einsum("cp,cq,ct,t->pq", design, design, share, total)
        step = np.linalg.solve(second - (mean * total) @ mean.T, score)
        beta = beta + step
        if float(np.abs(step).max()) < 1e-12:
            break
    return float(beta[0])
