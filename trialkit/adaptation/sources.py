"""Where each scheme comes from, and whether its formula was checked against the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes
    ----------
    citation : str
    verified : bool
        True only where the formula was read in the source itself. Where it is False the formula
        is from memory or from an abstract, and a person checks it before it is quoted.
    ours : str
        What is a choice of this project.
    """

    citation: str
    verified: bool
    ours: str


SOURCES: Mapping[str, Source] = {
    "impedance": Source(
        "Riener et al. 2005, IEEE TNSRE 13:380",
        verified=False,
        ours="the dead band's width and the scaling of stiffness and damping by one guidance",
    ),
    "tunnel": Source(
        "Banala et al. 2009 (ALEX), IEEE TNSRE 17:2",
        verified=False,
        ours="the normal force grows with the square of the distance past the radius, capped",
    ),
    "path_control": Source(
        "Duschau-Wicke et al. 2010, IEEE TNSRE 18:38",
        verified=False,
        ours="nearest point on the sampled path; the support torque is handed in",
    ),
    "forgetting_factor": Source(
        "Emken et al. 2007, J NeuroEng Rehabil 4:8 (abstract read)",
        verified=False,
        ours="the error is a mean over a stride or bout, with a dead band for usual variability",
    ),
    "phase_stiffness": Source(
        "Maggioni et al. 2018, Front Robot AI, 10.3389/frobt.2018.00104 (abstract read)",
        verified=False,
        ours="forgetting-factor law per phase bin; stiffness acts along the mean error",
    ),
    "adaptive_support": Source(
        "Duschau-Wicke et al. 2009, IEEE ICORR (abstract read)",
        verified=False,
        ours="load share of the paretic leg as the measured activity, and a target band",
    ),
    "oscillator": Source(
        "Ronsse et al. 2011, adaptive oscillators in walking assistance",
        verified=False,
        ours="frequency and phase are normalised by the amplitude; offset as a further term",
    ),
    "iterative_learning": Source(
        "Standard iterative learning control (Bristow et al. 2006, IEEE CSM 26:96)",
        verified=False,
        ours="Q keeps the low harmonics of the gait cycle and forgets by one factor",
    ),
    "daily_state": Source(
        "Local linear trend: Harvey 1989, Forecasting, Structural Time Series Models",
        verified=False,
        ours="ability is minus the tracking error; fatigue is the part that fades between bouts",
    ),
    "growth": Source(
        "Laird and Ware 1982, Biometrics 38:963; coupling: Hope et al. 2019, PMC6308308",
        verified=False,
        ours="exponential approach with one time constant; averaged over draws from the likelihood",
    ),
}
"""By scheme. The likelihoods of `daily_state` and `growth` equal those of other programs."""
