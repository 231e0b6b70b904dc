"""A virtual patient: heart rate, breath, tiredness, path error and answers to prompts.

All constants are start values of the simulator. Only additions, multiplications and
divisions move the state (implicit Euler), so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from device_interface.simulated.condition import Condition

_HEART_TAU_S = 45.0
_TIRE_TAU_S = 900.0
_RECOVER_TAU_S = 180.0


class VirtualPatient:
    """Somebody who walks in the device.

    Parameters
    ----------
    ability : float
        Comfortable walking speed in m/s; 0 for a person who does not walk alone.
    fatigue : float
        0 (does not tire) to 1.
    asymmetry : float
        Paretic step length over non-paretic, 0 to 1; the left side is paretic.
    weight_kg, age_years, resting_heart_rate : float
    pain : float
        0 to 10, at rest.
    systolic_mmhg, diastolic_mmhg : float
        At rest.
    condition : Condition, optional
        Strength, learning and tiredness at the start; without it `ability` does not change.
    """

    def __init__(
        self,
        *,
        ability: float,
        fatigue: float,
        asymmetry: float,
        weight_kg: float,
        age_years: float,
        resting_heart_rate: float,
        pain: float,
        systolic_mmhg: float,
        diastolic_mmhg: float,
        condition: Condition | None = None,
    ) -> None:
        if not 0 <= ability <= 3 or not 0 <= fatigue <= 1 or not 0 < asymmetry <= 1:
            raise ValueError("ability must lie in 0..3 m/s, fatigue in 0..1, asymmetry in (0, 1]")
        if not 20 <= weight_kg <= 300 or not 1 <= age_years <= 120:
            raise ValueError("weight_kg must lie in 20..300 and age_years in 1..120")
        self._best = ability
        self._condition = condition
        self.ability = max(condition.able(ability) if condition else ability, 0.15)
        self.fatigue = fatigue
        self.asymmetry = asymmetry
        self.weight_n = weight_kg * 9.81
        self.rest_hr = resting_heart_rate
        self.max_hr = 220.0 - age_years
        self.heart_rate = resting_heart_rate
        self.tired = condition.tired if condition else 0.0
        self.effort = 0.0
        self.stumbles = 0
        self.asks_to_stop = False
        self._pain = pain
        self._pressure = (systolic_mmhg, diastolic_mmhg)

    def let_pass(self, dt_s: float, speed: float, support: float, guidance: float) -> None:
        """Move the state on by `dt_s` at these actual settings."""
        pull = (1.0 - 0.5 * support) * (1.0 - 0.4 * guidance)
        self.effort = min(2.0, speed / (0.4 + self.ability) * 1.4 * pull)
        goal = self.fatigue * self.effort
        tau = _TIRE_TAU_S if goal > self.tired else _RECOVER_TAU_S
        self.tired += (goal - self.tired) * (dt_s / (tau + dt_s))
        reserve = self.max_hr - self.rest_hr
        target = self.rest_hr + reserve * min(0.95, 0.4 * self.effort + 0.2 * self.tired)
        self.heart_rate += (target - self.heart_rate) * (dt_s / (_HEART_TAU_S + dt_s))
        if self._condition is not None:
            now = replace(self._condition, tired=min(1.0, self.tired))
            self._condition = now.walked(dt_s, self.effort, guidance)
            self.ability = max(self._condition.able(self._best), 0.15)

    def oxygen_fraction(self) -> float:
        """Oxygen saturation, 0 to 1."""
        return 0.975 - 0.02 * self.tired

    def breaths_per_min(self) -> float:
        """Respiratory rate: follows the heart, from 14 at rest."""
        return 14.0 + 20.0 * (self.heart_rate - self.rest_hr) / (self.max_hr - self.rest_hr)

    @property
    def drive(self) -> float:
        """How hard the muscles work, 1 in somebody who walks at a comfortable speed."""
        return min(2.0, 0.3 + 0.7 * self.effort + 0.2 * self.tired)

    def path_error_rad(self, guidance: float) -> float:
        """Root mean square deviation of the joints from the reference path, in rad."""
        impairment = min(1.2, max(0.3, 1.2 - self.ability))
        return 0.09 * impairment * (1.0 - 0.7 * guidance) * (1.0 + 0.6 * self.tired)

    def toe_clearance_m(self) -> float:
        """Smallest height of the toe over the belt in swing, in m."""
        return 0.012 + 0.01 * min(1.0, self.ability) * (1.0 - 0.5 * self.tired)

    def trip_chance(self) -> float:
        """Return the chance of a trip in a block of walking."""
        return min(0.5, 0.02 + 0.1 * self.tired)

    def answer(self, prompt: str, draw: float) -> Mapping[str, float] | None:
        """Return what the patient, or a measurement on the patient, says now.

        Parameters
        ----------
        prompt : str
            A sign of a protocol, such as ``rpe`` or ``systolic_mmhg``; ``asks_to_stop``, 1
            after the hand switch was pressed; or ``patient_state``, the `Condition` now, as
            the option ``patient`` of the next session takes it.
        draw : float
            Uniform in [0, 1), for signs that happen by chance.
        """
        if prompt == "patient_state":
            return None if self._condition is None else asdict(self._condition)
        if prompt == "asks_to_stop":
            return {prompt: float(self.asks_to_stop)}
        strain = min(1.0, 0.45 * self.effort + 0.5 * self.tired)
        systolic, diastolic = self._pressure
        answers = {
            "rpe": 6.5 + 14.0 * strain,
            "pain_0_10": min(10.0, self._pain + 1.5 * self.tired),
            "systolic_mmhg": systolic + 30.0 * self.effort,
            "diastolic_mmhg": diastolic + 8.0 * self.effort,
            "heart_rate_bpm": self.heart_rate + 0.5,
            "spo2_percent": 97.5 - 2.0 * self.tired,
            "trips": (1.0 if draw < self.trip_chance() else 0.0) + self.stumbles,
            "knee_collapses": 1.0 if draw > 1.0 - 0.5 * self.trip_chance() else 0.0,
            "gait_acceptable": 1.0 if self.tired < 0.6 else 0.0,
            "skin_redness_min": 30.0 * draw * draw,
            "skin_blister": 0.0,
            "open_wound": 0.0,
            "dysreflexia": 0.0,
            "dvt_or_fracture": 0.0,
            "donning_minutes": 9.0,
            "donning_staff": 2.0,
            "doffing_minutes": 4.0,
        }
        if prompt == "trips":
            self.stumbles = 0  # each is told once
        return {prompt: float(int(answers[prompt]))} if prompt in answers else None
