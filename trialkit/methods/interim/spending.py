r"""Spending functions: how much of an error may be spent by an information fraction.

With ``a`` the one-sided error and ``t`` in [0, 1] the information fraction:

- ``obrien_fleming``: :math:`2 - 2\Phi(z_{1-a/2}/\sqrt t)` (Lan and DeMets 1983, Biometrika
  70:659)
- ``pocock``: :math:`a\log(1 + (e - 1)t)` (the same)
- ``hwang_shih_decani``: :math:`a(1 - e^{-\gamma t})/(1 - e^{-\gamma})`, ``a t`` for gamma 0
  (Hwang, Shih and DeCani 1990, Stat Med 9:1439)
- ``power``: :math:`a t^\rho` (Kim and DeMets 1987, Biometrika 74:149)

Classical boundaries are given by their shape instead: at information fraction ``t`` the bound is
:math:`C t^{\Delta - 1/2}` (Wang and Tsiatis 1987, Biometrics 43:193), with ``Delta`` 0 for
O'Brien and Fleming 1979 (Biometrics 35:549) and 1/2 for Pocock 1977 (Biometrika 64:191).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.errors import UsageError

Floats = npt.NDArray[np.float64]

#: Name, and whether it takes a parameter.
SPENDING = {
    "obrien_fleming": False,
    "pocock": False,
    "hwang_shih_decani": True,
    "power": True,
}
#: Name, and the exponent of Wang and Tsiatis (None: a parameter).
SHAPES: dict[str, float | None] = {
    "classical_obrien_fleming": 0.0,
    "classical_pocock": 0.5,
    "wang_tsiatis": None,
}


@dataclass(frozen=True)
class Rule:
    """A spending function or a classical shape, with its parameter."""

    name: str
    parameter: float | None = None

    @property
    def classical(self) -> bool:
        """Whether the rule is a shape of the bounds instead of a spending function."""
        return self.name in SHAPES

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter:g})"

    def spent(self, error: float, t: Floats) -> Floats:
        """Return the cumulative error spent at information fractions, shape (k,).

        Fractions above 1 count as 1.
        """
        at = np.clip(np.asarray(t, dtype=np.float64), 0.0, 1.0)
        if self.name == "obrien_fleming":
            with np.errstate(divide="ignore"):
                found = 2.0 * special.ndtr(special.ndtri(error / 2.0) / np.sqrt(at))
        elif self.name == "pocock":
            found = error * np.log1p((math.e - 1.0) * at)
        elif self.name == "power":
            found = error * at ** float(self.parameter or 0.0)
        else:
            gamma = float(self.parameter or 0.0)
            if gamma == 0.0:
                found = error * at
            else:
                found = error * np.expm1(-gamma * at) / math.expm1(-gamma)
        return np.asarray(np.where(at >= 1.0, error, found), dtype=np.float64)

    def shape(self, t: Floats) -> Floats:
        """Return the bounds of a classical design up to their constant."""
        exponent = SHAPES[self.name]
        power = float(self.parameter or 0.0) if exponent is None else exponent
        return np.asarray(t, dtype=np.float64) ** (power - 0.5)


def rule(given: str | Sequence[object] | Rule, what: str) -> Rule:
    """Read a name, or a name with its parameter, such as ``("hwang_shih_decani", -4)``.

    Raises
    ------
    UsageError
        For an unknown name, or a parameter missing, superfluous or out of range.
    """
    if isinstance(given, Rule):
        return given
    name, parameter = (given, None) if isinstance(given, str) else _pair(given, what)
    known = [*SPENDING, *SHAPES]
    if name not in known:
        raise UsageError(
            f"{what} {name!r} is not known.", remedy=f"Use one of: {', '.join(known)}."
        )
    needs = SPENDING[name] if name in SPENDING else SHAPES[name] is None
    if needs != (parameter is not None):
        raise UsageError(
            f"{what} {name} {'needs a' if needs else 'takes no'} parameter.",
            remedy=f'Write ("{name}", value).' if needs else f'Write "{name}".',
        )
    if parameter is not None and not math.isfinite(parameter):
        raise UsageError(f"The parameter of {name} is {parameter}.", remedy="Give a number.")
    if name == "power" and not (parameter or 0.0) > 0.0:
        raise UsageError("The power of a spending function is not positive.", remedy="Use 1 to 3.")
    return Rule(name, parameter)


def _pair(given: Sequence[object], what: str) -> tuple[str, float]:
    """Read a name with its parameter."""
    if len(given) == 2:
        name, parameter = given
        if isinstance(name, str) and isinstance(parameter, int | float):
            return name, float(parameter)
    raise UsageError(
        f"{what} {given!r} cannot be read.",
        remedy='Give a name, or a pair such as ("hwang_shih_decani", -4).',
    )
