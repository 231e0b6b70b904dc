"""Sizes for proportions, rates and times to events.

Sources: proportions by the score test with the restricted maximum likelihood estimate, Farrington
CP, Manning G (1990), Stat Med 9:1447, which without a margin is the pooled test, Fleiss JL, Tytun
A, Ury HK (1980), Biometrics 36:343, without their correction; negative binomial rates, Zhu H,
Lakkis H (2014), Stat Med 33:376; numbers of events, Schoenfeld DA (1981), Biometrika 68:316, and
Freedman LS (1982), Stat Med 1:121; events of exponential times with uniform accrual, Lachin JM,
Foulkes MA (1986), Biometrics 42:507.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from scipy import optimize

from trialkit.errors import UsageError
from trialkit.methods.planning.endpoint import Endpoint, between, different, one_of, positive


@dataclass(frozen=True)
class Proportion(Endpoint):
    """Difference of two proportions.

    Parameters
    ----------
    treatment, control : float
        Proportions.
    null : float
        Difference under the null hypothesis.
    test : {"score", "wald"}
        Variance under the null restricted to it (pooled, Farrington-Manning), or unrestricted.
    """

    name: ClassVar[str] = "proportion"
    treatment: float
    control: float
    null: float = 0.0
    test: str = "score"

    def __post_init__(self) -> None:
        between(0.0, 1.0, treatment=self.treatment, control=self.control)
        between(-1.0, 1.0, null=self.null)
        different("difference", self.treatment - self.control, self.null)
        one_of("test", self.test, ("score", "wald"))

    @property
    def variant(self) -> str:
        """The test in words."""
        if self.test == "wald":
            return "two proportions, unpooled variance, z test"
        kind = "pooled variance" if self.null == 0.0 else "Farrington-Manning"
        return f"two proportions, {kind}, z test"

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect and its two standard errors."""
        a, b = self.treatment, self.control
        se = math.sqrt(a * (1.0 - a) / treatment + b * (1.0 - b) / control)
        null = se
        if self.test == "score":
            c = restricted(a, b, treatment / control, self.null)
            d = c + self.null
            null = math.sqrt(d * (1.0 - d) / treatment + c * (1.0 - c) / control)
        return abs(a - b - self.null), null, se


def restricted(treatment: float, control: float, ratio: float, null: float) -> float:
    """Return the control proportion that maximises the likelihood under a given difference.

    The score is decreasing in it, so that its root is unique.
    """
    low, high = max(0.0, -null), min(1.0, 1.0 - null)

    def score(c: float) -> float:
        d = c + null
        first = treatment / d - (1.0 - treatment) / (1.0 - d)
        return ratio * first + control / c - (1.0 - control) / (1.0 - c)

    edge = 1e-12 * (high - low)
    return float(optimize.brentq(score, low + edge, high - edge, xtol=1e-15))


