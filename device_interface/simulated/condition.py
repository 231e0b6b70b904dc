"""What a virtual patient brings to a session and takes home: strength, learning, tiredness.

All constants are start values of the simulator and no findings about patients. Only
additions, multiplications and divisions move the state, so that it is the same on every
machine. Learning follows what the patient does and not what the robot does for the patient;
strength comes in the days after a load, and goes slowly without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

LEARN_TAU_S = 9000.0
"""Seconds of active walking in which, at first speed, all that can be learnt is."""
_LOAD_S = 1800.0
_GAIN = 0.04
_WANE = 0.998
_RETAIN = 0.99
_REST = 0.2
_USUAL_ACTIVE_S = 900.0
_USUAL_LOAD = 0.7
_USUAL_TIRED = 0.3
_USUAL_REST_DAYS = 2
_SPREAD = 0.3
_DAYS_AT_MOST = 3650
_SESSIONS_AT_MOST = 1000
_WEAKEST, _LEARNT_ADDS = 0.4, 0.5


@dataclass(frozen=True)
class Condition:
    """A virtual patient at one instant.

    Parameters
    ----------
    strength : float
        Share of the strength that training can reach, 0 to 1.
    learning : float
        Share of what training can teach that was learnt, 0 to 1.
    load : float
        Training since the last day of rest, 1 is half an hour at full effort.
    tired : float
        0 (fresh) to 1.
    """

    strength: float = 0.5
    learning: float = 0.0
    load: float = 0.0
    tired: float = 0.0

    def __post_init__(self) -> None:
        for name, top in (("strength", 1.0), ("learning", 1.0), ("load", 10.0), ("tired", 1.0)):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} must lie in 0..{top:g}")

    def able(self, ability: float) -> float:
        """Return the comfortable speed in m/s of somebody whose `ability` it is at the best.

        ``ability (0.4 + 0.6 s (1 - t / 2)) (1 + l / 2) / 1.5`` with strength s, tiredness t
        and learning l.
        """
        force = self.strength * (1.0 - 0.5 * self.tired)
        skill = (1.0 + _LEARNT_ADDS * self.learning) / (1.0 + _LEARNT_ADDS)
        return ability * (_WEAKEST + (1.0 - _WEAKEST) * force) * skill

    def walked(self, dt_s: float, effort: float, guidance: float) -> Condition:
        """Return the condition after `dt_s` of walking at this effort (0 to 2) and guidance."""
        active_s = effort * (1.0 - 0.7 * guidance) * dt_s
        return replace(
            self,
            learning=self.learning + (1.0 - self.learning) * (active_s / (LEARN_TAU_S + active_s)),
            load=min(10.0, self.load + effort * dt_s / _LOAD_S),
        )

    def rested(self, days: int) -> Condition:
        """Return the condition after `days` nights.

        The load becomes strength in the first night; each night a little of strength and
        learning is lost, and a fifth of the tiredness is left.
        """
        now = self
        for _ in range(days):
            share = min(1.0, _GAIN * now.load)
            now = Condition(
                strength=(now.strength + (1.0 - now.strength) * share) * _WANE,
                learning=now.learning * _RETAIN,
                load=0.0,
                tired=now.tired * _REST,
            )
        return now

    def usual_sessions(self, number: int, person: int) -> Condition:
        """Return the condition after `number` sessions as they usually are, each with its rest.

        Sessions of a `person` differ: the same person has the same ones every time.
        """
        draws = np.random.Generator(np.random.Philox(key=[person, 2])).standard_normal(number)
        now = self
        for draw in draws.tolist():
            size = min(2.0, max(0.0, 1.0 + _SPREAD * draw))
            active_s = _USUAL_ACTIVE_S * size
            learnt = (1.0 - now.learning) * (active_s / (LEARN_TAU_S + active_s))
            now = Condition(
                strength=now.strength,
                learning=now.learning + learnt,
                load=min(10.0, now.load + _USUAL_LOAD * size),
                tired=_USUAL_TIRED,
            ).rested(_USUAL_REST_DAYS)
        return now


_STATE = tuple(field.name for field in fields(Condition))
MISHAPS = {
    "stumbles_per_min": "stumble",
    "spasms_per_min": "spasm",
    "stops_per_min": "participant_stop",
}
"""Option with a rate per minute of walking -> what then happens."""


@dataclass(frozen=True)
class PatientPlan:
    """The option ``patient``, read: the condition at the start and the rates of mishaps.

    Attributes
    ----------
    condition : Condition
    rates_per_min : dict
        Kind of mishap to its rate a minute of walking; only those above 0.
    """

    condition: Condition
    rates_per_min: dict[str, float]


def read_patient(given: Mapping[str, Any]) -> PatientPlan:
    """Return what the option ``patient`` says.

    Parameters
    ----------
    given : mapping
        ``strength``, ``learning``, ``load``, ``tired`` as in `Condition`, at the end of the
        session before; ``rest_days``, nights since then (0); ``session`` from 1: the usual
        sessions before it are passed first; ``person``, the seed of these (0); and the keys
        of `MISHAPS`.

    Raises
    ------
    ValueError
        If a key is unknown, or a value is out of its range.
    """
    counted = {"session": (1, _SESSIONS_AT_MOST), "rest_days": (0, _DAYS_AT_MOST)}
    counted["person"] = (0, 2**63 - 1)
    known = [*_STATE, *counted, *MISHAPS]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"patient does not have {', '.join(unknown)}; use {', '.join(known)}")
    whole = {"session": 1, "rest_days": 0, "person": 0}
    for name, (low, high) in counted.items():
        value = given.get(name, whole[name])
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"patient.{name} must be a whole number in {low}..{high}")
        whole[name] = value
    rates = {}
    for name, kind in MISHAPS.items():
        rate = float(given.get(name, 0.0))
        if not 0 <= rate <= 60:
            raise ValueError(f"patient.{name} must lie in 0..60")
        if rate:
            rates[kind] = rate
    first = Condition(**{name: float(given[name]) for name in _STATE if name in given})
    start = first.rested(whole["rest_days"]).usual_sessions(whole["session"] - 1, whole["person"])
    return PatientPlan(start, rates)
