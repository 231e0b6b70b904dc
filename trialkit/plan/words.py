"""The names that a plan may use: columns, frames, options of the methods."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

POPULATION_FLAGS = ("RANDFL", "FASFL", "SAFFL", "PPROTFL")
ADSL_COLUMNS = (
    *("STUDYID", "USUBJID", "SITEID", "ARMCD", "TRT01P", "STRATUM"),
    *POPULATION_FLAGS,
    *("AGE", "SEX", "TRTDISDY", "TRTDISRS", "EOSSTT", "DCSREAS", "EOSDY", "NSESS"),
)
BASIC_COLUMNS = ("PARAMCD", "PARAM", "AVISIT", "AVISITN", "ADY", "AVAL", "BASE", "CHG")
MADE_COLUMNS = ("NEVENTS", "PYEARS", "RESPONSE")
BASIC_METHODS = frozenset({"mmrm", "ancova", "binary"})
TIME_METHODS = frozenset({"cox", "kaplan_meier"})

# what stands left of the tilde
OUTCOMES: dict[str, tuple[str, ...]] = {
    "mmrm": ("AVAL", "CHG"),
    "ancova": ("AVAL", "CHG"),
    "negative_binomial": ("NEVENTS",),
    "binary": ("RESPONSE",),
    "cox": (),
    "kaplan_meier": (),
}

# option -> possible values; None where the values are columns or times in days
OPTIONS: dict[str, dict[str, tuple[object, ...] | None]] = {
    "mmrm": {
        "covariance": ("us",),
        "df": ("satterthwaite", "kenward_roger_linear"),
        "reml": (True, False),
        "group": None,
        "weights": None,
    },
    "ancova": {"se": ("classical", "hc3")},
    "negative_binomial": {"exposure": ("PYEARS",)},
    "cox": {"ties": ("efron",), "strata": None},
    "kaplan_meier": {"strata": None, "times": None},
    "binary": {
        "measure": ("difference", "ratio", "odds_ratio"),
        "variance": ("ye", "ge", "delta"),
    },
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a remedy, or the list of known names."""
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Use {' or '.join(known)}." if known else "There is none."
