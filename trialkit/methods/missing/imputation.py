"""Completed data sets and what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level, html
from trialkit.methods.missing import delta as deltas_
from trialkit.methods.missing import sampling, strategies
from trialkit.methods.missing.analysis import Request, check_request
from trialkit.methods.missing.draws import NOT_DEFINITE, realise
from trialkit.methods.missing.evaluate import Evaluated, Resamples, evaluate
from trialkit.methods.missing.model import change_strategy
from trialkit.methods.missing.pooled import Pooled, pack
from trialkit.methods.missing.trial import IMPUTED, Trial, change
from trialkit.methods.missing.values import Imputer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Imputation:
    """Imputed values of a trial.

    Parameters
    ----------
    failed : str or None
        Why there are no imputed values.
    trial : Trial
        The data as a grid.
    imputing : str
        Method of imputation.
    model_variant : str
        Method and model in words.
    values : ndarray, shape (M, number of missing values)
        Imputed values without ``amounts``.
    amounts : ndarray, shape (number of missing values,)
        What is added to them (delta).
    parameters : tuple of ndarray
        Coefficients, shape (M, p), and covariances, shape (M, G, m, m), in reduced coordinates.
    diagnostics : DataFrame or None
        Of the chains of ``bayes``; see :class:`trialkit.methods.missing.gibbs.Chains`.
    """

    failed: str | None
    trial: Trial = field(repr=False)
    imputing: str
    model_variant: str
    seed: int | None
    reference: Any
    strata: Ints = field(repr=False)
    imputer: Imputer = field(repr=False)
    values: Floats = field(repr=False)
    amounts: Floats = field(repr=False)
    parameters: tuple[Floats, Floats] = field(repr=False)
    diagnostics: pd.DataFrame | None = field(repr=False, default=None)
    notes: list[str] = field(default_factory=list)
    cache: dict[Any, Any] = field(repr=False, compare=False, default_factory=dict)
    method: str = "impute"

    @classmethod
    def nothing(cls, reason: str, **shared: Any) -> Imputation:
        """Return a failed imputation."""
        empty: Any = None
        return cls(
            failed=reason,
            imputer=empty,
            values=np.empty((0, 0)),
            amounts=np.empty(0),
            parameters=empty,
            **shared,
        )

    @property
    def converged(self) -> bool:
        """Whether there are imputed values."""
        return self.failed is None

    @property
    def variant(self) -> str:
        """Strategy, method and model in words."""
        return f"{strategies.describe(self.trial.strategy)}; {self.model_variant}"

    @property
    def n(self) -> int:
        """Observed outcomes to which the model is fitted."""
        return int(self.trial.modelled.sum())

    @property
    def n_subjects(self) -> int:
        """Participants."""
        return len(self.trial.subjects)

    @property
    def n_missing(self) -> int:
        """Imputed values."""
        return int(self.trial.missing.sum())

    @property
    def n_imputations(self) -> int:
        """Imputations; 1 for conditional means."""
        return len(self.values)

    @property
    def n_imputed(self) -> pd.DataFrame:
        """Imputed values by arm and visit: arm, visit, n (participants), imputed."""
        return self.trial.counts()

    @property
    def coefficients(self) -> pd.DataFrame:
        """Coefficients of the imputation model: term, estimate."""
        if self.failed:
            return pd.DataFrame({"term": pd.Series(dtype=object), "estimate": np.empty(0)})
        model = self.imputer.model
        return pd.DataFrame({"term": model.design.names, "estimate": model.beta})

    @property
    def covariances(self) -> dict[Any, pd.DataFrame]:
        """Estimated covariance of the visits, by arm (key None where all share one)."""
        if self.failed:
            return {}
        sigma, visits = self.imputer.model.sigma, list(self.trial.visits)
        keys = [None] if len(sigma) == 1 else list(self.trial.arms)
        pairs = zip(keys, sigma, strict=True)
        return {key: pd.DataFrame(s, index=visits, columns=visits) for key, s in pairs}

    def completed(self, i: int = 0) -> pd.DataFrame:
        """Return the data of imputation ``i`` without missing outcomes.

        Rows are sorted by participant and visit; the column ``imputed`` tells imputed values.
        """
        if self.failed:
            raise UsageError(f"The imputation failed: {self.failed}", remedy="See failed.")
        if not 0 <= i < len(self.values):
            raise UsageError(
                f"There is no imputation {i}.",
                remedy=f"They count from 0 to {len(self.values) - 1}.",
            )
        return self.filled(self.values[i])

    def filled(self, values: Floats) -> pd.DataFrame:
        """Return the data with these values, and the amounts, where outcomes are missing."""
        y = self.trial.y.ravel().copy()
        y[self.imputer.where] = values + self.amounts
        return self.trial.frame.assign(
            **{self.trial.names.outcome: y, IMPUTED: self.trial.missing.ravel()}
        )

    def frames(self) -> Iterator[pd.DataFrame]:
        """Iterate over the completed data sets."""
        return (self.completed(i) for i in range(len(self.values)))

    def resampled(self, resamples: Resamples, b: int) -> pd.DataFrame:
        """Return the completed data of a resample; repeated participants get new identifiers."""
        return sampling.resampled(self, resamples, b)

    def sample_name(self, inference: str, b: int) -> str:
        """Name a resample."""
        if inference.startswith("jackknife"):
            return f"without {self.trial.names.subject} {self.trial.subjects[b]}"
        return f"bootstrap sample {b + 1}"

    def with_delta(self, delta: Any) -> Imputation:
        """Return the imputation with another delta; nothing is fitted or drawn again."""
        if self.failed:
            return self
        return replace(self, amounts=deltas_.read_delta(delta, self.trial, self.imputer.where))

    def with_strategy(self, strategy: Any) -> Imputation:
        """Return the imputation with another strategy for all intercurrent events.

        The model, its draws and the random numbers of the values stay as they are, so that
        strategies differ by nothing else.

        Raises
        ------
        UsageError
            Where the imputation model itself would change: outcomes observed after an event
            count in it under MAR only.
        """
        if self.failed:
            return self
        found = change(self.trial, strategies.resolve(strategy))
        model = change_strategy(self.imputer.model, found)
        if isinstance(model, str):
            return replace(self, trial=found, failed=model)
        imputer = Imputer(model)
        gamma, sigma = self.parameters
        try:
            if self.conditional:
                values = imputer.means(gamma, sigma)
            else:
                values = realise(imputer, gamma, sigma, 0 if self.seed is None else self.seed)
        except np.linalg.LinAlgError:
            return replace(self, trial=found, failed=NOT_DEFINITE)
        return replace(self, trial=found, imputer=imputer, values=values)

    def delta_template(
        self, delta: Sequence[float] | None = None, lag: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """Return a table of deltas from the event on; see :mod:`trialkit.methods.missing.delta`."""
        return deltas_.template(self.trial, delta, lag)

    def pool(
        self,
        analysis: Callable[..., Any],
        formula: str,
        *,
        at: Any = None,
        inference: str | None = None,
        term: str | None = None,
        reference: Any = None,
        keep: Any = None,
        by: str | None = None,
        level: float = 0.95,
        estimate: str | Callable[[Any], pd.DataFrame] = "contrast",
        estimate_options: Mapping[str, Any] | None = None,
        transform: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
        resamples: int = 1000,
        seed: int | None = None,
        **options: Any,
    ) -> Pooled:
        """Analyse the completed data and pool.

        Parameters
        ----------
        analysis : callable
            A method of this package (``ancova``, ``binary``, ``negative_binomial``, ``mmrm``),
            or any function of formula and data.
        formula : str
        at : object
            Visit that is analysed; None gives the analysis all rows.
        inference : str
            For conditional means: ``jackknife`` (default), ``bootstrap`` (normal intervals),
            ``bootstrap_percentile``, or ``jackknife_anchored`` (information-anchored: jackknife
            of MAR plus a fixed delta that matches the strategy; Lu 2021, as the documentation
            of rbmi describes). For multiple imputation: ``rubin`` (default; Barnard-Rubin df) or
            ``normal`` (Rubin's variance, normal quantiles).
        term, reference, keep : object
            What is compared; by default the arms with the reference of the imputation.
            ``keep`` keeps one level of the term in the table.
        by : str
            Factor at whose levels the arms are compared, such as the visit of an ``mmrm``.
        level : float
            Coverage.
        estimate : str or callable
            ``contrast``, another method of the fit (``standardised``, ``odds_ratio``,
            ``rate_ratio``), or a function of the fit that returns a table with ``estimate``,
            ``se`` and ``df``. Ratios are pooled as logarithms.
        estimate_options : dict
            For that method, such as ``{"measure": "ratio"}``.
        transform : callable
            Applied to each completed frame first, such as a cut-off for responders.
        resamples, seed : int
            Of the bootstrap; the seed of the imputation unless given.
        options
            Passed to the analysis.

        Returns
        -------
        Pooled
        """
        check_level(level)
        how = {
            "term": term,
            "reference": reference,
            "by": by,
            "estimate": estimate,
            "estimate_options": estimate_options,
            "transform": transform,
            **options,
        }
        request = self.request(analysis, formula, at, level, how)
        chosen = self.inference(inference)
        notes = [*self.notes, *check_request(request, self.trial, self.conditional)]
        done = self.evaluated(
            request, chosen, np.empty((0, self.n_missing)), np.empty((1, 0)), resamples, seed
        )
        return pack(self, done, request, chosen, resamples, keep, notes)

    def tipping(
        self,
        analysis: Callable[..., Any],
        formula: str,
        *,
        at: Any = None,
        deltas: Mapping[Any, Sequence[float]],
        alpha: float = 0.05,
        inference: str | None = None,
        **options: Any,
    ) -> Any:
        """Analyse under growing deltas; see :mod:`trialkit.methods.missing.tipping`."""
        from trialkit.methods.missing.tipping import surface

        return surface(
            self,
            analysis,
            formula,
            at=at,
            deltas=deltas,
            alpha=alpha,
            inference=inference,
            **options,
        )

    @property
    def conditional(self) -> bool:
        """Whether the values are conditional means."""
        return self.imputing == "conditional_mean"

    def inference(self, given: str | None) -> str:
        """Return the inference, or refuse one that does not fit the method."""
        allowed = sampling.CONDITIONAL if self.conditional else sampling.MULTIPLE
        chosen = given or next(iter(allowed))
        if chosen not in allowed:
            raise UsageError(
                f"The inference {chosen!r} does not fit the method {self.imputing}.",
                remedy=f"Use one of: {', '.join(allowed)}.",
            )
        return chosen

    def request(
        self, analysis: Any, formula: str, at: Any, level: float, how: Mapping[str, Any]
    ) -> Request:
        """Collect the arguments of an analysis; what is not ours goes to the analysis."""
        ours = ("term", "reference", "by", "estimate", "estimate_options", "transform")
        given = {name: how[name] for name in ours if how.get(name) is not None}
        term = given.pop("term", self.trial.names.group)
        own = term == self.trial.names.group
        return Request(
            analysis=analysis,
            formula=formula,
            at=at,
            term=term,
            reference=given.pop("reference", self.reference if own else None),
            level=level,
            options={name: value for name, value in how.items() if name not in ours},
            **given,
        )

    def evaluated(
        self,
        request: Request,
        inference: str,
        directions: Floats,
        amounts: Floats,
        resamples: int,
        seed: int | None,
    ) -> Evaluated | str:
        """Analyse and pool at each amount, or say why there are no numbers."""
        if self.failed:
            return self.failed
        if not self.conditional:
            return evaluate(self, request, inference, None, directions, amounts)
        samples = sampling.resamples(self, inference, resamples, seed)
        if isinstance(samples, str):
            return samples
        return evaluate(self, request, inference, samples, directions, amounts)

    def summary(self) -> str:
        """Return the imputation as text."""
        head = [f"imputation of {self.trial.names.outcome}", self.variant]
        head.append(
            f"{self.n_subjects} participants, {self.n} outcomes in the model, "
            f"{self.n_missing} values imputed"
        )
        if self.failed:
            return "\n".join([*head, f"failed: {self.failed}"])
        counts = self.n_imputed.to_string(index=False)
        return "\n".join([*head, *self.notes, "", counts])

    def _repr_html_(self) -> str:
        """Return the imputation for a notebook."""
        return html(self.summary(), self.n_imputed)
