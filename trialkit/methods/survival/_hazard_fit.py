"""What fits of hazards and rates share: ratios, tests, model and robust covariances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design, parse
from trialkit.methods._marginal import as_text, check_level, empty_table, objects, statistics
from trialkit.methods._predictor import PredictorFit
from trialkit.methods.survival._likelihood import score_residuals
from trialkit.methods.survival._partial import PartialFit, collapse, fit_partial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

ROBUST = "robust (Lin and Wei 1989) covariance"
TESTS = ("test", "statistic", "df", "p")


@dataclass
class HazardFit(PredictorFit):
    """A fit by partial likelihood; its linear predictor has no intercept.

    Parameters
    ----------
    beta, covariance : ndarray
        As in `PredictorFit`, with zeros for the design's intercept.
    naive_covariance : ndarray, shape (p, p)
        Inverse information; the same as ``covariance`` unless that is robust.
    loglik, loglik_null : float
        Log partial likelihood at the estimate and at zero.
    n_events : int
    n_clusters : int or None
        Clusters over which a robust covariance sums.
    engine : PartialFit or None
        The fit of the kept columns without the intercept.
    cluster : ndarray of int, shape (n,), or None
        The rows' clusters.
    """

    loglik: float = float("nan")
    loglik_null: float = float("nan")
    n_events: int = 0
    n_clusters: int | None = None
    robust: bool = False
    naive_covariance: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    engine: PartialFit | None = field(default=None, repr=False)
    cluster: Ints | None = field(default=None, repr=False)

    @property
    def n_subjects(self) -> int:
        """Participants used: clusters where they are named, else one row each."""
        return self.n if self.n_clusters is None else self.n_clusters

    @property
    def estimated(self) -> Ints:
        """Positions of the estimated columns among the design's kept ones."""
        return estimated(self.design)

    def coefficients_at(self, level: float) -> pd.DataFrame:
        """Return the log hazard ratios with intervals of another coverage."""
        check_level(level)
        if self.failed:
            return empty_table(["term"])
        keep = self.estimated
        se = np.sqrt(np.diagonal(self.covariance))[keep]
        numbers = statistics(self.beta[keep], se, np.full(len(keep), math.inf), level)
        table = pd.DataFrame(numbers, columns=list(empty_table([]).columns))
        table.insert(0, "term", objects([self.design.names[i] for i in keep]))
        return table

    def hazard_ratio(
        self, term: str, *, reference: object = None, level: float = 0.95
    ) -> pd.DataFrame:
        """Return hazard ratios; ``se`` is that of the log hazard ratio.

        Parameters
        ----------
        term : str
            A factor of the formula, or the name of a numeric column's coefficient.
        reference
            The factor's level to compare with; none for a numeric column, whose ratio is for
            one unit.
        """
        factors = {
            name
            for factor in self.design.factors.values()
            if factor.categorical
            for name in (factor.expression, *factor.variables)
        }
        names = [self.design.names[i] for i in self.estimated]
        numeric = [name for name in names if name not in factors]
        return self._ratio("hazard ratio", term, reference, level, numeric)

    @property
    def tests(self) -> pd.DataFrame:
        """Overall tests of all coefficients: test, statistic (chi-square), df, p.

        ``likelihood_ratio`` and ``score`` rest on the model; ``wald`` uses the covariance of
        the table, and a robust fit adds ``robust_score`` (Lin and Wei 1989).
        """
        if self.failed or self.engine is None:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in TESTS})
        keep = self.estimated
        null, problem = self.engine.null, self.engine.problem
        assert null is not None
        assert problem is not None
        beta, cov = self.beta[keep], self.covariance[np.ix_(keep, keep)]
        found = {
            "likelihood_ratio": 2.0 * (self.loglik - self.loglik_null),
            "score": quadratic(null.score, null.information),
            "wald": quadratic(beta, cov),
        }
        if self.robust:
            residuals = score_residuals(problem, null) * problem.weight[:, None]
            each = collapse(residuals, self.cluster)
            found["robust_score"] = quadratic(each.sum(axis=0), each.T @ each)
        df = len(keep)
        p = [float(special.chdtrc(df, max(value, 0.0))) for value in found.values()]
        rows = zip(found, found.values(), [float(df)] * len(found), p, strict=True)
        return pd.DataFrame(list(rows), columns=list(TESTS))

    def summary(self) -> str:
        """Return method, counts, coefficients and overall tests as text."""
        people = "" if self.n_clusters is None else f", participants {self.n_clusters}"
        head = [
            f"{self.method}: {self.variant}",
            f"rows {self.n}{people}, events {self.n_events}, missing {self.n_missing}",
        ]
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])
        tables = [as_text(table, 6) for table in (self.coefficients, self.tests)]
        return "\n".join([*head, *self.notes, *tables])


