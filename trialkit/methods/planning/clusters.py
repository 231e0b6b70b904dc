"""What clustering costs: design effects, in both arms or in one.

Sources: unequal cluster sizes, Eldridge SM, Ashby D, Kerry S (2006), Int J Epidemiol 35:1292;
clusters in one arm only (therapists of one treatment), Moerbeek M, Wong WK (2008), Stat Med
27:2850: the variance of that arm's mean grows by its design effect, the other's does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trialkit.errors import UsageError
from trialkit.methods.planning.endpoint import Arms, between, finite, one_of


@dataclass(frozen=True)
class Clusters:
    """Participants who share a therapist, group or site.

    Parameters
    ----------
    size : float
        Mean number of participants of a cluster.
    icc : float
        Intracluster correlation.
    cv : float
        Coefficient of variation of the cluster sizes.
    arm : {"both", "treatment", "control"}
        Which arm is clustered. In both arms clusters are nested in the arms.
    """

    size: float
    icc: float
    cv: float = 0.0
    arm: str = "both"

    def __post_init__(self) -> None:
        finite(size=self.size, cv=self.cv)
        if self.size < 1.0 or self.cv < 0.0:
            raise UsageError(
                f"a cluster size of {self.size:g} with a coefficient of variation of {self.cv:g}.",
                remedy="Give a size of 1 or more and a variation of 0 or more.",
            )
        if self.icc != 0.0:
            between(0.0, 1.0, icc=self.icc)
        one_of("arm", self.arm, ("both", "treatment", "control"))

    @property
    def effect(self) -> float:
        """The design effect ``1 + ((cv^2 + 1) size - 1) icc``."""
        return 1.0 + ((self.cv**2 + 1.0) * self.size - 1.0) * self.icc

    def arms(self, treatment: float, control: float) -> Arms:
        """Return arms of these sizes with their design effects."""
        own, other = self.arm in ("both", "treatment"), self.arm in ("both", "control")
        return Arms(
            treatment,
            control,
            self.effect if own else 1.0,
            self.effect if other else 1.0,
            treatment / self.size - 1.0 if own else math.inf,
            control / self.size - 1.0 if other else math.inf,
        )
