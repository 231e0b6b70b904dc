"""Statistical methods: frames in, frames out; usable on any DataFrame, without a study.

Functions are imported on first use. Each lives in a room named by its subject; a module at this
level never carries the name of a function that is exported here (Python binds an imported
submodule on its package and would hide the function behind the module).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialkit.methods.categorical.binary import binary
    from trialkit.methods.categorical.ordinal import ordinal
    from trialkit.methods.categorical.proportions import proportions
    from trialkit.methods.categorical.win_odds import win_odds
    from trialkit.methods.counts.negative_binomial import negative_binomial
    from trialkit.methods.counts.poisson import poisson
    from trialkit.methods.instruments.agreement import cronbach_alpha, hedges_g, icc
    from trialkit.methods.instruments.effects import effect_size
    from trialkit.methods.instruments.limits import bland_altman, measurement_error
    from trialkit.methods.instruments.published import check_published
    from trialkit.methods.interim.design import sequential
    from trialkit.methods.interim.graph import sequential_graph
    from trialkit.methods.linear.ancova import ancova
    from trialkit.methods.linear.nested import partially_nested
    from trialkit.methods.missing.impute import impute
    from trialkit.methods.missing.pool import rubin
    from trialkit.methods.multiplicity.closure import closed_test
    from trialkit.methods.multiplicity.flat import fallback, fixed_sequence, hochberg, holm, hommel
    from trialkit.methods.multiplicity.gatekeeping import gatekeeping
    from trialkit.methods.multiplicity.graph import graph
    from trialkit.methods.planning.size import power, sample_size
    from trialkit.methods.repeated.batch import mmrm_batch
    from trialkit.methods.repeated.fit import mmrm
    from trialkit.methods.survival.aft import aft
    from trialkit.methods.survival.competing import competing_risks
    from trialkit.methods.survival.cox import cox
    from trialkit.methods.survival.fine_gray import fine_gray
    from trialkit.methods.survival.kaplan_meier import kaplan_meier
    from trialkit.methods.survival.logrank import logrank
    from trialkit.methods.survival.mean_count import mean_cumulative_count
    from trialkit.methods.survival.recurrent import recurrent
    from trialkit.methods.survival.rmst import rmst

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
    "aft": "survival.aft",
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
    "effect_size": "instruments.effects",
    "hedges_g": "instruments.agreement",
    "icc": "instruments.agreement",
    "measurement_error": "instruments.limits",
}

#: Version of each method's numbers; it moves when a number can differ.
VERSIONS: dict[str, str] = dict.fromkeys(_HOMES, "1") | dict.fromkeys(
    ("binary", "cox", "fixed_sequence", "holm", "icc", "kaplan_meier", "mmrm", "negative_binomial"),
    "2",
)

__all__ = [
    "VERSIONS",
    "aft",
    "ancova",
    "binary",
    "bland_altman",
    "check_published",
    "closed_test",
    "competing_risks",
    "cox",
    "cronbach_alpha",
    "effect_size",
    "fallback",
    "fine_gray",
    "fixed_sequence",
    "gatekeeping",
    "graph",
    "hedges_g",
    "hochberg",
    "holm",
    "hommel",
    "icc",
    "impute",
    "kaplan_meier",
    "logrank",
    "mean_cumulative_count",
    "measurement_error",
    "mmrm",
    "mmrm_batch",
    "negative_binomial",
    "ordinal",
    "partially_nested",
    "poisson",
    "power",
    "proportions",
    "recurrent",
    "rmst",
    "rubin",
    "sample_size",
    "sequential",
    "sequential_graph",
    "win_odds",
]


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
