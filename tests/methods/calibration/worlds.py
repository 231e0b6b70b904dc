"""Simulated trials with a known truth, for the calibration of the methods.

Every world gives one DataFrame a trial: 55 % in the arm ``new``, 45 % in ``old`` (at random), a
baseline covariate, and an effect. Trial i has a stream of random numbers of its own, so that it
is the same whatever is run beside it.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import integrate, special

EFFECT = {"mean": 0.4, "log_rate": math.log(0.6), "log_hazard": math.log(0.6), "log_odds": 0.9}
VISITS = ("V1", "V2", "V3")
ARMS = pd.CategoricalDtype(["old", "new"])
TAU = 1.0
#: Time at which mean counts are compared; some have left by then.
LATE = 0.75
#: Share of cause 1 in the arm ``old`` of :func:`causes`.
SHARE = 0.6


def stream(name: str, n: int, trial: int) -> np.random.Generator:
    """Return the random numbers of one trial."""
    seed = np.random.SeedSequence([*name.encode(), n, trial])
    return np.random.Generator(np.random.Philox(seed))


def people(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Return arm and baseline of n participants."""
    codes = np.zeros(n, dtype=np.int8)
    codes[rng.permutation(n)[: round(0.55 * n)]] = 1
    return pd.DataFrame(
        {
            "ID": np.arange(n),
            "ARM": pd.Categorical.from_codes(codes, dtype=ARMS),
            "BASE": rng.standard_normal(n),
        }
    )