@dataclass(frozen=True)
class Rate(Endpoint):
    """Ratio of two rates of a negative binomial count (dispersion 0: Poisson).

    Parameters
    ----------
    control : float
        Rate of the control arm, per unit of time.
    ratio : float
        Rate ratio, treatment over control.
    dispersion : float
        k of ``Var = mu + k mu^2``.
    exposure : float
        Time of observation of a participant (mean), in the unit of the rate.
    null : float
        Ratio under the null hypothesis.
    variance : {"true", "reference", "pooled"}
        Variance under the null from the assumed rates (method 2 of Zhu and Lakkis), from the
        control rate in both arms (1), or from the common rate (3). A null other than 1 needs
        ``true``.
    """

    name: ClassVar[str] = "rate"
    control: float
    ratio: float
    dispersion: float = 0.0
    exposure: float = 1.0
    null: float = 1.0
    variance: str = "true"

    def __post_init__(self) -> None:
        positive(control=self.control, ratio=self.ratio, exposure=self.exposure, null=self.null)
        if self.dispersion != 0.0:
            positive(dispersion=self.dispersion)
        different("ratio", self.ratio, self.null)
        one_of("variance", self.variance, ("true", "reference", "pooled"))
        if self.null != 1.0 and self.variance != "true":
            raise UsageError("a null other than 1 needs variance='true'.", remedy="Use it.")

    @property
    def variant(self) -> str:
        """The test in words."""
        number = {"reference": 1, "true": 2, "pooled": 3}[self.variance]
        kind = "negative binomial" if self.dispersion else "Poisson"
        return f"{kind} rates, log ratio, Zhu-Lakkis method {number}, z test"

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect (log ratio) and its two standard errors."""
        t, c = self.control * self.ratio, self.control
        spread = self.dispersion * (1.0 / treatment + 1.0 / control)

        def se(first: float, second: float) -> float:
            counts = 1.0 / (first * treatment) + 1.0 / (second * control)
            return math.sqrt(counts / self.exposure + spread)

        common = (t * treatment + c * control) / (treatment + control)
        null = {"true": (t, c), "reference": (c, c), "pooled": (common, common)}[self.variance]
        return abs(math.log(self.ratio / self.null)), se(*null), se(t, c)

    def events(self, treatment: float, control: float) -> float:
        """Return the expected number of events."""
        return self.control * self.exposure * (control + self.ratio * treatment)


@dataclass(frozen=True)
class TimeToEvent(Endpoint):
    """Ratio of two proportional hazards, tested by the log-rank test.

    Parameters
    ----------
    hazard_ratio : float
        Treatment over control.
    median_control, hazard_control : float or None
        Median or hazard of the control arm, exponential; without both only events are planned.
    accrual : float
        Time of uniform accrual.
    followup : float
        Time from the last participant's entry to the analysis.
    dropout_hazard : float or (treatment, control)
        Hazard of loss to follow-up.
    null : float
        Hazard ratio under the null hypothesis (schoenfeld only).
    formula : {"schoenfeld", "freedman"}
    """

    name: ClassVar[str] = "time_to_event"
    hazard_ratio: float
    median_control: float | None = None
    hazard_control: float | None = None
    accrual: float = 0.0
    followup: float = 0.0
    dropout_hazard: float | Sequence[float] = 0.0
    null: float = 1.0
    formula: str = "schoenfeld"

    def __post_init__(self) -> None:
        positive(hazard_ratio=self.hazard_ratio, null=self.null)
        different("hazard_ratio", self.hazard_ratio, self.null)
        one_of("formula", self.formula, ("schoenfeld", "freedman"))
        if self.null != 1.0 and self.formula == "freedman":
            raise UsageError("Freedman's formula has the null 1.", remedy="Use schoenfeld.")
        if self.median_control is not None and self.hazard_control is not None:
            raise UsageError("median and hazard are given.", remedy="Give one of them.")
        if self.timed:
            positive(hazard_control=self._hazard)
            positive(**{"accrual + followup": self.accrual + self.followup})
            if min(self.accrual, self.followup, *self._losses) < 0.0:
                raise UsageError("a time or hazard is negative.", remedy="Correct it.")

    @property
    def timed(self) -> bool:
        """Whether participants, not only events, can be planned."""
        return self.median_control is not None or self.hazard_control is not None

    @property
    def _hazard(self) -> float:
        if self.median_control is not None:
            positive(median_control=self.median_control)
            return math.log(2.0) / self.median_control
        return self.hazard_control or 0.0

    @property
    def _losses(self) -> tuple[float, float]:
        if isinstance(self.dropout_hazard, Sequence):
            if len(self.dropout_hazard) != 2:
                raise UsageError(
                    "dropout_hazard has not two values.", remedy="Give (treatment, control)."
                )
            return float(self.dropout_hazard[0]), float(self.dropout_hazard[1])
        return float(self.dropout_hazard), float(self.dropout_hazard)

    @property
    def variant(self) -> str:
        """The test in words."""
        return f"log-rank test, {self.formula.capitalize()}'s formula, proportional hazards"

    def probabilities(self) -> tuple[float, float]:
        """Return the probability of an observed event in the treatment and the control arm."""
        hazards = self._hazard * self.hazard_ratio, self._hazard
        return (
            event_probability(hazards[0], self._losses[0], self.accrual, self.followup),
            event_probability(hazards[1], self._losses[1], self.accrual, self.followup),
        )

    def events(self, treatment: float, control: float) -> float | None:
        """Return the expected number of events."""
        if not self.timed:
            return None
        first, second = self.probabilities()
        return treatment * first + control * second

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect and SE for the events that the arms are expected to have."""
        expected = self.events(treatment, control)
        assert expected is not None
        return self.signal_of(expected, treatment / control)

    def signal_of(self, events: float, ratio: float) -> tuple[float, float, float]:
        """Return effect and SE for a number of events; `ratio`: treatment to control."""
        if self.formula == "schoenfeld":
            se = (1.0 + ratio) / math.sqrt(ratio * events)
            return abs(math.log(self.hazard_ratio / self.null)), se, se
        se = (1.0 + ratio * self.hazard_ratio) / math.sqrt(ratio * events)
        return abs(1.0 - self.hazard_ratio), se, se


def event_probability(hazard: float, loss: float, accrual: float, followup: float) -> float:
    """Return P(event observed) with exponential event and loss and uniform accrual."""
    total = hazard + loss
    still = math.exp(-total * followup)
    if total * accrual > 0.0:
        still *= -math.expm1(-total * accrual) / (total * accrual)
    return hazard / total * (1.0 - still)
