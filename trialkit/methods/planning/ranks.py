"""Sizes for ordered outcomes: proportional odds, and the Wilcoxon test.

Sources: Whitehead J (1993), Stat Med 12:2257; Noether GE (1987), J Am Stat Assoc 82:645.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trialkit.errors import UsageError
from trialkit.methods.planning.endpoint import Endpoint, between, different, positive


@dataclass(frozen=True)
class Ordinal(Endpoint):
    """Common odds ratio of an ordinal outcome.

    Parameters
    ----------
    control : sequence of float
        Probabilities of the categories in the control arm, lowest first; they sum to 1.
    odds_ratio : float
        Odds of a category or higher, treatment over control.
    """

    name: ClassVar[str] = "ordinal"
    control: Sequence[float]
    odds_ratio: float

    def __post_init__(self) -> None:
        positive(odds_ratio=self.odds_ratio)
        different("odds_ratio", self.odds_ratio, 1.0)
        p = np.asarray(self.control, dtype=np.float64)
        if p.ndim != 1 or len(p) < 2 or not (p >= 0.0).all() or abs(p.sum() - 1.0) > 1e-9:
            raise UsageError(
                f"the probabilities {list(self.control)} are not shares of 1.",
                remedy="Give one for each category, from 0 to 1, that sum to 1.",
            )
        if p.max() >= 1.0:
            raise UsageError("one category holds everybody.", remedy="Give two or more.")

    @property
    def variant(self) -> str:
        """The test in words."""
        return "proportional odds, Whitehead's formula, z test"

    @property
    def treatment(self) -> npt.NDArray[np.float64]:
        """Probabilities of the categories in the treatment arm."""
        above = 1.0 - np.cumsum(np.asarray(self.control, dtype=np.float64))[:-1]
        moved = self.odds_ratio * above / (1.0 - above + self.odds_ratio * above)
        return -np.diff(np.concatenate([[1.0], moved, [0.0]]))

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect (log odds ratio) and SE."""
        total = treatment + control
        mean = (treatment * self.treatment + control * np.asarray(self.control)) / total
        information = treatment * control / (3.0 * total) * (1.0 - float((mean**3).sum()))
        se = 1.0 / math.sqrt(information)
        return abs(math.log(self.odds_ratio)), se, se


@dataclass(frozen=True)
class Ranks(Endpoint):
    """Probability that a treated participant does better, tested by Wilcoxon's test.

    Parameters
    ----------
    probability : float
        P(treated higher) + P(tie) / 2; one half is no difference.
    """

    name: ClassVar[str] = "ranks"
    probability: float

    def __post_init__(self) -> None:
        between(0.0, 1.0, probability=self.probability)
        different("probability", self.probability, 0.5)

    @property
    def variant(self) -> str:
        """The test in words."""
        return "Wilcoxon test, Noether's formula, z test"

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect and SE (under the null hypothesis)."""
        se = math.sqrt((treatment + control) / (12.0 * treatment * control))
        return abs(self.probability - 0.5), se, se
