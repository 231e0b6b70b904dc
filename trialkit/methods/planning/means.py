"""Sizes for means: two samples, analysis of covariance, repeated measures.

Sources: the noncentral t distribution, as in R's power.t.test; analysis of covariance with the
factor ``1 - rho^2``, Borm GF, Fransen J, Lemmens WAJG (2007), J Clin Epidemiol 60:1234; unequal SDs
with Satterthwaite's degrees of freedom, Moser BK, Stevens GR, Watts CL (1989), Commun Stat Theory
Methods 18:3963; the mixed model for repeated measures with monotone dropout, Lu K, Luo X, Chen
P-Y (2008), Int J Biostat 4:9, formula 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods.planning.endpoint import (
    Arms,
    Endpoint,
    between,
    different,
    finite,
    one_of,
    positive,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mean(Endpoint):
    """Difference of two means.

    Parameters
    ----------
    difference : float
        Treatment less control, in units of the outcome.
    sd : float
        Standard deviation of the outcome (in the control arm, if `sd_treatment` is given).
    sd_treatment : float or None
    correlation : float
        Of baseline and outcome, for an analysis of covariance; 0: no covariate.
    null : float
        Difference under the null hypothesis; minus the margin for non-inferiority where more is
        better.
    test : {"t", "z"}
    """

    name: ClassVar[str] = "mean"
    difference: float
    sd: float
    sd_treatment: float | None = None
    correlation: float = 0.0
    null: float = 0.0
    test: str = "t"

    def __post_init__(self) -> None:
        finite(difference=self.difference, null=self.null)
        positive(sd=self.sd)
        if self.sd_treatment is not None:
            positive(sd_treatment=self.sd_treatment)
        between(-1.0, 1.0, correlation=self.correlation)
        different("difference", self.difference, self.null)
        one_of("test", self.test, ("t", "z"))

    @property
    def variant(self) -> str:
        """The test in words."""
        kind = "t test, noncentral t" if self.test == "t" else "z test"
        model = (
            f"analysis of covariance (rho {self.correlation:g})"
            if self.correlation
            else "two means"
        )
        return f"{model}, {kind}{', unequal SDs' if self._unequal else ''}"

    @property
    def _unequal(self) -> bool:
        return self.sd_treatment is not None and self.sd_treatment != self.sd

    @property
    def fewest(self) -> float:
        """Participants at which the t test has one degree of freedom."""
        return 3.0 + bool(self.correlation) if self.test == "t" else 0.0

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect and SE (the same under both hypotheses)."""
        a, b = self._parts(treatment, control)
        se = math.sqrt(a + b)
        return abs(self.difference - self.null), se, se

    def _parts(self, treatment: float, control: float) -> tuple[float, float]:
        left = 1.0 - self.correlation**2
        first = self.sd if self.sd_treatment is None else self.sd_treatment
        return left * first**2 / treatment, left * self.sd**2 / control

    def power(self, arms: Arms, tail: float) -> float:
        """Return the power; the t test has the degrees of freedom of the arms' variances."""
        if self.test == "z":
            return super().power(arms, tail)
        a, b = self._parts(*arms.effective)
        df = arms.treatment + arms.control - 2.0 - bool(self.correlation)
        if self._unequal or arms.clustered:
            first = min(arms.df_treatment, arms.treatment - 1.0)
            second = min(arms.df_control, arms.control - 1.0)
            if first <= 0.0 or second <= 0.0:
                return 0.0
            df = min(df, (a + b) ** 2 / (a * a / first + b * b / second))
        if df < 1.0:
            return 0.0  # no test that anybody would use
        shift = abs(self.difference - self.null) / math.sqrt(a + b)
        return noncentral_power(df, shift, tail)


def noncentral_power(df: float, shift: float, tail: float) -> float:
    """Return P(T > t) of a noncentral t beyond the upper `tail` quantile of the central one."""
    critical = -float(special.stdtrit(df, tail))
    below = float(special.nctdtr(df, shift, critical))
    if math.isnan(below):  # far in the tail
        below = 0.0 if shift > critical else 1.0
    return 1.0 - below


