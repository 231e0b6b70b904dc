"""Names and units as foreign sources write them, brought to the contract's own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

#: Unit as sources write it, in lower case -> SI unit and factor.
_SI: dict[str, tuple[str, float]] = {
    "": ("1", 1.0),
    "1": ("1", 1.0),
    "%": ("1", 0.01),
    "percent": ("1", 0.01),
    "v": ("V", 1.0),
    "volt": ("V", 1.0),
    "volts": ("V", 1.0),
    "mv": ("V", 1e-3),
    "millivolts": ("V", 1e-3),
    "uv": ("V", 1e-6),
    "µv": ("V", 1e-6),
    "μv": ("V", 1e-6),
    "microvolt": ("V", 1e-6),
    "microvolts": ("V", 1e-6),
    "m": ("m", 1.0),
    "cm": ("m", 1e-2),
    "mm": ("m", 1e-3),
    "n": ("N", 1.0),
    "kn": ("N", 1e3),
    "nm": ("N.m", 1.0),
    "n.m": ("N.m", 1.0),
    "nmm": ("N.m", 1e-3),
    "n.mm": ("N.m", 1e-3),
    "rad": ("rad", 1.0),
    "deg": ("rad", math.pi / 180),
    "degrees": ("rad", math.pi / 180),
    "°": ("rad", math.pi / 180),
    "rad/s": ("rad/s", 1.0),
    "deg/s": ("rad/s", math.pi / 180),
    "m/s": ("m/s", 1.0),
    "km/h": ("m/s", 1 / 3.6),
    "m/s2": ("m/s2", 1.0),
    "m/s^2": ("m/s2", 1.0),
    "g": ("m/s2", 9.80665),
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "ns": ("s", 1e-9),
    "hz": ("1/s", 1.0),
    "1/min": ("1/min", 1.0),
    "bpm": ("1/min", 1.0),
    "pa": ("Pa", 1.0),
    "mmhg": ("Pa", 133.322387415),
}


def si_unit(unit: str) -> tuple[str, float]:
    """Return the SI unit and the factor to it; a unit that is not known stays as it is.

    ``g`` is the standard acceleration, and ``nm`` a torque: nobody measures gait in
    nanometres.
    """
    return _SI.get(unit.strip().lower(), (unit.strip() or "1", 1.0))


def channel_names(labels: Iterable[str], prefix: str = "") -> list[str]:
    """Return one name a label: lower case, letters, digits and ``_``, none given twice.

    A repeated label takes ``_2``, ``_3``; one without a letter or digit is ``channel``.
    """
    taken: set[str] = set()
    names = []
    for label in labels:
        words = re.sub(r"[^a-z0-9]+", "_", f"{prefix} {label}".lower()).strip("_")
        base = words or "channel"
        name, at = base, 1
        while name in taken:
            at += 1
            name = f"{base}_{at}"
        taken.add(name)
        names.append(name)
    return names
