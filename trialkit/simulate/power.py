"""What a plan can show at a given size: power of each endpoint, before anybody is enrolled.

Two-sided tests, normal approximations throughout:

- mean difference adjusted for baseline: ``sd**2 * (1 - r**2)``, Borm, Fransen & Lemmens 2007,
  J Clin Epidemiol 60:1234
- ratio of two negative-binomial rates: Zhu & Lakkis 2014, Stat Med 33:376
- hazard ratio: number of events, Schoenfeld 1983, Biometrics 39:499
- two proportions, no covariates: unpooled variance
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from trialkit.simulate.patients import DAYS_PER_YEAR, DIARY_TO_DAY
from trialkit.simulate.truth import (
    abc_difference,
    confidence,
    speed_difference,
)
from trialkit.simulate.worlds import COHORT, PLANNED, POST, Cohort, World

_NORMAL = NormalDist()


def power_of(effect: float, se: float, *, alpha: float = 0.05) -> float:
    """Return the power of a two-sided normal test."""
    z = _NORMAL.inv_cdf(1 - alpha / 2)
    return _NORMAL.cdf(abs(effect) / se - z) + _NORMAL.cdf(-abs(effect) / se - z)


def size_for(effect: float, variance: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return participants per arm for `power`, with `variance` that of one pair of people."""
    z = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)
    return math.ceil(z * z * variance / (effect * effect))


def rate_ratio_variance(ratio: float, rate: float, years: float, alpha: float) -> float:
    """Return the variance of the log rate ratio for one participant an arm (Zhu & Lakkis).

    Parameters
    ----------
    ratio, rate : float
        Rate ratio, and events per person-year in the reference arm.
    years : float
        Exposure of a participant.
    alpha : float
        Overdispersion: the variance of a count is mean + alpha * mean**2.
    """
    return 1 / (rate * years) + 1 / (ratio * rate * years) + 2 * alpha


def frail_hazard_ratio(ratio: float, rate: float, years: float, alpha: float) -> float:
    """Return the hazard ratio that a two-arm Cox model tends to when the frailty is gamma.

    Solves the expected score equation on a grid of days, without covariates or dropout.
    """
    days = max(1, round(years * DAYS_PER_YEAR))

    def free(r: float) -> list[float]:
        return [(1 + alpha * r * t / DAYS_PER_YEAR) ** (-1 / alpha) for t in range(days + 1)]

    curves = free(rate), free(rate * ratio)
    falls = [[c[t] - c[t + 1] for t in range(days)] for c in curves]
    risk = [[(c[t] + c[t + 1]) / 2 for t in range(days)] for c in curves]
    low, high = -3.0, 3.0
    for _ in range(60):
        beta = (low + high) / 2
        score = 0.0
        for t in range(days):
            weight = math.exp(beta) * risk[1][t]
            score += falls[1][t] - (falls[0][t] + falls[1][t]) * weight / (weight + risk[0][t])
        low, high = (beta, high) if score > 0 else (low, beta)
    return math.exp((low + high) / 2)


@dataclass(frozen=True)
class PowerRow:
    """The power of one endpoint.

    `per_arm_for_80` is the number of people to randomise for 80 % power.
    """

    analysis: str
    label: str
    effect: str
    power: float
    per_arm_for_80: int
    method: str