def quadratic(vector: Floats, matrix: Floats) -> float:
    """Return ``v' M^-1 v`` after scaling the diagonal of M to 1; NaN for a singular M."""
    root = np.sqrt(np.diagonal(matrix))
    if not (root > 0.0).all():
        return math.nan
    scaled = vector / root
    return float(scaled @ np.linalg.lstsq(matrix / np.outer(root, root), scaled, rcond=1e-12)[0])


def estimated(design: Design) -> Ints:
    """Return the positions, among the kept columns, of all but the intercept."""
    keep = [i for i, name in enumerate(design.names) if name != "Intercept"]
    return np.array(keep, dtype=np.intp)


def hazard_design(formula: str, data: pd.DataFrame, also: Sequence[str]) -> Design:
    """Build the design of a formula's right side, coded as with an intercept.

    Raises
    ------
    UsageError
        As `build_design`, and for a formula that removes the intercept (a hazard has none, so
        that a full coding could not be estimated).
    """
    right = f"~ {formula.rpartition('~')[2]}"
    if () not in parse(right)[1]:
        raise UsageError(
            f"The formula {formula!r} takes the intercept away.",
            remedy="Leave 0 or -1 out: the baseline hazard takes the intercept's place.",
        )
    return build_design(right, data, also=list(dict.fromkeys(also)), response=False)


def estimate(
    fit: HazardFit,
    stop: Floats,
    event: Floats,
    *,
    start: Floats | None,
    strata: Ints | None,
    ties: Any,
    cluster: Ints | None,
) -> None:
    """Maximise the partial likelihood and fill in ``fit``."""
    keep = fit.estimated
    fit.n_events = int(event.sum())
    fit.cluster = cluster
    fit.n_clusters = None if cluster is None else int(cluster.max()) + 1
    names = [fit.design.names[i] for i in keep]
    x = fit.design.x[:, keep]
    with np.errstate(all="ignore"):
        found = fit_partial(stop, event, x, start=start, strata=strata, ties=ties, names=names)
        failed = found.failed
        if failed is None:
            fit.engine = found
            covariance = naive = found.covariance
            if fit.robust:
                covariance = found.robust(cluster)
                if degenerate(covariance, naive):
                    failed = "too few clusters for a robust covariance"
            fit.beta[keep] = found.beta
            fit.covariance[np.ix_(keep, keep)] = covariance
            fit.naive_covariance = fit.covariance.copy()
            fit.naive_covariance[np.ix_(keep, keep)] = naive
            fit.loglik, fit.loglik_null = found.loglik, found.loglik_null
            if failed is None and not usable(found.beta, covariance):
                failed = "the partial likelihood could not be maximised"
    fit.failed = failed
    fit.converged = failed is None


def degenerate(robust: Floats, naive: Floats) -> bool:
    """Tell whether the sandwich has lost rank beside the inverse information."""
    root = np.sqrt(np.diagonal(naive))
    return bool(np.linalg.eigvalsh(robust / np.outer(root, root))[0] < 1e-10)


def usable(beta: Floats, covariance: Floats) -> bool:
    """Tell whether the estimates are finite and have positive variances."""
    spread = np.diagonal(covariance)
    return bool(np.isfinite(beta).all() and np.isfinite(spread).all() and (spread > 0).all())


def codes(values: npt.NDArray[Any]) -> Ints:
    """Return codes from 0 in the order of first appearance."""
    return np.asarray(pd.factorize(pd.Series(values, dtype=object))[0], dtype=np.intp)
