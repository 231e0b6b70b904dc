"""Statistical methods: frames in, frames out; usable on any DataFrame, without a study.

Functions are imported on first use. Each lives in a room named by its subject; a module at this
level never carries the name of a function that is exported here (Python binds an imported
submodule on its package and would hide the function behind the module).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {
    # several visits
    "mmrm": "repeated.fit",
    "mmrm_batch": "repeated.batch",
    # one visit
    "ancova": "linear.ancova",
    "partially_nested": "linear.nested",
    # missing outcomes
    "impute": "missing.impute",
    "rubin": "missing.pool",
    # counts
    "negative_binomial": "counts.negative_binomial",
    "poisson": "counts.poisson",
    # times to events
    "competing_risks": "survival.competing",
    "cox": "survival.cox",
    "fine_gray": "survival.fine_gray",
    "kaplan_meier": "survival.kaplan_meier",
    "logrank": "survival.logrank",
    "mean_cumulative_count": "survival.mean_count",
    "recurrent": "survival.recurrent",
    "rmst": "survival.rmst",
    # categories
    "binary": "categorical.binary",
    "ordinal": "categorical.ordinal",
    "proportions": "categorical.proportions",
    "win_odds": "categorical.win_odds",
    # several hypotheses
    "closed_test": "multiplicity.closure",
    "fallback": "multiplicity.flat",
    "fixed_sequence": "multiplicity.flat",
    "gatekeeping": "multiplicity.gatekeeping",
    "graph": "multiplicity.graph",
    "hochberg": "multiplicity.flat",
    "holm": "multiplicity.flat",
    "hommel": "multiplicity.flat",
    # looks before the end
    "sequential": "interim.design",
    "sequential_graph": "interim.graph",
    # sizes
    "sample_size": "planning.size",
    "power": "planning.size",
    # instruments and publications
    "bland_altman": "instruments.limits",
    "check_published": "instruments.published",
    "cronbach_alpha": "instruments.agreement",
    "hedges_g": "instruments.agreement",
    "icc": "instruments.agreement",
    "measurement_error": "instruments.limits",
}

#: Version of each method's numbers; it moves when a number can differ.
VERSIONS: dict[str, str] = dict.fromkeys(_HOMES, "1")

__all__ = ["VERSIONS", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a method on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the exported names."""
    return sorted(__all__)
