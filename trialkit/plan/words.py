"""The names that a plan may use: columns, frames, options of the methods."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

POPULATION_FLAGS = ("RANDFL", "FASFL", "SAFFL", "PPROTFL")
ADSL_COLUMNS = (
    *("STUDYID", "USUBJID", "SITEID", "ARMCD", "TRT01P", "STRATUM"),
    *POPULATION_FLAGS,
    *("AGE", "SEX", "TRTDISDY", "TRTDISRS", "EOSSTT", "DCSREAS", "EOSDY", "NSESS"),
)
BASIC_COLUMNS = ("PARAMCD", "PARAM", "AVISIT", "AVISITN", "ADY", "AVAL", "BASE", "CHG")
MADE_COLUMNS = ("NEVENTS", "PYEARS", "RESPONSE")
#: Methods by the frame that they read: scores by visit, times to events, rows at risk.
BASIC_METHODS = frozenset({"mmrm", "ancova", "binary", "ordinal", "win_odds", "imputation"})
TIME_METHODS = frozenset({"cox", "kaplan_meier", "rmst"})
COUNT_METHODS = frozenset({"negative_binomial", "poisson"})
#: Methods that use every visit of a participant.
VISITS_METHODS = frozenset({"mmrm", "imputation"})
#: Methods that compare groups and have no further terms.
GROUP_METHODS = frozenset({"kaplan_meier", "rmst", "win_odds"})

# what stands left of the tilde
OUTCOMES: dict[str, tuple[str, ...]] = {
    "mmrm": ("AVAL", "CHG"),
    "ancova": ("AVAL", "CHG"),
    "imputation": ("AVAL", "CHG"),
    "binary": ("RESPONSE",),
    "ordinal": ("AVAL",),
    "win_odds": ("AVAL", "CHG"),
    "negative_binomial": ("NEVENTS",),
    "poisson": ("NEVENTS",),
    "recurrent": (),
    "cox": (),
    "kaplan_meier": (),
    "rmst": (),
}


@dataclass(frozen=True)
class Kind:
    """Values of an option that are not a list of words.

    Parameters
    ----------
    words : str
        What is wanted, as a remedy says it: ``a number above 0``.
    fits : callable
        Whether a value is of the kind.
    """

    words: str
    fits: Callable[[object], bool]


def _number(value: object) -> bool:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and math.isfinite(float(value))  # type: ignore[arg-type]


def _whole(least: int) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least


def _listed(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(fits(v) for v in value)


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _by_arm(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda v: isinstance(v, dict) and bool(v) and all(fits(each) for each in v.values())


COLUMN = Kind("the name of a column", _text)
COLUMNS = Kind("the name of a column, or a list of names", lambda v: _text(v) or _listed(v, _text))
TERMS = Kind("a list of terms, such as [BASE*AVISIT, SITEID]", lambda v: _listed(v, _text))
TIMES = Kind("a list of days", lambda v: _listed(v, _number))
POSITIVE = Kind("a number above 0", lambda v: _number(v) and float(v) > 0.0)  # type: ignore[arg-type]
FROM_0, FROM_1, FROM_2 = (Kind(f"a whole number from {k}", _whole(k)) for k in range(3))
AMOUNTS = Kind("an amount by arm, such as {Robotic: -0.05}", _by_arm(_number))
GRIDS = Kind(
    "amounts by arm, such as {Robotic: [0, -0.05]}", _by_arm(lambda v: _listed(v, _number))
)
STRUCTURES = ("us", "toeph", "toep", "ar1h", "ar1", "adh", "ad", "csh", "cs")
ORDER_OF_STRUCTURES = Kind(
    f"one of {', '.join(STRUCTURES)}, or a list of them in the order in which they are tried",
    lambda v: v in STRUCTURES or _listed(v, lambda one: one in STRUCTURES),
)
MARGINS = ("equal", "observed", "counterfactual")
RANDOM_IMPUTING = ("bayes", "approximate_bayes")
CONDITIONAL_INFERENCE = ("jackknife", "jackknife_anchored", "bootstrap", "bootstrap_percentile")
MULTIPLE_INFERENCE = ("rubin", "normal")
Allowed = tuple[object, ...] | Kind

# option -> possible values, or their kind
OPTIONS: dict[str, dict[str, Allowed]] = {
    "mmrm": {
        "covariance": ORDER_OF_STRUCTURES,
        "df": (
            *("kenward_roger_linear", "kenward_roger", "satterthwaite"),
            *("between_within", "residual"),
        ),
        "reml": (True, False),
        "group": COLUMN,
        "weights": COLUMN,
        "se": ("model", "cr0", "cr2", "cr3"),
        "fallback_se": ("model", "cr0", "cr2", "cr3"),
        "margins": MARGINS,
    },
    "ancova": {"se": ("classical", "hc0", "hc1", "hc2", "hc3"), "margins": MARGINS},
    "imputation": {
        "strategy": (
            *("mar", "jump_to_reference", "copy_reference"),
            *("copy_increments_in_reference", "last_mean_carried_forward"),
        ),
        "ice": ("dropout",),
        "imputing": ("conditional_mean", *RANDOM_IMPUTING),
        "inference": (*CONDITIONAL_INFERENCE, *MULTIPLE_INFERENCE),
        "covariates": TERMS,
        "same_covariance": (True, False),
        "n": FROM_2,
        "seed": FROM_0,
        "resamples": FROM_2,
        "delta": AMOUNTS,
        "tipping": GRIDS,
    },
    "binary": {
        "measure": ("difference", "ratio", "odds_ratio"),
        "variance": ("ye", "ge", "ge_hc1", "ge_hc3", "delta"),
        "estimator": ("ml", "firth"),
        "separation": ("fail", "firth"),
    },
    "ordinal": {},
    "win_odds": {
        "higher": ("better", "worse"),
        "df": ("normal", "satterthwaite"),
        "strata": COLUMNS,
        "covariates": COLUMNS,
    },
    "negative_binomial": {"exposure": ("PYEARS",), "information": ("joint", "conditional")},
    "poisson": {
        "exposure": ("PYEARS",),
        "se": ("hc0", "hc1", "hc2", "hc3", "model", "pearson"),
    },
    "recurrent": {
        "model": ("lwyy", "andersen_gill", "pwp_total", "pwp_gap", "wlw"),
        "ties": ("breslow", "efron"),
        "max_order": FROM_1,
    },
    "cox": {"ties": ("efron", "breslow", "exact"), "strata": COLUMNS},
    "kaplan_meier": {"strata": COLUMNS, "times": TIMES},
    "rmst": {"tau": POSITIVE, "strata": COLUMNS},
}


def columns_of(method: str, options: dict[str, object]) -> list[str]:
    """Return the columns that the options of a method name."""
    found: list[str] = []
    for name, allowed in OPTIONS[method].items():
        given = options.get(name)
        if (allowed is COLUMN or allowed is COLUMNS or name == "exposure") and given is not None:
            found += [given] if isinstance(given, str) else [*map(str, given)]  # type: ignore[call-overload]
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a remedy, or the list of known names."""
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Use {' or '.join(known)}." if known else "There is none."
