"""Statistical methods: frames in, frames out; usable on any DataFrame, without a study.

Functions are imported on first use. A module never carries the name of a function that is
exported here (``mmrm`` lives in ``mmrm_fit``): Python binds an imported submodule on its
package and would hide the function behind the module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialkit.methods.agreement import hedges_g, icc
    from trialkit.methods.ancova_fit import ancova
    from trialkit.methods.counts import negative_binomial
    from trialkit.methods.logistic import binary
    from trialkit.methods.mmrm_fit import mmrm
    from trialkit.methods.multiplicity import fixed_sequence, holm
    from trialkit.methods.survival import cox, kaplan_meier

_HOMES: dict[str, str] = {
    "ancova": "ancova_fit",
    "binary": "logistic",
    "cox": "survival",
    "fixed_sequence": "multiplicity",
    "hedges_g": "agreement",
    "holm": "multiplicity",
    "icc": "agreement",
    "kaplan_meier": "survival",
    "mmrm": "mmrm_fit",
    "negative_binomial": "counts",
}

#: Version of each method's numbers; it moves when a number can differ.
VERSIONS: dict[str, str] = dict.fromkeys(_HOMES, "1")

__all__ = [
    "VERSIONS",
    "ancova",
    "binary",
    "cox",
    "fixed_sequence",
    "hedges_g",
    "holm",
    "icc",
    "kaplan_meier",
    "mmrm",
    "negative_binomial",
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
