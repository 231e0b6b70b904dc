"""What a fitted MMRM answers: LS-means, contrasts, predictions, draws, a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods import _marginal
from trialkit.methods._linear_fit import LinearFit, Names
from trialkit.methods._marginal import Margins, names_of
from trialkit.methods.repeated import predict as prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trialkit.methods._design import Design
    from trialkit.methods.repeated.df import MmrmInference
    from trialkit.methods.repeated.result import MMRMFit


class Readings(LinearFit):
    """Answers of a fit; see :class:`~trialkit.methods.repeated.result.MMRMFit`."""

    inference: MmrmInference | None
    options: dict[str, str | None]

    @property
    def table(self) -> pd.DataFrame:
        """The coefficients; the effects of the arms are in :meth:`contrast`."""
        return self.coefficients

    def _means(self, term: Names, by: Names | None, weights: str, variance: str) -> Margins:
        return _marginal.margins(
            self.design,
            term,
            by,
            weights,
            unit=self.options["subject"],
            occasion=self.options["visit"],
            variance=variance,
        )

    def predict(
        self, newdata: pd.DataFrame | None = None, *, kind: str = "marginal", level: float = 0.95
    ) -> pd.DataFrame:
        """Predict the outcome of each row.

        Parameters
        ----------
        newdata : DataFrame, optional
            Rows with the predictors, the visit (and subject); the rows of the fit without.
        kind : str
            ``marginal``: the mean of people with these predictors. ``conditional``: given the
            participant's outcomes at the other visits, taken from `newdata` where it has the
            outcome, else from the data of the fit. An observed outcome is not used for its
            own prediction.
        level : float
            Coverage of both intervals.

        Returns
        -------
        DataFrame
            One row a row given, in its order: subject and visit where known, ``estimate se df
            lower upper`` of the mean, and ``prediction_se prediction_lower prediction_upper``
            for one new outcome. The covariance of the visits is taken as known; both intervals
            use the degrees of freedom ``df`` of the mean. Rows with a missing predictor, and
            rows that the data cannot estimate, hold NaN.

        Raises
        ------
        UsageError
            For a missing column, an unknown level or visit, or a visit given twice.
        """
        return prediction.predict(self._fit, newdata, kind, level)

    def residuals(self, kind: str = "response") -> pd.DataFrame:
        """Return the residuals of the rows of the fit.

        Parameters
        ----------
        kind : str
            ``response``: observed minus fitted. ``pearson``: divided by the standard
            deviation of the visit. ``normalized``: made uncorrelated with variance one by the
            Cholesky factor of the participant's covariance.

        Returns
        -------
        DataFrame
            Subject, visit, ``residual``.
        """
        return prediction.residuals(self._fit, kind)

    def simulate(self, n: int, *, seed: int) -> pd.DataFrame:
        """Draw outcomes from the fitted model for the rows of the fit.

        Coefficients and covariance are those of the fit; visits that are missing stay missing.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int
            The same seed gives the same draws, whatever the order of the rows.

        Returns
        -------
        DataFrame
            Subject, visit, ``draw_1`` to ``draw_n``.
        """
        return prediction.simulate(self._fit, n, seed)

    def plot(
        self,
        term: str,
        *,
        by: str | None = None,
        weights: str = "equal",
        level: float = 0.95,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw LS-means of ``term`` by visit with intervals and the numbers observed.

        Parameters
        ----------
        term : str
            Factor whose levels are the lines, such as the arm.
        by : str, optional
            Factor along the axis; the visit without.
        weights, level
            As for :meth:`lsmeans`.
        ax : matplotlib Axes, optional
            Where to draw.

        Raises
        ------
        UsageError
            If the fit failed, or a name is no factor of the formula.
        """
        from trialkit.methods.repeated.draw import profile

        if self.failed is not None:
            raise UsageError(
                f"The fit failed and has no means to draw: {self.failed}.",
                remedy="See fit.failed; mend the model or the data.",
            )
        along = by or str(self.options["visit"])
        lines, axis = self.design.categorical(names_of(term)[0]), self.design.categorical(along)
        means = self.lsmeans(term, along, weights, level)
        shape = (len(axis.levels), len(lines.levels))
        at = [
            pd.Index(each.levels).get_indexer(pd.Index(self.design.columns[each.variables[0]]))
            for each in (axis, lines)
        ]
        counts = np.bincount(at[0] * shape[1] + at[1], minlength=shape[0] * shape[1])
        return profile(
            means,
            counts.reshape(shape),
            visits=axis.levels,
            groups=lines.levels,
            ylabel=f"{self.design.response} (LS-mean, {100 * level:g} % interval)",
            xlabel=along,
            title=f"{weights} weights" if weights != "equal" else "",
            ax=ax,
        )

    @property
    def _fit(self) -> MMRMFit:
        return cast("MMRMFit", self)


def tied_words(design: Design) -> str:
    """Say which factors share one mean at a visit, to append to a variant."""
    return "".join(f", {each.factor} equal at {each.visit} {each.at}" for each in design.tied)
