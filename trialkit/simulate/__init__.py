"""Virtual trials: people whose truth is known, taken through the calls that a site uses.

A *world* says what is true, a *person* is drawn from it by number, a *course* is what would
happen to that person in an arm. :func:`run_trial` enters persons and courses through
``participants`` and ``session``; :func:`frames` makes the analysis frames of the same people
directly, for the operating characteristics of a plan over many trials.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "World": "worlds",
    "WORLDS": "worlds",
    "find_world": "worlds",
    "Person": "patients",
    "Course": "patients",
    "person": "patients",
    "course": "patients",
    "frames": "frames",
    "truths": "truth",
    "Truth": "truth",
    "power_statement": "power",
    "operate": "operating",
    "Balance": "balance",
    "simulate_balance": "balance",
    "run_trial": "trial",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOMES:
        return getattr(import_module(f"trialkit.simulate.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
