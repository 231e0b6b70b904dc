"""Type I error and coverage of the methods over simulated trials, with their Monte Carlo error.

Every method is run on 5,000 trials at n = 20, 60 and 200 without an effect (type I error of the
two-sided 5 % test) and, where the estimate is not just shifted by the effect, on 5,000 with one
(coverage of the 95 % interval). ``make calibration`` does so, and keeps the rows for the table of
the documents. In the slow tier some have 500 trials here (`COSTLY`): imputation, methods whose
trials take several times as long as the others, and methods whose estimators have 5,000 trials of
each size, without formula and frame, in the tests of survival and categorical methods.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worlds

from trialkit import methods

TRIALS = 5_000
#: File to which rows are written for the documents, if any.
KEPT = os.environ.get("TRIALKIT_CALIBRATION", "")
#: Of methods that take many times as long as the others, or are counted elsewhere as well.
COSTLY = TRIALS if KEPT else 500
SIZES = (20, 60, 200)
Row = tuple[float, float, float] | None


@dataclass(frozen=True)
class Case:
    """A method on the trials of a world.

    Parameters
    ----------
    name : str
        Exported name of the method.
    variant : str
    run : callable
        Of a trial: p, lower, upper; None for a failed fit. NaN limits: a test only.
    truth : callable
        Of the world's effect: what the interval should cover; NaN: nothing.
    bands : mapping of int to (low, high)
        Rates of type I error and of missed truth that are allowed at n, before Monte Carlo error.
    """

    name: str
    variant: str
    run: Callable[[pd.DataFrame], Row]
    truth: Callable[[float], float]
    bands: dict[int, tuple[float, float]]


@dataclass(frozen=True)
class World:
    """Trials, with the methods that are run on each.

    ``effect`` is that of the trials in which coverage is counted. Where every estimate is just
    shifted by the effect it is 0, and one set of trials serves both.
    """

    name: str
    make: Callable[[np.random.Generator, int, float], pd.DataFrame]
    effect: float
    cases: tuple[Case, ...]
    trials: int = TRIALS


EXACT = {20: (0.05, 0.05), 60: (0.05, 0.05), 200: (0.05, 0.05)}
NEAR = {20: (0.03, 0.07), 60: (0.04, 0.06), 200: (0.045, 0.055)}
LIBERAL = {20: (0.05, 0.17), 60: (0.04, 0.10), 200: (0.04, 0.07)}
ASYMPTOTIC = {20: (0.01, 0.12), 60: (0.03, 0.08), 200: (0.04, 0.065)}


def first(failed: str | None, table: Callable[[], pd.DataFrame]) -> Row:
    """Return p and limits of the first row, None for a fit that failed or cannot tell."""
    if failed is not None:
        return None
    row = table().iloc[0]
    found = (float(row["p"]), float(row["lower"]), float(row["upper"]))
    if all(math.isnan(v) for v in found):  # an arm without any event: not estimable
        return None
    assert all(math.isfinite(v) for v in found), f"not a number, and not failed: {row}"
    return found


def against(fit: Any, what: str, **options: Any) -> Row:
    """Return the comparison of the arms."""
    return first(fit.failed, lambda: getattr(fit, what)("ARM", reference="old", **options))


def one_visit(**options: Any) -> Callable[[pd.DataFrame], Row]:
    return lambda f: against(methods.ancova("Y ~ BASE + ARM", f, **options), "contrast")


def several_visits(frame: pd.DataFrame) -> Row:
    fit = methods.mmrm("Y ~ BASE*VISIT + ARM*VISIT", frame, subject="ID", visit="VISIT")
    return first(
        fit.failed, lambda: fit.contrast("ARM", reference="old", by="VISIT").query("VISIT == 'V3'")
    )


def negative_binomial(frame: pd.DataFrame) -> Row:
    fit = methods.negative_binomial("N ~ BASE + ARM", frame, exposure="YEARS")
    return against(fit, "rate_ratio")


def poisson(frame: pd.DataFrame) -> Row:
    return against(methods.poisson("N ~ BASE + ARM", frame, exposure="YEARS"), "rate_ratio")


def nested(frame: pd.DataFrame) -> Row:
    fit = methods.partially_nested(
        "Y ~ BASE + ARM", frame, therapist="THERAPIST", arm="ARM", nested="new"
    )
    return against(fit, "contrast")


def cox(frame: pd.DataFrame) -> Row:
    return against(methods.cox("~ ARM", frame, time="T", event="E"), "hazard_ratio")


def logrank(frame: pd.DataFrame) -> Row:
    found = methods.logrank(frame, time="T", event="E", group="ARM")
    return None if found.failed else (found.p, math.nan, math.nan)


def restricted(frame: pd.DataFrame) -> Row:
    fit = methods.rmst(frame, time="T", event="E", group="ARM", tau=worlds.TAU)
    return first(fit.failed, lambda: fit.difference(reference="old"))


def milestone(frame: pd.DataFrame) -> Row:
    fit = methods.kaplan_meier(frame, time="T", event="E", group="ARM")
    return first(fit.failed, lambda: fit.milestone(worlds.TAU, reference="old"))


@pytest.fixture(autouse=True)
def own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin `aft` at its own start, not where lifelines stops.

    The maximum is the only one, the steps end at it from either, and lifelines takes 95 % of the
    time; ``tests/methods/survival/test_aft.py`` holds both starts to the same numbers.
    """
    monkeypatch.setattr("trialkit.methods.survival.aft.lifelines_place", lambda *_: None)


