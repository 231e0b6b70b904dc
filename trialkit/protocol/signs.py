"""The signs that a person may enter, with unit and possible range; nothing else is prompted for.

A range is what can be read off a living person by the usual means, not what is healthy: it
finds a slip of the hand or another unit. The bands that matter are the stop rules.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

MMHG_PER_KPA = 7.50062


@dataclass(frozen=True)
class Scale:
    """Another unit or scale of a sign: ``value * factor + offset`` is in the sign's own."""

    name: str
    minimum: float
    maximum: float
    factor: float
    offset: float = 0.0


@dataclass(frozen=True)
class Sign:
    """A value that a person enters.

    Parameters
    ----------
    name : str
        The unit is in it where there is one.
    label, unit : str
        For people; the unit is empty for a scale or a count.
    minimum, maximum : float
        What is possible.
    mistaken : Scale or None
        What a value outside the range may have been meant as.
    """

    name: str
    label: str
    unit: str
    minimum: float
    maximum: float
    mistaken: Scale | None = None

    def fault(self, value: float) -> str | None:
        """Return why `value` is impossible, with the unit it may be in, or None."""
        if self.minimum <= value <= self.maximum:
            return None
        unit = f" {self.unit}" if self.unit else ""
        said = (
            f"{value:g} is not possible for {self.name}: "
            f"{self.minimum:g} to {self.maximum:g}{unit}."
        )
        return f"{said} {hint}" if (hint := self.hint(value)) else said

    def hint(self, value: float) -> str | None:
        """Return what a value outside the range may have been meant as, or None."""
        scale = self.mistaken
        if scale is None or not scale.minimum <= value <= scale.maximum:
            return None
        meant = value * scale.factor + scale.offset
        return f"It looks like {scale.name}: {value:g} is {meant:.4g} here."


def _yes_no(name: str, label: str) -> Sign:
    return Sign(name, f"{label} (1 yes, 0 no)", "", 0, 1)


_KPA_HIGH = Scale("kPa", 6.0, 40.0, MMHG_PER_KPA)
_KPA_LOW = Scale("kPa", 3.0, 19.0, MMHG_PER_KPA)
_SECONDS = Scale("seconds", 180.0, 7200.0, 1 / 60)

#: Every sign by name.
SIGNS: dict[str, Sign] = {
    sign.name: sign
    for sign in (
        Sign("systolic_mmhg", "Systolic blood pressure", "mmHg", 50, 300, _KPA_HIGH),
        Sign("diastolic_mmhg", "Diastolic blood pressure", "mmHg", 20, 200, _KPA_LOW),
        Sign("heart_rate_bpm", "Heart rate", "1/min", 20, 250, Scale("Hz", 0.3, 4.2, 60.0)),
        Sign("spo2_percent", "Oxygen saturation", "%", 50, 100, Scale("a fraction", 0.5, 1, 100)),
        Sign("pain_0_10", "Pain, 0 none to 10 worst", "", 0, 10, Scale("0 to 100", 11, 100, 0.1)),
        # 6 and 20 are the ends of both scales; between them the mapping is only a reading aid
        Sign(
            "rpe", "Perceived exertion, Borg 6 to 20", "", 6, 20,
            Scale("Borg CR10 (0 to 10)", 0, 5.99, 1.4, 6.0),
        ),
        Sign("trips", "Trips in the block", "", 0, 100),
        Sign("knee_collapses", "Times the knee gave way", "", 0, 100),
        _yes_no("gait_acceptable", "Gait within the limits that the therapist accepts"),
        Sign("skin_redness_min", "Redness of the skin that lasts", "min", 0, 1440),
        _yes_no("skin_blister", "Blister"),
        _yes_no("open_wound", "Open wound under cuff or harness"),
        _yes_no("dysreflexia", "Signs of autonomic dysreflexia"),
        _yes_no("dvt_or_fracture", "Thrombosis or unhealed fracture"),
        _yes_no("dizziness", "Dizziness"),
        _yes_no("chest_pain", "Chest pain"),
        Sign("donning_minutes", "Minutes to put the device on and fit it", "min", 0, 120, _SECONDS),
        Sign("donning_staff", "People who put the device on", "", 1, 10),
        Sign("doffing_minutes", "Minutes to take the device off", "min", 0, 120, _SECONDS),
    )
}  # fmt: skip

#: Minutes around the training, which are never dose.
AROUND = ("donning_minutes", "doffing_minutes")

_OTHER_NAMES = {
    "systolic_kpa": ("systolic_mmhg", f"1 kPa is {MMHG_PER_KPA:.3g} mmHg"),
    "diastolic_kpa": ("diastolic_mmhg", f"1 kPa is {MMHG_PER_KPA:.3g} mmHg"),
    "rpe_0_10": ("rpe", "the Borg scale from 6 to 20"),
    "borg_cr10": ("rpe", "the Borg scale from 6 to 20"),
    "rpe_6_20": ("rpe", "the Borg scale from 6 to 20"),
    "pain_0_100": ("pain_0_10", "a tenth of it"),
    "spo2": ("spo2_percent", "in percent"),
    "spo2_fraction": ("spo2_percent", "in percent"),
    "heart_rate": ("heart_rate_bpm", "in beats a minute"),
    "heart_rate_hz": ("heart_rate_bpm", "1 Hz is 60 a minute"),
}


def sign_fault(name: str, value: float) -> str | None:
    """Return why a value that somebody entered is impossible, or None.

    A name that is not in `SIGNS` has no range and so no fault.
    """
    sign = SIGNS.get(name)
    return sign.fault(value) if sign is not None else None


def unknown_sign(name: str) -> str:
    """Return the remedy for a sign that is not in `SIGNS`."""
    if name in _OTHER_NAMES:
        own, how = _OTHER_NAMES[name]
        return f"Use {own} ({how})."
    close = difflib.get_close_matches(name, SIGNS, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(SIGNS)}."
