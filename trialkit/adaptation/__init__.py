"""Assist-as-needed laws, schemes that move settings, and progress over sessions.

Pure functions: no study, no clock, no files. Exports come on first use, so that a caller of the
schemes does not pay for pandas and SciPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialkit.adaptation.between import (
        adaptive_support,
        endpoint_to_joints,
        forgetting_factor,
        phase_stiffness,
        steady_support,
    )
    from trialkit.adaptation.growth import GrowthModel, fit_growth
    from trialkit.adaptation.guidance import dead_band, impedance_torque, tunnel_force
    from trialkit.adaptation.learning import learn, learning_factor
    from trialkit.adaptation.next_session import SettingProposal, next_settings
    from trialkit.adaptation.oscillator import (
        Oscillator,
        follow,
        oscillator_step,
        start_oscillator,
    )
    from trialkit.adaptation.path import PathControl, nearest_in_window, path_control
    from trialkit.adaptation.progress import Progress, predict_progress
    from trialkit.adaptation.schemes import SCHEMES, Option, Scheme, find_scheme, model_hash
    from trialkit.adaptation.sources import SOURCES, Source

_HOMES = {
    "between": (
        "adaptive_support",
        "endpoint_to_joints",
        "forgetting_factor",
        "phase_stiffness",
        "steady_support",
    ),
    "growth": ("GrowthModel", "fit_growth"),
    "guidance": ("dead_band", "impedance_torque", "tunnel_force"),
    "learning": ("learn", "learning_factor"),
    "next_session": ("SettingProposal", "next_settings"),
    "oscillator": ("Oscillator", "follow", "oscillator_step", "start_oscillator"),
    "path": ("PathControl", "nearest_in_window", "path_control"),
    "progress": ("Progress", "predict_progress"),
    "schemes": ("SCHEMES", "Option", "Scheme", "find_scheme", "model_hash"),
    "sources": ("SOURCES", "Source"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SCHEMES",
    "SOURCES",
    "GrowthModel",
    "Option",
    "Oscillator",
    "PathControl",
    "Progress",
    "Scheme",
    "SettingProposal",
    "Source",
    "adaptive_support",
    "dead_band",
    "endpoint_to_joints",
    "find_scheme",
    "fit_growth",
    "follow",
    "forgetting_factor",
    "impedance_torque",
    "learn",
    "learning_factor",
    "model_hash",
    "nearest_in_window",
    "next_settings",
    "oscillator_step",
    "path_control",
    "phase_stiffness",
    "predict_progress",
    "start_oscillator",
    "steady_support",
    "tunnel_force",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