def time_ratio(frame: pd.DataFrame) -> Row:
    return against(methods.aft("~ ARM", frame, time="T", event="E"), "time_ratio")


def fine_gray(frame: pd.DataFrame) -> Row:
    return against(methods.fine_gray("~ ARM", frame, time="T", cause="CAUSE", of=1), "hazard_ratio")


def gray(frame: pd.DataFrame) -> Row:
    fit = methods.competing_risks(frame, time="T", cause="CAUSE", group="ARM")
    table = fit.gray().query("cause == 1")
    if table.empty or table["reason"].iloc[0] is not None:
        return None
    return float(table["p"].iloc[0]), math.nan, math.nan


def incidence(frame: pd.DataFrame) -> Row:
    fit = methods.competing_risks(frame, time="T", cause="CAUSE", group="ARM")
    if 1 not in fit.causes:
        return None
    return first(fit.failed, lambda: fit.difference(worlds.TAU, reference="old", cause=1))


def mean_count(frame: pd.DataFrame) -> Row:
    fit = methods.mean_cumulative_count(
        frame, start="START", stop="STOP", event="EVENT", subject="ID", group="ARM"
    )
    return first(fit.failed, lambda: fit.difference(reference="old", at=worlds.LATE))


def lwyy(frame: pd.DataFrame) -> Row:
    fit = methods.recurrent(
        frame, start="START", stop="STOP", event="EVENT", subject="ID", formula="~ ARM"
    )
    return against(fit, "rate_ratio")


def risk_difference(frame: pd.DataFrame) -> Row:
    return against(methods.binary("YES ~ BASE + ARM", frame), "standardised", measure="difference")


def shares(frame: pd.DataFrame) -> Row:
    fit = methods.proportions(frame, response="YES", group="ARM", reference="old")
    return first(fit.failed, lambda: fit.table)


def odds(frame: pd.DataFrame) -> Row:
    return against(methods.binary("YES ~ BASE + ARM", frame), "odds_ratio")


def grade(frame: pd.DataFrame) -> Row:
    return against(methods.ordinal("GRADE ~ BASE + ARM", frame), "odds_ratio")


def wins(frame: pd.DataFrame) -> Row:
    found = methods.win_odds(frame, value="Y", group="ARM", reference="old")
    return first(found.failed, lambda: found.table.query("measure == 'win_odds'"))


def imputed(**options: Any) -> Callable[[pd.DataFrame], Row]:
    def run(frame: pd.DataFrame) -> Row:
        made = methods.impute(
            frame,
            outcome="Y",
            subject="ID",
            visit="VISIT",
            group="ARM",
            covariates=["BASE*VISIT"],
            reference="old",
            **options,
        )
        pooled = made.pool(methods.ancova, "Y ~ BASE + ARM", at="V3")
        return first(pooled.failed, lambda: pooled.table)

    return run


def same(effect: float) -> float:
    return effect


def nothing(effect: float) -> float:
    return math.nan


def gap(of: Callable[[float], float]) -> Callable[[float], float]:
    """Return the difference of what ``of`` gives from its value without an effect."""
    return lambda effect: of(effect) - of(0.0)


