"""What a plan may say of an option, the method takes; anything else it refuses."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from frames_for_analysis import make_frames, make_plan

from trialkit.analysis import prepare, run_plan
from trialkit.plan import words
from trialkit.plan.model import Analysis
from trialkit.plan.words import OPTIONS, Kind

Frames = dict[str, pd.DataFrame]
SPEED = {"dataset": "ADFT", "where": {"PARAMCD": "WS10C"}, "visit": "W12"}
FAC = {"dataset": "ADQS", "where": {"PARAMCD": "FAC"}, "visit": "W12"}
FALLS = {"dataset": "ADFALL", "where": {"PARAMCD": "FALL"}}
FIRST = {"dataset": "ADTTE", "where": {"PARAMCD": "TTFALL"}}
METHODS: dict[str, dict[str, Any]] = {
    "mmrm": {**SPEED, "formula": "AVAL ~ TRT01P*AVISIT + BASE"},
    "ancova": {**SPEED, "formula": "AVAL ~ TRT01P + SITEID"},
    "imputation": {**SPEED, "formula": "AVAL ~ TRT01P + BASE"},
    "binary": {**SPEED, "formula": "RESPONSE ~ TRT01P", "response": {"at_least": 0.6}},
    "ordinal": {**FAC, "formula": "AVAL ~ TRT01P"},
    "win_odds": {**FAC, "formula": "AVAL ~ TRT01P"},
    "negative_binomial": {**FALLS, "formula": "NEVENTS ~ TRT01P"},
    "poisson": {**FALLS, "formula": "NEVENTS ~ TRT01P"},
    "recurrent": {**FALLS, "formula": "TRT01P"},
    "cox": {**FIRST, "formula": "TRT01P"},
    "kaplan_meier": {**FIRST, "formula": "TRT01P"},
    "rmst": {**FIRST, "formula": "TRT01P", "options": {"tau": 120}},
}
# values of options that are no list of words: possible ones, and impossible ones
KINDS: dict[str, tuple[list[object], list[object]]] = {
    "covariance": ([*words.STRUCTURES, ["us", "toeph", "cs"]], ["sp_exp", ["us", "mh"], [], 3]),
    "group": (["TRT01P"], [3, ""]),
    "weights": (["AGE"], [["AGE"]]),
    "strata": (["SITEID", ["SITEID"]], [3, []]),
    "times": ([[30, 90]], ["W12", [], [True]]),
    "tau": ([100, 150.5], [0, -1, "W12", True]),
    "max_order": ([1, 2], [0, 1.5, True]),
    "n": ([5], [1, 2.5]),
    "seed": ([0, 3], [-1, "x"]),
    "resamples": ([20], [1]),
    "delta": ([{"Robotic": -0.1}], [-0.1, {}, {"Robotic": "x"}]),
    "tipping": ([{"Robotic": [0, -0.1]}], [[0], {"Robotic": []}, {"Robotic": 0.1}]),
}
# what an option needs beside it
BESIDE: dict[tuple[str, str], dict[str, object]] = {
    ("mmrm", "fallback_se"): {"covariance": ["us", "cs"], "df": "satterthwaite"},
    ("recurrent", "max_order"): {"model": "pwp_total"},
    ("imputation", "strategy"): {"ice": "dropout"},
    ("imputation", "n"): {"imputing": "bayes", "seed": 1},
    ("imputation", "resamples"): {"inference": "bootstrap", "seed": 1},
}


@pytest.fixture(scope="module")
def rich() -> Frames:
    made = make_frames(60, 3)
    scores = made["ADFT"].assign(PARAMCD="FAC", AVAL=np.floor(made["ADFT"]["AVAL"] * 6).clip(0, 5))
    return {**made, "ADQS": scores}


def beside(method: str, option: str, value: object) -> dict[str, object]:
    """Return the option with what it needs beside it."""
    found = {**METHODS[method].get("options", {}), **BESIDE.get((method, option), {})}
    if method == "imputation" and value in words.RANDOM_IMPUTING:
        found |= {"seed": 1, "n": 4}
    if method == "imputation" and value in words.MULTIPLE_INFERENCE:
        found |= {"imputing": "bayes", "seed": 1, "n": 4}
    if method == "imputation" and str(value).startswith("bootstrap"):
        found |= {"seed": 1, "resamples": 20}
    if method == "mmrm" and option == "se" and value != "model":
        found |= {"df": "satterthwaite"}
    if method == "mmrm" and value is False:
        found |= {"df": "satterthwaite"}
    return {**found, option: value}


def run(method: str, options: dict[str, object], frames: Frames) -> str | None:
    """Return why an analysis failed, or None."""
    fixed = {"id": "one", "label": "One", "role": "primary", "estimand": "E1", "better": "higher"}
    one = Analysis.model_validate(
        {**fixed, **METHODS[method], "method": method, "options": options}
    )
    plan = make_plan(multiplicity={"procedure": "none", "alpha": 0.05, "order": ["one"]})
    plan = plan.model_copy(update={"analyses": [one], "tables": []})
    return run_plan(plan, frames)["one"].failed


def cases() -> list[tuple[str, str, object]]:
    found: list[tuple[str, str, object]] = []
    for method, options in OPTIONS.items():
        for name, allowed in options.items():
            if name == "covariates":
                values: list[object] = [["BASE"]]
            else:
                values = KINDS[name][0] if isinstance(allowed, Kind) else list(allowed)
            found += [(method, name, value) for value in values]
    return found


@pytest.mark.parametrize(("method", "option", "value"), cases())
def test_what_a_plan_may_say_the_method_takes(
    method: str, option: str, value: object, rich: Frames
) -> None:
    assert run(method, beside(method, option, value), rich) is None


@pytest.mark.parametrize(
    ("method", "option"),
    [
        (method, name)
        for method, options in OPTIONS.items()
        for name, allowed in options.items()
        if not isinstance(allowed, Kind) and True not in allowed
    ],
)
def test_a_word_that_is_none_is_refused(method: str, option: str, rich: Frames) -> None:
    if option == "exposure":
        pytest.skip("any column can be one")
    options = {**beside(method, option, "nonsense")}
    assert run(method, options, rich) is not None


def test_kinds_tell_possible_values_from_others() -> None:
    for options in OPTIONS.values():
        for name, allowed in options.items():
            if isinstance(allowed, Kind) and name != "covariates":
                assert all(allowed.fits(value) for value in KINDS[name][0]), name
                assert not any(allowed.fits(value) for value in KINDS[name][1]), name


def test_the_words_are_all_that_the_methods_know() -> None:
    from trialkit.methods import _marginal
    from trialkit.methods.categorical import _standardise, win_odds
    from trialkit.methods.counts import negative_binomial, poisson
    from trialkit.methods.linear import ancova
    from trialkit.methods.missing import draws, sampling, strategies
    from trialkit.methods.repeated import df, empirical, structures
    from trialkit.methods.survival import recurrent
    from trialkit.methods.survival.cox import TIES

    spatial = {name for name, s in structures.STRUCTURES.items() if s.spatial}
    known: dict[tuple[str, str], Any] = {
        ("mmrm", "df"): df.DF_METHODS,
        ("mmrm", "se"): empirical.SE_METHODS,
        ("mmrm", "fallback_se"): empirical.SE_METHODS,
        ("mmrm", "margins"): _marginal.WEIGHTS,
        ("ancova", "margins"): _marginal.WEIGHTS,
        ("ancova", "se"): ancova.SE_METHODS,
        ("imputation", "strategy"): strategies.NAMES,
        ("imputation", "imputing"): draws.METHODS,
        ("imputation", "inference"): [*sampling.CONDITIONAL, *sampling.MULTIPLE],
        ("binary", "measure"): _standardise.MEASURES,
        ("binary", "variance"): _standardise.VARIANCES,
        ("win_odds", "df"): win_odds.DF,
        ("negative_binomial", "information"): negative_binomial.INFORMATION,
        ("poisson", "se"): poisson.SE_METHODS,
        ("recurrent", "model"): recurrent.MODELS,
        ("cox", "ties"): TIES,
    }
    for (method, option), names in known.items():
        assert set(OPTIONS[method][option]) == set(names), (method, option)  # type: ignore[call-overload]
    assert set(words.STRUCTURES) == set(structures.STRUCTURES) - spatial
    assert set(words.RANDOM_IMPUTING) == set(draws.METHODS) - {"conditional_mean"}
    assert set(words.CONDITIONAL_INFERENCE) == set(sampling.CONDITIONAL)


def test_every_method_has_options_a_runner_and_a_quantity() -> None:
    from trialkit.analysis.block import REGISTERED
    from trialkit.analysis.run import RUNNERS

    names = set(get_args(Analysis.model_fields["method"].annotation))
    assert names == set(OPTIONS) == set(RUNNERS) == set(REGISTERED) == set(METHODS)
    assert prepare.OPTIONS is OPTIONS  # type: ignore[attr-defined]
