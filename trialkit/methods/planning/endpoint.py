"""What every endpoint type gives to planning: effect and standard errors for two arm sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from scipy import special

from trialkit.errors import UsageError


@dataclass(frozen=True)
class Arms:
    """Evaluable participants of two arms and what clustering costs them.

    Parameters
    ----------
    treatment, control : float
        Participants.
    effect_treatment, effect_control : float
        Design effects: the factor by which clustering raises the variance of an arm's mean.
    df_treatment, df_control : float
        Degrees of freedom of the variance of an arm's mean: clusters (or participants) less one.
    """

    treatment: float
    control: float
    effect_treatment: float = 1.0
    effect_control: float = 1.0
    df_treatment: float = math.inf
    df_control: float = math.inf

    @property
    def effective(self) -> tuple[float, float]:
        """Independent participants that would tell as much, treatment first."""
        return self.treatment / self.effect_treatment, self.control / self.effect_control

    @property
    def clustered(self) -> bool:
        """Whether an arm has clusters."""
        return self.effect_treatment != 1.0 or self.effect_control != 1.0


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's assumptions. Power is ``Phi((effect - z se_null) / se_alternative)``."""

    name: ClassVar[str] = ""
    notes: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def variant(self) -> str:
        """The test and its formula in words."""
        raise NotImplementedError

    @property
    def fewest(self) -> float:
        """Least number of participants, both arms together, at which a test exists."""
        return 0.0

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect (not negative), and its SE under the null and under the alternative."""
        raise NotImplementedError

    def power(self, arms: Arms, tail: float) -> float:
        """Return the power of the test whose error in the tail of the effect is `tail`."""
        effect, null, alternative = self.signal(*arms.effective)
        return float(special.ndtr((effect + float(special.ndtri(tail)) * null) / alternative))

    def events(self, treatment: float, control: float) -> float | None:
        """Return the expected number of events, where the endpoint has any."""
        del treatment, control
        return None


def positive(**values: float) -> None:
    """Refuse values that are not finite and above zero."""
    for name, value in values.items():
        if not _number(value) or value <= 0.0:
            raise UsageError(f"{name} must be above 0, not {value!r}.", remedy=f"Correct {name}.")


def finite(**values: float) -> None:
    """Refuse values that are not finite numbers."""
    for name, value in values.items():
        if not _number(value):
            raise UsageError(
                f"{name} must be a finite number, not {value!r}.", remedy=f"Correct {name}."
            )


def between(low: float, high: float, **values: float) -> None:
    """Refuse values that do not lie strictly between two bounds."""
    for name, value in values.items():
        if not _number(value) or not low < value < high:
            raise UsageError(
                f"{name} must lie between {low:g} and {high:g}, not {value!r}.",
                remedy=f"Correct {name}.",
            )


def different(what: str, value: float, null: float) -> None:
    """Refuse an assumed effect that is the null hypothesis."""
    if value == null:
        raise UsageError(
            f"{what} is {value:g}, which is the null hypothesis: no size gives power.",
            remedy=f"Give the {what} that the trial is to find, or another null.",
        )


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse an option that does not exist."""
    if value not in known:
        raise UsageError(f"no {name} {value!r}.", remedy=f"Use {' or '.join(known)}.")


def _number(value: object) -> bool:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return good and math.isfinite(float(value))  # type: ignore[arg-type]