E = worlds.EFFECT
WORLDS = [
    World(
        "imputed",
        worlds.visits,
        0.0,
        (
            Case("impute", "MAR, conditional mean, jackknife", imputed(), same, ASYMPTOTIC),
            Case(
                *("impute", "MAR, 20 Bayesian draws, Rubin"),
                *(imputed(method="bayes", n=20, seed=1), same, ASYMPTOTIC),
            ),
        ),
        trials=COSTLY,
    ),
    World(
        "means",
        worlds.means,
        0.0,
        (
            Case("ancova", "t", one_visit(), same, EXACT),
            Case("ancova", "HC3", one_visit(se="hc3"), same, NEAR),
        ),
    ),
    World(
        "wins",
        worlds.means,
        E["mean"],
        (Case("win_odds", "win odds", wins, worlds.win_odds_of, ASYMPTOTIC),),
        trials=COSTLY,
    ),
    World(
        "visits", worlds.visits, 0.0, (Case("mmrm", "us, KR-linear", several_visits, same, NEAR),)
    ),
    World(
        "counts",
        worlds.counts,
        E["log_rate"],
        (
            Case("negative_binomial", "rate ratio", negative_binomial, math.exp, ASYMPTOTIC),
            Case("poisson", "robust rate ratio", poisson, math.exp, LIBERAL),
        ),
    ),
    World(
        "times",
        worlds.times,
        E["log_hazard"],
        (Case("cox", "Efron", cox, math.exp, ASYMPTOTIC),),
    ),
    World(
        "restricted",
        worlds.times,
        E["log_hazard"],
        (
            Case("logrank", "unweighted", logrank, nothing, ASYMPTOTIC),
            Case("rmst", "difference", restricted, gap(worlds.restricted_mean), ASYMPTOTIC),
        ),
        trials=COSTLY,
    ),
    World(
        "later",
        worlds.times,
        E["log_hazard"],
        (
            Case("kaplan_meier", "milestone", milestone, gap(worlds.survival), ASYMPTOTIC),
            Case("aft", "Weibull time ratio", time_ratio, lambda x: math.exp(-x), ASYMPTOTIC),
        ),
        trials=COSTLY,
    ),
    World(
        "recur",
        worlds.recurrences,
        E["log_rate"],
        (Case("recurrent", "LWYY", lwyy, math.exp, ASYMPTOTIC),),
    ),
    World(
        "counted",
        worlds.recurrences,
        E["log_rate"],
        (
            Case(
                "mean_cumulative_count",
                "difference",
                mean_count,
                gap(worlds.mean_count),
                ASYMPTOTIC,
            ),
        ),
        trials=COSTLY,
    ),
    World(
        "causes",
        worlds.causes,
        E["log_hazard"],
        (
            Case("fine_gray", "subdistribution hazard ratio", fine_gray, math.exp, ASYMPTOTIC),
            Case("competing_risks", "Gray's test", gray, nothing, ASYMPTOTIC),
            Case(
                "competing_risks",
                "incidence difference",
                incidence,
                gap(worlds.incidence),
                ASYMPTOTIC,
            ),
        ),
        trials=COSTLY,
    ),
    World(
        "therapists",
        worlds.therapists,
        0.0,
        (Case("partially_nested", "Kenward-Roger", nested, same, ASYMPTOTIC),),
        trials=COSTLY,
    ),
    World(
        "answers",
        worlds.answers,
        E["log_odds"],
        (
            Case(
                "binary", "risk difference, Ye", risk_difference, worlds.risk_difference, ASYMPTOTIC
            ),
            Case("binary", "odds ratio", odds, math.exp, ASYMPTOTIC),
        ),
        trials=COSTLY,
    ),
    World(
        "shares",
        worlds.answers,
        E["log_odds"],
        (
            Case(
                "proportions",
                "difference, Newcombe",
                shares,
                worlds.risk_difference,
                ASYMPTOTIC,
            ),
        ),
        trials=COSTLY,
    ),
    World(
        "grades",
        worlds.grades,
        E["log_odds"],
        (Case("ordinal", "odds ratio", grade, math.exp, ASYMPTOTIC),),
        trials=COSTLY,
    ),
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "world",
    [
        pytest.param(w, id=w.name, marks=pytest.mark.slow(seconds=60 if w.trials == TRIALS else 15))
        for w in WORLDS
    ],
)
def test_type_one_error_and_coverage(world: World, n: int) -> None:
    if all((case.name, case.variant, n) in kept() for case in world.cases):
        pytest.skip("its rows are kept from the run before")
    null = rows_of(world, n, 0.0)
    other = rows_of(world, n, world.effect) if world.effect else null
    mc = math.sqrt(0.05 * 0.95 / world.trials)
    faults, rows = [], []
    for case, here, there in zip(world.cases, null, other, strict=True):
        low, high = case.bands[n]
        truth = case.truth(world.effect)
        error = float(np.mean([row[0] < 0.05 for row in here if row is not None]))
        missed = math.nan
        if not math.isnan(truth):
            missed = float(
                np.mean([not row[1] <= truth <= row[2] for row in there if row is not None])
            )
        failed = sum(row is None for row in here) / world.trials
        row = {"method": case.name, "variant": case.variant, "n": n, "trials": world.trials}
        row |= {"error": error, "coverage": 1.0 - missed, "failed": failed, "mc": mc}
        rows.append(row)
        print(row)
        for rate in (error, missed):
            if not math.isnan(rate) and not low - 3 * mc <= rate <= high + 3 * mc:
                faults.append((case.name, case.variant, error, 1.0 - missed))
    assert not faults
    if KEPT:
        with Path(KEPT).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def kept() -> set[tuple[str, str, int]]:
    """Return method, variant and size of the rows that a stopped run has left."""
    if not KEPT or not Path(KEPT).exists():
        return set()
    rows = map(json.loads, Path(KEPT).read_text(encoding="utf-8").splitlines())
    return {(row["method"], row["variant"], row["n"]) for row in rows}


def rows_of(world: World, n: int, effect: float) -> list[list[Row]]:
    """Run every method on every trial."""
    name = world.name if effect else f"{world.name}0"
    out: list[list[Row]] = [[] for _ in world.cases]
    for i in range(world.trials):
        frame = world.make(worlds.stream(name, n, i), n, effect)
        for rows, case in zip(out, world.cases, strict=True):
            if not effect or not math.isnan(case.truth(effect)):  # a test has no coverage
                rows.append(case.run(frame))
    return out