@dataclass(frozen=True)
class RepeatedMeasures(Endpoint):
    """Difference at the last visit in a mixed model for repeated measures.

    Parameters
    ----------
    difference : float
        At the last visit, treatment less control.
    sd : float
        Standard deviation at the last visit (without adjustment for baseline).
    correlation : float or array, shape (v, v)
        Between visits after baseline; a number needs `visits` and `structure`.
    retention : sequence of float, v values
        Share of the participants still observed at each visit; must not rise.
    retention_control : sequence of float or None
        Of the control arm, where it differs.
    baseline_correlation : float or sequence, v values
        Of the baseline with each visit, where it is a covariate (with its own slope a visit).
    visits : int or None
    structure : {"cs", "ar1"}
    null : float
    """

    name: ClassVar[str] = "mmrm"
    difference: float
    sd: float
    correlation: Any
    retention: Sequence[float] = ()
    retention_control: Sequence[float] | None = None
    baseline_correlation: Any = 0.0
    visits: int | None = None
    structure: str = "cs"
    null: float = 0.0

    def __post_init__(self) -> None:
        finite(difference=self.difference, null=self.null)
        positive(sd=self.sd)
        different("difference", self.difference, self.null)
        one_of("structure", self.structure, ("cs", "ar1"))
        self._factors()
        self.notes.append("known covariance, normal quantiles: add a participant or two an arm")

    @property
    def variant(self) -> str:
        """The test in words."""
        base = "" if not np.any(self.baseline_correlation) else ", baseline as covariate"
        return (
            f"mixed model for repeated measures at the last visit, monotone dropout{base}, z test"
        )

    def signal(self, treatment: float, control: float) -> tuple[float, float, float]:
        """Return effect and SE (the same under both hypotheses)."""
        first, second = self._factors()
        se = self.sd * math.sqrt(first / treatment + second / control)
        return abs(self.difference - self.null), se, se

    def _factors(self) -> tuple[float, float]:
        """Return variance of the last visit's mean times n over sd^2: treatment, control."""
        matrix = self._matrix()
        own = list(self.retention) or [1.0] * len(matrix)
        other = own if self.retention_control is None else list(self.retention_control)
        return variance_factor(matrix, own), variance_factor(matrix, other)

    def _matrix(self) -> Floats:
        full = np.asarray(self.correlation, dtype=np.float64)
        if full.ndim == 0:
            v = self.visits or len(self.retention)
            if v < 1:
                raise UsageError(
                    "a single correlation needs the number of visits.", remedy="Give visits=."
                )
            gap = np.abs(np.subtract.outer(np.arange(v), np.arange(v)))
            between(-1.0, 1.0, correlation=float(full))
            full = np.where(gap == 0, 1.0, full ** (gap if self.structure == "ar1" else 1))
        try:
            base = np.broadcast_to(np.asarray(self.baseline_correlation, float), len(full))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"baseline_correlation does not fit {len(full)} visits.",
                remedy="Give one number, or one a visit.",
            ) from error
        good = full.ndim == 2 and full.shape[0] == full.shape[1] and np.isfinite(full).all()
        good = good and np.allclose(full, full.T) and np.allclose(np.diagonal(full), 1.0)
        left = full - np.outer(base, base) if good else full
        if not good or np.linalg.eigvalsh(left)[0] <= 1e-12:
            raise UsageError(
                "the correlations, the baseline's included, are no correlation matrix.",
                remedy="It must be symmetric and positive definite, with ones on the diagonal.",
            )
        return np.asarray(left)


def variance_factor(matrix: Floats, retention: Sequence[float]) -> float:
    """Return n times the variance of the last visit's mean under monotone dropout.

    Parameters
    ----------
    matrix : ndarray, shape (v, v)
        Covariance of the visits.
    retention : sequence of float, v values
        Share observed at each visit.
    """
    shares = np.asarray(retention, dtype=np.float64)
    if shares.shape != (len(matrix),) or not np.isfinite(shares).all():
        raise UsageError(
            f"retention has {shares.size} values for {len(matrix)} visits.",
            remedy="Give the share still observed at each visit.",
        )
    if (np.diff(shares) > 1e-12).any() or shares[0] > 1.0 or shares[-1] <= 0.0:
        raise UsageError(
            f"retention {shares.tolist()} rises, exceeds 1 or ends at 0.",
            remedy="Give shares from 1 downwards, above 0.",
        )
    leaving = shares - np.append(shares[1:], 0.0)
    information = np.zeros_like(matrix)
    for k, share in enumerate(leaving, start=1):
        if share > 0.0:
            information[:k, :k] += share * np.linalg.inv(matrix[:k, :k])
    return float(np.linalg.inv(information)[-1, -1])