def arm(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return 1 for the arm ``new``."""
    return frame["ARM"].cat.codes.to_numpy().astype(np.float64)


def means(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """One visit: normal errors."""
    frame = people(rng, n)
    frame["Y"] = 0.6 * frame["BASE"] + effect * arm(frame) + rng.standard_normal(n)
    return frame


def visits(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Three visits, correlated, growing variance; dropout depends on the last value seen."""
    frame = people(rng, n)
    root = np.linalg.cholesky([[1.0, 0.6, 0.4], [0.6, 1.3, 0.8], [0.4, 0.8, 1.6]])
    y = rng.standard_normal((n, 3)) @ root.T + 0.5 * frame["BASE"].to_numpy()[:, None]
    y += arm(frame)[:, None] * effect * np.array([0.3, 0.7, 1.0])
    lost = np.zeros(n, dtype=bool)
    for k in (1, 2):
        lost |= rng.random(n) < special.expit(-2.4 - 0.5 * np.nan_to_num(y[:, k - 1]))
        y[lost, k] = np.nan
    codes = np.tile(np.arange(3, dtype=np.int8), n)
    return pd.DataFrame(
        {
            "ID": np.repeat(np.arange(n), 3),
            "ARM": pd.Categorical.from_codes(np.repeat(frame["ARM"].cat.codes, 3), dtype=ARMS),
            "BASE": np.repeat(frame["BASE"].to_numpy(), 3),
            "VISIT": pd.Categorical.from_codes(codes, categories=list(VISITS)),
            "Y": y.ravel(),
        }
    )


def counts(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Falls of half a year on average, gamma frailty of variance 0.8."""
    frame = people(rng, n)
    frame["YEARS"] = rng.uniform(0.25, 0.75, n)
    rate = 3.0 * np.exp(effect * arm(frame) + 0.2 * frame["BASE"])
    frame["N"] = rng.poisson(rate * frame["YEARS"] * rng.gamma(1 / 0.8, 0.8, n)).astype(float)
    return frame


def times(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Exponential times with rate 1, censored uniformly from 1.2 to 2."""
    frame = people(rng, n)
    hazard = np.exp(effect * arm(frame))
    event, censored = rng.exponential(1.0 / hazard), rng.uniform(1.2, 2.0, n)
    frame["T"] = np.minimum(event, censored)
    frame["E"] = (event <= censored).astype(float)
    return frame


def recurrences(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Recurrent events over a year, gamma frailty of variance 0.5."""
    frame = people(rng, n)
    rate = 2.0 * np.exp(effect * arm(frame)) * rng.gamma(2.0, 0.5, n)
    end = rng.uniform(0.5, 1.0, n)
    number = rng.poisson(rate * end)
    who = np.concatenate([np.repeat(np.arange(n), number), np.arange(n)])
    stop = np.concatenate([rng.uniform(0.0, 1.0, number.sum()) * np.repeat(end, number), end])
    order = np.lexsort((stop, who))
    who, stop = who[order], stop[order]
    begin = np.r_[0.0, stop[:-1]]
    begin[np.r_[True, who[1:] != who[:-1]]] = 0.0
    return pd.DataFrame(
        {
            "ID": who,
            "ARM": pd.Categorical.from_codes(frame["ARM"].cat.codes.to_numpy()[who], dtype=ARMS),
            "START": begin,
            "STOP": stop,
            "EVENT": (order < number.sum()).astype(float),
        }
    )


def therapists(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """One visit; in the arm ``new`` four to seven participants share a therapist (ICC 0.13)."""
    frame = people(rng, n)
    inside = np.flatnonzero(arm(frame))
    number = max(2, len(inside) // 5)
    who = np.full(n, np.nan)
    who[inside] = np.arange(len(inside)) % number
    pull = np.append(math.sqrt(0.15) * rng.standard_normal(number), 0.0)
    frame["THERAPIST"] = who
    frame["Y"] = 0.6 * frame["BASE"] + effect * arm(frame) + rng.standard_normal(n)
    frame["Y"] += pull[np.where(np.isnan(who), number, who).astype(np.intp)]
    return frame


def causes(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Two causes of an end, censored uniformly from 1.2 to 2.

    The subdistribution hazard of cause 1 is proportional: its incidence is
    ``1 - (1 - 0.6 (1 - exp(-t))) ** ratio`` (Fine and Gray 1999, J Am Stat Assoc 94:496).
    Cause 2 comes at an exponential time.
    """
    frame = people(rng, n)
    ratio = np.exp(effect * arm(frame))
    share = 1.0 - (1.0 - SHARE) ** ratio
    first = rng.random(n) < share
    inner = (1.0 - rng.random(n) * share) ** (1.0 / ratio)
    time = np.where(first, -np.log1p(-(1.0 - inner) / SHARE), rng.exponential(1.0, n))
    censored = rng.uniform(1.2, 2.0, n)
    frame["T"] = np.minimum(time, censored)
    frame["CAUSE"] = np.where(time > censored, 0, np.where(first, 1, 2))
    return frame


def answers(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Yes or no, logistic in arm and baseline."""
    frame = people(rng, n)
    risk = special.expit(-0.2 + effect * arm(frame) + 0.5 * frame["BASE"])
    frame["YES"] = (rng.random(n) < risk).astype(float)
    return frame


def grades(rng: np.random.Generator, n: int, effect: float) -> pd.DataFrame:
    """Five ordered grades, proportional odds."""
    frame = people(rng, n)
    latent = effect * arm(frame) + 0.5 * frame["BASE"] + rng.logistic(size=n)
    frame["GRADE"] = np.digitize(latent, [-1.5, -0.5, 0.5, 1.5]).astype(np.int64)
    return frame


def risk_difference(effect: float) -> float:
    """Standardised risk difference of :func:`answers` over its population."""

    def risk(shift: float) -> float:
        def density(x: float) -> float:
            return float(special.expit(-0.2 + shift + 0.5 * x)) * math.exp(-0.5 * x * x)

        return float(integrate.quad(density, -9, 9)[0]) / math.sqrt(2.0 * math.pi)

    return risk(effect) - risk(0.0)


def restricted_mean(log_hazard: float) -> float:
    """Restricted mean of an exponential time to :data:`TAU`."""
    hazard = math.exp(log_hazard)
    return (1.0 - math.exp(-hazard * TAU)) / hazard


def survival(log_hazard: float) -> float:
    """Probability that an exponential time is beyond :data:`TAU`."""
    return math.exp(-math.exp(log_hazard) * TAU)


def incidence(log_ratio: float) -> float:
    """Incidence of cause 1 of :func:`causes` at :data:`TAU`."""
    return 1.0 - float((1.0 - SHARE * -math.expm1(-TAU)) ** math.exp(log_ratio))


def mean_count(log_rate: float) -> float:
    """Mean number of events of :func:`recurrences` at :data:`LATE`."""
    return 2.0 * math.exp(log_rate) * LATE


def win_odds_of(effect: float) -> float:
    """Win odds of :func:`means`: outcomes differ by a normal of variance 2 * 1.36."""
    probability = float(special.ndtr(effect / math.sqrt(2.0 * 1.36)))
    return probability / (1.0 - probability)
