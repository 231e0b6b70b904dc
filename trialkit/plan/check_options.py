"""Checks of the options of one registered analysis: names, values, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trialkit._yaml import Document
from trialkit.errors import UsageError
from trialkit.plan.model import Analysis
from trialkit.plan.words import (
    CONDITIONAL_INFERENCE,
    MULTIPLE_INFERENCE,
    OPTIONS,
    RANDOM_IMPUTING,
    Kind,
    did_you_mean,
)

Path = tuple[str | int, ...]
#: Where below the analysis, what is wrong, what to do.
Fault = tuple[Path, str, str]


def check_options(
    document: Document, at: Path, analysis: Analysis, variable: str, arms: Sequence[str]
) -> None:
    """Add the faults of an analysis' options.

    Parameters
    ----------
    document : Document
    at : tuple
        Path of the analysis.
    variable : str
        Column of the treatment.
    arms : sequence of str
        Its labels.
    """
    faults = list(_values(analysis)) or list(_together(analysis, variable, arms))
    for where, message, remedy in faults:
        document.add((*at, *where), message, remedy)


def _values(analysis: Analysis) -> Iterator[Fault]:
    """Names and values, each for itself."""
    known = OPTIONS[analysis.method]
    for name, value in analysis.options.items():
        where: Path = ("options", name)
        if name not in known:
            yield where, f"{analysis.method} has no option {name}.", did_you_mean(name, known)
            continue
        allowed = known[name]
        if isinstance(allowed, Kind):
            if not allowed.fits(value):
                yield where, f"{value!r} is not possible for {name}.", f"Give {allowed.words}."
        elif value not in allowed or type(value) not in {type(one) for one in allowed}:
            yield (
                where,
                f"{value!r} is not possible for {name}.",
                did_you_mean(str(value), map(str, allowed)),
            )


def _together(analysis: Analysis, variable: str, arms: Sequence[str]) -> Iterator[Fault]:
    """What a method needs, and what excludes each other."""
    options = analysis.options
    if analysis.method == "mmrm":
        yield from _mmrm(options)
    elif analysis.method == "imputation":
        yield from _imputation(analysis, arms)
        yield from _lacking(analysis, variable)
    elif analysis.method == "rmst" and "tau" not in options:
        remedy = "Add options: {tau: ...}, fixed before the data are seen."
        yield (), "the time up to which the mean is taken is not given.", remedy
    elif analysis.method == "recurrent" and "max_order" in options:
        if options.get("model", "lwyy") in {"lwyy", "andersen_gill"}:
            message = f"the model {options.get('model', 'lwyy')} does not tell events by order."
            yield ("options", "max_order"), message, "Remove it, or use pwp_total, pwp_gap or wlw."
    elif analysis.method == "win_odds" and analysis.better != "higher":
        yield (
            ("better",),
            "win odds above 1 favour the treatment.",
            "Use better: higher, and options: {higher: worse} where a high value is bad.",
        )


def _mmrm(options: dict[str, Any]) -> Iterator[Fault]:
    """Ask the method which of its options exclude each other."""
    from trialkit.methods.repeated.choices import check_choices

    try:
        check_choices(
            options.get("covariance", "us"),
            options.get("reml", True),
            options.get("df"),
            options.get("se", "model"),
            options.get("fallback_se"),
            None,
        )
    except UsageError as error:
        yield ("options",), error.message, error.remedy or "Change one of them."


def _imputation(analysis: Analysis, arms: Sequence[str]) -> Iterator[Fault]:
    options = analysis.options
    imputing = options.get("imputing", "conditional_mean")
    random = imputing in RANDOM_IMPUTING
    known = MULTIPLE_INFERENCE if random else CONDITIONAL_INFERENCE
    inference = options.get("inference", known[0])
    if inference not in known:
        message = f"the inference {inference} does not fit {imputing}."
        yield ("options", "inference"), message, f"Use {' or '.join(known)}."
    bootstrap = str(inference).startswith("bootstrap")
    if (random or bootstrap) and "seed" not in options:
        what = imputing if random else inference
        yield ("options",), f"{what} draws random numbers and has no seed.", "Add seed."
    for name, used in (("n", random), ("resamples", bootstrap), ("seed", random or bootstrap)):
        if name in options and not used:
            message = f"{name} is of no use with {imputing} and {inference}."
            yield ("options", name), message, "Remove it."
    strategy = options.get("strategy", "mar")
    if strategy != "mar" and "ice" not in options:
        message = f"{strategy} needs the intercurrent events."
        yield ("options", "strategy"), message, "Add ice: dropout."
    for name in ("delta", "tipping"):
        for arm in options.get(name, {}):
            if arms and arm not in arms:
                where: Path = ("options", name, arm)
                yield where, f"no arm is labelled {arm}.", did_you_mean(arm, arms)
    if analysis.null_value and ("tipping" in options or inference == "bootstrap_percentile"):
        message = "tipping deltas and percentile intervals test against no difference only."
        yield ("null_value",), message, "Remove it, or them."


def _lacking(analysis: Analysis, variable: str) -> Iterator[Fault]:
    """The imputation model has what the analysis has."""
    from trialkit.plan.formula import read_formula

    terms = analysis.options.get("covariates")
    if terms is None:
        return
    try:
        imputed = read_formula("~ " + " + ".join(terms))[1]
        analysed = read_formula(analysis.formula)[1]
    except UsageError as error:
        yield ("options", "covariates"), error.message, error.remedy or "Mend the terms."
        return
    for name in analysed:
        if name not in imputed and name != variable:
            yield (
                ("options", "covariates"),
                f"the analysis has {name} and the imputation model lacks it.",
                f"Add {name}.",
            )
