"""What each family of devices can do at most, and the hints for values in the wrong unit.

The driver's own capability is checked again before a session arms the device; this table
finds a fault before there is a device. Where no data sheet was read, only the bounds that
follow from the parameter itself are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

KM_H = 1 / 3.6
MPH = 0.44704


class ParameterProfile(Protocol):
    """Hard limits of one parameter, as `device_interface.contract.Parameter` gives them."""

    @property
    def name(self) -> str:
        """Name of the parameter."""
        ...

    @property
    def minimum(self) -> float:
        """Hard lower limit."""
        ...

    @property
    def maximum(self) -> float:
        """Hard upper limit."""
        ...

    @property
    def rate_per_s(self) -> float | None:
        """Fastest change a second, or None where it is not known."""
        ...


class DeviceProfile(Protocol):
    """What a check needs of a device; `device_interface.contract.Capability` is one."""

    @property
    def family(self) -> str:
        """Family of the device."""
        ...

    @property
    def parameters(self) -> Sequence[ParameterProfile]:
        """Parameters that the device takes."""
        ...


@dataclass(frozen=True)
class Bound:
    """Hard limits of one parameter of a family; `why` says where they come from."""

    name: str
    minimum: float
    maximum: float
    why: str
    rate_per_s: float | None = None


@dataclass(frozen=True)
class Profile:
    """A family of devices."""

    family: str
    parameters: tuple[Bound, ...]


MAX_SUPPORT_KG = 85.0
MAX_PATIENT_KG = 135.0
_ORTHOSIS = "Lokomat Pro technical datasheet v6, 2019"
_BY_NATURE = "by the definition of the parameter"

FAMILIES: dict[str, Profile] = {
    "treadmill_orthosis": Profile(
        "treadmill_orthosis",
        (
            Bound("speed_m_s", 0.0, 0.8889, f"3.2 km/h; {_ORTHOSIS}"),
            Bound(
                "support_fraction",
                0.0,
                round(MAX_SUPPORT_KG / MAX_PATIENT_KG, 4),
                f"85 kg of the heaviest admitted patient, 135 kg; {_ORTHOSIS}",
            ),
            Bound("guidance", 0.0, 1.0, _BY_NATURE),
        ),
    ),
    "overground_exoskeleton": Profile(
        "overground_exoskeleton", (Bound("guidance", 0.0, 1.0, _BY_NATURE),)
    ),
    "wearable_brace": Profile("wearable_brace", (Bound("guidance", 0.0, 1.0, _BY_NATURE),)),
}

# key that somebody may write -> the key that there is, and the factor to it (None: unknown)
_KEYS: dict[str, tuple[str, float | None]] = {
    "speed_km_h": ("speed_m_s", KM_H),
    "speed_kmh": ("speed_m_s", KM_H),
    "speed_kph": ("speed_m_s", KM_H),
    "speed_mph": ("speed_m_s", MPH),
    "speed_cm_s": ("speed_m_s", 0.01),
    "speed": ("speed_m_s", None),
    "support_percent": ("support_fraction", 0.01),
    "bws_percent": ("support_fraction", 0.01),
    "bws": ("support_fraction", None),
    "support": ("support_fraction", None),
    "support_kg": ("support_fraction", None),
    "guidance_percent": ("guidance", 0.01),
    "guidance_fraction": ("guidance", 1.0),
    "guidance_force": ("guidance", None),
    "seconds": ("minutes", 1 / 60),
    "duration_s": ("minutes", 1 / 60),
    "duration_min": ("minutes", 1.0),
    "duration_minutes": ("minutes", 1.0),
    "hours": ("minutes", 60.0),
    "min_moving_seconds": ("min_moving_minutes", 1 / 60),
    "rate_km_h_per_s": ("rate_per_s", KM_H),
    "rate": ("rate_per_s", None),
    "min_interval_ms": ("min_interval_s", 0.001),
    "min_interval_min": ("min_interval_s", 60.0),
}


def key_hint(key: str, value: Any) -> tuple[str, str] | None:
    """Return message and remedy for a key in another unit, or None for any other key."""
    if key not in _KEYS:
        return None
    name, factor = _KEYS[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if factor is None or not number:
        return "the key does not give the unit.", f"Use {name}, in the unit that its name gives."
    return "the key is not in the protocol's unit.", f"Use {name}: {float(value) * factor:.3g}."


def unit_hint(parameter: str, value: float, maximum: float) -> str | None:
    """Return what a value that is too high may have been meant as, or None."""
    if parameter == "speed_m_s" and maximum < value <= maximum / KM_H:
        return f"It looks like km/h: {value:g} km/h is {value * KM_H:.3f} m/s."
    if parameter != "speed_m_s" and 1.0 < value <= 100.0:
        return f"It looks like percent: {value:g} % is {value / 100:g}."
    return None