@dataclass(frozen=True)
class PowerStatement:
    """The power of every endpoint at one size, and what must be said about it."""

    participants: int
    rows: tuple[PowerRow, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the statement as plain data."""
        return {
            "participants": self.participants,
            "endpoints": [vars(row) for row in self.rows],
            "remarks": list(self.remarks),
        }


def staying(cohort: Cohort = COHORT, visit: str = "W12") -> float:
    """Return the share of people expected to have a value at `visit`."""
    kept = 1 - cohort.missed_visit_probability
    for chance in cohort.withdrawal_probability[: POST.index(visit) + 1]:
        kept *= 1 - chance
    return kept


def speed_sd(cohort: Cohort = COHORT, visit: str = "W12") -> float:
    """Return the SD of speed at `visit` given baseline, days of not walking included."""
    k = POST.index(visit)
    mean = cohort.speed_mean + cohort.speed_gain[k]
    return math.hypot(cohort.speed_residual_sd[k], math.sqrt(cohort.unable_probability) * mean)


def power_statement(
    participants: int, *, world: World = PLANNED, visit: str = "W12", alpha: float = 0.05
) -> PowerStatement:
    """Return the power of the five endpoints with `participants` in two arms of one size.

    `world` holds the effects that the trial is planned on, which need not be true.
    """
    cohort = COHORT
    arm = participants / 2
    kept = staying(cohort, visit)
    rows = []

    def add(key: str, label: str, effect: str, size: float, variance: float, how: str) -> None:
        power = power_of(size, math.sqrt(variance / arm), alpha=alpha)
        needed = size_for(size, variance, alpha=alpha)
        rows.append(PowerRow(key, label, effect, power, needed, how))

    speed = speed_difference(world, visit)
    variance = 2 * speed_sd(cohort, visit) ** 2 / kept
    add("speed", "Walking speed", f"{speed:+.3f} m/s", speed, variance, "Borm 2007")
    ratio, years = world.falls_rate_ratio, (DIARY_TO_DAY + 1) / DAYS_PER_YEAR
    seen = years * (kept + 1) / 2 * (1 - cohort.missed_diary_probability)
    of_rates = rate_ratio_variance(ratio, cohort.falls_rate, seen, cohort.falls_alpha)
    size = math.log(ratio)
    add("falls", "Falls", f"rate ratio {ratio:.2f}", size, of_rates, "Zhu 2014")
    hazard = frail_hazard_ratio(ratio, cohort.falls_rate, years, cohort.falls_alpha)
    chances = [
        1 - (1 + cohort.falls_alpha * r * seen) ** (-1 / cohort.falls_alpha)
        for r in (cohort.falls_rate, cohort.falls_rate * ratio)
    ]
    of_hazards = 4 / sum(chances)
    size = math.log(hazard)
    add(
        "first_fall",
        "First fall",
        f"hazard ratio {hazard:.2f}",
        size,
        of_hazards,
        "Schoenfeld 1983",
    )
    abc, arms = abc_difference(world, visit), confidence(world, visit, people=100_000)
    spread = sum(s * s * (1 - r * r) for s, r in zip(arms.sds, arms.correlations, strict=True))
    add("abc", "Balance confidence", f"{abc:+.1f} points", abc, spread / kept, "Borm 2007")
    low, high = arms.shares
    unpooled = (low * (1 - low) + high * (1 - high)) / kept
    difference = arms.risk_difference
    effect = f"{100 * low:.0f} % to {100 * high:.0f} %"
    add("confident", "Confident", effect, difference, unpooled, "two proportions")
    return PowerStatement(participants, tuple(rows), _remarks(rows, arm, ratio, cohort, alpha))


def _remarks(
    rows: list[PowerRow], arm: float, ratio: float, cohort: Cohort, alpha: float
) -> tuple[str, ...]:
    """What a reader should know before the trial starts."""
    weeks12 = rate_ratio_variance(ratio, cohort.falls_rate, 84 / DAYS_PER_YEAR, cohort.falls_alpha)
    short = power_of(math.log(ratio), math.sqrt(weeks12 / arm), alpha=alpha)
    falls = next(row for row in rows if row.analysis == "falls")
    found = []
    if falls.power < 0.8:
        found.append(
            f"Falls are underpowered at this size: {100 * falls.power:.0f} % over 26 weeks and "
            f"{100 * short:.0f} % over 12; 80 % needs {falls.per_arm_for_80} an arm over 26 weeks. "
            "A result on falls that is not significant says little."
        )
    sd = speed_sd(cohort)
    kept = staying(cohort)
    readings = [
        f"{d:.3f} m/s {100 * power_of(d, sd * math.sqrt(2 / (arm * kept)), alpha=alpha):.0f} %"
        for d in (0.042, 0.089, 0.23)
    ]
    found.append(
        'The often-quoted "+42 % walking speed" has three readings; their power with the spread '
        "assumed here: " + ", ".join(readings) + "."
    )
    found.append(
        "The tests are in a fixed sequence: one that fails ends the testing. "
        "Published trials favour the robot, the therapist or neither."
    )
    return tuple(found)
